--- Handlers: their order, what they are given, what they add, and that they fail closed.
local sets = dofile "tests/support/sets.lua"

local load, field = sets.load, sets.field

local container = {
  id = "c1", name = "web", type = "process", annotations = { a = "1" }, labels = { l = "2" },
  published = { { address = "127.0.0.1", host = 8080, container = 80, protocol = "tcp" } },
}
local endpoint = { address = "172.16.0.2", mac = "02:00:00:00:00:02", network = "nat" }

describe("policy handlers", function()
  after_each(sets.clear)

  it("run in order, the container's first", function()
    local p, _, _, dir = load(field [[on = { attach = function(c, e)
      e:add(allow.inbound { name = c.name }) end }]], {
      ["network/nat.lua"] = [[return { on = { attach = function(c, e)
        e:add { block.outbound { remote = e.address }, { allow.inbound { name = e.network } } } end } }]],
    }, { driver = "nat" })
    local expected = {
      { action = "allow", direction = "inbound", name = "web", origin = dir .. "/container/p.lua:3" },
      { action = "block", direction = "outbound", remote = "172.16.0.2", origin = dir .. "/network/nat.lua:2" },
      { action = "allow", direction = "inbound", name = "nat", origin = dir .. "/network/nat.lua:2" },
    }
    for _, rule in ipairs(expected) do
      rule.priority, rule.log, rule.audit = 1000, false, false
    end
    assert.same(expected, p:run("attach", container, endpoint))
    assert.is_true(p:handles "attach")
    assert.is_false(p:handles "start")
    assert.same({}, p:rules())
  end)

  it("give every event, without endpoint where there is none", function()
    local p = assert(load(field [[on = {
      create = function(c, e) assert(c.id == "c1" and e == nil) end,
      attach = function(c, e) assert(e.mac == "02:00:00:00:00:02") end,
      start = function(c, e) e:add(allow.inbound {}) end,
      stop = function() end, detach = function() end,
      remove = function(c, e) assert(e == nil) end,
    }]]))
    for _, event in ipairs { "create", "remove" } do
      assert.same({}, p:run(event, container))
    end
    for event, n in pairs { attach = 0, start = 1, stop = 0, detach = 0 } do
      assert.equal(n, #assert(p:run(event, container, endpoint)))
    end
  end)

  it("are given what is longer than what they may make", function()
    local long = ("x"):rep(100000)
    local given = { id = "c1", annotations = { a = long, [long] = "b" } }
    local p = assert(load(field [[on = { attach = function(c)
      local a = c.annotations.a
      assert(#a == 100000 and a:sub(-2) == "xx" and c.annotations[a] == "b")
    end, start = function(c)
      local longer = c.annotations.a .. "y"
    end, create = function(c)
      local longer = c.annotations.a:upper()
    end }]]))
    assert.same({}, p:run("attach", given, endpoint))
    for _, event in ipairs { "start", "create" } do
      local result, message = p:run(event, given, event == "start" and endpoint or nil)
      assert.is_nil(result)
      assert.matches("longer than 64 KiB", message)
    end
    given.annotations.a = ("x"):rep(20 << 20)
    assert.matches("memory limit", (select(2, p:run("attach", given, endpoint))))
    given.annotations.a = "1"
    assert.matches("longer than 64 KiB", (select(2, load [[local x = ("x"):rep(65536) .. ("y"):rep(100)]])))
  end)

  it("are given what there is of a container", function()
    local p = assert(load(field [[on = { attach = function(c, e)
      assert(c.annotations.a == "1" and c.labels.l == "2" and c.type == "process" and c.name == "web")
      local port = c.published[1]
      assert(port.address == "127.0.0.1" and port.host == 8080 and port.container == 80)
      assert(math.type(port.host) == "integer" and port.protocol == "tcp" and #c.published == 1)
      assert(c.secret == nil and e.secret == nil and e.network == "nat")
    end, start = function(c, e)
      assert(next(c.annotations) == nil and next(c.labels) == nil and next(c.published) == nil)
      assert(e.address == "10.0.0.2" and #e.addresses == 2)
    end }]]))
    container.secret, endpoint.secret = 1, 2
    assert(p:run("attach", container, endpoint))
    container.secret, endpoint.secret = nil, nil
    assert(p:run("start", {}, { addresses = { "10.0.0.2/16", "fd00::2/64" } }))
    local proxy = setmetatable({}, { __index = container })
    assert(p:run("attach", proxy, endpoint))
  end)

  it("are given copies, each its own", function()
    local text = [[on = { attach = function(c, e)
      assert(c.name == "web" and c.published[1].host == 8080 and not c.labels.new and e.address ~= "x")
      c.name, c.published[1].host, c.labels.new, e.address = "x", 1, "y", "x"
    end }]]
    local p = assert(load(field(text), { ["network/nat.lua"] = "return { " .. text .. " }" }, { driver = "nat" }))
    for _ = 1, 2 do
      assert(p:run("attach", container, endpoint))
    end
    assert.equal("web", container.name)
    assert.equal(8080, container.published[1].host)
    assert.same({ l = "2" }, container.labels)
    assert.equal("172.16.0.2", endpoint.address)
  end)

  it("copy no functions, and refuse what is nested without end", function()
    local p = assert(load(field [[on = { attach = function(c)
      assert(c.name == nil and c.labels.f == nil and c.labels.g == 1) end }]]))
    assert(p:run("attach", { name = print, labels = { f = print, g = 1, [print] = 2 } }, endpoint))
    local t = {}
    t.t = t
    local added, message, code = p:run("attach", { labels = t }, endpoint)
    assert.is_nil(added)
    assert.matches("container/p.lua: what the handler is given is nested deeper than 8 tables$", message)
    assert.equal("EINVAL", code)
  end)

  it("fail with their line, and add nothing then", function()
    local p, _, _, dir = load(field [[on = { attach = function(c, e)
      e:add(allow.inbound {})
      local n = c.published + 1
    end }]])
    local added, message, code = p:run("attach", container, endpoint)
    assert.is_nil(added)
    assert.equal(dir .. "/container/p.lua:4: attempt to perform arithmetic on a table value (field 'published')",
      message)
    assert.equal("EINVAL", code)
  end)

  it("refuse what is no rule", function()
    for call, says in pairs {
      ["e:add()"] = "add is a method and takes one rule or one list: endpoint:add(rule)",
      ["e.add(allow.inbound {})"] = "add is a method and takes one rule or one list: endpoint:add(rule)",
      ["e:add(1)"] = "endpoint:add is a number; it must be a rule made by allow or block, or a list of them",
      ["e:add { protocol = 'tcp' }"] = "endpoint:add must be a list; it has the key 'protocol'",
    } do
      local p = assert(load(field("on = { attach = function(c, e) " .. call .. " end }")))
      local added, message = p:run("attach", container, endpoint)
      assert.is_nil(added)
      assert.equal(says, message:match "p.lua:2: (.*)")
    end
  end)

  it("cannot add to an endpoint they kept", function()
    local p = assert(load(field [[on = {
      attach = function(c, e) kept = e end,
      start = function(c, e) kept:add(allow.inbound {}) end }]]))
    assert(p:run("attach", container, endpoint))
    local added, message = p:run("start", container, endpoint)
    assert.is_nil(added)
    assert.matches("this endpoint belongs to a handler that has returned$", message)
  end)

  it("add at most what an endpoint can have", function()
    local p = assert(load(field [[rules = { allow.inbound {} }, on = { attach = function(c, e)
      local rule = allow.inbound {}
      for i = 1, 65535 do e:add(rule) end
    end, start = function(c, e)
      local rule = allow.inbound {}
      for i = 1, 65536 do pcall(e.add, e, rule) end
      e:add(rule)
    end }]], nil, { instructions = 50000000 }))
    assert.equal(65535, #assert(p:run("attach", container, endpoint)))
    local added, message = p:run("start", container, endpoint)
    assert.is_nil(added)
    assert.matches("endpoint:add: an endpoint has at most 65536 rules$", message)
  end)

  it("have the budget anew each time, and go on after a failure", function()
    local p = assert(load(field [[on = {
      attach = function(c, e) for i = 1, 900000 do end end,
      start = function(c, e) while true do end end }]], nil, { instructions = 1000000 }))
    for _ = 1, 3 do
      assert(p:run("attach", container, endpoint))
      local added, message, code = p:run("start", container, endpoint)
      assert.is_nil(added)
      assert.matches("/container/p.lua:4: the policy ran over its budget of 1000000 instructions$", message)
      assert.equal("ETIME", code)
    end
  end)

  it("help with addresses and names", function()
    assert(load(sets.body [[
assert(contains("10.0.0.0/8", "10.1.2.3") and not contains("10.0.0.0/8", "11.0.0.1"))
assert(contains("fd00::/8", "fd00::1/64") and contains("10.0.0.1-10.0.0.9", "10.0.0.5"))
assert(not contains("0.0.0.0/0", "fd00::1"))
assert(glob("web-*", "web-1") and not glob("web-*", "db-1") and glob("*", "") and glob("a?c", "abc"))
assert(glob("*a*b", "xaxxb") and not glob("*a*b", "xaxxbc") and not glob("a", "ab") and glob("", ""))
local rule = allow.inbound { name = "x", protocol = 6, local_port = { 80, 443 } }
assert(rule.name == "x" and rule.protocol == "tcp" and rule.local_port == "80,443" and rule.remote == nil)
assert(rule.action == "allow" and rule.direction == "inbound" and rule.origin == "container/p.lua:6")
assert(tostring(rule) == "allow inbound (container/p.lua:6)")
]]))
  end)
end)

--- reload_spec.lua - what another policy changes for containers that are there, in process.
local bulkhead = require "bulkhead"
local filter = require "bulkhead.filter"
local labs = require "labs"
local lifecycle = require "lifecycle"
local reload = require "reload"
local sets = require "tests.support.sets"

local host

before_each(function()
  host = assert(bulkhead.open())
end)

after_each(function()
  host:close()
  sets.clear()
end)

--- A set with a container policy for `process`, and one for another name.
local function set_of(rules, more, files)
  files = files or {}
  files["container/process.lua"] = ('return { default = { inbound = "block", outbound = "allow" }, %s\n'
    .. "rules = {\n%s\n} }\n"):format(more or "", rules or "")
  return sets.make(files)
end

local function add(id, dir, fields)
  local spec = { id = id, type = "process", policies = dir }
  for key, value in pairs(fields or {}) do
    spec[key] = value
  end
  assert(lifecycle.create(host, spec))
  return host:endpoints(id)[1]
end

local function apply(dir, more)
  local request = { dir = dir }
  for key, value in pairs(more or {}) do
    request[key] = value
  end
  local changes = assert(reload.plan(host, request))
  assert(reload.apply(host, changes))
  return changes
end

local function names(endpoint)
  local list = {}
  for i, rule in ipairs(host:rules(endpoint.id)) do
    list[i] = rule.name
  end
  table.sort(list)
  return table.concat(list, " ")
end

--- Handlers whose rules tell who was told what.
local TELLING = [[
on = {
  attach = function(c, e) e:add(allow.inbound { protocol = "tcp", local_port = 1, name = "attach-" .. c.id .. "-V" }) end,
  start = function(c, e) e:add(allow.inbound { protocol = "tcp", local_port = 2, name = "start-" .. c.id .. "-V" }) end,
},
]]

describe("containers of a pod", function()
  local function telling(version)
    return set_of("", (TELLING:gsub("%-V", "-" .. version)))
  end

  it("keep the policy of the one the endpoint came with, and what the handlers of the others add", function()
    local old, new = telling "1", telling "2"
    local a = add("a", old, { netns = "/pod" })
    add("b", old, { netns = "/pod" })
    assert.equal("attach-a-1 start-a-1 start-b-1", names(a))
    local changes = assert(reload.plan(host, {}))
    assert.equal(1, #changes)
    assert.is_false(changes[1].differs)
    apply(new)
    assert.equal("attach-a-2 start-a-2 start-b-2", names(a))
    assert.equal(new, host:container("a").policies)
    assert.equal(new, host:container("b").policies)
  end)

  it("are each reloaded by themselves", function()
    local old, new = telling "1", telling "2"
    local a = add("a", old, { netns = "/pod" })
    add("b", old, { netns = "/pod" })
    apply(new, { containers = { "b" } })
    assert.equal("attach-a-1 start-a-1 start-b-2", names(a))
    assert.same({ old, new }, { host:container("a").policies, host:container("b").policies })
    apply(new, { containers = { "a" } })
    assert.equal("attach-a-2 start-a-2 start-b-2", names(a))
  end)

  it("are not told `start` before they start, and then by the new set", function()
    local old, new = telling "1", telling "2"
    local a = add("a", old, { netns = "/pod" })
    add("b", old, { netns = "/pod", start = false })
    assert.equal("attach-a-1 start-a-1", names(a))
    apply(new)
    assert.equal("attach-a-2 start-a-2", names(a))
    assert(lifecycle.start(host, "b"))
    assert.equal("attach-a-2 start-a-2 start-b-2", names(a))
  end)

  it("refuse a set that refuses one of them", function()
    local a = add("a", telling "1", { netns = "/pod" })
    add("b", host:container("a").policies, { netns = "/pod" })
    local new = set_of("", 'on = { start = function(c) if c.id == "b" then error "not b" end end },')
    local changes, message = reload.plan(host, { dir = new })
    assert.is_nil(changes)
    assert.matches("^container 'b': .*container/process.lua:1: not b$", message)
    assert.equal("attach-a-1 start-a-1 start-b-1", names(a))
  end)
end)

describe("counters", function()
  local function hits(endpoint)
    local list = {}
    for _, rule in ipairs(host:rules(endpoint.id)) do
      list[rule.name] = (list[rule.name] or 0) + rule.hits
    end
    return list
  end

  it("go on where a rule says the same, and begin at 0 where it does not", function()
    host:close()
    local lab
    lab, host = labs.open { platform = "memory", host = { "10.0.0.1/24" }, outside = { "10.0.0.9/24" } }
    local old = set_of [[
      allow.inbound { protocol = "tcp", local_port = 80, name = "web" },
      allow.inbound { protocol = "tcp", local_port = 81, name = "other" },
      allow.inbound { protocol = "tcp", local_port = { 82, 83 }, name = "changed" },]]
    local web, db = add("web", old), add("db", old)
    local function send(port)
      local seen = assert(lab:probe { kind = "raw", from = db.compartment, to = web.compartment,
        packet = ("out tcp 172.16.0.3:%d -> 172.16.0.2:%d"):format(40000 + port, port) })
      assert.is_true(seen.arrived)
    end
    for _, port in ipairs { 80, 80, 80, 81, 82, 83 } do
      send(port)
    end
    assert.same({ web = 3, other = 1, changed = 2 }, hits(web))
    -- Another order, another line, one rule less, one that is not the same, and a new one.
    apply(set_of [[
      allow.inbound { protocol = "icmp", name = "new" },
      allow.inbound { protocol = "tcp", local_port = 82, name = "changed" },

      allow.inbound { protocol = "tcp", local_port = 80, name = "web" },]])
    assert.same({ web = 3, changed = 0, new = 0 }, hits(web))
    assert.same({ web = 0, changed = 0, new = 0 }, hits(db))
    send(80)
    assert.same({ web = 4, changed = 0, new = 0 }, hits(web))
    apply(set_of [[allow.inbound { protocol = "tcp", local_port = 80, name = "web" },]])
    apply(set_of [[allow.inbound { protocol = "tcp", local_port = 80, name = "web" },
      block.inbound { protocol = "udp", name = "udp" },]])
    assert.same({ web = 4, udp = 0 }, hits(web))
    host:close()
    lab:close()
    host = assert(bulkhead.open())
  end)
end)

describe("reach", function()
  local function networks()
    assert(host:begin())
    assert(host:add_network { name = "left", driver = "nat", subnets = { "10.1.0.0/24" } })
    assert(host:add_network { name = "right", driver = "nat", subnets = { "10.2.0.0/24" } })
    assert(host:commit())
  end

  local function reach(name)
    for _, network in ipairs(host:networks()) do
      if network.name == name then
        return table.concat(network.reach, ",")
      end
    end
  end

  it("of a policy counts when a container comes, changes and goes, on both sides", function()
    host:close()
    local lab
    lab, host = labs.open { platform = "memory", host = { "10.0.0.1/24" }, outside = { "10.0.0.9/24" } }
    networks()
    local RULES = [[allow.inbound { protocol = "icmp", name = "icmp" },]]
    local to_right, to_left, none = set_of(RULES, 'reach = { "right" },'), set_of(RULES, 'reach = { "left" },'), set_of(RULES)
    local a, b = add("a", to_right, { network = "left" }), add("b", none, { network = "right" })
    local function passes()
      return assert(lab:probe { kind = "ping", from = a.compartment, to = b.compartment, target = "10.2.0.2",
        timeout = 0.1 }).answered
    end
    assert.same({ "right", "" }, { reach "left", reach "right" })
    assert.is_false(passes()) -- only one says so
    local changes = apply(to_left, { containers = { "b" } })
    assert.same({ { field = "reach", from = "", to = "left" } }, changes[1].fields)
    assert.same({ "right", "left" }, { reach "left", reach "right" })
    assert.is_true(passes())
    apply(none, { containers = { "b" } })
    assert.is_false(passes())
    apply(to_left, { containers = { "b" } })
    assert.is_true(passes())
    add("c", none, { network = "right" })
    assert.is_true(passes()) -- another that does not say so takes nothing away
    assert(host:begin())
    assert(host:remove_container "a")
    assert(host:commit())
    a = add("a", none, { network = "left" })
    assert.is_false(passes())
    host:close()
    lab:close()
    host = assert(bulkhead.open())
  end)

  it("is followed by explain", function()
    networks()
    local to_right, to_left = set_of("allow.inbound {},", 'reach = { "right" },'), set_of("allow.inbound {},", 'reach = { "left" },')
    add("a", to_right, { network = "left" })
    add("b", set_of "allow.inbound {},", { network = "right" })
    local function delivered()
      local text = "out icmp[8:0] 10.1.0.2 -> 10.2.0.2"
      local world = assert(require("worlds").live(host, "a", { filter.packet(text) }))
      return assert(require("explain").packet(world, text)).delivered
    end
    assert.is_false(delivered())
    apply(to_left, { containers = { "b" } })
    assert.is_true(delivered())
    -- And by a copy under a policy that does not say so.
    local whatif = require "whatif"
    for dir, arrives in pairs { [to_left] = false, [host:container("a").policies] = false } do
      local trial <close> = whatif.new(host, dir)
      assert.equal(arrives, trial:send "out icmp[8:0] 10.1.0.2 -> 10.2.0.2")
    end
    local trial <close> = whatif.new(host)
    assert.is_true(trial:send "out icmp[8:0] 10.1.0.2 -> 10.2.0.2")
  end)
end)

describe("the difference that a reload makes", function()
  local compare = require "compare"

  it("is exact, for each endpoint, with what handlers add", function()
    local TELL = 'on = { attach = function(c, e) if c.id == "web" then e:add(%s.inbound { protocol = "tcp", '
      .. 'local_port = 80 }) end end },'
    add("web", set_of("", TELL:format "allow"))
    add("db", host:container("web").policies)
    local results = assert(compare.reload(host, { dir = set_of("", TELL:format "block" .. " flows = 9,") }))
    assert.equal(2, #results)
    assert.same({ "web", "db" }, { results[1].who.name, results[2].who.name })
    assert.equal(1, #results[1].blocked)
    assert.equal("80", results[1].blocked[1].local_port)
    assert.equal("in tcp[S] 10.0.0.9:51000 -> 172.16.0.2:80", results[1].blocked[1].example)
    assert.same({ { name = "flows", before = 65536, after = 9 } }, results[1].options)
    assert.same({ 0, 0, 1 }, { #results[2].allowed, #results[2].blocked, #results[2].options })
    results = assert(compare.reload(host, { dir = host:container("web").policies }))
    assert.is_true(results[1].same and results[2].same)
    results = assert(compare.reload(host, { dir = set_of "allow.inbound {},", containers = { "db" } }))
    assert.equal(1, #results)
    assert.is_false(results[1].same)
  end)

  it("is none after the reload", function()
    add("web", set_of "allow.inbound { protocol = 'tcp' },")
    local dir = set_of "block.outbound { remote = '10.0.0.0/8' },"
    assert.is_false(compare.reload(host, { dir = dir })[1].same)
    apply(dir)
    assert.is_true(compare.reload(host, { dir = dir })[1].same)
  end)
end)

describe("a container without an endpoint", function()
  it("gets the set for the next one, or refuses it", function()
    local old = set_of()
    local endpoint = add("a", old)
    assert(host:begin())
    assert(host:remove_endpoint(endpoint.id))
    assert(host:commit())
    local new = set_of "allow.inbound {},"
    assert.same({}, { table.unpack(apply(new)) })
    assert.equal(new, host:container("a").policies)
    local other = sets.make { ["container/other.lua"] = 'return { default = { inbound = "block", outbound = "allow" } }' }
    local changes, message = reload.plan(host, { dir = other })
    assert.is_nil(changes)
    assert.matches("process", message)
  end)
end)

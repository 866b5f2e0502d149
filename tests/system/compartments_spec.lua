--- S1 to S6 and half of S9: compartments, and how NICs come into them.
local labs = require "labs"
local lifecycle = require "lifecycle"
local leftovers = require "tests.support.leftovers"
local lfs = require "lfs"
local namespaces = require "tests.support.namespaces"
local stage = require "tests.support.stage"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

local function ids(list)
  local parts = {}
  for i, each in ipairs(list) do
    parts[i] = each.id
  end
  return table.concat(parts, " ")
end

stage.platforms(B, "S1: an endpoint", function(open, platform)
  it("is in a compartment of its own, with an id and a GUID of its own", function()
    local s = open()
    local a, b = s:add { id = "a" }, s:add { id = "b" }
    local seen = {}
    for _, compartment in ipairs(s.host:compartments()) do
      assert.is_nil(seen[compartment.id])
      assert.is_nil(seen[compartment.guid])
      assert.matches("^{%x+%-%x+%-%x+%-%x+%-%x+}$", compartment.guid)
      seen[compartment.id], seen[compartment.guid] = true, true
    end
    assert.equal("1 2 3", ids(s.host:compartments()))
    assert.same({ 2, 3 }, { a.where, b.where })
    assert.same({ a.endpoint.id }, s.host:compartments(2).endpoints)
    assert.same({ "b" }, s.host:compartments(3).containers)
    local path = s.host:endpoints "a"[1].namespace
    if platform == "linux" then
      assert.matches(a.address .. "/16", namespaces.shell(("nsenter --net=%s ip -4 address"):format(path)), 1, true)
    else
      assert.is_nil(path)
    end
  end)

  it("shares no address and no port with another's stack", function()
    local s = open()
    local a, b = s:add { id = "a" }, s:add { id = "b" }
    assert(s.lab:listen(a.where, "tcp", 80))
    assert(s.lab:listen(b.where, "tcp", 80)) -- the same port, at once
    assert(s.lab:listen(a.where, "tcp", 81))
    for _, actor in ipairs { a, b } do
      local seen = assert(s.lab:probe {
        from = actor.where, to = actor.where, kind = "tcp", target = "127.0.0.1", port = 80, timeout = 2,
      })
      assert.is_true(seen.answered) -- the same address, at once
    end
    -- 127.0.0.1 of B is B's own: what listens only in A refuses there.
    local seen = s:send(b, "tcp 81", a, false, "127.0.0.1")
    assert.is_false(seen.arrived)
    assert.is_false(seen.answered)
    assert.is_true(seen.refused)
    assert.is_true(s:send(a, "tcp 81", a, true, "127.0.0.1").answered)
  end)

  it("is attached once", function()
    local s = open()
    local a = s:add { id = "a" }
    local function again(spec)
      local _, message, code = s:change(function(host)
        return host:add_endpoint {
          container = "a", network = "nat", interface = spec.interface,
          default = { inbound = { action = "block" }, outbound = { action = "allow" } }, options = {}, rules = {},
        }
      end)
      assert.equal("EEXIST", code)
      assert.matches("endpoint already attached", message, 1, true)
    end
    again {}
    again { interface = a.endpoint.interface }
    local message, code = s:refused { id = "a" }
    assert.equal("EEXIST", code)
    assert.matches("endpoint already attached", message, 1, true)
    assert.equal(1, #s.host:endpoints())
  end)

  if platform == "linux" then
    it("has its own addresses, routes and neighbours: the same ones in two at once", function()
      local s = open()
      local a, b = s:add { id = "a" }, s:add { id = "b" }
      for _, actor in ipairs { a, b } do
        namespaces.inside(s, actor.where, "ip address add 192.0.2.7/32 dev lo")
        namespaces.inside(s, actor.where, "ip route add 198.51.100.0/24 via 172.16.0.1")
        namespaces.inside(s, actor.where, "ip neigh add 172.16.9.9 lladdr 02:00:00:00:09:09 dev eth0 nud permanent")
        assert(s.lab:listen(actor.where, "tcp", 80))
        assert.is_true(s:send(actor, "tcp 80", actor, true, "192.0.2.7").answered)
      end
      assert.is_nil(leftovers.slurp("/proc/self/net/route"):find("006433C6", 1, true)) -- 198.51.100.0
      assert.is_nil(namespaces.shell "ip neigh show":find("172.16.9.9", 1, true))
      local function namespace(actor)
        return namespaces.inside(s, actor.where, "readlink /proc/self/ns/net")
      end
      assert.not_equal(namespace(a), namespace(b))
      assert.not_equal(namespace(a), namespaces.shell "readlink /proc/self/ns/net")
    end)
  end
end)

stage.platforms(B, "S2: the default compartment", function(open, platform)
  it("is there from the start and stays", function()
    local s = open { networks = false }
    local first = assert(s.host:compartments(1))
    assert.equal("1", ids(s.host:compartments()))
    assert.same({ 1, "default", "Default Compartment" }, { first.id, first.type, first.description })
    local ok, message, code = s:change(function(host)
      return host:remove_container(tostring(first.id))
    end)
    assert.is_nil(ok)
    assert.equal("ENOENT", code)
    assert.is_string(message)
    s:add { id = "a", network = "nat" } -- makes the network, too
    s:remove "a"
    assert.same(first, s.host:compartments(1))
    assert.equal("1", ids(s.host:compartments()))
  end)

  it("has the management vNIC: the gateway's address is the host's", function()
    local s = open()
    local a = s:add { id = "a" }
    assert(s.lab:listen(stage.HOST, "tcp", 80))
    assert.is_true(s:send(a, "tcp 80", stage.HOST, true, "172.16.0.1").answered)
    assert.is_true(s:send(a, "ping", stage.HOST, true, "fd00:16::1").answered)
  end)

  it("is the only one: the host's own namespace is refused for a container", function()
    local s = open()
    if platform == "linux" then
      local message, code = s:refused { id = "a", netns = "/proc/self/ns/net" }
      assert.equal("EINVAL", code)
      assert.matches("the host's own network namespace", message, 1, true)
      -- The machine's first process, in a namespace that is not this host's, and another state.
      local other = open()
      local first = lfs.attributes "/proc/1/ns/net" and "/proc/1/ns/net" or nil
      for _, path in ipairs {
        ("/run/bulkhead/%s/default"):format(other.tag), ("/run/bulkhead/%s/switch"):format(other.tag), first,
      } do
        message, code = s:refused { id = "a", netns = path }
        assert.equal("EINVAL", code)
        assert.matches("network namespace of a host", message, 1, true)
        assert.equal("1", ids(s.host:compartments()))
      end
    end
    local _, _, code = s:change(function(host)
      return host:add_container { id = "a", type = "default", policies = stage.policies() }
    end)
    assert.equal("EINVAL", code)
    assert.equal("1", ids(s.host:compartments()))
  end)
end)

stage.platforms(B, "S3: a container", function(open, platform)
  it("brings a compartment with its NIC and takes both away", function()
    local s = open()
    s:add { id = "first" } -- what the state needs is made with the first and stays with the state
    s:remove "first"
    local function look()
      if platform == "linux" then
        return { leftovers.links(), leftovers.mounts(s.tag), namespaces.shell "nft list ruleset" }
      end
      return {}
    end
    local before = look()
    local a = s:add { id = "a", publish = { "8080:80" } }
    assert.equal("ready", a.endpoint.status)
    assert.matches("^172%.16%.0%.%d+/16$", a.endpoint.addresses[1])
    if platform == "linux" then
      assert.equal("eth0 lo", namespaces.links(s, a.where))
      assert.same(before[1], leftovers.links()) -- the host sees no NIC of it
    end
    s:remove "a"
    assert.same(before, look())
    assert.same({}, s.host:endpoints())
    assert.same({}, s.host:containers())
    assert.same({}, s.host:flows())
    assert.equal("1", ids(s.host:compartments()))
    assert.is_nil((s.host:gate(a.endpoint.id)))
    assert.is_nil((s.host:counters(a.endpoint.id)))
  end)

  it("of a pod shares the pod's compartment, which goes with the last", function()
    local s = open()
    local path = namespaces.pod(s)
    local a = s:add { id = "a", netns = path }
    assert(s:change(function(host)
      return host:add_container { id = "sidecar", type = "process", policies = stage.policies(), netns = path }
    end))
    assert.equal("1 2", ids(s.host:compartments()))
    assert.same({ "a", "sidecar" }, s.host:compartments(2).containers)
    local message = s:refused { id = "vm", type = "hyperv", netns = path }
    assert.matches("of type process", message, 1, true)
    assert(s.lab:listen(a.where, "tcp", 80))
    assert.is_true(s:send(a, "tcp 80", a, true, "127.0.0.1").answered)
    s:remove "sidecar" -- the first still refers to it
    assert.equal("1 2", ids(s.host:compartments()))
    assert.equal(1, #s.host:endpoints())
    assert.is_true(s:send(a, "ping", stage.HOST, true, "172.16.0.1").answered)
    s:remove "a"
    assert.equal("1", ids(s.host:compartments()))
  end)

  it("keeps the pod's compartment when the first goes before the second", function()
    local s = open()
    local path = namespaces.pod(s)
    s:add { id = "a", netns = path }
    assert(s:change(function(host)
      return host:add_container { id = "b", type = "process", policies = stage.policies(), netns = path }
    end))
    s:remove "a"
    assert.same({ "b" }, s.host:compartments(2).containers)
    s:remove "b"
    assert.equal("1", ids(s.host:compartments()))
  end)

  it("gets an id that nothing had before it", function()
    local s = open()
    local last = 1
    for round = 1, 3 do
      local a = s:add { id = "a" .. round }
      assert.is_true(a.where > last)
      last = a.where
      s:remove("a" .. round)
    end
    local endpoints = {}
    for round = 1, 2 do
      local a = s:add { id = "b" .. round }
      assert.is_nil(endpoints[a.endpoint.id])
      endpoints[a.endpoint.id] = true
      s:remove("b" .. round)
    end
  end)

  it("that is refused leaves nothing", function()
    local s = open()
    s:add { id = "a" }
    local links = leftovers.links()
    s:refused { id = "b", addresses = { "172.16.0.2" } } -- taken
    s:refused { id = "b", addresses = { "10.9.9.9" } } -- of no subnet
    s:refused { id = "b", policy = "no_such" }
    s:refused { id = "b", network = "lan" }
    s:refused { id = "b c" }
    assert.equal(1, #s.host:containers())
    assert.equal("1 2", ids(s.host:compartments()))
    assert.same(links, leftovers.links())
  end)
end)

stage.platforms(B, "S4 and S5: NICs", function(open, platform)
  it("are a vNIC for process and a vmNIC for hyperv, and never the other", function()
    local s = open()
    local a, vm = s:add { id = "a" }, s:add { id = "vm", type = "hyperv" }
    assert.same({ "vNIC", "vmNIC" }, { a.endpoint.kind, vm.endpoint.kind })
    for container, kind in pairs { a = "vmNIC", vm = "vNIC" } do
      local ok, message, code = s:change(function(host)
        return host:add_endpoint {
          container = container, network = "nat", interface = "eth7", kind = kind,
          default = { inbound = { action = "block" }, outbound = { action = "allow" } }, options = {}, rules = {},
        }
      end)
      assert.is_nil(ok)
      assert.equal("EINVAL", code)
      assert.matches(kind, message, 1, true)
    end
    assert.equal(2, #s.host:endpoints())
  end)

  it("deliver through the switch", function()
    local s = open()
    local a, b, vm = s:add { id = "a" }, s:add { id = "b" }, s:add { id = "vm", type = "hyperv" }
    for _, pair in ipairs { { a, b }, { b, a }, { a, vm }, { vm, a }, { b, vm } } do
      assert.is_true(s:send(pair[1], "ping", pair[2], true).answered)
      assert.is_true(s:send(pair[1], "ping", pair[2], true, pair[2].address6).answered)
    end
    local counters = s:counters(b)
    assert.is_true(counters.packets_in >= 2 and counters.packets_out >= 2)
  end)

  if platform == "linux" then
    it("are seen in the container's compartment only", function()
      local s = open()
      local links = leftovers.links()
      local vm = s:add { id = "vm", type = "hyperv", guest = false }
      assert.same(links, leftovers.links())
      local inside = namespaces.links(s, vm.where)
      assert.matches(vm.endpoint.interface, inside, 1, true)
      local kind = namespaces.inside(s, vm.where, "ip -details link show " .. vm.endpoint.interface)
      assert.matches("tun type tap", kind, 1, true)
      assert.is_nil(kind:find("state UP", 1, true)) -- no VMM yet: no carrier
      local a = s:add { id = "a" }
      assert.matches("veth", namespaces.inside(s, a.where, "ip -details link show eth0"), 1, true)
      assert.equal("eth0 lo", namespaces.links(s, a.where))
      -- A guest comes, and the endpoint and its rules are as they were.
      assert(s.lab:guest(vm.endpoint))
      assert.is_true(s:send(a, "ping", vm, true).answered)
      assert.same(links, leftovers.links())
    end)
  end
end)

stage.platforms(B, "S6: compartments", function(open)
  it("are listed like Get-NetCompartment does, all or by id", function()
    local s = open()
    s:add { id = "a" }
    s:add { id = "vm", type = "hyperv" }
    local list = {}
    for i, compartment in ipairs(s.host:compartments()) do
      list[i] = ("%d %s %s"):format(compartment.id, compartment.description, compartment.type)
    end
    assert.same({ "1 Default Compartment default", "2 Container a process", "3 Container vm hyperv" }, list)
    assert.equal("Container vm", s.host:compartments(3).description)
    local none, message, code = s.host:compartments(99)
    assert.is_nil(none)
    assert.equal("ENOENT", code)
    assert.matches("99", message)
  end)
end)

stage.platforms(B, "S6: `bulkhead compartments`", function(open)
  local cli = require "tests.support.cli"
  it("prints them", function()
    local s = open()
    s:add { id = "a" }
    local function run(words)
      return namespaces.shell(("BULKHEAD_STATE=%s '%s' %s"):format(s.state, cli.program(), words))
    end
    local text = run "compartments"
    for _, field in ipairs { "CompartmentId", "CompartmentDescription", "CompartmentGuid", "CompartmentType" } do
      assert.matches("\n" .. field .. "%s+: ", "\n" .. text)
    end
    assert.matches("CompartmentDescription : Container a\n", text, 1, true)
    text = run "compartments 2"
    assert.is_nil(text:find("Default Compartment", 1, true))
    local status
    text, status = run "compartments 99"
    assert.equal(1, status)
    assert.matches("^bulkhead: [^\n]+\n$", text)
  end)
end, { "linux" })

describe("a lab", function()
  it("and its host are gone when closed, twice over", function()
    if stage.without_linux() then
      pending(stage.without_linux())
    end
    local before = leftovers.look()
    for _ = 1, 2 do
      local s = stage.open "linux"
      assert(lifecycle.create(s.host, stage.spec { id = "a" }))
      s:close()
      assert.same({}, leftovers.since(before))
    end
    assert.is_number(labs.sweep())
  end)

  it("whose process was killed is swept without a word, even when its switches are gone too", function()
    if stage.without_linux() then
      pending(stage.without_linux())
    end
    local cli = require "tests.support.cli"
    local name = os.tmpname()
    local file = assert(io.open(name, "w"))
    file:write [[
local s = require "tests.support.stage".open "linux"
print(s.state)
io.stdout:flush()
os.execute "kill -9 $PPID"
]]
    file:close()
    local status, state = cli.run { "run", name }
    os.remove(name)
    assert.equal(137, status)
    state = assert(state:match "^(/run/bulkhead%-labs/%d+%-%d+)\n$")
    local tag = leftovers.watch(state)
    assert.equal("directory", lfs.attributes(state, "mode"))
    assert.equal("", (namespaces.shell("umount /run/bulkhead/" .. tag .. "/switch")))
    assert.same({ 0, "", "" }, { cli.run { "reconcile" } })
    assert.is_nil(lfs.attributes(state))
    assert.is_nil(lfs.attributes("/run/bulkhead/" .. tag))
  end)
end)

describe("a state", function()
  it("is refused in a directory that others may change", function()
    if stage.without_linux() then
      pending(stage.without_linux())
      return
    end
    local bulkhead = require "bulkhead"
    local dir = os.tmpname()
    os.remove(dir)
    for _, spoil in ipairs { "chmod 770", "chmod 707", "chown 65534" } do
      assert(lfs.mkdir(dir))
      assert(os.execute(("%s '%s'"):format(spoil, dir)))
      for _, write in ipairs { true, false } do
        local host, message, code = bulkhead.open { platform = "linux", state = dir, write = write }
        assert.is_nil(host, spoil)
        assert.equal("EPERM", code)
        assert.matches("must be root's alone", message, 1, true)
      end
      assert(lfs.rmdir(dir)) -- nothing was made in it
    end
  end)
end)

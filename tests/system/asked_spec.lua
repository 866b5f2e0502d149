--- What a runtime may ask for and what it finds when it comes: names that are taken, DNS, a MAC address, a
--- rate; done or refused, and never a little of both.
local cli = require "tests.support.cli"
local cnitool = require "tests.support.cnitool"
local json = require "json"
local leftovers = require "tests.support.leftovers"
local namespaces = require "tests.support.namespaces"
local stage = require "tests.support.stage"

local shell = namespaces.shell

describe("what is asked for", function()
  if stage.without_linux() then
    it("is done or refused", function()
      pending(stage.without_linux())
    end)
    return
  end
  local s, tool, netns

  before_each(function()
    s = stage.open("linux", { networks = false })
    tool = cnitool.new(s.state)
    netns = namespaces.pod(s)
  end)
  after_each(function()
    s:close()
  end)

  local function run(words, input)
    return shell(("echo '%s' | BULKHEAD_STATE='%s' '%s' %s"):format(input or "", s.state, cli.program(), words))
  end

  local function about(id, fields, more)
    return cnitool.request(id, netns, { "10.9.0.0/24" }, fields, more)
  end

  local function inside(command)
    local text, status = shell(("nsenter --net=%s %s"):format(netns, command))
    assert.equal(0, status, text)
    return text
  end

  it("by hook: the first ethN that is free in a namespace with interfaces", function()
    local pid = netns:match "%d+"
    inside "ip link add eth0 type veth peer name eth1"
    inside "ip link add eth3 type bridge"
    local text, status = run("hook createRuntime", ('{"id":"web","pid":%s,"status":"created"}'):format(pid))
    assert.equal(0, status, text)
    assert.equal("eth2", s.host:endpoints "web"[1].interface)
    assert.matches("172.16.0.2/16", inside "ip -o -4 address show dev eth2", 1, true)
    assert.same({ "", 0 }, { run("hook poststop", '{"id":"web"}') })
    -- What was there stays.
    assert.matches("eth0.*eth1.*eth3", (inside "ip -o link":gsub("\n", " "):gsub("eth1@eth0.-eth0@eth1", "eth0 eth1")))
    assert.is_nil(inside "ip -o link":find "eth2")
  end)

  it("by hook: each stage with what runtimes say of the process", function()
    local pid = netns:match "%d+"
    for _, state in ipairs {
      '{"id":"web","pid":1,"status":"created"}', -- the host's own namespace
      '{"id":"web","pid":0,"status":"created"}', '{"id":"web","status":"created"}',
      ('{"id":"web","pid":%s,"status":"running"}'):format(pid), '{"id":"web","pid":4194304,"status":"created"}',
    } do
      local text, status = run("hook createRuntime", state)
      assert.is_true(status == 1 or status == 2, state)
      assert.matches("^bulkhead: [^\n]+\n$", text)
      assert.same({}, s.host:containers())
      assert.equal(1, #s.host:compartments())
    end
    for _, status in ipairs { "creating", "created" } do
      assert.same({ "", 0 }, { run("hook createRuntime", ('{"id":"web","pid":%s,"status":"%s"}'):format(pid, status)) })
      assert.same({ "", 0 }, { run("hook createContainer", '{"id":"web","pid":1}') })
      assert.same({ "", 0 }, { run("hook startContainer", '{"id":"web"}') })
      assert.same({ "", 0 }, { run("hook poststart", ('{"id":"web","pid":%s}'):format(pid)) })
      assert.equal("started", s.host:endpoints "web"[1].phase)
      for _, gone in ipairs { '{"id":"web","pid":0,"status":"stopped"}', '{"id":"web","status":"stopped"}' } do
        assert.same({ "", 0 }, { run("hook poststop", gone) })
        assert.same({}, s.host:containers())
      end
    end
  end)

  it("by hooks.d: three stages, where an annotation is ours", function()
    local dir, stages = os.tmpname(), {}
    os.remove(dir)
    assert.equal(0, select(2, run("install-hooks " .. dir)))
    for _, name in ipairs(leftovers.list(dir)) do
      if name:sub(1, 1) ~= "." then
        local hook = assert(json.decode(leftovers.slurp(dir .. "/" .. name)))
        assert.equal("1.0.0", hook.version)
        for key in pairs(hook.when.annotations) do
          assert.equal("^bulkhead\\.", key)
        end
        assert.equal(cli.program(), hook.hook.path)
        stages[#stages + 1] = table.concat(hook.stages, " ") .. ":" .. hook.hook.args[3]
      end
    end
    table.sort(stages)
    assert.same({ "createRuntime:createRuntime", "poststart:poststart", "poststop:poststop" }, stages)
    shell("rm -rf " .. dir)
  end)

  it("by CNI: name servers, as they are configured, asked for, or those of the network", function()
    local function dns_of(id, fields, version)
      fields.cniVersion = version
      local answer = tool:done("ADD", about(id, fields, { netns = namespaces.pod(s) }))
      assert.equal(version, answer.cniVersion)
      return answer.dns
    end
    for i, version in ipairs { "0.3.1", "0.4.0", "1.0.0", "1.1.0" } do
      local name = "net" .. i
      local subnet = ("10.9.%d.0/24"):format(i)
      local whole = { nameservers = { "9.9.9.9", "fd00::53" }, domain = "a.example", search = { "b", "c" },
        options = { "ndots:5" } }
      local function conf(more)
        local fields = { name = name, subnet = subnet }
        for key, value in pairs(more) do
          fields[key] = value
        end
        return fields
      end
      assert.same(whole, dns_of("a" .. i, conf { dns = whole }, version))
      local asked = dns_of("b" .. i, conf {
        dns = whole, runtimeConfig = { dns = { servers = { "10.0.0.53" }, searches = { "d" }, options = { "edns0" } } },
      }, version)
      assert.same({ { "10.0.0.53" }, { "d" }, { "edns0" } }, { asked.nameservers, asked.search, asked.options })
      assert.same({ "9.9.9.9", "fd00::53" }, dns_of("c" .. i, conf {}, version).nameservers)
    end
    assert.same({}, dns_of("d", { name = "plain", subnet = "10.8.0.0/24" }, "1.0.0"))
  end)

  it("by CNI: a MAC address of its own, and no rate", function()
    local function refused(code, runtime)
      local said = tool:fails(code, "ADD", about("db", { runtimeConfig = runtime }, { netns = namespaces.pod(s) }))
      assert.is_nil(said:find "\n")
      return said
    end
    local answer = tool:done("ADD", about("web", { runtimeConfig = { mac = "02:00:00:00:00:77",
      bandwidth = { ingressRate = 0, ingressBurst = 0 } } }))
    assert.equal("02:00:00:00:00:77", answer.interfaces[1].mac)
    assert.matches("02:00:00:00:00:77", inside "ip -o link show dev eth0", 1, true)
    assert.matches("MAC address 02:00:00:00:00:77 is in use on the network", refused(101, { mac = "02:00:00:00:00:77" }))
    assert.matches("is no MAC address of one NIC", refused(7, { mac = "03:00:00:00:00:01" }))
    assert.matches("does not limit rates", refused(2, { bandwidth = { ingressRate = 1000, ingressBurst = 1000 } }))
    assert.matches("at most 8", refused(7, { ips = { "10.9.0.20", "10.9.0.21", "10.9.0.22", "10.9.0.23", "10.9.0.24",
      "10.9.0.25", "10.9.0.26", "10.9.0.27", "10.9.0.28" } }))
    assert.equal(1, #s.host:containers())
    assert.equal(2, #s.host:compartments())
  end)

  it("by CNI: a state whose path is odd but good", function()
    local odd = s.state .. " ä%d 'x"
    leftovers.watch(odd)
    s:defer(function()
      shell(("BULKHEAD_STATE=\"%s\" '%s' reset"):format(odd, cli.program()))
    end)
    local fields = { state = odd:gsub("/bulkhead", "//./bulkhead", 1) }
    tool:done("ADD", about("web", fields))
    assert.same({}, s.host:containers())
    assert.equal("web", (shell(("BULKHEAD_STATE=\"%s\" '%s' endpoints --json"):format(odd, cli.program()))
      :match '"container":"([^"]+)"'))
    tool:done("CHECK", about("web", { state = odd, prevResult = { interfaces = { { name = "eth0", sandbox = netns } } } }))
    tool:done("DEL", about("web", fields))
    assert.equal("[]\n", (shell(("BULKHEAD_STATE=\"%s\" '%s' endpoints --json"):format(odd, cli.program()))))
  end)
end)

--- The CNI plugin in real namespaces, called as runtimes call it.
local cnitool = require "tests.support.cnitool"
local namespaces = require "tests.support.namespaces"
local sets = require "tests.support.sets"
local stage = require "tests.support.stage"

describe("the CNI plugin", function()
  if stage.without_linux() then
    it("attaches containers", function()
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
    sets.clear()
  end)

  local function about(id, fields, more)
    return cnitool.request(id, netns, { "10.9.0.0/24", "fd09::/64" }, fields, more)
  end

  --- What the host has, in one line each.
  local function attached()
    local list = {}
    for i, endpoint in ipairs(s.host:endpoints()) do
      list[i] = ("%s %s %s"):format(endpoint.container, endpoint.network, endpoint.interface)
    end
    return list
  end

  it("refuses what does not agree with the network, and annotations that are misspelt", function()
    local answer = tool:done("ADD", about("web", { args = { cni = { ips = { "10.9.0.7/24" } } } }))
    assert.equal("10.9.0.7/24", answer.ips[1].address)
    netns = namespaces.pod(s)
    for field, value in pairs { gateway = "10.9.0.77", mtu = 9000 } do
      local said = tool:fails(7, "ADD", about("db", { [field] = value }))
      assert.matches("network 'pods' is there with", said)
      assert.matches(tostring(value), said, 1, true)
    end
    local said = tool:fails(7, "ADD", about("db", {
      runtimeConfig = { ["io.kubernetes.cri.pod-annotations"] = { ["bulkhead.polcy"] = "x" } },
    }))
    assert.matches("no annotation 'bulkhead.polcy'", said)
    assert.same({ "web pods eth0" }, attached())
    tool:done("ADD", about("db", { gateway = { "fd09::1", "10.9.0.1" }, mtu = 1500 }))
  end)

  it("makes the network, the compartment and the NIC it answers with", function()
    local answer = tool:done("ADD", about "web")
    assert.equal("1.0.0", answer.cniVersion)
    assert.equal(netns, answer.interfaces[1].sandbox)
    assert.equal("10.9.0.2/24", answer.ips[1].address)
    assert.equal("10.9.0.1", answer.ips[1].gateway)
    local compartment = s.host:container "web".compartment
    local text = namespaces.inside(s, compartment, "ip -o addr show dev eth0")
    assert.matches("10.9.0.2/24", text, 1, true)
    assert.matches("fd09::2/64", text, 1, true)
    assert.matches(answer.interfaces[1].mac, namespaces.inside(s, compartment, "ip -o link show dev eth0"), 1, true)
    assert.matches("default via 10.9.0.1", namespaces.inside(s, compartment, "ip route"), 1, true)
    assert(s.lab:listen(stage.OUTSIDE, "tcp", 80))
    local out = s.lab:probe {
      from = compartment, to = stage.OUTSIDE, kind = "tcp", target = stage.OUTSIDE_ADDRESS, port = 80,
    }
    assert.is_true(out.answered)
    assert(s.lab:listen(compartment, "tcp", 80))
    local seen = s.lab:probe { from = stage.HOST, to = compartment, kind = "tcp", target = "10.9.0.2", port = 80 }
    assert.is_false(seen.arrived)
    assert.equal("nat", s.host:networks()[1].driver)
    assert.equal("pods", s.host:networks()[1].name)
    tool:done("DEL", about "web")
    assert.same({}, s.host:containers())
    assert.equal("lo", (namespaces.shell(("nsenter --net=%s cat /proc/self/net/dev"):format(netns)))
      :gsub("[^\n]*|[^\n]*\n", ""):match "^%s*(%w+):")
  end)

  it("deletes as often as it is asked, with and without a namespace or an ADD", function()
    tool:done("DEL", about "never")
    tool:done("ADD", about "web")
    tool:done("DEL", about("web", nil, { netns = "" }))
    assert.same({}, attached())
    tool:done("DEL", about("web", nil, { netns = "" }))
    tool:done("DEL", about("web", { bridge = "x", runtimeConfig = { bandwidth = { ingressRate = 1 } } }))
    -- What another configuration attached, it does not touch.
    tool:done("ADD", about "web")
    tool:done("DEL", about("web", { name = "other" }))
    tool:done("DEL", about("web", nil, { interface = "eth1" }))
    assert.same({ "web pods eth0" }, attached())
    -- Nor is anything made for it.
    local nowhere = cnitool.new(s.state .. "-none")
    nowhere:done("DEL", about "web")
    assert.is_nil(require "lfs".attributes(s.state .. "-none"))
  end)

  it("attaches a container to several networks, and leaves them one by one", function()
    tool:done("ADD", about("web", nil, { interface = "net0" }))
    tool:done("ADD", about("web", nil, { interface = "net1" }))
    tool:done("ADD", about("web", { name = "lan", network = "lan", subnet = "10.8.0.0/24" }, { interface = "net2" }))
    assert.same({ "web pods net0", "web pods net1", "web lan net2" }, attached())
    assert.equal("lo net0 net1 net2", namespaces.links(s, s.host:container "web".compartment))
    assert.equal(2, #s.host:compartments())
    assert.matches("already attached", tool:fails(102, "ADD", about("web", nil, { interface = "net1" })))
    tool:done("DEL", about("web", nil, { interface = "net0" }))
    assert.same({ "web pods net1", "web lan net2" }, attached())
    tool:done("DEL", about("web", { name = "lan" }, { interface = "net2" }))
    tool:done("DEL", about("web", nil, { interface = "net1" }))
    assert.same({}, s.host:containers())
    assert.equal(1, #s.host:compartments())
  end)

  it("gives what the runtime asks for", function()
    local answer = tool:done("ADD", about("web", {
      dns = { nameservers = { "9.9.9.9" } },
      runtimeConfig = {
        ips = { "10.9.0.77/24" }, mac = "02:00:00:00:00:77",
        portMappings = { { HostPort = 8080, ContainerPort = 80, Protocol = "TCP" } },
        dns = { servers = { "10.0.0.53" }, searches = { "example" } },
      },
    }, { args = "IgnoreUnknown=1;K8S_POD_NAME=shop" }))
    assert.equal("10.9.0.77/24", answer.ips[1].address)
    assert.equal("02:00:00:00:00:77", answer.interfaces[1].mac)
    assert.equal("10.0.0.53", answer.dns.nameservers[1])
    local web = s.host:container "shop"
    assert.equal("web", web.id)
    assert.same({ { host = 8080, container = 80, protocol = "tcp" } }, web.published)
    assert(s.lab:listen(web.compartment, "tcp", 80))
    local seen = s.lab:probe {
      from = stage.OUTSIDE, to = web.compartment, kind = "tcp", target = stage.HOST_ADDRESS, port = 8080,
    }
    assert.is_true(seen.answered)
    local other = namespaces.pod(s)
    local function refused(runtime)
      return tool:fails(101, "ADD", about("db", { runtimeConfig = runtime }, { netns = other }))
    end
    assert.matches("in use", refused { ips = { "10.9.0.77/24" } })
    assert.matches("is taken", refused { portMappings = { { hostPort = 8080, containerPort = 81 } } })
    assert.same({ "web pods eth0" }, attached())
  end)

  it("lets the pod's annotation choose the type, unless the configuration does", function()
    local function pod(id, type, fields)
      fields = fields or {}
      fields.runtimeConfig = { ["io.kubernetes.cri.pod-annotations"] = { ["bulkhead.type"] = type } }
      return about(id, fields, { netns = namespaces.pod(s) })
    end
    tool:done("ADD", pod("a", "hyperv"))
    assert.equal("hyperv", s.host:container "a".type)
    assert.equal("vmNIC", s.host:endpoints("a")[1].kind)
    tool:done("ADD", about "b")
    assert.equal("process", s.host:container "b".type)
    assert.matches("wants to be", tool:fails(100, "ADD", pod("c", "hyperv", { containerType = "process" })))
    tool:fails(7, "ADD", pod("c", "vm"))
  end)

  it("checks what is there against what it made", function()
    local request = about "web"
    request.conf.prevResult = tool:done("ADD", request)
    tool:done("CHECK", request)
    local compartment = s.host:container "web".compartment
    for _, damage in ipairs {
      { "ip addr del 10.9.0.2/24 dev eth0", "ip addr add 10.9.0.2/24 brd + dev eth0", "lost its address" },
      { "ip link set eth0 down", "ip link set eth0 up", "is down" },
      { "ip link set eth0 address 02:00:00:00:00:01", "ip link set eth0 address "
        .. request.conf.prevResult.interfaces[1].mac, "another MAC" },
    } do
      namespaces.inside(s, compartment, damage[1])
      assert.matches(damage[3], tool:fails(103, "CHECK", request))
      namespaces.inside(s, compartment, damage[2])
      if damage[2]:find "up$" then -- what going down took from IPv6
        namespaces.inside(s, compartment, "ip addr replace fd09::2/64 dev eth0 nodad")
      end
    end
    tool:done("CHECK", request)
    tool:fails(103, "CHECK", about("db", { prevResult = request.conf.prevResult }))
    assert.matches("another network namespace", tool:fails(103, "CHECK",
      about("web", { prevResult = request.conf.prevResult }, { netns = namespaces.pod(s) })))
    tool:fails(7, "CHECK", about "web")
    tool:fails(1, "CHECK", about("web", { cniVersion = "0.3.1" }))
  end)

  it("collects what the runtime no longer knows", function()
    for _, id in ipairs { "a", "b", "c" } do
      tool:done("ADD", about(id, nil, { netns = namespaces.pod(s) }))
    end
    tool:done("ADD", about("d", { name = "other", network = "pods" }, { netns = namespaces.pod(s) }))
    s:add { id = "hand", network = "pods" }
    tool:done("GC", about(nil, { cniVersion = "1.1.0",
      ["cni.dev/valid-attachments"] = { { containerID = "b", ifname = "eth0" } } }))
    assert.same({ "b pods eth0", "d pods eth0", "hand pods eth0" }, attached())
    tool:fails(7, "GC", about(nil, { cniVersion = "1.1.0" }))
    tool:done("STATUS", about(nil, { cniVersion = "1.1.0" }))
    tool:fails(50, "STATUS", about(nil, { cniVersion = "1.1.0", policies = "/nowhere" }))
  end)

  it("leaves its network, which goes when it is asked to and nobody uses it", function()
    local cli, shell = require "tests.support.cli", namespaces.shell
    local remove = ("BULKHEAD_STATE='%s' '%s' network remove pods"):format(s.state, cli.program())
    local request = about("a", nil, { netns = namespaces.pod(s) })
    tool:done("ADD", request)
    local text, status = shell(remove)
    assert.equal(1, status)
    assert.matches("network 'pods' is used by container 'a'", text, 1, true)
    tool:done("DEL", request)
    assert.equal("pods", s.host:networks "pods"[1].name)
    text, status = shell(remove)
    assert.equal(0, status, text)
    assert.same({}, s.host:networks "pods")
    tool:done("ADD", request)
    tool:done("DEL", request)
  end)

  it("answers VERSION with dummy values", function()
    local answer = tool:done("VERSION", {
      id = "dummy", netns = "dummy", interface = "dummy", conf = '{"cniVersion":"1.0.0"}',
    })
    assert.equal("1.0.0", answer.cniVersion)
    assert.equal("1.1.0", answer.supportedVersions[4])
    tool:done("VERSION", { conf = "" })
    tool:fails(6, "VERSION", { conf = "{" })
    tool:fails(6, "ADD", about("web", nil, { conf = '{"a":"' .. ("x"):rep(2 << 20) .. '"}' }))
  end)

  it("refuses what is wrong with the world, and leaves nothing", function()
    tool:fails(4, "ADD", about("web", nil, { netns = "/run/netns/nowhere" }))
    tool:fails(100, "ADD", about("web", nil, { netns = "/proc/self/ns/net" }))
    tool:fails(100, "ADD", about("web", nil, { netns = "/etc/passwd" }))
    tool:fails(7, "ADD", about("web", { subnet = "" }))
    assert.matches("no subnet to make it", tool:fails(7, "ADD", about("web", { subnet = {} })))
    tool:fails(1, "ADD", about("web", { cniVersion = "2.0.0" }))
    assert.same({}, s.host:containers())
    assert.same({}, s.host:networks())
    tool:done("ADD", about "web")
    tool:fails(7, "ADD", about("db", { subnet = "10.7.0.0/24" }))
    tool:fails(7, "ADD", about("db", { driver = "internal" }))
    local previous = { cniVersion = "1.0.0", interfaces = { { name = "eth0", sandbox = netns } } }
    assert.matches("comes first", tool:fails(102, "ADD", about("db", { prevResult = previous })))
  end)

  it("tells handlers in order, and one that refuses keeps the container from starting", function()
    local function policy(body)
      return sets.make {
        ["container/process.lua"] = 'return { default = { inbound = "block", outbound = "allow" }, on = {\n'
          .. body .. "\n} }",
      }
    end
    local body = {}
    for i, event in ipairs { "attach", "start" } do
      body[i] = ('%s = function(_, endpoint) endpoint:add(allow.inbound { protocol = "tcp", '
        .. 'local_port = %d, name = "%s" }) end,'):format(event, 80 + i, event)
    end
    for _, event in ipairs { "stop", "detach", "remove" } do
      body[#body + 1] = ('%s = function() error("heard %s") end,'):format(event, event)
    end
    local dir = policy(table.concat(body, "\n"))
    tool:done("ADD", about("web", { policies = dir }))
    local names, compartment = {}, s.host:container "web".compartment
    for i, rule in ipairs(s.host:rules(s.host:endpoints("web")[1].id)) do
      names[i] = rule.name
    end
    table.sort(names)
    assert.same({ "attach", "start" }, names)
    for _, port in ipairs { 81, 82, 83 } do
      assert(s.lab:listen(compartment, "tcp", port))
      local seen = s.lab:probe {
        from = stage.HOST, to = compartment, kind = "tcp", target = "10.9.0.2", port = port,
      }
      assert.equal(port ~= 83, seen.answered)
    end
    local _, _, said = tool:call("DEL", about("web", { policies = dir }))
    local heard = {}
    for event in said:gmatch "heard (%w+)" do
      heard[#heard + 1] = event
    end
    assert.same({ "stop", "detach", "remove" }, heard)
    for i, event in ipairs { "create", "attach", "start" } do
      dir = policy(event .. ' = function() error("no ' .. event .. '") end')
      assert.matches("process.lua:2: no " .. event, tool:fails(100, "ADD", about("web" .. i, { policies = dir })))
      assert.same({}, s.host:containers())
    end
  end)
end)

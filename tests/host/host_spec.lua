--- host_spec.lua - networks, containers and endpoints as transactions, in process.
local bulkhead = require "bulkhead"

local ALLOW, BLOCK = { action = "allow", origin = "p.lua:1" }, { action = "block", origin = "p.lua:2" }

local host

--- Runs a change; what it returns, or what refused it.
local function change(body)
  assert(host:begin())
  local value, message, code = body()
  if value == nil then
    host:abort()
    return nil, message, code
  end
  local ok
  ok, message, code = host:commit()
  if not ok then
    return nil, message, code
  end
  return value
end

local function network(fields)
  return change(function() return host:add_network(fields) end)
end

local function endpoint(container, fields)
  fields = fields or {}
  fields.container, fields.network = container, fields.network or "nat"
  fields.default = fields.default or { inbound = BLOCK, outbound = ALLOW }
  fields.options, fields.rules = fields.options or {}, fields.rules or {}
  return host:add_endpoint(fields)
end

local function container(id, fields, endpoint_fields)
  return change(function()
    fields = fields or {}
    fields.id, fields.type, fields.policies = id, fields.type or "process", "policies/default"
    local made, message, code = host:add_container(fields)
    if not made then
      return nil, message, code
    end
    return endpoint(id, endpoint_fields)
  end)
end

before_each(function()
  host = assert(bulkhead.open())
  assert(network { name = "nat", driver = "nat", subnets = { "172.16.0.0/29", "fd00::/64" } })
end)

after_each(function()
  host:close()
end)

describe("a network is refused", function()
  local cases = {
    { { name = "", driver = "nat", subnets = { "10.0.0.0/24" } }, "network name is empty; it must be 1 to 63 of A-Z a-z 0-9 _ . -" },
    { { name = "six", driver = "nat", mtu = 1279, subnets = { "10.0.0.0/24", "fd01::/64" } }, "subnet fd01::/64 is of IPv6, which needs an MTU of at least 1280, not 1279" },
    { { name = "-x", driver = "nat", subnets = { "10.0.0.0/24" } }, "network name '-x' may have only A-Z a-z 0-9 _ . - and must begin with a letter or digit" },
    { { name = ("x"):rep(64), driver = "nat", subnets = { "10.0.0.0/24" } }, "network name '" .. ("x"):rep(40) .. "…' is 64 bytes long; at most 63 are possible" },
    { { name = "a", driver = "bridge", subnets = { "10.0.0.0/24" } }, "driver 'bridge' is not known (nat, l2bridge, transparent, internal or overlay)" },
    { { name = "a", driver = "transparent", subnets = { "10.0.0.0/24" } }, "driver 'transparent' is not built yet" },
    { { name = "overlay", driver = "nat", subnets = { "10.0.0.0/24" } }, "'overlay' is a driver's name; a network of driver nat cannot have it" },
    { { name = "nat", driver = "nat", subnets = { "10.0.0.0/24" } }, "network 'nat' exists already" },
    { { name = "a", driver = "nat", subnets = {} }, "network 'a' needs a subnet, like 10.1.0.0/24" },
    { { name = "a", driver = "nat", subnets = { "10.0.0.0" } }, "subnet '10.0.0.0' has no prefix length, like 10.1.0.0/24" },
    { { name = "a", driver = "nat", subnets = { "10.0.0.1/24" } }, "subnet: '10.0.0.1/24' has host bits set; the prefix is 10.0.0.0/24" },
    { { name = "a", driver = "nat", subnets = { "10.0.0.0/33" } }, "subnet: '10.0.0.0/33': the prefix length must be 0 to 32" },
    { { name = "a", driver = "nat", subnets = { "10.0.0.0/31" } }, "subnet 10.0.0.0/31 has no room for a gateway and a container; /30 is the smallest" },
    { { name = "a", driver = "nat", subnets = { "10.0.0.0/32" } }, "subnet 10.0.0.0/32 has no room for a gateway and a container; /30 is the smallest" },
    { { name = "a", driver = "nat", subnets = { "fd00::/127" } }, "subnet fd00::/127 has no room for a gateway and a container; /126 is the smallest" },
    { { name = "a", driver = "nat", subnets = { "fd00::/128" } }, "subnet fd00::/128 has no room for a gateway and a container; /126 is the smallest" },
    { { name = "a", driver = "nat", subnets = { "10.0.0.0/7" } }, "subnet 10.0.0.0/7 is too large; /8 is the largest" },
    { { name = "a", driver = "nat", subnets = { "10.0.0.0/030" } }, "subnet: '10.0.0.0/030': the prefix length is written without leading zeros, /30" },
    { { name = "a", driver = "nat", subnets = { "224.0.0.0/24" } }, "subnet 224.0.0.0/24 is not one for hosts (multicast, loopback or link-local)" },
    { { name = "a", driver = "nat", subnets = { "172.16.0.0/16" } }, "subnet 172.16.0.0/16 overlaps 172.16.0.0/29 of network 'nat'" },
    { { name = "a", driver = "nat", subnets = { "10.0.0.0/24", "10.0.0.128/25" } }, "subnet 10.0.0.128/25 overlaps 10.0.0.0/24 of network 'a'" },
    { { name = "a", driver = "nat", subnets = { "10.0.0.0/24" }, gateways = { "10.0.1.1" } }, "gateway 10.0.1.1 is no host address of the network's subnets" },
    { { name = "a", driver = "nat", subnets = { "10.0.0.0/24" }, mtu = 67 }, "mtu 67 is not 68 to 65535" },
  }
  for _, case in ipairs(cases) do
    it(case[2], function()
      local made, message = network(case[1])
      assert.is_nil(made)
      assert.equal(case[2], message)
      assert.equal(1, #host:networks())
    end)
  end

  it("while it is used", function()
    assert(container "web")
    local ok, message = change(function() return host:remove_network "nat" end)
    assert.is_nil(ok)
    assert.equal("network 'nat' is used by container 'web'", message)
    assert(change(function() return host:remove_container "web" end))
    assert(change(function() return host:remove_network "nat" end))
    assert.same({}, host:networks())
  end)
end)

describe("a container is refused", function()
  local cases = {
    { "../x", {}, nil, "container id '../x' may have only A-Z a-z 0-9 _ . - and must begin with a letter or digit" },
    { ("x"):rep(256), {}, nil, "container id '" .. ("x"):rep(40) .. "…' is 256 bytes long; at most 255 are possible" },
    { "a", { type = "windows" }, nil, "container type 'windows' is not known (process or hyperv)" },
    { "a", {}, { network = "none" }, "there is no network 'none'" },
    { "a", {}, { kind = "vmNIC" }, "container 'a' is of type process and attaches by a vNIC, not by a vmNIC" },
    { "a", { type = "hyperv" }, { kind = "vNIC" }, "container 'a' is of type hyperv and attaches by a vmNIC, not by a vNIC" },
    { "a", {}, { addresses = { "172.16.0.1" } }, "address 172.16.0.1 is not for containers: it is the gateway's, the network's or the broadcast address of 172.16.0.0/29" },
    { "a", {}, { addresses = { "172.16.0.7" } }, "address 172.16.0.7 is not for containers: it is the gateway's, the network's or the broadcast address of 172.16.0.0/29" },
    { "a", {}, { addresses = { "10.0.0.7" } }, "address 10.0.0.7 is outside the subnets of network 'nat'" },
    { "a", {}, { addresses = { "172.16.0.2/24" } }, "address 172.16.0.2/24 has another prefix length than its subnet 172.16.0.0/29" },
    { "a", {}, { interface = "a/b" }, "'a/b' is no interface name (1 to 15 visible characters without / : %, not lo, all or default)" },
    { "a", {}, { mac = "01:00:00:00:00:01" }, "MAC address 01:00:00:00:00:01 is a multicast one" },
    { "a", {}, { rules = { { action = "allow", direction = "inbound", protocol = "tpc", origin = "x.lua:3" } } },
      "x.lua:3: protocol 'tpc' is not known (tcp, udp, icmp, icmp6, igmp, sctp, … or a number 0 to 255)" },
  }
  for _, case in ipairs(cases) do
    it(case[4], function()
      local made, message = container(case[1], case[2], case[3])
      assert.is_nil(made)
      assert.equal(case[4], message)
      assert.same({}, host:containers())
      assert.equal(1, #host:compartments())
    end)
  end

  it("with 64 hex digits it is not", function()
    assert(container(("0123456789abcdef"):rep(4)))
  end)

  it("twice", function()
    assert(container "web")
    local _, message = container "web"
    assert.equal("container 'web' exists already: endpoint already attached", message)
  end)

  it("when its address is in use", function()
    assert(container("web", {}, { addresses = { "172.16.0.3" } }))
    local _, message, code = container("db", {}, { addresses = { "172.16.0.3" } })
    assert.equal("address 172.16.0.3 is in use by container 'web'", message)
    assert.equal("EADDRINUSE", code)
  end)

  it("when no address is left, and the next is not the one just freed", function()
    for i = 1, 5 do
      assert(container("c" .. i))
    end
    local _, message = container "c6"
    assert.equal("network 'nat' has no free IPv4 address left", message)
    assert(change(function() return host:remove_container "c2" end))
    assert.equal("172.16.0.3/29", container("c7").addresses[1])
  end)
end)

describe("addresses", function()
  it("of the smallest subnets are one container's", function()
    assert(network { name = "small", driver = "nat", subnets = { "10.0.0.0/30", "fd01::/126" } })
    local one = assert(container("one", {}, { network = "small" }))
    assert.same({ "10.0.0.2/30", "fd01::2/126" }, { table.unpack(one.addresses) })
    local none, message, code = container("two", {}, { network = "small" })
    assert.is_nil(none)
    assert.equal("network 'small' has no free IPv4 address left", message)
    assert.equal("EADDRNOTAVAIL", code)
    assert(change(function() return host:remove_container "one" end))
    assert.equal("10.0.0.2/30", assert(container("two", {}, { network = "small" })).addresses[1])
  end)

  it("are not reused at once", function()
    assert.equal("172.16.0.2/29", container("a").addresses[1])
    assert(change(function() return host:remove_container "a" end))
    assert.equal("172.16.0.3/29", container("b").addresses[1])
  end)
end)

describe("compartments", function()
  it("have ids that are not used again, and GUIDs", function()
    local a = container "a"
    assert(change(function() return host:remove_container "a" end))
    local b = container "b"
    assert.is_true(b.compartment > a.compartment)
    local first = host:compartments(1)
    assert.equal("default", first.type)
    assert.truthy(first.guid:find "^{%x+%-%x+%-4%x+%-%x+%-%x+}$")
    assert.is_nil(host:compartments(a.compartment))
  end)

  it("are shared by the containers of a pod, and go with the last", function()
    local a = container("a", { netns = "/pod" })
    local b = container("b", { netns = "/pod" })
    assert.equal(a.compartment, b.compartment)
    assert.same({ "a", "b" }, host:compartments(a.compartment).containers)
    assert(change(function() return host:remove_container "a" end))
    assert.truthy(host:compartments(b.compartment))
    assert(change(function() return host:remove_container "b" end))
    assert.is_nil(host:compartments(b.compartment))
  end)

  it("of another type are not joined", function()
    assert(container("a", { netns = "/pod" }))
    local _, message = container("b", { netns = "/pod", type = "hyperv" })
    assert.truthy(message:find "^container 'b' is of type hyperv, but joins compartment %d+ of type process$")
  end)
end)

describe("a change", function()
  it("is refused outside begin and commit", function()
    local _, message = host:add_network { name = "x", driver = "nat", subnets = { "10.0.0.0/24" } }
    assert.equal("nothing may be changed outside begin and commit", message)
    assert(host:begin())
    assert.equal("a change is already begun", select(2, host:begin()))
    host:abort()
  end)

  it("that is aborted leaves nothing", function()
    assert(host:begin())
    assert(host:add_container { id = "a", type = "process", policies = "p" })
    assert(endpoint "a")
    host:abort()
    assert.same({}, host:containers())
    assert.same({}, host:endpoints())
  end)
end)

describe("a snapshot", function()
  it("returns what its function returns, and passes on its error", function()
    assert.same({ 2, nil, "b", n = 3 }, table.pack(host:snapshot(function(a, b) return a + 1, nil, b end, 1, "b")))
    assert.has_error(function() host:snapshot(error, "spoilt") end, "spoilt")
    assert.has_error(function() host:snapshot() end)
    assert(container "after")
  end)

  it("may be nested and stand in a change, and begins none", function()
    local function begin() return select(2, host:begin()) end
    assert.equal("no change begins in a snapshot", host:snapshot(begin))
    assert.equal("no change begins in a snapshot", host:snapshot(host.snapshot, host, begin))
    assert.equal("no change begins in a snapshot", host:snapshot(function()
      host:snapshot(host.networks, host)
      return begin()
    end))
    assert.matches("outside changes and snapshots", select(2, host:snapshot(host.reset, host)))
    assert(host:begin())
    assert(host:add_container { id = "a", type = "process", policies = "p" })
    assert.equal(1, #host:snapshot(host.containers, host))
    assert(host:commit())
    assert.equal("a", host:containers()[1].id)
  end)

  it("ends with a host that is closed in it", function()
    assert(host:snapshot(function() return host:close() or true end))
    assert.has_error(function() host:networks() end, "the host is closed")
    host = assert(bulkhead.open())
  end)
end)

describe("rules of an endpoint that is there", function()
  local function rule(fields)
    fields.action, fields.direction, fields.origin = fields.action or "allow", "inbound", "h.lua:1"
    return fields
  end

  it("take effect together, of a new generation", function()
    local web = container "web"
    local function verdict(port)
      return host:gate(web.id):judge(("in tcp 172.16.0.9:1 -> 172.16.0.2:%d"):format(port)).verdict
    end
    assert.equal("block", verdict(80))
    assert(change(function()
      return host:add_rules(web.id, { rule { protocol = "tcp", local_port = 80, name = "one" } })
    end))
    assert.equal("allow", verdict(80))
    assert(change(function()
      return host:add_rules(web.id, { rule { protocol = "tcp", local_port = 81, name = "two" } })
    end))
    assert.equal("allow", verdict(80))
    assert.equal("allow", verdict(81))
    local names = {}
    for i, each in ipairs(host:rules(web.id)) do
      names[i] = each.name
    end
    assert.same({ "one", "two" }, names)
    assert.equal(3, host:endpoints()[1].generation)
  end)

  it("of a mistake change nothing", function()
    local web = container "web"
    local _, message = change(function()
      return host:add_rules(web.id, { rule { protocol = "47", local_port = 80 } })
    end)
    assert.equal("h.lua:1: protocol gre has no ports (tcp, udp, sctp, dccp and udplite do)", message)
    assert.same({}, host:rules(web.id))
  end)

  it("are shared by endpoints of the same list and network", function()
    local rules = { rule { protocol = "tcp", local_port = 80, name = "shared" } }
    local a, b = container("a", {}, { rules = rules }), container("b", {}, { rules = rules })
    assert.equal(host:rules(a.id)[1].id, host:rules(b.id)[1].id)
    assert.is_false(host:rules(a.id)[1].own)
  end)
end)

describe("a container is found", function()
  before_each(function()
    assert(container("abc123", { name = "web" }))
    assert(container("abd456", { name = "db" }))
  end)

  it("by id, name or the beginning of one id", function()
    assert.equal("abc123", host:container("abc123").id)
    assert.equal("abc123", host:container("web").id)
    assert.equal("abd456", host:container("abd").id)
  end)

  it("or not, with a sentence", function()
    assert.equal("'ab' could be several containers; give more of the id", select(2, host:container "ab"))
    assert.equal("there is no container 'x'", select(2, host:container "x"))
  end)
end)

describe("a switch has ports for 1022 endpoints", function()
  it("and the next is refused before anything is made", function()
    assert(network { name = "wide", driver = "nat", subnets = { "10.0.0.0/16" } })
    assert(change(function()
      for i = 1, 1022 do
        assert(host:add_container { id = "c" .. i, type = "process", policies = "policies/default" })
        assert(endpoint("c" .. i, { network = "wide" }))
      end
      return true
    end))
    local made, message, code = container("one", nil, { network = "wide" })
    assert.is_nil(made)
    assert.equal("network 'wide' is full: its switch has ports for 1022 endpoints", message)
    assert.equal("EXFULL", code)
    assert.same({}, host:containers "one")
    assert(change(function() return host:remove_container "c7" end))
    assert(container("one", nil, { network = "wide" }))
    assert(container("other", nil, { network = "nat" }))
  end)
end)

--- prove_spec.lua - proofs about gates, each with a packet where it does not hold.
local filter = require "bulkhead.filter"
local prove = require "bulkhead.prove"

local function rule(fields)
  fields.action, fields.direction = fields.action or "allow", fields.direction or "inbound"
  return fields
end

local function gate(rules, inbound, more)
  local spec = more or {}
  for i, each in ipairs(rules) do
    rules[i] = rule(each)
  end
  spec.rules = rules
  spec.default = { inbound = { action = inbound or "block" }, outbound = { action = "allow" } }
  return assert(filter.gate(spec))
end

--- A class on one line.
local function line(class)
  local parts = { class.change, class.direction, class.protocol or "any" }
  for _, field in ipairs { "icmp", "local", "local_port", "remote", "remote_port" } do
    if class[field] then
      parts[#parts + 1] = field .. "=" .. class[field]
    end
  end
  return table.concat(parts, " ")
end

local function lines(a, b)
  local list = {}
  for i, class in ipairs(assert(prove.compare(a, b))) do
    list[i] = line(class)
    -- Whatever the class, its example really differs.
    assert.equal(class.change == "allowed" and "block" or "allow", a:judge(class.example).verdict)
    assert.equal(class.change == "allowed" and "allow" or "block", b:judge(class.example).verdict)
  end
  return list
end

describe("an example", function()
  it("refuses what a misspelt word would leave unsaid", function()
    local open = gate({}, "allow")
    for message, what in pairs {
      ["a rule's direction is inbound or outbound, not 'out'"] = { protocol = "udp", direction = "out" },
      ["a rule's action is allow or block, not 'deny'"] = { action = "deny" },
      ["a rule has no field 'protocl'"] = { protocl = "udp" },
      ["a rule has no field 'number'"] = { "udp" },
    } do
      local held, why = prove.forbids(open, what)
      assert.is_nil(held)
      assert.equal(message, why)
    end
    for message, spec in pairs {
      ["a gate has no field 'inbond'"] = { inbond = {} },
      ["a default has no field 'in'"] = { default = { ["in"] = {} } },
      ["a default verdict is a table"] = { default = { inbound = "block" } },
      ["a default's action is allow or block"] = { default = { inbound = { action = "blck" } } },
    } do
      local ok, why = pcall(filter.gate, spec)
      assert.is_false(ok)
      assert.truthy(why:find(message, 1, true), why)
    end
    local none, why = filter.gate { rules = { { action = "deny" } } }
    assert.is_nil(none)
    assert.equal("a rule's action is allow or block, not 'deny'", why)
  end)

  it("is one that could be sent to a container without IPv6, where there is one", function()
    local addresses = { addresses = { "172.16.5.5/16" } }
    local function example(fields)
      return assert(prove.compare(gate({}, "block", addresses), gate({ fields }, "block", addresses)))[1].example
    end
    assert.equal("in tcp[S] 10.0.0.9:51000 -> 172.16.5.5:80", example {})
    assert.equal("in icmp6[128:0] 2001:db8::9 -> ff02::1", example { protocol = "icmp6" })
    assert.equal("in udp 2001:db8::9:51000 -> ff02::1:80", (example { protocol = "udp", remote = "::/0" }:gsub("[%[%]]", "")))
    assert.equal("in udp 10.0.0.9:51000 -> 224.0.0.1:80",
      example { protocol = "udp", ["local"] = "224.0.0.0/4" })
  end)
end)

describe("a comparison", function()
  it("of the same finds nothing", function()
    assert.same({}, lines(gate { { protocol = "tcp", local_port = "80" } }, gate {
      { protocol = "tcp", local_port = "80" } }))
    assert.is_true(prove.equivalent(gate {}, gate {}))
  end)

  it("sees that it is the same in other words", function()
    local a = gate { { protocol = "tcp", local_port = "80-89" } }
    local b = gate { { protocol = "tcp", local_port = "80-85" }, { protocol = "tcp", local_port = "84-89" } }
    assert.is_true(prove.equivalent(a, b))
    a = gate { { remote = "10.0.0.0/8" } }
    b = gate { { remote = "10.0.0.0/9" }, { remote = "10.128.0.0/9" }, { protocol = "udp", remote = "10.1.0.0/16" } }
    assert.is_true(prove.equivalent(a, b))
  end)

  it("joins what is adjacent and tells ranges", function()
    assert.same({ "allowed inbound tcp local_port=80-82" }, lines(gate {}, gate {
      { protocol = "tcp", local_port = "80" }, { protocol = "tcp", local_port = "81,82" } }))
    assert.same({ "allowed inbound tcp,udp local_port=53" }, lines(gate {}, gate {
      { protocol = "tcp", local_port = "53" }, { protocol = "udp", local_port = "53" } }))
    assert.same({ "allowed inbound any remote=10.0.0.0/8" }, lines(gate {}, gate {
      { remote = "10.0.0.0/9" }, { remote = "10.128.0.0/9" } }))
  end)

  it("tells what a default changes, less what rules say", function()
    assert.same({ "allowed inbound any" }, lines(gate {}, gate({}, "allow")))
    assert.same({ "allowed inbound !tcp", "allowed inbound tcp local_port=0-79,81-65535" },
      lines(gate { { protocol = "tcp", local_port = "80" } }, gate({}, "allow")))
    assert.same({ "allowed inbound !icmp" }, lines(gate { { protocol = "icmp" } }, gate({}, "allow")))
  end)

  it("tells types of ICMP", function()
    assert.same({ "allowed inbound icmp icmp=3:4,8" }, lines(gate {}, gate {
      { protocol = "icmp", icmp = "8,3:4" } }))
    assert.same({ "allowed inbound icmp6" }, lines(gate {}, gate { { protocol = "icmp6" } }))
  end)

  it("prints words where they say it", function()
    local more = function()
      return { words = { LocalSubnet = { "10.1.0.0/16", "fd00::/64" } } }
    end
    assert.same({ "allowed inbound any remote=LocalSubnet" }, lines(gate({}, nil, more()),
      gate({ { remote = "LocalSubnet" } }, nil, more())))
    assert.same({ "allowed inbound tcp remote=!LocalSubnet" }, lines(gate({}, nil, more()),
      gate({ { protocol = "tcp", remote = "!LocalSubnet" } }, nil, more())))
  end)

  it("heeds priorities, and block before allow", function()
    local allow, block = { protocol = "tcp" }, { action = "block", protocol = "tcp", local_port = "22" }
    assert.same({ "allowed inbound tcp local_port=0-21,23-65535" }, lines(gate {}, gate { allow, block }))
    block = { action = "block", protocol = "tcp", local_port = "22", priority = 2000 }
    assert.same({ "allowed inbound tcp" }, lines(gate {}, gate { allow, block }))
  end)

  it("counts an audited block as what it does", function()
    local audited = { action = "block", protocol = "tcp", audit = true }
    assert.same({}, lines(gate({}, "allow"), gate({ audited }, "allow")))
  end)

  it("leaves out what no rule is asked about", function()
    assert.same({}, lines(gate {}, gate { { protocol = "icmp6", icmp = "135,136" } }))
    local spoofs = { { direction = "outbound", action = "block", protocol = "icmp6", icmp = "134" } }
    assert.same({}, lines(gate {}, gate(spoofs)))
    local a = gate({}, nil, { addresses = { "172.16.0.2/16" } })
    local b = gate({ { ["local"] = "172.16.0.3" } }, nil, { addresses = { "172.16.0.2/16" } })
    assert.same({}, lines(a, b))
  end)

  it("sees identity that only one has", function()
    local a = gate({}, nil, { options = { antispoof = true, timeouts = {} } })
    local b = gate({}, nil, { options = { antispoof = true, router = true, timeouts = {} } })
    assert.same({ "allowed outbound icmp icmp=5,9", "allowed outbound icmp6 icmp=134,137" }, lines(a, b))
    assert.equal("spoof", prove.compare(a, b)[1].before.by)
  end)

  it("names what decides on either side", function()
    local class = prove.compare(gate {}, gate {
      { protocol = "tcp", name = "web", origin = "p.lua:3" } })[1]
    assert.same({ action = "block", audit = false, by = "default" }, class.before)
    assert.same({ action = "allow", audit = false, by = "rule", rule = "web", origin = "p.lua:3", id = 1 },
      class.after)
  end)

  it("says so when it is over its budget", function()
    local nothing, message, code = prove.compare(gate {}, gate { { protocol = "tcp" } }, 10)
    assert.is_nil(nothing)
    assert.equal("E2BIG", code)
    assert.matches("over its budget", message)
  end)
end)

describe("a proof", function()
  local web = gate { { protocol = "tcp", local_port = "80", remote = "10.0.0.0/8" } }

  it("of what is permitted", function()
    assert.is_true(prove.permits(web, { protocol = "tcp", local_port = 80, remote = "10.1.0.0/16" }))
    local holds, packet = prove.permits(web, { protocol = "tcp", local_port = "80-81" })
    assert.is_false(holds)
    assert.equal("block", web:judge(packet).verdict)
    assert.is_true(prove.permits(web, { direction = "outbound" }))
  end)

  it("of what is forbidden", function()
    assert.is_true(prove.forbids(web, { protocol = "udp" }))
    local holds, packet = prove.forbids(web, { protocol = "tcp" })
    assert.is_false(holds)
    assert.equal("allow", web:judge(packet).verdict)
    assert.matches(":80$", packet)
  end)

  it("of what is the same", function()
    local same, packet = prove.equivalent(web, gate {})
    assert.is_false(same)
    assert.matches("^in tcp%[S%] 10%.", packet)
  end)

  it("of rules that never decide", function()
    local g = gate { { protocol = "tcp", local_port = "1-50" }, { protocol = "tcp", local_port = "40-90" },
      { protocol = "tcp", local_port = "30-80" } }
    local rules = prove.rules(g)
    assert.is_true(prove.shadowed(g, rules[3].id))
    local shadowed, packet = prove.shadowed(g, rules[2].id)
    assert.is_false(shadowed)
    assert.equal(rules[2].id, g:judge(packet).rule_id)
    assert.is_false(prove.idle(g, rules[1].id))
    assert.is_true(prove.idle(gate({ { protocol = "tcp" } }, "allow"), 1))
  end)

  it("refuses what is no rule, by its sentence", function()
    local nothing, message = prove.permits(web, { protocol = "tpc" })
    assert.is_nil(nothing)
    assert.matches("protocol 'tpc' is not known", message)
    assert.has_error(function() prove.shadowed(web, 99) end)
  end)
end)

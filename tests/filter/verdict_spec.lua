--- verdict_spec.lua - DESIGN 3.1 as tables: packets, and the verdict each must get.
local filter = require "bulkhead.filter"

local BLOCK, ALLOW = { action = "block" }, { action = "allow" }

--- A gate at 10.0.0.2 and fd00::2; inbound is blocked unless said otherwise.
local function gate(spec)
  spec = spec or {}
  spec.addresses = spec.addresses or { "10.0.0.2/24", "fd00::2/64" }
  spec.default = spec.default or { inbound = BLOCK, outbound = ALLOW }
  return assert(filter.gate(spec))
end

local function rule(action, direction, fields)
  fields.action, fields.direction = action, direction
  return fields
end

--- Sequences on one gate each: { packet, "verdict by", seconds that pass before it }.
local sequences = {
  ["what nobody asked for"] = {
    { "in tcp 10.0.0.9:51000 -> 10.0.0.2:80", "block default" },
    { "in udp 10.0.0.9:53 -> 10.0.0.2:40000", "block default" },
    { "in tcp[A] 10.0.0.9:80 -> 10.0.0.2:51000", "block default" },
    { "in icmp 10.0.0.9 -> 10.0.0.2", "block default" },
    { "in 47 10.0.0.9 -> 10.0.0.2", "block default" },
    { "out tcp 10.0.0.2:51000 -> 10.0.0.9:80", "allow default" },
    { "out 47 10.0.0.2 -> 10.0.0.9", "allow default" },
  },
  ["a tcp conversation"] = {
    { "out tcp 10.0.0.2:51000 -> 10.0.0.9:80", "allow default" },
    { "in tcp[SA] 10.0.0.9:80 -> 10.0.0.2:51000", "allow flow" },
    { "out tcp[A] 10.0.0.2:51000 -> 10.0.0.9:80", "allow flow" },
    { "in tcp[PA] 10.0.0.9:80 -> 10.0.0.2:51000", "allow flow" },
    { "in tcp[PA] 10.0.0.9:81 -> 10.0.0.2:51000", "block default" },
    { "in tcp[PA] 10.0.0.8:80 -> 10.0.0.2:51000", "block default" },
    { "in tcp[A] 10.0.0.9:80 -> 10.0.0.2:51000", "allow flow", 86399 },
    { "in tcp[A] 10.0.0.9:80 -> 10.0.0.2:51000", "block default", 86401 },
  },
  ["a bare SYN belongs to no flow"] = {
    { "out tcp 10.0.0.2:51000 -> 10.0.0.9:80", "allow default" },
    { "in tcp[SA] 10.0.0.9:80 -> 10.0.0.2:51000", "allow flow" },
    { "in tcp[S] 10.0.0.9:80 -> 10.0.0.2:51000", "block default" },
    { "out tcp[S] 10.0.0.2:51000 -> 10.0.0.9:80", "allow default" },
  },
  ["a connection in mid-stream outlives a lost table"] = {
    { "out tcp[PA] 10.0.0.2:51000 -> 10.0.0.9:80", "allow default" },
    { "in tcp[A] 10.0.0.9:80 -> 10.0.0.2:51000", "allow flow" },
  },
  ["a SYN that nobody answers"] = {
    { "out tcp 10.0.0.2:51000 -> 10.0.0.9:80", "allow default" },
    { "in tcp[SA] 10.0.0.9:80 -> 10.0.0.2:51000", "block default", 61 },
  },
  ["a closing connection"] = {
    { "out tcp 10.0.0.2:51000 -> 10.0.0.9:80", "allow default" },
    { "in tcp[SA] 10.0.0.9:80 -> 10.0.0.2:51000", "allow flow" },
    { "out tcp[A] 10.0.0.2:51000 -> 10.0.0.9:80", "allow flow" },
    { "out tcp[FA] 10.0.0.2:51000 -> 10.0.0.9:80", "allow flow" },
    { "in tcp[FA] 10.0.0.9:80 -> 10.0.0.2:51000", "allow flow", 59 },
    { "in tcp[A] 10.0.0.9:80 -> 10.0.0.2:51000", "block default", 61 },
  },
  ["after a reset ten seconds, however much is sent"] = {
    { "out tcp 10.0.0.2:51000 -> 10.0.0.9:80", "allow default" },
    { "in tcp[RA] 10.0.0.9:80 -> 10.0.0.2:51000", "allow flow" },
    { "in tcp[A] 10.0.0.9:80 -> 10.0.0.2:51000", "allow flow", 6 },
    { "in tcp[A] 10.0.0.9:80 -> 10.0.0.2:51000", "block default", 6 },
  },
  ["udp, unanswered and answered"] = {
    { "out udp 10.0.0.2:40000 -> 10.0.0.9:53", "allow default" },
    { "in udp 10.0.0.9:53 -> 10.0.0.2:40000", "allow flow", 29 },
    { "in udp 10.0.0.9:53 -> 10.0.0.2:40000", "allow flow", 179 },
    { "in udp 10.0.0.9:53 -> 10.0.0.2:40000", "block default", 181 },
  },
  ["udp that nobody answers"] = {
    { "out udp 10.0.0.2:40000 -> 10.0.0.9:53", "allow default" },
    { "in udp 10.0.0.9:53 -> 10.0.0.2:40000", "block default", 31 },
  },
  ["a ping and its reply"] = {
    { "in icmp[0:0] 10.0.0.9 -> 10.0.0.2", "block default" },
    { "out icmp[8:0] 10.0.0.2 -> 10.0.0.9", "allow default" },
    { "in icmp[0:0] 10.0.0.9 -> 10.0.0.2", "allow flow" },
    { "in icmp[8:0] 10.0.0.9 -> 10.0.0.2", "block default" },
    { "in icmp[14:0] 10.0.0.9 -> 10.0.0.2", "block default" },
    { "in icmp[0:0] 10.0.0.9 -> 10.0.0.2", "block default", 31 },
  },
  ["a reply starts nothing"] = {
    { "out icmp[0:0] 10.0.0.2 -> 10.0.0.9", "allow default" },
    { "out icmp[0:0] 10.0.0.2 -> 10.0.0.9", "allow default" },
    { "in icmp[8:0] 10.0.0.9 -> 10.0.0.2", "block default" },
  },
  ["a ping of IPv6"] = {
    { "out icmp6[128:0] fd00::2 -> fd00::9", "allow default" },
    { "in icmp6[129:0] fd00::9 -> fd00::2", "allow flow" },
    { "in icmp6[128:0] fd00::9 -> fd00::2", "block default" },
  },
  ["an error by its inner header"] = {
    { "in icmp[3:3] 10.0.0.9 -> 10.0.0.2", "block default" },
    { "out udp 10.0.0.2:9 -> 10.0.0.9:9", "allow default" },
    { "in icmp[3:3] 10.0.0.9 -> 10.0.0.2", "allow flow" },
    { "in icmp[11:0] 10.0.0.9 -> 10.0.0.2", "allow flow" },
    { "in icmp[5:0] 10.0.0.9 -> 10.0.0.2", "block default" },
  },
  ["an error of IPv6 by its inner header"] = {
    { "in icmp6[1:4] fd00::9 -> fd00::2", "block default" },
    { "out udp [fd00::2]:9 -> [fd00::9]:9", "allow default" },
    { "in icmp6[1:4] fd00::9 -> fd00::2", "allow flow" },
  },
  ["the answer to a multicast starts anew"] = {
    { "out udp 10.0.0.2:5353 -> 224.0.0.251:5353", "allow default" },
    { "in udp 10.0.0.9:5353 -> 10.0.0.2:5353", "block default" },
    { "out udp [fd00::2]:5353 -> [ff02::fb]:5353", "allow default" },
    { "in udp [fd00::9]:5353 -> [fd00::2]:5353", "block default" },
  },
  ["other protocols have flows too"] = {
    { "out 47 10.0.0.2 -> 10.0.0.9", "allow default" },
    { "in 47 10.0.0.9 -> 10.0.0.2", "allow flow" },
    { "in 50 10.0.0.9 -> 10.0.0.2", "block default" },
    { "in 47 10.0.0.9 -> 10.0.0.2", "block default", 61 },
  },
  ["whose address it is"] = {
    { "out udp 10.0.0.3:9 -> 10.0.0.9:9", "block spoof" },
    { "out udp [fd00::3]:9 -> [fd00::9]:9", "block spoof" },
    { "out icmp6[128:0] fe80::ff:fe00:2 -> fe80::1", "allow default" },
    { "out icmp6[128:0] fe80::3 -> fe80::1", "block spoof" },
    { "out udp 0.0.0.0:68 -> 255.255.255.255:67", "allow default" },
    { "out udp 0.0.0.0:68 -> 255.255.255.255:68", "block spoof" },
    { "out tcp 0.0.0.0:68 -> 10.0.0.9:67", "block spoof" },
    { "out icmp6[143:0] :: -> ff02::16", "allow default" },
    { "out icmp6[128:0] :: -> ff02::1", "block spoof" },
    { "out icmp6[133:0] fe80::ff:fe00:2 -> ff02::2", "allow default" },
    { "in udp 10.0.0.9:9 -> 10.0.0.3:9", "block spoof" },
    { "in udp [fd00::9]:9 -> [fd00::3]:9", "block spoof" },
    { "in udp 10.0.0.9:9 -> 10.0.0.255:9", "block default" },
    { "in udp 10.0.0.9:9 -> 255.255.255.255:9", "block default" },
    { "in udp 10.0.0.9:9 -> 224.0.0.1:9", "block default" },
  },
  ["who may speak for the network"] = {
    { "out icmp6[134:0] fe80::ff:fe00:2 -> ff02::1", "block spoof" },
    { "out icmp6[137:0] fe80::ff:fe00:2 -> fd00::9", "block spoof" },
    { "out icmp[5:0] 10.0.0.2 -> 10.0.0.9", "block spoof" },
    { "out icmp[9:0] 10.0.0.2 -> 224.0.0.1", "block spoof" },
    { "out udp 10.0.0.2:67 -> 10.0.0.9:68", "block spoof" },
    { "out udp [fd00::2]:547 -> [fd00::9]:546", "block spoof" },
    { "out udp 10.0.0.2:67 -> 10.0.0.9:69", "allow default" },
    { "out udp 10.0.0.2:4000 -> 10.0.0.9:68", "block spoof" }, -- a client takes it from any port
    { "out udp 10.0.0.2:4000 -> 255.255.255.255:68", "block spoof" },
    { "out udp [fd00::2]:4000 -> [fd00::9]:546", "block spoof" },
    { "out udp 10.0.0.2:4000 -> 10.0.0.9:546", "allow default" },
    { "out udp [fd00::2]:4000 -> [fd00::9]:68", "allow default" },
    { "out udp [fd00::2]:546 -> [ff02::1:2]:547", "allow default" },
    { "out tcp 10.0.0.2:4000 -> 10.0.0.9:68", "allow default" },
  },
  ["neighbours need no rule"] = {
    { "out icmp6[135:0] fd00::2 -> fd00::9", "allow neighbour" },
    { "in icmp6[135:0] fd00::9 -> fd00::2", "allow neighbour" },
    { "in icmp6[136:0] fd00::9 -> fd00::2", "allow neighbour" },
    { "out icmp6[136:0] fd00::2 -> fd00::9", "allow neighbour" },
  },
}

describe("the order of a verdict", function()
  for name, sequence in pairs(sequences) do
    it("holds for " .. name, function()
      local subject = gate()
      for i, step in ipairs(sequence) do
        subject:advance(step[3] or 0)
        local answer = assert(subject:judge(step[1]))
        assert.equal(step[2], answer.verdict .. " " .. answer.by, ("step %d: %s"):format(i, step[1]))
      end
    end)
  end
end)

describe("what hosts tell a whole link of themselves", function()
  -- On a link of a thousand hosts each row would be one of a million.
  for _, what in ipairs {
    "icmp6[131:0] %s -> ff02::fb", "icmp6[132:0] %s -> ff02::2", "icmp6[143:0] %s -> ff02::16",
    "icmp6[133:0] %s -> ff02::2", "igmp %s -> 224.0.0.22",
  } do
    it("starts no flow at those who hear it: " .. what, function()
      local six = what:find "icmp6"
      local subject = gate { default = { inbound = ALLOW, outbound = ALLOW } }
      for _, by in ipairs { "default", "default" } do
        local answer = assert(subject:judge("in " .. what:format(six and "fe80::9" or "10.0.0.9")))
        assert.equal("allow " .. by, answer.verdict .. " " .. answer.by)
      end
      for _, by in ipairs { "default", "flow" } do
        local answer = assert(subject:judge("out " .. what:format(six and "fe80::ff:fe00:2" or "10.0.0.2")))
        assert.equal("allow " .. by, answer.verdict .. " " .. answer.by)
      end
    end)
  end

  it("is not what a router says, nor a question", function()
    local subject = gate { default = { inbound = ALLOW, outbound = ALLOW } }
    for _, packet in ipairs {
      "in icmp6[134:0] fe80::1 -> ff02::1", "in icmp6[130:0] fe80::1 -> ff02::1", "in icmp6[128:0] fe80::1 -> ff02::1",
      "in icmp[8:0] 10.0.0.9 -> 224.0.0.1", "in udp 10.0.0.9:5353 -> 224.0.0.251:5353",
    } do
      assert.equal("default", subject:judge(packet).by)
      assert.equal("flow", subject:judge(packet).by, packet)
    end
  end)
end)

describe("options of a policy", function()
  it("let a router and a DHCP server speak", function()
    local subject = gate { options = { router = true, dhcp_server = true } }
    for _, packet in ipairs {
      "out icmp6[134:0] fe80::ff:fe00:2 -> ff02::1", "out icmp6[137:0] fe80::ff:fe00:2 -> fd00::9",
      "out icmp[5:0] 10.0.0.2 -> 10.0.0.9", "out udp 10.0.0.2:67 -> 10.0.0.9:68",
      "out udp 10.0.0.2:4000 -> 10.0.0.9:68",
    } do
      assert.equal("allow", subject:judge(packet).verdict, packet)
    end
  end)

  it("switch anti-spoofing off", function()
    local subject = gate { options = { antispoof = false } }
    assert.equal("allow", subject:judge("out udp 1.2.3.4:9 -> 10.0.0.9:9").verdict)
  end)

  it("set timeouts", function()
    local subject = gate { options = { timeouts = { udp = 2 } } }
    subject:judge "out udp 10.0.0.2:9 -> 10.0.0.9:9"
    subject:advance(3)
    assert.equal("block", subject:judge("in udp 10.0.0.9:9 -> 10.0.0.2:9").verdict)
  end)
end)

--- Rules, a packet, and which rule must win ("-" = the default).
local precedence = {
  { "the lowest priority wins", {
    rule("allow", "inbound", { name = "a", priority = 10 }),
    rule("block", "inbound", { name = "b", priority = 20 }) }, "in tcp 10.0.0.9:1 -> 10.0.0.2:80", "allow", "a" },
  { "block beats allow at equal priority", {
    rule("allow", "inbound", { name = "a" }), rule("block", "inbound", { name = "b" }) },
    "in tcp 10.0.0.9:1 -> 10.0.0.2:80", "block", "b" },
  { "one block changes only what it names", {
    rule("block", "outbound", { name = "b", remote = "10.0.0.9" }) },
    "out tcp 10.0.0.2:1 -> 10.0.0.8:80", "allow", "-" },
  { "and that it does", { rule("block", "outbound", { name = "b", remote = "10.0.0.9" }) },
    "out tcp 10.0.0.2:1 -> 10.0.0.9:80", "block", "b" },
  { "an audited block passes and says so", { rule("block", "inbound", { name = "b", audit = true }) },
    "in tcp 10.0.0.9:1 -> 10.0.0.2:80", "allow", "b" },
  { "an exclusion excludes", { rule("allow", "inbound", { name = "a", remote = "10.0.0.0/8,!10.0.0.9" }) },
    "in tcp 10.0.0.9:1 -> 10.0.0.2:80", "block", "-" },
  { "an exclusion leaves the rest", { rule("allow", "inbound", { name = "a", remote = "!10.0.0.9" }) },
    "in tcp 10.0.0.8:1 -> 10.0.0.2:80", "allow", "a" },
  { "::/0 is no IPv4 address", { rule("allow", "inbound", { name = "a", remote = "::/0" }) },
    "in tcp 10.0.0.8:1 -> 10.0.0.2:80", "block", "-" },
  { "0.0.0.0/0 is no IPv6 address", { rule("allow", "inbound", { name = "a", remote = "0.0.0.0/0" }) },
    "in tcp [fd00::9]:1 -> [fd00::2]:80", "block", "-" },
  { "a port range has its last port", { rule("allow", "inbound", { name = "a", protocol = "tcp", local_port = "80-90" }) },
    "in tcp 10.0.0.8:1 -> 10.0.0.2:90", "allow", "a" },
  { "and not one more", { rule("allow", "inbound", { name = "a", protocol = "tcp", local_port = "80-90" }) },
    "in tcp 10.0.0.8:1 -> 10.0.0.2:91", "block", "-" },
  { "ports without a protocol mean those that have ports", { rule("allow", "inbound", { name = "a", local_port = 80 }) },
    "in sctp 10.0.0.8:1 -> 10.0.0.2:80", "allow", "a" },
  { "icmp type and code", { rule("allow", "inbound", { name = "a", protocol = "icmp", icmp = "3:4" }) },
    "in icmp[3:4] 10.0.0.8 -> 10.0.0.2", "allow", "a" },
  { "the code counts", { rule("allow", "inbound", { name = "a", protocol = "icmp", icmp = "3:4" }) },
    "in icmp[3:3] 10.0.0.8 -> 10.0.0.2", "block", "-" },
  { "a rule of the other direction says nothing", { rule("allow", "outbound", { name = "a" }) },
    "in tcp 10.0.0.8:1 -> 10.0.0.2:80", "block", "-" },
}

describe("of the rules that match", function()
  for _, case in ipairs(precedence) do
    it(case[1], function()
      for _, where in ipairs { "rules", "own" } do
        local answer = gate({ [where] = case[2] }):judge(case[3])
        assert.equal(case[4] .. " " .. case[5], answer.verdict .. " " .. (answer.rule or "-"), where)
      end
    end)
  end

  it("the endpoint's own and the shared ones are one order", function()
    local shared = { rule("allow", "inbound", { name = "shared", priority = 5 }) }
    local own = { rule("block", "inbound", { name = "own", priority = 5 }) }
    assert.equal("own", gate({ rules = shared, own = own }):judge("in tcp 10.0.0.9:1 -> 10.0.0.2:80").rule)
    own[1].priority = 6
    assert.equal("shared", gate({ rules = shared, own = own }):judge("in tcp 10.0.0.9:1 -> 10.0.0.2:80").rule)
  end)

  it("the losers are told with why they lost", function()
    local answer = gate({ rules = {
      rule("allow", "inbound", { name = "late", priority = 2000 }), rule("allow", "inbound", { name = "a" }),
      rule("block", "inbound", { name = "b" }),
    } }):judge "in tcp 10.0.0.9:1 -> 10.0.0.2:80"
    local told = {}
    for i, match in ipairs(answer.matched) do
      told[i] = match.rule .. ":" .. (match.lost_by or "won")
    end
    assert.same({ "b:won", "a:block", "late:priority" }, told)
  end)

  it("keywords mean what the network says", function()
    local subject = gate { rules = { rule("allow", "inbound", { name = "a", remote = "LocalSubnet" }) },
      words = { LocalSubnet = { "10.0.0.0/24", "fe80::/64" } } }
    assert.equal("allow", subject:judge("in tcp 10.0.0.9:1 -> 10.0.0.2:80").verdict)
    assert.equal("block", subject:judge("in tcp 10.0.1.9:1 -> 10.0.0.2:80").verdict)
  end)
end)

describe("the quota of a compartment", function()
  local function flood(subject, from, to)
    for port = from, to do
      local answer = subject:judge(("out tcp 10.0.0.2:%d -> 10.0.0.9:80"):format(port))
      assert.equal("allow", answer.verdict)
    end
  end

  local function established(subject, port)
    subject:judge(("out tcp 10.0.0.2:%d -> 10.0.0.9:80"):format(port))
    subject:judge(("in tcp[SA] 10.0.0.9:80 -> 10.0.0.2:%d"):format(port))
    subject:judge(("out tcp[A] 10.0.0.2:%d -> 10.0.0.9:80"):format(port))
  end

  it("replaces half open flows before established ones", function()
    local subject = gate { options = { flows = 100 } }
    for port = 1, 50 do
      established(subject, port)
    end
    flood(subject, 1000, 2000)
    assert.equal(100, subject:flow_count())
    for port = 1, 50 do
      assert.equal("flow", subject:judge(("in tcp[A] 10.0.0.9:80 -> 10.0.0.2:%d"):format(port)).by, port)
    end
  end)

  it("replaces expired flows first", function()
    local subject = gate { options = { flows = 10, timeouts = { udp = 5 } } }
    established(subject, 1)
    for port = 1, 4 do
      subject:judge(("out udp 10.0.0.2:%d -> 10.0.0.9:53"):format(port))
    end
    subject:advance(6)
    flood(subject, 1000, 1004)
    flood(subject, 1005, 1008) -- four expired ones make room
    assert.equal(10, subject:flow_count())
    assert.equal("flow", subject:judge("in tcp[SA] 10.0.0.9:80 -> 10.0.0.2:1000").by)
  end)

  it("replaces the oldest when all are established", function()
    local subject = gate { options = { flows = 10 } }
    for port = 1, 11 do
      established(subject, port)
    end
    assert.equal("block", subject:judge("in tcp[A] 10.0.0.9:80 -> 10.0.0.2:1").verdict)
    assert.equal("flow", subject:judge("in tcp[A] 10.0.0.9:80 -> 10.0.0.2:2").by)
  end)

  it("never gives up what it opened itself for what others open", function()
    local subject = gate { options = { flows = 100 }, default = { inbound = ALLOW, outbound = ALLOW } }
    for port = 1, 60 do
      subject:judge(("out udp 10.0.0.2:%d -> 10.0.0.9:53"):format(port))
    end
    for port = 1, 3000 do
      assert.truthy(subject:judge(("in udp 10.0.0.7:%d -> 10.0.0.2:7"):format(port)))
    end
    assert.equal(100, subject:flow_count())
    for port = 1, 60 do
      assert.equal("flow", subject:judge(("in udp 10.0.0.9:53 -> 10.0.0.2:%d"):format(port)).by, port)
    end
    for port = 100, 159 do -- and its own next ones find room, whatever others hold
      assert.equal("allow", subject:judge(("out udp 10.0.0.2:%d -> 10.0.0.9:53"):format(port)).verdict)
    end
  end)

  it("finds half open flows behind many places of flows long gone", function()
    local subject = gate { options = { flows = 1000 } }
    for port = 1, 900 do
      established(subject, port)
    end
    flood(subject, 10000, 10200)
    for port = 1, 900 do
      assert.equal("flow", subject:judge(("in tcp[A] 10.0.0.9:80 -> 10.0.0.2:%d"):format(port)).by, port)
    end
  end)
end)

--- Table 3.3 of the design, packet by packet, for each set as it is shipped: what passes, and the
--- near misses that don't. A fresh gate judges each, so that no flow of one helps another.
local filter = require "bulkhead.filter"
local frames = require "tests.support.frames"
local policy = require "bulkhead.policy"

local OWN, OWN6 = "172.16.0.2", "fd00:16::2"
local WORDS = {
  LocalSubnet = { "172.16.0.0/16", "fd00:16::/64", "fe80::/64" },
  DefaultGateway = { "172.16.0.1", "fd00:16::1" }, DNS = { "172.16.0.1", "fd00:16::1" }, DHCP = { "172.16.0.1" },
}
local PUBLISHED = {
  { host = 8080, container = 80, protocol = "tcp" }, { host = 53, container = 5353, protocol = "udp" },
}

--- The gate that a container of this type gets from a set.
local function gate(set, type, driver)
  local loaded = assert(policy.load { dir = "policies/" .. set, type = type, driver = driver or "nat" })
  local view = { id = "web", name = "web", type = type, annotations = {}, labels = {}, published = PUBLISHED }
  local own = assert(loaded:run("attach", view, { address = OWN, network = "nat", mac = "02:00:00:00:00:02" }))
  return assert(filter.gate {
    addresses = { OWN .. "/16", OWN6 .. "/64" }, default = loaded:default(), options = loaded:options(),
    rules = loaded:rules(), own = own, words = WORDS,
  })
end

local A4, A6 = " 10.0.0.9", " fd00:99::9"

--- An inbound packet in short: protocol, source port, own port.
local function v4(protocol, from, to)
  return ("in %s%s%s -> %s%s"):format(protocol, A4, from and ":" .. from or "", OWN, to and ":" .. to or "")
end

local function v6(protocol, from, to, source)
  if not from then
    return ("in %s %s -> %s"):format(protocol, source or A6:sub(2), OWN6)
  end
  return ("in %s [%s]:%s -> [%s]:%s"):format(protocol, source or A6:sub(2), from, OWN6, to)
end

-- What is the same in every set. Each row: packet, verdict, by, name of the rule.
local SHARED = {
  { v4("udp", 67, 68), "allow", "rule", "DHCP" },
  { "in udp 172.16.0.1:67 -> 255.255.255.255:68", "allow", "rule", "DHCP" },
  { v6("udp", 547, 546), "allow", "rule", "DHCPv6" },
  { "in igmp 172.16.0.1 -> 224.0.0.1", "allow", "rule", "IGMP" },
  { "in icmp6[135:0] fd00:16::9 -> fd00:16::2", "allow", "neighbour" },
  { "in icmp6[136:0] fd00:16::9 -> fd00:16::2", "allow", "neighbour" },
  { v4("tcp", 51000, 80), "allow", "rule", "published 8080" },
  { v6("tcp", 51000, 80), "allow", "rule", "published 8080" },
  { v4("udp", 51000, 5353), "allow", "rule", "published 53" },
}

local COMMON = {
  -- DHCP: its near misses
  { v4("udp", 67, 69), "block", "default" },
  { v4("udp", 68, 68), "block", "default" },
  { v4("udp", 68, 67), "block", "default" },
  { v4("tcp", 67, 68), "block", "default" },
  { v4("udp", 66, 68), "block", "default" },
  { v6("udp", 67, 546), "block", "default" },
  -- DHCPv6
  { v6("udp", 547, 547), "block", "default" },
  { v6("udp", 546, 546), "block", "default" },
  { v6("udp", 546, 547), "block", "default" },
  { v6("tcp", 547, 546), "block", "default" },
  { v4("udp", 547, 547), "block", "default" },
  -- DNS is no rule: an unsolicited packet from port 53 stays out
  { v4("udp", 53, 40000), "block", "default" },
  { v6("udp", 53, 40000), "block", "default" },
  { v4("tcp[SA]", 53, 40000), "block", "default" },
  -- everything else
  { v4("tcp", 51000, 22), "block", "default" },
  { v4("tcp", 51000, 8080), "block", "default" }, -- the host's port is no hole
  { v4("udp", 51000, 80), "block", "default" }, -- nor the other protocol
  { v4("tcp", 51000, 5353), "block", "default" },
  { v4("tcp[A]", 51000, 22), "block", "default" },
  { v4("tcp[R]", 51000, 22), "block", "default" },
  { v4("tcp[F]", 51000, 22), "block", "default" },
  { v4("tcp[]", 51000, 22), "block", "default" },
  { v4("tcp[FPU]", 51000, 22), "block", "default" },
  { v6("tcp", 51000, 22), "block", "default" },
  { v4("sctp", 51000, 22), "block", "default" },
  { v4 "47", "block", "default" },
  { v4 "50", "block", "default" },
  { v4 "3", "block", "default" },
  { v4 "0", "block", "default" },
}

local SETS = {
  default = {
    { v4 "icmp[8:0]", "allow", "rule", "ICMPv4" },
    { v4 "icmp[0:0]", "allow", "rule", "ICMPv4" },
    { v4 "icmp[3:4]", "allow", "rule", "ICMPv4" },
    { v4 "icmp[3:1]", "allow", "rule", "ICMPv4" },
    { v4 "icmp[11:0]", "allow", "rule", "ICMPv4" },
    { v4 "icmp[5:1]", "allow", "rule", "ICMPv4" },
    { v4 "icmp[13:0]", "allow", "rule", "ICMPv4" },
    { v4 "icmp[255:255]", "allow", "rule", "ICMPv4" },
    { v6 "icmp6[128:0]", "allow", "rule", "ICMPv6" },
    { v6 "icmp6[1:0]", "allow", "rule", "ICMPv6" },
    { "in icmp6[134:0] fe80::1 -> fd00:16::2", "allow", "rule", "ICMPv6" },
    { "in icmp6[130:0] fe80::1 -> ff02::1", "allow", "rule", "ICMPv6" },
    { "in icmp6[131:0] fe80::9 -> ff02::fb", "allow", "rule", "ICMPv6" },
    { "in icmp6[132:0] fe80::9 -> ff02::2", "allow", "rule", "ICMPv6" },
    { "in icmp6[143:0] fe80::9 -> ff02::16", "allow", "rule", "ICMPv6" },
    { v6 "2", "allow", "rule", "IGMP" },
  },
  strict = {
    { v4 "icmp[3:4]", "allow", "rule", "ICMPv4 fragmentation needed" },
    { v4 "icmp[3:3]", "block", "default" },
    { v4 "icmp[3:0]", "block", "default" },
    { v4 "icmp[4:0]", "block", "default" },
    { v4 "icmp[8:0]", "block", "default" }, -- no inbound ping
    { v4 "icmp[8:4]", "block", "default" },
    { v4 "icmp[0:0]", "block", "default" },
    { v4 "icmp[11:0]", "block", "default" },
    { v4 "icmp[5:1]", "block", "default" },
    { v6 "icmp6[1:0]", "allow", "rule", "ICMPv6 destination unreachable" },
    { v6 "icmp6[1:4]", "allow", "rule", "ICMPv6 destination unreachable" },
    { v6 "icmp6[2:0]", "allow", "rule", "ICMPv6 packet too big" },
    { v6 "icmp6[3:0]", "allow", "rule", "ICMPv6 time exceeded" },
    { v6 "icmp6[4:0]", "allow", "rule", "ICMPv6 parameter problem" },
    { v6 "icmp6[5:0]", "block", "default" },
    { v6 "icmp6[0:0]", "block", "default" },
    { v6 "icmp6[128:0]", "block", "default" },
    { v6 "icmp6[129:0]", "block", "default" },
    { "in icmp6[133:0] fe80::9 -> ff02::2", "allow", "rule", "router solicitation" },
    { "in icmp6[134:0] fe80::1 -> ff02::1", "allow", "rule", "router advertisement" },
    { "in icmp6[134:0] fe80::1 -> fd00:16::2", "allow", "rule", "router advertisement" },
    { "in icmp6[134:0] fd00:16::1 -> fd00:16::2", "block", "default" }, -- not link-local
    { "in icmp6[134:0] fe80:0:0:1::1 -> fd00:16::2", "block", "default" }, -- fe80::/10 but not /64
    { "in icmp6[137:0] fe80::1 -> fd00:16::2", "block", "default" },
    { "in icmp6[130:0] fe80::1 -> ff02::1", "allow", "rule", "MLD" },
    { "in icmp6[131:0] fe80::9 -> ff02::fb", "allow", "rule", "MLD" },
    { "in icmp6[132:0] fe80::9 -> ff02::2", "allow", "rule", "MLD" },
    { "in icmp6[143:0] fd00:16::9 -> ff02::16", "allow", "rule", "MLD" },
    { "in icmp6[143:0] fd00:99::9 -> ff02::16", "block", "default" }, -- not of the local subnet
    { "in icmp6[130:0] fd00:99::9 -> ff02::1", "block", "default" },
    { "in icmp6[141:0] fe80::9 -> ff02::16", "block", "default" },
  },
  ["windows-1709"] = {
    { v4("tcp", 51000, 22), "allow", "rule", "TCP" },
    { v4("tcp[A]", 51000, 22), "allow", "rule", "TCP" },
    { v6("tcp", 51000, 22), "allow", "rule", "TCP" },
    { v4("udp", 53, 40000), "allow", "rule", "UDP" },
    { v6("udp", 53, 40000), "allow", "rule", "UDP" },
    { v4("udp", 67, 68), "allow", "rule", "UDP" },
    { v6("udp", 547, 546), "allow", "rule", "UDP" },
    { v4 "icmp[8:0]", "allow", "rule", "ICMPv4" },
    { v6 "icmp6[128:0]", "allow", "rule", "ICMPv6" },
    { "in icmp6[135:0] fd00:16::9 -> fd00:16::2", "allow", "neighbour" },
    { "in igmp 172.16.0.1 -> 224.0.0.1", "allow", "rule", "IGMP" },
    { v4("sctp", 51000, 22), "block", "default" },
    { v4("dccp", 51000, 22), "block", "default" },
    { v4("136", 51000, 22), "block", "default" },
    { v4 "47", "block", "default" },
    { v4 "50", "block", "default" },
    { v4 "51", "block", "default" },
  },
}

local function judge(set, type, row, driver)
  local judgement, why = gate(set, type, driver):judge(row[1])
  assert(judgement, why)
  local expected = { row[2], row[3], row[4] }
  assert.same(expected, { judgement.verdict, judgement.by, judgement.rule }, set .. ": " .. row[1])
  return judgement
end

for set, rows in pairs(SETS) do
  describe("a process container under " .. set, function()
    it("admits what the table says and no more", function()
      for _, row in ipairs(rows) do
        judge(set, "process", row)
      end
      if set ~= "windows-1709" then
        for _, list in ipairs { SHARED, COMMON } do
          for _, row in ipairs(list) do
            judge(set, "process", row)
          end
        end
      end
    end)

    it("takes the other family's ICMP for a protocol like any other", function()
      local mac, peer = "02:00:00:00:00:02", "02:00:00:00:00:01"
      for _, frame in ipairs {
        frames.ethernet(mac, peer, 0x0800, frames.ipv4 {
          source = "10.0.0.9", target = OWN, protocol = 58, payload = ("\128"):rep(16),
        }),
        frames.ethernet(mac, peer, 0x86dd, frames.ipv6 {
          source = "fd00:99::9", target = OWN6, next = 1, payload = ("\8"):rep(16),
        }),
      } do
        local judgement = gate(set, "process"):judge_frame("inbound", frame)
        assert.same({ "block", "default" }, { judgement.verdict, judgement.by })
      end
    end)

    it("may send whatever it likes", function()
      for _, packet in ipairs {
        "out tcp %s:40000 -> 10.0.0.9:25", "out udp %s:40000 -> 10.0.0.9:53", "out icmp[8:0] %s -> 10.0.0.9",
        "out 47 %s -> 10.0.0.9", "out sctp %s:40000 -> 10.0.0.9:80", "out igmp %s -> 224.0.0.1",
        "out 50 %s -> 10.0.0.9", "out tcp[A] %s:40000 -> 10.0.0.9:25",
      } do
        judge(set, "process", { packet:format(OWN), "allow", "default" })
      end
    end)

    it("gets the replies to what it sent", function()
      for _, pair in ipairs {
        { "out udp %s:40000 -> 10.0.0.9:53", "in udp 10.0.0.9:53 -> %s:40000" },
        { "out tcp %s:40000 -> 10.0.0.9:25", "in tcp[SA] 10.0.0.9:25 -> %s:40000" },
        { "out icmp[8:0] %s -> 10.0.0.9", "in icmp[0:0] 10.0.0.9 -> %s" },
        { "out 47 %s -> 10.0.0.9", "in 47 10.0.0.9 -> %s" },
        { "out sctp %s:40000 -> 10.0.0.9:80", "in sctp 10.0.0.9:80 -> %s:40000" },
      } do
        local one = gate(set, "process")
        assert.equal("allow", one:judge(pair[1]:format(OWN)).verdict)
        local reply = one:judge(pair[2]:format(OWN))
        assert.same({ "allow", "flow" }, { reply.verdict, reply.by }, pair[2])
      end
    end)

    it("names the line of the rule, and of the default's field nothing", function()
      local judgement = gate(set, "process"):judge(v4 "igmp")
      assert.equal("IGMP", judgement.rule)
      assert.matches("^policies/" .. set:gsub("%p", "%%%0") .. "/.+%.lua:%d+$", judgement.origin)
      assert.is_nil(gate(set, "process"):judge(v4 "47").origin)
    end)
  end)

  describe("a hyperv container under " .. set, function()
    it("admits everything", function()
      for _, packet in ipairs { v4("tcp", 51000, 22), v4("udp", 53, 40000), v4 "47", v6("tcp", 51000, 22) } do
        judge(set, "hyperv", { packet, "allow", "default" })
      end
      judge(set, "hyperv", { v4("tcp", 51000, 80), "allow", "rule", "published 8080" })
    end)
  end)

  describe("an overlay's endpoint under " .. set, function()
    it("admits everything by a rule, both ways", function()
      for _, type in ipairs { "process", "hyperv" } do
        judge(set, type, { v4 "47", "allow", "rule", "overlay allow all" }, "overlay")
        judge(set, type, { ("out 47 %s -> 10.0.0.9"):format(OWN), "allow", "rule", "overlay allow all" }, "overlay")
      end
    end)

    it("still heeds a block", function()
      local loaded = assert(policy.load { dir = "policies/" .. set, type = "process", driver = "overlay" })
      local one = assert(filter.gate {
        addresses = { OWN .. "/16" }, default = loaded:default(), rules = loaded:rules(), words = WORDS,
        own = { { action = "block", direction = "inbound", protocol = "47", name = "no tunnels" } },
      })
      local judgement = one:judge(v4 "47")
      assert.same({ "block", "rule", "no tunnels" }, { judgement.verdict, judgement.by, judgement.rule })
      assert.equal("priority", judgement.matched[2].lost_by)
      assert.equal("allow", one:judge(v4 "50").verdict) -- one block names what it names
    end)
  end)
end

describe("what an endpoint may not say, whatever the set", function()
  for _, packet in ipairs {
    "out icmp6[134:0] fd00:16::2 -> ff02::1", "out icmp6[137:0] fd00:16::2 -> fd00:16::9",
    "out udp 172.16.0.2:67 -> 172.16.0.9:68", "out udp 172.16.0.2:67 -> 255.255.255.255:68",
    "out udp 172.16.0.2:4000 -> 172.16.0.9:68", "out udp [fd00:16::2]:4000 -> [ff02::1]:546",
    "out udp [fd00:16::2]:547 -> [fd00:16::9]:546", "out icmp[5:1] 172.16.0.2 -> 172.16.0.9",
    "out tcp 172.16.0.9:40000 -> 10.0.0.9:25", "out icmp6[136:0] fd00:16::9 -> fd00:16::1",
    "out udp 0.0.0.0:68 -> 255.255.255.255:69", "out icmp6[128:0] :: -> ff02::1",
    "out udp 127.0.0.1:40000 -> 172.16.0.9:53", "out tcp 10.0.0.1:40000 -> 172.16.0.9:25",
  } do
    it(packet, function()
      for set in pairs(SETS) do
        for _, type in ipairs { "process", "hyperv" } do
          judge(set, type, { packet, "block", "spoof" })
        end
      end
    end)
  end

  it("but what a stack needs to come up it may", function()
    for set in pairs(SETS) do
      for _, packet in ipairs {
        "out udp 0.0.0.0:68 -> 255.255.255.255:67", "out icmp6[143:0] :: -> ff02::16",
        "out udp 172.16.0.2:68 -> 172.16.0.1:67",
      } do
        judge(set, "process", { packet, "allow", "default" })
      end
    end
  end)
end)

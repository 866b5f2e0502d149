--- form_spec.lua - frames that are not what they say: no crash, dropped; and those that are odd but right.
local filter = require "bulkhead.filter"
local packets = require "tests.support.packets"

local SELF, OTHER, SELF6, OTHER6 = "10.0.0.2", "10.0.0.9", "fd00::2", "fd00::9"

local function gate(inbound)
  return assert(filter.gate {
    addresses = { SELF .. "/24", SELF6 .. "/64" },
    default = { inbound = { action = inbound or "allow" }, outbound = { action = "allow" } },
  })
end

local function v4(fields)
  fields.source, fields.target = fields.source or OTHER, fields.target or SELF
  return packets.frame(0x0800, packets.v4(fields))
end

local function v6(fields)
  fields.source, fields.target = fields.source or OTHER6, fields.target or SELF6
  return packets.frame(0x86dd, packets.v6(fields))
end

local function verdict(subject, frame, direction)
  local answer = subject:judge_frame(direction or "inbound", frame)
  return answer.verdict .. " " .. answer.by
end

--- An IPv6 extension header: next, then `size` bytes in all.
local function extension(next, size, fill)
  return string.char(next, size // 8 - 1) .. (fill or ("\0"):rep(size - 2))
end

local UDP, TCP = packets.udp(5, 6), packets.tcp(5, 6, "S")

local whole = {
  ["udp"] = v4 { protocol = 17, payload = UDP },
  ["tcp"] = v4 { protocol = 6, payload = TCP },
  ["icmp"] = v4 { protocol = 1, payload = packets.icmp(8, 0) },
  ["icmp error"] = v4 { protocol = 1, payload = packets.icmp(3, 3, "\0\0\0\0")
    .. packets.v4 { source = SELF, target = OTHER, protocol = 17, payload = UDP:sub(1, 8) } },
  ["udp of IPv6"] = v6 { protocol = 17, payload = UDP },
  ["icmp6 error"] = v6 { protocol = 58, payload = packets.icmp(1, 4, "\0\0\0\0")
    .. packets.v6 { source = SELF6, target = OTHER6, protocol = 17, payload = UDP:sub(1, 8) } },
  ["neighbour solicitation"] = v6 { protocol = 58, hops = 255,
    payload = packets.icmp(135, 0, "\0\0\0\0") .. packets.ip6(SELF6) .. "\1\1" .. packets.PEER },
  ["extension headers"] = v6 { protocol = 0,
    payload = extension(60, 8) .. extension(43, 8, "\0\0\0\0\0\0") .. extension(17, 16) .. UDP },
  ["arp"] = packets.frame(0x0806, packets.arp(1, packets.PEER, OTHER, ("\0"):rep(6), SELF)),
}

describe("a frame", function()
  for name, frame in pairs(whole) do
    it("passes whole and is dropped at every shorter length: " .. name, function()
      assert.equal("allow", (verdict(gate(), frame):match "%a+"))
      for length = 0, #frame - 1 do
        assert.equal("block malformed", verdict(gate(), frame:sub(1, length)), ("%d bytes"):format(length))
      end
    end)
  end

  it("may be padded behind the packet", function()
    assert.equal("allow default", verdict(gate(), whole.udp .. ("\0"):rep(18)))
  end)
end)

--- Frames that must be dropped as malformed.
local malformed = {
  ["tag 8100"] = packets.frame(0x8100, "\0\0\8\0" .. whole.udp:sub(15)),
  ["tag 88a8"] = packets.frame(0x88a8, "\0\0\8\0" .. whole.udp:sub(15)),
  ["tag 9100"] = packets.frame(0x9100, "\0\0\8\0" .. whole.udp:sub(15)),
  ["version 6 in ethertype IPv4"] = packets.frame(0x0800, whole["udp of IPv6"]:sub(15)),
  ["header length 4"] = v4 { protocol = 17, payload = UDP, ihl = 4 },
  ["header length beyond the packet"] = v4 { protocol = 17, payload = UDP, ihl = 15 },
  ["total length beyond the frame"] = v4 { protocol = 17, payload = UDP, total = 200 },
  ["total length 0"] = v4 { protocol = 17, payload = UDP, total = 0 },
  ["total length short of udp"] = v4 { protocol = 17, payload = UDP, total = 27 },
  ["udp length 7"] = v4 { protocol = 17, payload = packets.udp(5, 6, "12345678", 7) },
  ["udp length beyond"] = v4 { protocol = 17, payload = packets.udp(5, 6, "12345678", 17) },
  ["tcp header of 16 bytes"] = v4 { protocol = 6, payload = packets.tcp(5, 6, "S", 4) },
  ["tcp header beyond"] = v4 { protocol = 6, payload = packets.tcp(5, 6, "S", 6) },
  ["loose source route"] = v4 { protocol = 17, payload = UDP, options = "\131\7\4\10\0\0\1\0" },
  ["strict source route"] = v4 { protocol = 17, payload = UDP, options = "\137\7\4\10\0\0\1\0" },
  ["option of length 0"] = v4 { protocol = 17, payload = UDP, options = "\7\0\0\0" },
  ["option beyond the header"] = v4 { protocol = 17, payload = UDP, options = "\1\1\7\9" },
  ["first fragment without its header"] = v4 { protocol = 6, payload = TCP:sub(1, 16), more = true },
  ["later fragment before the first"] = v4 { protocol = 17, payload = UDP, offset = 64, id = 7 },
  ["fragment in the tcp header"] = v4 { protocol = 6, payload = TCP, offset = 8, id = 7 },
  ["fragment beyond 65535"] = v4 { protocol = 17, payload = ("x"):rep(64), offset = 65528 },
  ["fragment of odd length in the middle"] = v4 { protocol = 17, payload = "xxxxx", offset = 64, more = true },
  ["payload length beyond the frame"] = v6 { protocol = 17, payload = UDP, total = 200 },
  ["routing header with segments left"] = v6 { protocol = 43, payload = extension(17, 8, "\0\1\0\0\0\0") .. UDP },
  ["hop-by-hop not first"] = v6 { protocol = 60, payload = extension(0, 8) .. extension(17, 8) .. UDP },
  ["extension header beyond the packet"] = v6 { protocol = 60, payload = "\17\9" .. ("\0"):rep(14) },
  ["nine extension headers"] = v6 { protocol = 60, payload = extension(60, 8):rep(8) .. extension(17, 8) .. UDP },
  ["two fragment headers"] = v6 { protocol = 44, payload = "\44\0\0\1\0\0\0\1" .. "\17\0\0\1\0\0\0\1" .. UDP },
  ["neighbour solicitation from afar"] = v6 { protocol = 58, hops = 254,
    payload = packets.icmp(135, 0, "\0\0\0\0") .. packets.ip6(SELF6) },
  ["neighbour option of length 0"] = v6 { protocol = 58, hops = 255,
    payload = packets.icmp(135, 0, "\0\0\0\0") .. packets.ip6(SELF6) .. "\1\0" .. packets.PEER },
  ["fragmented neighbour advertisement"] = v6 { protocol = 44,
    payload = "\58\0\0\1\0\0\0\1" .. packets.icmp(136, 0, "\0\0\0\0") .. packets.ip6(SELF6) },
  ["an IPv4-mapped source"] = v6 { source = "::ffff:a00:9", protocol = 17, payload = UDP },
  ["arp of another hardware"] = packets.frame(0x0806,
    "\0\2" .. packets.arp(1, packets.PEER, OTHER, ("\0"):rep(6), SELF):sub(3)),
  ["arp op 3"] = packets.frame(0x0806, packets.arp(3, packets.PEER, OTHER, ("\0"):rep(6), SELF)),
}

describe("malformed is", function()
  for name, frame in pairs(malformed) do
    it(name, function()
      assert.equal("block malformed", verdict(gate(), frame))
    end)
  end
end)

describe("a protocol that looks like an extension header", function()
  it("is a protocol", function()
    local subject = assert(filter.gate {
      addresses = { SELF6 .. "/64" }, default = { inbound = { action = "block" }, outbound = { action = "allow" } },
      rules = { { action = "allow", direction = "inbound", protocol = "icmp6" } },
    })
    for _, protocol in ipairs { 135, 139, 140 } do
      local frame = v6 { protocol = protocol, payload = extension(58, 8) .. packets.icmp(128, 0) }
      assert.equal("block default", verdict(subject, frame), protocol)
    end
  end)
end)

describe("fragments", function()
  local function piece(offset, more, id)
    return v4 { protocol = 17, payload = offset == 0 and UDP or ("y"):rep(16), offset = offset, more = more, id = id }
  end

  it("follow their first", function()
    local subject = gate()
    assert.equal("allow default", verdict(subject, piece(0, true, 7)))
    assert.equal("allow fragment", verdict(subject, piece(16, true, 7)))
    assert.equal("allow fragment", verdict(subject, piece(32, false, 7)))
    assert.equal("block malformed", verdict(subject, piece(32, false, 8)))
  end)

  it("are dropped when their first was", function()
    local subject = gate "block"
    assert.equal("block default", verdict(subject, piece(0, true, 7)))
    assert.equal("block malformed", verdict(subject, piece(16, false, 7)))
  end)

  it("may use an identification again later", function()
    local subject = gate()
    verdict(subject, piece(0, true, 7))
    subject:advance(31)
    assert.equal("block malformed", verdict(subject, piece(16, false, 7)))
    assert.equal("allow default", (verdict(subject, piece(0, true, 7)):gsub("flow", "default")))
    assert.equal("allow fragment", verdict(subject, piece(16, false, 7)))
  end)

  it("of IPv6 follow their first", function()
    local subject = gate()
    local function piece6(offset, more, payload)
      return v6 { protocol = 44, payload = string.pack(">I1I1I2I4", 17, 0, offset | (more and 1 or 0), 99) .. payload }
    end
    assert.equal("allow default", verdict(subject, piece6(0, true, UDP)))
    assert.equal("allow fragment", verdict(subject, piece6(16, false, "zzzzzzzz")))
  end)

  it("of one are whole", function()
    local frame = v6 { protocol = 44, payload = "\17\0\0\0\0\0\0\1" .. UDP }
    assert.equal("allow default", verdict(gate(), frame))
  end)
end)

--- Identity by the frame: direction, frame, verdict.
local function out4(payload, source_mac)
  return packets.frame(0x0800, payload, source_mac or packets.OWN, packets.PEER)
end

local identity = {
  { "another's MAC", "outbound", out4(packets.v4 { source = SELF, target = OTHER, protocol = 17, payload = UDP },
    packets.PEER), "block spoof" },
  { "its own MAC", "outbound", out4(packets.v4 { source = SELF, target = OTHER, protocol = 17, payload = UDP }),
    "allow default" },
  { "a frame for another MAC", "inbound", packets.frame(0x0800,
    packets.v4 { source = OTHER, target = SELF, protocol = 17, payload = UDP }, packets.PEER, "\2\0\0\0\0\7"),
    "block spoof" },
  { "arp for its own address", "outbound", packets.frame(0x0806,
    packets.arp(2, packets.OWN, SELF, packets.PEER, OTHER), packets.OWN, packets.PEER), "allow neighbour" },
  { "arp for another's address", "outbound", packets.frame(0x0806,
    packets.arp(2, packets.OWN, OTHER, packets.PEER, SELF), packets.OWN, packets.PEER), "block spoof" },
  { "arp with another's hardware address", "outbound", packets.frame(0x0806,
    packets.arp(2, packets.PEER, SELF, packets.PEER, OTHER), packets.OWN, packets.PEER), "block spoof" },
  { "an arp probe", "outbound", packets.frame(0x0806,
    packets.arp(1, packets.OWN, "0.0.0.0", ("\0"):rep(6), SELF), packets.OWN, packets.BROADCAST), "allow neighbour" },
  { "an arp question for another", "inbound", packets.frame(0x0806,
    packets.arp(1, packets.PEER, OTHER, ("\0"):rep(6), "10.0.0.3"), packets.PEER, packets.BROADCAST), "block neighbour" },
  { "an arp announcement", "inbound", packets.frame(0x0806,
    packets.arp(1, packets.PEER, OTHER, ("\0"):rep(6), OTHER), packets.PEER, packets.BROADCAST), "allow neighbour" },
  { "an advertisement of another's address", "outbound", packets.frame(0x86dd,
    packets.v6 { source = SELF6, target = OTHER6, protocol = 58, hops = 255,
      payload = packets.icmp(136, 0, "\0\0\0\0") .. packets.ip6 "fd00::3" .. "\2\1" .. packets.OWN },
    packets.OWN, packets.PEER), "block spoof" },
  { "an advertisement with another's MAC", "outbound", packets.frame(0x86dd,
    packets.v6 { source = SELF6, target = OTHER6, protocol = 58, hops = 255,
      payload = packets.icmp(136, 0, "\0\0\0\0") .. packets.ip6(SELF6) .. "\2\1" .. packets.PEER },
    packets.OWN, packets.PEER), "block spoof" },
  { "another's MAC behind a nonce", "outbound", packets.frame(0x86dd,
    packets.v6 { source = SELF6, target = OTHER6, protocol = 58, hops = 255,
      payload = packets.icmp(136, 0, "\0\0\0\0") .. packets.ip6(SELF6) .. "\14\1abcdef" .. "\2\1" .. packets.PEER },
    packets.OWN, packets.PEER), "block spoof" },
  { "a check whether its own address is taken", "outbound", packets.frame(0x86dd,
    packets.v6 { source = "::", target = "ff02::1:ff00:2", protocol = 58, hops = 255,
      payload = packets.icmp(135, 0, "\0\0\0\0") .. packets.ip6(SELF6) }, packets.OWN, "\51\51\255\0\0\2"),
    "allow neighbour" },
  { "a check whether another's is", "outbound", packets.frame(0x86dd,
    packets.v6 { source = "::", target = "ff02::1:ff00:3", protocol = 58, hops = 255,
      payload = packets.icmp(135, 0, "\0\0\0\0") .. packets.ip6 "fd00::3" }, packets.OWN, "\51\51\255\0\0\3"),
    "block spoof" },
  { "another ethertype", "outbound", packets.frame(0x88cc, "anything", packets.OWN, packets.PEER), "allow default" },
}

describe("identity:", function()
  for _, case in ipairs(identity) do
    it(case[1], function()
      assert.equal(case[4], verdict(gate(), case[3], case[2]))
    end)
  end

  it("another ethertype follows its direction's default", function()
    assert.equal("block default", verdict(gate "block", packets.frame(0x88cc, "anything")))
  end)

  it("without an address only the MAC counts", function()
    local subject = assert(filter.gate {})
    assert.equal("allow default", verdict(subject, out4(packets.v4 {
      source = "1.2.3.4", target = OTHER, protocol = 17, payload = UDP }), "outbound"))
    assert.equal("block spoof", verdict(subject, out4(packets.v4 {
      source = "1.2.3.4", target = OTHER, protocol = 17, payload = UDP }, packets.PEER), "outbound"))
  end)
end)

describe("an ICMP error from the container", function()
  --- A gate that lets only DNS to one server out, with such a conversation, and what it says of an error.
  local function said(spec)
    local subject = assert(filter.gate {
      addresses = { SELF .. "/24", SELF6 .. "/64" },
      default = { inbound = { action = "block" }, outbound = { action = "block" } },
      rules = { { action = "allow", direction = "outbound", protocol = "udp", remote_port = "53" } },
    })
    local query = packets.udp(4000, 53)
    if spec.v6 then
      assert.equal("allow rule", verdict(subject, packets.frame(0x86dd, packets.v6 { source = SELF6, target = OTHER6,
        protocol = 17, payload = query }, packets.OWN, packets.PEER), "outbound"))
      local inner = packets.v6 { source = OTHER6, target = SELF6, protocol = 17, payload = packets.udp(53, 4000) }
      return verdict(subject, packets.frame(0x86dd, packets.v6 { source = SELF6, target = spec.target, protocol = 58,
        payload = packets.icmp(1, 4, "\0\0\0\0") .. inner }, packets.OWN, packets.PEER), "outbound")
    end
    assert.equal("allow rule", verdict(subject, packets.frame(0x0800, packets.v4 { source = SELF, target = OTHER,
      protocol = 17, payload = query }, packets.OWN, packets.PEER), "outbound"))
    local inner = packets.v4 { source = OTHER, target = SELF, protocol = 17, payload = packets.udp(53, 4000) }
    return verdict(subject, packets.frame(0x0800, packets.v4 { source = SELF, target = spec.target, protocol = 1,
      payload = packets.icmp(3, 3, "\0\0\0\0") .. inner }, packets.OWN, packets.PEER), "outbound")
  end

  it("goes to whom its flow is with, and carries nothing to others", function()
    assert.equal("allow flow", said { target = OTHER })
    assert.equal("block default", said { target = "10.0.0.66" })
    assert.equal("allow flow", said { v6 = true, target = OTHER6 })
    assert.equal("block default", said { v6 = true, target = "fd00::66" })
  end)
end)

describe("a router solicitation", function()
  it("gives no other's link-layer address", function()
    local function solicit(mac)
      return packets.frame(0x86dd, packets.v6 { source = SELF6, target = "ff02::2", protocol = 58, hops = 255,
        payload = packets.icmp(133, 0, "\0\0\0\0") .. "\1\1" .. mac }, packets.OWN, "\x33\x33\0\0\0\2")
    end
    local subject = assert(filter.gate {
      mac = "02:00:00:00:00:02", addresses = { SELF6 .. "/64" },
      default = { inbound = { action = "allow" }, outbound = { action = "allow" } },
    })
    assert.equal("allow default", verdict(subject, solicit(packets.OWN), "outbound"))
    assert.equal("block spoof", verdict(subject, solicit(packets.PEER), "outbound"))
  end)
end)

describe("the loopback's addresses", function()
  it("are never on the wire, at either end, whatever a policy says of spoofing", function()
    for _, antispoof in ipairs { true, false } do
      local subject = assert(filter.gate {
        addresses = { SELF .. "/24" }, options = { antispoof = antispoof },
        default = { inbound = { action = "allow" }, outbound = { action = "allow" } },
      })
      for _, ends in ipairs { { "127.0.0.1", OTHER }, { SELF, "127.0.0.1" } } do
        for _, direction in ipairs { "inbound", "outbound" } do
          local out = direction == "outbound"
          local frame = packets.frame(0x0800, packets.v4 { source = ends[out and 1 or 2], target = ends[out and 2 or 1],
            protocol = 17, payload = UDP }, out and packets.OWN or packets.PEER, out and packets.PEER or packets.OWN)
          assert.equal("block spoof", verdict(subject, frame, direction), direction .. " " .. ends[1])
        end
      end
    end
  end)
end)

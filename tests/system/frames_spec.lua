--- Form and identity (DESIGN 3.1, steps 1 and 2), frame by frame, on the wire: lies about who sends,
--- tags, fragments, extension headers, errors with an inner header. The gate judges each frame first
--- (`judge_frame`), then it is sent by the sender's NIC and watched for at the other's.
local audit = require "tests.support.audit"
local frames = require "tests.support.frames"
local namespaces = require "tests.support.namespaces"
local sets = require "tests.support.sets"
local stage = require "tests.support.stage"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

local IP4, ARP, IP6 = 0x0800, 0x0806, 0x86dd
local BROADCAST = "ff:ff:ff:ff:ff:ff"

--- A host with process `a` and hyperv `b`, whose default is allow, so that only a's gate can refuse.
local function cast_of(open)
  local s = open()
  local a, b = s:add { id = "a" }, s:add { id = "b", type = "hyperv" }
  assert.is_true(s:send(a, "ping", b, true).answered)
  assert.is_true(s:send(a, "ping", b, true, b.address6).answered)
  return s, a, b
end

--- Frames out of `from` in order on one gate: each row is { name, frame, passes, by }.
local function play(s, from, to, rows)
  local gate = assert(s.host:gate(from.endpoint.id))
  for _, row in ipairs(rows) do
    local name, frame, passes, by = table.unpack(row, 1, 4)
    local judgement = gate:judge_frame("outbound", frame)
    assert.same({ passes and "allow" or "block", by }, { judgement.verdict, judgement.by }, name)
    assert.equal(passes, s.lab:inject(from.where, to.where, frame), name .. ": the wire")
  end
end

local function udp4(a, b, more)
  local spec = { source = a.address, target = b.address, protocol = 17, payload = frames.udp(40000, 9) }
  for key, value in pairs(more or {}) do
    spec[key] = value
  end
  return frames.ipv4(spec)
end

stage.platforms(B, "a frame whose sender lies", function(open)
  it("is dropped at the sender's gate", function()
    local s, a, b = cast_of(open)
    local c = s:add { id = "c" }
    local other = "02:12:34:56:78:9a"
    local function ra(source)
      return frames.ipv6 {
        source = source, target = "ff02::1", next = 58, hop = 255,
        payload = frames.icmp6(source, "ff02::1", 134, 0, ("\0"):rep(12)),
      }
    end
    local function na(target, mac)
      local rest = "\x20\0\0\0" .. frames.address(target) .. "\2\1" .. frames.mac(mac)
      return frames.ipv6 {
        source = a.address6, target = b.address6, next = 58, hop = 255,
        payload = frames.icmp6(a.address6, b.address6, 136, 0, rest),
      }
    end
    play(s, a, b, {
      { "the truth", frames.ethernet(b.mac, a.mac, IP4, udp4(a, b)), true, "default" },
      { "another's MAC", frames.ethernet(b.mac, c.mac, IP4, udp4(a, b)), false, "spoof" },
      { "nobody's MAC", frames.ethernet(b.mac, other, IP4, udp4(a, b)), false, "spoof" },
      { "another's address", frames.ethernet(b.mac, a.mac, IP4, udp4(c, b)), false, "spoof" },
      { "nobody's address", frames.ethernet(b.mac, a.mac, IP4, udp4({ address = "172.16.0.77" }, b)), false, "spoof" },
      { "the gateway's address", frames.ethernet(b.mac, a.mac, IP4, udp4({ address = "172.16.0.1" }, b)), false,
        "spoof" },
      { "no address", frames.ethernet(b.mac, a.mac, IP4, udp4({ address = "0.0.0.0" }, b)), false, "spoof" },
      { "an ARP of one's own", frames.ethernet(BROADCAST, a.mac, ARP, frames.arp(1, a.mac, a.address, b.address)), true,
        "neighbour" },
      { "an ARP for another's address", frames.ethernet(b.mac, a.mac, ARP,
        frames.arp(2, a.mac, c.address, b.address, b.mac)), false, "spoof" },
      { "an ARP for the gateway's", frames.ethernet(BROADCAST, a.mac, ARP,
        frames.arp(1, a.mac, "172.16.0.1", "172.16.0.1")), false, "spoof" },
      { "an ARP with another's MAC in it", frames.ethernet(b.mac, a.mac, ARP,
        frames.arp(2, c.mac, a.address, b.address, b.mac)), false, "spoof" },
      { "an advertisement of one's own", frames.ethernet(b.mac, a.mac, IP6, na(a.address6, a.mac)), true, "neighbour" },
      { "an advertisement of another's", frames.ethernet(b.mac, a.mac, IP6, na(c.address6, a.mac)), false, "spoof" },
      { "an advertisement with another's MAC", frames.ethernet(b.mac, a.mac, IP6, na(a.address6, c.mac)), false,
        "spoof" },
      { "a router advertisement", frames.ethernet("33:33:00:00:00:01", a.mac, IP6, ra(a.address6)), false, "spoof" },
      { "a DHCP answer", frames.ethernet(b.mac, a.mac, IP4, udp4(a, b, { payload = frames.udp(67, 68) })), false,
        "spoof" },
      { "a DHCP answer to all", frames.ethernet(BROADCAST, a.mac, IP4,
        udp4(a, { address = "255.255.255.255" }, { payload = frames.udp(67, 68) })), false, "spoof" },
      { "a DHCP answer from another port", frames.ethernet(b.mac, a.mac, IP4,
        udp4(a, b, { payload = frames.udp(4000, 68) })), false, "spoof" },
      { "a DHCPv6 answer", frames.ethernet(b.mac, a.mac, IP6, frames.ipv6 {
        source = a.address6, target = b.address6, next = 17, payload = frames.udp(547, 546) }), false, "spoof" },
      { "an ICMP redirect", frames.ethernet(b.mac, a.mac, IP4,
        udp4(a, b, { protocol = 1, payload = frames.icmp(5, 1, ("\0"):rep(32)) })), false, "spoof" },
    })
    assert.is_true(s:counters(a).dropped_out.spoof >= 16)
  end)

  it("is let through if its policy says so, and only what it says", function()
    local dir = sets.make {
      ["container/process.lua"] = 'return { default = { inbound = "block", outbound = "allow" }, dhcp_server = true }',
    }
    local s = open()
    local a, b = s:add { id = "a", policies = dir }, s:add { id = "b", type = "hyperv" }
    sets.clear()
    play(s, a, b, {
      { "a DHCP answer", frames.ethernet(b.mac, a.mac, IP4, udp4(a, b, { payload = frames.udp(67, 68) })), true,
        "default" },
      { "another's address", frames.ethernet(b.mac, a.mac, IP4, udp4({ address = "172.16.0.77" }, b)), false, "spoof" },
    })
  end)
end)

stage.platforms(B, "a frame with a VLAN tag", function(open)
  it("goes nowhere, in or out, whichever tag and however many", function()
    local s, a, b = cast_of(open)
    local plain = udp4(a, b)
    local rows = {}
    for _, tags in ipairs { { 0x8100 }, { 0x88a8 }, { 0x9100 }, { 0x8100, 0x8100 }, { 0x88a8, 0x8100 } } do
      local name = "tags"
      for _, tag in ipairs(tags) do
        name = name .. (" %04x"):format(tag)
      end
      rows[#rows + 1] = { name, frames.ethernet(b.mac, a.mac, IP4, plain, tags), false, "malformed" }
    end
    play(s, a, b, rows)
    -- Inwards no other gate can be got round, so only the gate is asked.
    local gate = assert(s.host:gate(a.endpoint.id))
    for _, tag in ipairs { 0x8100, 0x88a8, 0x9100 } do
      local frame = frames.ethernet(a.mac, b.mac, IP4, udp4(b, a), { tag })
      assert.equal("malformed", gate:judge_frame("inbound", frame).by)
    end
  end)
end)

stage.platforms(B, "a malformed packet", function(open)
  it("is dropped", function()
    local s, a, b = cast_of(open)
    local function v4(payload, more)
      return frames.ethernet(b.mac, a.mac, IP4, udp4(a, b, more or { payload = payload }))
    end
    local short = udp4(a, b)
    local good = udp4(a, b)
    play(s, a, b, {
      { "cut in the IP header", frames.ethernet(b.mac, a.mac, IP4, short:sub(1, 12)):sub(1, 26), false, "malformed" },
      { "cut in the UDP header", frames.ethernet(b.mac, a.mac, IP4,
        frames.ipv4 { source = a.address, target = b.address, protocol = 17, payload = "\x9c\x40\0\x09" }), false,
        "malformed" },
      { "a UDP length beyond the packet", v4("\x9c\x40\0\x09\0\xff\0\0bulkhead"), false, "malformed" },
      { "a TCP header of 4 words", v4(nil, { protocol = 6, payload = (">I2I2I4I4I1I1I2I2I2")
        :pack(40000, 80, 1, 0, 4 << 4, 2, 0xffff, 0, 0) }), false, "malformed" },
      { "a total length beyond the frame", frames.ethernet(b.mac, a.mac, IP4,
        good:sub(1, 2) .. "\xff\xff" .. good:sub(5)), false, "malformed" },
      { "version 5", frames.ethernet(b.mac, a.mac, IP4, "\x55" .. good:sub(2)), false, "malformed" },
      { "a header of 4 words", frames.ethernet(b.mac, a.mac, IP4, "\x44" .. good:sub(2)), false, "malformed" },
      { "IPv6 under IPv4's ethertype", frames.ethernet(b.mac, a.mac, IP4, frames.ipv6 {
        source = a.address6, target = b.address6, next = 17, payload = frames.udp(40000, 9) }), false, "malformed" },
    })
  end)
end)

stage.platforms(B, "fragments", function(open)
  local data = ("x"):rep(56)

  it("follow their first, and come to nothing before it", function()
    local s, a, b = cast_of(open)
    local function part(id, offset, more, payload)
      return frames.ethernet(b.mac, a.mac, IP4, frames.ipv4 {
        source = a.address, target = b.address, protocol = 17, id = id, offset = offset, more = more, payload = payload,
      })
    end
    local first = frames.udp(40000, 9, data)
    play(s, a, b, {
      { "a later one alone", part(7, 64, false, data), false, "malformed" },
      { "the first", part(7, 0, true, first), true, "default" },
      { "then a later one", part(7, 64, false, data), true, "fragment" },
      { "another packet's later one", part(8, 64, false, data), false, "malformed" },
      { "a first without its whole header", part(9, 0, true, "\x9c\x40\0\x09"), false, "malformed" },
      { "and its later one", part(9, 8, false, data), false, "malformed" },
    })
  end)

  it("of what is blocked are blocked", function()
    local s, a, b = cast_of(open)
    local gate = assert(s.host:gate(a.endpoint.id))
    local function part(id, offset, more, payload)
      return frames.ethernet(a.mac, b.mac, IP4, frames.ipv4 {
        source = b.address, target = a.address, protocol = 17, id = id, offset = offset, more = more, payload = payload,
      })
    end
    for _, row in ipairs {
      { part(7, 0, true, frames.udp(40000, 9, data)), "default" }, { part(7, 64, false, data), "malformed" },
    } do
      local judgement = gate:judge_frame("inbound", row[1])
      assert.same({ "block", row[2] }, { judgement.verdict, judgement.by })
      assert.is_false(s.lab:inject(b.where, a.where, row[1]))
    end
  end)

  it("that write over a TCP header are dropped", function()
    local s, a, b = cast_of(open)
    play(s, a, b, {
      { "offset 8", frames.ethernet(b.mac, a.mac, IP4, frames.ipv4 {
        source = a.address, target = b.address, protocol = 6, id = 3, offset = 8, payload = data }), false,
        "malformed" },
    })
  end)

  it("of IPv6 do the same", function()
    local s, a, b = cast_of(open)
    local function part(id, offset, more, payload)
      return frames.ethernet(b.mac, a.mac, IP6, frames.ipv6 {
        source = a.address6, target = b.address6, next = 44,
        payload = (">I1I1I2I4"):pack(17, 0, offset | (more and 1 or 0), id) .. payload,
      })
    end
    play(s, a, b, {
      { "a later one alone", part(7, 64, false, data), false, "malformed" },
      { "the first", part(7, 0, true, frames.udp(40000, 9, data)), true, "default" },
      { "then a later one", part(7, 64, false, data), true, "fragment" },
      { "another's", part(8, 64, false, data), false, "malformed" },
    })
  end)
end)

stage.platforms(B, "IPv6 extension headers", function(open)
  --- A chain of `count` destination options (60) or others before UDP to a port.
  local function chain(kinds, port)
    local payload = frames.udp(40000, port)
    for i = #kinds, 1, -1 do
      payload = (">I1I1"):pack(kinds[i + 1] or 17, 0) .. "\1\4\0\0\0\0" .. payload
    end
    return kinds[1] or 17, payload
  end

  local function frame(from, to, kinds, port)
    local following, payload = chain(kinds, port)
    return frames.ethernet(to.mac, from.mac, IP6, frames.ipv6 {
      source = from.address6, target = to.address6, next = following, payload = payload,
    })
  end

  it("are walked, and no further than a bound", function()
    local s, a, b = cast_of(open)
    play(s, a, b, {
      { "none", frame(a, b, {}, 9), true, "default" },
      { "one", frame(a, b, { 60 }, 10), true, "default" },
      { "three", frame(a, b, { 0, 60, 60 }, 11), true, "default" },
      { "too many", frame(a, b, { 60, 60, 60, 60, 60, 60, 60, 60, 60, 60 }, 12), false, "malformed" },
      { "cut", frames.ethernet(b.mac, a.mac, IP6, frames.ipv6 {
        source = a.address6, target = b.address6, next = 60, payload = "\17\9\1\4\0\0\0\0" }), false, "malformed" },
    })
  end)

  it("hide no port from the rules", function()
    local s = open()
    local web, b = s:add { id = "web", publish = { "8080:80/udp" } }, s:add { id = "b", type = "hyperv" }
    assert.is_true(s:send(b, "ping", web, true, web.address6).answered)
    local gate = assert(s.host:gate(web.endpoint.id))
    for _, row in ipairs {
      { { 60 }, 81, false, "default" }, { { 0, 60 }, 81, false, "default" },
      { { 0, 60 }, 80, true, "rule" }, { { 60 }, 80, true, "flow" }, -- the conversation of the one before
    } do
      local sent = frame(b, web, row[1], row[2])
      local judgement = gate:judge_frame("inbound", sent)
      assert.same({ row[3] and "allow" or "block", row[4] }, { judgement.verdict, judgement.by })
      assert.equal(row[3], s.lab:inject(b.where, web.where, sent))
    end
  end)
end)

stage.platforms(B, "an ICMP error", function(open)
  it("belongs to the flow that its inner header names", function()
    local s = open()
    local strict = stage.policies "strict"
    local a, b = s:add { id = "a", policies = strict }, s:add { id = "b", type = "hyperv" }
    assert.is_true(s:send(a, "ping", b, true).answered)
    local function error_about(source_port, target_port, target)
      local inner = frames.ipv4 {
        source = a.address, target = target or b.address, protocol = 17, payload = frames.udp(source_port, target_port),
      }
      return frames.ethernet(a.mac, b.mac, IP4, frames.ipv4 {
        source = b.address, target = a.address, protocol = 1, payload = frames.icmp(3, 3, "\0\0\0\0" .. inner),
      })
    end
    assert.is_true(s.lab:inject(a.where, b.where, frames.ethernet(b.mac, a.mac, IP4, udp4(a, b))))
    for _, row in ipairs {
      { error_about(40000, 9), true, "flow" }, { error_about(40001, 9), false, "default" },
      { error_about(40000, 10), false, "default" }, { error_about(40000, 9, "172.16.0.1"), false, "default" },
    } do
      local judgement = assert(s.host:gate(a.endpoint.id)):judge_frame("inbound", row[1])
      assert.same({ row[2] and "allow" or "block", row[3] }, { judgement.verdict, judgement.by })
      assert.equal(row[2], s.lab:inject(b.where, a.where, row[1]))
    end
  end)
end)

stage.platforms(B, "another ethertype", function(open)
  it("follows the direction's default", function()
    local s, a, b = cast_of(open)
    local function frame(from, to)
      return frames.ethernet(to.mac, from.mac, 0x88b5, "bulkhead") -- IEEE: local experiments
    end
    play(s, a, b, { { "out", frame(a, b), true, "default" } })
    local judgement = assert(s.host:gate(a.endpoint.id)):judge_frame("inbound", frame(b, a))
    assert.same({ "block", "default" }, { judgement.verdict, judgement.by })
    assert.is_false(s.lab:inject(b.where, a.where, frame(b, a)))
  end)
end)

stage.platforms(B, "a checksum that its sender leaves to be written", function(open)
  after_each(sets.clear)

  --- Sends a frame often, its checksum to be written at `start` + `offset`, by a way; returns how many the
  --- sender's gate dropped as malformed and how many the receiver's let in.
  local COPIES = 20
  local function send(s, from, to, way, frame, start, offset)
    local before, there = s:counters(from), s:counters(to)
    local nic = namespaces.links(s, from.where):match(way == "tap" and "vm%d+" or "eth0")
    local text, status = namespaces.shell(("'%s' /run/bulkhead/%s/c%d %s %s %d %d %d %s"):format(audit.helper "offload",
      s.tag, from.where, nic, way, COPIES, start, offset, (frame:gsub(".", function(c)
        return ("%02x"):format(c:byte())
      end))))
    assert(status == 0, text)
    return (s:counters(from).dropped_out.malformed or 0) - (before.dropped_out.malformed or 0),
      s:counters(to).packets_in - there.packets_in
  end

  it("is written where it belongs or behind, never over what was judged", function()
    local s = open()
    local dir = sets.make { ["container/process.lua"] = "return { default = { inbound = 'allow', outbound = 'allow' } }",
      ["container/hyperv.lua"] = "return { default = { inbound = 'allow', outbound = 'allow' } }" }
    local a, b = s:add { id = "a", policies = dir }, s:add { id = "b", type = "hyperv", policies = dir }
    local vm = s:add { id = "vm", type = "hyperv", policies = dir, guest = false }
    assert.is_true(s:send(a, "ping", b, true).answered)
    for _, from in ipairs { a, vm } do
      local payload = ("x"):rep(40)
      local function v4(protocol, body)
        return frames.ethernet(b.mac, from.mac, IP4, frames.ipv4 {
          source = from.address, target = b.address, protocol = protocol, payload = body })
      end
      local function v6(next, body)
        return frames.ethernet(b.mac, from.mac, IP6, frames.ipv6 {
          source = from.address6, target = b.address6, next = next, payload = body })
      end
      local udp, tcp = frames.udp(40000, 80, payload), frames.tcp(40000, 80, 0x10) .. payload
      local options = "\17\0\1\4\0\0\0\0"
      for _, row in ipairs {
        { "udp", v4(17, udp), 34, 6, true }, { "udp6", v6(17, udp), 54, 6, true },
        { "tcp", v4(6, tcp), 34, 16, true }, { "tcp6", v6(6, tcp), 54, 16, true },
        { "of a tunnelled packet", v4(17, udp), 50, 16, true },
        { "behind options", v6(60, options .. udp), 62, 6, true },
        { "of another protocol", v4(47, payload), 34, 8, true },
        { "udp over the port", v4(17, udp), 34, 2, false }, { "udp6 over the port", v6(17, udp), 54, 2, false },
        { "over both ports", v4(17, udp), 33, 0, false }, { "half over the length", v4(17, udp), 34, 5, false },
        { "over the source", v4(17, udp), 26, 0, false }, { "over the target", v6(17, udp), 38, 10, false },
        { "over the fragment's offset", v4(17, udp), 20, 0, false },
        { "tcp over its flags", v4(6, tcp), 34, 13, false }, { "tcp6 over the port", v6(6, tcp), 54, 3, false },
        { "over the port behind options", v6(60, options .. udp), 62, 2, false },
        { "over the options", v6(60, options .. udp), 54, 0, false },
        { "over a ping's type", v4(1, frames.icmp(8, 0, payload)), 34, 0, false },
        { "of a ping", v4(1, frames.icmp(8, 0, payload)), 34, 2, false },
        { "over another protocol's first bytes", v4(47, payload), 34, 6, false },
        { "of an ARP", frames.ethernet(b.mac, from.mac, ARP, frames.arp(1, from.mac, from.address, b.address)
          .. ("\0"):rep(18)), 22, 2, false },
      } do
        local name, frame, start, offset, passes = table.unpack(row)
        local malformed, arrived = send(s, from, b, from == vm and "tap" or "packet", frame, start, offset)
        name = from.id .. ": " .. name
        assert.equal(passes and 0 or COPIES, malformed, name)
        assert((arrived >= COPIES) == passes, name)
      end
    end
  end)
end, { "linux" })

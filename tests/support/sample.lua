--- sample.lua - makes tests/support/sample.pcap: a small capture in which every verdict occurs.
---
--- `bulkhead run tests/support/sample.lua > tests/support/sample.pcap`. It was taken, as it were, at
--- 172.16.0.2, whose neighbours are 172.16.0.1 (gateway) and 172.16.0.3.
local packets = require "tests.support.packets"

local sample = { OWN = "172.16.0.2", OWN6 = "fd00:16::2" }

local OWN, PEER = "\x5a\1\2\3\4\5", "\x5a\9\9\9\9\9"
local ME, GATEWAY, PEER4 = sample.OWN, "172.16.0.1", "172.16.0.3"

local function out(payload, ethertype)
  return packets.frame(ethertype or 0x0800, payload, OWN, PEER)
end

local function into(payload, ethertype, target)
  return packets.frame(ethertype or 0x0800, payload, PEER, target or OWN)
end

local function v4(source, target, protocol, payload, fields)
  local f = { source = source, target = target, protocol = protocol, payload = payload }
  for key, value in pairs(fields or {}) do
    f[key] = value
  end
  return packets.v4(f)
end

--- A TCP conversation of `n` segments each way; `opener` sends the SYN.
local function tcp(add, from, to, source, target, n)
  local function send(client, flags)
    local a, b = client and from or to, client and to or from
    local p, q = client and source or target, client and target or source
    local payload = v4(a, b, 6, packets.tcp(p, q, flags))
    add(a == ME and out(payload) or into(payload), 0.01)
  end
  send(true, "S")
  send(false, "SA")
  send(true, "A")
  for _ = 1, n do
    send(true, "PA")
    send(false, "PA")
  end
  send(true, "FA")
  send(false, "FA")
  send(true, "A")
end

--- The frames, each with the seconds since the one before.
---@return { frame: string, after: number, cut: integer? }[]
function sample.frames()
  local list = {}
  local function add(frame, after, cut)
    list[#list + 1] = { frame = frame, after = after or 0.001, cut = cut }
  end
  add(out(packets.arp(1, OWN, ME, ("\0"):rep(6), GATEWAY), 0x0806))
  add(into(packets.arp(2, PEER, GATEWAY, OWN, ME), 0x0806))
  add(out(v4(ME, GATEWAY, 17, packets.udp(40001, 53, ("q"):rep(20)))))
  add(into(v4(GATEWAY, ME, 17, packets.udp(53, 40001, ("a"):rep(40)))), 0.02)
  tcp(add, ME, "198.51.100.10", 40002, 443, 10)
  tcp(add, PEER4, ME, 51000, 80, 5) -- nobody published it
  add(into(v4("203.0.113.9", ME, 6, packets.tcp(6000, 22, "S"))), 1)
  add(into(v4(GATEWAY, ME, 1, packets.icmp(8, 0))))
  add(out(v4(ME, GATEWAY, 1, packets.icmp(0, 0))))
  add(into(v4(GATEWAY, ME, 17, packets.udp(53, 40001, "late"))), 200) -- its flow is over by now
  add(out(v4(PEER4, GATEWAY, 17, packets.udp(1, 2)))) -- not our address
  add(into(v4(PEER4, ME, 6, "short")))
  add(out(packets.v6 { source = sample.OWN6, target = "fd00:16::1", protocol = 17,
    payload = packets.udp(40003, 53, "query") }, 0x86dd))
  add(into(packets.v6 { source = "fd00:16::1", target = sample.OWN6, protocol = 17,
    payload = packets.udp(53, 40003, "answer") }, 0x86dd))
  add(into(v4(PEER4, "172.16.0.255", 17, packets.udp(137, 137)), nil, packets.BROADCAST))
  add(packets.frame(0x0800, v4(PEER4, GATEWAY, 17, packets.udp(5, 6)), PEER, "\x5a\8\8\8\8\8")) -- of others
  add(out(v4(ME, "198.51.100.20", 17, packets.udp(40004, 9999, ("x"):rep(400)))), 0.5, 60)
  return list
end

--- The capture as a pcap file of Ethernet (link type 1) or raw IP (101).
function sample.pcap(link)
  local parts = { string.pack("<I4I2I2i4I4I4I4", 0xa1b2c3d4, 2, 4, 0, 0, 65535, link or 1) }
  local time = 1700000000
  for _, each in ipairs(sample.frames()) do
    time = time + each.after
    local bytes = link == 101 and each.frame:sub(15) or each.frame
    local cut = math.min(#bytes, each.cut or #bytes)
    if link ~= 101 or each.frame:sub(13, 14) ~= "\8\6" then
      parts[#parts + 1] = string.pack("<I4I4I4I4", time // 1 | 0, (time % 1 * 1e6) // 1 | 0, cut, #bytes)
        .. bytes:sub(1, cut)
    end
  end
  return table.concat(parts)
end

--- The same as pcapng: one section, one interface, microseconds.
function sample.pcapng()
  local function block(kind, body)
    body = body .. ("\0"):rep(-#body % 4)
    return string.pack("<I4I4", kind, #body + 12) .. body .. string.pack("<I4", #body + 12)
  end
  local parts = {
    block(0x0a0d0d0a, string.pack("<I4I2I2i8", 0x1a2b3c4d, 1, 0, -1)), block(1, string.pack("<I2I2I4", 1, 0, 65535)),
  }
  local time = 1700000000
  for _, each in ipairs(sample.frames()) do
    time = time + each.after
    local stamp, cut = (time * 1e6) // 1 | 0, math.min(#each.frame, each.cut or #each.frame)
    parts[#parts + 1] = block(6, string.pack("<I4I4I4I4I4", 0, stamp >> 32, stamp & 0xffffffff, cut, #each.frame)
      .. each.frame:sub(1, cut))
  end
  return table.concat(parts)
end

if arg and arg[0] and arg[0]:find "support/sample%.lua$" then
  io.stdout:write(sample.pcap())
end

return sample

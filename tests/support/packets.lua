--- packets.lua - frames put together byte by byte, for what PACKET notation cannot say.
local packets = {}

local OWN = "\2\0\0\0\0\2" -- the gate's NIC
local PEER = "\2\0\0\0\0\1" -- a neighbour
local BROADCAST = ("\255"):rep(6)

packets.OWN, packets.PEER, packets.BROADCAST = OWN, PEER, BROADCAST

--- Bytes of an IPv4 address.
function packets.ip4(text)
  local a, b, c, d = text:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$"
  return string.char(a, b, c, d)
end

--- Bytes of an IPv6 address, of which a missing middle is zeros.
function packets.ip6(text)
  local function words(part)
    local bytes = {}
    for word in part:gmatch "%x+" do
      bytes[#bytes + 1] = string.pack(">I2", tonumber(word, 16))
    end
    return table.concat(bytes)
  end
  local head, tail = text:match "^(.-)::(.*)$"
  if not head then
    return words(text)
  end
  head, tail = words(head), words(tail)
  return head .. ("\0"):rep(16 - #head - #tail) .. tail
end

--- An Ethernet frame; to us unless said otherwise.
function packets.frame(ethertype, payload, source, target)
  return (target or OWN) .. (source or PEER) .. string.pack(">I2", ethertype) .. payload
end

---@class ip4_fields
---@field source string
---@field target string
---@field protocol integer
---@field payload string
---@field id? integer
---@field offset? integer bytes
---@field more? boolean more fragments follow
---@field options? string
---@field total? integer what the header says its length is
---@field ihl? integer what the header says its own length is, in words

--- An IPv4 packet (checksums are the ends' business and stay 0).
---@param f ip4_fields
function packets.v4(f)
  local options = f.options or ""
  local words = f.ihl or (20 + #options) // 4
  return string.pack(">I1I1I2I2I2I1I1I2", 0x40 | words, 0, f.total or (20 + #options + #f.payload), f.id or 0,
    (f.more and 0x2000 or 0) | (f.offset or 0) // 8, 64, f.protocol, 0)
    .. packets.ip4(f.source) .. packets.ip4(f.target) .. options .. f.payload
end

--- An IPv6 packet.
function packets.v6(f)
  return string.pack(">I4I2I1I1", 0x60000000, f.total or #f.payload, f.protocol, f.hops or 64)
    .. packets.ip6(f.source) .. packets.ip6(f.target) .. f.payload
end

function packets.udp(source, target, data, length)
  data = data or "12345678"
  return string.pack(">I2I2I2I2", source, target, length or 8 + #data, 0) .. data
end

local FLAGS = { F = 1, S = 2, R = 4, P = 8, A = 16, U = 32 }

function packets.tcp(source, target, flags, words)
  local bits = 0
  for flag in flags:gmatch "." do
    bits = bits | FLAGS[flag]
  end
  return string.pack(">I2I2I4I4I1I1I2I2I2", source, target, 1, 0, (words or 5) << 4, bits, 65535, 0, 0)
end

function packets.icmp(type, code, rest)
  return string.pack(">I1I1I2", type, code, 0) .. (rest or "\0\1\0\1")
end

--- ARP: op 1 asks, 2 answers.
function packets.arp(op, sender_mac, sender, target_mac, target)
  return string.pack(">I2I2I1I1I2", 1, 0x0800, 6, 4, op) .. sender_mac .. packets.ip4(sender)
    .. target_mac .. packets.ip4(target)
end

return packets

--- frames.lua - packets byte by byte, for what the notation cannot say: tags, fragments, extension
--- headers, ARP, errors with an inner header, lies of every kind. Checksums are right where given.
local frames = {}

--- The bytes of a MAC address in text.
function frames.mac(mac)
  return (mac:gsub("(%x%x):?", function(byte)
    return string.char(tonumber(byte, 16))
  end))
end

--- The bytes of an address in text.
function frames.address(text)
  if not text:find(":", 1, true) then
    return (text:gsub("(%d+)%.?", function(octet)
      return string.char(tonumber(octet))
    end))
  end
  local head, tail = text:match "^(.-)::(.*)$"
  local function groups(part)
    local list = {}
    for group in (part or ""):gmatch "%x+" do
      list[#list + 1] = (">I2"):pack(tonumber(group, 16))
    end
    return table.concat(list)
  end
  if not head then
    return groups(text)
  end
  local a, b = groups(head), groups(tail)
  return a .. ("\0"):rep(16 - #a - #b) .. b
end

--- The Internet checksum.
local function checksum(data)
  local sum = 0
  for i = 1, #data - 1, 2 do
    sum = sum + (">I2"):unpack(data, i)
  end
  if #data % 2 == 1 then
    sum = sum + data:byte(-1) * 256
  end
  while sum > 0xffff do
    sum = (sum & 0xffff) + (sum >> 16)
  end
  return ~sum & 0xffff
end

--- A frame. `tags` is a list of 802.1Q ethertypes, each with VLAN 0.
function frames.ethernet(target, source, ethertype, payload, tags)
  local head = frames.mac(target) .. frames.mac(source)
  for _, tag in ipairs(tags or {}) do
    head = head .. (">I2I2"):pack(tag, 0)
  end
  local frame = head .. (">I2"):pack(ethertype) .. payload
  return frame .. ("\0"):rep(60 - #frame)
end

---@class frames.ipv4
---@field source string
---@field target string
---@field protocol integer
---@field payload string
---@field id? integer
---@field offset? integer bytes, of a fragment
---@field more? boolean fragments follow
---@field ttl? integer

---@param spec frames.ipv4
function frames.ipv4(spec)
  local flags = (spec.more and 0x2000 or 0) | (spec.offset or 0) // 8
  local head = (">I1I1I2I2I2I1I1I2"):pack(0x45, 0, 20 + #spec.payload, spec.id or 0, flags, spec.ttl or 64,
    spec.protocol, 0) .. frames.address(spec.source) .. frames.address(spec.target)
  return head:sub(1, 10) .. (">I2"):pack(checksum(head)) .. head:sub(13) .. spec.payload
end

---@param spec { source: string, target: string, next: integer, payload: string, hop?: integer }
function frames.ipv6(spec)
  return (">I4I2I1I1"):pack(6 << 28, #spec.payload, spec.next, spec.hop or 64)
    .. frames.address(spec.source) .. frames.address(spec.target) .. spec.payload
end

--- UDP without a checksum.
function frames.udp(source, target, data)
  data = data or "bulkhead"
  return (">I2I2I2I2"):pack(source, target, 8 + #data, 0) .. data
end

function frames.tcp(source, target, flags)
  return (">I2I2I4I4I1I1I2I2I2"):pack(source, target, 1, 0, 5 << 4, flags or 2, 0xffff, 0, 0)
end

function frames.icmp(type, code, rest)
  local head = (">I1I1I2"):pack(type, code, 0) .. rest
  return head:sub(1, 2) .. (">I2"):pack(checksum(head)) .. head:sub(5)
end

--- ICMPv6 with its checksum, which the addresses are part of.
function frames.icmp6(source, target, type, code, rest)
  local head = (">I1I1I2"):pack(type, code, 0) .. rest
  local pseudo = frames.address(source) .. frames.address(target) .. (">I4I4"):pack(#head, 58)
  return head:sub(1, 2) .. (">I2"):pack(checksum(pseudo .. head)) .. head:sub(5)
end

--- ARP: 1 = who has `target`, 2 = `sender` is at.
function frames.arp(op, mac, sender, target, target_mac)
  return (">I2I2I1I1I2"):pack(1, 0x0800, 6, 4, op) .. frames.mac(mac) .. frames.address(sender)
    .. frames.mac(target_mac or "00:00:00:00:00:00") .. frames.address(target)
end

return frames

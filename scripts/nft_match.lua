--- nft_match.lua - whether the matches of a rule of nftables hold for a packet: yes, no or maybe.
---
--- Facts about a packet are partly unknown (marks, what other chains did, the sender). What is not
--- known, or not understood, is a maybe.
local filter = require "bulkhead.filter"

local nft_match = {}

---@alias answer "yes"|"no"|"maybe"

---@class nft_facts
---@field family? "ip"|"ip6"
---@field protocol? string "tcp", "udp", …; absent: any protocol
---@field saddr? string
---@field daddr? string
---@field sport? integer
---@field dport? integer
---@field icmp_type? integer
---@field state? string of the connection, like "new"
---@field status? table<string, true> of the connection, like { dnat = true }
---@field iifname? string|fun(name: string): answer
---@field oifname? string|fun(name: string): answer
---@field target? "local"|"unicast" what the host's routes say of daddr

--- Names that nftables has for what we call otherwise.
local PROTOCOLS = { icmp6 = "ipv6-icmp", ["58"] = "ipv6-icmp", icmpv6 = "ipv6-icmp", ["6"] = "tcp", ["17"] = "udp",
  ["1"] = "icmp", ["132"] = "sctp" }

local ICMP = {
  icmp = { ["echo-reply"] = 0, ["destination-unreachable"] = 3, redirect = 5, ["echo-request"] = 8,
    ["router-advertisement"] = 9, ["time-exceeded"] = 11, ["parameter-problem"] = 12 },
  icmpv6 = { ["destination-unreachable"] = 1, ["packet-too-big"] = 2, ["time-exceeded"] = 3,
    ["parameter-problem"] = 4, ["echo-request"] = 128, ["echo-reply"] = 129, ["nd-router-solicit"] = 133,
    ["nd-router-advert"] = 134, ["nd-neighbor-solicit"] = 135, ["nd-neighbor-advert"] = 136, ["nd-redirect"] = 137 },
}

local function family_of(address)
  return address:find(":", 1, true) and "ip6" or "ip"
end

--- An address as text that sorts as its number does.
local function sortable(address)
  if family_of(address) == "ip" then
    return (address:gsub("%d+", function(octet)
      return ("%03d"):format(octet)
    end))
  end
  local head, tail = address:match "^(.-)::(.*)$"
  local function groups(text)
    local list = {}
    for group in (text or ""):gmatch "%x+" do
      list[#list + 1] = ("%04x"):format(tonumber(group, 16))
    end
    return list
  end
  local a, b = groups(head or address), groups(tail)
  while #a + #b < 8 do
    a[#a + 1] = "0000"
  end
  return table.concat(a) .. table.concat(b)
end

--- Whether an address is what a rule names: another one, or {"prefix"}.
local function same_address(fact, value)
  if type(value) == "table" and value.prefix then
    value = ("%s/%s"):format(value.prefix.addr, value.prefix.len)
  end
  if type(value) ~= "string" or not filter.prefix(value, true) then
    return "maybe"
  end
  return filter.contains(value, fact) and "yes" or "no"
end

local function in_range(kind, fact, range)
  local low, high = range[1], range[2]
  if kind == "address" then
    if family_of(tostring(low)) ~= family_of(fact) then
      return "no"
    end
    fact, low, high = sortable(fact), sortable(low), sortable(high)
  else
    fact, low, high = tonumber(fact), tonumber(low), tonumber(high)
  end
  if not fact or not low or not high then
    return "maybe"
  end
  return fact >= low and fact <= high and "yes" or "no"
end

local equal

--- Whether any of a list is it.
local function any_of(kind, fact, list, sets)
  local best = "no"
  for _, each in ipairs(list) do
    local answer = equal(kind, fact, each, sets)
    if answer == "yes" then
      return "yes"
    elseif answer == "maybe" then
      best = "maybe"
    end
  end
  return best
end

--- Facts of a concatenation, one by one.
local function same_parts(fact, value, sets)
  local parts = type(value) == "table" and value.concat
  if type(parts) ~= "table" or #parts ~= #fact.parts then
    return "maybe"
  end
  local worst = "yes"
  for i, part in ipairs(fact.parts) do
    local answer = part.other and "no" or equal(part.kind, part.fact, parts[i], sets)
    if answer == "no" then
      return "no"
    elseif answer == "maybe" then
      worst = "maybe"
    end
  end
  return worst
end

local function same_text(kind, fact, value)
  if kind == "protocol" then
    return PROTOCOLS[tostring(value)] or tostring(value), PROTOCOLS[fact] or fact
  elseif kind == "icmp" or kind == "icmpv6" then
    return tostring(ICMP[kind][value] or value), tostring(fact)
  end
  return tostring(value), tostring(fact)
end

--- Whether a fact is what a rule names: a value, a prefix, a range, a list, a set.
function equal(kind, fact, value, sets)
  if fact == nil then
    return "maybe"
  elseif type(value) == "table" and value.elem then -- with a timeout, a comment or a counter
    return equal(kind, fact, value.elem.val, sets)
  elseif type(value) == "string" and value:sub(1, 1) == "@" then
    local set = sets[value:sub(2)]
    return set and any_of(kind, fact, set, sets) or set and "no" or "maybe"
  elseif type(value) == "table" and type(value.set) == "table" then
    return any_of(kind, fact, value.set, sets)
  elseif kind == "concat" then
    return same_parts(fact, value, sets)
  elseif type(value) == "table" and value.range then
    return in_range(kind, fact, value.range)
  elseif type(value) == "table" and #value > 0 then
    return any_of(kind, fact, value, sets)
  elseif kind == "address" then
    return same_address(fact, value)
  elseif type(value) == "table" then
    return "maybe"
  elseif kind == "flags" then
    return fact[value] and "yes" or "no"
  elseif type(fact) == "function" then
    return fact(tostring(value))
  elseif type(value) == "string" and value:sub(-1) == "*" then
    return tostring(fact):sub(1, #value - 1) == value:sub(1, -2) and "yes" or "no"
  end
  local a, b = same_text(kind, fact, value)
  return a == b and "yes" or "no"
end

local function payload_of(payload, facts)
  local protocol, field = payload.protocol, payload.field
  if protocol == "ip" or protocol == "ip6" then
    if facts.family and facts.family ~= protocol then
      return nil, nil, true
    elseif field == "protocol" or field == "nexthdr" then
      return facts.protocol, "protocol"
    elseif field == "saddr" or field == "daddr" then
      return facts[field], "address"
    end
  elseif protocol == "tcp" or protocol == "udp" or protocol == "sctp" or protocol == "icmp"
    or protocol == "icmpv6" or protocol == "th" then
    local ours = facts.protocol == "icmp6" and "icmpv6" or facts.protocol
    if ours and protocol ~= "th" and protocol ~= ours then
      return nil, nil, true
    elseif field == "dport" or field == "sport" then
      return facts.protocol and facts[field] or nil, "number" -- without a protocol no port is known either
    elseif field == "type" and ours == protocol then
      return facts.icmp_type, protocol
    end
  end
end

local INTERFACES = { iifname = "iifname", iif = "iifname", oifname = "oifname", oif = "oifname" }

--- The fact that the left side of a match asks for, its kind, and whether the match speaks of another
--- protocol, so that it is not even asked.
local function fact_of(left, facts)
  if left.payload then
    return payload_of(left.payload, facts)
  elseif left.meta then
    local key = left.meta.key
    if key == "l4proto" then
      return facts.protocol, "protocol"
    elseif key == "nfproto" then
      return facts.family and (facts.family == "ip" and "ipv4" or "ipv6"), "text"
    end
    return INTERFACES[key] and facts[INTERFACES[key]], "text"
  elseif left.ct and (left.ct.key == "state" or left.ct.key == "status") then
    return facts[left.ct.key], left.ct.key == "status" and "flags" or "text"
  elseif left.fib and left.fib.result == "type" and type(left.fib.flags) == "table" and #left.fib.flags == 1
    and left.fib.flags[1] == "daddr" then
    return facts.target, "text"
  elseif type(left.concat) == "table" then
    local parts = {}
    for i, each in ipairs(left.concat) do
      local fact, kind, other = fact_of(each, facts)
      parts[i] = { fact = fact, kind = kind, other = other }
    end
    return { parts = parts }, "concat"
  end
end

local NOT = { yes = "no", no = "yes", maybe = "maybe" }

--- The answer to `{ left, op, right }`. `sets` are the table's, by name.
---@return answer
function nft_match.holds(match, facts, sets)
  if type(match.left) ~= "table" then
    return "maybe"
  end
  local fact, kind, other_protocol = fact_of(match.left, facts)
  if other_protocol then
    return "no"
  end
  local answer = equal(kind, fact, match.right, sets)
  if match.op == "!=" then
    return NOT[answer]
  elseif match.op == "==" or match.op == "in" then
    return answer
  end
  return "maybe"
end

--- The verdict that a map has for the packet, as a statement; second: whether it surely is this one.
--- Nothing: the map has none.
---@return table? statement
---@return answer
function nft_match.verdict(vmap, facts, sets)
  local data = vmap.data
  local list = type(data) == "table" and data.set or type(data) == "string" and sets[data:gsub("^@", "")]
  local fact, kind, other_protocol = fact_of(vmap.key or {}, facts)
  if other_protocol then
    return nil, "no"
  elseif type(list) ~= "table" then
    return nil, "maybe"
  end
  local sure = "no"
  for _, pair in ipairs(list) do
    local answer = equal(kind, fact, pair[1], sets)
    if answer == "yes" then
      return pair[2], "yes"
    elseif answer == "maybe" then
      sure = "maybe"
    end
  end
  return nil, sure
end

return nft_match

--- uplink.lua - the physical NIC: the interface that the host's default route leaves by.
local filter = require "bulkhead.filter"

local uplink = {}

--- The interface of the default route in the text of /proc/net/route; the lowest metric wins.
function uplink.parse(text)
  local best, best_metric
  for line in text:gmatch "[^\n]+" do
    local name, target, metric, mask =
      line:match "^(%S+)%s+(%x+)%s+%x+%s+%x+%s+%d+%s+%d+%s+(%d+)%s+(%x+)"
    if name and target == "00000000" and mask == "00000000" then
      metric = tonumber(metric)
      if not best or metric < best_metric then
        best, best_metric = name, metric
      end
    end
  end
  return best
end

--- The interface of the default route in the text of /proc/net/ipv6_route.
function uplink.parse6(text)
  for line in text:gmatch "[^\n]+" do
    local target, length, name = line:match "^(%x+) (%x+) .-(%S+)%s*$"
    if target and target:find "^0+$" and length == "00" and name ~= "lo" then
      return name
    end
  end
end

--- The prefix length of a network mask in hexadecimal, in the machine's byte order.
local function bits(mask)
  local count, value = 0, tonumber(mask, 16)
  while value > 0 do
    count, value = count + (value & 1), value >> 1
  end
  return count
end

--- An IPv4 address in /proc/net/route's hexadecimal.
local function dotted(hex)
  local number = tonumber(hex, 16)
  return ("%d.%d.%d.%d"):format(number & 255, number >> 8 & 255, number >> 16 & 255, number >> 24 & 255)
end

--- The routes in the texts of /proc/net/route and /proc/net/ipv6_route.
---@return { prefix: string, length: integer, metric: integer, name: string }[]
function uplink.routes(text4, text6)
  local list = {}
  for line in text4:gmatch "[^\n]+" do
    local name, target, flags, metric, mask =
      line:match "^(%S+)%s+(%x+)%s+%x+%s+(%x+)%s+%d+%s+%d+%s+(%d+)%s+(%x+)"
    if name and #target == 8 and tonumber(flags, 16) & 0x201 == 1 then -- up, and no reject
      local length = bits(mask)
      list[#list + 1] = {
        prefix = dotted(target) .. "/" .. length, length = length, metric = tonumber(metric), name = name,
      }
    end
  end
  for line in text6:gmatch "[^\n]+" do
    local target, length, metric, flags, name =
      line:match "^(%x+) (%x%x) %x+ %x%x %x+ (%x+) %x+ %x+ (%x+)%s+(%S+)"
    if target and tonumber(flags, 16) & 0x201 == 1 then
      list[#list + 1] = {
        prefix = target:gsub("%x%x%x%x", "%0:"):sub(1, -2) .. "/" .. tonumber(length, 16),
        length = tonumber(length, 16), metric = tonumber(metric, 16), name = name,
      }
    end
  end
  return list
end

--- The interface that a list of routes sends an address out by; nil without a route.
---@param routes { prefix: string, length: integer, metric: integer, name: string }[]
---@param address string
function uplink.of(routes, address)
  local best
  for _, route in ipairs(routes) do
    if filter.contains(route.prefix, address) and (not best or route.length > best.length
      or (route.length == best.length and route.metric < best.metric)) then
      best = route
    end
  end
  return best and best.name
end

local function slurp(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

--- Finds interfaces by address, by the routes that there are now.
---@return fun(address: string): string?
function uplink.finder()
  local routes
  return function(address)
    routes = routes or uplink.routes(slurp "/proc/thread-self/net/route", slurp "/proc/thread-self/net/ipv6_route")
    return uplink.of(routes, address)
  end
end

--- The name of the interface, or nil if the host has no default route.
function uplink.name()
  return uplink.parse(slurp "/proc/thread-self/net/route")
    or uplink.parse6(slurp "/proc/thread-self/net/ipv6_route")
end

return uplink

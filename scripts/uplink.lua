--- uplink.lua - the physical NIC: the interface that the host's default route leaves by.
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

local function slurp(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

--- The name of the interface, or nil if the host has no default route.
function uplink.name()
  return uplink.parse(slurp "/proc/net/route") or uplink.parse6(slurp "/proc/net/ipv6_route")
end

return uplink

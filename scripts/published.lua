--- published.lua - what a published port makes of a packet that is addressed to the host.
---
--- The host translates before the container's gate sees the packet: the target becomes the
--- container's, and where an answer could otherwise go another way (from a neighbour of the
--- container, from the host's loopback) the source becomes the gateway's.
local filter = require "bulkhead.filter"
local notation = require "notation"

local published = {}

local UNSPECIFIED = { ["0.0.0.0"] = "v4", ["::"] = "v6" }

--- "v4" or "v6".
local function family(address)
  return address:find(":", 1, true) and "v6" or "v4"
end
published.family = family

--- The entry of a list that takes what is sent to the host's address and port.
---@param list published[]
---@param protocol string
---@param address string
---@param port integer
---@return published?
function published.entry(list, protocol, address, port)
  for _, entry in ipairs(list) do
    if entry.protocol == protocol and entry.host == port and (entry.address == nil
      or entry.address == address or UNSPECIFIED[entry.address] == family(address)) then
      return entry
    end
  end
end

--- A packet in notation with other ends.
---@param text string PACKET
---@param ends { direction?: string, source: string, source_port: integer, target: string, target_port: integer }
function published.rewrite(text, ends)
  local direction, protocol = text:match "^(%a+)%s+(%S+)"
  return ("%s %s %s -> %s"):format(ends.direction or direction, protocol,
    notation.socket(ends.source, ends.source_port), notation.socket(ends.target, ends.target_port))
end

--- The host's own addresses, in the texts of /proc/net/fib_trie and /proc/net/if_inet6.
---@return table<string, boolean>
function published.addresses(trie, inet6)
  local found, last = {}, nil
  for line in trie:gmatch "[^\n]+" do
    last = line:match "|%-%- (%S+)" or last
    if last and line:find "/32 host LOCAL" then
      found[last] = true
    end
  end
  for line in inet6:gmatch "[^\n]+" do
    local groups = {}
    for group in line:match("^%x*"):gmatch "%x%x%x%x" do
      groups[#groups + 1] = group
    end
    local parsed = #groups == 8 and filter.prefix(table.concat(groups, ":"), true)
    if parsed then
      found[parsed.address] = true
    end
  end
  return found
end

local function slurp(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

--- The addresses of this machine.
function published.machine()
  return published.addresses(slurp "/proc/thread-self/net/fib_trie", slurp "/proc/thread-self/net/if_inet6")
end

return published

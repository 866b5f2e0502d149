--- overlay.lua - what an overlay network needs of this machine before it is made.
---
--- The control plane listens on 2377/tcp and 7946 (tcp and udp), VXLAN on 4789/udp. A port counts
--- as closed if a local filter would drop every packet to it, or, for VXLAN's, if another socket
--- holds it: the kernel's own VXLAN socket could then not be bound.
local nft = require "nft"
local uplink = require "uplink"

local overlay = {}

overlay.PORTS = {
  { protocol = "tcp", port = 2377 },
  { protocol = "tcp", port = 7946 },
  { protocol = "udp", port = 7946 },
  { protocol = "udp", port = 4789, alone = true },
}

--- Whether a socket is bound to the port, in the text of /proc/net/udp or udp6.
function overlay.is_bound(text, port)
  local wanted = ("%04X"):format(port)
  for line in text:gmatch "[^\n]+" do
    if line:match "^%s*%d+:%s+%x+:(%x%x%x%x)%s" == wanted then
      return true
    end
  end
  return false
end

---@class machine
---@field udp string text of /proc/net/udp and udp6
---@field ruleset? table nftables' as `nft -j` writes it; nil = not to be had
---@field uplink? string

--- The ports that are closed, each with the reason.
---@param machine machine
---@return { protocol: string, port: integer, why: string }[]
function overlay.closed(machine)
  local closed = {}
  for _, need in ipairs(overlay.PORTS) do
    local why
    if need.alone and overlay.is_bound(machine.udp, need.port) then
      why = "another socket holds it"
    elseif machine.ruleset then
      local drops = nft.drops(machine.ruleset, "input", {
        protocol = need.protocol, dport = need.port, state = "new", iifname = machine.uplink,
      })
      why = drops[1] and ("the filter '%s' drops it"):format(drops[1])
    end
    if why then
      closed[#closed + 1] = { protocol = need.protocol, port = need.port, why = why }
    end
  end
  return closed
end

--- What `closed` looks at, of this machine.
---@return machine
function overlay.machine()
  local texts = {}
  for _, path in ipairs { "/proc/net/udp", "/proc/net/udp6" } do
    local file <close> = io.open(path)
    texts[#texts + 1] = file and file:read "a" or ""
  end
  return { udp = table.concat(texts, "\n"), ruleset = nft.read(), uplink = uplink.name() }
end

--- The closed ports as one sentence, or nil if all are open.
function overlay.sentence(closed)
  if #closed == 0 then
    return nil
  end
  local parts = {}
  for i, port in ipairs(closed) do
    parts[i] = ("%d/%s (%s)"):format(port.port, port.protocol, port.why)
  end
  return "an overlay network needs ports that are closed here: " .. table.concat(parts, ", ")
end

return overlay

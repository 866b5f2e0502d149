--- notation.lua - ends and openers of flows as PACKET notation writes them.
local notation = {}

local PORTS = { tcp = true, udp = true, dccp = true, sctp = true, udplite = true }

--- Whether packets of a protocol have ports; where not, a port of 0 says nothing.
---@param protocol string
function notation.has_ports(protocol)
  return PORTS[protocol] or false
end

--- An address with a port: `172.16.0.2:80`, `[fd00::2]:80`.
---@param address string
---@param port integer
function notation.socket(address, port)
  return (address:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(address, port)
end

--- One end of a flow, with its port if it has one.
---@param flow flow
---@param side "local"|"remote"
function notation.end_of(flow, side)
  local address, port = flow[side .. "_address"], flow[side .. "_port"]
  if not address or not port or not notation.has_ports(flow.protocol) then
    return address or "-"
  end
  return notation.socket(address, port)
end

--- Both ends of a flow, the opener's first.
---@param flow flow
function notation.ends(flow)
  local inbound = flow.direction == "inbound"
  return ("%s -> %s"):format(notation.end_of(flow, inbound and "remote" or "local"),
    notation.end_of(flow, inbound and "local" or "remote"))
end

--- The packet that opened a flow.
---@param flow flow
function notation.opener(flow)
  local detail = flow.icmp_type and ("[%d:%d]"):format(flow.icmp_type, flow.icmp_code) or ""
  return ("%s %s%s %s"):format(flow.direction == "inbound" and "in" or "out", flow.protocol, detail,
    notation.ends(flow))
end

return notation

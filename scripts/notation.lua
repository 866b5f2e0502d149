--- notation.lua - ends and openers of flows as PACKET notation writes them, and the order of flows.
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

--- Addresses whose order as texts is that of the addresses, as far as it goes.
local function padded(address)
  return (address or ""):gsub("%f[%d]%d+", function(digits)
    return ("0"):rep(3 - #digits) .. digits
  end)
end

local function rank(flow)
  local inbound = flow.direction == "inbound"
  local server, client = inbound and "local" or "remote", inbound and "remote" or "local"
  return ("%010d %s %s %05d %s %s %05d %03d %03d"):format(flow.endpoint or 0, flow.direction, flow.protocol,
    flow[server .. "_port"] or 0, padded(flow[server .. "_address"]), padded(flow[client .. "_address"]),
    flow[client .. "_port"] or 0, flow.icmp_type or 0, flow.icmp_code or 0)
end

--- Sorts flows in place so that what goes to one service stands together, the same every time: by
--- endpoint, direction, protocol, the server's port and address, the client's.
---@param flows flow[]
---@return flow[] flows
function notation.sort(flows)
  local ranks = {}
  for _, flow in ipairs(flows) do
    ranks[flow] = rank(flow)
  end
  table.sort(flows, function(a, b)
    return ranks[a] < ranks[b]
  end)
  return flows
end

return notation

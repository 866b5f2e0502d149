--- foreign.lua - whether another program's table stops what the host has to forward for us.
---
--- Other tools set the forward hook to drop and then accept only what is theirs; a packet that our
--- gates allow dies there without a trace. This finds the chain, best effort: only a drop that is
--- certain is named.
local nft = require "nft"

local foreign = {}

--- What is known of an interface name that should be one of our management vNICs.
local function ours(name)
  return name:find "^b[a-z0-9]+%-[a-z0-9]+$" and not name:find "^br%-" and "maybe" or "no"
end

--- The chain that drops what is forwarded between our networks and the uplink, or nil; `hairpin` is
--- from our networks to our networks.
---@param ruleset table as `nft -j list ruleset` decodes
---@param packet { direction: "inbound"|"outbound"|"hairpin", protocol: string, dport: integer?, family: "ip"|"ip6" }
---@param uplink string? name of the uplink; nil: it may be any
---@return string? "FAMILY TABLE CHAIN"
function foreign.chain(ruleset, packet, uplink)
  local inbound = packet.direction == "inbound"
  local facts = {
    protocol = packet.protocol, dport = packet.dport, state = "new", family = packet.family,
    iifname = ours, oifname = uplink,
  }
  if inbound then
    facts.iifname, facts.oifname = uplink, ours
  elseif packet.direction == "hairpin" then
    facts.oifname = ours
  end
  return nft.drops(ruleset, "forward", facts)[1]
end

return foreign

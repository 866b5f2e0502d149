--- foreign.lua - the way of a packet through the host's own hooks, where other programs' tables stand.
---
--- Other tools set the forward hook to drop and then accept only what is theirs, or drop in prerouting
--- what comes from where they do not expect it; a packet that our gates allow dies there without a
--- trace. A way is a list of steps (nft.follow).
local nft = require "nft"

local foreign = {}

--- What is known of an interface name that should be one of our management vNICs.
function foreign.ours(name)
  local prefix = name:match "^(.*)%*$"
  if prefix == "" then
    return "yes"
  elseif prefix then
    return prefix:find "^b[a-z0-9]*%-?[a-z0-9]*$" and "maybe" or "no"
  end
  return name:find "^b[a-z0-9][a-z0-9][a-z0-9][a-z0-9][a-z0-9][a-z0-9]%-[a-z0-9]+$" and "maybe" or "no"
end

--- Facts about a packet.
---@param packet packet
---@param more? nft_facts what else is known; wins
---@return nft_facts
function foreign.facts(packet, more)
  local facts = {
    protocol = packet.protocol, saddr = packet.source, daddr = packet.target, sport = packet.source_port,
    dport = packet.target_port, icmp_type = packet.icmp_type, state = "new", status = {},
    family = (packet.target or packet.source or ""):find(":", 1, true) and "ip6" or "ip",
  }
  for key, value in pairs(more or {}) do
    facts[key] = value
  end
  return facts
end

local function with(facts, more)
  return facts and setmetatable(more, { __index = facts })
end

---@alias interface string|fun(name: string): answer|nil

--- A packet that goes through the host; `before`: as it was before our table translated it.
---@param facts nft_facts
---@param from interface
---@param to interface
---@param before? nft_facts
---@return nft_step[]
function foreign.forwarded(facts, from, to, before)
  local arriving = with(facts, { iifname = from })
  local leaving = with(facts, { iifname = from, oifname = to, target = "unicast" })
  return {
    { hook = "ingress", facts = with(before, { iifname = from }) or arriving },
    { hook = "prerouting", facts = with(before, { iifname = from }) or arriving, translated = arriving },
    { hook = "forward", facts = leaving },
    { hook = "postrouting", facts = leaving },
    { hook = "egress", facts = leaving },
  }
end

--- One that the host itself takes.
---@return nft_step[]
function foreign.entering(facts, from)
  local arriving = with(facts, { iifname = from, target = "local" })
  return {
    { hook = "ingress", facts = arriving }, { hook = "prerouting", facts = arriving },
    { hook = "input", facts = arriving },
  }
end

--- One that the host itself sends.
---@return nft_step[]
function foreign.leaving(facts, to, before)
  local leaving = with(facts, { oifname = to })
  return {
    { hook = "output", facts = before or leaving, translated = leaving },
    { hook = "postrouting", facts = leaving }, { hook = "egress", facts = leaving },
  }
end

--- What stands in the way, in order; what cannot be told, as unknown.
---@param steps nft_step[]
---@param ruleset? table as nft.read gives it
---@param message? string why there is none
---@return nft_finding[]
function foreign.follow(steps, ruleset, message)
  if not ruleset then
    return { { at = "nftables", verdict = "unknown", by = message or "not read" } }
  end
  local found = nft.follow(ruleset, steps)
  for _, name in ipairs(ruleset.unread or {}) do
    found[#found + 1] = {
      at = name, verdict = "unknown", by = "its rules are not read: iptables-legacy-save is missing",
    }
  end
  return found
end

--- The chain that surely drops what is forwarded between our networks and the uplink, or nil.
---@param ruleset table
---@param packet table direction ("inbound", "outbound" or "host": from the host to a published port),
---  protocol, dport, host_port (before translation), family
---@param uplink string? name of the uplink; nil: it may be any
---@return string? "FAMILY TABLE CHAIN"
function foreign.chain(ruleset, packet, uplink)
  local facts = {
    protocol = packet.protocol, dport = packet.dport, state = "new", family = packet.family,
    status = { dnat = packet.direction ~= "outbound" or nil },
  }
  local before = packet.host_port and with(facts, { dport = packet.host_port, status = {}, target = "local" })
  local steps
  if packet.direction == "outbound" then
    steps = foreign.forwarded(facts, foreign.ours, uplink)
  elseif packet.direction == "inbound" then
    steps = foreign.forwarded(facts, uplink, foreign.ours, before)
  else
    steps = foreign.leaving(facts, foreign.ours, before)
  end
  for _, finding in ipairs(nft.follow(ruleset, steps)) do
    if finding.verdict == "drop" then
      return finding.at
    end
  end
end

return foreign

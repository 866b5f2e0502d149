--- explain.lua - why a packet passes or not: the gate's judgement and the hops before and after it.
---
--- The gate judges (filter, the very code the kernel runs); what is added here is what stands around
--- it: the switch, the siblings' gates, the network's own say (DESIGN 3.1), translation, and other
--- programs' tables on the host. A world holds what there is to know:
---@class world
---@field at string the container's name
---@field gate gate
---@field network network name, driver, subnets, reach
---@field addresses string[] the container's own, without lengths
---@field published published[]
---@field publisher fun(packet: packet): publisher|nil whose published port a packet to the host is for
---@field networks network[] all of the host's
---@field default { inbound: table, outbound: table } action and origin, by direction
---@field live boolean whether `peer` knows every endpoint
---@field peer fun(address: string): { at: string, gate: gate, network: string }|nil
---@field is_host fun(address: string): boolean whether an address is the host's, as far as that is known
---@field link fun(address: string): string? the host's interface towards an address
---@field foreign fun(steps: nft_step[]): nft_finding[] what other programs' tables do on a way
---@field counters? { hits: (fun(rule: integer): integer?), totals: fun(): table } of a live gate
---
---@class publisher: { at: string, gate: gate, default: table, counters: table? }
---@field entry published
---@field network network
---@field address string
local json = require "json"
local filter = require "bulkhead.filter"
local foreign = require "foreign"
local published = require "published"
local reach = require "reach"

local explain = {}

--- Keys of the answer, in order.
explain.ORDER = {
  "hop", "at", "verdict", "by", "rule", "origin", "audit", "delivered", "hops", "matched",
  "action", "priority", "won", "lost_by", "hits", "flow", "counters",
}

local function in_any(subnets, address)
  for _, subnet in ipairs(subnets) do
    if filter.contains(subnet.prefix, address) then
      return subnet
    end
  end
end

--- Whether an address never leaves the link: multicast, broadcast, link-local, unspecified.
local function stays_on_link(address)
  for _, prefix in ipairs { "224.0.0.0/4", "169.254.0.0/16", "ff00::/8", "fe80::/10" } do
    if filter.contains(prefix, address) then
      return true
    end
  end
  return address == "255.255.255.255" or address == "0.0.0.0" or address == "::"
end
explain.stays_on_link = stays_on_link

--- Where an address is, seen from the world: "link", "host", "inside", "network" (and which),
--- "outside".
local function locate(world, address)
  if stays_on_link(address) then
    return "link"
  end
  local subnet = in_any(world.network.subnets, address)
  if subnet then
    return subnet.gateway == address and "host" or "inside"
  elseif world.is_host(address) then
    return "host"
  end
  for _, network in ipairs(world.networks) do
    subnet = network.name ~= world.network.name and in_any(network.subnets, address)
    if subnet then
      return subnet.gateway == address and "host" or "network", network
    end
  end
  return "outside"
end

local function lists(names, name)
  for _, each in ipairs(names or {}) do
    if each == name then
      return true
    end
  end
  return false
end

--- The published entry whose container port the packet goes to.
local function published_for(world, packet)
  for _, entry in ipairs(world.published) do
    if entry.protocol == packet.protocol and entry.container == packet.target_port then
      return entry
    end
  end
end

local Path = {}
Path.__index = Path

--- Where the verdict comes from. The line of a default is not the gate's to know.
local function origin_of(default, judgement)
  if judgement.origin or judgement.rule_id then
    return judgement.origin
  elseif judgement.by == "default" or judgement.by == "flow" or judgement.by == "fragment" then
    return default[judgement.opener].origin
  end
end

--- Adds a hop, unless the packet went no further than an earlier one.
---@return table? hop
function Path:add(hop, at, by, verdict, more)
  if self.blocked then
    return nil
  end
  local entry = { hop = hop, at = at, verdict = verdict or "allow", by = by }
  for key, value in pairs(more or {}) do
    entry[key] = value
  end
  self.hops[#self.hops + 1] = entry
  self.blocked = verdict == "block"
  return entry
end

local function or_null(value)
  if value == nil then
    return json.null
  end
  return value
end

--- The rules that match, with what they counted.
local function matched_of(judgement, counters)
  local matched = {}
  for i, match in ipairs(judgement.matched or {}) do
    matched[i] = {
      rule = or_null(match.rule), origin = or_null(match.origin), action = match.action,
      priority = match.priority, won = match.won, lost_by = or_null(match.lost_by),
      hits = counters and counters.hits(match.id) or nil,
    }
  end
  return matched
end

--- Adds a gate by its judgement.
---@param side { at: string, default: table, counters: table? }
function Path:gate(hop, side, judgement)
  self:add(hop, side.at, judgement.by, judgement.verdict, {
    rule = judgement.rule, origin = origin_of(side.default, judgement),
    matched = matched_of(judgement, side.counters), flow = judgement.flow,
  })
end

--- Adds a sibling's gate, which sees the same packet the other way round.
function Path:peer(hop, peer, text)
  if peer and not self.blocked then
    local judgement = peer.gate:judge(text)
    if judgement then
      self:gate(hop, peer, judgement)
    end
  end
end

--- Adds what other programs' tables do on a way through the host. What may drop and what cannot be read
--- is told, and stops nothing.
function Path:foreign(world, steps)
  if self.blocked then
    return
  end
  for _, finding in ipairs(world.foreign(steps)) do
    self:add("foreign", finding.at, finding.by, finding.verdict == "drop" and "block" or "unknown")
  end
end

local function bridged(driver)
  return driver == "l2bridge" or driver == "transparent"
end

--- Whether an address is the broadcast address of one of the network's subnets.
local function is_broadcast(world, address)
  local subnet = in_any(world.network.subnets, address)
  return subnet ~= nil and filter.prefix(subnet.prefix).last == address
end

--- Facts of a packet that belongs to a connection as its judgement says; `translated` by our table.
local function facts_of(packet, judgement, translated)
  local flow = judgement.by == "flow" or judgement.by == "fragment"
  return foreign.facts(packet, {
    state = flow and "established" or "new",
    status = not flow and { dnat = translated or nil } or nil,
  })
end

--- The facts of a packet before translation: the one that was, or what is known of it.
local function facts_before(packet, before, entry)
  if before then
    return foreign.facts(before, { target = "local" })
  end
  local facts = foreign.facts(packet, { dport = entry.host, target = "local" })
  facts.daddr = entry.address
  return facts
end

--- The gateway of a network in the family of an address.
local function gateway_of(network, address)
  for _, subnet in ipairs(network.subnets) do
    if published.family(subnet.gateway) == published.family(address) then
      return subnet.gateway
    end
  end
  return address
end

--- From the host's translation to the gate of the container that publishes.
local function follow_published(path, world, packet, publisher, judgement)
  local network, source = publisher.network, packet.source
  path:add("host", "host", "management vNIC")
  path:add("translation", network.name, "published " .. publisher.entry.host)
  if in_any(network.subnets, source) then
    source = gateway_of(network, source)
    path:add("translation", network.name, "masquerade")
  end
  local text = published.rewrite(packet.text, {
    direction = "in", source = source, source_port = packet.source_port, target = publisher.address,
    target_port = publisher.entry.container,
  })
  path:foreign(world, foreign.forwarded(facts_of(filter.packet(text), judgement, true), foreign.ours,
    foreign.ours, facts_before(packet, packet)))
  path:add("switch", network.name, "port")
  path:peer("gate in", publisher, text)
end

local function outbound(path, world, packet, judgement)
  local network = world.network
  path:gate("gate out", world, judgement)
  local publisher = network.driver == "nat" and packet.target_port and world.publisher
    and world.publisher(packet)
  if publisher then
    path:add("switch", network.name, "port")
    return follow_published(path, world, packet, publisher, judgement)
  end
  local where, other = locate(world, packet.target)
  local peer = world.peer(packet.target)
  local mirrored = "in" .. packet.text:sub(4)
  local facts = facts_of(packet, judgement)
  if where == "inside" and world.live and not peer and not is_broadcast(world, packet.target)
    and not bridged(network.driver) then
    path:add("switch", network.name, "no such endpoint", "block")
    return
  end
  path:add("switch", network.name, "port")
  if where == "inside" then
    path:peer("gate in", peer, mirrored)
  elseif where == "host" then
    path:add("host", "host", "management vNIC")
    path:foreign(world, foreign.entering(facts, foreign.ours))
  elseif where == "network" then
    if not reach.each_other(network, other) then
      path:add("network", network.name, "reach", "block")
    end
    path:add("host", "host", "route")
    path:foreign(world, foreign.forwarded(facts, foreign.ours, foreign.ours))
    if world.live and not peer then
      path:add("switch", other.name, "no such endpoint", "block")
    end
    path:add("switch", other.name, "port")
    path:peer("gate in", peer, mirrored)
  elseif where == "outside" and network.driver == "nat" then
    path:add("host", "host", "route")
    path:foreign(world, foreign.forwarded(facts, foreign.ours, world.link(packet.target)))
    path:add("translation", network.name, "masquerade")
  elseif where == "outside" and not bridged(network.driver) then
    path:add("network", network.name, "outside", "block")
  end
end

local function inbound(path, world, packet, judgement, before)
  local network = world.network
  local where, other = locate(world, packet.source)
  local peer = world.peer(packet.source)
  local mirrored = "out" .. packet.text:sub(3)
  if where == "inside" then
    path:peer("gate out", peer, mirrored)
  elseif where == "host" then
    path:add("host", "host", "management vNIC")
    if before then
      path:add("translation", network.name, "published " .. before.target_port)
    end
    path:foreign(world, foreign.leaving(facts_of(packet, judgement, before ~= nil), foreign.ours,
      before and facts_before(packet, before)))
  elseif where == "network" then
    path:peer("gate out", peer, mirrored)
    path:add("switch", other.name, "port")
    if before and other.driver == "nat" then
      path:add("translation", network.name, "published " .. before.target_port)
    elseif not reach.each_other(network, other) then
      path:add("network", network.name, "reach", "block")
    end
    path:add("host", "host", "route")
    path:foreign(world, foreign.forwarded(facts_of(packet, judgement, before ~= nil), foreign.ours,
      foreign.ours, before and facts_before(packet, before)))
  elseif where == "outside" and not bridged(network.driver) then
    path:add("host", "host", "route")
    local link = world.link(packet.source)
    local entry = network.driver == "nat" and (before and { host = before.target_port }
      or published_for(world, packet))
    -- The host's connection tracking translates what belongs to a connection back by itself.
    if network.driver == "nat" and (judgement.by == "flow" or judgement.by == "fragment") then
      path:add("translation", network.name, "connection")
      path:foreign(world, foreign.forwarded(facts_of(packet, judgement), link, foreign.ours))
    elseif entry then
      path:add("translation", network.name, "published " .. entry.host)
      path:foreign(world, foreign.forwarded(facts_of(packet, judgement, true), link, foreign.ours,
        facts_before(packet, before, entry)))
    else
      local by = network.driver == "nat" and "untranslated" or "outside"
      path:add("network", network.name, by, "block")
    end
  end
  path:add("switch", network.name, "port")
  path:gate("gate in", world, judgement)
end

--- An inbound packet that is addressed to the host's published port: as the container's gate sees
--- it, and as it was. Anything else stays what it is.
local function translated(world, packet)
  local target = packet.target
  if packet.direction ~= "inbound" or not packet.target_port or world.network.driver ~= "nat"
    or lists(world.addresses, target) or stays_on_link(target) then
    return packet
  end
  local entry = published.entry(world.published, packet.protocol, target, packet.target_port)
  local own
  for _, address in ipairs(world.addresses or {}) do
    if not own and published.family(address) == published.family(target) and not stays_on_link(address) then
      own = address
    end
  end
  local source, loopback = packet.source, filter.contains("127.0.0.0/8", packet.source)
  if not entry or not own or target == "::1" or filter.contains("127.0.0.0/8", target) ~= loopback then
    return packet
  end
  if loopback or locate(world, source) == "inside" then
    source = gateway_of(world.network, own)
  end
  local text = published.rewrite(packet.text, {
    source = source, source_port = packet.source_port, target = own, target_port = entry.container,
  })
  local after = filter.packet(text)
  after.text = text
  return after, packet
end

--- The way of a packet that a sibling sent to the host's published port.
local function hairpin(path, world, packet, before, judgement)
  local network = world.network
  path:peer("gate out", world.peer(before.source), "out" .. before.text:sub(3))
  path:add("switch", network.name, "port")
  path:add("host", "host", "management vNIC")
  path:add("translation", network.name,
    "published " .. before.target_port)
  path:add("translation", network.name, "masquerade")
  path:foreign(world, foreign.forwarded(facts_of(packet, judgement, true), foreign.ours, foreign.ours,
    facts_before(packet, before)))
  path:add("switch", network.name, "port")
  path:gate("gate in", world, judgement)
end

--- Judges a packet and follows it. Flows it opens are known to the next one asked about.
---@param world world
---@param text string PACKET
---@return table? answer as DESIGN 6 has it
---@return string? message
---@return string? code
function explain.packet(world, text)
  text = text:match "^%s*(.-)%s*$"
  local packet, message, code = filter.packet(text)
  if not packet then
    return nil, message, code
  end
  packet.text = text
  local judgement, before
  packet, before = translated(world, packet)
  judgement, message, code = world.gate:judge(packet.text)
  if not judgement then
    return nil, message, code
  end
  local path = setmetatable({ hops = {}, blocked = false }, Path)
  if before and locate(world, before.source) == "inside" then
    hairpin(path, world, packet, before, judgement)
  elseif packet.direction == "outbound" then
    outbound(path, world, packet, judgement)
  else
    inbound(path, world, packet, judgement, before)
  end
  return {
    verdict = judgement.verdict, by = judgement.by, rule = or_null(judgement.rule),
    origin = or_null(origin_of(world.default, judgement)), audit = judgement.audit or false,
    delivered = not path.blocked, hops = path.hops, matched = matched_of(judgement, world.counters),
    flow = judgement.flow, counters = world.counters and world.counters.totals() or nil,
  }
end

return explain

--- worlds.lua - what `explain` looks at: a container that is there, or one that is imagined.
local explain = require "explain"
local filter = require "bulkhead.filter"
local foreign = require "foreign"
local lifecycle = require "lifecycle"
local nft = require "nft"
local policies = require "policies"
local published = require "published"
local uplink = require "uplink"

local worlds = {}

local function bare(address)
  return (address:match "^[^/]+")
end

--- Asks once for the host's rules, and only if a packet comes by the host at all.
local function lazy_foreign(host)
  local asked, ruleset, message = false, nil, nil
  return function(steps)
    if not asked then
      asked = true
      ruleset, message = host:visit(nft.read)
    end
    return foreign.follow(steps, ruleset, message)
  end
end

--- Finds the host's interface towards an address.
local function lazy_link(host)
  local find
  return function(address)
    find = find or uplink.finder()
    return (host:visit(function()
      return find(address)
    end))
  end
end

--- Whether an address is the host's own.
local function host_addresses(host, networks)
  local addresses
  return function(address)
    if not addresses then
      addresses = host:platform() == "linux" and host:visit(published.machine) or {}
      for _, network in ipairs(networks) do
        for _, subnet in ipairs(network.subnets) do
          addresses[subnet.gateway] = true
        end
      end
    end
    return addresses[address] or false
  end
end

--- What the gate of an endpoint counted: hits of a rule by its id, and the endpoint's own counters.
local function counters_of(host, endpoint)
  local hits
  return {
    hits = function(id)
      if not hits then
        hits = {}
        for _, rule in ipairs(host:rules(endpoint) or {}) do
          hits[rule.id] = rule.hits
        end
      end
      return hits[id]
    end,
    totals = function()
      return host:counters(endpoint)
    end,
  }
end

local function nothing()
  return nil
end

local function nobody()
  return {}
end

local function never()
  return false
end

--- The endpoint that a sequence of packets is about: the one whose address the first names.
local function choose_endpoint(endpoints, packets)
  for _, endpoint in ipairs(endpoints) do
    for _, address in ipairs(endpoint.addresses) do
      if packets[1] and bare(address) == packets[1]["local"] then
        return endpoint
      end
    end
  end
  return endpoints[1]
end

--- The defaults of an endpoint, by direction.
local function defaults_of(endpoint)
  return {
    inbound = { action = endpoint.default_inbound, origin = endpoint.default_inbound_origin },
    outbound = { action = endpoint.default_outbound, origin = endpoint.default_outbound_origin },
  }
end

--- Finds endpoints by address and keeps their gates, so that a sequence of packets is one.
local function peers_of(host, own)
  local gates, names = {}, {}
  for _, container in ipairs(host:containers()) do
    names[container.id] = container.name
  end
  return function(address)
    for _, endpoint in ipairs(host:endpoints()) do
      if endpoint.id ~= own.id and endpoint.status ~= "removing" then
        for _, each in ipairs(endpoint.addresses) do
          if bare(each) == address then
            gates[endpoint.id] = gates[endpoint.id] or host:gate(endpoint.id)
            return gates[endpoint.id] and {
              at = names[endpoint.container] or endpoint.container,
              gate = gates[endpoint.id], network = endpoint.network, default = defaults_of(endpoint),
              counters = counters_of(host, endpoint.id),
            }
          end
        end
      end
    end
  end
end

--- Finds whose published port a packet to an address of the host is for.
local function publisher_of(host, networks, own, is_host)
  --- The first endpoint on a network with translation, with its address of a family.
  local function target(container, family)
    for _, endpoint in ipairs(host:endpoints(container.id)) do
      if endpoint.driver == "nat" then
        for _, address in ipairs(endpoint.addresses) do
          if published.family(address) == family then
            return endpoint, bare(address)
          end
        end
      end
    end
  end
  return function(packet)
    if not is_host(packet.target) then
      return nil
    end
    for _, container in ipairs(host:containers()) do
      local entry = published.entry(container.published, packet.protocol, packet.target, packet.target_port)
      local endpoint, address
      if entry then
        endpoint, address = target(container, published.family(packet.target))
      end
      local gate = endpoint and (endpoint.id == own.id and own.gate or host:gate(endpoint.id))
      for _, network in ipairs(networks) do
        if gate and network.name == endpoint.network then
          return {
            at = container.name, gate = gate, default = defaults_of(endpoint), entry = entry,
            network = network, address = address, counters = counters_of(host, endpoint.id),
          }
        end
      end
    end
  end
end

--- Addresses without their lengths.
local function bare_all(addresses)
  local list = {}
  for i, address in ipairs(addresses) do
    list[i] = bare(address)
  end
  return list
end

--- The world around a container that is there.
---@param host host
---@param who string
---@param packets packet[]
---@return world?
---@return string? message
---@return string? code
function worlds.live(host, who, packets)
  local container, message, code = host:container(who)
  if not container then
    return nil, message, code
  end
  local endpoint = choose_endpoint(host:endpoints(container.id), packets)
  if not endpoint then
    return nil, ("container '%s' has no endpoint"):format(container.name), "ENOENT"
  end
  local gate
  gate, message, code = host:gate(endpoint.id)
  if not gate then
    return nil, message, code
  end
  local networks, network = host:networks(), nil
  for _, each in ipairs(networks) do
    if each.name == endpoint.network then
      network = each
    end
  end
  local linux, is_host = host:platform() == "linux", host_addresses(host, networks)
  return {
    at = container.name, gate = gate, network = network, networks = networks,
    default = defaults_of(endpoint), counters = counters_of(host, endpoint.id),
    addresses = bare_all(endpoint.addresses), published = container.published, live = true,
    publisher = publisher_of(host, networks, { id = endpoint.id, gate = gate }, is_host),
    peer = peers_of(host, endpoint), is_host = is_host,
    foreign = linux and lazy_foreign(host) or nobody, link = linux and lazy_link(host) or nothing,
  }
end

--- The first host of a prefix: its network address and one.
local function first_host(prefix)
  local parsed = filter.prefix(prefix, true)
  local bits = parsed.family == 6 and 128 or 32
  return parsed.length < bits - 1 and parsed.gateway or nil
end

--- An address with its length: of the live network's subnet, else /24 and /64.
local function with_length(address, subnets)
  if address:find("/", 1, true) then
    return address
  end
  for _, subnet in ipairs(subnets) do
    if filter.contains(subnet.prefix, address) then
      return address .. "/" .. filter.prefix(subnet.prefix).length
    end
  end
  return address .. (address:find(":", 1, true) and "/64" or "/24")
end

--- The addresses that packets name as the container's own.
local function locals_of(packets)
  local list, seen = {}, {}
  for _, packet in ipairs(packets) do
    local address = packet["local"]
    local link_local = address and filter.contains("fe80::/10", address)
    if address and not seen[address] and (link_local or not explain.stays_on_link(address)) then
      seen[address] = true
      list[#list + 1] = address
    end
  end
  return list
end

--- Subnets around imagined addresses.
local function subnets_of(addresses)
  local subnets = {}
  for _, address in ipairs(addresses) do
    if not filter.contains("fe80::/10", bare(address)) then
      local parsed = filter.prefix(address, true)
      subnets[#subnets + 1] = {
        prefix = parsed.first .. "/" .. parsed.length, gateway = first_host(address),
      }
    end
  end
  return subnets
end

--- What the words of `remote` stand for on a network.
function worlds.words(network)
  local prefixes, gateways = {}, {}
  for i, subnet in ipairs(network.subnets) do
    prefixes[i] = subnet.prefix
    gateways[#gateways + 1] = subnet.gateway
  end
  prefixes[#prefixes + 1] = "fe80::/64"
  local dns = network.dns and network.dns[1] and network.dns or gateways
  return { LocalSubnet = prefixes, DefaultGateway = gateways, DNS = dns, DHCP = gateways }
end

---@class imagined_spec
---@field name? string
---@field type string
---@field driver? string of a network that is imagined too
---@field network? network one that is there, instead of a driver
---@field addresses string[] empty: the packets' local sides
---@field published published[]
---@field annotations? table<string, string>
---@field labels? table<string, string>
---@field policies string
---@field policy? string

--- The world around a container that is imagined.
---@param spec imagined_spec
---@param packets packet[]
---@return world?
---@return string? message
---@return string? code
function worlds.imagined(spec, packets)
  local addresses = {}
  local live_subnets = spec.network and spec.network.subnets or {}
  for i, address in ipairs(#spec.addresses > 0 and spec.addresses or locals_of(packets)) do
    addresses[i] = with_length(address, live_subnets)
  end
  local network = spec.network
    or { name = spec.driver, driver = spec.driver, subnets = subnets_of(addresses) }
  local set, message, code =
    policies.load(spec.policies, spec.policy or spec.type, network.driver)
  if not set then
    return nil, message, code
  end
  local name = spec.name or "imagined"
  local view = lifecycle.container_view {
    id = name, type = spec.type, published = spec.published, annotations = spec.annotations,
    labels = spec.labels,
  }
  local endpoint = lifecycle.endpoint_view {
    addresses = addresses, mac = "02:00:00:00:00:02", network = network.name,
  }
  local ok, own
  ok, message, code = set:run("create", view)
  if not ok then
    return nil, message, code
  end
  own, message, code = set:run("attach", view, endpoint)
  if not own then
    return nil, message, code
  end
  local gate
  gate, message, code = filter.gate {
    mac = endpoint.mac, addresses = addresses, default = set:default(), options = set:options(),
    rules = set:rules(), own = own, words = worlds.words(network),
  }
  if not gate then
    return nil, message, code
  end
  return {
    at = name, gate = gate, network = network, networks = {}, addresses = bare_all(addresses),
    published = spec.published,
    default = set:default(), options = set:options(), live = false, peer = nothing,
    foreign = nobody, link = nothing, is_host = never,
  }
end

return worlds

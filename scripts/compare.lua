--- compare.lua - what two policy sets make of packets differently, for whoever is asked about.
---
--- Somebody (`who`) is imagined under both sets; their gates are compared over all packets
--- (bulkhead.prove). Without addresses of their own they may have any, on a network that is made up
--- for the words of `remote` to mean something.
local filter = require "bulkhead.filter"
local lfs = require "lfs"
local prove = require "bulkhead.prove"
local rule_text = require "rule_text"
local validate = require "validate"
local worlds = require "worlds"

local compare = {}

--- Where LocalSubnet and the other words lead when nobody said: network `nat` as it is made on
--- first use, with an IPv6 prefix beside it.
local SUBNETS = {
  { prefix = "172.16.0.0/16", gateway = "172.16.0.1" },
  { prefix = "fd00:16::/64", gateway = "fd00:16::1" },
}

--- Names of the policies in a folder of a set, by the alphabet.
---@param dir string
---@param folder "container"|"network"
---@return string[]
function compare.names(dir, folder)
  local names = {}
  local path = dir .. "/" .. folder
  if lfs.attributes(path, "mode") == "directory" then
    for name in lfs.dir(path) do
      names[#names + 1] = name:match "^([^.].*)%.lua$"
    end
  end
  table.sort(names)
  return names
end

--- Somebody of a container policy on a driver, with nothing published.
function compare.somebody(policy, driver)
  return {
    type = policy == "hyperv" and "hyperv" or "process", policy = policy, driver = driver,
    addresses = {}, published = {},
  }
end

--- Everybody there is to imagine: each container policy on each driver.
---@param policies string[]
function compare.everybody(policies)
  local list = {}
  for _, policy in ipairs(policies) do
    for _, driver in ipairs(validate.DRIVERS) do
      list[#list + 1] = compare.somebody(policy, driver)
    end
  end
  return list
end

--- The world of somebody under a set.
---@return world?
---@return string? message
---@return string? code
function compare.world(dir, who)
  local spec = {}
  for key, value in pairs(who) do
    spec[key] = value
  end
  spec.policies = dir
  if not spec.network and #spec.addresses == 0 then
    spec.network = { name = spec.driver, driver = spec.driver, subnets = SUBNETS }
  end
  return worlds.imagined(spec, {})
end

local OPTIONS = { "antispoof", "router", "dhcp_server", "direct", "flows" }

local function listed(value)
  return type(value) == "table" and table.concat(value, ",") or value
end

--- What else the policies say differently: { name, before, after }.
local function options_that_differ(a, b)
  local list = {}
  local function hold(name, before, after)
    if before ~= after then
      list[#list + 1] = { name = name, before = before, after = after }
    end
  end
  for _, name in ipairs(OPTIONS) do
    hold(name, a[name], b[name])
  end
  hold("reach", listed(a.reach), listed(b.reach))
  local names = {}
  for _, options in ipairs { a, b } do
    for name in pairs(options.timeouts) do
      names[name] = true
    end
  end
  local sorted = {}
  for name in pairs(names) do
    sorted[#sorted + 1] = name
  end
  table.sort(sorted)
  for _, name in ipairs(sorted) do
    hold("timeouts." .. name, a.timeouts[name], b.timeouts[name])
  end
  return list
end

--- The line of a default is not the gate's to know.
local function fill_origin(decider, world, direction)
  if decider.by == "default" then
    decider.origin = world.default[direction].origin
  end
end

--- Frames that are neither IP nor ARP know no rule, only the default.
local function other_frames(a, b, direction)
  local before, after = a.default[direction], b.default[direction]
  if before.action == after.action then
    return nil
  end
  local function decider(default)
    return { action = default.action, by = "default", origin = default.origin, audit = false }
  end
  return {
    change = after.action == "allow" and "allowed" or "blocked", direction = direction,
    protocol = "frame", example = (direction == "inbound" and "in" or "out") .. " frame",
    before = decider(before), after = decider(after),
  }
end

---@class comparison
---@field same boolean
---@field allowed difference_class[] packets that only the second set lets pass
---@field blocked difference_class[] packets that only the first set lets pass
---@field options { name: string, before: any, after: any }[] what differs besides

--- Compares two gates, each with its defaults.
---@return comparison?
---@return string? message
---@return string? code
local function of_gates(before, after, options)
  local classes, message, code = prove.compare(before.gate, after.gate)
  if not classes then
    return nil, message, code
  end
  for _, direction in ipairs { "inbound", "outbound" } do
    classes[#classes + 1] = other_frames(before, after, direction)
  end
  local result = { allowed = {}, blocked = {}, options = options }
  for _, class in ipairs(classes) do
    fill_origin(class.before, before, class.direction)
    fill_origin(class.after, after, class.direction)
    table.insert(result[class.change], class)
  end
  result.same = #classes == 0 and #options == 0
  return result
end

--- Compares what two sets make of somebody's packets.
---@param a string directory
---@param b string directory
---@param who table an imagined_spec without `policies`
---@return comparison?
---@return string? message
---@return string? code
function compare.one(a, b, who)
  local before, message, code = compare.world(a, who)
  if not before then
    return nil, message, code
  end
  local after
  after, message, code = compare.world(b, who)
  if not after then
    return nil, message, code
  end
  return of_gates(before, after, options_that_differ(before.options, after.options))
end

--- What a class matches, in words.
---@param class difference_class
---@return string
function compare.describe(class)
  if class.protocol == "frame" then
    return class.direction .. " frames that are neither IP nor ARP"
  end
  return class.direction .. " " .. rule_text.matches(class)
end

--- What a reload would change for endpoints that are there: one comparison each, in which `who` is
--- the container with its network. Handlers and what sharers of an endpoint add count, as in a reload.
---@param host host
---@param request reload_request
---@return comparison[]?
---@return string? message
---@return string? code
function compare.reload(host, request)
  local changes, message, code = require("reload").plan(host, request)
  if not changes then
    return nil, message, code
  end
  local networks, endpoints, results = {}, {}, {}
  for _, network in ipairs(host:networks()) do
    networks[network.name] = network
  end
  for _, endpoint in ipairs(host:endpoints()) do
    endpoints[endpoint.id] = endpoint
  end
  for i, change in ipairs(changes) do
    local endpoint = endpoints[change.endpoint]
    local network = networks[endpoint.network]
    local after = { default = change.default }
    after.gate, message, code = filter.gate {
      mac = endpoint.mac, addresses = endpoint.addresses, default = change.default, options = change.options,
      rules = change.rules, own = change.own, words = worlds.words(network),
    }
    local before = { default = worlds.defaults_of(endpoint) }
    if after.gate then
      before.gate, message, code = host:gate(endpoint.id)
    end
    if not before.gate then
      return nil, message, code
    end
    local options = {}
    for _, each in ipairs(change.fields) do
      if each.field ~= "inbound" and each.field ~= "outbound" then
        options[#options + 1] = { name = each.field, before = each.from, after = each.to }
      end
    end
    results[i], message, code = of_gates(before, after, options)
    if not results[i] then
      return nil, message, code
    end
    results[i].who = { name = change.name, policy = change.name, network = network, endpoint = endpoint.id }
  end
  return results
end

--- Somebody as spec, from a container that is there: its first endpoint's addresses and network.
---@param host host
---@param name string
---@return table?
---@return string? message
---@return string? code
function compare.live(host, name)
  local container, message, code = host:container(name)
  if not container then
    return nil, message, code
  end
  local endpoint = host:endpoints(container.id)[1]
  if not endpoint then
    return nil, ("container '%s' has no endpoint"):format(container.name), "ENOENT"
  end
  for _, network in ipairs(host:networks()) do
    if network.name == endpoint.network then
      return {
        name = container.name, type = container.type, policy = container.policy, network = network,
        addresses = endpoint.addresses, published = container.published,
        annotations = container.annotations, labels = container.labels,
      }
    end
  end
  return nil, ("there is no network '%s'"):format(endpoint.network), "ENOENT"
end

return compare

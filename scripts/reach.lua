--- reach.lua - which networks reach each other, and which flows end when they no longer do.
---
--- Two do while both say so: by what they were made with, or by the policy of any endpoint on them. The
--- host asks that of every packet, so what was established between them ends with it. What came by a
--- published port is the host's to let in, whatever networks say.
local bulkhead = require "bulkhead"
local filter = require "bulkhead.filter"

local reach = {}

--- Whether networks let each other in and out.
---@param a network
---@param b network
function reach.each_other(a, b)
  return bulkhead.reaches(a.reach or {}, b.name) and bulkhead.reaches(b.reach or {}, a.name)
end

--- The networks as they would be, by name, if endpoints had other policies.
---@param host host
---@param changes { endpoint: integer, options: policy_options }[]
local function networks_after(host, changes)
  local by, of_endpoint = {}, {}
  for _, network in ipairs(host:networks()) do
    local names = table.move(network.own_reach, 1, #network.own_reach, 1, {})
    by[network.name] = { name = network.name, subnets = network.subnets, reach = names }
  end
  for _, change in ipairs(changes) do
    of_endpoint[change.endpoint] = change.options.reach or {}
  end
  for _, endpoint in ipairs(host:endpoints()) do
    local names, to = of_endpoint[endpoint.id] or endpoint.reach, by[endpoint.network]
    if to then
      table.move(names, 1, #names, #to.reach + 1, to.reach)
    end
  end
  return by
end

local function network_of(networks, address)
  for _, network in pairs(networks) do
    for _, subnet in ipairs(network.subnets) do
      if filter.contains(subnet.prefix, address) then
        return network
      end
    end
  end
end

local function ends_of(flow, from, to)
  return table.concat({
    flow.protocol, flow[from .. "_address"], flow[from .. "_port"], flow[to .. "_address"], flow[to .. "_port"],
  }, " ")
end

--- Whether some networks reach each other before and not after.
local function any_parts(before, after)
  for _, a in pairs(before) do
    for _, b in pairs(before) do
      if reach.each_other(a, b) and not reach.each_other(after[a.name], after[b.name]) then
        return true
      end
    end
  end
  return false
end

--- A test of flows: whether one runs between networks that reach each other and would not any more.
---@param host host
---@param changes { endpoint: integer, options: policy_options }[]
---@return fun(flow: flow, network: string): boolean network is the one of the flow's endpoint
function reach.ending(host, changes)
  local before, after, seen = {}, networks_after(host, changes), {}
  for _, network in ipairs(host:networks()) do
    before[network.name] = network
  end
  if not any_parts(before, after) then
    return function() return false end
  end
  host:flows(nil, function(flow)
    seen[ends_of(flow, "local", "remote")] = true
  end)
  return function(flow, network)
    local other = flow.remote_address and network_of(before, flow.remote_address)
    return other ~= nil and other.name ~= network
      and reach.each_other(before[network], other) and not reach.each_other(after[network], after[other.name])
      -- Its other end knows it as it is: nothing on the way is translated.
      and seen[ends_of(flow, "remote", "local")] ~= nil
  end
end

return reach

--- lifecycle.lua - how a container comes and goes: policy, host and handlers in the right order.
---
--- Handlers hear `create`, `attach` (once an endpoint), `start`, `stop`, `detach` (once an endpoint)
--- and `remove`, in this order and once each: an event belongs to a change of the host and is noted
--- with it (the `phase` of containers and endpoints). By hand and by CNI, `start` follows `attach`;
--- with OCI hooks it comes at poststart. Only a kill in the middle of a removal may tell a container's
--- end twice.
---
--- Coming fails closed. Policies are loaded before the host's lock is taken; `create` and `attach`
--- run inside the change, so that aborting it undoes everything; `start` runs once the container is
--- there, so that its failure takes the container away again. Going never fails over a policy: what
--- handlers say then is logged, and teardown goes on.
---
--- A container that joins the namespace of another (a pod) shares its compartment. It shares its
--- endpoint too, with its address and its rules, unless it names a network that the compartment is
--- not on, or an address, an interface or a MAC of its own. The endpoint goes with the container it
--- came with.
local departure = require "departure"
local policies = require "policies"
local roster = require "roster"
local session = require "session"

local lifecycle = {
  container_view = roster.container_view, endpoint_view = roster.endpoint_view,
  stop = departure.stop, remove = departure.remove, detach = departure.detach,
  sweep = departure.sweep,
}

lifecycle.NAT = { name = "nat", driver = "nat", subnets = { "172.16.0.0/16" } }

local change, find_network = roster.change, roster.find_network

--- What must be known before the lock is taken. A network that is being made may be gone by then, because
--- whoever made it was killed.
local function prepare(host, spec)
  local name = spec.network or "nat"
  local network = find_network(host, name)
  if network and network.status == "creating" and (spec.network_spec or name == "nat") then
    network = nil
  end
  local made = not network and (spec.network_spec or name == "nat" and lifecycle.NAT) or nil
  if not network and not made then
    return nil, ("there is no network '%s'"):format(name), "ENOENT"
  end
  local policy = spec.policy or spec.type
  local set, message, code = policies.load(spec.policies, policy, (network or made).driver)
  if not set then
    return nil, message, code
  end
  return { network = name, make = made, policy = policy, set = set, view = roster.container_view(spec) }
end

--- The endpoints that a container which joins a compartment would share: nil if it gets its own.
local function shared_endpoints(host, spec, plan, compartment)
  if spec.addresses and spec.addresses[1] or spec.interface or spec.mac then
    return nil
  end
  local shared = {}
  for _, endpoint in ipairs(host:endpoints(compartment, "compartment")) do
    if endpoint.status ~= "removing" and (not spec.network or endpoint.network == plan.network) then
      shared[#shared + 1] = endpoint
    end
  end
  return shared[1] and shared or nil
end

--- Adds an endpoint and tells `attach`. Inside a change.
---@return endpoint?, string?, string?
local function add_endpoint(host, spec, plan)
  local message, code
  if plan.make and not find_network(host, plan.network) then
    local network
    network, message, code = host:add_network(plan.make)
    if not network then
      return nil, message, code
    end
    plan.made_network = true
  end
  local endpoint
  endpoint, message, code = host:add_endpoint {
    container = spec.id, network = plan.network, addresses = spec.addresses, mac = spec.mac,
    interface = spec.interface, attachment = spec.attachment,
    default = plan.set:default(), options = plan.set:options(), rules = plan.set:rules(),
  }
  if not endpoint then
    return nil, message, code
  end
  local added
  added, message, code = plan.set:run("attach", plan.view, roster.endpoint_view(endpoint))
  if added and #added > 0 then
    added, message, code = host:add_rules(endpoint.id, added)
  end
  if not added then
    return nil, message, code
  end
  return endpoint
end

--- Adds a container and tells `create`. Inside a change.
---@return container?, endpoint|string?, string?
local function add(host, spec, plan)
  local container, message, code = host:add_container {
    id = spec.id, name = spec.name, type = spec.type, policies = spec.policies,
    policy = plan.policy, netns = spec.netns, owner = spec.owner,
    annotations = spec.annotations, labels = spec.labels, published = spec.published,
  }
  if not container then
    return nil, message, code
  end
  local shared = shared_endpoints(host, spec, plan, container.compartment)
  if shared and spec.published and spec.published[1] then
    return nil, ("container '%s' cannot publish ports: it shares the endpoint of container '%s', which could")
      :format(spec.id, shared[1].container), "EINVAL"
  end
  local ok
  ok, message, code = plan.set:run("create", plan.view)
  if not ok then
    return nil, message, code
  end
  local endpoint = shared and shared[1]
  if not endpoint then
    endpoint, message, code = add_endpoint(host, spec, plan)
    if not endpoint then
      return nil, message, code
    end
  end
  if spec.start ~= false and not plan.set:handles "start" then
    ok, message, code = host:set_phase(spec.id, "started")
    plan.started = ok
    if not ok then
      return nil, message, code
    end
  end
  return container, endpoint
end

--- Tells `start` once, and puts the rules that handlers then add in force. Inside a change.
local function tell_start(host, container, sets)
  local view = roster.container_view(container)
  for _, endpoint in ipairs(roster.audience(host, container, { attached = true })) do
    local loaded = sets[endpoint.driver]
    if not loaded or not loaded.set then
      return nil, loaded and loaded.message or "the container was just changed; try again", "EAGAIN"
    end
    local added, message, code = loaded.set:run("start", view, roster.endpoint_view(endpoint))
    if added and #added > 0 then
      added, message, code = host:add_rules(endpoint.id, added)
    end
    if not added then
      return nil, message, code
    end
  end
  return host:set_phase(container.id, "started")
end

--- Whether an endpoint of another container is on the network.
local function used_by_others(host, network, id)
  for _, endpoint in ipairs(host:endpoints()) do
    if endpoint.network == network and endpoint.container ~= id then
      return true
    end
  end
  return false
end

--- Takes away a container whose `start` failed, and the network made for it.
local function undo(host, id, made_network)
  local ok, message = change(host, function()
    local done, why, code = host:remove_container(id)
    if done and made_network and not used_by_others(host, made_network, id) then
      done, why, code = host:remove_network(made_network)
    end
    return done, why, code
  end)
  if not ok then
    session.say(("container '%s' could not be taken away: %s"):format(id, message))
  end
end

--- Tells `start`, if it was not told yet. A handler that refuses takes the container away.
---@param host host opened for writing
---@param id string
---@param made_network? string a network that goes with it then
---@return true?
---@return string? message
---@return string? code
function lifecycle.start(host, id, made_network)
  local container = roster.find(host, id)
  if not container then
    return nil, ("there is no container '%s'"):format(id), "ENOENT"
  elseif container.phase == "started" and not roster.audience(host, container, { attached = true })[1] then
    return true
  end
  local sets = roster.load_sets(host, container)
  local ok, message, code = change(host, function()
    local now = roster.find(host, id)
    if not now then
      return nil, ("there is no container '%s'"):format(id), "ENOENT"
    end
    return tell_start(host, now, sets)
  end)
  if not ok then
    if roster.find(host, id) then
      undo(host, id, made_network)
    end
    return nil, message, code
  end
  return true
end

---@class container_wish: container_spec
---@field network? string default nat, made on first use
---@field network_spec? network_spec what to make if the network is not there
---@field addresses? string[] default the next free ones
---@field interface? string
---@field mac? string
---@field attachment? string
---@field start? boolean false: `start` is told later, by lifecycle.start

--- Brings a container up, or leaves nothing of it.
---@param host host opened for writing
---@param spec container_wish
---@return container?
---@return endpoint|string? endpoint (another container's, if it shares one), or why not
---@return string? code
function lifecycle.create(host, spec)
  local plan, message, code = prepare(host, spec)
  if not plan then
    return nil, message, code
  end
  departure.bury(host) -- a former container of this id is told of first
  local container, endpoint, why = change(host, function()
    return add(host, spec, plan)
  end)
  if not container then
    return nil, endpoint, why
  end
  if spec.start ~= false and not plan.started then
    local ok
    ok, message, code = lifecycle.start(host, spec.id, plan.made_network and plan.network or nil)
    if not ok then
      return nil, message, code
    end
  end
  if spec.start == false then
    return container, endpoint -- whoever starts it later does not ask what its NIC is called
  end
  return container, host:endpoints(spec.id)[1] or endpoint -- its NIC has a name by now
end

--- Attaches a container that is there to one more network.
---@param host host opened for writing
---@param spec container_wish of type, policies and policy as the container has them
---@return endpoint?
---@return string? message
---@return string? code
function lifecycle.attach(host, spec)
  local plan, message, code = prepare(host, spec)
  if not plan then
    return nil, message, code
  end
  local endpoint, why
  endpoint, why, code = change(host, function()
    local there = roster.find(host, spec.id)
    plan.view = there and roster.container_view(there) or plan.view -- handlers see all it publishes
    return add_endpoint(host, spec, plan)
  end)
  if not endpoint then
    return nil, why, code
  end
  local container = roster.find(host, spec.id)
  local ok = true
  if container then
    local sets = roster.load_sets(host, container)
    ok, message, code = change(host, function()
      return tell_start(host, container, sets)
    end)
  end
  if not ok then
    local undone, reason = change(host, function()
      return host:remove_endpoint(endpoint.id)
    end)
    if not undone then
      session.say(("endpoint %d could not be taken away: %s"):format(endpoint.id, reason))
    end
    return nil, message, code
  end
  for _, each in ipairs(host:endpoints(spec.id)) do
    endpoint = each.id == endpoint.id and each or endpoint
  end
  return endpoint
end

return lifecycle

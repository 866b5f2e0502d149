--- lifecycle.lua - how a container comes and goes: policy, host and handlers in the right order.
---
--- Coming fails closed. Policies are loaded before the host's lock is taken; `create` and `attach`
--- run inside the change, so that aborting it undoes everything; `start` runs once the container is
--- there, so that its failure takes the container away again. Going never fails over a policy: what
--- handlers say then is logged, and teardown goes on.
local policies = require "policies"
local session = require "session"

local lifecycle = {}

lifecycle.NAT = { name = "nat", driver = "nat", subnets = { "172.16.0.0/16" } }

--- The network with this name.
local function find_network(host, name)
  for _, network in ipairs(host:networks()) do
    if network.name == name then
      return network
    end
  end
end

--- A container as handlers see it (DESIGN 3.4).
function lifecycle.container_view(container)
  local published = {}
  for i, entry in ipairs(container.published or {}) do
    published[i] = {
      address = entry.address, host = entry.host, container = entry.container,
      protocol = entry.protocol,
    }
  end
  return {
    id = container.id, name = container.name or container.id, type = container.type,
    annotations = container.annotations or {}, labels = container.labels or {},
    published = published,
  }
end

--- An endpoint as handlers see it: its first address without the length.
function lifecycle.endpoint_view(endpoint)
  local first = endpoint.addresses and endpoint.addresses[1]
  return {
    address = first and first:match "^[^/]+", mac = endpoint.mac, network = endpoint.network,
  }
end

--- What must be known before the lock is taken.
local function prepare(host, spec)
  local name = spec.network or "nat"
  local network = find_network(host, name)
  if not network and name ~= "nat" then
    return nil, ("there is no network '%s'"):format(name), "ENOENT"
  end
  local policy = spec.policy or spec.type
  local set, message, code =
    policies.load(spec.policies, policy, network and network.driver or "nat")
  if not set then
    return nil, message, code
  end
  return { network = name, policy = policy, set = set }
end

--- The part inside the change.
---@return container?, endpoint|string?, string?
local function add(host, spec, plan)
  local message, code
  if plan.network == "nat" and not find_network(host, "nat") then
    local network
    network, message, code = host:add_network(lifecycle.NAT)
    if not network then
      return nil, message, code
    end
    plan.made_network = true
  end
  local container
  container, message, code = host:add_container {
    id = spec.id, name = spec.name, type = spec.type, policies = spec.policies,
    policy = plan.policy, netns = spec.netns, annotations = spec.annotations,
    labels = spec.labels, published = spec.published,
  }
  if not container then
    return nil, message, code
  end
  plan.view = lifecycle.container_view(spec)
  local ok
  ok, message, code = plan.set:run("create", plan.view)
  if not ok then
    return nil, message, code
  end
  local endpoint
  endpoint, message, code = host:add_endpoint {
    container = spec.id, network = plan.network, addresses = spec.addresses,
    default = plan.set:default(), options = plan.set:options(), rules = plan.set:rules(),
  }
  if not endpoint then
    return nil, message, code
  end
  plan.endpoint_view = lifecycle.endpoint_view(endpoint)
  local added
  added, message, code = plan.set:run("attach", plan.view, plan.endpoint_view)
  if added and #added > 0 then
    added, message, code = host:add_rules(endpoint.id, added)
  end
  if not added then
    return nil, message, code
  end
  return container, endpoint
end

--- Runs `start`; what it adds is a change of its own.
local function start(host, plan, endpoint)
  local added, message, code = plan.set:run("start", plan.view, plan.endpoint_view)
  if not added or #added == 0 then
    return added, message, code
  end
  local ok
  ok, message, code = host:begin()
  if ok then
    ok, message, code = host:add_rules(endpoint.id, added)
    if ok then
      ok, message, code = host:commit()
    else
      host:abort()
    end
  end
  return ok, message, code
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
local function undo(host, spec, plan)
  local ok, message = host:begin()
  if ok then
    ok, message = host:remove_container(spec.id)
    if ok and plan.made_network and not used_by_others(host, plan.network, spec.id) then
      ok, message = host:remove_network(plan.network)
    end
    if ok then
      ok, message = host:commit()
    else
      host:abort()
    end
  end
  if not ok then
    session.say(("container '%s' could not be taken away: %s"):format(spec.id, message))
  end
end

---@class container_wish: container_spec
---@field network? string default nat, made on first use
---@field addresses? string[] default the next free ones

--- Brings a container up, or leaves nothing of it.
---@param host host opened for writing
---@param spec container_wish
---@return container?
---@return endpoint|string? endpoint, or why not
---@return string? code
function lifecycle.create(host, spec)
  local plan, message, code = prepare(host, spec)
  if not plan then
    return nil, message, code
  end
  local ok
  ok, message, code = host:begin()
  if not ok then
    return nil, message, code
  end
  -- A mistake of ours must not leave the lock taken either.
  local sound, container, endpoint, why = pcall(add, host, spec, plan)
  if not sound then
    host:abort()
    error(container, 0)
  elseif not container then
    host:abort()
    return nil, endpoint, why
  end
  ok, message, code = host:commit()
  if not ok then
    return nil, message, code
  end
  ok, message, code = start(host, plan, endpoint)
  if not ok then
    undo(host, spec, plan)
    return nil, message, code
  end
  return container, host:endpoints(spec.id)[1] or endpoint -- its NIC has a name by now
end

--- Tells the handlers that a container goes. Never fails.
local function farewell(host, container)
  local view = lifecycle.container_view(container)
  local sets = {}
  local function run(event, set, endpoint)
    local ok, message = set:run(event, view, endpoint)
    if not ok then
      session.say(message)
    end
  end
  for _, endpoint in ipairs(host:endpoints(container.id)) do
    local set, message = policies.load(container.policies, container.policy, endpoint.driver)
    if set then
      sets[#sets + 1] = { set = set, endpoint = lifecycle.endpoint_view(endpoint) }
    else
      session.say(message)
    end
  end
  for _, event in ipairs { "stop", "detach" } do
    for _, each in ipairs(sets) do
      run(event, each.set, each.endpoint)
    end
  end
  if sets[1] then
    run("remove", sets[1].set)
  end
end

--- Takes a container away with everything that was made for it.
---@param host host opened for writing
---@param who string id, name or unambiguous prefix
---@return true?
---@return string? message
---@return string? code
function lifecycle.remove(host, who)
  local container, message, code = host:container(who)
  if not container then
    return nil, message, code
  end
  farewell(host, container)
  local ok
  ok, message, code = host:begin()
  if not ok then
    return nil, message, code
  end
  ok, message, code = host:remove_container(container.id)
  if not ok then
    host:abort()
    return nil, message, code
  end
  return host:commit()
end

return lifecycle

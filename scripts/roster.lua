--- roster.lua - who is on the host, as the coming and going of containers needs to know it: containers
--- and networks found, what handlers see of them and who is still to be told, changes as a whole.
local policies = require "policies"

local roster = {}

--- The network with this name.
function roster.find_network(host, name)
  return host:networks(name)[1]
end

--- The container with this whole id, or with `named` also the only one of this name.
function roster.find(host, id, named)
  local found, several = host:containers(id)[1], nil
  if not found and named then
    for _, container in ipairs(host:containers()) do
      if container.name == id then
        found, several = container, found
      end
    end
  end
  return not several and found or nil
end

--- The container with this id, if the next change will find it too: one that somebody was killed over is
--- mended away by then.
function roster.settled(host, id)
  local container = roster.find(host, id)
  return container and container.status ~= "creating" and container.status ~= "removing" and container or nil
end

--- A container as handlers see it (DESIGN 3.4).
function roster.container_view(container)
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
function roster.endpoint_view(endpoint)
  local first = endpoint.addresses and endpoint.addresses[1]
  return {
    address = first and first:match "^[^/]+", mac = endpoint.mac, network = endpoint.network,
  }
end

--- Runs `body` as one change: what it refuses or raises undoes everything.
---@return any? what body returned first
---@return any what body returned second, or why not
---@return string? code
function roster.change(host, body)
  local ok, message, code = host:begin()
  if not ok then
    return nil, message, code
  end
  local sound, first, second, why = pcall(body)
  if not sound or not first then
    host:abort() -- a mistake of ours must not leave the lock taken either
    if not sound then
      error(first, 0)
    end
    return nil, second, why
  end
  ok, message, code = host:commit()
  if not ok then
    return nil, message, code
  end
  return first, second
end

--- Which endpoints there are and how far they have come; and whether any is still coming or going.
local function mark(host)
  local parts, unsettled = {}, false
  for i, endpoint in ipairs(host:endpoints()) do
    parts[i] = endpoint.id .. endpoint.status
    unsettled = unsettled or endpoint.status ~= "ready"
  end
  return table.concat(parts, " "), unsettled
end

local TRIES, PAUSE = 25, 0.02 -- seconds
local reading = false

--- Runs `body` in a snapshot of the store, and once more if it fails and what it read of the kernel may
--- have been of another moment: an endpoint came or went meanwhile. Fails as `body` does, which raises, or
--- returns nil and why; it must have done nothing by then.
---@param host host
---@param body fun(...): ...
function roster.steady(host, body, ...)
  if reading then
    return body(...)
  end
  local result, failed, before, unsettled
  local function once(...)
    result = table.pack(pcall(body, ...))
    failed = not result[1] or result.n > 2 and result[2] == nil
    if failed then
      before, unsettled = mark(host)
    end
    return true
  end
  for try = 1, TRIES do
    reading = true
    local ok, message, code = host:snapshot(once, ...)
    reading = false
    if not ok then
      return nil, message, code
    elseif not failed or try == TRIES or not unsettled and before == mark(host) then
      break
    end
    require("bulkhead").wait(PAUSE)
  end
  if not result[1] then
    error(result[2], 0)
  end
  return table.unpack(result, 2, result.n)
end

--- The policy sets of a container's endpoints, by driver. What cannot be loaded is why, in the place
--- of the set.
---@param endpoints? endpoint[] default those that are there
function roster.load_sets(host, container, endpoints)
  local sets = {}
  for _, endpoint in ipairs(endpoints or host:endpoints(container.id)) do
    if not sets[endpoint.driver] then
      local set, message, code = policies.load(container.policies, container.policy, endpoint.driver)
      sets[endpoint.driver] = set and { set = set } or { message = message, code = code }
    end
  end
  return sets
end

--- Whom an event of a container is still to be told about, beyond phase `from`: its endpoints.
function roster.audience(host, container, from)
  local list = {}
  for _, endpoint in ipairs(host:endpoints(container.id)) do
    local phase = endpoint.container == container.id and endpoint.phase or container.phase
    if from[phase] then
      list[#list + 1] = endpoint
    end
  end
  return list
end

return roster

--- departure.lua - how a container or one of its endpoints goes (see lifecycle.lua). It never fails over
--- a policy: what handlers say then is logged, and teardown goes on.
local roster = require "roster"
local session = require "session"

local departure = {}

--- Tells handlers; what they say is logged and changes nothing.
local function tell(sets, event, view, endpoints)
  for _, endpoint in ipairs(endpoints) do
    local loaded = sets[endpoint.driver] or {}
    local ok, message = true, loaded.message
    if loaded.set then
      local about = event ~= "remove" and roster.endpoint_view(endpoint) or nil
      ok, message = loaded.set:run(event, view, about)
    elseif event ~= "stop" then
      message = nil -- said once
    end
    if message or not ok then
      session.say(message)
    end
    if event == "remove" then
      return
    end
  end
end

local function own(container, endpoints)
  local list = {}
  for _, endpoint in ipairs(endpoints) do
    if endpoint.container == container.id then
      list[#list + 1] = endpoint
    end
  end
  return list
end

local STOPPABLE = { attached = true, started = true }

--- Tells `stop`, if it was not told yet: the container's processes are gone, its endpoints stay.
function departure.stop(host, id)
  local container = roster.find(host, id)
  if not container or container.phase == "stopped" then
    return true
  end
  local sets = roster.load_sets(host, container)
  return roster.change(host, function()
    local now = roster.find(host, id)
    if now then
      tell(sets, "stop", roster.container_view(now), roster.audience(host, now, STOPPABLE))
      return host:set_phase(id, "stopped")
    end
    return true
  end)
end

--- Takes a container away with everything that was made for it.
---@param host host opened for writing
---@param id string
---@param options? { named: boolean? } a name will do, too
---@return true?
---@return string? message
---@return string? code
function departure.remove(host, id, options)
  local function find(who, named)
    local container = roster.find(host, who, named)
    if container then
      return container
    end
    return nil, ("there is no container '%s'"):format(who), "ENOENT"
  end
  local container, message, code = find(id, options and options.named)
  if not container then
    return nil, message, code
  end
  local sets = roster.load_sets(host, container)
  return roster.change(host, function()
    local now, why, reason = find(container.id)
    if not now then
      return nil, why, reason
    end
    local view, endpoints = roster.container_view(now), host:endpoints(now.id)
    tell(sets, "stop", view, roster.audience(host, now, STOPPABLE))
    tell(sets, "detach", view, own(now, endpoints))
    tell(sets, "remove", view, endpoints)
    return host:remove_container(now.id)
  end)
end

--- Takes one endpoint away; with its last one, a container that CNI brought.
---@param host host opened for writing
---@param id string the container's
---@param endpoint integer
---@return true?
---@return string? message
---@return string? code
function departure.detach(host, id, endpoint)
  local container = roster.find(host, id)
  if not container then
    return true
  end
  local sets = roster.load_sets(host, container)
  return roster.change(host, function()
    local now, going, left = roster.find(host, id), nil, 0
    for _, each in ipairs(now and host:endpoints(id) or {}) do
      if each.container == id and each.id == endpoint then
        going = each
      elseif each.container == id then
        left = left + 1
      end
    end
    if not going then
      return true -- somebody was faster
    end
    local view = roster.container_view(now)
    if STOPPABLE[going.phase] then
      tell(sets, "stop", view, { going })
    end
    tell(sets, "detach", view, { going })
    if left == 0 and now.owner == "cni" then
      tell(sets, "remove", view, { going })
      return host:remove_container(id)
    end
    return host:remove_endpoint(endpoint)
  end)
end

--- Tells handlers of the containers that a reboot took, each once.
---@param host host opened for writing
---@return string[]? ids
---@return string? message
function departure.bury(host)
  local lost = {}
  for _, container in ipairs(host:lost()) do
    local sets = roster.load_sets(host, container, container.endpoints)
    local ok, why = roster.change(host, function()
      local still = false
      for _, each in ipairs(host:lost()) do
        still = still or each.id == container.id
      end
      if not still then
        return true -- somebody was faster
      end
      local view, alive = roster.container_view(container), {}
      for _, endpoint in ipairs(container.endpoints) do
        if STOPPABLE[endpoint.phase] then
          alive[#alive + 1] = endpoint
        end
      end
      tell(sets, "stop", view, alive)
      tell(sets, "detach", view, own(container, container.endpoints))
      tell(sets, "remove", view, container.endpoints)
      return host:forget_lost(container.id)
    end)
    if not ok then
      return nil, why
    end
    session.say(("container '%s' was lost when the host started anew"):format(container.id))
    lost[#lost + 1] = container.id
  end
  return lost
end

--- Takes away the containers whose namespaces are gone: their runtimes died before they told us.
---@param host host opened for writing
---@return { removed: string[], lost: string[] }? ids; lost: those that a reboot took
---@return string? message
function departure.sweep(host)
  local gone = {}
  local lost, reason = departure.bury(host)
  if not lost then
    return nil, reason
  end
  for _, container in ipairs(host:containers()) do
    local there, message, code = host:check_container(container.id)
    if not there and code == "ENOENT" then
      local ok, why = departure.remove(host, container.id)
      if not ok then
        return nil, why
      end
      session.say(message .. "; what was made for it is removed")
      gone[#gone + 1] = container.id
    end
  end
  return { removed = gone, lost = lost }
end

return departure

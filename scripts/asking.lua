--- asking.lua - what is asked of a host in a session, be it live or a trial: containers and endpoints
--- however they are named, and refusals as errors.
local asking = {}

--- What a call returned, or its refusal raised as it is, without a line of ours in front.
---@param ... any a value, or nil and a message
---@return any ...
function asking.need(...)
  local value, message = ...
  if value == nil then
    error(message, 0)
  end
  return ...
end

--- The id of a container that is given as a record, or by name, id or prefix.
function asking.id_of(host, who)
  if type(who) == "table" and who.id then
    who = who.id
  end
  return asking.need(host:container(tostring(who))).id
end

--- The endpoints meant by nothing (all), a container, an endpoint or its number.
function asking.endpoints_of(host, who)
  if who == nil then
    return host:endpoints()
  elseif math.type(who) == "integer" or type(who) == "table" and who.interface then
    local id = type(who) == "table" and who.id or who
    for _, endpoint in ipairs(host:endpoints()) do
      if endpoint.id == id then
        return { endpoint }
      end
    end
    error(("there is no endpoint %d"):format(id), 0)
  end
  return host:endpoints(asking.id_of(host, who))
end

--- What a method of the host, as `rules` or `flows`, gives for all endpoints meant.
function asking.gathered(host, who, method)
  local list = {}
  for _, endpoint in ipairs(asking.endpoints_of(host, who)) do
    local found = host[method](host, endpoint.id)
    table.move(found, 1, #found, #list + 1, list)
  end
  return list
end

return asking

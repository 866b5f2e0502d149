--- guarded.lua - a host as a session holds it: what changes it is refused where the session only
--- reads, and remembered where it may write.
local guarded = {}

local CHANGING = {
  "begin", "commit", "abort", "add_network", "remove_network", "add_container", "remove_container",
  "add_endpoint", "remove_endpoint", "add_rules", "change_endpoint", "set_phase", "set_policies", "reset",
  "forget_lost",
}

local READ_ONLY = "this session only reads the host; `bulkhead repl --linux --write` may change it"

--- What is there: rules and defaults by endpoint, containers, networks.
local function look(host)
  local seen = { endpoints = {}, containers = {}, networks = {} }
  for _, network in ipairs(host:networks()) do
    seen.networks[network.name] = network
  end
  for _, container in ipairs(host:containers()) do
    if container.status ~= "removing" then
      seen.containers[container.id] = container
    end
  end
  for _, endpoint in ipairs(host:endpoints()) do
    if endpoint.status ~= "removing" then
      seen.endpoints[endpoint.id] = { endpoint = endpoint, rules = host:rules(endpoint.id) or {} }
    end
  end
  return seen
end

--- Adds to the record what one change did: the first `before` and the last `after` of each thing
--- count, seen right after the change began and right after it was made real.
local function note(record, before, after)
  for kind in pairs(before) do
    local keys = {}
    for key in pairs(before[kind]) do
      keys[key] = true
    end
    for key in pairs(after[kind]) do
      keys[key] = true
    end
    for key in pairs(keys) do
      local entry = record[kind][key]
      if not entry then
        entry = { before = before[kind][key] }
        record[kind][key] = entry
      end
      entry.after = after[kind][key]
      entry.base = entry.base or entry.before or entry.after -- a new container's policy is not the session's doing
    end
  end
end

---@class guarded_host: host
---@field record table what the session changed, for delta.lua

--- Wraps a host.
---@param host host
---@param write boolean
---@return host wrapped
---@return { endpoints: table, containers: table, networks: table } record
---@return fun(): boolean abandon gives up a change that was left open
function guarded.wrap(host, write)
  local record = { endpoints = {}, containers = {}, networks = {} }
  local before, open = nil, false
  local methods = {}

  local function refuse()
    error(READ_ONLY, 0)
  end
  for _, name in ipairs(CHANGING) do
    methods[name] = not write and refuse or nil
  end
  if write then
    function methods.begin()
      local was = open
      open = true -- Ctrl-C may come at any line from here on
      local ok, message, code = host:begin()
      if ok then
        before = look(host)
      else
        open = was
      end
      return ok, message, code
    end
    function methods.commit()
      local ok, message, code = host:commit()
      if ok and before then
        note(record, before, look(host))
      end
      before, open = nil, false
      return ok, message, code
    end
    function methods.abort()
      before, open = nil, false
      return host:abort()
    end
    function methods.reset()
      local was = look(host)
      local ok, message, code = host:reset()
      if ok then
        note(record, was, look(host))
      end
      return ok, message, code
    end
  end
  local real = getmetatable(host).__index
  local checked = {} -- each method is one function, by which help() knows it
  local wrapped = setmetatable({}, {
    __name = "bulkhead.host",
    __index = function(self, key)
      local method = methods[key]
      if method == nil and type(real[key]) == "function" then
        method = function(_, ...)
          return real[key](host, ...)
        end
      end
      checked[key] = checked[key] or method and function(first, ...)
        if first ~= self then
          error(("methods are called with a colon: host:%s(…)"):format(key), 0)
        end
        return method(first, ...)
      end
      return checked[key]
    end,
    __tostring = function()
      return tostring(host) .. (write and "" or ", to be read")
    end,
    __close = function() end,
  })
  return wrapped, record, function()
    local was = open
    if open then
      host:abort()
      before, open = nil, false
    end
    return was
  end
end

return guarded

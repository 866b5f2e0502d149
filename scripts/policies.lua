--- policies.lua - policy sets, with origins as people write them.
---
--- A set is stored by its whole path, so that it is found again whatever the working directory.
--- What people read (origins of rules, messages of handlers) names it from the program's root or
--- from where they stand: `policies/default/container/process.lua:12`. Both are decided here.
local policies = {}

--- The rest of a path below a directory; nil if it does not lie there.
local function below(dir, base)
  return base and base ~= "/" and dir:sub(1, #base + 1) == base .. "/" and dir:sub(#base + 2) or nil
end

--- The directory as people write it: relative to the program's root or the working directory where
--- it lies under one of them.
function policies.name(dir)
  return below(dir, arg.root) or below(dir, require("lfs").currentdir()) or dir
end

--- Files that stand for others while something is tried out: { path, as people know it }.
policies.stand_ins = {}

--- A text in which the set's directory is written as people write it.
local function shorten(text, from, to)
  if type(text) ~= "string" then
    return text
  end
  for _, pair in ipairs(policies.stand_ins) do
    local first, last = text:find(pair[1], 1, true)
    text = first and text:sub(1, first - 1) .. pair[2] .. text:sub(last + 1) or text
  end
  if from == to then
    return text
  end
  local parts, at = {}, 1
  local first, last = text:find(from .. "/", at, true)
  while first do
    parts[#parts + 1] = text:sub(at, first - 1) .. to .. "/"
    at = last + 1
    first, last = text:find(from .. "/", at, true)
  end
  return table.concat(parts) .. text:sub(at)
end

---@class policy_set
local Set = {}
Set.__index = Set
Set.__name = "policy set"

local function renamed(self, rules)
  for _, rule in ipairs(rules or {}) do
    rule.origin = shorten(rule.origin, self.dir, self.display)
  end
  return rules
end

--- Loads what a set says of a container policy and a driver.
---@param dir string whole path
---@param policy string name of the container policy
---@param driver string
---@return policy_set?
---@return string? message
---@return string? code
function policies.load(dir, policy, driver)
  local loaded, message, code =
    require("bulkhead.policy").load { dir = dir, type = policy, driver = driver }
  local display = policies.name(dir)
  if not loaded then
    return nil, shorten(message, dir, display), code
  end
  return setmetatable({ dir = dir, display = display, loaded = loaded }, Set)
end

--- The actions that apply where no rule does, with their origins.
function Set:default()
  local default = self.loaded:default()
  for _, side in pairs(default) do
    side.origin = shorten(side.origin, self.dir, self.display)
  end
  return default
end

--- The static rules.
function Set:rules()
  return renamed(self, self.loaded:rules())
end

--- antispoof, router, dhcp_server, audit, direct, flows, timeouts, reach.
function Set:options()
  return self.loaded:options()
end

--- A hash of all files that were read.
function Set:hash()
  return self.loaded:hash()
end

--- Frees it before it is collected.
function Set:close()
  self.loaded:close()
end

--- Whether a handler waits for an event.
function Set:handles(event)
  return self.loaded:handles(event)
end

--- Runs the handlers of an event; returns the rules they added.
---@return rule[]?
---@return string? message
---@return string? code
function Set:run(event, container, endpoint)
  if not self.loaded:handles(event) then
    return {}
  end
  local added, message, code = self.loaded:run(event, container, endpoint)
  if not added then
    return nil, shorten(message, self.dir, self.display), code
  end
  return renamed(self, added)
end

return policies

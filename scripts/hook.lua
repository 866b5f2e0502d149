--- hook.lua - `bulkhead hook EVENT`: what an OCI runtime tells us as containers come and go.
---
--- The runtime writes the container's state (OCI runtime specification, "State") to standard input.
--- What counts of it is the id, at createRuntime the pid, and the annotations. Runtimes differ:
--- runc says `creating` and sends no pid at poststop, crun says `created` and sends 0; crun runs no
--- poststop when createRuntime failed. So everything is keyed by the id and a failure cleans up
--- after itself.
local json = require "json"
local lifecycle = require "lifecycle"
local validate = require "validate"

local hook = {}

hook.LIMIT = 1 << 20 -- bytes of state read; real ones have a few thousand
hook.PID_MAX = 1 << 22 -- Linux' own bound

--- Events that ask nothing of us. createContainer and startContainer run in the container's
--- namespaces, where there is nothing to do; nothing waits for poststart yet.
local SILENT = { createContainer = true, startContainer = true, poststart = true }
local EVENTS = "createRuntime, createContainer, startContainer, poststart or poststop"

---@class oci_state
---@field id string
---@field pid? integer nil when there is none (or 0)
---@field status? string
---@field annotations table<string, string>

--- Reads a state from a file, no further than the limit.
---@return string? text
---@return string? message
function hook.read(file)
  local text = file:read(hook.LIMIT + 1) or ""
  if #text > hook.LIMIT then
    return nil, ("the container's state has more than %d bytes"):format(hook.LIMIT)
  end
  return text
end

--- Reads a state. It may be hostile.
---@return oci_state?
---@return string? message
function hook.parse(text)
  if not text:find "%S" then
    return nil, "the container's state is missing on standard input"
  end
  local value, message = json.decode(text)
  if value == nil then
    return nil, "the container's state: " .. message
  elseif not json.is_object(value) then
    return nil, "the container's state is not a JSON object"
  end
  local state = {}
  if value.id == nil or value.id == json.null then
    return nil, "the container's state has no id"
  end
  state.id, message = validate.id(value.id)
  if not state.id then
    return nil, "the container's state: " .. message
  end
  if value.pid ~= nil and value.pid ~= json.null then
    local pid = type(value.pid) == "number" and math.tointeger(value.pid)
    if not pid or pid < 0 or pid > hook.PID_MAX then
      return nil, "the container's state: the pid is no process id"
    end
    state.pid = pid > 0 and pid or nil
  end
  if value.status ~= nil and type(value.status) ~= "string" then
    return nil, "the container's state: the status is not text"
  end
  state.status = value.status
  state.annotations, message = validate.annotations(value.annotations)
  if not state.annotations then
    return nil, "the container's state: " .. message
  end
  return state
end

--- What a state at createRuntime asks lifecycle.create for.
---@param state oci_state
---@param dir string the policy set's
---@return table? spec
---@return string? message
function hook.spec(state, dir)
  if not state.pid then
    return nil, "the container's state has no pid"
  elseif state.status and state.status ~= "creating" and state.status ~= "created" then
    return nil, ("the container's status is %s, not creating or created")
      :format(validate.quoted(state.status))
  end
  local wishes, message = validate.wishes(state.annotations)
  if not wishes then
    return nil, message
  end
  wishes.id = state.id
  wishes.netns = ("/proc/%d/ns/net"):format(state.pid)
  wishes.policies = dir
  wishes.annotations = state.annotations
  return wishes
end

--- Whether a container with exactly this id is there.
local function exists(host, id)
  for _, container in ipairs(host:containers()) do
    if container.id == id then
      return true
    end
  end
  return false
end

--- Whether the event asks for nothing; nil and why for an event that is unknown.
---@return boolean?
---@return string? message
function hook.is_silent(event)
  if SILENT[event] then
    return true
  elseif event == "createRuntime" or event == "poststop" then
    return false
  end
  return nil, ("%s is no hook of ours: it is %s"):format(validate.quoted(event), EVENTS)
end

--- createRuntime: attaches the container.
---@return true?
---@return string? message
---@return string? code
function hook.create(host, spec)
  if exists(host, spec.id) then
    return nil, ("container '%s' is already attached"):format(spec.id), "EEXIST"
  end
  local container, message, code = lifecycle.create(host, spec)
  if not container then
    return nil, message, code
  end
  return true
end

--- poststop: takes the container away. One that is not there is gone already.
---@return true?
---@return string? message
---@return string? code
function hook.remove(host, id)
  if not exists(host, id) then
    return true
  end
  return lifecycle.remove(host, id)
end

return hook

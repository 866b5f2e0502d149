--- hook.lua - `bulkhead hook EVENT`: what an OCI runtime tells us as containers come and go.
---
--- The runtime writes the container's state (OCI runtime specification, "State") to standard input.
--- What counts of it is the id, at createRuntime the pid, the bundle, and the annotations. Runtimes differ:
--- runc says `creating` and sends no pid at poststop, crun says `created` and sends 0; crun runs no
--- poststop when createRuntime failed. So everything is keyed by the id and a failure cleans up
--- after itself.
---
--- runc runs a poststop also of a container that createRuntime refused because another has its id. What is
--- taken away is therefore only what a hook attached for that very container: of the same bundle, which is
--- kept as a label, and with no process of its own any more.
---
--- createRuntime tells handlers `create` and `attach`, poststart `start`, poststop `stop`, `detach` and
--- `remove`. Of a container that CNI attached before its runtime came, hooks only tell `stop`: what
--- came with ADD goes with DEL.
local json = require "json"
local lifecycle = require "lifecycle"
local roster = require "roster"
local session = require "session"
local validate = require "validate"

local hook = {}

hook.LIMIT = 1 << 20 -- bytes of state read; real ones have a few thousand
hook.PID_MAX = 1 << 22 -- Linux' own bound
hook.BUNDLE = "bulkhead.bundle" -- the label
hook.WAITS = 10 -- of 20 ms, for a process that is being ended
local PATH_MAX = 4096

--- Events that ask nothing of us: they run in the container's namespaces, where there is nothing to do.
local SILENT = { createContainer = true, startContainer = true }
local HEARD = { createRuntime = true, poststart = true, poststop = true }
local EVENTS = "createRuntime, createContainer, startContainer, poststart or poststop"

---@class oci_state
---@field id string
---@field pid? integer nil when there is none (or 0)
---@field status? string
---@field bundle? string
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
  local value, message = json.decode(text, { unique = true })
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
  if value.bundle ~= nil and value.bundle ~= json.null then
    if type(value.bundle) ~= "string" or #value.bundle > PATH_MAX then
      return nil, "the container's state: the bundle is no path"
    end
    state.bundle = value.bundle
  end
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
  wishes.type_given = state.annotations["bulkhead.type"] ~= nil
  wishes.id = state.id
  wishes.owner = "hook"
  wishes.start = false
  wishes.netns = ("/proc/%d/ns/net"):format(state.pid)
  wishes.policies = dir
  wishes.annotations = state.annotations
  wishes.labels = state.bundle and { [hook.BUNDLE] = state.bundle } or nil
  return wishes
end

--- Whether the event asks for nothing; nil and why for an event that is unknown.
---@return boolean?
---@return string? message
function hook.is_silent(event)
  if SILENT[event] then
    return true
  elseif HEARD[event] then
    return false
  end
  return nil, ("%s is no hook of ours: it is %s"):format(validate.quoted(event), EVENTS)
end

--- What a state asks that CNI did otherwise before; nil if all is as it asks.
local function differs(container, spec)
  if spec.type_given and container.type ~= spec.type then
    return ("it is of type %s, not %s"):format(container.type, spec.type)
  end
  for _, wanted in ipairs(spec.published) do
    local found = false
    for _, entry in ipairs(container.published) do
      found = found or entry.host == wanted.host and entry.container == wanted.container
        and entry.protocol == wanted.protocol and entry.address == wanted.address
    end
    if not found then
      return ("port %d/%s is not published"):format(wanted.host, wanted.protocol)
    end
  end
end

--- createRuntime: attaches the container, if CNI did not do it before.
---@return true?
---@return string? message
---@return string? code
function hook.create(host, spec)
  local there = roster.settled(host, spec.id)
  local message, code
  if not there then
    there, message, code = lifecycle.create(host, spec)
    return there and true, message, code
  elseif there.owner ~= "cni" then
    return nil, ("endpoint already attached: container '%s'"):format(spec.id), "EEXIST"
  end
  there, message, code = host:check_container(spec.id, spec.netns)
  if not there then
    return nil, message, code
  end
  local why = differs(roster.find(host, spec.id), spec)
  if why then
    return nil, ("container '%s' was attached by CNI and %s, as its annotations want"):format(spec.id, why)
  end
  return true
end

--- Why a state is not of the container that has its id; nil if it is.
local function not_of(container, state)
  local bundle = container.labels and container.labels[hook.BUNDLE]
  if container.owner == "hand" then
    return ("container '%s' was made by hand"):format(container.id)
  elseif bundle and state.bundle and bundle ~= state.bundle then
    return ("container '%s' is of the bundle %s, not %s"):format(container.id, bundle, state.bundle)
  end
end

--- Whether the process that a container was attached for runs on. That of a `hyperv` container may be its
--- VM's, which ends when it likes.
local function runs(host, container, state)
  if container.type ~= "process" or not state.bundle or not container.labels[hook.BUNDLE] then
    return false
  end
  for _ = 1, hook.WAITS do
    if not host:check_container(container.id) then
      return false
    end
    require("bulkhead").wait(0.02)
  end
  return true
end

--- poststart: tells `start`. What a handler refuses must not run on: runc ends it, crun would not.
---@return true?
---@return string? message
---@return string? code
function hook.start(host, state)
  local container = roster.find(host, state.id)
  local why = container and not_of(container, state)
  if why then
    return nil, why, "EEXIST"
  end
  local netns = state.pid and ("/proc/%d/ns/net"):format(state.pid)
  local ours = netns and host:check_container(state.id, netns)
  local ok, message, code = lifecycle.start(host, state.id)
  if not ok and ours then
    os.execute(("kill -KILL %d"):format(state.pid))
  end
  return ok, message, code
end

--- poststop: takes the container away. One that is not there is gone already; of one that is another's
--- nothing is, which is said and no failure: runtimes take a failure here for theirs.
---@param host host
---@param state oci_state
---@return true?
---@return string? message
---@return string? code
function hook.remove(host, state)
  local id = state.id
  local container = roster.find(host, id)
  if not container then
    return true
  elseif container.owner == "cni" then
    return lifecycle.stop(host, id)
  end
  local why = not_of(container, state)
  if not why and runs(host, container, state) then
    why = ("container '%s' still runs"):format(id)
  end
  if why then
    session.say(why .. "; nothing is removed")
    return true
  end
  local ok, message, code = lifecycle.remove(host, id)
  if not ok and code == "ENOENT" and not roster.find(host, id) then
    return true -- somebody was faster
  end
  return ok, message, code
end

return hook

--- hooks.lua - the files of a hooks.d directory (oci-hooks(5), schema 1.0.0) that call our OCI hooks.
---
--- One file an event, because the program is told by its words which event it is. They apply to
--- containers with an annotation of ours, and are ours if the program they call is `bulkhead hook`.
local lfs = require "lfs"
local json = require "json"

local hooks = {}

hooks.EVENTS = { "createRuntime", "poststart", "poststop" }
local LIMIT = 1 << 20
local ORDER = {
  "version", "hook", "path", "args", "env", "timeout", "when", "annotations", "stages",
}

--- The whole path of this program.
function hooks.program()
  return lfs.symlinkattributes("/proc/self/exe", "target")
end

--- The text of the file of one event.
---@param event string
---@param options { program: string, policies: string?, state: string? }
function hooks.text(event, options)
  local args = { "bulkhead", "hook", event }
  if options.policies and event == "createRuntime" then
    args[4], args[5] = "--policies", options.policies
  end
  local state = options.state ~= "" and options.state or nil
  return json.encode({
    version = "1.0.0",
    hook = {
      path = options.program, args = args, env = state and { "BULKHEAD_STATE=" .. state } or nil,
      timeout = 60, -- seconds: a change waits 10 for its turn, and policies have a budget
    },
    when = { annotations = { ["^bulkhead\\."] = ".*" } },
    stages = { event },
  }, ORDER) .. "\n"
end

--- Whether the text of a file that is there is one of ours.
function hooks.is_ours(text)
  local value = json.decode(text)
  local args = json.is_object(value) and json.is_object(value.hook) and value.hook.args
  return type(args) == "table" and args[1] == "bulkhead" and args[2] == "hook"
end

--- Refuses a file that is there and is not ours.
local function check(path)
  local mode = lfs.symlinkattributes(path, "mode")
  if not mode then
    return true
  end
  local file <close> = mode == "file" and io.open(path)
  if file and hooks.is_ours(file:read(LIMIT) or "") then
    return true
  end
  return nil, ("%s is there already and is not Bulkhead's"):format(path), "EEXIST"
end

--- Writes a file as a whole.
local function replace(path, text)
  local new = path .. ".new"
  local file, why = io.open(new, "w")
  if not file then
    return nil, why
  end
  local ok = file:write(text)
  ok = file:close() and ok
  if ok then
    ok, why = os.rename(new, path)
  end
  if not ok then
    os.remove(new)
    return nil, ("cannot write %s: %s"):format(path, why or "the disk may be full")
  end
  return true
end

--- Writes the files; all or, if one is somebody else's, none.
---@param dir string
---@param options { program: string, policies: string?, state: string? }
---@return string[]? files
---@return string? message
---@return string? code
function hooks.install(dir, options)
  local files = {}
  for i, event in ipairs(hooks.EVENTS) do
    files[i] = ("%s/bulkhead-%s.json"):format(dir, event:lower())
    local ok, message, code = check(files[i])
    if not ok then
      return nil, message, code
    end
  end
  if not lfs.attributes(dir) then
    local made, why = lfs.mkdir(dir)
    if not made then
      return nil, ("cannot make %s: %s"):format(dir, why)
    end
  end
  for i, event in ipairs(hooks.EVENTS) do
    local ok, message = replace(files[i], hooks.text(event, options))
    if not ok then
      return nil, message
    end
  end
  return files
end

return hooks

--- labs.lua - throwaway hosts that never meet a live one, and what is left of them by a kill.
---
--- On linux a lab's host has a state directory of its own below /run, named by the process that made
--- it; a directory whose process is gone is what a kill left, and is reset by the next lab or by
--- `bulkhead reconcile`.
local lfs = require "lfs"
local bulkhead = require "bulkhead"

local labs = {}

local HOME = "/run/bulkhead-labs"

--- The process id of this process.
local function own_pid()
  return lfs.symlinkattributes("/proc/self", "target")
end

--- Resets every lab whose process is gone. Returns how many.
---@return integer
function labs.sweep()
  local count = 0
  if lfs.symlinkattributes(HOME, "mode") ~= "directory" then
    return 0
  end
  for name in lfs.dir(HOME) do
    local pid = name:match "^(%d+)%-%d+$"
    if pid and not lfs.attributes("/proc/" .. pid) then
      local host = bulkhead.open { platform = "linux", state = HOME .. "/" .. name, write = true, discard = true }
      if host then
        host:reset()
        host:close()
        count = count + 1
      end
    end
  end
  lfs.rmdir(HOME) -- stays while another lab is there
  return count
end

local number = 0

--- Opens a lab and a host in it. Close with labs.close.
---@param options lab_options
---@return lab? lab
---@return host|string? host, or why not
---@return string? code
function labs.open(options)
  local linux = options.platform == "linux"
  if linux then
    labs.sweep()
  end
  local lab, message, code = require("bulkhead.lab").open(options)
  if not lab then
    return nil, message, code
  end
  local state
  if linux then
    lfs.mkdir(HOME)
    number = number + 1
    state = ("%s/%s-%d"):format(HOME, own_pid(), number)
  end
  local host
  host, message, code = bulkhead.open {
    platform = options.platform, lab = lab, state = state, write = true,
  }
  if not host then
    lab:close()
    return nil, message, code
  end
  return lab, host
end

--- Takes a lab and its host away.
---@return true?
---@return string? message
function labs.close(lab, host)
  local linux = host:platform() == "linux"
  local ok, message = host:reset()
  host:close()
  lab:close()
  if linux then
    lfs.rmdir(HOME)
  end
  return ok, message
end

return labs

--- folders.lua - directories of a test's own, under names nobody had.
local lfs = require "lfs"

local folders = {}
local made = {}

--- Makes a directory, and directories in it; returns its path.
function folders.make(...)
  local dir = os.tmpname()
  os.remove(dir)
  made[#made + 1] = dir
  assert(lfs.mkdir(dir))
  for _, inner in ipairs { ... } do
    assert(lfs.mkdir(dir .. "/" .. inner))
  end
  return dir
end

--- Removes all that were made, with what is in them.
function folders.clear()
  for _, dir in ipairs(made) do
    assert(os.execute("rm -rf '" .. dir .. "'"))
  end
  made = {}
end

return folders

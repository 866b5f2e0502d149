--- main.lua - what `bulkhead WORDS…` means: hands the words to the dispatcher.

-- A runtime starts hooks in a directory of its own choosing: nothing is loaded from there.
local function without_here(path)
  local kept = {}
  for template in path:gmatch "[^;]+" do
    if template:sub(1, 2) ~= "./" then
      kept[#kept + 1] = template
    end
  end
  return table.concat(kept, ";")
end

local here = { path = package.path, cpath = package.cpath }
package.path, package.cpath = without_here(package.path), without_here(package.cpath)

return require "dispatch".main(arg, here)

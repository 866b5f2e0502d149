--- stubs.lua - the documentation of the API, read from the stubs that are its only source.
local lfs = require "lfs"

local stubs = {}

---@class stub
---@field name string like "bulkhead.open" or "host:rules"
---@field signature string
---@field text string the comment

--- Reads the stubs in a text.
---@return stub[]
function stubs.parse(text)
  local list, comment = {}, {}
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local words = line:match "^%-%-%-%s?(.*)$"
    local name, arguments = line:match "^function ([%w_.:]+)(%b())"
    if not name then
      name = line:match "^([%w_]+%.[%w_.]+) = "
      arguments = ""
    end
    if words then
      comment[#comment + 1] = words
    else
      if name and #comment > 0 then
        list[#list + 1] = {
          name = name, signature = name .. arguments, text = table.concat(comment, "\n"),
        }
      end
      comment = {}
    end
  end
  return list
end

--- All stubs, by the order of files' names.
---@return stub[]
function stubs.load()
  local list = {}
  for _, dir in ipairs { arg.root .. "/bindings/types", arg.root .. "/types" } do
    local names = {}
    if lfs.attributes(dir, "mode") == "directory" then
      for name in lfs.dir(dir) do
        names[#names + 1] = name:match "%.lua$" and name or nil
      end
    end
    table.sort(names)
    for _, name in ipairs(names) do
      local file <close> = io.open(dir .. "/" .. name)
      for _, stub in ipairs(file and stubs.parse(file:read "a") or {}) do
        list[#list + 1] = stub
      end
    end
  end
  return list
end

--- The stub with this name, or whose last word it is.
---@param list stub[]
---@return stub?
function stubs.find(list, name)
  for _, stub in ipairs(list) do
    if stub.name == name or stub.name:gsub("[:.]", ".") == name then
      return stub
    end
  end
  for _, stub in ipairs(list) do
    if stub.name:match "[^:.]+$" == name then
      return stub
    end
  end
end

return stubs

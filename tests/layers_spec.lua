--- layers_spec.lua - the layout of DESIGN 4, held by reading the sources.
local lfs = require "lfs"

local function files(dir, pattern, list)
  list = list or {}
  for name in lfs.dir(dir) do
    local path = dir .. "/" .. name
    if name:sub(1, 1) ~= "." then
      if lfs.attributes(path, "mode") == "directory" then
        files(path, pattern, list)
      elseif name:find(pattern) then
        list[#list + 1] = path
      end
    end
  end
  table.sort(list)
  return list
end

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

--- What each layer may include, itself apart.
local MAY = {
  base = {},
  filter = { base = true },
  gate = { base = true, filter = true },
  platform = { base = true, filter = true, gate = true },
  store = { base = true },
  host = { base = true, filter = true, gate = true, platform = true, store = true },
}

--- The layer of a path below engine/.
local function layer_of(path)
  return path:match "^engine/([^/]+)/"
end

--- The path that an include names, from the file that has it.
local function resolve(path, include)
  local whole = path:match "^(.*)/" .. "/" .. include
  local changed
  repeat
    whole, changed = whole:gsub("[^/]+/%.%./", "", 1)
  until changed == 0
  return whole
end

--- A clock that people set jumps: what expires and who waits goes by one that does not.
describe("the wall clock", function()
  for _, path in ipairs(files("scripts", "%.lua$", files("bindings", "%.[ch]$", files("engine", "%.[ch]$")))) do
    it("is not asked in " .. path, function()
      if path ~= "bindings/drops.c" then -- shows when something was
        assert.is_nil(read(path):match "CLOCK_REALTIME" or read(path):match "[^%w_]time%(NULL"
          or read(path):match "gettimeofday" or read(path):match "os%.time")
      end
    end)
  end
end)

describe("the layers of the engine", function()
  for _, path in ipairs(files("engine", "%.[ch]$")) do
    it("hold in " .. path, function()
      local layer = layer_of(path)
      local text = read(path)
      assert.is_nil(text:match "#include [<\"]l?ua[^\n]*", "the engine knows no Lua")
      for include in text:gmatch '#include "([^"]+)"' do
        local other = layer_of(include:find "^engine/" and include or resolve(path, include))
        if layer and other and other ~= layer then
          assert.is_true(MAY[layer][other], ("%s includes %s"):format(path, include))
        end
      end
    end)
  end

  it("take cleanup attributes, which bindings do not", function()
    for _, path in ipairs(files("bindings", "%.[ch]$")) do
      assert.is_nil(read(path):find("cleanup.h", 1, true), path)
    end
  end)
end)

describe("every source", function()
  for _, dir in ipairs { "engine", "bindings", "scripts", "policies", "tests" } do
    for _, path in ipairs(files(dir, "%.[ch]$")) do
      it("opens with what it is: " .. path, function()
        local text = read(path):gsub("^// SPDX[^\n]*\n", "")
        assert.truthy(text:find("^/%*\n %* " .. path:match "[^/]+$":gsub("%p", "%%%0") .. " %- "), "first line")
      end)
    end
    for _, path in ipairs(files(dir, "%.lua$")) do
      it("opens with what it is: " .. path, function()
        assert.truthy(read(path):find "^%-%-%-")
      end)
    end
  end

  it("has at most some 600 lines", function()
    for _, dir in ipairs { "engine", "bindings", "scripts", "policies" } do
      for _, path in ipairs(files(dir, "%.[chl][u]?[a]?$")) do
        local _, lines = read(path):gsub("\n", "")
        assert.is_true(lines <= 660, ("%s has %d"):format(path, lines))
      end
    end
  end)
end)

--- sets.lua - policy sets made for one test, in a directory of their own that goes with them.
local lfs = require "lfs"
local policy = require "bulkhead.policy"

local sets = {}
local made = {}

local function run(command, path)
  assert(os.execute(command .. " '" .. path .. "'"))
end

--- Makes a set of files, by name; the directory is returned.
function sets.make(files)
  local dir = os.tmpname()
  os.remove(dir)
  made[#made + 1] = dir
  for _, folder in ipairs { "", "/container", "/network" } do
    assert(lfs.mkdir(dir .. folder))
  end
  for name, text in pairs(files) do
    local file <close> = assert(io.open(dir .. "/" .. name, "wb"))
    file:write(text)
  end
  return dir
end

--- Loads a set whose container policy is `text`; further options and files by name.
function sets.load(text, files, options)
  files = files or {}
  files["container/p.lua"] = text
  local dir = sets.make(files)
  local request = { dir = dir, type = "p" }
  for key, value in pairs(options or {}) do
    request[key] = value
  end
  local object, message, code = policy.load(request)
  return object, message and message:gsub(dir, "DIR", 1), code, dir
end

--- A policy with a body that runs before its (lawful) return.
function sets.body(text)
  return text .. '\nreturn { default = { inbound = "block", outbound = "allow" } }\n'
end

--- A policy with one more field, on line 2.
function sets.field(text)
  return 'return { default = { inbound = "block", outbound = "allow" },\n' .. text .. "\n}\n"
end

--- Removes all that were made.
function sets.clear()
  for _, dir in ipairs(made) do
    run("rm -rf", dir)
  end
  made = {}
end

return sets

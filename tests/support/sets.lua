--- sets.lua - policy sets made for one test, in a directory of their own that goes with them.
local folders = require "tests.support.folders"
local policy = require "bulkhead.policy"

local sets = {}

--- Makes a set of files, by name; the directory is returned.
function sets.make(files)
  local dir = folders.make("container", "network")
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
  folders.clear()
end

return sets

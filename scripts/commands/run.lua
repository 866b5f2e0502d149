--- run.lua - `bulkhead run SCRIPT.lua [ARG…]`: a script with the API.
---
--- The script gets its arguments as `...` and in `arg`, and finds the modules by `require`. Which
--- platform it is meant for is `require("session").platform`: linux if --linux stands before the
--- script or among its arguments, where the script sees it too. What it returns, if a whole number,
--- is the exit status.
local refuse = require "refuse"
local session = require "session"

local run = { tail = true, lua = true, silent = true }

function run.options(parser)
  parser:flag("--linux", "On the real platform; else in process.")
  parser:argument("script", "The script; what follows it is its own.")
end

local function says_linux(words)
  for _, word in ipairs(words) do
    if word == "--" then
      return false
    elseif word == "--linux" then
      return true
    end
  end
  return false
end

function run.run(args)
  session.platform = (args.linux or says_linux(args.tail)) and "linux" or "memory"
  local file, why = io.open(args.script)
  if not file then
    refuse.world(why)
  end
  file:close()
  if require("lfs").attributes(args.script, "mode") == "directory" then
    refuse.world(("%s: Is a directory"):format(args.script))
  end
  local script = refuse.parsed(loadfile(args.script))
  table.move(args.tail, 1, math.max(#arg, #args.tail), 1, arg)
  rawset(arg, 0, args.script)
  local ok, result = pcall(script, table.unpack(args.tail))
  if not ok then
    session.say(require("pretty").raised(result))
    return refuse.is(result) and result.status or 1
  end
  return math.type(result) == "integer" and result or 0
end

return run

--- repl.lua - `bulkhead repl [--linux] [FILE]`: the REPL.
local refuse = require "refuse"
local session = require "session"

local repl = { lua = true, silent = true }

function repl.options(parser)
  parser:flag("--linux", "Look into the live host, without changing it; else a new one in process.")
  parser:argument("file", "A script to run first."):args "?"
end

function repl.run(args)
  session.platform = args.linux and "linux" or "memory"
  local chunk
  if args.file then
    local file, why = io.open(args.file)
    if not file then
      refuse.world(why)
    end
    chunk = refuse.parsed(load(file:read "a", "@" .. args.file))
    file:close()
  end
  return session.with_host(false, function(host)
    return require("repl").run(host, chunk)
  end)
end

return repl

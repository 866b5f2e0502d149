--- repl.lua - `bulkhead repl [--linux [--write]] [FILE]`: the REPL.
local refuse = require "refuse"
local session = require "session"

local repl = { lua = true, silent = true }

function repl.options(parser)
  parser:flag("--linux", "Look into the live host; else a new one in process.")
  parser:flag("--write", "The live host may be changed, too.")
  parser:argument("file", "A script to run first."):args "?"
end

function repl.run(args)
  if args.write and not args.linux then
    refuse.input "--write is for the live host (--linux); what is in process may always be changed"
  end
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
  return session.with_host(args.write, function(host)
    return require("repl").run(host, { write = args.write or not args.linux, first = chunk })
  end)
end

return repl

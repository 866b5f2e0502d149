--- help.lua - `bulkhead help [COMMAND [VERB]]`.
local catalogue = require "catalogue"

local help = { silent = true }

function help.options(parser)
  parser:argument("command", "What to explain."):args "?"
  parser:argument("verb", "Its part, as in `help network create`."):args "?"
end

function help.run(args)
  local text = args.command and require("dispatch").help(args.command, args.verb)
  io.stdout:write(text or catalogue.text())
end

return help

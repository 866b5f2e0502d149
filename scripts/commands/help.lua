--- help.lua - `bulkhead help [COMMAND [VERB]]`, `bulkhead help lua [NAME]`.
local catalogue = require "catalogue"

local help = { silent = true }

function help.options(parser)
  parser:argument("command", "What to explain; lua: the reference of the API."):args "?"
  parser:argument("verb", "Its part, as in `help network create` or `help lua host:rules`."):args "?"
end

--- The Lua reference, or what it says of a name.
local function lua(name)
  local reference, refuse, show = require "reference", require "refuse", require "show"
  local api, width = require("stubs").load(), show.width() or 80
  if not name then
    return reference.all(api, width)
  end
  return reference.of_name(api, name, width)
    or refuse.input(("the Lua reference has no %s; see `bulkhead help lua`"):format(
      require("validate").quoted(name)))
end

function help.run(args)
  local text
  if args.command == "lua" then
    text = lua(args.verb)
  elseif args.command then
    text = require("dispatch").help(args.command, args.verb)
  end
  io.stdout:write(text or catalogue.text())
end

return help

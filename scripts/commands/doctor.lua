--- doctor.lua - `bulkhead doctor`: checks that this machine can do it all; exit 1 if it cannot.
local doctor = require "doctor"
local session = require "session"
local show = require "show"

local command = {}

function command.options(parser)
  parser:option("--policies", "The policy set."):argname "DIR"
end

local COLOURS = { ok = "green", warning = "yellow", failed = "red" }

function command.run(args)
  local list = doctor.examine(session.policies(args.policies))
  local failed = {}
  for _, each in ipairs(list) do
    if each.status == "failed" then
      failed[#failed + 1] = each.name
    end
  end
  session.print(list, function()
    local lines = {}
    for i, each in ipairs(list) do
      lines[i] = ("%s %-18s %s\n"):format(
        show.colour(COLOURS[each.status], ("%-8s"):format(each.status)), each.name,
        show.clean(each.detail or ""))
    end
    return table.concat(lines)
  end, { "name", "status", "detail" })
  if #failed > 0 then
    session.say("this machine lacks something: " .. table.concat(failed, ", "))
    return 1
  end
end

return command

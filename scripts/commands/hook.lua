--- hook.lua - `bulkhead hook EVENT`: an OCI runtime's hook.
local hook = require "hook"
local refuse = require "refuse"
local session = require "session"

local command = { silent = true, brief = true }

function command.options(parser)
  parser:argument("event",
    "createRuntime, poststart or poststop; createContainer and startContainer do nothing.")
  parser:option("--policies", "The policy set.", nil):argname "DIR"
end

function command.run(args)
  local silent, message = hook.is_silent(args.event)
  if silent == nil then
    refuse.input(message)
  elseif silent then
    return 0
  end
  local state = refuse.parsed(hook.parse(refuse.parsed(hook.read(io.stdin))))
  local spec
  if args.event == "createRuntime" then
    spec = refuse.parsed(hook.spec(state, session.policies(args.policies)))
  end
  session.with_host(spec and true or "existing", function(host)
    if spec then
      refuse.check(hook.create(host, spec))
    elseif args.event == "poststart" then
      refuse.check(hook.start(host, state))
    else
      refuse.check(hook.remove(host, state))
    end
  end)
end

return command

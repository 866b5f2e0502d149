--- install-hooks.lua - `bulkhead install-hooks DIR`: tells runtimes that read hooks.d about our hooks.
local hooks = require "hooks"
local refuse = require "refuse"
local session = require "session"
local validate = require "validate"

local command = {}

function command.options(parser)
  parser:argument("dir", "Like /etc/containers/oci/hooks.d; made if only it is missing.")
  parser:option("--policies", "The policy set that the hooks use."):argname "DIR"
end

function command.run(args)
  local dir = session.absolute(refuse.parsed(validate.path(args.dir, "DIR")))
  local files = refuse.check(hooks.install(dir, {
    program = hooks.program(), policies = args.policies and session.policies(args.policies),
    state = os.getenv "BULKHEAD_STATE",
  }))
  session.print({ files = files }, table.concat(files, "\n") .. "\n")
end

return command

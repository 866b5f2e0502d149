--- metrics.lua - `bulkhead metrics`: counters in Prometheus' text format.
local metrics = require "metrics"
local session = require "session"

local command = { silent = true }

function command.options(parser)
  parser:flag("--rules", "Hits of every rule too: one line a rule and endpoint.")
end

function command.run(args)
  session.with_host(false, function(host)
    io.stdout:write(metrics.text(host, args.rules))
  end)
end

return command

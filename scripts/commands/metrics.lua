--- metrics.lua - `bulkhead metrics`: counters in Prometheus' text format.
local metrics = require "metrics"
local session = require "session"

local command = {}

local ORDER = { "name", "type", "help", "samples", "labels", "value" }

function command.options(parser)
  parser:flag("--rules", "Hits of every rule too: one line a rule and endpoint.")
end

function command.run(args)
  session.read(function(host)
    session.print(session.json and metrics.list(host, args.rules), function()
      return metrics.text(host, args.rules)
    end, ORDER)
  end)
end

return command

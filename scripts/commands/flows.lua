--- flows.lua - `bulkhead flows [CONTAINER]`: conversations that were allowed to start.
local notation = require "notation"
local refuse = require "refuse"
local session = require "session"
local show = require "show"
local validate = require "validate"

local flows = {}

function flows.options(parser)
  parser:argument("container", "Only this one's."):args "?"
end

local COLUMNS = {
  { title = "Ep", key = "endpoint", right = true },
  { title = "Proto", key = "protocol" },
  { title = "Opened", value = function(flow)
    return flow.direction == "inbound" and "in" or "out"
  end },
  { title = "Local", value = function(flow) return notation.end_of(flow, "local") end },
  { title = "Remote", value = function(flow) return notation.end_of(flow, "remote") end },
  { title = "State", value = function(flow)
    return flow.blocked and "blocked" or flow.state
  end },
  { title = "Age", right = true },
  { title = "Idle", right = true },
  { title = "In", key = "packets_in", right = true },
  { title = "Out", key = "packets_out", right = true },
}

local ORDER = {
  "endpoint", "compartment", "protocol", "direction", "local_address", "local_port",
  "remote_address", "remote_port", "state",
}

function flows.run(args)
  local who = args.container and refuse.parsed(validate.id(args.container))
  session.read(function(host)
    local list = {}
    if who then
      for _, endpoint in ipairs(host:endpoints(refuse.check(host:container(who)).id)) do
        local found = refuse.check(host:flows(endpoint.id))
        table.move(found, 1, #found, #list + 1, list)
      end
    else
      list = refuse.check(host:flows())
    end
    notation.sort(list)
    session.print(list, function()
      return show.table(COLUMNS, list, show.width())
    end, ORDER)
  end)
end

return flows

--- endpoints.lua - `bulkhead endpoints [CONTAINER]`: NICs, where they are and what passed.
local refuse = require "refuse"
local session = require "session"
local show = require "show"
local validate = require "validate"

local endpoints = {}

function endpoints.options(parser)
  parser:argument("container", "Only this one's."):args "?"
end

local function sum(reasons)
  local total = 0
  for _, packets in pairs(reasons or {}) do
    total = total + packets
  end
  return total
end

local function counted(field)
  return function(endpoint)
    local counters = endpoint.counters
    return counters and (counters[field] or sum(counters["dropped_" .. field:sub(6)]))
  end
end

local COLUMNS = {
  { title = "ID", right = true },
  { title = "Container" },
  { title = "Cmp", key = "compartment", right = true },
  { title = "Network" },
  { title = "Kind" },
  { title = "NIC", key = "interface" },
  { title = "Addresses" },
  { title = "In", right = true, value = counted "packets_in" },
  { title = "Out", right = true, value = counted "packets_out" },
  { title = "DropIn", right = true, value = counted "drop_in" },
  { title = "DropOut", right = true, value = counted "drop_out" },
}

local ORDER = {
  "id", "container", "compartment", "network", "driver", "kind", "interface", "mac", "addresses",
  "gateways", "default_inbound", "default_outbound",
}

function endpoints.run(args)
  local who = args.container and refuse.parsed(validate.id(args.container))
  session.read(function(host)
    local list = host:endpoints(who and refuse.check(host:container(who)).id)
    for _, endpoint in ipairs(list) do
      endpoint.counters = host:counters(endpoint.id)
    end
    session.print(list, function()
      return show.table(COLUMNS, list, show.width())
    end, ORDER)
  end)
end

return endpoints

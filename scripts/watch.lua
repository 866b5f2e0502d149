--- watch.lua - what happens at the gates, as it happens: drops, and flows that begin and end.
local bulkhead = require "bulkhead"
local notation = require "notation"
local show = require "show"

local watch = {}

local PAUSE = 0.2 -- seconds between looks

--- What stays of a flow as long as it is one.
local function key_of(flow)
  return table.concat({
    flow.endpoint, flow.direction, flow.protocol, notation.ends(flow), flow.icmp_type or "",
  }, " ")
end

local function flow_line(mark, flow, names)
  return ("%s %s %s: %s, %d in, %d out\n"):format(os.date "%H:%M:%S",
    show.colour(mark == "begins" and "green" or "dim", "flow " .. mark), show.clean(names[flow.endpoint] or "-"),
    notation.opener(flow), flow.packets_in, flow.packets_out)
end

--- Flows by key, of the endpoints asked for.
local function look(host, endpoints)
  local seen = {}
  for _, flow in ipairs(host:flows()) do
    if not endpoints or endpoints[flow.endpoint] then
      seen[key_of(flow)] = flow
    end
  end
  return seen
end

--- The names of endpoints' containers, and the endpoints of one container.
local function roll(host, id)
  local names, of_container, wanted = {}, {}, id and {} or nil
  for _, container in ipairs(host:containers()) do
    of_container[container.id] = container.name
  end
  for _, endpoint in ipairs(host:endpoints(id)) do
    names[endpoint.id] = of_container[endpoint.container]
    if wanted then
      wanted[endpoint.id] = true
    end
  end
  return names, wanted
end

--- Tells of the flows that only the first has.
local function tell_flows(mark, here, there, names)
  local list = {}
  for key, flow in pairs(here) do
    list[#list + 1] = not there[key] and flow or nil
  end
  for _, flow in ipairs(notation.sort(list)) do
    io.stdout:write(flow_line(mark, flow, names))
  end
end

--- Shows what happens from now on until it is interrupted, or for so long.
---@param host host
---@param id? string of a container
---@param seconds? number
function watch.run(host, id, seconds)
  local line = require("commands.drops").line
  local flows = look(host, select(2, roll(host, id)))
  local _, number = host:drops(-1)
  local left = seconds or math.huge
  repeat
    local names, wanted = roll(host, id)
    local records
    records, number = host:drops(number)
    for _, record in ipairs(records) do
      if not wanted or wanted[record.endpoint] then
        io.stdout:write(line(record))
      end
    end
    local now = look(host, wanted)
    tell_flows("begins", now, flows, names)
    tell_flows("ends", flows, now, names)
    flows = now
    io.stdout:flush()
    bulkhead.wait(math.min(PAUSE, math.max(left, 0)))
    left = left - PAUSE
  until left < 0
end

return watch

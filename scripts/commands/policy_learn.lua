--- policy_learn.lua - `bulkhead policy learn CONTAINER`: a policy from the flows that were seen.
local json = require "json"
local refuse = require "refuse"
local session = require "session"
local validate = require "validate"

local learn = {
  name = "learn", summary = "Write a policy that allows the flows that were seen, and no others.",
}

function learn.options(parser)
  parser:argument("container", "Whose flows.")
  parser:option("--flows", "Flows from a file instead of the live ones: a capture, or what `flows --json` or "
    .. "`replay --json` printed; may be repeated."):argname "FILE":count "*"
  parser:flag("--live", "The live flows beside those of files.")
  parser:option("--by", "How wide the other side is: its address (default), its subnet, or only the port.",
    "address"):argname "address|subnet|port"
  parser:option("--output", "Write to a file that is not there yet."):argname "FILE"
end

local function read(path)
  local file, why = io.open(path, "rb")
  if not file then
    refuse.world(why)
  end
  local text = file:read "a"
  file:close()
  return text
end

--- Flows that a JSON document lists.
local function from_json(path, text)
  local value, message = json.decode(text)
  if value == nil then
    refuse.input(("%s: %s"):format(path, message))
  end
  local list = type(value) == "table" and (value.flows or value)
  if type(list) ~= "table" or (#list == 0 and next(list) ~= nil) then
    refuse.input(("%s has no list of flows"):format(path))
  end
  for _, flow in ipairs(list) do
    local known = type(flow) == "table" and type(flow.protocol) == "string"
      and (flow.direction == "inbound" or flow.direction == "outbound")
    if not known then
      refuse.input(("%s has a flow without protocol and direction"):format(path))
    end
  end
  return list
end

local function from_file(host, who, path)
  local file = io.open(path, "rb")
  local first = file and file:read(1)
  if file then
    file:close()
  end
  if first == "[" or first == "{" then
    return from_json(path, read(path))
  end
  local replay = require "commands.replay"
  local world = replay.world(host, who, {}, path)
  local flows = replay.play(world, path).flows
  for _, flow in ipairs(flows) do
    -- What the policy in force does to them is not the question.
    flow.verdict = nil
    if flow.protocol == "malformed" or flow.by == "spoof" or flow.by == "malformed" then
      flow.remote_address = nil
    end
  end
  return flows
end

local function write(path, text)
  local there = io.open(path, "rb")
  if there then
    there:close()
    refuse.world(("'%s' is there already"):format(path))
  end
  local file, why = io.open(path, "wb")
  if not file then
    refuse.world(why)
  end
  file:write(text)
  file:close()
end

function learn.run(args)
  local module = require "learn"
  local who = refuse.parsed(validate.id(args.container))
  local known = false
  for _, width in ipairs(module.WIDTHS) do
    known = known or args.by == width
  end
  if not known then
    refuse.input(("--by %s is not address, subnet or port"):format(validate.quoted(args.by)))
  end
  session.read(function(host)
    local container = refuse.check(host:container(who))
    local flows, subnets = {}, {}
    for _, endpoint in ipairs(host:endpoints(container.id)) do
      if #args.flows == 0 or args.live then
        local live = refuse.check(host:flows(endpoint.id))
        table.move(live, 1, #live, #flows + 1, flows)
      end
      for _, network in ipairs(host:networks()) do
        for _, subnet in ipairs(network.name == endpoint.network and network.subnets or {}) do
          subnets[#subnets + 1] = subnet.prefix
        end
      end
    end
    for _, path in ipairs(args.flows) do
      local more = from_file(host, who, path)
      table.move(more, 1, #more, #flows + 1, flows)
    end
    local text, count = module.policy {
      name = container.name, flows = flows, width = args.by, subnets = subnets, when = os.date "%Y-%m-%d",
    }
    if count == 0 then
      refuse.world(("no flow of container '%s' was seen, of which a policy could be made"):format(container.name))
    end
    if args.output then
      write(args.output, text)
    end
    session.print({ container = container.id, flows = count, policy = text }, args.output and "" or text)
  end)
end

return learn

--- replay.lua - `bulkhead replay [WHO] FILE`: what a policy does to somebody's captured traffic.
---
--- The gate is WHO's, with no flows to begin with; the capture's timestamps are its clock. Which way a
--- packet goes is told by WHO's addresses; what is neither from nor to WHO is counted and left out.
local filter = require "bulkhead.filter"
local imagined = require "imagined"
local json = require "json"
local notation = require "notation"
local refuse = require "refuse"
local replay = require "bulkhead.replay"
local session = require "session"
local show = require "show"
local validate = require "validate"

local command = {}

local STRETCH = 65536 -- packets between two looks at the progress

function command.options(parser)
  parser:argument("WHO|FILE", "WHO, a container's name, id or prefix; then a capture (pcap or pcapng)."):args "1-2"
    :target "words"
  imagined.options(parser, "the one most seen in the capture, of each family")
  parser:flag("--packets", "The verdict on every packet too.")
end

local ORDER = {
  "file", "at", "addresses", "packets", "others", "seen", "passed_in", "passed_out", "dropped_in", "dropped_out",
  "audited", "unlisted", "first", "last", "ending", "flows", "number", "time", "protocol", "direction",
  "packet", "local_address", "local_port", "remote_address", "remote_port", "verdict", "by", "rule", "origin",
}

--- Whether an address can be a host's own.
local function is_own(address)
  for _, prefix in ipairs { "224.0.0.0/4", "ff00::/8", "fe80::/10" } do
    if filter.contains(prefix, address) then
      return false
    end
  end
  return address ~= "255.255.255.255" and address ~= "0.0.0.0" and address ~= "::"
end

local PRIVATE = { "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7" }

local function is_private(address)
  for _, prefix in ipairs(PRIVATE) do
    if filter.contains(prefix, address) then
      return true
    end
  end
  return false
end

--- The address of each family most seen; of equals a private one, then the one seen first.
local function busiest(list)
  local best = {}
  for _, each in ipairs(list) do
    each.private = is_private(each.address)
    local family = each.address:find(":", 1, true) and 6 or 4
    local other = best[family]
    local better = not other or each.packets > other.packets
    if other and each.packets == other.packets then
      better = each.private ~= other.private and each.private
        or each.private == other.private and each.order < other.order
    end
    if is_own(each.address) and better then
      best[family] = each
    end
  end
  local addresses = {}
  for _, family in ipairs { 4, 6 } do
    addresses[#addresses + 1] = best[family] and best[family].address
  end
  return addresses
end

local SHOWN = 5 -- addresses of a capture that are named

--- The addresses most seen that may be somebody's own, the most frequent first.
local function most_seen(path)
  local list = {}
  for _, each in ipairs(refuse.check(replay.addresses(path))) do
    list[#list + 1] = is_own(each.address) and each or nil
  end
  table.sort(list, function(a, b)
    return a.packets > b.packets or a.packets == b.packets and a.order < b.order
  end)
  local names = {}
  for i = 1, math.min(SHOWN, #list) do
    names[i] = list[i].address
  end
  return names
end

--- A bar on standard error while it lasts.
local function progress_bar()
  if not show.is_terminal(2) then
    return function() end
  end
  return function(part)
    local filled = part and math.min(40, part * 40 // 1 | 0)
    io.stderr:write(part and ("\r[%s%s] %3d%%"):format(("#"):rep(filled), (" "):rep(40 - filled),
      math.min(100, part * 100 // 1 | 0)) or "\r" .. (" "):rep(50) .. "\r")
  end
end

local COLUMNS = {
  { title = "Proto", value = function(flow)
    return flow.icmp_type and ("%s[%d:%d]"):format(flow.protocol, flow.icmp_type, flow.icmp_code)
      or flow.protocol
  end },
  { title = "Opened", value = function(flow)
    return flow.direction == "inbound" and "in" or "out"
  end },
  { title = "Local", value = function(flow) return notation.end_of(flow, "local") end },
  { title = "Remote", value = function(flow) return notation.end_of(flow, "remote") end },
  { title = "In", key = "packets_in", right = true },
  { title = "Out", key = "packets_out", right = true },
  { title = "Dropped", right = true },
  { title = "Verdict", value = function(flow)
    return flow.verdict .. (flow.audited > 0 and " (audited)" or "")
  end },
  { title = "By" },
  { title = "Rule" },
  { title = "Origin" },
}

local function sum(counts)
  local total = 0
  for _, count in pairs(counts) do
    total = total + count
  end
  return total
end

local function describe(summary)
  local parts = {}
  for _, side in ipairs { "in", "out" } do
    local reasons = {}
    for reason, count in pairs(summary["dropped_" .. side]) do
      reasons[#reasons + 1] = ("%d by %s"):format(count, reason)
    end
    table.sort(reasons)
    parts[#parts + 1] = ("%s: %d passed, %d dropped%s"):format(side, summary["passed_" .. side],
      sum(summary["dropped_" .. side]), #reasons > 0 and " (" .. table.concat(reasons, ", ") .. ")" or "")
  end
  local lines = { ("%s in %.3f s at %s (%s); %d of others"):format(show.count(summary.packets, "packet"),
    summary.last - summary.first, show.clean(summary.at), table.concat(summary.addresses, ", "), summary.others),
    table.concat(parts, "; ") }
  if summary.seen then
    lines[#lines + 1] = #summary.seen == 0 and "the capture has no address that could be a container's"
      or ("no packet is from or to it: the capture's most frequent addresses are %s; give one by --address")
        :format(table.concat(summary.seen, ", "))
  end
  if summary.audited > 0 then
    lines[#lines + 1] = ("%d passed only because the block is audited"):format(summary.audited)
  end
  if summary.unlisted > 0 then
    lines[#lines + 1] = show.count(summary.unlisted, "packet")
      .. " of flows beyond the first million: not listed"
  end
  return table.concat(lines, "\n") .. "\n"
end

--- One packet's line.
local function packet_line(packet)
  local by = packet.by .. (packet.rule and " '" .. show.clean(packet.rule) .. "'" or "")
  return ("%d %.6f %s: %s%s by %s%s\n"):format(packet.number, packet.time, packet.packet, packet.verdict,
    packet.audit and " (audited)" or "", by, packet.origin and " " .. show.clean(packet.origin) or "")
end

--- Where a default decided, the gate does not know its line.
local function fill_origin(world, list)
  for _, each in ipairs(list) do
    if not each.rule_id and not each.origin and (each.by == "default" or each.by == "flow") then
      each.origin = world.default[each.opener].origin
    end
  end
  return list
end

--- Reads the whole capture; packets are printed as they come.
local function play(world, path, packets)
  local object = refuse.check(replay.open(path, world.gate))
  local bar, first = progress_bar(), true
  if packets and session.json then
    io.stdout:write '{"verdicts":['
  end
  while true do
    local count
    if packets then
      local list = fill_origin(world, object:list(4096))
      count = #list
      for _, packet in ipairs(list) do
        io.stdout:write(session.json and (first and "" or ",") .. json.encode(packet, ORDER) or packet_line(packet))
        first = false
      end
    else
      count = object:run(STRETCH)
    end
    if count == 0 then
      break
    end
    bar(object:progress())
  end
  bar()
  local summary = object:summary()
  if summary.ending then
    session.say(("'%s' ends too early%s: %s"):format(path,
      summary.ending:find "^truncated" and ", in the middle of a packet" or "", summary.ending))
  end
  object:close()
  fill_origin(world, summary.flows)
  table.sort(summary.flows, function(a, b)
    if a.first ~= b.first then
      return a.first < b.first
    end
    return notation.ends(a) .. a.protocol < notation.ends(b) .. b.protocol
  end)
  return summary
end
command.play = play

local function finish(world, path, addresses, packets)
  local summary = play(world, path, packets)
  summary.file, summary.at, summary.addresses = path, world.at, addresses
  if summary.others == summary.packets then
    summary.seen = most_seen(path)
  end
  if packets and session.json then
    io.stdout:write("],", json.encode(summary, ORDER):sub(2), "\n")
    return
  end
  if packets then
    io.stdout:write "\n"
  end
  session.print(summary, function()
    if #summary.flows == 0 then
      return describe(summary)
    end
    return describe(summary) .. "\n" .. show.table(COLUMNS, summary.flows, show.width())
  end, ORDER)
end

--- The world of WHO, or of the imagined one, and its addresses.
function command.world(host, who, args, path)
  local worlds = require "worlds"
  if who then
    local container = refuse.check(host:container(who))
    local addresses = {}
    for _, endpoint in ipairs(host:endpoints(container.id)) do
      table.move(endpoint.addresses, 1, #endpoint.addresses, #addresses + 1, addresses)
    end
    return refuse.check(worlds.live(host, who, {})), addresses
  end
  local spec = imagined.spec(args)
  if #spec.addresses == 0 then
    spec.addresses = busiest(refuse.check(replay.addresses(path)))
  end
  if not spec.driver then
    imagined.find_network(host, spec)
  end
  return refuse.check(worlds.imagined(spec, {})), spec.addresses
end

function command.run(args)
  local who, path = nil, args.words[1]
  if args.words[2] then
    who, path = refuse.parsed(validate.id(args.words[1])), args.words[2]
    if imagined.asked(args) then
      refuse.input "WHO is either a live container or an imagined one, not both"
    end
  end
  if not who and validate.driver(args.network or "nat") then
    local world, addresses = command.world(nil, nil, args, path)
    return finish(world, path, addresses, args.packets)
  end
  session.read(function(host)
    local world, addresses = command.world(host, who, args, path)
    finish(world, path, addresses, args.packets)
  end)
end

return command

--- drops.lua - `bulkhead drops [--follow]`: what was dropped, audited or logged, and by which line.
---
--- The kernel keeps the newest 8,192 records. Reading takes nothing away, so that any number of
--- readers see the same; who is too slow is told how many records are missing.
local json = require "json"
local refuse = require "refuse"
local session = require "session"
local show = require "show"
local validate = require "validate"

local drops = {}

local PAUSE = 0.1 -- seconds between looks

function drops.options(parser)
  parser:flag("-f --follow", "Go on as packets come; with --json one document a line.")
  parser:option("--container", "Only this one's."):argname "C"
  parser:option("--last", "How many to begin with, at most 8192; default 100."):argname "N"
end

local ORDER = {
  "number", "time", "container", "name", "compartment", "endpoint", "direction", "packet", "verdict",
  "by", "rule", "origin", "audit", "log",
}

--- What became of it, in a word.
local function outcome(record)
  return record.audit and "audited" or record.verdict == "allow" and "logged" or "dropped"
end

--- Time on this host, to the millisecond.
local function clock(time)
  return os.date("%H:%M:%S", time // 1 | 0) .. (".%03d"):format((time % 1 * 1000) // 1 | 0)
end

--- A record for people, as a line.
function drops.line(record)
  local parts = {
    clock(record.time), show.clean(record.name or "-"), ("(compartment %d)"):format(record.compartment),
    show.clean(record.packet), outcome(record) .. ":", record.by,
  }
  if record.ethertype ~= 0x0800 and record.ethertype ~= 0x86dd and record.ethertype ~= 0x0806 then
    parts[#parts + 1] = ("ethertype %04x"):format(record.ethertype)
  end
  if record.by == "spoof" then
    parts[#parts + 1] = "from " .. record.source_mac
  end
  if record.rule then
    parts[#parts + 1] = ("'%s'"):format(show.clean(record.rule))
  end
  parts[#parts + 1] = record.origin and show.clean(record.origin)
  return table.concat(parts, " ") .. "\n"
end

--- Prints records as they come; the number that is expected next is kept over calls.
local function printer(id, expected)
  return function(list)
    for _, record in ipairs(list) do
      if record.number > expected then
        local gap = record.number - expected
        io.stdout:write(session.json and json.encode { left_out = gap } .. "\n" or gap .. " left out\n")
      end
      expected = record.number + 1
      if not id or record.container == id then
        io.stdout:write(session.json and json.encode(record, ORDER) .. "\n" or drops.line(record))
      end
    end
    io.stdout:flush()
  end
end

local function of_container(list, id)
  local kept = {}
  for _, record in ipairs(list) do
    if not id or record.container == id then
      kept[#kept + 1] = record
    end
  end
  return kept
end

--- The newest records: of one container, the newest of its own.
local function newest(host, id, count)
  local list, next_number = host:drops(id and -8192 or -count)
  list = of_container(list, id)
  return table.move(list, math.max(1, #list - count + 1), #list, 1, {}), next_number
end

--- Prints records as they come until the state is another than it was.
---@param mark integer?
local function follow(host, write, next_number, mark)
  local list
  while true do
    list, next_number = host:drops(next_number)
    write(list)
    if #list == 0 then
      local now = session.mark()
      if now and now ~= mark then
        return
      end
      require("bulkhead").wait(PAUSE)
    end
  end
end

--- Opens a state that is made anew in the place of another, as soon as it can be read.
local function reopen()
  local host, message
  for _ = 1, 100 do
    host, message = session.host(false)
    if host then
      return host
    end
    require("bulkhead").wait(PAUSE)
  end
  refuse.world(message)
end

function drops.run(args)
  local count = 100
  if args.last then
    count = math.tointeger(tonumber(args.last))
    if not count or count < 1 or count > 8192 then
      refuse.input(("--last %s is not 1 to 8192"):format(validate.quoted(args.last)))
    end
  end
  local who = args.container and refuse.parsed(validate.id(args.container))
  local mark, id = session.mark(), nil
  session.with_host(false, function(host)
    id = who and refuse.check(host:container(who)).id
    local list, next_number = newest(host, id, count)
    if not args.follow then
      local lines = {}
      for i, record in ipairs(list) do
        lines[i] = drops.line(record)
      end
      session.print(list, table.concat(lines), ORDER)
      return
    end
    local write = printer(id, list[1] and not id and list[1].number or next_number)
    write(list)
    follow(host, write, next_number, mark)
  end)
  while args.follow do
    mark = session.mark()
    session.use(reopen(), function(host)
      session.say(("the state %s was made anew: what follows is of its gates"):format(session.state()))
      follow(host, printer(id, 0), 0, mark)
    end)
  end
end

return drops

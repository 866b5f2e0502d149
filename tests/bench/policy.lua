--- policy.lua - what policies as code cost: `make bench-policy`.
---
---   bulkhead run tests/bench/policy.lua [--json FILE]
---
--- replay: a generated capture of many flows through the default policy, packets a second. diff: two
--- policies of 10,000 rules, one an edited copy of the other, compared over all packets; seconds of
--- the processor and the most memory the process had. Each part runs in a process of its own.
local filter = require "bulkhead.filter"
local json = require "json"
local report = require "tests.bench.report"
local show = require "show"

local PACKETS, FLOWS, RULES = 2000000, 10000, 10000

--- A pcap of TCP and UDP, both ways, over FLOWS flows.
local function write_capture(path, gate)
  local file = assert(io.open(path, "wb"))
  file:setvbuf("full", 1 << 20)
  file:write(("<I4I2I2i4I4I4I4"):pack(0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
  local frames = {}
  for flow = 1, FLOWS do
    local port, kind = 1024 + flow % 50000, flow % 3 == 0 and "udp" or "tcp"
    local peer = ("10.%d.%d.9"):format(flow >> 8 & 255, flow & 255)
    frames[flow] = {
      gate:frame(("out %s 172.16.0.2:%d -> %s:443"):format(kind, port, peer)),
      gate:frame(("in %s%s %s:443 -> 172.16.0.2:%d"):format(kind, kind == "tcp" and "[SA]" or "", peer, port)),
    }
  end
  for number = 0, PACKETS - 1 do
    local flow = number % FLOWS + 1
    local frame = frames[flow][number // FLOWS % 2 + 1]
    file:write(("<I4I4I4I4"):pack(1700000000 + number // 1000000, number % 1000000, #frame, #frame), frame)
  end
  file:close()
end

local function replay()
  local worlds = require "worlds"
  local text = "out tcp 172.16.0.2:40000 -> 10.0.0.9:443"
  local world = assert(worlds.imagined({
    type = "process", driver = "nat", addresses = { "172.16.0.2/16" }, published = {},
    policies = arg.root .. "/policies/default",
  }, { assert(filter.packet(text)) }))
  local path = os.tmpname()
  write_capture(path, world.gate)
  local best
  for _ = 1, 3 do
    local capture <close> = assert(require("bulkhead.replay").open(path, world.gate))
    local start = os.clock()
    repeat until capture:run(65536) < 65536
    local seconds = os.clock() - start
    assert(capture:summary().packets == PACKETS)
    best = math.min(best or seconds, seconds)
  end
  os.remove(path)
  return { packets = PACKETS, flows = FLOWS, seconds = best, packets_per_second = math.floor(PACKETS / best) }
end

--- What a company's list looks like: prefixes and ports, at some priorities; the same each time.
local function rules()
  local state = 20250101
  local function below(n)
    state = (state * 6364136223846793005 + 1442695040888963407)
    return (state >> 33) % n
  end
  local list = {}
  for i = 1, RULES do
    local out = below(2) == 0
    local rule = {
      action = below(2) == 0 and "block" or "allow", direction = out and "outbound" or "inbound",
      priority = 100 + below(20), protocol = below(3) == 0 and "udp" or "tcp",
      remote = below(3) > 0 and ("%d.%d.%d.0/24"):format(below(256), below(256), below(256))
        or ("%d.%d.0.0/16"):format(below(256), below(256)),
    }
    if below(3) > 0 then
      rule[out and "remote_port" or "local_port"] = tostring(below(1000))
    end
    list[i] = rule
  end
  return list
end

local function diff()
  local a, b = rules(), rules()
  for at = 7, RULES, RULES // 20 do -- edits: an action, a port more, one gone
    b[at].action = b[at].action == "allow" and "block" or "allow"
    b[at + 1].local_port = "1-2000"
  end
  for at = RULES - 10, 1, -(RULES // 20) do
    table.remove(b, at)
  end
  local default = { inbound = { action = "block" }, outbound = { action = "allow" } }
  local before = assert(filter.gate { rules = a, default = default })
  local after = assert(filter.gate { rules = b, default = default })
  local start = os.clock()
  local classes = assert(require("bulkhead.prove").compare(before, after))
  local seconds = os.clock() - start
  local status <close> = assert(io.open "/proc/self/status")
  return { rules = RULES, classes = #classes, seconds = seconds,
    mebibytes = tonumber(status:read "a":match "VmHWM:%s*(%d+)") // 1024 }
end

local PARTS = { replay = replay, diff = diff }

--- A part in a process of its own, as JSON.
local function apart(name)
  local program = require("lfs").symlinkattributes("/proc/self/exe", "target")
  local pipe = assert(io.popen(("'%s' run tests/bench/policy.lua --only %s"):format(program, name)))
  local result = assert(json.decode(pipe:read "a"))
  pipe:close()
  return result
end

local function table_of(result)
  return show.table({ { title = "What" }, { title = "Of" }, { title = "Figure" }, { title = "Bound" } }, {
    {
      what = "replay", of = ("%d packets, %d flows"):format(result.replay.packets, result.replay.flows),
      figure = ("%.2f M packets/s"):format(result.replay.packets_per_second / 1e6), bound = "1 M packets/s or more",
    }, {
      what = "policy diff", of = ("%d rules, %d classes"):format(result.diff.rules, result.diff.classes),
      figure = ("%.2f s, %d MiB"):format(result.diff.seconds, result.diff.mebibytes), bound = "5 s, 1024 MiB or less",
    },
  })
end

local _, options = report.words({ ... }, { only = true })
if options.only then
  io.write(json.encode(PARTS[options.only]()), "\n")
  return
end
local result = { replay = apart "replay", diff = apart "diff" }
io.write(table_of(result))
report.at_least("replay, M packets a second", result.replay.packets_per_second / 1e6, 1)
report.at_most("policy diff, s", result.diff.seconds, 5)
report.at_most("policy diff, MiB", result.diff.mebibytes, 1024)
report.finish(result, options.json)

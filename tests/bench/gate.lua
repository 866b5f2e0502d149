--- The gate's rule lookup in the kernel over generated sets: gate.lua BUILD [--json FILE] [KIND:COUNT…]
--
-- A row is a set: nanoseconds a lookup of a packet that is new to the caches and of one that comes again,
-- what the table took to build, its size, and the most nodes and boxes a packet may meet: none in a table of
-- rows of bits. For root.
local json = require "json"
local report = require "tests.bench.report"

local sets = { "container:10", "container:50", "container:100", "container:200", "acl:10", "acl:100", "fw:100",
               "ipc:100", "acl:1000", "fw:1000", "ipc:1000", "acl6:1000", "wildcard:1000", "nested:1000", "acl:10000",
               "fw:10000", "ipc:10000", "acl6:10000", "remote:10000", "acl:100000", "fw:100000", "ipc:100000" }

local own, options = report.words(arg)
local build = table.remove(own, 1)
if not build then
  io.stderr:write("usage: gate.lua BUILD [--json FILE] [KIND:COUNT…]\n")
  os.exit(2)
end

--- Runs bench-gate over a set of its own; its answers are checked there.
local function measure(set)
  local kind, count = set:match("^(%w+):(%d+)$")
  if not kind then
    io.stderr:write("gate.lua: not KIND:COUNT: " .. set .. "\n")
    os.exit(2)
  end
  local files = build .. "/bench.rules " .. build .. "/bench.trace"
  assert(os.execute(("%s/generate %s %s 1 %s"):format(build, kind, count, files)))
  local pipe = assert(io.popen(("%s/bench-gate %s --json"):format(build, files)))
  local row = json.decode(pipe:read("a"))
  pipe:close()
  if not row then os.exit(1) end -- it has said why
  row.set = set
  return row
end

--- Nanoseconds a lookup may take in sets of the usual kinds.
local function hold(row)
  local kind, count = row.set:match "^(%w+):(%d+)$"
  local bound = ({ ["100"] = 25, ["10000"] = kind == "fw" and 80 or 50 })[count]
  if bound and (kind == "container" or kind == "acl" or kind == "fw" or kind == "ipc") then
    report.at_most(row.set .. ", ns of a new packet", row.trace_ns, bound)
    report.at_most(row.set .. ", ns again", row.again_ns, bound)
  end
end

local list, by_set, wrong = {}, {}, 0
print(("%-15s %5s %8s %8s %9s %7s %5s %5s"):format("set", "wrong", "new ns", "again", "build ms", "B/rule", "nodes",
  "boxes"))
for _, set in ipairs(#own > 0 and own or sets) do
  local row = measure(set)
  list[#list + 1], by_set[set], wrong = row, row, wrong + row.wrong
  print(("%-15s %5d %8.1f %8.1f %9.1f %7.1f %5d %5d"):format(set, row.wrong, row.trace_ns, row.again_ns,
    row.build_ms, row.bytes / row.rules, row.most_nodes, row.most_boxes))
  hold(row)
end
local few, many = by_set["acl:10"], by_set["acl:100000"]
if few and many then
  report.at_most("acl:10 to acl:100000, growth of a new packet's", many.trace_ns / few.trace_ns, 4)
  report.at_most("acl:10 to acl:100000, growth again", many.again_ns / few.again_ns, 4)
end
report.finish({ sets = list }, options.json)
os.exit(wrong == 0 and 0 or 1)

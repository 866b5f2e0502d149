--- The gate's rule lookup in the kernel over generated sets: gate.lua BUILD [--json] [KIND:COUNT…]
--
-- A row is a set: nanoseconds a lookup of a packet that is new to the caches and of one that comes again,
-- what the table took to build, its size, and the most nodes and boxes a packet may meet: none in a table of
-- rows of bits. For root.
local json = require "dkjson"

local sets = { "container:10", "container:50", "container:100", "container:200", "acl:10", "acl:100", "fw:100",
               "ipc:100", "acl:1000", "fw:1000", "ipc:1000", "acl6:1000", "wildcard:1000", "nested:1000", "acl:10000",
               "fw:10000", "ipc:10000", "acl6:10000", "remote:10000", "acl:100000", "fw:100000", "ipc:100000" }

local build, as_json, own = arg[1], false, {}
for i = 2, #arg do
  if arg[i] == "--json" then as_json = true else own[#own + 1] = arg[i] end
end
if not build then
  io.stderr:write("usage: gate.lua BUILD [--json] [KIND:COUNT…]\n")
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

local list, wrong = {}, 0
if not as_json then
  print(("%-15s %5s %8s %8s %9s %7s %5s %5s"):format("set", "wrong", "new ns", "again", "build ms", "B/rule", "nodes",
    "boxes"))
end
for _, set in ipairs(#own > 0 and own or sets) do
  local row = measure(set)
  list[#list + 1], wrong = row, wrong + row.wrong
  if not as_json then
    print(("%-15s %5d %8.1f %8.1f %9.1f %7.1f %5d %5d"):format(set, row.wrong, row.trace_ns, row.again_ns,
      row.build_ms, row.bytes / row.rules, row.most_nodes, row.most_boxes))
  end
end
if as_json then print(json.encode({ sets = list })) end
os.exit(wrong == 0 and 0 or 1)

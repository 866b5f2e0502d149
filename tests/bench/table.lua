--- Our classifier beside its peers over many generated sets: table.lua BUILD [--json] [KIND:COUNT…]
--
-- A row is a set: figures in million lookups a second, one at a time and in batches, and how many times
-- the best of rte_acl and of the SIMD linear scan that is. Bits, leaves and costs were chosen by looking
-- at seed 1; the last lines tell how far sets of other seeds, which nobody looked at, stay behind.
local json = require "dkjson"

local sets = { "container:16", "container:50", "container:200", "acl:100", "fw:100", "ipc:100", "acl:1000", "fw:1000",
               "ipc:1000", "acl:10000", "fw:10000", "ipc:10000", "acl6:1000", "acl6:10000", "wildcard:1000",
               "nested:1000", "remote:10000", "acl:100000", "fw:100000", "ipc:100000" }
local tuned, others = 1, { 71, 72 }
local crossed = { "container:50", "acl:1000", "fw:1000", "ipc:1000", "acl:10000", "ipc:10000" }

local build, as_json, own = arg[1], false, {}
for i = 2, #arg do
  if arg[i] == "--json" then as_json = true else own[#own + 1] = arg[i] end
end
if not build then
  io.stderr:write("usage: table.lua BUILD [--json] [KIND:COUNT…]\n")
  os.exit(2)
end

--- Runs bench-classifier over a set of its own; its answers were checked there.
local function measure(set, seed)
  local kind, count = set:match("^(%w+):(%d+)$")
  if not kind then
    io.stderr:write("table.lua: not KIND:COUNT: " .. set .. "\n")
    os.exit(2)
  end
  local files = build .. "/bench.rules " .. build .. "/bench.trace"
  assert(os.execute(("%s/generate %s %s %d %s"):format(build, kind, count, seed, files)))
  local pipe = assert(io.popen(("%s/bench-classifier %s --json 2>/dev/null"):format(build, files)))
  local row = assert(json.decode(pipe:read("a")), "bench-classifier gave no JSON for " .. set)
  pipe:close()
  row.set, row.seed = set, seed
  return row
end

local function times(row, peer, what)
  return row.peers[peer] and row[what] / row.peers[peer][what] or nil
end

local function cell(number)
  return number and ("%8.2f"):format(number) or "       -"
end

local function print_row(row)
  print(("%-15s %5d %7.2f %7.2f %s%s %s%s %9.2f %7.1f %6.2f %6.2f"):format(row.set, row.wrong, row.single_mlps,
    row.batch_mlps, cell(times(row, "rte_acl", "single_mlps")), cell(times(row, "rte_acl", "batch_mlps")),
    cell(times(row, "linear_simd", "single_mlps")), cell(times(row, "linear_simd", "batch_mlps")), row.build_ms,
    row.bytes / row.rules, row.inserts_per_s / 1e6, row.deletes_per_s / 1e6))
end

--- What sets of other seeds reach of the tuned ones': the mean of the ratios to a scan of the same rules.
local function cross(rows, set)
  local base, reached = rows[set], {}
  for _, what in ipairs { "single_mlps", "batch_mlps" } do
    local sum = 0
    for _, seed in ipairs(others) do
      local row = rows[set .. "/" .. seed]
      local peer = row.peers.rte_acl and base.peers.rte_acl and "rte_acl" or "linear"
      sum = sum + times(row, peer, what) / times(base, peer, what)
    end
    reached[what] = sum / #others
  end
  return reached
end

local rows, list, wrong = {}, {}, 0
local function add(set, seed, key)
  local row = measure(set, seed)
  rows[key], list[#list + 1] = row, row
  wrong = wrong + row.wrong
  return row
end

if not as_json then
  print(("%-15s %5s %7s %7s %8s%8s %8s%8s %9s %7s %6s %6s"):format("set", "wrong", "single", "batch", "x acl", "batch",
    "x scan", "batch", "build ms", "B/rule", "ins M", "del M"))
end
for _, set in ipairs(#own > 0 and own or sets) do
  local row = add(set, tuned, set)
  if not as_json then print_row(row) end
end
local crosses = {}
for _, set in ipairs(#own > 0 and {} or crossed) do
  for _, seed in ipairs(others) do add(set, seed, set .. "/" .. seed) end
  crosses[set] = cross(rows, set)
  if not as_json then
    print(("%-15s of other seeds: single %.2f, batch %.2f of the tuned seed's times"):format(set,
      crosses[set].single_mlps, crosses[set].batch_mlps))
  end
end
if as_json then print(json.encode({ sets = list, cross = crosses })) end
os.exit(wrong == 0 and 0 or 1)

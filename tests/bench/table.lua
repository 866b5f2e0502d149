--- Our classifier beside its peers over many generated sets: table.lua BUILD [--json FILE] [KIND:COUNT…]
--
-- A row is a set: figures in million lookups a second, one at a time and in batches, and how many times
-- the best of rte_acl and of the SIMD linear scan that is. Bits, leaves and costs were chosen by looking
-- at seed 1; the last lines tell how far sets of other seeds, which nobody looked at, stay behind.
local json = require "json"
local report = require "tests.bench.report"

local sets = { "container:16", "container:50", "container:200", "acl:100", "fw:100", "ipc:100", "acl:1000", "fw:1000",
               "ipc:1000", "acl:10000", "fw:10000", "ipc:10000", "acl6:1000", "acl6:10000", "wildcard:1000",
               "nested:1000", "remote:10000", "acl:100000", "fw:100000", "ipc:100000" }
local tuned, others = 1, { 71, 72 }
local crossed = { "container:50", "acl:1000", "fw:1000", "ipc:1000", "acl:10000", "ipc:10000" }

local own, options = report.words(arg)
local build = table.remove(own, 1)
if not build then
  io.stderr:write("usage: table.lua BUILD [--json FILE] [KIND:COUNT…]\n")
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

--- The targets a row has, by its kind and size; the best peer is the one that is quickest in each figure.
local function hold(row)
  local kind, count = row.set:match "^(%w+):(%d+)$"
  count = tonumber(count)
  local function held(peer, what, bound)
    report.at_least(("%s, %s against %s"):format(row.set, what:gsub("_mlps", ""), peer), times(row, peer, what), bound)
  end
  local usual = kind == "acl" or kind == "fw" or kind == "ipc"
  for _, what in ipairs { "single_mlps", "batch_mlps" } do
    for peer in pairs(row.peers) do
      if count <= 200 then
        held(peer, what, 1.5)
      elseif peer == "linear_simd" then
        held(peer, what, 1)
      elseif peer == "rte_acl" and count < 100000 then
        held(peer, what, what == "single_mlps" and 4 or 1.5)
      end
    end
  end
  if count == 100000 then
    held("rte_acl", "batch_mlps", 3)
    report.at_most(row.set .. ", ms to build", row.build_ms, 1000)
    report.at_most(row.set .. ", bytes a rule", row.bytes / row.rules, 100)
  elseif usual and count >= 1000 or kind == "acl6" then
    report.at_least(row.set .. ", M inserts a second", row.inserts_per_s / 1e6, 1)
    report.at_least(row.set .. ", M deletes a second", row.deletes_per_s / 1e6, 1)
  end
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

print(("%-15s %5s %7s %7s %8s%8s %8s%8s %9s %7s %6s %6s"):format("set", "wrong", "single", "batch", "x acl", "batch",
  "x scan", "batch", "build ms", "B/rule", "ins M", "del M"))
for _, set in ipairs(#own > 0 and own or sets) do
  local row = add(set, tuned, set)
  print_row(row)
  hold(row)
end
local crosses = {}
for _, set in ipairs(#own > 0 and {} or crossed) do
  for _, seed in ipairs(others) do add(set, seed, set .. "/" .. seed) end
  local reached = cross(rows, set)
  crosses[set] = reached
  print(("%-15s of other seeds: single %.2f, batch %.2f of the tuned seed's times"):format(set,
    reached.single_mlps, reached.batch_mlps))
  for what, value in pairs(reached) do
    report.at_least(("%s, %s of other seeds"):format(set, what:gsub("_mlps", "")), value, 0.8)
  end
end
report.finish({ sets = list, cross = crosses }, options.json)
os.exit(wrong == 0 and 0 or 1)

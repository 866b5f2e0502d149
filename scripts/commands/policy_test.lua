--- policy_test.lua - `bulkhead policy test DIR`: runs a set's own specs and says which rules they
--- never saw decide.
---
--- Specs are DIR/spec/*_spec.lua, run by busted with all that trusted Lua may do. So root does not
--- run those that another may have written, unless told to trust them; and busted is kept from what it
--- would run of the directory that one happens to stand in (.busted, src).
local bulkhead = require "bulkhead"
local compare = require "compare"
local json = require "json"
local lfs = require "lfs"
local policies = require "policies"
local prove = require "bulkhead.prove"
local refuse = require "refuse"
local session = require "session"
local show = require "show"

local test = { name = "test", summary = "Runs a set's own specs." }

function test.options(parser)
  parser:argument("DIR", "The policy set; its specs are in DIR/spec."):target "dir"
  parser:flag("--trust", "As root, run specs that others own.")
end

local ORDER = {
  "set", "passed", "skipped", "failures", "errors", "rules", "decided", "never", "name", "message", "rule", "origin",
}

--- Whoever can change a file of the specs, or put another in its place, can have root run what they like.
local function refuse_strangers(paths)
  local self = lfs.attributes("/proc/self")
  if not self or self.uid ~= 0 then
    return
  end
  for _, path in ipairs(paths) do
    local whose = refuse.check(bulkhead.stranger(path))
    if whose ~= "" then
      refuse.world(("%s is not root's alone, and its specs would run as root; --trust runs them"):format(whose))
    end
  end
end

--- All that is in a directory, whatever it is for.
local function add_tree(dir, paths)
  for name in lfs.dir(dir) do
    if name ~= "." and name ~= ".." then
      local path = dir .. "/" .. name
      paths[#paths + 1] = path
      if lfs.attributes(path, "mode") == "directory" and lfs.symlinkattributes(path, "mode") == "directory" then
        add_tree(path, paths)
      end
    end
  end
end

--- The specs of a set, and all paths whose owners are answerable for them.
local function find_specs(dir)
  local specs, paths = {}, { dir .. "/spec" }
  if lfs.attributes(dir .. "/spec", "mode") ~= "directory" then
    refuse.world(("%s has no specs (spec/NAME_spec.lua)"):format(policies.name(dir)))
  end
  add_tree(dir .. "/spec", paths)
  table.sort(paths)
  for _, path in ipairs(paths) do
    specs[#specs + 1] = path:find("^[^/.][^/]*_spec%.lua$", #dir + #"/spec/" + 1) and path or nil
  end
  return specs, paths
end

--- Runs busted on the specs; its exit status. It ends by os.exit, which is caught here.
local function run_busted(dir, specs)
  local exit, done = os.exit, {}
  local found, runner = pcall(require, "busted.runner")
  if not found then
    refuse.world "busted is not installed; policy specs are run by it"
  end
  local given = table.move(arg, 0, #arg, 0, {})
  for i = #arg, 1, -1 do
    rawset(arg, i, nil)
  end
  local output = session.json and "spec_results" or "plainTerminal"
  local words = {
    "--output=" .. output, "--no-auto-insulate", "--config-file=" .. session.root .. "/scripts/spec_config.lua",
    ("--lpath=%s/spec/?.lua"):format(dir), ("--cpath=%s/spec/?.so"):format(dir), table.unpack(specs),
  }
  table.move(words, 1, #words, 1, arg)
  os.exit = function(status) -- luacheck: ignore
    done.status = status
    error(done)
  end
  local ok, why = pcall(runner, { standalone = false })
  os.exit = exit -- luacheck: ignore
  for i = #arg, 1, -1 do
    rawset(arg, i, nil)
  end
  table.move(given, 0, #given, 0, arg)
  if not ok and why ~= done then
    error(why, 0)
  end
  return (done.status == nil or done.status == true or done.status == 0) and 0 or 1
end

--- The rules of the set that never decided: those of any container policy on any driver.
local function never_decisive(dir, decided)
  local seen, list, total = {}, {}, 0
  for _, who in ipairs(compare.everybody(compare.names(dir, "container"))) do
    local world = compare.world(dir, who)
    for _, rule in ipairs(world and prove.rules(world.gate) or {}) do
      local key = (rule.origin or "") .. "\0" .. (rule.name or "")
      if not seen[key] then
        seen[key] = true
        total = total + 1
        list[#list + 1] = not decided[key] and rule or nil
      end
    end
  end
  return list, total
end

function test.run(args)
  local dir = session.policy_set(args.dir)
  local specs, paths = find_specs(dir)
  if not args.trust then
    refuse_strangers(paths)
  end
  local policy_spec = require "policy_spec"
  policy_spec.dir = dir
  local status = run_busted(dir, specs)
  local missed, total = never_decisive(dir, policy_spec.decided)
  local never, lines = {}, { ("rules that decided: %d of %d\n"):format(total - #missed, total) }
  for i, rule in ipairs(missed) do
    never[i] = { rule = rule.name or json.null, origin = rule.origin or json.null }
    lines[#lines + 1] = ("  never: %s %s\n"):format(rule.origin or "?", show.clean(rule.name or ""))
  end
  local value = policy_spec.results or { passed = 0, skipped = 0, failures = {}, errors = {} }
  value.set, value.rules, value.decided, value.never = policies.name(dir), total, total - #missed, never
  session.print(value, table.concat(lines), ORDER)
  return status
end

return test

--- policy_reload.lua - `bulkhead policy reload [DIR]`: another policy for containers that are there.
local refuse = require "refuse"
local rule_text = require "rule_text"
local session = require "session"
local show = require "show"
local validate = require "validate"

local reload = {
  name = "reload", summary = "Replace the policy of live containers, of all or of none.",
}

function reload.options(parser)
  parser:argument("dir", "The policy set; default each container's own, read again."):args "?"
  parser:option("--container", "Only this one; may be repeated."):argname "C":count "*"
    :target "containers"
  parser:flag("--audit", "What would be blocked passes, and is recorded, until the next reload.")
  parser:flag("--dry-run", "Tell what would change, and change nothing."):target "dry"
end

local ORDER = {
  "container", "name", "endpoint", "policies", "changed", "fields", "field", "from", "to", "added",
  "removed", "ends",
}

local function rule_line(mark, rule)
  local parts = { mark, rule.action, rule.direction == "inbound" and "in" or "out", rule_text.matches(rule) }
  if rule.name then
    parts[#parts + 1] = ("'%s'"):format(show.clean(rule.name))
  end
  parts[#parts + 1] = rule.origin and "(" .. show.clean(rule.origin) .. ")"
  return table.concat(parts, " ")
end

local function describe(change)
  local lines = {}
  for _, each in ipairs(change.fields) do
    lines[#lines + 1] = ("  ~ %s: %s -> %s"):format(each.field, each.from == "" and "none" or each.from,
      each.to == "" and "none" or each.to)
  end
  for _, rule in ipairs(change.removed) do
    lines[#lines + 1] = show.colour("red", rule_line("  -", rule))
  end
  for _, rule in ipairs(change.added) do
    lines[#lines + 1] = show.colour("green", rule_line("  +", rule))
  end
  for _, packet in ipairs(change.ends or {}) do
    lines[#lines + 1] = "  ends: " .. packet
  end
  local head = ("%s, endpoint %d: "):format(show.clean(change.name), change.endpoint)
  if #lines == 0 then
    return head .. (change.lines and "only lines of the policy moved" or "nothing changes") .. "\n"
  end
  return head .. ("%s added, %d removed\n"):format(show.count(#change.added, "rule"), #change.removed)
    .. table.concat(lines, "\n") .. "\n"
end

local function for_json(change)
  return {
    container = change.container, name = change.name, endpoint = change.endpoint,
    policies = change.policies, changed = change.differs or change.lines, fields = change.fields,
    added = change.added, removed = change.removed, ends = change.ends,
  }
end

function reload.run(args)
  local who = {}
  for i, name in ipairs(args.containers) do
    who[i] = refuse.parsed(validate.id(name))
  end
  local dir = args.dir and session.policy_set(args.dir)
  session.with_host(not args.dry and "existing", function(host)
    local module = require "reload"
    local ids = {}
    for i, name in ipairs(who) do
      ids[i] = refuse.check(host:container(name)).id
    end
    local changes = refuse.check(module.plan(host, {
      dir = dir, containers = #ids > 0 and ids or nil,
      audit = args.audit, flows = args.dry,
    }))
    if not args.dry and session.exists() then
      refuse.check(module.apply(host, changes))
    end
    local list, texts = {}, {}
    for i, change in ipairs(changes) do
      list[i], texts[i] = for_json(change), describe(change)
    end
    session.print(list, table.concat(texts), ORDER)
  end)
end

return reload

--- policy_diff.lua - `bulkhead policy diff A B [WHO]`: what two sets make of packets differently.
local compare = require "compare"
local json = require "json"
local policies = require "policies"
local refuse = require "refuse"
local session = require "session"
local show = require "show"
local validate = require "validate"

local diff = { name = "diff", summary = "Says exactly what another set would change." }

function diff.options(parser)
  parser:argument("a", "The policy set as it is."):argname "A"
  parser:argument("b", "The policy set as it would be."):argname "B"
  parser:argument("who", "A live container's name, id or prefix."):argname "WHO":args "?"
  parser:option("--type", "Imagine a container: process or hyperv."):argname "T"
  parser:option("--network", "A driver; default each."):argname "N"
  parser:option("--address", "Its address; default any. May be repeated.")
    :argname "A[/LEN]":count "*":target "addresses"
  parser:option("--publish", "A port it publishes; may be repeated."):argname "P":count "*"
  parser:option("--policy", "The container policy; default the type."):argname "NAME"
  parser:flag("--exit-code", "Exit with 1 where the sets differ.")
end

local function directory(path)
  local dir = session.absolute(path)
  if require("lfs").attributes(dir, "mode") ~= "directory" then
    refuse.input(("%s is not a directory"):format(validate.quoted(path)))
  end
  return dir
end

local function has(list, name)
  for _, each in ipairs(list) do
    if each == name then
      return true
    end
  end
  return false
end

--- The container policies to compare, and those that only one set has.
local function choose_policies(args, a, b)
  if args.policy or args.type then
    local kind = refuse.parsed(validate.type(args.type or "process"))
    return { args.policy and refuse.parsed(validate.policy_name(args.policy)) or kind }, {}
  end
  local both, alone = {}, {}
  local of_a, of_b = compare.names(a, "container"), compare.names(b, "container")
  for _, name in ipairs(of_a) do
    if has(of_b, name) then
      both[#both + 1] = name
    else
      alone[#alone + 1] = { policy = name, only = "a" }
    end
  end
  for _, name in ipairs(of_b) do
    if not has(of_a, name) then
      alone[#alone + 1] = { policy = name, only = "b" }
    end
  end
  return both, alone
end

--- Everybody the arguments speak of; what they have in common is taken from them.
local function imagine(args, names)
  local list = compare.everybody(names)
  local driver = args.network and refuse.parsed(validate.driver(args.network))
  local addresses, texts, chosen = {}, {}, {}
  for i, address in ipairs(args.addresses) do
    addresses[i] = refuse.parsed(validate.address(address, true))
  end
  for _, text in ipairs(args.publish) do
    local parts = validate.list(text)
    table.move(parts, 1, #parts, #texts + 1, texts)
  end
  local published = refuse.parsed(validate.published(texts))
  for _, who in ipairs(list) do
    if not driver or who.driver == driver then
      who.addresses, who.published = addresses, published
      who.type = args.type or who.type
      chosen[#chosen + 1] = who
    end
  end
  return chosen
end

local function decided(decider)
  local verdict = decider.action == "allow" and "allowed" or "blocked"
  local by = decider.rule and ("'%s'"):format(show.clean(decider.rule)) or decider.by
  return ("      %s by %s %s"):format(verdict .. (decider.audit and " (audited)" or ""), by,
    show.clean(decider.origin or "the gate"))
end

local function add_classes(lines, title, classes)
  if #classes == 0 then
    return
  end
  lines[#lines + 1] = show.colour(title == "newly allowed" and "green" or "red", "  " .. title .. ":")
  for _, class in ipairs(classes) do
    lines[#lines + 1] = show.wrap({ "    " .. compare.describe(class) }, 100, "      ")
    lines[#lines + 1] = "      " .. class.example
    lines[#lines + 1] = decided(class.before)
    lines[#lines + 1] = decided(class.after)
  end
end

--- One comparison for people, without whose it is.
local function body(result)
  local lines = {}
  add_classes(lines, "newly allowed", result.allowed)
  add_classes(lines, "newly blocked", result.blocked)
  for _, option in ipairs(result.options) do
    lines[#lines + 1] = ("  %s: %s -> %s"):format(option.name, tostring(option.before),
      tostring(option.after))
  end
  return table.concat(lines, "\n")
end

local function name_of(who)
  return who.name or who.policy or who.type
end

--- Whose comparisons come out alike are told together.
local function text_of(results, alone, a, b)
  local groups, order = {}, {}
  for _, result in ipairs(results) do
    local key = name_of(result.who) .. "\n" .. body(result)
    if not groups[key] then
      groups[key] = { who = name_of(result.who), result = result, networks = {} }
      order[#order + 1] = groups[key]
    end
    table.insert(groups[key].networks, result.who.driver or result.who.network.name)
  end
  local blocks = {}
  for i, group in ipairs(order) do
    local head = ("%s on %s:"):format(group.who, table.concat(group.networks, ", "))
    blocks[i] = group.result.same and head .. " the same\n" or head .. "\n" .. body(group.result) .. "\n"
  end
  for _, each in ipairs(alone) do
    blocks[#blocks + 1] = ("%s: only %s has it\n"):format(each.policy, each.only == "a" and a or b)
  end
  return table.concat(blocks, "\n")
end

local ORDER = {
  "a", "b", "same", "compared", "who", "policy", "network", "newly_allowed", "newly_blocked",
  "options", "direction", "protocol", "local", "local_port", "remote", "remote_port", "icmp",
  "example", "before", "after", "action", "by", "rule", "origin", "audit", "only", "name",
}

local function or_null(value)
  if value == nil then
    return json.null
  end
  return value
end

local function class_value(class)
  local function side(decider)
    return {
      action = decider.action, by = decider.by, rule = or_null(decider.rule),
      origin = or_null(decider.origin), audit = decider.audit,
    }
  end
  local value = { direction = class.direction, example = class.example,
    before = side(class.before), after = side(class.after) }
  for _, field in ipairs { "protocol", "local", "local_port", "remote", "remote_port", "icmp" } do
    value[field] = or_null(class[field])
  end
  return value
end

local function value_of(results, alone, a, b, same)
  local compared = {}
  for i, result in ipairs(results) do
    local entry = {
      policy = result.who.policy or result.who.type,
      network = result.who.driver or result.who.network.name, same = result.same,
      newly_allowed = {}, newly_blocked = {}, options = {},
    }
    for j, class in ipairs(result.allowed) do
      entry.newly_allowed[j] = class_value(class)
    end
    for j, class in ipairs(result.blocked) do
      entry.newly_blocked[j] = class_value(class)
    end
    for j, option in ipairs(result.options) do
      entry.options[j] = {
        name = option.name, before = or_null(option.before), after = or_null(option.after),
      }
    end
    compared[i] = entry
  end
  return { a = a, b = b, same = same, compared = compared, only = alone }
end

function diff.run(args)
  local a, b = directory(args.a), directory(args.b)
  local asks = args.type or args.network or args.addresses[1] or args.publish[1] or args.policy
  if args.who and asks then
    refuse.input "WHO is either a live container or an imagined one, not both"
  end
  local everybody
  local alone = {}
  if args.who then
    local who = refuse.parsed(validate.id(args.who))
    everybody = { session.with_host(false, function(host)
      return refuse.check(compare.live(host, who))
    end) }
  else
    local names
    names, alone = choose_policies(args, a, b)
    everybody = imagine(args, names)
  end
  local results, same = {}, #alone == 0
  for i, who in ipairs(everybody) do
    results[i] = refuse.check(compare.one(a, b, who))
    results[i].who = who
    same = same and results[i].same
  end
  local shown_a, shown_b = policies.name(a), policies.name(b)
  session.print(session.json and value_of(results, alone, shown_a, shown_b, same),
    same and "the same\n" or text_of(results, alone, shown_a, shown_b), ORDER)
  return args.exit_code and not same and 1 or 0
end

return diff

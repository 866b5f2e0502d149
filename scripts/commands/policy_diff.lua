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
  parser:argument("A|B|WHO", "The policy set as it is, and as it would be. Alone: as it would be for live "
    .. "containers, by a reload; then live containers' names, ids or prefixes."):args "+":target "sets"
  parser:option("--type", "Imagine a container: process or hyperv."):argname "T"
  parser:option("--network", "A driver; default each."):argname "N"
  parser:option("--address", "Its address; default any. May be repeated.")
    :argname "A[/LEN]":count "*":target "addresses"
  parser:option("--publish", "A port it publishes; may be repeated."):argname "P":count "*"
  parser:option("--policy", "The container policy; default the type."):argname "NAME"
  parser:flag("--exit-code", "Exit with 1 where the sets differ.")
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
  local addresses, texts, chosen = refuse.parsed(validate.addresses(args.addresses)), {}, {}
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

local function add_classes(lines, title, classes, brief)
  if #classes == 0 then
    return
  end
  lines[#lines + 1] = show.colour(title == "newly allowed" and "green" or "red", "  " .. title .. ":")
  for _, class in ipairs(classes) do
    local words = {}
    for word in compare.describe(class):gmatch "%S+" do
      words[#words + 1] = word
    end
    words[1] = "    " .. words[1]
    lines[#lines + 1] = show.wrap(words, 80, "      ")
    lines[#lines + 1] = not brief and "      " .. class.example or nil
    lines[#lines + 1] = decided(class.before)
    lines[#lines + 1] = decided(class.after)
  end
end

local function option_text(value)
  if value == nil then
    return "default"
  end
  return value == "" and "none" or tostring(value)
end

--- One comparison for people, without whose it is; brief: without examples.
local function body(result, brief)
  local lines = {}
  add_classes(lines, "newly allowed", result.allowed, brief)
  add_classes(lines, "newly blocked", result.blocked, brief)
  for _, option in ipairs(result.options) do
    lines[#lines + 1] = ("  %s: %s -> %s"):format(option.name, option_text(option.before),
      option_text(option.after))
  end
  return table.concat(lines, "\n")
end

local function name_of(who)
  return who.name or who.policy or who.type
end

local function add_once(list, text)
  if not has(list, text) then
    list[#list + 1] = text
  end
end

--- Whose comparisons come out alike are told together.
local function text_of(results, alone, a, b)
  local groups, order = {}, {}
  for _, result in ipairs(results) do
    local network = result.who.driver or result.who.network.name
    -- Live containers are told by what changes for them, imagined ones by what they are.
    local live = result.who.endpoint
    local key = (live and network or name_of(result.who)) .. "\n" .. body(result, live)
    local group = groups[key] or { names = {}, result = result, networks = {} }
    if not groups[key] then
      groups[key] = group
      order[#order + 1] = group
    end
    add_once(group.names, show.clean(name_of(result.who)))
    add_once(group.networks, network)
  end
  local blocks = {}
  for i, group in ipairs(order) do
    local head = show.wrap({ table.concat(group.names, ", "), "on", table.concat(group.networks, ", ") .. ":" }, 80, "")
    blocks[i] = group.result.same and head .. " the same\n" or head .. "\n" .. body(group.result) .. "\n"
  end
  for _, each in ipairs(alone) do
    blocks[#blocks + 1] = ("%s: only %s has it\n"):format(each.policy, each.only == "a" and a or b)
  end
  return table.concat(blocks, "\n")
end

local ORDER = {
  "a", "b", "same", "compared", "container", "endpoint", "policy", "network", "newly_allowed", "newly_blocked",
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
      container = result.who.name, endpoint = result.who.endpoint,
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

--- Whether a word is a directory rather than a container.
local function is_directory(word)
  return word and (word:find("/", 1, true) or require("lfs").attributes(word, "mode") == "directory")
end

--- The words as one or two sets and containers.
local function sort_words(words)
  local a = session.policy_set(words[1])
  local b = is_directory(words[2]) and session.policy_set(words[2]) or nil
  local who = {}
  for i = b and 3 or 2, #words do
    who[#who + 1] = refuse.parsed(validate.id(words[i]))
  end
  return a, b, who
end

--- What a reload of the set would change for live containers.
local function of_reload(dir, names)
  return session.read(function(host)
    local ids = {}
    for i, name in ipairs(names) do
      local container, message, code = host:container(name)
      if code == "ENOENT" then
        message = ("%s is neither a directory nor a container"):format(validate.quoted(name))
      end
      ids[i] = refuse.check(container, message).id
    end
    return refuse.check(compare.reload(host, { dir = dir, containers = #ids > 0 and ids or nil }))
  end)
end

local function everybody_of(args, a, b, names)
  if #names == 0 then
    local policy_names, alone = choose_policies(args, a, b)
    return imagine(args, policy_names), alone
  end
  return session.read(function(host)
    local list = {}
    for i, name in ipairs(names) do
      list[i] = refuse.check(compare.live(host, name))
    end
    return list, {}
  end)
end

function diff.run(args)
  local a, b, names = sort_words(args.sets)
  local asks = args.type or args.network or args.addresses[1] or args.publish[1] or args.policy
  if asks and #names > 0 then
    refuse.input "WHO is either a live container or an imagined one, not both"
  elseif asks and not b then
    refuse.input "one set is compared with what is in force at live containers; for an imagined one give two sets"
  end
  local results, alone = {}, {}
  if b then
    local everybody
    everybody, alone = everybody_of(args, a, b, names)
    for i, who in ipairs(everybody) do
      results[i] = refuse.check(compare.one(a, b, who))
      results[i].who = who
    end
  else
    results = of_reload(a, names)
  end
  local same = #alone == 0
  for _, result in ipairs(results) do
    same = same and result.same
  end
  local shown_a, shown_b = b and policies.name(a) or "in force", policies.name(b or a)
  session.print(session.json and value_of(results, alone, shown_a, shown_b, same),
    same and "the same\n" or text_of(results, alone, shown_a, shown_b), ORDER)
  return args.exit_code and not same and 1 or 0
end

return diff

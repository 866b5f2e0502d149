--- policy_check.lua - `bulkhead policy check DIR`: what is wrong with a set before anyone runs under it.
---
--- The set is loaded as the engine would, for every container policy on every network driver, with
--- nothing published and with a port. An error is what refuses a container or does not do what it
--- says: a mistake, a rule that can match nothing, a rule that others with another verdict take
--- everything from. A warning is what changes nothing, or everything. What holds of a rule only on
--- some drivers is no finding. To try rules one by one takes long where thousands overlap: it has an end.
local compare = require "compare"
local filter = require "bulkhead.filter"
local lfs = require "lfs"
local policies = require "policies"
local prove = require "bulkhead.prove"
local refuse = require "refuse"
local roster = require "roster"
local session = require "session"
local show = require "show"
local validate = require "validate"

local check = { name = "check", summary = "Finds mistakes, and rules that can do nothing." }

function check.options(parser)
  parser:argument("DIR", "The policy set."):target "dir"
  parser:option("--seconds", "How long to try rules one by one, in processor time; default 30, 0 for no end.")
    :argname "N"
end

local FIELDS = { "protocol", "local", "local_port", "remote", "remote_port", "icmp" }

local function add(report, severity, origin, message)
  local key = ("%s %s"):format(origin, message)
  if not report.seen[key] then
    report.seen[key] = true
    table.insert(report.findings, { severity = severity, origin = origin, message = message })
  end
end

--- A message that begins with FILE:LINE as a finding.
local function add_message(report, severity, before, message)
  local origin, rest = message:match "^(.-%.lua:%d+): (.*)$"
  add(report, severity, origin or report.display, before .. (rest or message))
end

--- One rule wherever it is met: an origin may make several.
local function key_of(rule)
  local parts = { rule.origin or "", rule.action, rule.direction, rule.priority, rule.name or "" }
  for _, field in ipairs(FIELDS) do
    parts[#parts + 1] = rule[field] or ""
  end
  return table.concat(parts, "\0")
end

--- A gate of the world's kind with just these rules.
local function gate_of(world, rules)
  local subnets, gateways = { "fe80::/64" }, {}
  for i, subnet in ipairs(world.network.subnets) do
    subnets[i + 1], gateways[i] = subnet.prefix, subnet.gateway
  end
  return assert(filter.gate {
    rules = rules, default = world.default,
    words = { LocalSubnet = subnets, DefaultGateway = gateways, DNS = gateways, DHCP = gateways },
  })
end

local function named(rule)
  local name = rule.name and ("'%s'"):format(show.clean(rule.name)) or "a rule without a name"
  return rule.origin and ("%s (%s)"):format(name, rule.origin) or name
end

--- Who takes everything from a rule: nobody (it matches nothing), one, or several together.
local function shadowed_by(world, rules, at)
  local rule = rules[at]
  local alone = gate_of(world, { rule })
  if prove.shadowed(alone, prove.rules(alone)[1].id) then
    return nil
  end
  for i = 1, at - 1 do
    if rules[i].direction == rule.direction then
      local two = gate_of(world, { rules[i], rule })
      if prove.shadowed(two, prove.rules(two)[2].id) then
        return named(rules[i])
      end
    end
  end
  return "the rules before it together"
end

--- Whether all the rule could match is neighbour discovery, which no rule is asked about.
local function is_neighbour_discovery(rule)
  return rule.protocol == "icmp6" and rule.icmp ~= nil
    and rule.icmp:gsub("%s", ""):gsub("13[56][:%d]*,?", "") == ""
end

--- "everything", or a whole family, if a rule allows all of it.
local function width_of(world, rule)
  local alone = gate_of({ network = world.network, default = { inbound = { action = "block" },
    outbound = { action = "block" } } }, { rule })
  local four = prove.permits(alone, { direction = rule.direction, remote = "0.0.0.0/0" })
  local six = prove.permits(alone, { direction = rule.direction, remote = "::/0" })
  return four and six and "everything" or four and "all of IPv4" or six and "all of IPv6" or nil
end

--- What is said of a rule in one world: severity, message; nothing if it is well.
local function judge(world, rules, at)
  local rule = rules[at]
  local name = rule.name and ("'%s'"):format(show.clean(rule.name)) or "this rule"
  local shadowed, message, code = prove.shadowed(world.gate, rule.id)
  if shadowed == nil then
    refuse.check(nil, message, code)
  end
  local default = world.default[rule.direction].action
  if shadowed then
    local by = shadowed_by(world, rules, at)
    if by then
      local agrees = rule.action == "allow" and prove.permits or prove.forbids
      local same = agrees(world.gate, rule)
      return same and "warning" or "error",
        ("%s never decides: shadowed by %s%s"):format(name, by, same and ", as what it says is said already" or "")
    elseif is_neighbour_discovery(rule) then
      return "warning", name .. " never decides: neighbour discovery passes before rules are asked"
    end
    return "error", name .. " can never match: no packet is all that it asks for"
  elseif rule.priority == 65535 then
    return -- stands behind all others to be seen in `rules`, as the overlay's
  elseif prove.idle(world.gate, rule.id) then
    local done = rule.action == "allow" and "allows is allowed" or "blocks is blocked"
    local wide = rule.action == default and (", by the default (%s)"):format(
      world.default[rule.direction].origin) or ""
    return "warning", ("%s changes nothing: what it %s without it%s"):format(name, done, wide)
  end
  local wide = rule.action == "allow" and default == "block" and width_of(world, rule)
  if wide then
    return "warning", ("%s is as wide as %s, so that the default (%s) decides nothing%s"):format(name, wide,
      world.default[rule.direction].origin, wide == "everything" and "" or " of it")
  end
end

--- Takes note of each rule of a world.
local function review(report, world)
  local rules = prove.rules(world.gate)
  for at, rule in ipairs(rules) do
    local key = key_of(rule)
    local entry = report.rules[key]
    if not entry then
      entry = { origin = rule.origin, well = false }
      report.rules[key] = entry
      table.insert(report.order, entry)
    end
    if not entry.well and report.ends and os.clock() > report.ends then
      entry.untried = not entry.message
    elseif not entry.well then
      local severity, message = judge(world, rules, at)
      entry.well = severity == nil
      if entry.severity ~= "error" then
        entry.severity, entry.message = severity, message
      end
    end
  end
end

--- Takes note of the files that were read, as names in the set; runs the handlers that a container's
--- end is told to, whose failure refuses nothing and is only logged.
local function note_files(report, dir, who)
  local loaded = policies.load(dir, who.policy, who.driver)
  if not loaded then
    return
  end
  for _, file in ipairs(loaded.loaded:files()) do
    report.read[file.name] = true
  end
  local view = roster.container_view { id = "imagined", type = who.type, published = who.published }
  local endpoint = roster.endpoint_view {
    addresses = { "172.16.0.2/16" }, mac = "02:00:00:00:00:02", network = who.driver,
  }
  for _, event in ipairs { "stop", "detach", "remove" } do
    local added, message = loaded:run(event, view, event ~= "remove" and endpoint or nil)
    if not added then
      add_message(report, "error", ("the handler of `%s` fails: "):format(event), message)
    end
  end
  loaded:close()
end

local function check_files(report, dir)
  for _, name in ipairs(compare.names(dir, "network")) do
    if not validate.driver(name) then
      add(report, "warning", ("%s/network/%s.lua:1"):format(report.display, name),
        ("is never read, nor its handlers reached: there is no network driver '%s' (there are: %s)")
          :format(name, table.concat(validate.DRIVERS, ", ")))
    end
  end
  for _, name in ipairs(compare.names(dir, "container")) do
    if not validate.policy_name(name) then
      add(report, "warning", ("%s/container/%s.lua:1"):format(report.display, name),
        "is never read, nor its handlers reached: no container can name this policy")
    end
  end
  local names = {}
  for name in lfs.dir(dir) do
    if name:find "^[^.].*%.lua$" and not report.read[name] then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    add(report, "warning", ("%s/%s:1"):format(report.display, name), "is required by no policy of the set")
  end
end

--- Everything that is to be said of a set.
---@param dir string whole path
---@param seconds? number of processor time, after which rules are tried no more; 0: no end, the default
---@return { severity: "error"|"warning", origin: string, message: string }[]
function check.findings(dir, seconds)
  local report = {
    ends = (seconds or 0) > 0 and os.clock() + seconds,
    display = policies.name(dir), findings = {}, seen = {}, rules = {}, order = {}, read = {},
  }
  local names = compare.names(dir, "container")
  if #names == 0 then
    add(report, "error", report.display, "the set has no container policies (container/NAME.lua)")
  end
  local loads = true
  for _, who in ipairs(compare.everybody(names)) do
    local world, message = compare.world(dir, who)
    if world then
      review(report, world)
      note_files(report, dir, who)
      who.published = { { host = 8080, container = 80, protocol = "tcp" } }
      local open, why = compare.world(dir, who)
      if not open then
        add_message(report, "warning", "a container that publishes a port is refused: ", why)
      end
    else
      loads = false
      add_message(report, "error", "", message)
    end
  end
  local untried = 0
  for _, entry in ipairs(report.order) do
    if entry.untried then
      untried = untried + 1
    elseif not entry.well then
      add(report, entry.severity, entry.origin or report.display, entry.message)
    end
  end
  if untried > 0 then
    add(report, "warning", report.display, ("%s of %d not tried one by one: that takes more than %.0f seconds of "
      .. "processor time (`--seconds 0` tries all)"):format(show.count(untried, "rule"), #report.order, seconds))
  end
  if loads then
    check_files(report, dir)
  end
  return report.findings
end

function check.run(args)
  local dir = session.directory(args.dir)
  local seconds = refuse.parsed(validate.number(args.seconds or "30", "number of seconds", 0, 1000000))
  local findings, lines, errors = check.findings(dir, seconds), {}, 0
  for i, finding in ipairs(findings) do
    errors = errors + (finding.severity == "error" and 1 or 0)
    lines[i] = ("%s: %s: %s"):format(show.clean(finding.origin),
      show.colour(finding.severity == "error" and "red" or "yellow", finding.severity),
      show.clean(finding.message))
  end
  lines[#lines + 1] = ("%s: %s, %s"):format(policies.name(dir), show.count(errors, "error"),
    show.count(#findings - errors, "warning"))
  session.print({ set = policies.name(dir), errors = errors, warnings = #findings - errors,
    findings = findings }, table.concat(lines, "\n") .. "\n",
    { "set", "errors", "warnings", "findings", "severity", "origin", "message" })
  return errors > 0 and 1 or 0
end

return check

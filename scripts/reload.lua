--- reload.lua - another policy for containers that are there: what it would change, and doing it.
---
--- Everything is loaded, checked and run before the host's lock is taken: each file of each set, and
--- for each endpoint a fresh state in which `create`, `attach` and `start` are run as they were when
--- it came, for the containers that share it too. What comes out is held against what is in force;
--- endpoints for which nothing changes are left alone. The others change together or not at all
--- (host:change_endpoint).
local lfs = require "lfs"
local filter = require "bulkhead.filter"
local lifecycle = require "lifecycle"
local lists = require "lists"
local notation = require "notation"
local policies = require "policies"
local reach = require "reach"
local roster = require "roster"

local reload = {}

local FIELDS = {
  "action", "direction", "protocol", "local", "local_port", "remote", "remote_port", "icmp",
  "priority", "name", "log", "audit",
}
local OPTIONS = { "antispoof", "router", "dhcp_server", "audit", "direct" }
local TIMEOUTS = {
  syn = 60, established = 86400, closing = 60, reset = 10, udp = 30, udp_answered = 180, icmp = 30,
  other = 60,
}
local FLOWS = 65536

--- Names of the policies in a folder of a set.
local function names_in(dir, folder)
  local names = {}
  if lfs.attributes(dir .. "/" .. folder, "mode") == "directory" then
    for file in lfs.dir(dir .. "/" .. folder) do
      names[#names + 1] = file:match "^([^.].*)%.lua$"
    end
  end
  table.sort(names)
  return names
end

--- Loads every container policy of a set with every network file of it.
---@return true?
---@return string? message
---@return string? code
local function check_set(dir)
  local drivers = names_in(dir, "network")
  drivers[#drivers + 1] = "nat"
  local containers = names_in(dir, "container")
  if #containers == 0 then
    return nil, ("%s is no policy set: it has no container policies"):format(policies.name(dir)), "ENOENT"
  end
  for _, name in ipairs(containers) do
    for _, driver in ipairs(drivers) do
      local set, message, code = policies.load(dir, name, driver)
      if not set then
        return nil, message, code
      end
      set:close()
    end
  end
  return true
end

local identities = setmetatable({}, { __mode = "k" })

--- One rule, as `normal` made it or the host told it, as a text that is equal for rules that do the same.
local function identity(rule)
  local text = identities[rule]
  if not text then
    local parts = {}
    for i, field in ipairs(FIELDS) do
      local value = rule[field]
      parts[i] = tostring(value == nil and field ~= "log" and field ~= "audit" and "" or value or false)
    end
    text = table.concat(parts, "\0")
    identities[rule] = text
  end
  return text
end

--- The same, of rules that were made by the same line.
local function identity_with_origin(rule)
  return identity(rule) .. "\0" .. (rule.origin or "")
end

--- What differs besides rules: { field, from, to }.
local function differences(endpoint, default, options)
  local list = {}
  local function note(field, from, to)
    if from ~= to then
      list[#list + 1] = { field = field, from = from, to = to }
    end
  end
  for _, direction in ipairs { "inbound", "outbound" } do
    note(direction, endpoint["default_" .. direction], default[direction].action)
  end
  for _, name in ipairs(OPTIONS) do
    note(name, endpoint[name], options[name] or false)
  end
  note("flows", endpoint.flows_limit, options.flows or FLOWS)
  note("reach", table.concat(endpoint.reach, ", "), table.concat(options.reach or {}, ", "))
  for _, name in ipairs(lists.sorted_keys(TIMEOUTS)) do
    note("timeouts." .. name, endpoint.timeouts[name], options.timeouts[name] or TIMEOUTS[name])
  end
  return list
end

--- Rules as they are stored, whatever way they were written.
local function normal(rules)
  local list = {}
  for i, rule in ipairs(rules) do
    local copy = {}
    for key, value in pairs(rule) do
      copy[key] = value
    end
    copy.priority = math.tointeger(copy.priority) or 1000
    copy.log, copy.audit = copy.log or false, copy.audit or false
    list[i] = copy
  end
  return list
end

--- Fills in which flows changes would end, by the gate or by what networks reach; `endpoints` are the
--- changes' own. All flows are looked at once, however many changes there are.
local function add_ends(host, changes, endpoints)
  local networks, of_endpoint, gates, ending, out_of_reach = {}, {}, {}, {}, reach.ending(host, changes)
  for _, network in ipairs(host:networks()) do
    networks[network.name] = network
  end
  for _, change in ipairs(changes) do
    of_endpoint[change.endpoint], ending[change] = change, {}
  end
  local function gate_of(change)
    local endpoint = endpoints[change]
    gates[change] = gates[change] or filter.gate {
      mac = endpoint.mac, addresses = endpoint.addresses, default = change.default,
      options = { antispoof = false, audit = change.options.audit }, rules = change.rules,
      own = change.own, words = require("worlds").words(networks[endpoint.network]),
    }
    return gates[change]
  end
  host:flows(nil, function(flow)
    local change = of_endpoint[flow.endpoint]
    local judgement = change and not flow.blocked and gate_of(change):judge(notation.opener(flow))
    if judgement and (judgement.verdict == "block" or out_of_reach(flow, endpoints[change].network)) then
      table.insert(ending[change], flow)
    end
  end)
  for change, flows in pairs(ending) do
    change.ends = {}
    for i, flow in ipairs(notation.sort(flows)) do
      change.ends[i] = notation.opener(flow)
    end
  end
end

--- What a set says of all containers of a policy on networks of a driver, and whether it has handlers that
--- would add to it: those are run in a state of their own for each endpoint.
---@class outcome
---@field hash string
---@field default table
---@field options table
---@field rules rule[]
---@field normal rule[] the same as they are stored
---@field handled boolean

local TOLD = { "create", "attach", "start" }

local function outcome_of(set, audit)
  local outcome = {
    hash = set:hash(), default = set:default(), options = set:options(), rules = set:rules(), handled = false,
  }
  outcome.options.audit = outcome.options.audit or audit or false
  outcome.normal = normal(outcome.rules)
  for _, event in ipairs(TOLD) do
    outcome.handled = outcome.handled or set:handles(event)
  end
  return outcome
end

--- Asks a container's set; `tell` is called with it where it has handlers. Sets that are edited meanwhile
--- are refused.
---@param asked { audit: boolean?, [string]: outcome } what sets said so far
---@return outcome?
local function ask(container, dir, driver, asked, tell)
  local key = table.concat({ dir, container.policy, driver }, "\0")
  local outcome, ok = asked[key], true
  if outcome and not outcome.handled then
    return outcome
  end
  local set, message, code = policies.load(dir, container.policy, driver)
  if not set then
    return nil, message, code
  end
  outcome = outcome or outcome_of(set, asked.audit)
  asked[key] = outcome
  if outcome.hash ~= set:hash() then
    ok, message, code = nil,
      ("policy set %s is being changed; nothing was reloaded"):format(policies.name(dir)), "EAGAIN"
  elseif outcome.handled then
    ok, message, code = tell(set)
  end
  set:close()
  return ok and outcome, message, code
end

--- Runs the events that the handlers of a container were told about an endpoint; adds the rules to
--- `own`. Who shares an endpoint is not told `attach`; who has not started yet will be told.
local function tell(set, container, endpoint, own)
  local view, seen = lifecycle.container_view(container), lifecycle.endpoint_view(endpoint)
  local owner = endpoint.container == container.id
  local started = (owner and endpoint.phase or container.phase) ~= "attached"
  for _, event in ipairs(TOLD) do
    if event == "create" or event == "attach" and owner or event == "start" and started then
      local added, message, code = set:run(event, view, event ~= "create" and seen or nil)
      if not added then
        return nil, message, code
      end
      table.move(added, 1, #added, #own + 1, own)
    end
  end
  return true
end

--- What the sets say of one endpoint: that of the container it came with, and what the handlers of
--- those that share it add.
---@param sharers container[]
---@param dir_of fun(container): string
local function change_of(container, endpoint, sharers, dir_of, asked)
  local own = {}
  local function said(by)
    local outcome, message, code = ask(by, dir_of(by), endpoint.driver, asked, function(set)
      return tell(set, by, endpoint, own)
    end)
    return outcome, outcome and message or ("container '%s': %s"):format(by.name, message), code
  end
  local outcome, message, code = said(container)
  for _, sharer in ipairs(outcome and sharers or {}) do
    local ok
    ok, message, code = said(sharer)
    if not ok then
      return nil, message, code
    end
  end
  return outcome and {
    container = container.id, name = container.name, endpoint = endpoint.id, policies = dir_of(container),
    default = outcome.default, options = outcome.options, rules = outcome.rules, own = own,
    normal = outcome.normal,
  }, message, code
end

--- Notes what would be different: rules added and removed, fields, whether anything is to be done.
local function compare(host, endpoint, change)
  local old, message, code = host:rules(endpoint.id, true)
  if not old then
    return nil, message, code
  end
  local new = table.move(change.normal, 1, #change.normal, 1, {})
  table.move(normal(change.own), 1, #change.own, #new + 1, new)
  change.added, change.removed = lists.missing(new, old, identity), lists.missing(old, new, identity)
  change.fields = differences(endpoint, change.default, change.options)
  change.differs = #change.added + #change.removed + #change.fields > 0
  change.lines = #lists.missing(new, old, identity_with_origin) > 0
    or endpoint.default_inbound_origin ~= change.default.inbound.origin
    or endpoint.default_outbound_origin ~= change.default.outbound.origin
  return true
end

--- The containers that share the endpoints of their compartment, by compartment; and endpoints by container.
local function ways_of(host, containers)
  local own, sharers = {}, {}
  for _, endpoint in ipairs(host:endpoints()) do
    own[endpoint.container] = own[endpoint.container] or {}
    table.insert(own[endpoint.container], endpoint)
  end
  for _, container in ipairs(containers) do
    if not own[container.id] then
      sharers[container.compartment] = sharers[container.compartment] or {}
      table.insert(sharers[container.compartment], container)
    end
  end
  return sharers, own
end

local function is_any(wanted, container, sharers)
  local any = not wanted or wanted[container.id]
  for _, sharer in ipairs(sharers) do
    any = any or wanted[sharer.id]
  end
  return any
end

---@class reload_request
---@field dir? string the set; default each container's own
---@field containers? string[] ids; default all
---@field audit? boolean what would be blocked passes, and is recorded
---@field flows? boolean tell which flows would end

--- Checks the sets that the request is about, each once. Returns the containers to be moved to another.
local function check_sets(request, containers, wanted)
  local checked, found, moves = {}, {}, {}
  local function check(dir)
    local ok, message, code = true, nil, nil
    if not checked[dir] then
      ok, message, code = check_set(dir)
    end
    checked[dir] = ok
    return ok, message, code
  end
  if request.dir then
    local ok, message, code = check(request.dir)
    if not ok then
      return nil, message, code
    end
  end
  for _, container in ipairs(containers) do
    if not wanted or wanted[container.id] then
      local dir = request.dir or container.policies
      local ok, message, code = check(dir)
      if not ok then
        return nil, message, code
      end
      if dir ~= container.policies then
        -- One without an endpoint needs its policy the next time it gets one.
        local key = dir .. "\0" .. container.policy
        if not found[key] then
          ok, message, code = policies.load(dir, container.policy, "nat")
          if not ok then
            return nil, message, code
          end
          ok:close()
          found[key] = true
        end
        moves[#moves + 1] = { container = container.id, policies = dir }
      end
    end
  end
  return moves
end

--- What reload.plan() does, of a host that does not change meanwhile.
local function plan(host, request)
  local wanted, asked, containers = nil, { audit = request.audit }, {}
  for _, id in ipairs(request.containers or {}) do
    wanted = wanted or {}
    wanted[id] = true
  end
  for _, container in ipairs(host:containers()) do
    containers[#containers + 1] = container.status == "ready" and container or nil
  end
  local moves, message, code = check_sets(request, containers, wanted)
  if not moves then
    return nil, message, code
  end
  local function dir_of(container)
    return request.dir and (not wanted or wanted[container.id]) and request.dir or container.policies
  end
  local changes, endpoints = { moves = moves }, {}
  local by_compartment, own = ways_of(host, containers)
  for _, container in ipairs(containers) do
    local sharers = by_compartment[container.compartment] or {}
    if is_any(wanted, container, sharers) then
      for _, endpoint in ipairs(own[container.id] or {}) do
        local change
        change, message, code = change_of(container, endpoint, sharers, dir_of, asked)
        if not change then
          return nil, message, code
        end
        local compared
        compared, message, code = compare(host, endpoint, change)
        if not compared then
          return nil, message, code
        end
        changes[#changes + 1] = change
        endpoints[change] = endpoint
      end
    end
  end
  if request.flows then
    add_ends(host, changes, endpoints)
  end
  return changes
end

--- Loads, checks and compares; changes nothing.
---@param host host
---@param request reload_request
---@return table[]? changes one per endpoint; `moves`: containers that get another set
---@return string? message
---@return string? code
function reload.plan(host, request)
  return roster.steady(host, plan, host, request)
end

--- The part inside the transaction.
local function apply(host, changes)
  local there, known = {}, {}
  for _, endpoint in ipairs(host:endpoints()) do
    there[endpoint.id] = endpoint.status == "ready"
  end
  for _, container in ipairs(host:containers()) do
    known[container.id] = container.status == "ready"
  end
  for _, change in ipairs(changes) do
    if there[change.endpoint] and (change.differs or change.lines) then
      local ok, message, code = host:change_endpoint(change.endpoint, change)
      if not ok then
        return nil, message, code
      end
    end
  end
  for _, move in ipairs(changes.moves or {}) do
    if known[move.container] then
      local ok, message, code = host:set_policies(move.container, move.policies)
      if not ok then
        return nil, message, code
      end
    end
  end
  return true
end

--- Makes the changes real, all or none.
---@param host host opened for writing
---@param changes table[] of reload.plan
---@return true?
---@return string? message
---@return string? code
function reload.apply(host, changes)
  local ok, message, code = host:begin()
  if not ok then
    return nil, message, code
  end
  local sound
  sound, ok, message, code = pcall(apply, host, changes)
  if not sound then
    host:abort()
    error(ok, 0)
  elseif not ok then
    host:abort()
    return nil, message, code
  end
  return host:commit()
end

return reload

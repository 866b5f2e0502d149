--- rules.lua - `bulkhead rules [CONTAINER]`: an endpoint's rules in the order of precedence.
local refuse = require "refuse"
local rule_text = require "rule_text"
local session = require "session"
local show = require "show"
local validate = require "validate"

local rules = {}

function rules.options(parser)
  parser:argument("container", "Only this one's."):args "?"
end

local COLUMNS = {
  { title = "Prio", key = "priority", right = true },
  { title = "Action" },
  { title = "Dir", value = function(rule)
    return rule.direction == "inbound" and "in" or "out"
  end },
  { title = "Name" },
  { title = "Matches", value = rule_text.matches },
  { title = "Hits", right = true },
  { title = "Origin" },
}

local ORDER = {
  "container", "endpoint", "default", "inbound", "outbound", "rules", "id", "name", "action",
  "direction", "priority", "protocol", "local", "local_port", "remote", "remote_port", "icmp", "log",
  "audit", "origin", "own", "hits",
}

local function head(host, endpoint)
  local names = {}
  for _, container in ipairs(host:containers()) do
    names[container.id] = container.name
  end
  return ("%s, endpoint %d on %s: inbound %s (%s), outbound %s (%s)%s"):format(
    names[endpoint.container] or endpoint.container, endpoint.id, endpoint.network,
    endpoint.default_inbound, endpoint.default_inbound_origin or "-",
    endpoint.default_outbound, endpoint.default_outbound_origin or "-",
    endpoint.audit and "; audited: what would be blocked passes" or "")
end

local function default_of(endpoint, direction)
  return {
    action = endpoint["default_" .. direction], origin = endpoint["default_" .. direction .. "_origin"],
  }
end

function rules.run(args)
  local who = args.container and refuse.parsed(validate.id(args.container))
  session.read(function(host)
    local list, blocks = {}, {}
    for _, endpoint in ipairs(host:endpoints(who and refuse.check(host:container(who)).id)) do
      local found, message = host:rules(endpoint.id)
      if found or endpoint.status == "ready" then -- one that comes or goes need not have a gate
        refuse.check(found, message)
        list[#list + 1] = {
          container = endpoint.container, endpoint = endpoint.id, audit = endpoint.audit, rules = found,
          default = {
            inbound = default_of(endpoint, "inbound"), outbound = default_of(endpoint, "outbound"),
          },
        }
        blocks[#blocks + 1] = show.wrap({ head(host, endpoint):match "^(.-:) (.*,) (outbound .*)$" },
          show.width() or math.huge, "  ") .. "\n" .. show.table(COLUMNS, found, show.width())
      end
    end
    session.print(list, table.concat(blocks, "\n"), ORDER)
  end)
end

return rules

--- delta.lua - what a session changed, as the text of a policy: the rules it added as a policy would
--- make them; what a policy cannot say, as comments.
local lists = require "lists"
local notation = require "notation"
local rule_text = require "rule_text"
local show = require "show"

local delta = {}

local function command_of_network(network)
  local words = { "bulkhead network create", network.name, "--driver", network.driver }
  for _, subnet in ipairs(network.subnets) do
    words[#words + 1] = "--subnet " .. subnet.prefix
  end
  return table.concat(words, " ")
end

local function command_of_container(container, endpoints)
  local words = { "bulkhead container create", container.id, "--type", container.type }
  for _, entry in pairs(endpoints) do
    local endpoint = entry.after and entry.after.endpoint
    if endpoint and endpoint.container == container.id then
      words[#words + 1] = "--network " .. endpoint.network
      for _, address in ipairs(endpoint.addresses) do
        words[#words + 1] = "--address " .. address
      end
      break
    end
  end
  for _, port in ipairs(container.published) do
    local at = port.address and notation.socket(port.address, port.host) or port.host
    words[#words + 1] = ("--publish %s:%d/%s"):format(at, port.container, port.protocol)
  end
  return table.concat(words, " ")
end

local function existence(lines, kind, map, command)
  for _, key in ipairs(lists.sorted_keys(map)) do
    local entry = map[key]
    if entry.after and not entry.before then
      lines[#lines + 1] = ("-- %s '%s' was made: %s"):format(kind, show.clean(key), command(entry.after))
    elseif entry.before and not entry.after then
      lines[#lines + 1] = ("-- %s '%s' was removed"):format(kind, show.clean(key))
    elseif kind == "container" and entry.before and entry.before.policies ~= entry.after.policies then
      lines[#lines + 1] = ("-- container '%s' has policies %s now"):format(show.clean(key), entry.after.policies)
    end
  end
end

local function of_endpoint(lines, before, after)
  local text = {}
  for _, direction in ipairs { "inbound", "outbound" } do
    local was, is = before.endpoint["default_" .. direction], after.endpoint["default_" .. direction]
    if was ~= is then
      text[#text + 1] = ("-- default.%s = %q now, and was %q"):format(direction, is, was)
    end
  end
  for _, rule in ipairs(lists.missing(before.rules, after.rules, rule_text.of)) do
    text[#text + 1] = ("-- gone: %s%s"):format(rule_text.of(rule), rule.origin and " -- " .. rule.origin or "")
  end
  for _, rule in ipairs(lists.missing(after.rules, before.rules, rule_text.of)) do
    text[#text + 1] = rule_text.of(rule) .. ","
  end
  if #text > 0 then
    lines[#lines + 1] = ("-- container '%s', endpoint %d on %s:"):format(show.clean(after.endpoint.container),
      after.endpoint.id, after.endpoint.network)
    table.move(text, 1, #text, #lines + 1, lines)
  end
end

--- The text; empty if nothing was changed.
---@param record table of guarded.wrap
---@return string
function delta.text(record)
  local lines = {}
  existence(lines, "network", record.networks, command_of_network)
  existence(lines, "container", record.containers, function(container)
    return command_of_container(container, record.endpoints)
  end)
  for _, id in ipairs(lists.sorted_keys(record.endpoints)) do
    local entry = record.endpoints[id]
    if entry.after then
      of_endpoint(lines, entry.base, entry.after)
    end
  end
  return #lines > 0 and table.concat(lines, "\n") .. "\n" or ""
end

return delta

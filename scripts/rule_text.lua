--- rule_text.lua - rules made in a session as policies make them; rules as the text of a policy, and in
--- words.
local filter = require "bulkhead.filter"

local rule_text = {}

local FIELDS = {
  "protocol", "local", "local_port", "remote", "remote_port", "icmp", "priority", "name", "log", "audit",
}
local WORDS = {
  { "icmp", "type" }, { "local", "local" }, { "local_port", "local port" }, { "remote", "remote" },
  { "remote_port", "remote port" },
}
local KNOWN = {}
for _, field in ipairs(FIELDS) do
  KNOWN[field] = true
end

--- Whether a text is a whole number that can be written without quotes.
local function literal(text)
  text = tostring(text)
  return text:find "^%d+$" and text or ("%q"):format(text)
end

--- A field's value: a list where commas part several.
local function value_of(value)
  if type(value) == "boolean" then
    return tostring(value)
  end
  local parts = {}
  for part in tostring(value):gmatch "[^,]+" do
    parts[#parts + 1] = literal((part:gsub("^%s+", "")))
  end
  return #parts == 1 and parts[1] or "{ " .. table.concat(parts, ", ") .. " }"
end

--- A rule as a policy would make it, without a comma after it.
---@param rule rule
---@return string
function rule_text.of(rule)
  local parts = {}
  for _, field in ipairs(FIELDS) do
    local value = rule[field]
    local usual = value == nil or value == false or field == "priority" and tonumber(value) == 1000
    if not usual then
      local text = field == "name" and ("%q"):format(value) or value_of(value)
      parts[#parts + 1] = ("%s = %s"):format(field == "local" and '["local"]' or field, text)
    end
  end
  local fields = #parts > 0 and "{ " .. table.concat(parts, ", ") .. " }" or "{}"
  return ("%s.%s %s"):format(rule.action, rule.direction, fields)
end

--- What a rule, or a class of packets, matches, in words: `udp local port 68 remote port 67`.
---@param rule rule|difference_class of which `protocol` may also be what it is not: "!tcp,!udp"
---@return string
function rule_text.matches(rule)
  local protocol = rule.protocol or "any protocol"
  if protocol:sub(1, 1) == "!" then
    protocol = "any protocol but " .. protocol:gsub("!", "")
  end
  local words = { protocol }
  for _, pair in ipairs(WORDS) do
    local value = rule[pair[1]]
    words[#words + 1] = value and pair[2] .. " " .. value or nil
  end
  if rule.audit then
    words[#words + 1] = "(audit)"
  end
  return (table.concat(words, " "):gsub(",%s*", ", "))
end

--- The line of the chunk that called, as the origin of what it makes.
local function caller()
  for level = 3, 12 do
    local info = debug.getinfo(level, "Sl")
    if info and info.currentline > 0 and (info.source:sub(1, 1) == "=" or not info.short_src:find "scripts/") then
      return ("%s:%d"):format(info.short_src, info.currentline)
    end
  end
end

local function make(action, direction, fields)
  if type(fields) ~= "table" then
    error(("%s.%s takes a table of fields"):format(action, direction), 3)
  end
  local rule = { action = action, direction = direction, origin = caller() }
  for key, value in pairs(fields) do
    if not KNOWN[key] then
      error(("rule has no field '%s' (it may have: %s)"):format(tostring(key), table.concat(FIELDS, ", ")), 3)
    elseif type(value) == "table" then
      local parts = {}
      for i, each in ipairs(value) do
        parts[i] = tostring(each)
      end
      value = table.concat(parts, ",")
    elseif type(value) == "number" and key ~= "priority" then
      value = tostring(value)
    end
    rule[key] = value
  end
  local gate, message = filter.gate { rules = { rule } }
  if not gate then
    error(message, 3)
  end
  return rule
end

--- `allow` or `block` for a session: .inbound{} and .outbound{} check and give a rule.
---@param action "allow"|"block"
function rule_text.maker(action)
  return {
    inbound = function(fields)
      return make(action, "inbound", fields)
    end,
    outbound = function(fields)
      return make(action, "outbound", fields)
    end,
  }
end

return rule_text

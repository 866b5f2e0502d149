--- policy_spec.lua - what a policy's spec is written with: a table of packets and verdicts.
---
---   local packets = require "policy_spec"
---
---   describe("a web server", function()
---     packets({ type = "process", network = "nat", publish = { "8080:80/tcp" } }, {
---       { "in tcp 10.0.0.9:51000 -> 172.16.0.2:80", "allow", "published 8080" },
---       { "in tcp 10.0.0.9:51000 -> 172.16.0.2:81", "block", "default" },
---     })
---   end)
---
--- A row is a PACKET (or a list of them, of which earlier ones may start a flow), the verdict of the
--- firewall, and what decided: a rule's name or a word of `explain` such as default, flow, spoof. Each
--- row is a test. Who it is about: type, policy (default the type), network (a driver, default nat),
--- addresses (default the PACKETs' local sides), publish, annotations, labels.
local policy_spec = { dir = nil, decided = {}, results = nil }

--- Names of rules are many; of what decided both are right.
local function same(judgement, by)
  return by == nil or judgement.rule == by or judgement.by == by
end

local function imagine(who, parsed)
  local validate = require "validate"
  local published = assert(validate.published(who.publish or {}))
  return assert(require("worlds").imagined({
    type = who.type or "process", policy = who.policy, driver = who.network or "nat",
    addresses = who.addresses or {}, published = published, annotations = who.annotations,
    labels = who.labels, policies = policy_spec.dir,
  }, parsed))
end

local VERDICTS = { allow = true, block = true }

--- A row, if it is one; raises otherwise.
---@return string[] texts of its packets
local function check(row)
  local texts = type(row) == "table" and row[1]
  texts = type(texts) == "string" and { texts } or texts
  if type(texts) ~= "table" or #texts == 0 then
    error("a row is { PACKET or { PACKET, ... }, \"allow\" or \"block\", by }", 0)
  elseif not VERDICTS[row[2]] then
    error(("%s: the verdict %s is neither 'allow' nor 'block'"):format(texts[#texts],
      type(row[2]) == "string" and require("validate").quoted(row[2]) or tostring(row[2])), 0)
  elseif row[3] ~= nil and type(row[3]) ~= "string" then
    error(("%s: what decides is a rule's name or a word, not a %s"):format(texts[#texts], type(row[3])), 0)
  end
  return texts
end

--- What is not as a row says; nil if all is.
local function amiss(who, row)
  local filter = require "bulkhead.filter"
  local texts, parsed = check(row), {}
  for i, text in ipairs(texts) do
    local why
    parsed[i], why = filter.packet(text)
    if not parsed[i] then
      error(why, 0)
    end
  end
  local gate, judgement = imagine(who, parsed).gate, nil
  for _, text in ipairs(texts) do
    judgement = assert(gate:judge(text))
    if judgement.origin and judgement.by == "rule" then
      policy_spec.decided[judgement.origin .. "\0" .. (judgement.rule or "")] = true
    end
  end
  if judgement.verdict ~= row[2] or not same(judgement, row[3]) then
    return ("%s: expected %s%s, got %s by %s"):format(texts[#texts], row[2],
      row[3] and " by " .. row[3] or "", judgement.verdict,
      judgement.rule and ("'%s'"):format(judgement.rule) or judgement.by)
  end
end

--- Holds a row against the policy; raises, with the row's line, if it does not say so.
local function hold(who, row, where)
  local sound, why = pcall(amiss, who, row)
  if not sound then
    error(where .. tostring(why), 0)
  elseif why then
    require("busted").fail(where .. why, 0)
  end
end

--- Who calls, outside this file.
local function caller()
  local level, info = 2, debug.getinfo(2, "Sl")
  local own = info.source
  while info and (info.source == own or info.what == "C") do
    level = level + 1
    info = debug.getinfo(level, "Sl")
  end
  return info
end

--- Finds the lines that rows stand on, by their packets: Lua knows that of the call.
local function finder(info)
  local lines, first = {}, info and info.currentline or 0
  local file <close> = info and io.open(info.source:sub(2))
  for line in file and file:lines() or function() end do
    lines[#lines + 1] = line
  end
  local at = first - 1
  local function seek(text, from)
    for i = from, #lines do
      if lines[i]:find(text, 1, true) then
        return i
      end
    end
  end
  return function(row)
    local packets = type(row) == "table" and row[1]
    local text = type(packets) == "table" and packets[#packets] or packets
    local found = type(text) == "string" and (seek(text, at + 1) or seek(text, first))
    at = found or at
    return found or first
  end
end

--- Makes a test of each row.
---@param who table
---@param rows table[]
function policy_spec.packets(who, rows)
  local busted, info = require "busted", caller()
  local line_of = finder(info)
  local file = info and require("policies").name(info.source:sub(2)) or "?"
  for _, row in ipairs(rows) do
    local line = line_of(row)
    local packets = type(row) == "table" and row[1]
    local text = type(packets) == "table" and table.concat(packets, ", then ") or tostring(packets)
    -- As `it` does, but with the row for its place.
    busted.publish({ "register", "it" }, ("%s: %s"):format(tostring(type(row) == "table" and row[2]), text), function()
      hold(who, row, ("%s:%d: "):format(file, line))
    end, { short_src = file, currentline = line, traceback = "" })
  end
end

return setmetatable(policy_spec, {
  __call = function(_, who, rows)
    policy_spec.packets(who, rows)
  end,
})

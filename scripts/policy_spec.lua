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

--- Holds a row against the policy; raises if it does not say so.
local function hold(who, row)
  local filter = require "bulkhead.filter"
  local texts, parsed = type(row[1]) == "table" and row[1] or { row[1] }, {}
  for i, text in ipairs(texts) do
    parsed[i] = assert(filter.packet(text))
  end
  local gate, judgement = imagine(who, parsed).gate, nil
  for _, text in ipairs(texts) do
    judgement = assert(gate:judge(text))
    if judgement.origin and judgement.by == "rule" then
      policy_spec.decided[judgement.origin .. "\0" .. (judgement.rule or "")] = true
    end
  end
  if judgement.verdict ~= row[2] or not same(judgement, row[3]) then
    require("busted").fail(("%s: expected %s%s, got %s by %s"):format(texts[#texts], row[2],
      row[3] and " by " .. row[3] or "", judgement.verdict,
      judgement.rule and ("'%s'"):format(judgement.rule) or judgement.by), 0)
  end
end

--- Makes a test of each row.
---@param who table
---@param rows table[]
function policy_spec.packets(who, rows)
  local it = require("busted").it
  for _, row in ipairs(rows) do
    local texts = type(row[1]) == "table" and row[1] or { row[1] }
    it(("%s: %s"):format(row[2], table.concat(texts, ", then ")), function()
      hold(who, row)
    end)
  end
end

return setmetatable(policy_spec, {
  __call = function(_, who, rows)
    policy_spec.packets(who, rows)
  end,
})

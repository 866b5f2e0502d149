--- spec_results.lua - an output handler of busted that prints nothing: what came of a set's specs is left
--- in policy_spec.results, for `policy test --json`.
local base = require "busted.outputHandlers.base"
local policy_spec = require "policy_spec"

local function described(list)
  local out = {}
  for i, each in ipairs(list) do
    local message = each.message
    out[i] = { name = each.name, message = type(message) == "string" and message or require("pretty").line(message) }
  end
  return out
end

return function()
  local busted = require "busted"
  local handler = base()

  busted.subscribe({ "suite", "end" }, function()
    policy_spec.results = {
      passed = handler.successesCount, skipped = handler.pendingsCount,
      failures = described(handler.failures), errors = described(handler.errors),
    }
    return nil, true
  end)
  return handler
end

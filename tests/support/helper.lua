--- helper.lua - run by busted before any test: remembers how the machine was, and when all tests
--- have run holds it against that.
local busted = require "busted"
local leftovers = require "tests.support.leftovers"

local before = leftovers.look()

busted.subscribe({ "suite", "end" }, function(suite)
  local left = leftovers.since(before)
  if #left > 0 then
    busted.publish({ "error", "suite" }, { descriptor = "suite", name = "the run" }, suite,
      "it left behind:\n  " .. table.concat(left, "\n  "))
  end
  return nil, true
end, { priority = 1 })

--- policy.lua - `bulkhead policy check|test|diff`: policies as code. Each verb is a file of its own.
local verbs = {}

for i, name in ipairs { "check", "test", "diff" } do
  verbs[i] = require("policy_" .. name)
end

return { verbs = verbs }

--- refuse.lua - how a command says no: one sentence and an exit status, raised to the dispatcher.
---
--- Modules return `nil, message, code`; commands, which are a straight line from arguments to
--- output, turn that into a refusal with `check` (understood, exit 1) or `parsed` (did not parse,
--- exit 2).
local refuse = {}

local Refusal = { __name = "refusal" }
Refusal.__tostring = function(refusal)
  return refusal.message
end

local function raise(message, status)
  error(setmetatable({ message = message, status = status }, Refusal))
end

--- Refuses what was understood: exit 1.
function refuse.world(message)
  raise(message, 1)
end

--- Refuses arguments or input that do not parse: exit 2.
function refuse.input(message)
  raise(message, 2)
end

--- The values given, unless the first is nil or false: then the second is why, exit 1; but 2 if the code
--- that follows says that a file, a policy or a capture, does not parse.
function refuse.check(value, ...)
  if not value then
    raise((...) or "refused", select(2, ...) == "EBADMSG" and 2 or 1)
  end
  return value, ...
end

--- The values given, unless the first is nil or false: then the second is why, exit 2.
function refuse.parsed(value, ...)
  if not value then
    raise((...) or "does not parse", 2)
  end
  return value, ...
end

--- Whether an error is a refusal and not a mistake in a program.
function refuse.is(value)
  return getmetatable(value) == Refusal
end

return refuse

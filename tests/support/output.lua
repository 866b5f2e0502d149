--- output.lua - what busted prints here: a character a test, what failed, why anything was skipped
--- (each reason once), and last the line that tests/run.sh adds up.
local base = require "busted.outputHandlers.base"

local MARKS = { success = "+", failure = "-", error = "*", pending = "." }

local function text_of(message)
  return type(message) == "string" and message or require("pl.pretty").write(message)
end

local function write_failure(failure, verbose)
  local trace = failure.element.trace
  io.write("\n", failure.isError and "error: " or "failed: ", failure.name, "\n")
  if trace and trace.short_src then
    io.write("  ", trace.short_src, ":", trace.currentline or 0, "\n")
  end
  io.write(text_of(failure.message or "without a message"), "\n")
  if verbose and failure.trace and failure.trace.traceback then
    io.write(failure.trace.traceback, "\n")
  end
end

return function(options)
  local busted = require "busted"
  local handler = base()

  function handler.testEnd(_, _, status)
    io.write(MARKS[status] or "?")
    io.flush()
    return nil, true
  end

  function handler.suiteEnd()
    io.write "\n"
    for _, list in ipairs { handler.failures, handler.errors } do
      for _, failure in ipairs(list) do
        write_failure(failure, options.verbose)
      end
    end
    local reasons, order = {}, {}
    for _, pending in ipairs(handler.pendings) do
      local why = text_of(pending.message or pending.element.name):gsub("^[^%s:]+:%d+: ", "") -- where it was said
      if not reasons[why] then
        order[#order + 1] = why
      end
      reasons[why] = (reasons[why] or 0) + 1
    end
    for _, why in ipairs(order) do
      io.write(("skipped %d: %s\n"):format(reasons[why], why))
    end
    io.write(("%d passed, %d failed, %d skipped\n"):format(
      handler.successesCount, handler.failuresCount + handler.errorsCount, handler.pendingsCount))
    io.flush()
    return nil, true
  end

  busted.subscribe({ "test", "end" }, handler.testEnd, { predicate = handler.cancelOnPending })
  busted.subscribe({ "suite", "end" }, handler.suiteEnd)
  return handler
end

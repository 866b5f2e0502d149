--- repl.lua - the REPL: reads chunks, runs them beside a host, prints what comes back.
---
--- A chunk may take several lines; an expression needs no `=` or `return`. Errors are shown and do
--- not end it, nor does Ctrl-C, which ends what runs; end of input does. Without a terminal there are
--- no prompts, only values are printed, and the exit status says whether anything failed.
local completion = require "completion"
local console = require "bulkhead.console"
local line = require "line"
local pretty = require "pretty"
local session = require "session"
local show = require "show"
local workbench = require "workbench"

local repl = {}

--- Compiles what was typed. Third: whether more lines could make it whole.
---@return function? chunk
---@return string? message
---@return boolean? incomplete
function repl.compile(text, env)
  local chunk, as_expression = load("return " .. text, "=input", "t", env)
  if chunk then
    return chunk
  end
  local message
  chunk, message = load(text, "=input", "t", env)
  if chunk then
    return chunk
  end
  local incomplete = message:find "<eof>'?$" ~= nil
    or (as_expression:find "near '?<eof>'?$" ~= nil and not as_expression:find "<eof> expected")
  return nil, message, incomplete
end

--- Prints the values of a chunk, if there are any but one nil.
local function print_values(api, result)
  for i = 1, result.n do
    if result[i] ~= nil or result.n > 1 then
      io.stdout:write(pretty.text(result[i], show.width() or 80, api))
    end
  end
  io.stdout:flush()
end

--- Runs a chunk and prints its values; says what went wrong.
---@param chunk function
---@param tools { api: api, abandon: fun(): boolean }
---@param interactive boolean Ctrl-C ends the chunk; else it ends the program, as everywhere
---@return boolean ok
function repl.evaluate(chunk, tools, interactive)
  local function body()
    print_values(tools.api, table.pack(chunk()))
  end
  local call = interactive and console.guard or pcall
  local ok, message, interrupted = call(body)
  if ok then
    return true
  elseif interrupted then
    io.stderr:write "interrupted\n"
    if tools.abandon() then
      session.say "the change that was begun is given up"
    end
    return false
  end
  -- The text of an error object is made by whoever raised it.
  local made, text = call(function()
    return pretty.raised(message)
  end)
  session.say(made and text or "an error whose text cannot be made")
  return false
end

--- One line more: runs the chunk if it is whole. What is left of an unfinished one is returned.
local function take(text, env, tools, interactive)
  if not text:find "%S" then
    return "", true
  end
  local chunk, message, incomplete = repl.compile(text, env)
  if chunk then
    return "", repl.evaluate(chunk, tools, interactive)
  elseif incomplete then
    return text, true
  end
  session.say(message)
  return "", false
end

--- Reads and runs chunks until the input ends.
---@param host host
---@param options { write: boolean, first: function? } may it change the host; a chunk to run before
---@return integer status
function repl.run(host, options)
  local env, tools = workbench.new(host, options.write)
  local interactive = show.is_terminal(0)
  local failed = false
  if options.first then
    debug.setupvalue(options.first, 1, env)
    failed = not repl.evaluate(options.first, tools, interactive)
  end
  local reader = line.reader(function(text)
    return completion.of(tools.api, env, text, tools.names)
  end)
  local text = ""
  while true do
    local got, given_up = reader.read(text == "" and "> " or ">> ")
    if given_up then
      text = ""
    elseif not got then
      break
    else
      local ok
      text, ok = take(text .. got, env, tools, interactive)
      failed = failed or not ok
    end
  end
  if text ~= "" and not interactive then
    session.say "the input ends in the middle of a chunk"
    failed = true
  end
  if interactive then
    io.stdout:write "\n"
  end
  reader.finish()
  return failed and not interactive and 1 or 0
end

return repl

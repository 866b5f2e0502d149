--- repl.lua - the REPL: reads chunks, runs them beside a host, prints what comes back.
---
--- A chunk may take several lines; an expression needs no `=` or `return`. Errors are shown and do
--- not end it; end of input does. Without a terminal there are no prompts, and the exit status says
--- whether anything failed.
local pretty = require "pretty"
local session = require "session"
local show = require "show"
local stubs = require "stubs"

local repl = {}

local READERS = { "networks", "compartments", "containers", "endpoints", "rules", "flows" }

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

local function help_on(env, list, topic)
  if topic == nil then
    local names = {}
    for i, stub in ipairs(list) do
      names[i] = stub.name
    end
    return show.wrap(names, show.width() or 80, "") .. "\nhelp(\"host:rules\") explains one.\n"
  end
  local name = type(topic) == "string" and topic
  if type(topic) == "function" then
    for _, stub in ipairs(list) do
      local owner, method = stub.name:match "^([%w_]+)[.:]([%w_]+)$"
      local ok, value = pcall(function()
        return env[owner][method]
      end)
      if ok and value == topic then
        name = stub.name
      end
    end
  end
  local stub = name and stubs.find(list, name)
  if not stub then
    return "nothing is known of this; help() lists all names\n"
  end
  return stub.signature .. "\n" .. stub.text .. "\n"
end

--- The value, or its message raised as it is, without a line of this file in front.
local function need(value, message)
  if value == nil then
    error(message, 0)
  end
  return value
end

--- Explains packets about a live container: explain("web", "in tcp …", …).
local function explain_with(host)
  return function(who, ...)
    local filter = require "bulkhead.filter"
    local parsed, answers = {}, {}
    for i, text in ipairs { ... } do
      parsed[i] = need(filter.packet(text))
    end
    local world = need(require("worlds").live(host, who, parsed))
    for i, text in ipairs { ... } do
      answers[i] = need(require("explain").packet(world, text))
    end
    return #answers == 1 and answers[1] or answers
  end
end

--- What chunks see: everything of Lua, the API, and the host's lists as functions.
function repl.environment(host)
  local list = stubs.load()
  local env = setmetatable({
    host = host, bulkhead = require "bulkhead", filter = require "bulkhead.filter",
    policy = require "bulkhead.policy", prove = require "bulkhead.prove", explain = explain_with(host),
  }, { __index = _G })
  for _, name in ipairs(READERS) do
    env[name] = function(...)
      return host[name](host, ...)
    end
  end
  function env.help(topic)
    io.stdout:write(help_on(env, list, topic))
  end
  return env
end

--- Runs a chunk and prints its values; false if it failed.
local function evaluate(chunk)
  local result = table.pack(xpcall(chunk, function(message)
    return show.clean(tostring(message))
  end))
  if not result[1] then
    session.say(result[2])
    return false
  end
  for i = 2, result.n do
    if result[i] ~= nil or result.n > 2 then
      io.stdout:write(pretty.text(result[i], show.width()))
    end
  end
  return true
end

--- A function that reads a line: with editing and history where readline is, plain elsewhere.
local function line_reader()
  if not show.is_terminal(0) then
    return function()
      return io.read "L"
    end
  end
  local found, readline = pcall(require, "readline")
  if found then
    local home = os.getenv "HOME"
    pcall(readline.set_options, {
      histfile = home and home .. "/.bulkhead_history", keeplines = 1000, completion = false,
    })
    return function(prompt)
      local line = readline.readline(prompt)
      return line and line .. "\n"
    end, function()
      pcall(readline.save_history)
    end
  end
  return function(prompt)
    io.stdout:write(prompt)
    io.stdout:flush()
    return io.read "L"
  end
end

--- Reads and runs chunks until the input ends.
---@param host host
---@param first? function a chunk to run before
---@return integer status
function repl.run(host, first)
  local env = repl.environment(host)
  local interactive = show.is_terminal(0)
  local failed = false
  if first then
    debug.setupvalue(first, 1, env)
    failed = not evaluate(first)
  end
  local read, finish = line_reader()
  local text = ""
  while true do
    local line = read(text == "" and "> " or ">> ")
    if not line and (text == "" or not interactive) then
      break
    end
    text = line and text .. line or ""
    if text:find "%S" then
      local chunk, message, incomplete = repl.compile(text, env)
      if chunk then
        failed = not evaluate(chunk) or failed
      elseif not incomplete then
        session.say(message)
        failed = true
      end
      text = incomplete and text or ""
    else
      text = ""
    end
  end
  if text ~= "" then
    session.say "the input ends in the middle of a chunk"
    failed = true
  end
  if interactive then
    io.stdout:write "\n"
  end
  if finish then
    finish()
  end
  return failed and not interactive and 1 or 0
end

return repl

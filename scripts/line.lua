--- line.lua - reads lines for a session: with editing, history and completion where lua-readline is,
--- plain elsewhere. Ctrl-C gives up the line, not the session.
local console = require "bulkhead.console"
local show = require "show"

local line = {}

local KEPT = 1000 -- lines of history

--- Standard input as it is: no terminal, so nobody to prompt.
local function piped()
  return { read = function()
    return io.read "L"
  end, finish = function() end }
end

--- A terminal without readline. The terminal itself gives whole lines.
local function plain()
  return { read = function(prompt)
    io.stdout:write(prompt)
    io.stdout:flush()
    if not console.wait_input() then
      io.stdout:write "\n"
      return nil, true
    end
    return io.read "L"
  end, finish = function() end }
end

local function edited(readline, complete)
  local home = os.getenv "HOME"
  local history = home and home ~= "" and home .. "/.bulkhead_history" or ""
  readline.set_options { histfile = history, keeplines = KEPT, completion = true, auto_add = false }
  readline.set_readline_name "bulkhead"
  readline.set_complete_function(function(text, from, to)
    local given = text:sub(from, to)
    readline.set_completion_append_character "" -- is a blank again before each completion
    local ok, fits, word = console.guard(complete, text:sub(1, to))
    if not ok then
      return {}
    end
    -- What readline takes for a word may be longer than what is completed, as `host:ru`.
    local front = given:sub(1, #given - #(word or ""))
    for i, each in ipairs(fits) do
      fits[i] = front .. each
    end
    return fits
  end)
  local last
  return { read = function(prompt)
    local got, done = nil, false
    readline.handler_install(prompt, function(text)
      got, done = text, true
      readline.handler_remove()
    end)
    while not done do
      if not console.wait_input() then
        -- The next handler begins a new line. Removing this one would have readline reset the terminal by
        -- a stream that lua-readline has closed.
        io.stdout:write "^C\n"
        return nil, true
      end
      readline.read_char()
    end
    if got and got:find "%S" and got ~= last then
      readline.add_history(got)
      last = got
    end
    return got and got .. "\n"
  end, finish = function()
    pcall(readline.save_history)
  end }
end

---@class line_reader
---@field read fun(prompt: string): string?, boolean? a line with its end; nil at the end; nil, true: Ctrl-C
---@field finish fun()

--- A reader for what standard input is.
---@param complete fun(text: string): string[], string?
---@return line_reader
function line.reader(complete)
  if not show.is_terminal(0) then
    return piped()
  end
  console.catch()
  local found, readline = pcall(require, "readline")
  if found and readline.handler_install and os.getenv "TERM" ~= "dumb" then
    return edited(readline, complete)
  end
  return plain()
end

return line

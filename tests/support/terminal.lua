--- terminal.lua - a person at a terminal: our program on one, typed at and looked at (pty.c).
local cli = require "tests.support.cli"

local terminal = {}

local SHOW_USE_AFTER_FREE = "GLIBC_TUNABLES=glibc.malloc.tcache_count=0:glibc.malloc.perturb=165"

-- What readline keeps for the life of a process looks lost once Lua, closing, has unloaded it. Sessions
-- that are piped, without readline, are still searched for leaks.
local WITHOUT_LEAKS = "ASAN_OPTIONS=detect_leaks=0"

--- Runs `bulkhead WORDS…` on a terminal and follows the script. History is kept in `home`. What is freed
--- is written over, so that its use shows.
---@param words string[]
---@param script string lines of pty.c
---@param options? { columns: integer?, home: string?, term: string? }
---@return integer status
---@return string shown
function terminal.run(words, script, options)
  options = options or {}
  local program, input = cli.program(), os.tmpname()
  local file = assert(io.open(input, "w"))
  file:write(script)
  file:close()
  local parts = {}
  for i, word in ipairs(words) do
    parts[i] = "'" .. word:gsub("'", "'\\''") .. "'"
  end
  local line = "env -u COLUMNS %s %s NO_COLOR=1 TERM=%s HOME='%s' '%s/tests/support/pty' %d '%s' %s <%s"
  local pipe = assert(io.popen(line:format(SHOW_USE_AFTER_FREE, WITHOUT_LEAKS, options.term or "xterm",
    options.home or "/nonexistent", program:match "^(.*)/", options.columns or 80, program,
    table.concat(parts, " "), input)))
  local shown = pipe:read "a"
  local _, _, status = pipe:close()
  os.remove(input)
  return status, (shown:gsub("\r", ""))
end

return terminal

--- cli.lua - runs our program as a user would and tells what came back.
local cli = {}

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

--- Runs `bulkhead WORDS…`; returns exit status, standard output, standard error.
---@param words string[]
---@param input? string standard input
---@param state? string directory of a state that is there; default one that never was
function cli.run(words, input, state)
  local out, err, inp = os.tmpname(), os.tmpname(), os.tmpname()
  if not state then
    state = os.tmpname()
    os.remove(state)
  end
  local file = assert(io.open(inp, "w"))
  file:write(input or "")
  file:close()
  local parts = { "BULKHEAD_STATE=" .. state, quote(cli.program()) }
  for _, word in ipairs(words) do
    parts[#parts + 1] = quote(word)
  end
  local line = ("%s <%s >%s 2>%s"):format(table.concat(parts, " "), inp, out, err)
  local _, _, status = os.execute(line)
  local texts = {}
  for i, name in ipairs { out, err } do
    local handle = assert(io.open(name))
    texts[i] = handle:read "a"
    handle:close()
    os.remove(name)
  end
  os.remove(inp)
  return status, texts[1], texts[2]
end

--- The program under test: the one that runs the tests.
function cli.program()
  return require("lfs").symlinkattributes("/proc/self/exe", "target")
end

return cli

--- What the benches of this directory have in common: their words, their targets, their JSON.
---
--- `words(...)` takes `--json FILE` out of a command line. Figures are held against targets as they come;
--- `finish` prints which were missed and by how much, and writes everything to FILE.
local json = require "json"

local M = {}
local missed = {}

--- The words but for options that take a value, and those values by name: `--json FILE` is {json = FILE}.
function M.words(words, names)
  local rest, options, i = {}, {}, 1
  while i <= #words do
    local name = words[i]:match "^%-%-(%w+)$"
    if not name then
      rest[#rest + 1] = words[i]
    elseif name ~= "json" and not (names and names[name]) or not words[i + 1] then
      io.stderr:write(("%s: no such option, or its value is missing\n"):format(words[i]))
      os.exit(2)
    else
      i = i + 1
      options[name] = words[i]
    end
    i = i + 1
  end
  return rest, options
end

local function miss(what, value, word, bound)
  missed[#missed + 1] = { what = what, value = value, bound = bound }
  missed[#missed].text = ("%s: %.4g, %s %.4g wanted"):format(what, value, word, bound)
end

--- Holds a figure against its target. One that was not measured is no figure.
function M.at_least(what, value, bound)
  if value and value < bound then miss(what, value, "at least", bound) end
end

function M.at_most(what, value, bound)
  if value and value > bound then miss(what, value, "at most", bound) end
end

--- Says what was missed, writes the results and that to the file, if one is named.
function M.finish(results, file)
  for i, item in ipairs(missed) do
    print((i == 1 and "missed: " or "        ") .. item.text)
    item.text = nil
  end
  if file then
    results.missed = missed
    local out <close> = assert(io.open(file, "w"))
    out:write(json.encode(results), "\n")
  end
end

return M

--- show.lua - what people read: tables fitted to the terminal, key/value blocks, colour.
local console = require "bulkhead.console"

local show = {}

local COLOURS = { red = 31, green = 32, yellow = 33, cyan = 36, bold = 1, dim = 2 }

--- Whether a standard descriptor (0, 1, 2) is a terminal.
function show.is_terminal(descriptor)
  return console.is_terminal(descriptor)
end

--- Columns to fit into: the terminal's, or without one nil, which cuts nothing.
function show.width()
  if not show.is_terminal(1) then
    return nil
  end
  local columns = tonumber(os.getenv "COLUMNS" or "") or console.width()
  return columns and columns >= 20 and columns or 80
end

--- Text with anything that could steer a terminal made visible.
function show.clean(value)
  return (tostring(value):gsub("%c", function(c)
    return ("\\x%02x"):format(c:byte())
  end))
end

--- A number of things: `1 rule`, `2 rules`.
---@param number integer
---@param word string
function show.count(number, word)
  return ("%d %s%s"):format(number, word, number == 1 and "" or "s")
end

local coloured

--- Text in a colour (a key of COLOURS), if standard output is a terminal and NO_COLOR is not set.
function show.colour(name, text)
  if coloured == nil then
    coloured = show.is_terminal(1) and not os.getenv "NO_COLOR" and os.getenv "TERM" ~= "dumb"
  end
  return coloured and ("\27[%dm%s\27[0m"):format(COLOURS[name], text) or text
end

--- How many columns text takes; colours take none.
local function columns_of(text)
  text = text:gsub("\27%[%d+m", "")
  return utf8.len(text) or #text
end

--- Text cut to a width, with an ellipsis where something is gone.
local function cut(text, width)
  if columns_of(text) <= width then
    return text
  elseif width < 1 then
    return ""
  end
  local stop = utf8.len(text) and utf8.offset(text, width) or width
  return text:sub(1, stop - 1) .. "…"
end

--- A field as text: lists joined by commas, nothing as "-".
function show.text(value)
  if type(value) == "table" then
    local parts = {}
    for i, item in ipairs(value) do
      parts[i] = show.clean(item)
    end
    value = table.concat(parts, ", ")
  elseif value == nil then
    value = ""
  end
  local text = show.clean(value)
  return text == "" and "-" or text
end

--- Takes columns off the widest that may shrink, until all fit.
local function fit(columns, widths, room)
  local total = 2 * (#columns - 1)
  for _, width in ipairs(widths) do
    total = total + width
  end
  while total > room do
    local widest
    for i, column in ipairs(columns) do
      if not column.right and widths[i] > 6 and (not widest or widths[i] > widths[widest]) then
        widest = i
      end
    end
    if not widest then
      return
    end
    widths[widest] = widths[widest] - 1
    total = total - 1
  end
end

---@class column
---@field title string
---@field key? string field of a row; default the title in small letters
---@field value? fun(row: table): any instead of a key
---@field right? boolean right-aligned, for numbers; never cut

--- A table as text, one row a line. No rows: only the titles.
---@param columns column[]
---@param rows table[]
---@param room? integer columns to fit into; nil cuts nothing
function show.table(columns, rows, room)
  local widths, cells, lines = {}, {}, {}
  for i, column in ipairs(columns) do
    widths[i] = columns_of(column.title)
  end
  for r, row in ipairs(rows) do
    cells[r] = {}
    for i, column in ipairs(columns) do
      local value
      if column.value then
        value = column.value(row)
      else
        value = row[column.key or column.title:lower()]
      end
      cells[r][i] = show.text(value)
      widths[i] = math.max(widths[i], columns_of(cells[r][i]))
    end
  end
  fit(columns, widths, room or math.huge)
  local function line(texts)
    local parts = {}
    for i, column in ipairs(columns) do
      local text = cut(texts[i], widths[i])
      local pad = (" "):rep(widths[i] - columns_of(text))
      parts[i] = column.right and pad .. text or text .. pad
    end
    return (table.concat(parts, "  "):gsub("%s+$", ""))
  end
  local titles = {}
  for i, column in ipairs(columns) do
    titles[i] = column.title
  end
  lines[1] = line(titles)
  for r = 1, #rows do
    lines[r + 1] = line(cells[r])
  end
  return table.concat(lines, "\n") .. "\n"
end

--- A block of `Key    : value` lines.
---@param pairs_list { [1]: string, [2]: any }[]
function show.fields(pairs_list)
  local width, lines = 0, {}
  for _, pair in ipairs(pairs_list) do
    width = math.max(width, columns_of(pair[1]))
  end
  for i, pair in ipairs(pairs_list) do
    lines[i] = pair[1] .. (" "):rep(width - columns_of(pair[1])) .. " : " .. show.clean(pair[2])
  end
  return table.concat(lines, "\n") .. "\n"
end

--- A sequence of words broken into lines of at most `width` columns, later ones indented.
function show.wrap(words, width, indent)
  local lines, line = {}, ""
  for _, word in ipairs(words) do
    if line ~= "" and columns_of(line) + 1 + columns_of(word) > width then
      lines[#lines + 1] = line
      line = indent .. word
    else
      line = line == "" and word or line .. " " .. word
    end
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

return show

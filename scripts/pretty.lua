--- pretty.lua - values as the REPL prints them: lists of records as tables, the rest as Lua.
local json = require "json"
local show = require "show"

local pretty = {}

local DEPTH = 6

local function sorted_keys(value)
  local keys = {}
  for key in pairs(value) do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and (type(a) == "string" or type(a) == "number") then
      return a < b
    end
    return type(a) == "number" and type(b) ~= "number" or tostring(a) < tostring(b)
  end)
  return keys
end

--- A value as a Lua expression on one line.
function pretty.line(value, depth, seen)
  depth, seen = depth or 0, seen or {}
  local meta = getmetatable(value)
  if value == json.null then
    return "null"
  elseif type(value) == "string" then
    return (("%q"):format(value):gsub("\\\n", "\\n"))
  elseif type(value) ~= "table" or (type(meta) == "table" and meta.__tostring) then
    return show.clean(value)
  elseif depth >= DEPTH or seen[value] then
    return "{…}"
  end
  seen[value] = true
  local parts, count = {}, #value
  for i = 1, count do
    parts[i] = pretty.line(value[i], depth + 1, seen)
  end
  for _, key in ipairs(sorted_keys(value)) do
    if not (math.type(key) == "integer" and key >= 1 and key <= count) then
      local name = type(key) == "string" and key:find "^[%a_][%w_]*$" and key
        or "[" .. pretty.line(key, depth + 1, seen) .. "]"
      parts[#parts + 1] = name .. " = " .. pretty.line(value[key], depth + 1, seen)
    end
  end
  seen[value] = nil
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

--- What was raised, as text: a table that says nothing of its own is shown as it is.
---@param value any
---@return string
function pretty.raised(value)
  return type(value) == "table" and pretty.line(value) or show.clean(tostring(value))
end

local function is_record(value)
  return type(value) == "table" and #value == 0 and next(value) ~= nil and not getmetatable(value)
end

local function is_list_of_records(value)
  local meta = getmetatable(value)
  if type(value) ~= "table" or #value == 0 or meta and not meta.__records then
    return false
  end
  local count = 0
  for key, item in next, value do
    count = count + 1
    if math.type(key) ~= "integer" or not is_record(item) then
      return false
    end
  end
  return count == #value
end

--- The rank of each field: as the stubs list the fields of the smallest class that has them all.
local function ranks(keys, api)
  local best
  for _, class in pairs(api and api.classes or {}) do
    local rank, all = {}, true
    for i, field in ipairs(class.fields) do
      rank[field.name] = i
    end
    for _, key in ipairs(keys) do
      all = all and rank[key] ~= nil
    end
    if all and (not best or #class.fields < best.size or #class.fields == best.size and class.name < best.name) then
      best = { rank = rank, size = #class.fields, name = class.name }
    end
  end
  return best and best.rank or { id = 1, name = 2, container = 3, type = 4, driver = 5 }
end

local function cell(value)
  if type(value) ~= "table" or type(value[1]) == "string" then
    return value
  end
  return next(value) ~= nil and pretty.line(value) or nil
end

local function columns(list, api)
  local seen, keys = {}, {}
  for _, record in ipairs(list) do
    for key in pairs(record) do
      if not seen[key] then
        seen[key] = { numbers = true }
        keys[#keys + 1] = key
      end
      seen[key].numbers = seen[key].numbers and type(record[key]) == "number"
    end
  end
  local rank = ranks(keys, api)
  table.sort(keys, function(a, b)
    local x, y = rank[a] or 99, rank[b] or 99
    return x < y or (x == y and tostring(a) < tostring(b))
  end)
  local result = {}
  for i, key in ipairs(keys) do
    result[i] = { title = tostring(key), right = seen[key].numbers, value = function(record)
      return cell(record[key])
    end }
  end
  return result
end

local NARROW = 12 -- columns that text may be cut to

--- How many of the columns fit, if text may be cut.
local function fitting(list, rows, room)
  local used = 0
  for i, column in ipairs(list) do
    local width = utf8.len(column.title) or #column.title
    for _, row in ipairs(rows) do
      local text = show.text(column.value(row))
      width = math.max(width, column.right and #text or math.min(NARROW, utf8.len(text) or #text))
    end
    used = used + width + (i > 1 and 2 or 0)
    if used > room then
      return math.max(i - 1, 1)
    end
  end
  return #list
end

--- A list of records as a table that fits; fields for which there is no room are named below it.
local function table_of(value, room, api)
  local all = columns(value, api)
  local count = room and fitting(all, value, room) or #all
  local text = show.table(table.move(all, 1, count, 1, {}), value, room)
  if count == #all then
    return text
  end
  local words = { "also:" }
  for i = count + 1, #all do
    words[#words + 1] = all[i].title .. (i < #all and "," or "")
  end
  return text .. show.wrap(words, room, "  ") .. "\n"
end

--- A value as text that ends with a newline.
---@param room? integer columns to fit tables into
---@param api? api knows the order of fields
function pretty.text(value, room, api)
  local meta = getmetatable(value)
  if type(value) == "table" and type(meta) == "table" and meta.__text then
    return meta.__text(value)
  elseif is_list_of_records(value) then
    return table_of(value, room, api)
  elseif is_record(value) then
    local keys, fields = sorted_keys(value), {}
    local rank = ranks(keys, api)
    table.sort(keys, function(a, b)
      local x, y = rank[a] or 99, rank[b] or 99
      return x < y or (x == y and tostring(a) < tostring(b))
    end)
    for i, key in ipairs(keys) do
      local inner = value[key]
      fields[i] = { show.clean(key), type(inner) == "table" and pretty.line(inner) or inner }
    end
    return show.fields(fields)
  elseif type(value) == "string" then
    return value .. "\n"
  end
  return pretty.line(value) .. "\n"
end

return pretty

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

local function is_record(value)
  return type(value) == "table" and #value == 0 and next(value) ~= nil and not getmetatable(value)
end

local function is_list_of_records(value)
  if type(value) ~= "table" or #value == 0 or getmetatable(value) then
    return false
  end
  local count = 0
  for key, item in pairs(value) do
    count = count + 1
    if math.type(key) ~= "integer" or not is_record(item) then
      return false
    end
  end
  return count == #value
end

local FIRST = { id = 1, name = 2, container = 3, type = 4, driver = 5 }

local function columns(list)
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
  table.sort(keys, function(a, b)
    local x, y = FIRST[a] or 9, FIRST[b] or 9
    return x < y or (x == y and tostring(a) < tostring(b))
  end)
  local result = {}
  for i, key in ipairs(keys) do
    result[i] = {
      title = tostring(key), right = seen[key].numbers,
      value = function(record)
        local value = record[key]
        if type(value) ~= "table" then
          return value
        elseif type(value[1]) == "string" then
          return value
        end
        return pretty.line(value)
      end,
    }
  end
  return result
end

--- A value as text that ends with a newline.
---@param room? integer columns to fit tables into
function pretty.text(value, room)
  if is_list_of_records(value) then
    return show.table(columns(value), value, room)
  elseif is_record(value) then
    local fields = {}
    for i, key in ipairs(sorted_keys(value)) do
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

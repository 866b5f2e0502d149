--- json.lua - JSON that two runs write alike: keys in the order asked for, the rest by alphabet.
local dkjson = require "dkjson"

local json = { null = dkjson.null }

--- Fields that are maps: written as {} when empty, where an empty table else is [].
local MAPS = {
  annotations = true, labels = true, timeouts = true, dropped_in = true, dropped_out = true,
}

local function collect(value, seen)
  if type(value) ~= "table" or value == dkjson.null then
    return
  end
  for key, inner in pairs(value) do
    if type(key) == "string" then
      seen[key] = true
      if MAPS[key] and type(inner) == "table" and next(inner) == nil then
        setmetatable(inner, { __jsontype = "object" })
      end
    end
    collect(inner, seen)
  end
end

--- Writes a value as one line of JSON.
---@param order? string[] keys that come first, in this order
function json.encode(value, order)
  local seen, keys, rest = {}, {}, {}
  collect(value, seen)
  for _, key in ipairs(order or {}) do
    keys[#keys + 1] = key
    seen[key] = nil
  end
  for key in pairs(seen) do
    rest[#rest + 1] = key
  end
  table.sort(rest)
  table.move(rest, 1, #rest, #keys + 1, keys)
  return dkjson.encode(value, { keyorder = keys })
end

--- Reads one JSON document; null reads as `json.null`. Nothing may follow it.
---@return any value
---@return string? message
function json.decode(text)
  -- Deep nesting overflows the reader's stack, which it raises instead of returning.
  local ok, value, next_byte, message = pcall(dkjson.decode, text, 1, dkjson.null)
  if not ok then
    return nil, "the JSON is nested too deeply"
  elseif value == nil then
    return nil, "the JSON does not parse: " .. tostring(message)
  elseif text:find("%S", next_byte) then
    return nil, "something follows the JSON document"
  end
  return value
end

--- Whether a value read by `decode` was a JSON object (an array would not do).
function json.is_object(value)
  local meta = type(value) == "table" and getmetatable(value)
  return meta and meta.__jsontype == "object" or false
end

return json

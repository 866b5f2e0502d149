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

--- What objects are read into to notice a key that is there twice, which the reader lets win: they stay
--- empty until all is read, so that every key is new to them.
local function collector()
  local contents, order, twice = {}, {}, nil
  local meta = { __jsontype = "object" }
  function meta.__newindex(object, key, value)
    local content = contents[object]
    if not content then
      content = {}
      contents[object], order[#order + 1] = content, object
    end
    if content[key] ~= nil then
      twice = twice or key
    end
    content[key] = value
  end
  return meta, function()
    meta.__newindex = nil
    for _, object in ipairs(order) do
      for key, value in pairs(contents[object]) do
        object[key] = value
      end
    end
    return twice
  end
end

--- Reads one JSON document; null reads as `json.null`. Nothing may follow it.
---@param options? { unique: boolean? } unique: no key may be in an object twice
---@return any value
---@return string? message
function json.decode(text, options)
  local meta, finish = { __jsontype = "object" }, nil
  if options and options.unique then
    meta, finish = collector()
  end
  -- Deep nesting overflows the reader's stack, which it raises instead of returning.
  local ok, value, next_byte, message = pcall(dkjson.decode, text, 1, dkjson.null, meta, { __jsontype = "array" })
  if not ok then
    return nil, "the JSON is nested too deeply"
  elseif value == nil then
    return nil, "the JSON does not parse: " .. tostring(message)
  elseif text:find("%S", next_byte) then
    return nil, "something follows the JSON document"
  end
  local twice = finish and finish()
  if twice ~= nil then
    return nil, ("the key %s is there twice"):format(require("validate").quoted(twice))
  end
  return value
end

--- Whether a value read by `decode` was a JSON object (an array would not do).
function json.is_object(value)
  local meta = type(value) == "table" and getmetatable(value)
  return meta and meta.__jsontype == "object" or false
end

return json

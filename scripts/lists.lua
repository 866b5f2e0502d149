--- lists.lua - what several scripts ask of tables.
local lists = {}

--- The keys of a table, sorted.
---@param map table
---@return any[]
function lists.sorted_keys(map)
  local keys = {}
  for key in pairs(map) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

--- The items of `a` that `b` does not have, counting equal ones.
---@param a any[]
---@param b any[]
---@param key_of fun(item: any): any the same for equal items
---@return any[]
function lists.missing(a, b, key_of)
  local count, list = {}, {}
  for _, item in ipairs(b) do
    local key = key_of(item)
    count[key] = (count[key] or 0) + 1
  end
  for _, item in ipairs(a) do
    local key = key_of(item)
    if (count[key] or 0) > 0 then
      count[key] = count[key] - 1
    else
      list[#list + 1] = item
    end
  end
  return list
end

return lists

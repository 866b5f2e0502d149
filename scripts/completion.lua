--- completion.lua - what a word could become: names, fields and methods, from the stubs' types and,
--- where they say nothing, from the values themselves. Nothing is called and no metamethod runs, but
--- for the names of containers, which are asked of the host.
local stubs = require "stubs"

local completion = {}

local KEYWORDS = {
  "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in",
  "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
}

--- Types of the modules that a session has under a name of their own.
local MODULES = {
  bulkhead = "bulkhead", filter = "bulkhead.filter", policy = "bulkhead.policy",
  prove = "bulkhead.prove", replay = "bulkhead.replay",
}

---@class known
---@field class? stub_class
---@field list? boolean of that class
---@field stub? stub it is a function
---@field value? any
---@field names? string where a list's items can be asked for by name

local function of_type(api, kind)
  local class, list = stubs.class_of(api, kind)
  return { class = class, list = list }
end

local function field_of(class, key)
  for _, field in ipairs(class and class.fields or {}) do
    if field.name == key then
      return field
    end
  end
end

--- The type a field of a session's words was given in its comment's `@type`.
local function of_word(api, env, name)
  local session = api.classes["bulkhead.repl"]
  local field = field_of(session, name)
  local value = rawget(env, name)
  if MODULES[name] then
    return { class = api.classes[MODULES[name]], value = value }
  elseif field then
    local known = of_type(api, field.type)
    known.names, known.value = known.list and name or nil, value
    return known
  elseif session and session.methods[name] then
    return { stub = session.methods[name] }
  end
  if value == nil then
    value = rawget(_G, name)
  end
  return { value = value }
end

local function step(api, known, mark, key)
  local class = not known.list and known.class
  local stub = class and class.methods[key]
  if stub then
    return { stub = stub }
  end
  local field = mark == "." and field_of(class, key)
  if field then
    return of_type(api, field.type)
  elseif known.list and mark == "." then
    return { class = known.class } -- an item by its name
  elseif type(known.value) == "table" then
    return { value = rawget(known.value, key) }
  end
  return {}
end

--- What the expression at the end of a text is known to be; nil if there is none.
---@return known?
local function resolve(api, env, text)
  local called = text:match "^(.*[%w_%]%)])%s*%b()$" or text:match "^(.*[%w_%]%)])%s*[\"'][^\"']*[\"']$"
  if called then
    local known = resolve(api, env, called)
    local first = known and known.stub and known.stub.returns[1]
    return first and of_type(api, first.type) or {}
  end
  local rest, inner = text:match "^(.*[%w_%]%)])(%b[])$"
  if inner then
    local known = resolve(api, env, rest)
    if known and known.list then
      return { class = known.class }
    end
    local key = inner:match "^%[%s*(%d+)%s*%]$"
    local value = known and type(known.value) == "table" and key and rawget(known.value, tonumber(key))
    return { value = value or nil }
  end
  local before, name = text:match "^(.-)([%a_][%w_]*)$"
  if not name then
    return nil
  end
  local owner, mark = before:match "^(.*[%w_%]%)\"'])([.:])$"
  if owner then
    local known = resolve(api, env, owner)
    return known and step(api, known, mark, name)
  end
  return of_word(api, env, name)
end

local function is_name(key)
  return type(key) == "string" and key:find "^[%a_][%w_]*$" ~= nil
end

--- What may follow `known` and a mark.
local function members(known, mark, names)
  local list = {}
  if known.list then
    for _, name in ipairs(mark == "." and known.names and names(known.names) or {}) do
      list[#list + 1] = is_name(name) and name or nil
    end
    return list
  end
  for key, stub in pairs(known.class and known.class.methods or {}) do
    list[#list + 1] = stub.method == (mark == ":") and key or nil
  end
  for _, field in ipairs(known.class and mark == "." and known.class.fields or {}) do
    list[#list + 1] = field.name
  end
  local value, table_of = known.value, nil
  if type(value) == "string" then
    table_of = mark == ":" and string
  elseif type(value) == "table" then
    table_of = value
  elseif type(value) == "userdata" then
    local meta = debug.getmetatable(value)
    table_of = mark == ":" and meta and type(rawget(meta, "__index")) == "table" and rawget(meta, "__index")
  end
  for key in next, table_of or {} do
    list[#list + 1] = is_name(key) and not key:find "^__" and key or nil
  end
  return list
end

local function words(api, env)
  local list = table.move(KEYWORDS, 1, #KEYWORDS, 1, {})
  local session = api.classes["bulkhead.repl"]
  for _, field in ipairs(session and session.fields or {}) do
    list[#list + 1] = field.name
  end
  for key in pairs(session and session.methods or {}) do
    list[#list + 1] = key
  end
  for _, table_of in ipairs { env, _G } do
    for key in next, table_of do
      list[#list + 1] = is_name(key) and key or nil
    end
  end
  return list
end

--- Whether a text ends inside a string; what of it is there.
local function open_string(text)
  local quote, start
  local at = 1
  while at <= #text do
    local c = text:sub(at, at)
    if quote and c == "\\" then
      at = at + 1
    elseif quote and c == quote then
      quote = nil
    elseif not quote and (c == '"' or c == "'") then
      quote, start = c, at + 1
    end
    at = at + 1
  end
  return quote and text:sub(start)
end

--- The completions of the last word of a text, each as a whole word, sorted.
---@param api api
---@param env table what chunks see
---@param text string the line up to the cursor
---@param names fun(what: string): string[] names of "containers" or "networks"
---@return string[]
function completion.of(api, env, text, names)
  local list, word
  local quoted = open_string(text)
  if quoted then
    list, word = {}, quoted
    for _, what in ipairs { "containers", "networks" } do
      table.move(names(what), 1, #names(what), #list + 1, list)
    end
  else
    word = text:match "[%a_]?[%w_]*$"
    local head, mark = text:sub(1, #text - #word):match "^(.*[^.])([.:])$"
    if not head and word == "" then
      return {}
    end
    local known = head and resolve(api, env, head)
    if head and not known then
      return {}
    end
    list = known and members(known, mark, names) or words(api, env)
  end
  local seen, fits = {}, {}
  for _, each in ipairs(list) do
    if each:sub(1, #word) == word and not seen[each] then
      seen[each] = true
      fits[#fits + 1] = each
    end
  end
  table.sort(fits)
  return fits, word
end

return completion

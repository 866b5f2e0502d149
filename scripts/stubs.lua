--- stubs.lua - the documentation of the API: bindings/types, which is its only source, as one table.
---
--- Completion, help() and the reference are made from it. Read is what LuaLS reads too: `---` texts,
--- `@class`, `@field`, `@param`, `@return`, `@alias`, `@type`, and the functions they stand above.
--- Functions of a module are named by its last word (`filter.packet`), methods by their class
--- (`host:rules`), and those that a session of the REPL has by themselves (`watch`).
local lfs = require "lfs"

local stubs = {}

---@class stub
---@field name string like "bulkhead.open" or "host:rules"
---@field class string of the table it stands in
---@field key string its last word
---@field method boolean called with a colon
---@field signature string
---@field text string the comment, without tags
---@field params { name: string, type: string, text: string, optional: boolean }[]
---@field returns { type: string, text: string }[]
---@field file string

---@class stub_class
---@field name string
---@field text string
---@field fields { name: string, type: string, text: string, optional: boolean }[]
---@field methods table<string, stub>
---@field module boolean what `require` returns, or a global table

---@class api
---@field functions stub[] in the order of the files
---@field classes table<string, stub_class>
---@field order string[] names of classes
---@field aliases table<string, string>
---@field modules { name: string, file: string, text: string }[]

--- Splits `TYPE the rest`: a type ends at the first blank outside brackets, but for unions and
--- functions' results.
local function split_type(text)
  local depth, at = 0, 1
  while at <= #text do
    local c = text:sub(at, at)
    if c:find "[%(%{%[<]" then
      depth = depth + 1
    elseif c:find "[%)%}%]>]" then
      depth = depth - 1
    elseif c == " " and depth == 0 and not text:sub(1, at - 1):find "[:,|]$" then
      break
    end
    at = at + 1
  end
  return text:sub(1, at - 1), (text:sub(at + 1):gsub("^%s+", ""))
end

--- `NAME[?] TYPE text` as a field or a parameter.
local function typed(words)
  local name, optional, rest = words:match "^([%w_%.]+)(%??)%s+(.*)$"
  if not name then
    return nil
  end
  local kind, text = split_type(rest)
  return { name = name, optional = optional == "?", type = kind, text = text }
end

local Reader = {}
Reader.__index = Reader

function Reader:class_named(name)
  local class = self.api.classes[name]
  if not class then
    class = { name = name, text = "", fields = {}, methods = {}, module = false, file = self.file }
    self.api.classes[name] = class
    table.insert(self.api.order, name)
  end
  return class
end

--- The comment that was collected, and a new one begun.
function Reader:take()
  local comment = self.comment
  self.comment = { lines = {}, params = {}, returns = {} }
  return comment
end

function Reader:tag(tag, words)
  local comment = self.comment
  if tag == "class" then
    local name, text = words:match "^([%w_%.]+):?%s*[%w_%.]*%s*(.*)$"
    self.class = self:class_named(name)
    self.class.text = table.concat(comment.lines, "\n") .. text
    comment.lines, self.pending = {}, self.class
  elseif tag == "field" and self.class then
    table.insert(self.class.fields, typed(words))
  elseif tag == "param" then
    comment.params[#comment.params + 1] = typed(words)
  elseif tag == "return" then
    local kind, rest = split_type(words)
    comment.returns[#comment.returns + 1] = { type = kind, text = rest }
  elseif tag == "alias" then
    local name, kind = words:match "^([%w_]+)%s+(.*)$"
    self.api.aliases[name] = kind
    comment.lines = {}
  elseif tag == "type" then
    comment.type = words
  elseif tag == "meta" then
    self.head = true
  end
end

--- What a table's functions are called by.
local function prefix_of(class)
  if class.name == "bulkhead.repl" then
    return ""
  end
  return class.name:match "[%w_]+$"
end

function Reader:code(line)
  local comment = self:take()
  local var = line:match "^local ([%w_]+) = {}$"
  local global = line:match "^([%w_]+) = {}$"
  if var or global then
    local class = var and self.pending or self:class_named(global or var)
    class.module = global ~= nil or class.name:find "^bulkhead" ~= nil
    class.text = class.text ~= "" and class.text or table.concat(comment.lines, "\n")
    self.owners[global or var], self.pending = class, nil
    return
  end
  local owner, mark, key, arguments = line:match "^function ([%w_]*)([.:]?)([%w_]+)(%b())"
  if not key then
    owner, key = line:match "^([%w_]+)%.([%w_]+) = "
    mark = "."
    if not key then
      return
    end
  elseif mark == "" then
    owner, key = "_G", owner .. key
  end
  local class = owner == "_G" and self:class_named "_G" or self.owners[owner]
  if not arguments then
    table.insert(class.fields, { name = key, type = comment.type or "any", text = table.concat(comment.lines, " ") })
    return
  end
  local prefix = owner == "_G" and "" or prefix_of(class)
  local name = prefix .. (prefix ~= "" and mark or "") .. key
  local stub = {
    name = name, class = class.name, key = key, method = mark == ":", signature = name .. arguments,
    text = table.concat(comment.lines, "\n"), params = comment.params, returns = comment.returns,
    file = self.file,
  }
  class.methods[key] = stub
  table.insert(self.api.functions, stub)
end

--- Reads the stubs in a text into the table.
---@param api api
---@param file string its name without ".lua"
---@param text string
function stubs.read(api, file, text)
  local reader = setmetatable({ api = api, file = file, owners = {} }, Reader)
  reader:take()
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local tag, rest = line:match "^%-%-%-@(%w+)%s*(.*)$"
    local words = line:match "^%-%-%- ?(.*)$"
    if tag then
      reader:tag(tag, rest)
    elseif words then
      table.insert(reader.comment.lines, words)
    elseif line == "" then
      local comment = reader:take()
      if reader.head and not reader.class and #comment.lines > 0 then
        table.insert(api.modules, { file = file, text = table.concat(comment.lines, "\n") })
        reader.head = false
      end
    else
      reader:code(line)
    end
  end
end

---@return api
function stubs.new()
  return { functions = {}, classes = {}, order = {}, aliases = {}, modules = {} }
end

--- All stubs, by the order of files' names.
---@return api
function stubs.load()
  local api = stubs.new()
  for _, dir in ipairs { arg.root .. "/bindings/types", arg.root .. "/types" } do
    local names = {}
    if lfs.attributes(dir, "mode") == "directory" then
      for name in lfs.dir(dir) do
        names[#names + 1] = name:match "^(.+)%.lua$"
      end
    end
    table.sort(names)
    for _, name in ipairs(names) do
      local file <close> = assert(io.open(dir .. "/" .. name .. ".lua"))
      stubs.read(api, name, file:read "a")
    end
  end
  return api
end

--- The function with this name, or whose last word it is.
---@param api api
---@return stub?
function stubs.find(api, name)
  for _, stub in ipairs(api.functions) do
    if stub.name == name or stub.name:gsub(":", ".") == name then
      return stub
    end
  end
  for _, stub in ipairs(api.functions) do
    if stub.key == name then
      return stub
    end
  end
end

--- The class or module with this name, whole or its last word.
---@param api api
---@return stub_class?
function stubs.find_class(api, name)
  return api.classes[name] or api.classes["bulkhead." .. name]
end

--- The class that a type is, without what makes it optional; and whether it is a list of it.
---@param api api
---@param kind string?
---@return stub_class?
---@return boolean list
function stubs.class_of(api, kind)
  kind = kind and (api.aliases[kind] or kind) or ""
  for part in kind:gmatch "[^|]+" do
    part = part:gsub("%?$", "")
    local list = part:find "%[%]$" ~= nil
    local class = stubs.find_class(api, (part:gsub("%[%]$", "")))
    if class then
      return class, list
    end
  end
  return nil, false
end

return stubs

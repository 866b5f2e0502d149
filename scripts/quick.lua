--- quick.lua - reads the words of a command that says nothing unusual, without argparse.
---
--- Loading argparse takes longer than all else a hook loads, and hooks hold containers up. A command
--- declares its options to either alike. Whatever is not plain here (a word that is missing or too many,
--- an option unknown, a declaration with more to it) is left to argparse, which then has the last word
--- and says what is wrong; so both always agree (a test holds them to it).
local quick = {}

local Element = {}
Element.__index = Element

function Element:argname()
  return self
end

function Element:target(name)
  self.name = name
  return self
end

function Element:args(range)
  self.optional = range == "?"
  self.unusual = self.unusual or range ~= "?"
  return self
end

function Element:count(range)
  self.many = range == "*"
  self.unusual = self.unusual or range ~= "*"
  return self
end

Element.description = Element.argname

local Reader = {}
Reader.__index = Reader

local function element(reader, kind, names, _, default)
  local made = setmetatable({ kind = kind, default = default, name = names:match "%-%-(%S+)" or names }, Element)
  made.name = made.name:gsub("-", "_")
  for name in names:gmatch "%S+" do
    reader.options[name] = made
  end
  return made
end

function Reader:argument(name)
  local made = setmetatable({ kind = "argument", name = name }, Element)
  table.insert(self.arguments, made)
  return made
end

function Reader:option(...)
  return element(self, "option", ...)
end

function Reader:flag(...)
  return element(self, "flag", ...)
end

--- Flags that exclude each other are argparse's to judge.
function Reader.mutex(_, ...)
  for _, made in ipairs { ... } do
    made.unusual = true
  end
end

--- One to which a command declares what it takes.
function quick.reader()
  return setmetatable({ arguments = {}, options = {} }, Reader)
end

local function take_option(reader, word, words, at, result)
  local name, value = word:match "^(%-%-[^=]+)=(.*)$"
  local option = reader.options[name or word]
  if not option or option.unusual or (option.kind == "flag" and name) then
    return nil
  elseif option.kind == "flag" then
    result[option.name] = true
    return at
  end
  if not name then
    at = at + 1
    value = words[at]
    if not value or value:sub(1, 1) == "-" then
      return nil
    end
  end
  if option.many then
    table.insert(result[option.name], value)
  elseif result[option.name] ~= nil then
    return nil
  else
    result[option.name] = value
  end
  return at
end

--- What the words say, or nil where argparse has to look.
---@param words string[]
---@return table?
function Reader:read(words)
  local result, seen, at = {}, 0, 1
  for _, option in pairs(self.options) do
    if option.many then
      result[option.name] = {}
    end
  end
  while words[at] do
    local word = words[at]
    if word:sub(1, 1) == "-" then
      at = take_option(self, word, words, at, result)
    else
      seen = seen + 1
      local argument = self.arguments[seen]
      if not argument or argument.unusual then
        return nil
      end
      result[argument.name] = word
    end
    if not at then
      return nil
    end
    at = at + 1
  end
  for i = seen + 1, #self.arguments do
    if not self.arguments[i].optional or self.arguments[i].unusual then
      return nil
    end
  end
  for _, option in pairs(self.options) do
    if option.unusual and option.kind == "option" then
      return nil
    elseif option.default ~= nil and result[option.name] == nil then
      result[option.name] = option.default
    end
  end
  return result
end

return quick

--- reference.lua - the Lua reference as text, from the stubs: `bulkhead help lua` and help() print it.
local show = require "show"
local stubs = require "stubs"

local reference = {}

--- Text filled to a width, paragraph by paragraph; examples stay as they are written.
---@param text string
---@param width integer
---@param indent string in front of every line
function reference.fill(text, width, indent)
  local out, words, example = {}, {}, false
  local function flush()
    if #words > 0 then
      for line in show.wrap(words, width - #indent, ""):gmatch "[^\n]+" do
        out[#out + 1] = indent .. line
      end
      words = {}
    end
  end
  for line in (text .. "\n"):gmatch "(.-)\n" do
    if line:find "^```" then
      flush()
      example = not example
    elseif example then
      out[#out + 1] = indent .. "    " .. line
    elseif line == "" then
      flush()
      out[#out + 1] = out[#out] ~= "" and "" or nil
    else
      for word in line:gmatch "%S+" do
        words[#words + 1] = word
      end
    end
  end
  flush()
  while out[#out] == "" do
    out[#out] = nil
  end
  return table.concat(out, "\n")
end

--- Rows of name, type and text under each other.
local function rows(list, width)
  local longest, lines = 0, {}
  for _, each in ipairs(list) do
    longest = math.max(longest, #each.name + (each.optional and 1 or 0))
  end
  longest = math.min(longest, 24)
  for _, each in ipairs(list) do
    local name = each.name .. (each.optional and "?" or "")
    local words = { name .. (" "):rep(longest - #name), each.type }
    for word in each.text:gmatch "%S+" do
      words[#words + 1] = word
    end
    local text = show.wrap(words, width - 4, (" "):rep(longest + 1))
    lines[#lines + 1] = "    " .. text:gsub("\n", "\n    ")
  end
  return lines
end

local function add_all(lines, list)
  table.move(list, 1, #list, #lines + 1, lines)
end

--- What is returned, in one line if it is a value or the three that a refusal is.
local function returns_of(stub)
  local parts = {}
  local count = #stub.returns
  local refusal = count >= 3 and stub.returns[count].text == "code" and stub.returns[count - 1].text == "message"
  for i = 1, refusal and count - 2 or count do
    local each = stub.returns[i]
    parts[#parts + 1] = each.text ~= "" and each.type .. " " .. each.text or each.type
  end
  if #parts == 0 then
    return nil
  end
  return table.concat(parts, "; ") .. (refusal and "; or nil, message, code" or "")
end

--- A function: how it is called, what it does, takes and returns.
---@param stub stub
---@param width integer
---@return string
function reference.of_function(stub, width)
  local lines = { stub.signature }
  if stub.text ~= "" then
    lines[#lines + 1] = reference.fill(stub.text, width, "  ")
  end
  if #stub.params > 0 then
    add_all(lines, rows(stub.params, width))
  end
  local returns = returns_of(stub)
  if returns then
    local words = { "  returns" }
    for word in returns:gmatch "%S+" do
      words[#words + 1] = word
    end
    lines[#lines + 1] = show.wrap(words, width, "    ")
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The classes of records that a function takes or gives, each once.
local function mentioned(api, stub, seen)
  local list = {}
  for _, group in ipairs { stub.params, stub.returns } do
    for _, each in ipairs(group) do
      local class = stubs.class_of(api, each.type)
      if class and #class.fields > 0 and not class.module and not seen[class.name] then
        seen[class.name] = true
        list[#list + 1] = class
      end
    end
  end
  return list
end

--- A class: its fields, and its functions by name.
---@param class stub_class
---@param width integer
---@return string
function reference.of_class(api, class, width)
  local lines = { class.name }
  local text = class.text
  for _, module in ipairs(api.modules) do
    if text == "" and module.file == class.file and class.module then
      text = module.text
    end
  end
  if text ~= "" then
    lines[#lines + 1] = reference.fill(text, width, "  ")
  end
  add_all(lines, rows(class.fields, width))
  local names = {}
  for _, stub in ipairs(api.functions) do
    if stub.class == class.name then
      names[#names + 1] = stub.signature
    end
  end
  if #names > 0 then
    lines[#lines + 1] = "  " .. show.wrap(names, width - 2, "  "):gsub("\n", "\n  ")
  end
  return table.concat(lines, "\n") .. "\n"
end

--- All of it, file by file.
---@param api api
---@param width integer
---@return string
function reference.all(api, width)
  local parts = { reference.fill("A script loads the modules, like `local bulkhead = require \"bulkhead\"` and `local "
    .. "filter = require \"bulkhead.filter\"`; a session has them.", width, "") .. "\n" }
  for _, module in ipairs(api.modules) do
    parts[#parts + 1] = ("== %s ==\n%s\n"):format(module.file, reference.fill(module.text, width, ""))
    local shown = {}
    for _, stub in ipairs(api.functions) do
      if stub.file == module.file then
        parts[#parts + 1] = reference.of_function(stub, width)
      end
    end
    for _, name in ipairs(api.order) do
      local class = api.classes[name]
      if class.file == module.file and #class.fields > 0 and not shown[name] then
        shown[name] = true
        local lines = { class.name .. " (fields)" }
        if class.text ~= "" and not class.module then
          lines[#lines + 1] = reference.fill(class.text, width, "  ")
        end
        add_all(lines, rows(class.fields, width))
        parts[#parts + 1] = table.concat(lines, "\n") .. "\n"
      end
    end
  end
  return table.concat(parts, "\n")
end

--- What is known of a name: a function with the records it deals in, or a class or module.
---@param api api
---@param name string
---@param width integer
---@return string?
function reference.of_name(api, name, width)
  local exact = stubs.find(api, name)
  local class = stubs.find_class(api, name)
  if class and not (exact and exact.name == name) then
    return reference.of_class(api, class, width)
  elseif not exact then
    local owner, key = name:match "^([%w_]+)[.:]([%w_]+)$"
    class = owner and stubs.find_class(api, owner)
    for _, field in ipairs(class and class.fields or {}) do
      if field.name == key then
        return ("%s %s\n%s\n"):format(name, field.type, reference.fill(field.text, width, "  "))
      end
    end
    return nil
  end
  local parts = { reference.of_function(exact, width) }
  for _, each in ipairs(mentioned(api, exact, {})) do
    parts[#parts + 1] = reference.of_class(api, each, width)
  end
  return table.concat(parts, "\n")
end

return reference

--- dispatch.lua - from words to a command, from its end to an exit status.
---
--- 0 done; 1 understood but refused; 2 arguments or input that do not parse. Whatever is not 0 has
--- one sentence on standard error.
local catalogue = require "catalogue"
local quick = require "quick"
local refuse = require "refuse"
local session = require "session"

local dispatch = {}

--- Takes the command out of the words; options before it stay in front of the rest.
---@return string? name
---@return string[] rest
local function take_command(words)
  local at = 1
  while words[at] and words[at]:sub(1, 1) == "-" do
    at = at + 1
    -- The word after an option may be its value, if a command still follows.
    local next_word = words[at]
    if next_word and next_word:sub(1, 1) ~= "-" and not catalogue[next_word] and words[at + 1] then
      at = at + 1
    end
  end
  local rest = table.move(words, 1, #words, 1, {})
  return table.remove(rest, at), rest
end

--- The words up to the first that is no option, and what follows it (the script's own).
local function split_tail(words)
  local head, tail = {}, {}
  for i, word in ipairs(words) do
    if word == "--" or word:sub(1, 1) ~= "-" then
      local first = word == "--" and i + 1 or i
      head[#head + 1] = words[first]
      table.move(words, first + 1, #words, 1, tail)
      break
    end
    head[#head + 1] = word
  end
  return head, tail
end

local function add_options(parser, command)
  if command.options then
    command.options(parser)
  end
  for _, option in ipairs(parser._options or {}) do
    option:overwrite(false) -- an option that is no list is given once
  end
  if not command.silent then
    parser:flag "--json":description "Print one JSON document."
  end
end

--- The argument parser of a command, and by verb its parts.
local function parser_of(entry, command)
  local parser = require "argparse"("bulkhead " .. entry[1], entry[2]:gsub("^%l", string.upper) .. ".")
  parser:add_help(false)
  add_options(parser, command)
  local parts, verbs = {}, {}
  if command.verbs then
    parser:command_target "verb"
    for _, verb in ipairs(command.verbs) do
      local part = parser:command(verb.name, verb.summary)
      part:add_help(false)
      add_options(part, verb)
      parts[verb.name], verbs[verb.name] = part, verb
    end
  end
  return parser, parts, verbs
end

--- The arguments of a command and who runs it, if its words are plain: nil leaves them to argparse.
local function read_quickly(command, words)
  local verb
  for _, each in ipairs(command.verbs or {}) do
    verb = each.name == words[1] and each or verb
  end
  if command.verbs and not verb then
    return nil
  end
  local reader = quick.reader()
  add_options(reader, verb or command)
  local args = reader:read(verb and table.move(words, 2, #words, 1, {}) or words)
  if args and verb then
    args.verb, args[verb.name] = verb.name, true -- as argparse marks it
  end
  return args, verb or command
end

local function verbs_of(command)
  local names = {}
  for i, verb in ipairs(command.verbs) do
    names[i] = verb.name
  end
  return table.concat(names, ", ", 1, #names - 1) .. " or " .. names[#names]
end

local function read_slowly(entry, command, words)
  local parser, _, verbs = parser_of(entry, command)
  local ok, args = parser:pparse(words)
  if not ok then
    if command.verbs and args == "a command is required" then
      args = "a verb is missing: " .. verbs_of(command)
    end
    refuse.input(("%s; see `bulkhead help %s`"):format(args:gsub("%s+", " "), entry[1]))
  end
  return args, verbs[args.verb] or command
end

local function load_command(name)
  if name:sub(1, 1) == "-" then
    refuse.input(("there is no option '%s' without a command; see `bulkhead help`"):format(name))
  end
  local entry = catalogue[name]
  if type(entry) ~= "table" then
    local shown = require("validate").quoted(name)
    refuse.input(("there is no command %s; see `bulkhead help`"):format(shown))
  end
  return entry, require("commands." .. name)
end

--- The help of a command, or of one of its verbs.
---@return string
function dispatch.help(name, verb)
  local entry, command = load_command(name)
  local parser, parts = parser_of(entry, command)
  local part = verb and parts[verb]
  if verb and not part then
    refuse.input(("'%s' has no verb '%s'; see `bulkhead help %s`"):format(name, verb, name))
  end
  return (part or parser):get_help() .. "\n"
end

local function wants_help(words)
  for _, word in ipairs(words) do
    if word == "--" then
      return false
    elseif word == "--help" or word == "-h" then
      return true
    end
  end
  return false
end

local function perform(words, here)
  if #words == 0 then
    refuse.input "a command is missing; see `bulkhead help`"
  elseif words[1] == "--version" then
    if words[2] then
      refuse.input(("--version takes no words, like %s"):format(require("validate").quoted(words[2])))
    end
    io.stdout:write("bulkhead ", arg.version, "\n")
    return 0
  elseif words[1] == "--help" or words[1] == "-h" then
    io.stdout:write(catalogue.text())
    return 0
  end
  local name, rest = take_command(words)
  local entry, command = load_command(name or words[1])
  local head, tail = rest, nil
  if command.tail then
    head, tail = split_tail(rest)
  end
  if wants_help(head) then
    local verb = command.verbs and head[1] ~= "--help" and head[1] ~= "-h" and head[1] or nil
    io.stdout:write(dispatch.help(name, verb))
    return 0
  end
  local args, runner = read_quickly(command, head)
  if not args then
    args, runner = read_slowly(entry, command, head)
  end
  args.tail = tail
  if command.lua then
    package.path, package.cpath = here.path, here.cpath
  end
  session.json, session.brief = args.json or false, command.brief or false
  if not command.brief then
    collectgarbage "restart" -- it is stopped while the program starts
  end
  return runner.run(args) or 0, command.brief
end

--- Whether a runtime calls the program as a CNI plugin.
local function is_plugin(name)
  return (os.getenv "CNI_COMMAND" or "") ~= "" or (name or ""):match "[^/]*$" == "bulkhead-cni"
end

--- Runs the words; returns the exit status, and whether nothing is left that must be closed.
---@param words string[]
---@param here { path: string, cpath: string } where programs of the user are looked for
---@return integer status
---@return boolean? closed
function dispatch.main(words, here)
  if #words == 0 and is_plugin(words[0]) then
    words = { "cni" }
  end
  local ok, result, closed = pcall(perform, words, here)
  if ok then
    return result, closed
  end
  session.say(result)
  return refuse.is(result) and result.status or 1
end

--- Both ways to read a command's words, for the test that holds them to each other.
---@return table? quick nil where argparse is asked
---@return table? args
function dispatch.both(name, words)
  local entry, command = load_command(name)
  local ok, args = parser_of(entry, command):pparse(words)
  return (read_quickly(command, words)), ok and args or nil
end

return dispatch

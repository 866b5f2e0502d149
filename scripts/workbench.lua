--- workbench.lua - what chunks of a session see: the host, its lists, and words to ask about it.
--- bindings/types/repl.lua documents them.
local asking = require "asking"
local delta = require "delta"
local guarded = require "guarded"
local reference = require "reference"
local rule_text = require "rule_text"
local session = require "session"
local show = require "show"
local stubs = require "stubs"

local workbench = {}
local need, id_of = asking.need, asking.id_of

--- A list that can also be asked by name and called, as the host's method is.
local function named_list(host, method)
  return setmetatable(host[method](host), {
    __records = true, __name = method,
    __index = function(self, key)
      for i = 1, type(key) == "string" and rawlen(self) or 0 do
        local record = rawget(self, i)
        if record.name == key or record.id == key then
          return record
        end
      end
    end,
    __call = function(_, ...)
      return host[method](host, ...)
    end,
  })
end

local LISTS = { containers = true, networks = true, compartments = true }

--- The container that has a packet's local address.
local function owner_of(host, packet)
  for _, endpoint in ipairs(host:endpoints()) do
    for _, address in ipairs(endpoint.addresses) do
      if address:match "^[^/]+" == packet["local"] then
        return endpoint.container
      end
    end
  end
end

--- An answer that prints as `bulkhead explain` does.
local function answered(text, answer)
  return setmetatable(answer, { __text = function()
    return require("commands.explain").describe(text, answer)
  end })
end

--- Explains packets, about a container of the host or an imagined one.
---@param host host
---@param ... string
function workbench.explain(host, ...)
  local filter, validate = require "bulkhead.filter", require "validate"
  local words, parsed, answers = table.pack(...), {}, {}
  local who
  if words.n == 0 then
    error("a packet is missing, like 'in tcp 10.0.0.9:51000 -> 172.16.0.2:80'", 0)
  elseif not tostring(words[1]):find "^%s*in%s" and not tostring(words[1]):find "^%s*out%s" then
    who = id_of(host, table.remove(words, 1))
  end
  for i, text in ipairs(words) do
    parsed[i] = need(filter.packet(tostring(text)))
  end
  need(parsed[1], "a packet is missing, like 'in tcp 10.0.0.9:51000 -> 172.16.0.2:80'")
  who = who or owner_of(host, parsed[1])
  local worlds = require "worlds"
  local world = who and need(worlds.live(host, who, parsed)) or need(worlds.imagined({
    type = "process", driver = "nat", addresses = {}, published = need(validate.published {}),
    policies = session.policies(),
  }, parsed))
  for i, text in ipairs(words) do
    answers[i] = answered(text, need(require("explain").packet(world, text)))
  end
  if #answers == 1 then
    return answers[1]
  end
  return setmetatable(answers, { __text = function()
    local texts = {}
    for i, answer in ipairs(answers) do
      texts[i] = getmetatable(answer).__text()
    end
    return table.concat(texts, "\n")
  end })
end

--- The methods of a class of objects, as the program has them.
local function methods_of(env, name)
  if name == "host" then
    return env.host
  elseif name == "trial" then
    return require("whatif").methods
  end
  local meta = debug.getregistry()["bulkhead." .. name]
  return meta and type(meta.__index) == "table" and meta.__index or {}
end

--- The name in the stubs of what help() was given.
local function name_of(api, env, topic)
  if type(topic) == "string" then
    return topic
  elseif type(topic) == "userdata" or type(topic) == "table" and getmetatable(topic) then
    local name = (getmetatable(topic) or {}).__name
    return name and (name:gsub("^bulkhead%.", ""))
  end
  for _, stub in ipairs(api.functions) do
    local class = api.classes[stub.class]
    local owner = class.name:match "[%w_]+$"
    local home = class.name == "bulkhead.repl" and env or class.module and rawget(env, owner)
      or not class.module and methods_of(env, class.name)
    if type(home) == "table" and home[stub.key] == topic then
      return stub.name
    end
  end
  for name, class in pairs(api.classes) do
    if class.module and topic == rawget(env, name:match "[%w_]+$") then
      return name
    end
  end
end

local function help_text(api, env, topic)
  local width = show.width() or 80
  if topic ~= nil then
    local name = name_of(api, env, topic)
    local object = type(topic) == "userdata" and name and api.classes[name]
    if object then
      return reference.of_class(api, object, width)
    end
    return name and reference.of_name(api, name, width) or "nothing is known of this; help() lists all names\n"
  end
  local parts = {}
  for _, file in ipairs { "repl", "bulkhead", "filter", "prove", "policy", "replay", "lab", "console" } do
    local names = {}
    for _, stub in ipairs(api.functions) do
      names[#names + 1] = stub.file == file and stub.name or nil
    end
    if file == "repl" then
      for _, field in ipairs(api.classes["bulkhead.repl"].fields) do
        names[#names + 1] = field.name
      end
      table.sort(names)
    end
    parts[#parts + 1] = show.wrap(names, width, "  ") .. "\n"
  end
  return table.concat(parts) .. "help \"host:rules\" explains one; tutorial() shows around.\n"
end

--- Changing words: add, and what delta tells.
local function add_writers(env, host, record)
  function env.add(who, ...)
    local rules = {}
    for _, given in ipairs { ... } do
      table.move(given.action and { given } or given, 1, given.action and 1 or #given, #rules + 1, rules)
    end
    if #rules == 0 then
      error("a rule is missing, like block.inbound { protocol = \"tcp\", local_port = 22 }", 0)
    end
    local endpoints = asking.endpoints_of(host, id_of(host, who))
    need(host:begin())
    for _, endpoint in ipairs(endpoints) do
      local ok, message = host:add_rules(endpoint.id, rules)
      if not ok then
        host:abort()
        error(message, 0)
      end
    end
    return (need(host:commit()))
  end
  function env.delta()
    io.stdout:write(delta.text(record))
  end
end

--- The module `bulkhead` as a session that only reads should have it: live hosts open for reading.
local function careful(module)
  return setmetatable({ open = function(options)
    if options and options.write and options.platform == "linux" then
      error("this session only reads the host; `bulkhead repl --linux --write` may change it", 0)
    end
    return module.open(options)
  end }, { __index = module })
end

--- What a session has.
---@param live host
---@param write boolean
---@return table env
---@return { names: function, api: api, abandon: function } tools
function workbench.new(live, write)
  local api = stubs.load()
  local host, record, abandon = guarded.wrap(live, write)
  local bulkhead = require "bulkhead"
  local env = {
    host = host, bulkhead = write and bulkhead or careful(bulkhead), filter = require "bulkhead.filter",
    policy = require "bulkhead.policy", prove = require "bulkhead.prove", replay = require "bulkhead.replay",
    allow = rule_text.maker "allow", block = rule_text.maker "block",
  }
  function env.explain(...)
    return workbench.explain(host, ...)
  end
  function env.endpoints(who)
    return asking.endpoints_of(host, who)
  end
  function env.rules(who)
    return asking.gathered(host, who, "rules")
  end
  function env.flows(who)
    return require("notation").sort(asking.gathered(host, who, "flows"))
  end
  function env.drops(who, last)
    if math.type(who) == "integer" then
      who, last = nil, who
    end
    local id, list = who and id_of(host, who), {}
    for _, drop in ipairs((host:drops(-8192))) do
      list[#list + 1] = (not id or drop.container == id) and drop or nil
    end
    return table.move(list, math.max(1, #list - (last or 20) + 1), #list, 1, {})
  end
  function env.watch(who, seconds)
    require("watch").run(host, who and id_of(host, who), seconds)
  end
  env["try"] = function(path, who)
    local whatif = require "whatif"
    return whatif.new(host, whatif.path(path), who and id_of(host, who))
  end
  function env.tutorial()
    require("tutorial").run()
  end
  function env.help(topic)
    io.stdout:write(help_text(api, env, topic))
  end
  add_writers(env, host, record)
  setmetatable(env, { __index = function(_, key)
    if LISTS[key] then
      return named_list(host, key)
    end
    return _G[key]
  end })
  local function names(what)
    local list = {}
    for _, each in ipairs(host[what](host)) do
      list[#list + 1] = each.name
    end
    return list
  end
  return env, { names = names, api = api, abandon = abandon }
end

return workbench

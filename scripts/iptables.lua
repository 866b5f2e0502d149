--- iptables.lua - the rules of iptables of old (`iptables-legacy`), which nftables does not show.
---
--- They are told in the words of `iptables-save` and put beside nftables' as if they were chains of it.
--- A match that is not known here may hold or not. Where the program that tells them is missing, what
--- can be said is that a table is in use.
local lfs = require "lfs"

local iptables = {}

--- Only where root alone writes: the path may be anybody's.
local PLACES = { "/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/" }

local FAMILIES = {
  { family = "ip", names = "/proc/thread-self/net/ip_tables_names", program = "iptables-legacy-save" },
  { family = "ip6", names = "/proc/thread-self/net/ip6_tables_names", program = "ip6tables-legacy-save" },
}

local PRIORITY = { raw = -300, mangle = -150, nat = -100, filter = 0, security = 50 }

--- Words of a line; those in double quotes are one.
local function words_of(line)
  local words, at = {}, 1
  while true do
    at = line:find("%S", at)
    if not at then
      return words
    elseif line:sub(at, at) == '"' then
      local stop, word = at + 1, {}
      while stop <= #line and line:sub(stop, stop) ~= '"' do
        stop = stop + (line:sub(stop, stop) == "\\" and 1 or 0)
        word[#word + 1] = line:sub(stop, stop)
        stop = stop + 1
      end
      words[#words + 1], at = table.concat(word), stop + 1
    else
      words[#words + 1] = line:match("^%S+", at)
      at = at + #words[#words]
    end
  end
end

local function payload(protocol, field)
  return { payload = { protocol = protocol, field = field } }
end

--- "a:b" as a range, a list with commas as a list.
local function ports(text)
  local list = {}
  for part in text:gmatch "[^,]+" do
    local low, high = part:match "^(%d*):(%d*)$"
    list[#list + 1] = low and { range = { tonumber(low) or 0, tonumber(high) or 65535 } } or tonumber(part) or part
  end
  return { set = list }
end

local function list_of(text)
  local list = {}
  for part in text:lower():gmatch "[^,]+" do
    list[#list + 1] = part
  end
  return { set = list }
end

local function address(text)
  local base, length = text:match "^([^/]+)/(.+)$"
  if not base then
    return text
  end
  return tonumber(length) and { prefix = { addr = base, len = tonumber(length) } } or {} -- a mask: not known here
end

local function interface(text)
  return (text:gsub("%+$", "*"))
end

local function th(field)
  return function() return payload("th", field) end
end

--- Options with one value: the left side of a match, and what to make of the value.
local OPTIONS = {
  ["-p"] = { function() return { meta = { key = "l4proto" } } end, tostring },
  ["-i"] = { function() return { meta = { key = "iifname" } } end, interface },
  ["-o"] = { function() return { meta = { key = "oifname" } } end, interface },
  ["-s"] = { function(family) return payload(family, "saddr") end, address },
  ["-d"] = { function(family) return payload(family, "daddr") end, address },
  ["--dport"] = { th "dport", ports }, ["--dports"] = { th "dport", ports },
  ["--sport"] = { th "sport", ports }, ["--sports"] = { th "sport", ports },
  ["--ctstate"] = { function() return { ct = { key = "state" } } end, list_of },
  ["--state"] = { function() return { ct = { key = "state" } } end, list_of },
  ["--dst-type"] = { function() return { fib = { result = "type", flags = { "daddr" } } } end, string.lower },
}

local KNOWN = { tcp = true, udp = true, sctp = true, multiport = true, conntrack = true, state = true,
  comment = true, addrtype = true }

local DOUBT = { unknown = {} }

--- A rule as nftables would show it.
local function rule_of(words, family)
  local expressions, i, negated = {}, 3, false
  local function add(expression)
    expressions[#expressions + 1] = expression
  end
  while i <= #words do
    local word, value = words[i], words[i + 1]
    local option = OPTIONS[word]
    if word == "!" then
      negated, i = true, i + 1
    elseif option and value then
      add { match = { op = negated and "!=" or "==", left = option[1](family), right = option[2](value) } }
      negated, i = false, i + 2
    elseif word == "-m" and value then
      if not KNOWN[value] then
        add(DOUBT)
      end
      i = i + 2
    elseif word == "--comment" then
      i = i + 2
    elseif (word == "-j" or word == "-g") and value then
      local plain = ({ ACCEPT = "accept", DROP = "drop", RETURN = "return" })[value]
      if plain then
        add { [plain] = {} }
      elseif value:find "^%u+$" and word == "-j" then
        add { xt = { type = "target", name = value, chain = value } }
      else
        add { [word == "-g" and "goto" or "jump"] = { target = value } }
      end
      break -- what follows belongs to the target
    else
      add(DOUBT)
      i = i + 1
    end
  end
  return expressions
end

--- What `iptables-save` writes, as items of a ruleset.
---@param text string
---@param family "ip"|"ip6"
---@return table[]
function iptables.parse(text, family)
  local items, table_name, number, own = {}, nil, 0, {}
  local label = family == "ip" and "iptables-legacy" or "ip6tables-legacy"
  for line in text:gmatch "[^\n]+" do
    local chain, policy = line:match "^:(%S+)%s+(%S+)"
    if line:sub(1, 1) == "*" then
      table_name, number, own = line:sub(2), 0, {}
    elseif chain and table_name then
      local base = policy ~= "-"
      own[chain] = not base or nil
      items[#items + 1] = { chain = {
        family = family, label = label, table = table_name, name = chain, hook = base and chain:lower() or nil,
        prio = table_name == "nat" and (chain == "POSTROUTING" or chain == "INPUT") and 100
          or PRIORITY[table_name] or 0,
        policy = base and policy:lower() or nil,
      } }
    elseif line:sub(1, 3) == "-A " and table_name then
      local words = words_of(line)
      number = number + 1
      local expressions = rule_of(words, family)
      local last = expressions[#expressions]
      if last and last.xt and own[last.xt.name] then -- a chain in capitals
        expressions[#expressions] = { jump = { target = last.xt.name } }
      end
      items[#items + 1] = { rule = {
        family = family, label = label, table = table_name, chain = words[2], handle = number, expr = expressions,
      } }
    end
  end
  return items
end

local function find_program(name)
  for _, place in ipairs(PLACES) do
    if lfs.attributes(place .. name, "mode") == "file" then
      return place .. name
    end
  end
end

local function slurp(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

--- Adds the rules of this namespace to a ruleset, and to its list `unread` the tables that cannot be
--- read, as "iptables-legacy TABLE".
function iptables.add(ruleset)
  ruleset.unread = {}
  for _, each in ipairs(FAMILIES) do
    local names = slurp(each.names)
    local program = names:find "%S" and find_program(each.program)
    local pipe = program and io.popen(program .. " 2>/dev/null")
    local items = pipe and iptables.parse(pipe:read "a", each.family) or {}
    if pipe then
      pipe:close()
    end
    table.move(items, 1, #items, #ruleset.nftables + 1, ruleset.nftables)
    if #items == 0 then
      for name in names:gmatch "%S+" do
        ruleset.unread[#ruleset.unread + 1] = ("%s %s"):format(each.program:gsub("%-save$", ""), name)
      end
    end
  end
end

return iptables

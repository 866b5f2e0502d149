--- nft.lua - what other tables of nftables would do to a packet, as far as can be told from outside.
---
--- The ruleset comes as `nft -j` writes it. Facts about the packet are partly unknown (we know the
--- port, not the sender), so every match is answered yes, no or maybe, and a chain's verdict is
--- "drop" or "accept" only where every packet with these facts would meet it; else "unknown". Nobody
--- is accused of a drop on a maybe.
local json = require "json"

local nft = {}

local DEPTH = 16 -- nftables' own bound on jumps

---@class nft_facts
---@field protocol? string "tcp", "udp", …; absent: any protocol
---@field dport? integer
---@field state? string of the connection, like "new"
---@field iifname? string|fun(name: string): "yes"|"no"|"maybe"
---@field oifname? string|fun(name: string): "yes"|"no"|"maybe"

--- Reads the ruleset of this namespace; nil where nft is missing or may not.
function nft.read()
  local pipe = io.popen "nft -j list ruleset 2>/dev/null"
  local text = pipe and pipe:read "a" or ""
  if pipe then
    pipe:close()
  end
  return text ~= "" and json.decode(text) or nil
end

local function equal(fact, value)
  if type(fact) == "function" then
    return fact(tostring(value))
  elseif fact == nil then
    return "maybe"
  elseif type(value) == "table" and value.range then
    local low, high = tonumber(value.range[1]), tonumber(value.range[2])
    if type(fact) ~= "number" or not low or not high then
      return "maybe"
    end
    return fact >= low and fact <= high and "yes" or "no"
  elseif type(value) == "table" and value.set then
    local best = "no"
    for _, each in ipairs(type(value.set) == "table" and value.set or {}) do
      local answer = equal(fact, each)
      if answer == "yes" then
        return "yes"
      elseif answer == "maybe" then
        best = "maybe"
      end
    end
    return best
  elseif type(value) == "table" and #value > 0 then
    return equal(fact, { set = value })
  elseif type(value) == "table" or (type(value) == "string" and value:sub(1, 1) == "@") then
    return "maybe"
  elseif type(value) == "string" and value:sub(-1) == "*" then
    return type(fact) == "string" and fact:sub(1, #value - 1) == value:sub(1, -2) and "yes" or "no"
  end
  return tostring(fact) == tostring(value) and "yes" or "no"
end

local NOT = { yes = "no", no = "yes", maybe = "maybe" }

--- The fact that the left side of a match asks for; second: the match is of another protocol.
local function fact_of(left, facts)
  local payload, meta, ct = left.payload, left.meta, left.ct
  if payload then
    local protocol, field = payload.protocol, payload.field
    if protocol == "ip" and field == "protocol" or protocol == "ip6" and field == "nexthdr" then
      return facts.protocol
    elseif protocol == "tcp" or protocol == "udp" or protocol == "sctp" or protocol == "icmp"
      or protocol == "icmpv6" or protocol == "th" then
      if facts.protocol and protocol ~= "th" and protocol ~= facts.protocol then
        return nil, true
      end
      -- Without a protocol known a port can't be either.
      return field == "dport" and facts.dport or nil
    end
  elseif meta then
    if meta.key == "l4proto" then
      return facts.protocol
    elseif meta.key == "iifname" or meta.key == "iif" then
      return facts.iifname
    elseif meta.key == "oifname" or meta.key == "oif" then
      return facts.oifname
    end
  elseif ct and ct.key == "state" then
    return facts.state
  end
end

local function matches(match, facts)
  if type(match.left) ~= "table" then
    return "maybe"
  end
  local fact, other_protocol = fact_of(match.left, facts)
  if other_protocol then
    return "no"
  end
  local answer = equal(fact, match.right)
  if match.op == "!=" then
    return NOT[answer]
  elseif match.op == "==" or match.op == "in" then
    return answer
  end
  return "maybe"
end

local HARMLESS = { counter = true, comment = true, log = true, mangle = true, notrack = true }

--- Whether a rule applies, its verdict, and for jump and goto the target.
local function read_rule(rule, facts)
  local applies = "yes"
  for _, expression in ipairs(rule.expr or {}) do
    local kind, body = next(expression)
    if kind == "match" then
      local answer = matches(body, facts)
      if answer == "no" then
        return "no"
      elseif answer == "maybe" then
        applies = "maybe"
      end
    elseif kind == "accept" or kind == "drop" or kind == "return" then
      return applies, kind
    elseif kind == "reject" then
      return applies, "drop"
    elseif kind == "jump" or kind == "goto" then
      return applies, kind, body.target
    elseif kind == "queue" or kind == "vmap" then
      return applies, "unknown"
    elseif kind ~= nil and not HARMLESS[kind] then
      applies = "maybe"
    end
  end
  return applies
end

--- What a chain does: accept, drop, unknown, or "none" if the packet falls through.
local function walk(chains, key, facts, depth)
  local chain = chains[key]
  if not chain or depth > DEPTH then
    return "unknown"
  end
  local possible = {} -- verdicts that rules before may have given
  local function settle(verdict)
    for other in pairs(possible) do
      if other ~= verdict then
        return "unknown"
      end
    end
    return verdict
  end
  for _, rule in ipairs(chain.rules) do
    local applies, verdict, target = read_rule(rule, facts)
    if applies ~= "no" and verdict then
      local leaves = verdict == "goto" or verdict == "return"
      if target then
        verdict = walk(chains, chain.prefix .. target, facts, depth + 1)
      elseif verdict == "return" then
        verdict = "none"
      end
      if applies == "yes" and (verdict ~= "none" or leaves) then
        return settle(verdict)
      elseif verdict ~= "none" or leaves then
        possible[verdict] = true
      end
    end
  end
  return settle "none"
end

--- All chains with their rules, by "FAMILY TABLE CHAIN"; second: the base chains in order.
local function index(ruleset)
  local chains, bases = {}, {}
  for _, item in ipairs(ruleset.nftables or {}) do
    if item.chain then
      local chain = item.chain
      local prefix = chain.family .. " " .. chain.table .. " "
      local entry = {
        prefix = prefix, name = chain.name, table = chain.table, family = chain.family,
        hook = chain.hook, policy = chain.policy, rules = {},
      }
      chains[prefix .. chain.name] = entry
      if chain.hook then
        bases[#bases + 1] = entry
      end
    elseif item.rule then
      local chain = chains[("%s %s %s"):format(item.rule.family, item.rule.table, item.rule.chain)]
      if chain then
        chain.rules[#chain.rules + 1] = item.rule
      end
    end
  end
  return chains, bases
end

--- The base chains at a hook that would drop every packet with these facts, as
--- "FAMILY TABLE CHAIN". Tables of our own are passed over.
---@param ruleset table as `nft -j list ruleset` decodes
---@param hook "input"|"forward"|"output"
---@param facts nft_facts
---@return string[]
function nft.drops(ruleset, hook, facts)
  local chains, bases = index(ruleset)
  local found = {}
  for _, base in ipairs(bases) do
    local ip = base.family == "ip" or base.family == "ip6" or base.family == "inet"
    if base.hook == hook and ip and not base.table:find "^bulkhead_"
      and (not facts.family or base.family == "inet" or base.family == facts.family) then
      local verdict = walk(chains, base.prefix .. base.name, facts, 0)
      if verdict == "none" then
        verdict = base.policy or "accept"
      end
      if verdict == "drop" then
        found[#found + 1] = base.prefix .. base.name
      end
    end
  end
  return found
end

return nft

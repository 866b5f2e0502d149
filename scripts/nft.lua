--- nft.lua - what other tables of nftables would do to a packet, as far as can be told from outside.
---
--- The ruleset comes as libnftables writes it in JSON. Every match is answered yes, no or maybe
--- (nft_match.lua), and a chain's verdict is "drop" or "accept" only where every packet with these
--- facts would meet it; else "unknown". Nobody is accused of a drop on a maybe.
local bulkhead = require "bulkhead"
local iptables = require "iptables"
local json = require "json"
local nft_match = require "nft_match"

local nft = {}

local DEPTH = 16 -- nftables' own bound on jumps

--- Reads what filters packets in this namespace: nftables', and iptables' of old.
---@return table? ruleset nil where it cannot be read
---@return string? message why not
function nft.read()
  local text, message = bulkhead.nftables()
  if not text then
    return nil, message
  end
  local ruleset = json.decode(text)
  if type(ruleset) ~= "table" or type(ruleset.nftables) ~= "table" then
    return nil, "what nftables says of its rules is not understood"
  end
  iptables.add(ruleset)
  return ruleset
end

local HARMLESS = {
  counter = true, comment = true, log = true, mangle = true, notrack = true, quota = false, flow = true,
  ["ct helper"] = true, ["ct timeout"] = true, ["ct expectation"] = true, secmark = true, set = true, map = true,
}

--- Verdicts that end a chain; what translates lets pass.
local FINAL = {
  accept = "accept", drop = "drop", reject = "drop", dnat = "accept", snat = "accept", masquerade = "accept",
  redirect = "accept", queue = "unknown", tproxy = "unknown", synproxy = "unknown", fwd = "unknown",
}

--- Targets of iptables that nftables cannot show.
local TARGETS = {
  REJECT = "drop", DROP = "drop", DNAT = "accept", SNAT = "accept", MASQUERADE = "accept", REDIRECT = "accept",
  NETMAP = "accept", TPROXY = "unknown", NFQUEUE = "unknown",
}
local HARMLESS_TARGETS = {
  LOG = true, NFLOG = true, MARK = true, CONNMARK = true, CT = true, TCPMSS = true, CLASSIFY = true, TRACE = true,
  CHECKSUM = true, SET = true, DSCP = true, TOS = true, TTL = true, HL = true,
}

--- A statement's verdict: "accept", "drop", "unknown", "return", "jump", "goto"; second: where to.
--- Nothing: it has none; third: it may keep the rule from applying.
local function verdict_of(kind, body)
  if FINAL[kind] then
    return FINAL[kind]
  elseif kind == "return" then
    return "return"
  elseif kind == "jump" or kind == "goto" then
    return kind, body.target
  elseif kind == "xt" and type(body) == "table" and body.type == "target" then
    return TARGETS[body.name] or not HARMLESS_TARGETS[body.name] and "unknown" or nil
  elseif kind ~= nil and kind ~= "continue" and not HARMLESS[kind] then
    return nil, nil, true
  end
end

--- Whether a rule applies, its verdict, and for jump and goto the target.
local function read_rule(rule, facts, sets)
  local applies = "yes"
  for _, expression in ipairs(rule.expr or {}) do
    local kind, body = next(expression)
    if kind == "match" then
      local answer = nft_match.holds(body, facts, sets)
      if answer == "no" then
        return "no"
      elseif answer == "maybe" then
        applies = "maybe"
      end
    elseif kind == "vmap" then
      local statement, sure = nft_match.verdict(body, facts, sets)
      if sure == "maybe" then
        return "maybe", "unknown"
      elseif statement then
        return applies, verdict_of(next(statement))
      end
    else
      local verdict, target, doubt = verdict_of(kind, body)
      if verdict then
        return applies, verdict, target
      elseif doubt then
        applies = "maybe"
      end
    end
  end
  return applies
end

--- What a chain does: accept, drop, unknown, or "none" if the packet falls through; second: the rule
--- that drops, or may.
local function walk(chains, key, facts, depth)
  local chain = chains[key]
  if not chain or depth > DEPTH then
    return "unknown"
  end
  local possible = {} -- verdicts that rules before may have given
  local suspect
  local function settle(verdict, by)
    for other in pairs(possible) do
      if other ~= verdict then
        return "unknown", suspect or by
      end
    end
    return verdict, verdict == "drop" and (suspect or by) or nil
  end
  for _, rule in ipairs(chain.rules) do
    local applies, verdict, target = read_rule(rule, facts, chain.sets)
    if applies ~= "no" and verdict then
      local leaves, by = verdict == "goto" or verdict == "return", ("rule %s"):format(rule.handle or "?")
      if target then
        local inner
        verdict, inner = walk(chains, chain.prefix .. target, facts, depth + 1)
        by = inner and (inner:find " of " and inner or inner .. " of " .. target) or by
      elseif verdict == "return" then
        verdict = "none"
      end
      if applies == "yes" and (verdict ~= "none" or leaves) then
        return settle(verdict, by)
      elseif verdict ~= "none" or leaves then
        possible[verdict] = true
        suspect = suspect or (verdict == "drop" or verdict == "unknown") and by or nil
      end
    end
  end
  return settle "none"
end

--- The elements of sets and maps, by name, of one table.
local function sets_of(all, item)
  local key = item.family .. " " .. item.table
  all[key] = all[key] or {}
  return all[key]
end

--- All chains with their rules, by "FAMILY TABLE CHAIN"; second: the base chains in order.
local function index(ruleset)
  local chains, bases, sets = {}, {}, {}
  for _, item in ipairs(ruleset.nftables or {}) do
    if item.chain then
      local chain = item.chain
      local prefix = (chain.label or chain.family) .. " " .. chain.table .. " "
      local entry = {
        prefix = prefix, name = chain.name, table = chain.table, family = chain.family, dev = chain.dev,
        hook = chain.hook, type = chain.type, policy = chain.policy, priority = chain.prio or 0, rules = {},
        sets = sets_of(sets, chain),
      }
      chains[prefix .. chain.name] = entry
      if chain.hook then
        bases[#bases + 1] = entry
      end
    elseif item.rule then
      local rule = item.rule
      local chain = chains[("%s %s %s"):format(rule.label or rule.family, rule.table, rule.chain)]
      if chain then
        chain.rules[#chain.rules + 1] = rule
      end
    elseif item.set or item.map then
      local set = item.set or item.map
      sets_of(sets, set)[set.name] = set.elem or {}
    end
  end
  table.sort(bases, function(a, b)
    if a.priority ~= b.priority then
      return a.priority < b.priority
    end
    return a.prefix .. a.name < b.prefix .. b.name
  end)
  return chains, bases
end

local IP = { ip = true, ip6 = true, inet = true }

--- Whether a chain is one that packets with these facts come by, and whether that is only a maybe: older
--- libnftables do not say of which device a chain is. Tables of our own are passed over.
local function concerns(base, hook, facts)
  if base.hook ~= hook or base.table:find "^bulkhead_" then
    return false
  elseif base.family == "netdev" then
    if base.dev == nil then
      return true, true
    end
    local devices = type(base.dev) == "table" and base.dev or { base.dev }
    for _, device in ipairs(devices) do
      if device == facts[hook == "egress" and "oifname" or "iifname"] then
        return true
      end
    end
    return false
  end
  return IP[base.family] and (not facts.family or base.family == "inet" or base.family == facts.family)
end

---@class nft_step a hook on a packet's way
---@field hook string "ingress", "prerouting", "input", "forward", "output", "postrouting"
---@field facts nft_facts
---@field translated? nft_facts in the place of `facts` once our own table has translated

local TRANSLATION = -100 -- priority of ours, at prerouting and output

---@class nft_finding
---@field at string "FAMILY TABLE CHAIN"
---@field verdict "drop"|"unknown"
---@field by string the rule, or "policy"

--- What base chains on a way do that is not surely accept, in order.
---@param ruleset table as nft.read gives it
---@param steps nft_step[]
---@return nft_finding[]
function nft.follow(ruleset, steps)
  local chains, bases = index(ruleset)
  local found = {}
  for _, step in ipairs(steps) do
    for _, base in ipairs(bases) do
      local facts = step.translated and base.priority > TRANSLATION and step.translated or step.facts
      local concerned, doubtful = concerns(base, step.hook, facts)
      if concerned then
        local verdict, by = walk(chains, base.prefix .. base.name, facts, 0)
        if verdict == "none" then
          verdict, by = base.policy or "accept", "policy"
        elseif verdict == "unknown" and not by then
          by = "policy"
        end
        if doubtful and verdict == "drop" then
          verdict = "unknown"
        end
        if verdict ~= "accept" then
          found[#found + 1] = { at = base.prefix .. base.name, verdict = verdict, by = by }
        end
      end
    end
  end
  return found
end

--- The base chains at a hook that would drop every packet with these facts, as
--- "FAMILY TABLE CHAIN".
---@param ruleset table
---@param hook string
---@param facts nft_facts
---@return string[]
function nft.drops(ruleset, hook, facts)
  local names = {}
  for _, finding in ipairs(nft.follow(ruleset, { { hook = hook, facts = facts } })) do
    if finding.verdict == "drop" then
      names[#names + 1] = finding.at
    end
  end
  return names
end

return nft

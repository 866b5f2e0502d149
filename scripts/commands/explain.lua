--- explain.lua - `bulkhead explain [WHO] PACKET…`: why.
local imagined = require "imagined"
local refuse = require "refuse"
local session = require "session"
local show = require "show"
local validate = require "validate"

local command = {}

function command.options(parser)
  parser:argument("WHO|PACKET", "WHO, a container's name, id or prefix; then PACKETs like "
    .. "'in tcp 10.0.0.9:51000 -> 172.16.0.2:80', one sequence."):args "+":target "words"
  imagined.options(parser, "the PACKET's local side")
end

local function is_packet(word)
  return word:find "^%s*in%s" or word:find "^%s*out%s"
end

--- The words as WHO and PACKETs.
local function sort_words(words)
  local who, packets = nil, {}
  for i, word in ipairs(words) do
    if i == 1 and not is_packet(word) then
      who = refuse.parsed(validate.id(word), ("%s is neither a container nor a PACKET, which begins "
        .. "with `in ` or `out `"):format(validate.quoted(word)))
    else
      packets[#packets + 1] = word
    end
  end
  if #packets == 0 then
    refuse.input "a PACKET is missing, like 'in tcp 10.0.0.9:51000 -> 172.16.0.2:80'"
  end
  return who, packets
end

local LOST = { priority = "a lower number came first", block = "block beats allow" }

local null = require("json").null

local function names(value, otherwise)
  return value ~= nil and value ~= null and show.clean(value) or otherwise
end

--- A rule's line under a gate.
local function match_line(match)
  local words = {
    ("    %s %s"):format(match.won and "=>" or "  ", names(match.rule, "a rule without a name")) .. ":",
    ("%s, priority %d,"):format(match.action, match.priority), names(match.origin, "origin unknown"),
  }
  if match.hits then
    words[#words + 1] = ("[%s]"):format(show.count(match.hits, "hit"))
  end
  words[#words + 1] = LOST[match.lost_by] and "(lost: " .. LOST[match.lost_by] .. ")" or nil
  return show.wrap(words, 80, "         ")
end

--- A gate, and what decided there: the flow, the rules that match, the default.
local function gate_lines(hop)
  local words = { ("  %s %s:"):format(hop.hop, show.clean(hop.at)), hop.verdict, "by " .. hop.by }
  if names(hop.rule) then
    words[#words + 1] = "'" .. names(hop.rule) .. "',"
  end
  words[#words + 1] = names(hop.origin)
  local flow = hop.flow
  if flow then
    words[#words + 1] = ("[%s in, %s out, %s, idle %d s]"):format(show.count(flow.packets_in, "packet"),
      show.count(flow.packets_out, "packet"), flow.state, flow.idle)
  end
  local lines = { show.wrap(words, 80, "    ") }
  for _, match in ipairs(hop.matched or {}) do
    lines[#lines + 1] = match_line(match)
  end
  return table.concat(lines, "\n")
end

--- What the container's gate counted so far.
local function counter_line(counters)
  local parts = {}
  for _, way in ipairs { "in", "out" } do
    local text = ("%s %s, %s"):format(way, show.count(counters["packets_" .. way], "packet"),
      show.count(counters["bytes_" .. way], "byte"))
    local reasons = {}
    for reason, count in pairs(counters["dropped_" .. way]) do
      reasons[#reasons + 1] = ("%d by %s"):format(count, reason)
    end
    table.sort(reasons)
    parts[#parts + 1] = text .. (reasons[1] and ", dropped " .. table.concat(reasons, ", ") or "")
  end
  return show.wrap({ "  so far:", parts[1] .. ";", parts[2] }, 80, "    ")
end

--- An answer for people, within 80 columns.
function command.describe(text, answer)
  local colour = answer.delivered and "green" or "red"
  local verdict = answer.verdict .. (answer.audit and " (audited)" or "")
  if answer.verdict == "allow" and not answer.delivered then
    verdict = "allow, but not delivered"
  end
  local lines = { show.wrap({ show.colour(colour, verdict) .. ":", show.clean(text) }, 80, "  ") }
  local by = { "  by " .. answer.by }
  if names(answer.rule) then
    by[#by + 1] = "'" .. names(answer.rule) .. "',"
  end
  by[#by + 1] = names(answer.origin)
  lines[#lines + 1] = show.wrap(by, 80, "    ")
  local hops = {}
  for i, hop in ipairs(answer.hops) do
    local word = ("%s %s"):format(hop.hop, hop.at ~= hop.hop and show.clean(hop.at) or "")
    word = word:gsub("%s+$", "")
    if hop.verdict == "block" then
      word = show.colour("red", word .. " [blocked: " .. show.clean(hop.by) .. "]")
    elseif hop.verdict == "unknown" then
      word = show.colour("yellow", word .. " [may block: " .. show.clean(hop.by) .. "]")
    end
    hops[#hops + 1] = (i == 1 and "  " or "-> ") .. word
  end
  lines[#lines + 1] = show.wrap(hops, 80, "    ")
  local told = false
  for _, hop in ipairs(answer.hops) do
    if hop.matched and (hop.matched[1] or hop.flow or (hop.verdict == "block" and answer.verdict == "allow")) then
      lines[#lines + 1] = gate_lines(hop)
      told = true
    end
  end
  for _, match in ipairs(told and {} or answer.matched) do -- of the gate that the packet did not reach
    lines[#lines + 1] = match_line(match)
  end
  if answer.counters then
    lines[#lines + 1] = counter_line(answer.counters)
  end
  return table.concat(lines, "\n") .. "\n"
end

local function answer_all(world, packets)
  local explain = require "explain"
  local answers, texts = {}, {}
  for i, text in ipairs(packets) do
    answers[i] = refuse.parsed(explain.packet(world, text))
    texts[i] = command.describe(text, answers[i])
  end
  session.print(#answers == 1 and answers[1] or answers, table.concat(texts, "\n"), explain.ORDER)
end

function command.run(args)
  local who, packets = sort_words(args.words)
  if who and imagined.asked(args) then
    refuse.input "WHO is either a live container or an imagined one, not both"
  end
  local spec = not who and imagined.spec(args)
  local filter, parsed = require "bulkhead.filter", {}
  for i, text in ipairs(packets) do
    parsed[i] = refuse.parsed(filter.packet(text))
  end
  local worlds = require "worlds"
  if spec and spec.driver then
    return answer_all(refuse.check(worlds.imagined(spec, parsed)), packets)
  end
  session.read(function(host)
    if who then
      return answer_all(refuse.check(worlds.live(host, who, parsed)), packets)
    end
    imagined.find_network(host, spec)
    answer_all(refuse.check(worlds.imagined(spec, parsed)), packets)
  end)
end

return command

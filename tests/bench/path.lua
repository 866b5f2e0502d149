--- path.lua - what a packet between two containers of one host costs: ours beside a bare bridge and
--- what others filter it with.
---
---   bulkhead run tests/bench/path.lua [--json FILE] [--rounds N] [--ms N] [--sizes 10,1000,10000]
---
--- Every contender is two namespaces on the bridge of a third, with N rules that allow in a default of
--- block, of which the last one matches what is sent (for ours, N rules in and N out at both ends). All
--- are there at once and take turns, some tens of milliseconds each, so that a round is over before the
--- machine has changed its pace, and each round starts at another; sender and receiver are pinned. A
--- figure is the median of its rounds, an added cost that of the differences to the bare bridge of the
--- same round. Before anything is measured each contender must let a datagram through that a rule
--- allows, and drop one that none does.
---
---   direct     bulkhead, past the switch          switched   bulkhead, by the switch (`direct = false`)
---   hash       nft in the bridge, a hash set      pipapo     nft in the bridge, ranges
---   ct+pipapo  br_netfilter, nft: conntrack's established, then ranges
---   ipt, ipt-nft  br_netfilter, iptables of either kind: established, then one rule after the other
local json = require "json"
local report = require "tests.bench.report"
local sets = require "tests.support.sets"
local stage = require "tests.support.stage"

local PORT, SENDER, RECEIVER = 7000, "10.77.0.10", "10.77.0.11"
local MODES = { "udp", "rr", "crr", "stream" }
local _, options = report.words({ ... }, { rounds = true, ms = true, sizes = true })
local rounds, ms = math.tointeger(options.rounds or 31), math.tointeger(options.ms or 50)
local sizes = {}
for size in (options.sizes or "10,1000,10000"):gmatch "%d+" do
  sizes[#sizes + 1] = math.tointeger(size)
end

local helpers = require "tests.support.audit".helper "traffic"
local switched = require "tests.support.audit".helper "switched"

local function shell(command)
  local pipe = assert(io.popen("exec 2>&1\n" .. command))
  local text = pipe:read "a"
  local ok = pipe:close()
  return text, ok
end

local function run(command)
  local text, ok = shell(command)
  assert(ok, command:sub(1, 200) .. ": " .. text:sub(1, 400))
  return text
end

local function feed(text, command)
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  local answer, ok = shell(("%s < %s"):format(command, path))
  os.remove(path)
  assert(ok, command .. ": " .. answer:sub(1, 400))
end

--- The i-th of N rules: prefix, first and last port, protocol. The last two are for what is sent.
local function rule(i, n)
  local protocol = i % 2 == 0 and "tcp" or "udp"
  if i >= n - 2 then
    return "10.77.0.0/24", PORT, PORT + 3, protocol
  end
  return ("10.%d.%d.0/24"):format(100 + i % 100, i // 100), 1024 + i, 1027 + i, protocol
end

--- Two namespaces on the bridge of a third.
local function make_bridge(name)
  local function ns(which)
    return ("bhpath-%s-%s"):format(name, which)
  end
  for _, which in ipairs { "s", "a", "b" } do
    shell("ip netns del " .. ns(which))
    run("ip netns add " .. ns(which))
  end
  run(("ip netns exec %s sh -c 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; "
    .. "echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables; "
    .. "ip link add br0 type bridge mcast_snooping 0; ip link set br0 up'"):format(ns "s"))
  for which, address in pairs { a = SENDER, b = RECEIVER } do
    run(("ip -n %s link add p%s type veth peer name eth0 netns %s"):format(ns "s", which, ns(which)))
    run(("ip -n %s link set p%s master br0 up"):format(ns "s", which))
    run(("ip netns exec %s sh -c 'echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip link set lo up;"
      .. "ip addr add %s/24 dev eth0; ip link set eth0 up'"):format(ns(which), address))
  end
  return {
    from = "/run/netns/" .. ns "a", to = "/run/netns/" .. ns "b", switch = ns "s",
    close = function()
      for _, which in ipairs { "a", "b", "s" } do
        shell("ip netns del " .. ns(which))
      end
    end,
  }
end

--- The N rules as two sets, one a protocol: with the protocol in the key, ranges take nft a hundred
--- times as long.
local function nft_sets(n, exact)
  local lists = { tcp = {}, udp = {} }
  for i = 0, n - 1 do
    local prefix, first, last, protocol = rule(i, n)
    if exact then
      local address = i >= n - 2 and SENDER or prefix:gsub("0/24$", "7")
      table.insert(lists[protocol], ("%s . %d"):format(address, i >= n - 2 and PORT or first))
    else
      table.insert(lists[protocol], ("%s . %d-%d"):format(prefix, first, last))
    end
  end
  local text = {}
  for protocol, list in pairs(lists) do
    text[#text + 1] = ("set %ss { type ipv4_addr . inet_service; %s elements = { %s }\n}\n"):format(protocol,
      exact and "" or "flags interval;", table.concat(list, ", "))
  end
  return table.concat(text)
end

local function nft_bridge(exact)
  return function(name, n)
    local bridge = make_bridge(name)
    feed(([[
table bridge f {
  %s
  chain c {
    type filter hook forward priority 0; policy drop;
    ip saddr . udp dport @udps accept
    ip saddr . tcp dport @tcps accept
    ip daddr . tcp sport @tcps accept
    ip daddr . udp sport @udps accept
    ether type arp accept
  }
}]]):format(nft_sets(n, exact)),
      ("ip netns exec %s nft -f -"):format(bridge.switch))
    return bridge
  end
end

--- A bridge whose packets go through the namespace's forwarding hooks.
local function make_filtered(name)
  local bridge = make_bridge(name)
  run(("ip netns exec %s sh -c 'echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables'"):format(bridge.switch))
  return bridge
end

local function ct_pipapo(name, n)
  local bridge = make_filtered(name)
  feed(([[
table ip f {
  %s
  chain c {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ip saddr . tcp dport @tcps accept
    ip saddr . udp dport @udps accept
  }
}]]):format(nft_sets(n)), ("ip netns exec %s nft -f -"):format(bridge.switch))
  return bridge
end

local function iptables(program)
  return function(name, n)
    local bridge = make_filtered(name)
    local lines = { "*filter", ":FORWARD DROP [0:0]",
      "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT" }
    for i = 0, n - 1 do
      local prefix, first, last, protocol = rule(i, n)
      lines[#lines + 1] = ("-A FORWARD -s %s -p %s --dport %d:%d -j ACCEPT"):format(prefix, protocol, first, last)
    end
    lines[#lines + 1] = "COMMIT\n"
    feed(table.concat(lines, "\n"), ("ip netns exec %s %s-restore"):format(bridge.switch, program))
    return bridge
  end
end

--- Two containers of ours, and whether they pass the switch by.
local function ours(n)
  local rules = {}
  for i = 0, n - 1 do
    local prefix, first, last, protocol = rule(i, n)
    rules[#rules + 1] = ('add("%s", "%d-%d", "%s")'):format(prefix, first, last, protocol)
  end
  local dir = sets.make { ["container/process.lua"] = [[
local rules = {}
local function add(remote, ports, protocol)
  rules[#rules + 1] = allow.inbound { remote = remote, local_port = ports, protocol = protocol }
  rules[#rules + 1] = allow.outbound { remote = remote, remote_port = ports, protocol = protocol }
end
]] .. table.concat(rules, "\n") .. '\nreturn { default = { inbound = "block", outbound = "block" }, rules = rules }\n' }
  local s = stage.open("linux", { networks = false })
  s:network { name = "bench", driver = "internal", subnets = { "10.77.0.0/24" } }
  local ends = {}
  for id, address in pairs { a = SENDER, b = RECEIVER } do
    ends[id] = s:add { id = id, network = "bench", addresses = { address }, policies = dir }
  end
  local function path(id)
    return ("/run/bulkhead/%s/c%d"):format(s.tag, ends[id].where)
  end
  local function turn(word)
    for _, container in pairs(ends) do
      run(("'%s' /run/bulkhead/%s/bpf %d %s"):format(switched, s.tag, container.endpoint.id * 4, word))
    end
  end
  local function went()
    return s:counters(ends.a).direct_out
  end
  return {
    direct = { from = path "a", to = path "b", ready = function() turn "off" end, went = went },
    switched = { from = path "a", to = path "b", ready = function() turn "on" end, went = went },
    close = function()
      s:close()
      sets.clear()
    end,
  }
end

local NAMES = { "bare", "direct", "switched", "hash", "pipapo", "ct+pipapo", "ipt", "ipt-nft" }
local PEERS = {
  hash = { nft_bridge(true), "nft" }, pipapo = { nft_bridge(false), "nft" }, ["ct+pipapo"] = { ct_pipapo, "nft" },
  ipt = { iptables "iptables-legacy", "iptables-legacy" }, ["ipt-nft"] = { iptables "iptables-nft", "iptables-nft" },
}

local function measure(contender, mode, port, time)
  local text = shell(("'%s' %s %s %s %d %s %d"):format(helpers, contender.from, contender.to, RECEIVER,
    port or PORT, mode, time or ms))
  return text ~= "" and json.decode(text) or nil
end

--- The answers: what a rule allows passes, what none does is dropped.
local function check(name, contender)
  for _ = 1, 3 do -- a NIC that just came up loses what it is sent
    if measure(contender, "probe", PORT, 1000) then
      break
    end
  end
  assert(measure(contender, "probe", PORT, 1000), name .. " drops what it should let through")
  if name ~= "bare" then
    assert(not measure(contender, "probe", PORT + 100, 300), name .. " lets through what it should drop")
  end
  if contender.went then
    local before = contender.went()
    measure(contender, "udp", PORT, 50)
    assert((contender.went() - before > 1000) == (name == "direct"), name .. " went the wrong way")
  end
end

--- Figures of one run: all larger is better but `sender` and `total`, ns a packet.
local function figures_of(mode, result)
  assert(result and result.done > 0 and result.wrong == 0, mode .. " failed")
  local seconds = result.ns / 1e9
  if mode == "udp" then
    return { sender = result.sender_ns / result.sent, total = (result.sender_ns + result.receiver_ns) / result.sent,
      lost = result.sent - result.done }
  elseif mode == "stream" then
    return { gbit = result.done * 8 / 1e9 / seconds }
  end
  return { [mode] = result.done / seconds, [mode .. "_ns"] = (result.sender_ns + result.receiver_ns) / result.done }
end

local function median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  return sorted[(#sorted + 1) // 2]
end

local FIGURES = { "sender", "total", "rr", "rr_ns", "crr", "crr_ns", "gbit" }

local function play(n)
  local contenders, open = {}, {}
  local function close()
    for _, item in ipairs(open) do
      item.close()
    end
  end
  local ok, result = xpcall(function()
    local mine = ours(n)
    open[#open + 1] = mine
    contenders.direct, contenders.switched = mine.direct, mine.switched
    contenders.bare = make_bridge "bare"
    open[#open + 1] = contenders.bare
    for name, peer in pairs(PEERS) do
      if select(2, shell("command -v " .. peer[2])) then
        contenders[name] = peer[1](name:gsub("+", "-"), n)
        open[#open + 1] = contenders[name]
      else
        print(("without %s: no %s"):format(name, peer[2]))
      end
    end
    local names, samples = {}, {}
    for _, name in ipairs(NAMES) do
      if contenders[name] then
        names[#names + 1] = name
        samples[name] = {}
        if contenders[name].ready then
          contenders[name].ready()
        end
        check(name, contenders[name])
      end
    end
    for _, mode in ipairs(MODES) do
      for round = 1, rounds do
        for k = 1, #names do
          local name = names[(round + k - 2) % #names + 1]
          local contender = contenders[name]
          if contender.ready then
            contender.ready()
          end
          samples[name][round] = samples[name][round] or {}
          for figure, value in pairs(figures_of(mode, measure(contender, mode))) do
            samples[name][round][figure] = value
          end
        end
      end
    end
    local answer = {}
    for _, name in ipairs(names) do
      answer[name] = {}
      for _, figure in ipairs(FIGURES) do
        local values, added, ratios = {}, {}, {}
        for round = 1, rounds do
          values[round] = samples[name][round][figure]
          added[round] = values[round] - samples.bare[round][figure]
          ratios[round] = values[round] / samples.bare[round][figure]
        end
        answer[name][figure] = median(values)
        answer[name][figure .. "_added"] = median(added)
        answer[name][figure .. "_ratio"] = median(ratios)
      end
    end
    return answer
  end, debug.traceback)
  close()
  assert(ok, result)
  return result
end

local function print_size(n, answer)
  print(("%d rules; processor ns a UDP packet, what is added to the bare bridge's, and rates to its"):format(n))
  print(("  %-10s %8s %8s %8s %8s %8s %8s %8s"):format("", "sender", "added", "total", "added", "RR/s", "CRR/s",
    "Gbit/s"))
  for _, name in ipairs(NAMES) do
    local row = answer[name]
    if row and name == "bare" then
      print(("  %-10s %8.0f %8s %8.0f %8s %8.0f %8.0f %8.2f"):format(name, row.sender, "", row.total, "", row.rr,
        row.crr, row.gbit))
    elseif row then
      print(("  %-10s %8.0f %+8.0f %8.0f %+8.0f %7.2f× %7.2f× %7.2f×"):format(name, row.sender, row.sender_added,
        row.total, row.total_added, row.rr_ratio, row.crr_ratio, row.gbit_ratio))
    end
  end
end

--- Past the switch a packet costs no more than on the bare bridge; by it, less than with any peer.
local function hold(n, answer)
  report.at_most(("direct, %d rules, ns added to the bare bridge"):format(n), answer.direct.total_added, 0)
  for name in pairs(PEERS) do
    if answer[name] then
      report.at_most(("switched, %d rules, ns added, against %s"):format(n, name), answer.switched.total_added,
        answer[name].total_added)
    end
  end
end

local results = { rounds = rounds, ms = ms, sizes = {} }
for _, n in ipairs(sizes) do
  local answer = play(n)
  results.sizes[tostring(n)] = answer
  print_size(n, answer)
  hold(n, answer)
end
report.finish(results, options.json)
return 0

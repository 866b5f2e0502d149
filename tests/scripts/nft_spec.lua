--- nft_spec.lua - what foreign nftables rules would do to a packet.
local foreign = require "foreign"
local iptables = require "iptables"
local json = require "json"
local nft = require "nft"
local overlay = require "overlay"
local uplink = require "uplink"

local function chain(hook, policy, name, table_name)
  return ('{"chain":{"family":"inet","table":"%s","name":"%s","type":"filter","hook":"%s","prio":0,"policy":"%s"}}')
    :format(table_name or "t", name or hook, hook, policy)
end

local function rule(chain_name, ...)
  return ('{"rule":{"family":"inet","table":"t","chain":"%s","expr":[%s]}}')
    :format(chain_name, table.concat({ ... }, ","))
end

local function match(left, right, op)
  return ('{"match":{"op":"%s","left":%s,"right":%s}}'):format(op or "==", left, right)
end

local UDP_PORT = '{"payload":{"protocol":"udp","field":"dport"}}'
local TCP_PORT = '{"payload":{"protocol":"tcp","field":"dport"}}'
local IN, OUT = '{"meta":{"key":"iifname"}}', '{"meta":{"key":"oifname"}}'
local STATE, SOURCE = '{"ct":{"key":"state"}}', '{"payload":{"protocol":"ip","field":"saddr"}}'
local ACCEPT, DROP = '{"accept":null}', '{"drop":null}'
local REPLIES = match(STATE, '["established","related"]', "in")

local function ruleset(...)
  return assert(json.decode('{"nftables":[{"metainfo":{}},' .. table.concat({ ... }, ",") .. "]}"))
end

local function closed(...)
  local parts = {}
  for i, port in ipairs(overlay.closed { udp = "", ruleset = ruleset(...), uplink = "ens3" }) do
    parts[i] = port.port .. "/" .. port.protocol
  end
  return table.concat(parts, " ")
end

local ALL = "2377/tcp 7946/tcp 7946/udp 4789/udp"

describe("an overlay network's ports", function()
  it("are open where nothing drops them", function()
    assert.equal("", closed(chain("input", "accept")))
    assert.equal("", closed(chain("forward", "drop")))
    assert.equal("", closed(chain("input", "drop"), rule("input", ACCEPT)))
    assert.equal("", closed(chain("input", "drop"), rule("input", match(IN, '"ens3"'), ACCEPT)))
    assert.equal("", closed(chain("input", "drop", "input", "bulkhead_abc")))
  end)

  it("are closed by a policy of drop that accepts something else", function()
    assert.equal(ALL, closed(chain("input", "drop")))
    assert.equal(ALL, closed(chain("input", "drop"), rule("input", REPLIES, ACCEPT),
      rule("input", match(IN, '"lo"'), ACCEPT), rule("input", match(TCP_PORT, "22"), ACCEPT)))
    assert.equal("2377/tcp 7946/tcp", closed(chain("input", "drop"),
      rule("input", match(UDP_PORT, '{"set":[4789,{"range":[7900,7999]}]}'), ACCEPT)))
  end)

  it("are closed by a drop of the port, also in a chain jumped to", function()
    assert.equal("4789/udp", closed(chain("input", "accept"),
      rule("input", match(UDP_PORT, "4789"), '{"counter":{"packets":0,"bytes":0}}', DROP)))
    assert.equal("7946/udp", closed(chain("input", "accept"),
      '{"chain":{"family":"inet","table":"t","name":"sub"}}',
      rule("input", '{"jump":{"target":"sub"}}'), rule("sub", match(UDP_PORT, "7946"), '{"reject":null}')))
    assert.equal("", closed(chain("input", "accept"),
      '{"chain":{"family":"inet","table":"t","name":"sub"}}',
      rule("input", '{"jump":{"target":"sub"}}'), rule("sub", '{"return":null}'), rule("sub", DROP)))
  end)

  it("are not called closed on a maybe", function()
    assert.equal("", closed(chain("input", "drop"), rule("input", match(SOURCE, '"10.0.0.0"'), ACCEPT)))
    assert.equal("", closed(chain("input", "accept"), rule("input", match(SOURCE, '"10.0.0.1"'), DROP)))
    assert.equal("", closed(chain("input", "drop"), rule("input", '{"xt":{"type":"match"}}', ACCEPT)))
    assert.equal("", closed(chain("input", "drop"), rule("input", '{"vmap":{}}')))
    assert.equal("", closed(chain("input", "drop"), rule("input", '{"jump":{"target":"gone"}}')))
  end)

  it("are closed if another socket holds VXLAN's", function()
    local udp = "  sl  local_address\n 1: 00000000:12B5 00000000:0000 07 0:0\n"
    assert.is_true(overlay.is_bound(udp, 4789))
    assert.is_false(overlay.is_bound(udp, 4790))
    local list = overlay.closed { udp = udp }
    assert.same({ { protocol = "udp", port = 4789, why = "another socket holds it" } }, list)
    assert.matches("4789/udp %(another socket holds it%)", overlay.sentence(list))
    assert.is_nil(overlay.sentence {})
  end)
end)

describe("another program's forward chain", function()
  local packet = { direction = "outbound", protocol = "tcp", dport = 80, family = "ip" }

  it("is named if it drops what is ours", function()
    assert.equal("inet t forward", foreign.chain(ruleset(chain("forward", "drop"),
      rule("forward", match(IN, '"docker0"'), match(OUT, '"docker0"', "!="), ACCEPT),
      rule("forward", match(OUT, '"br-12ab"'), ACCEPT), rule("forward", REPLIES, ACCEPT)), packet, "ens3"))
  end)

  it("is not if it may let pass", function()
    assert.is_nil(foreign.chain(ruleset(chain("forward", "accept")), packet, "ens3"))
    assert.is_nil(foreign.chain(ruleset(chain("forward", "drop"), rule("forward", ACCEPT)), packet, "ens3"))
    assert.is_nil(foreign.chain(ruleset(chain("forward", "drop"),
      rule("forward", match(OUT, '"ens3"'), ACCEPT)), packet, "ens3"))
    assert.is_nil(foreign.chain(ruleset(chain("forward", "drop"),
      rule("forward", match(IN, '"b1a2b3c-1"'), ACCEPT)), packet, "ens3"))
  end)
end)

describe("every chain on a packet's way", function()
  local DADDR = '{"payload":{"protocol":"ip","field":"daddr"}}'

  local function base(family, name, hook, prio, policy, more)
    return ('{"chain":{"family":"%s","table":"t","name":"%s","type":"filter","hook":"%s","prio":%d,"policy":"%s"%s}}')
      :format(family, name, hook, prio, policy, more or "")
  end

  local function chained(family, name, ...)
    return ('{"rule":{"family":"%s","table":"t","chain":"%s","handle":7,"expr":[%s]}}')
      :format(family, name, table.concat({ ... }, ","))
  end

  local function found(steps, ...)
    local parts = {}
    for i, finding in ipairs(nft.follow(ruleset(...), steps)) do
      parts[i] = ("%s %s %s"):format(finding.at, finding.verdict, finding.by)
    end
    return table.concat(parts, "; ")
  end

  local facts = foreign.facts({ protocol = "tcp", source = "10.0.0.9", source_port = 1, target = "172.16.0.2",
    target_port = 80 }, { status = { dnat = true } })
  local before = foreign.facts { protocol = "tcp", source = "10.0.0.9", source_port = 1, target = "10.0.0.1",
    target_port = 8080 }
  local published = foreign.forwarded(facts, "ens3", foreign.ours, before)

  it("is asked about what it sees: before translation, and after", function()
    local early, late = base("ip", "p", "prerouting", -300, "accept"), base("ip", "p", "prerouting", -50, "accept")
    local to_host, to_web = match(DADDR, '"10.0.0.1"'), match(DADDR, '"172.16.0.2"')
    assert.equal("ip t p drop rule 7", found(published, early, chained("ip", "p", to_host, DROP)))
    assert.equal("", found(published, early, chained("ip", "p", to_web, DROP)))
    assert.equal("ip t p drop rule 7", found(published, late, chained("ip", "p", to_web, DROP)))
    assert.equal("", found(published, late, chained("ip", "p", to_host, DROP)))
  end)

  it("counts if it is of the packet's family, hook and device", function()
    assert.equal("", found(published, base("ip6", "p", "forward", 0, "drop"), base("inet", "i", "input", 0, "drop"),
      base("bridge", "b", "forward", 0, "drop"), base("netdev", "n", "ingress", 0, "drop", ',"dev":"ens4"')))
    assert.equal("netdev t n drop policy; inet t q drop policy", found(published,
      base("netdev", "n", "ingress", 0, "drop", ',"dev":"ens3"'), base("inet", "q", "postrouting", 0, "drop")))
    assert.equal("netdev t n unknown policy", found(published, base("netdev", "n", "ingress", 0, "drop")))
    assert.equal("inet t i drop policy", found(foreign.entering(facts, foreign.ours),
      base("inet", "i", "input", 0, "drop"), base("inet", "f", "forward", 0, "drop")))
    assert.equal("inet t o drop policy", found(foreign.leaving(facts, foreign.ours),
      base("inet", "o", "output", 0, "drop"), base("inet", "f", "forward", 0, "drop")))
  end)

  it("is read with its sets, maps, ranges and prefixes", function()
    local f = base("ip", "f", "forward", 0, "accept")
    local set = '{"set":{"family":"ip","name":"s","table":"t","type":"ipv4_addr","elem":[%s]}}'
    for elements, verdict in pairs {
      ['{"prefix":{"addr":"172.16.0.0","len":16}}'] = true, ['{"range":["172.16.0.1","172.16.0.9"]}'] = true,
      ['"172.16.0.2"'] = true, ['{"elem":{"val":"172.16.0.2","timeout":9}}'] = true,
      ['{"range":["172.16.0.10","172.16.1.0"]}'] = false, ['"fd00::1"'] = false,
    } do
      assert.equal(verdict and "ip t f drop rule 7" or "",
        found(published, set:format(elements), f, chained("ip", "f", match(DADDR, '"@s"'), DROP)), elements)
    end
    local vmap = '{"vmap":{"key":%s,"data":{"set":[%s]}}}'
    assert.equal("ip t f drop rule 7", found(published, f, chained("ip", "f",
      vmap:format(TCP_PORT, '[22,{"accept":null}],[80,{"drop":null}]'))))
    assert.equal("", found(published, f, chained("ip", "f", vmap:format(STATE, '["invalid",{"drop":null}]'))))
    assert.equal("", found(published, base("ip", "f", "forward", 0, "drop"),
      chained("ip", "f", match('{"ct":{"key":"status"}}', '"dnat"', "in"), ACCEPT)))
  end)

  it("that only may drop is told as such", function()
    assert.equal("ip t f unknown rule 7", found(published, base("ip", "f", "forward", 0, "accept"),
      chained("ip", "f", match('{"meta":{"key":"mark"}}', "1"), DROP)))
  end)
end)

describe("iptables of old", function()
  local SAVED = [[
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:LOGDROP - [0:0]
:ufw-user - [0:0]
-A FORWARD -i docker+ ! -o docker0 -m comment --comment "a "b" -j ACCEPT" -j ACCEPT
-A FORWARD -p tcp -m multiport --dports 80,90:99 -j ufw-user
-A FORWARD -p udp -j LOGDROP
-A ufw-user -s 10.0.0.0/8 -m conntrack ! --ctstate NEW -j REJECT --reject-with icmp-port-unreachable
-A ufw-user -s 10.0.0.0/8 -m hashlimit --hashlimit-upto 5 -j RETURN
-A ufw-user -d 172.16.0.0/12 -j ACCEPT
-A LOGDROP -j DROP
COMMIT
]]

  local function verdict(protocol, port, text)
    local read = { nftables = iptables.parse(text or SAVED, "ip") }
    local facts = foreign.facts { protocol = protocol, source = "10.0.0.9", source_port = 1, target = "172.16.0.2",
      target_port = port }
    local parts = {}
    for i, finding in ipairs(nft.follow(read, foreign.forwarded(facts, "ens3", foreign.ours))) do
      parts[i] = ("%s %s %s"):format(finding.at, finding.verdict, finding.by)
    end
    return table.concat(parts, "; ")
  end

  it("drops what it would drop", function()
    assert.equal("iptables-legacy filter FORWARD drop policy", verdict("tcp", 81))
    assert.equal("iptables-legacy filter FORWARD drop rule 7 of LOGDROP", verdict("udp", 80))
    assert.equal("iptables-legacy filter FORWARD unknown policy", verdict("tcp", 80))
    assert.equal("", verdict("tcp", 95, (SAVED:gsub("%-A ufw%-user[^\n]-hashlimit[^\n]-\n", ""))))
  end)
end)

describe("the uplink", function()
  it("is where the default route with the lowest metric leaves", function()
    assert.equal("ens3", uplink.parse [[
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
wlan0	00000000	0101A8C0	0003	0	0	600	00000000	0	0	0
ens3	00000000	0101A8C0	0003	0	0	100	00000000	0	0	0
ens4	0000FEA9	00000000	0001	0	0	0	0000FFFF	0	0	0
]])
    assert.is_nil(uplink.parse "Iface\n")
  end)

  it("of an address is its route's, the longest first", function()
    local routes = uplink.routes([[
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
ens3	00000000	0101A8C0	0003	0	0	100	00000000	0	0	0
lan0	0000010A	00000000	0001	0	0	0	0000FFFF	0	0	0
*	0000020A	00000000	0201	0	0	0	0000FFFF	0	0	0
]], "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 "
      .. "00000100 00000001 00000000 00000001     lan0\n")
    assert.equal("ens3", uplink.of(routes, "1.2.3.4"))
    assert.equal("lan0", uplink.of(routes, "10.1.9.9"))
    assert.equal("lan0", uplink.of(routes, "fd00::9"))
    assert.is_nil(uplink.of(routes, "2001:db8::1"))
  end)
end)

describe("doctor", function()
  local doctor = require "doctor"

  it("knows which kernels the gate needs", function()
    for release, enough in pairs {
      ["6.1.0-25-amd64"] = true, ["6.18.44"] = true, ["7.0"] = true, ["6.0.19"] = false, ["5.15.0"] = false,
      [""] = false,
    } do
      assert.equal(enough, doctor.new_enough(release), release)
    end
  end)

  it("says that forwarding came later than our table", function()
    local ours = ruleset(chain("forward", "accept", "lent4", "bulkhead_abc123"))
    assert.is_true(doctor.refuses_late(ours, "1\n"))
    assert.is_false(doctor.refuses_late(ours, "0\n"))
    assert.is_false(doctor.refuses_late(ruleset(chain("forward", "accept", "forward", "bulkhead_abc123")), "1\n"))
    assert.is_false(doctor.refuses_late(nil, "1\n"))
  end)

  it("names filters by hook: from outside, from the host, outbound", function()
    local entry = { { host = 8080, container = 80, protocol = "tcp" } }
    local function dropped(...)
      return doctor.dropped(ruleset(...), entry, "ens3")
    end
    assert.is_nil(dropped(chain("prerouting", "accept"), rule("prerouting", match(TCP_PORT, "8081"), DROP)))
    assert.equal("the filter 'inet t prerouting' drops what comes by the published port 8080/tcp",
      dropped((chain("prerouting", "accept"):gsub('"prio":0', '"prio":-300')),
        rule("prerouting", match(TCP_PORT, "8080"), DROP)))
    assert.equal("the filter 'inet t output' drops what the host itself sends to the published port 8080/tcp",
      dropped(chain("output", "accept"), rule("output", match(TCP_PORT, "80"), DROP)))
    assert.equal("the filter 'inet t prerouting' drops what containers send to the uplink",
      dropped(chain("prerouting", "accept"), rule("prerouting", match(IN, '"ens3"', "!="), DROP)))
  end)
end)

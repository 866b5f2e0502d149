--- nft_spec.lua - what foreign nftables rules would do to a packet.
local foreign = require "foreign"
local json = require "json"
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
end)

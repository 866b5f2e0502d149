--- learn_spec.lua - a policy learnt from traffic that was sent, and what it is then: sound by `policy
--- check`, exactly those flows by `policy diff`, and kept on the wire.
local check = require "commands.policy_check"
local cli = require "tests.support.cli"
local compare = require "compare"
local filter = require "bulkhead.filter"
local json = require "json"
local learn = require "learn"
local notation = require "notation"
local policies = require "policies"
local prove = require "bulkhead.prove"
local reload = require "reload"
local sets = require "tests.support.sets"
local stage = require "tests.support.stage"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

local OPEN = [[return { default = { inbound = "allow", outbound = "allow" } }]]

--- What is sent: who sends it, as the sender writes it, to whom. $w is web's address, $d db's, $c
--- cache's, in capitals those of IPv6, $o that of somebody outside.
local TRAFFIC = {
  { "db", "out tcp $d:40000 -> $w:80", "web" },
  { "db", "out tcp $d:40000 -> $w:81", "web" },
  { "db", "out tcp $d:40000 -> $w:443", "web" },
  { "cache", "out tcp $c:40000 -> $w:80", "web" },
  { "db", "out tcp [$D]:40000 -> [$W]:80", "web" },
  { "db", "out udp $d:40000 -> $w:5353", "web" },
  { "db", "out udp $d:5353 -> 224.0.0.251:5353", "web" },
  { "cache", "out udp $c:5353 -> 224.0.0.251:5354", "web" },
  { "cache", "out sctp $c:40000 -> $w:9899", "web" },
  { "db", "out icmp6[128:0] $D -> $W", "web" },
  { "web", "out tcp $w:40000 -> $d:5432", "db" },
  { "web", "out tcp $w:40001 -> $o:443", "outside" },
  { "web", "out udp $w:40000 -> $d:53", "db" },
  { "web", "out udp $w:40000 -> $o:53", "outside" },
  { "web", "out udp [$W]:40000 -> [$D]:53", "db" },
  { "web", "out icmp[8:0] $w -> $d", "db" },
  { "web", "out 47 $w -> $c", "cache" },
}

--- Packets at web's gate that nobody sent, and which widths admit them all the same.
local MISSES = {
  -- the next port, the port of another service
  { "in tcp $d:1 -> $w:82" }, { "in tcp $d:1 -> $w:79" }, { "in tcp [$D]:1 -> [$W]:81" },
  { "in udp $d:1 -> $w:5354" }, { "in sctp $c:1 -> $w:9900" }, { "out tcp $w:1 -> $d:5433" },
  { "out udp [$W]:1 -> [$D]:54" }, { "out tcp $w:1 -> $o:444" },
  { "in tcp $c:1 -> $w:443", subnet = true, port = true },
  { "out tcp $w:1 -> $d:443", port = true },
  -- the other protocol, and its other types
  { "in udp $d:1 -> $w:80" }, { "in tcp $d:1 -> $w:5353" }, { "in dccp $c:1 -> $w:9899" },
  { "out tcp $w:1 -> $d:53" }, { "out udp $w:1 -> $d:5432" }, { "out 46 $w -> $c" },
  { "out icmp[13:0] $w -> $d" }, { "out icmp[8:1] $w -> $d" }, { "in icmp6[128:1] $D -> $W" },
  -- the other direction
  { "out tcp $w:1 -> $d:80" }, { "out udp $w:1 -> $d:5353" }, { "in tcp $d:1 -> $w:5432" },
  { "in udp $d:1 -> $w:53" }, { "in icmp[8:0] $d -> $w" }, { "out icmp6[128:0] $W -> $D" },
  { "in 47 $c -> $w" }, { "in tcp $d:5432 -> $w:40000" },
  -- another remote: of the same network, of none
  { "in tcp 172.16.9.9:1 -> $w:80", subnet = true, port = true }, { "in tcp 172.17.0.9:1 -> $w:80", port = true },
  { "in tcp [fd00:16::99]:1 -> [$W]:80", subnet = true, port = true },
  { "in tcp [fd00:17::9]:1 -> [$W]:80", port = true },
  { "out udp $w:1 -> 10.0.0.10:53", subnet = true, port = true }, { "out udp $w:1 -> 10.0.1.9:53", port = true },
  { "out icmp[8:0] $w -> $c", subnet = true, port = true }, { "out icmp[8:0] $w -> $o", port = true },
  { "out 47 $w -> $d", subnet = true, port = true },
  -- who may send to a group may send to no other, and not to the container
  { "in udp $c:1 -> 224.0.0.251:5355" }, { "in udp $c:1 -> 224.0.0.252:5354" },
  { "in udp $c:1 -> $w:5354" }, { "in udp 172.16.9.9:1 -> 224.0.0.251:5354", subnet = true, port = true },
}

--- The remote that a width makes of a flow's, told another way than learn.lua does.
local REMOTES = {
  address = function(address) return address end,
  subnet = function(address)
    local known = {
      { "^172%.16%.", "172.16.0.0/16" }, { "^10%.0%.0%.", "10.0.0.0/24" },
      { "^fd00:16::", "fd00:16::/64" }, { "^fe80::", "fe80::/64" },
    }
    for _, pair in ipairs(known) do
      if address:find(pair[1]) then
        return pair[2]
      end
    end
    return address
  end,
  port = function(address) return address:find(":", 1, true) and "::/0" or "0.0.0.0/0" end,
}

--- The policy of one rule for each flow, and of two for what starts none.
local function model(flows, width)
  local rules = {
    'allow.inbound { protocol = "igmp", ["local"] = "224.0.0.0/4" }',
    'allow.inbound { protocol = "icmp6", icmp = { "131", "132", "133", "143" }, ["local"] = "ff00::/8" }',
  }
  for _, flow in ipairs(flows) do
    local inbound = flow.direction == "inbound"
    local parts = { ("protocol = %q, remote = %q"):format(flow.protocol, REMOTES[width](flow.remote_address)) }
    if flow.icmp_type then
      parts[2] = ('icmp = "%d:%d"'):format(flow.icmp_type, flow.icmp_code)
    elseif ("tcp udp sctp"):find(flow.protocol, 1, true) then
      parts[2] = ("%s = %d"):format(inbound and "local_port" or "remote_port",
        inbound and flow.local_port or flow.remote_port)
    end
    if inbound and (flow.local_address:find "^224%." or flow.local_address:find "^ff") then
      parts[#parts + 1] = ('["local"] = %q'):format(flow.local_address)
    end
    rules[#rules + 1] = ("allow.%s { %s }"):format(flow.direction, table.concat(parts, ", "))
  end
  return ('return { default = { inbound = "block", outbound = "block" }, rules = {\n%s\n} }')
    :format(table.concat(rules, ",\n"))
end

stage.platforms(B, "policy learn", function(open, platform)
  after_each(sets.clear)

  local s, actors
  local function fill(text)
    return (text:gsub("%$(%a)", function(letter)
      if letter == "o" then
        return stage.OUTSIDE_ADDRESS
      end
      local actor = ({ w = actors.web, d = actors.db, c = actors.cache })[letter:lower()]
      return letter:lower() == letter and actor.address or actor.address6
    end))
  end

  local function send(from, text, to, passes)
    return s:send_raw(actors[from], fill(text), actors[to], passes)
  end

  --- A stage on which all of TRAFFIC was sent; web's flows.
  local function play()
    s = open()
    local dir = sets.make { ["container/process.lua"] = OPEN }
    actors = { outside = stage.OUTSIDE }
    for _, id in ipairs { "web", "db", "cache" } do
      actors[id] = s:add { id = id, policies = dir }
    end
    for _, each in ipairs(TRAFFIC) do
      local arrived = send(each[1], each[2], each[3], true)
      assert.is_true(arrived or each[2]:find "224%." ~= nil, each[2])
    end
    local flows, sent = {}, 0
    for _, flow in ipairs(s.host:flows(actors.web.endpoint.id)) do
      flows[#flows + 1] = flow
      local other = flow.remote_address == stage.OUTSIDE_ADDRESS or flow.remote_address == actors.db.address
        or flow.remote_address == actors.db.address6 or flow.remote_address == actors.cache.address
      sent = sent + (other and 1 or 0)
    end
    assert.is_true(sent >= #TRAFFIC, "not every packet has its flow")
    return flows
  end

  --- The text, by the program where there is a state that it can read.
  local function learnt(flows, width)
    if platform == "memory" then
      return (learn.policy {
        name = "web", flows = flows, width = width, subnets = { "172.16.0.0/16", "fd00:16::/64" },
      })
    end
    local status, out, err = cli.run({ "policy", "learn", "web", "--by", width, "--json" }, nil, s.state)
    assert.equal(0, status, err)
    return json.decode(out).policy
  end

  local function gate_of(dir)
    local set = assert(policies.load(dir, "process", "nat"))
    return assert(filter.gate {
      mac = actors.web.mac, addresses = actors.web.endpoint.addresses, default = set:default(),
      options = set:options(), rules = set:rules(),
    })
  end

  it("passes check and admits exactly the flows that were seen, as wide as asked for", function()
    local flows = play()
    for _, width in ipairs(learn.WIDTHS) do
      local text = learnt(flows, width)
      local dir = sets.make { ["container/process.lua"] = text }
      assert.same({}, check.findings(dir), text)
      local gate = gate_of(dir)
      for _, flow in ipairs(flows) do
        local packet = notation.opener(flow)
        assert.equal("allow", gate:judge(packet).verdict, packet .. "\n" .. text)
        assert.is_true(prove.permits(gate, {
          direction = flow.direction, protocol = flow.protocol, remote = flow.remote_address,
          ["local"] = flow.local_address, icmp = flow.icmp_type and flow.icmp_type .. ":" .. flow.icmp_code,
          local_port = flow.direction == "inbound" and flow.local_port > 0 and flow.local_port or nil,
          remote_port = flow.direction == "outbound" and flow.remote_port > 0 and flow.remote_port or nil,
        }), packet .. "\n" .. text)
      end
      for _, miss in ipairs(MISSES) do
        local packet = fill(miss[1])
        local verdict = gate_of(dir):judge(packet).verdict -- a gate that knows no flow of another packet's
        assert.equal(miss[width] and "allow" or "block", verdict, width .. ": " .. packet .. "\n" .. text)
      end
      local who = compare.somebody("process", "nat")
      who.addresses = actors.web.endpoint.addresses
      local plain = sets.make { ["container/process.lua"] = model(flows, width) }
      local found = assert(compare.one(plain, dir, who))
      assert.is_true(found.same, found.allowed[1] and "wider: " .. found.allowed[1].example
        or found.blocked[1] and "narrower: " .. found.blocked[1].example)
      -- One flow less is seen as less.
      local fewer = {}
      for _, flow in ipairs(flows) do
        fewer[#fewer + 1] = flow.remote_port ~= 5432 and flow or nil
      end
      found = assert(compare.one(plain, sets.make { ["container/process.lua"] = model(fewer, width) }, who))
      assert.same({ "5432" }, { found.blocked[1].remote_port })
    end
  end)

  it("is kept on the wire", function()
    local dir = sets.make { ["container/process.lua"] = learnt(play(), "address") }
    local changes = assert(reload.plan(s.host, { dir = dir, containers = { "web" } }))
    assert(reload.apply(s.host, changes))
    for _, each in ipairs {
      { "db", "out tcp $d:41000 -> $w:80", "web", true }, { "db", "out tcp $d:41001 -> $w:82", "web" },
      { "cache", "out tcp $c:41000 -> $w:80", "web", true }, { "cache", "out tcp $c:41001 -> $w:443", "web" },
      { "db", "out udp $d:41000 -> $w:80", "web" }, { "db", "out tcp [$D]:41000 -> [$W]:81", "web" },
      { "web", "out udp $w:41000 -> $d:53", "db", true }, { "web", "out udp $w:41000 -> $c:53", "cache" },
      { "web", "out tcp $w:41000 -> $d:5432", "db", true }, { "web", "out tcp $w:41001 -> $d:5433", "db" },
      { "web", "out icmp6[128:0] $W -> $D", "db" },
    } do
      assert.equal(each[4] or false, send(each[1], each[2], each[3], each[4] or false), each[2])
    end
  end)
end)

--- S7, S9 to S12, S14 to S16: what the firewall lets pass, with real packets, and what explain says
--- of each before it is sent.
local sets = require "tests.support.sets"
local stage = require "tests.support.stage"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

--- What a packet looks like in notation, from the sender's side.
local function text(direction, from, what, to)
  local kind, port = what:match "^(%a+)%s*(%d*)"
  local six = to:find(":", 1, true)
  if kind == "ping" then
    return (six and "%s icmp6[128:0] %s -> %s" or "%s icmp[8:0] %s -> %s"):format(direction, from, to)
  end
  return (six and "%s %s [%s]:40000 -> [%s]:%s" or "%s %s %s:40000 -> %s:%s"):format(direction, kind, from, to, port)
end

--- Asks, sends and compares. `row`: from, what, to, passes, by (at the last hop).
local function hold(s, cast, row)
  local from, what, to, passes, by = table.unpack(row, 1, 5)
  local label = ("%s → %s %s"):format(from, to, what)
  local sender, receiver = cast[from], cast[to]
  local six = row.v6
  local source, target = six and sender.address6 or sender.address, six and receiver.address6 or receiver.address
  local who = sender.endpoint and sender or receiver
  local answer = s:explain(who.id, text(who == sender and "out" or "in", source, what, target))
  assert.equal(passes, answer.delivered, label .. ": explain")
  if by then
    assert.equal(by, answer.hops[#answer.hops].by, label)
  end
  local seen = s:send(sender, what, receiver, passes, target)
  assert.equal(passes, seen.arrived, label .. ": the wire")
  assert.equal(passes, seen.answered, label .. ": the answer")
end

local function play(s, cast, rows)
  for _, row in ipairs(rows) do
    hold(s, cast, row)
  end
end

--- A host with web (80 published), db and vm, each with ports open inside.
local function cast_of(s)
  local cast = {
    web = s:add { id = "web", publish = { "8080:80/tcp" } }, db = s:add { id = "db" },
    vm = s:add { id = "vm", type = "hyperv" },
    host = { where = stage.HOST, address = "172.16.0.1", address6 = "fd00:16::1" },
    outside = { where = stage.OUTSIDE, address = stage.OUTSIDE_ADDRESS, address6 = "fd00:10::9" },
  }
  for _, who in ipairs { "web", "db", "vm", "outside" } do
    for _, port in ipairs { 80, 81 } do
      assert(s.lab:listen(cast[who].where, "tcp", port))
    end
    assert(s.lab:listen(cast[who].where, "udp", 53))
  end
  return cast
end

stage.platforms(B, "S7, S10, S11, S15: packets", function(open)
  it("pass or not, as explained", function()
    local s = open()
    play(s, cast_of(s), {
      -- S10: from a process container, anything, and the answer comes back
      { "web", "tcp 80", "outside", true }, { "web", "udp 53", "outside", true }, { "web", "ping", "outside", true },
      { "db", "tcp 81", "outside", true },
      { "web", "tcp 80", "vm", true }, { "web", "udp 53", "vm", true },
      -- S11: to a process container, nothing unsolicited
      { "web", "tcp 80", "db", false, "default" }, { "web", "udp 53", "db", false, "default" },
      { "vm", "tcp 80", "db", false, "default" }, { "host", "tcp 80", "db", false, "default" },
      { "host", "udp 53", "db", false, "default" }, { "web", "tcp 80", "db", false, "default", v6 = true },
      -- S12: but for pings
      { "web", "ping", "db", true, "rule" }, { "vm", "ping", "db", true, "rule" },
      { "host", "ping", "db", true, "rule" }, { "web", "ping", "db", true, "rule", v6 = true },
      { "host", "ping", "db", true, "rule", v6 = true },
      -- S13: and the published port, to which the host's number means nothing
      { "db", "tcp 80", "web", true, "rule" }, { "db", "tcp 81", "web", false, "default" },
      { "host", "tcp 80", "web", true, "rule" }, { "db", "tcp 80", "web", true, "rule", v6 = true },
      { "db", "udp 53", "web", false, "default" },
      -- S15: to a hyperv container, everything
      { "db", "tcp 81", "vm", true, "default" }, { "host", "tcp 81", "vm", true, "default" },
      { "db", "tcp 81", "vm", true, "default", v6 = true }, { "host", "udp 53", "vm", true, "default" },
      { "vm", "tcp 80", "outside", true },
    })
  end)

  it("move the counters and the rules' hits", function()
    local s = open()
    local cast = cast_of(s)
    local function of(who)
      local counters = s:counters(cast[who])
      return counters.packets_in, counters.bytes_in, counters.dropped_in.default or 0
    end
    local _, _, dropped = of "web"
    play(s, cast, { { "db", "tcp 81", "web", false } })
    local packets2, bytes2, dropped2 = of "web"
    assert.is_true(dropped2 > dropped)
    play(s, cast, { { "db", "tcp 80", "web", true } })
    local packets3, bytes3, dropped3 = of "web"
    assert.is_true(packets3 >= packets2 + 2 and bytes3 >= bytes2 + 80)
    assert.equal(dropped2, dropped3)
    for _, rule in ipairs(s.host:rules(cast.web.endpoint.id)) do
      if rule.name == "published 8080" then
        assert.equal(1, rule.hits)
        assert.is_true(rule.own)
      elseif rule.name == "DHCP" then
        assert.equal(0, rule.hits)
      end
    end
    local out = s:counters(cast.db).packets_out
    play(s, cast, { { "db", "tcp 80", "outside", true } })
    assert.is_true(s:counters(cast.db).packets_out > out)
  end)

  it("astray are dropped, whatever their flags and source port", function()
    local s = open()
    local cast = cast_of(s)
    local web, db, vm = cast.web, cast.db, cast.vm
    for _, packet in ipairs {
      "tcp[A] %s:40002 -> %s:80", "tcp[SA] %s:53 -> %s:40009", "tcp[R] %s:40002 -> %s:80", "tcp[FA] %s:80 -> %s:80",
      "tcp[] %s:40002 -> %s:80", "udp %s:53 -> %s:40009", "udp %s:67 -> %s:69", "udp %s:68 -> %s:68",
      "47 %s -> %s", "50 %s -> %s", "sctp %s:40002 -> %s:80",
    } do
      local sent = "out " .. packet:format(vm.address, db.address)
      local answer = s:explain("db", "in " .. packet:format(vm.address, db.address))
      assert.same({ "block", "default", false }, { answer.verdict, answer.by, answer.delivered }, packet)
      assert.is_false(s:send_raw(vm, sent, db, false), packet)
    end
    -- To one whose default is allow they go.
    assert.is_true(s:send_raw(web, ("out tcp[A] %s:40002 -> %s:80"):format(web.address, vm.address), vm, true))
    assert.is_true(s:send_raw(web, ("out 47 %s -> %s"):format(web.address, vm.address), vm, true))
  end)
end)

stage.platforms(B, "S12: common traffic on the wire", function(open)
  -- From the host's management vNIC, so that no other gate has a say. Each: packet, passes by set.
  local ROWS = {
    { "udp 172.16.0.1:67 -> %s:68", default = true, strict = true, ["windows-1709"] = true },
    { "udp 172.16.0.1:67 -> %s:69", ["windows-1709"] = true },
    { "udp 172.16.0.1:68 -> %s:68", ["windows-1709"] = true },
    { "udp [fd00:16::1]:547 -> [%6]:546", default = true, strict = true, ["windows-1709"] = true },
    { "udp [fd00:16::1]:547 -> [%6]:547", ["windows-1709"] = true },
    { "udp 172.16.0.1:53 -> %s:40000", ["windows-1709"] = true },
    { "icmp[8:0] 172.16.0.1 -> %s", default = true, ["windows-1709"] = true },
    { "icmp[3:4] 172.16.0.1 -> %s", default = true, strict = true, ["windows-1709"] = true },
    { "icmp[3:1] 172.16.0.1 -> %s", default = true, ["windows-1709"] = true },
    { "icmp6[128:0] fd00:16::1 -> %6", default = true, ["windows-1709"] = true },
    { "icmp6[2:0] fd00:16::1 -> %6", default = true, strict = true, ["windows-1709"] = true },
    { "igmp 172.16.0.1 -> %s", default = true, strict = true, ["windows-1709"] = true },
    { "tcp 172.16.0.1:40000 -> %s:22", ["windows-1709"] = true },
    { "47 172.16.0.1 -> %s" },
    { "sctp 172.16.0.1:40000 -> %s:22" },
  }
  for _, set in ipairs { "default", "strict", "windows-1709" } do
    it("is what the set " .. set .. " says", function()
      local s = open()
      local a = s:add { id = "a", policies = stage.policies(set) }
      local host = { where = stage.HOST }
      assert.is_boolean(s:send(host, "ping", a, set ~= "strict").arrived) -- the neighbour is known from here on
      for _, row in ipairs(ROWS) do
        local packet = row[1]:gsub("%%s", a.address):gsub("%%6", a.address6)
        local passes = row[set] or false
        local answer = s:explain("a", "in " .. packet)
        assert.equal(passes, answer.delivered, set .. ": explain: " .. packet)
        assert.equal(passes, s:send_raw(host, "out " .. packet, a, passes), set .. ": the wire: " .. packet)
      end
    end)
  end
end)

stage.platforms(B, "S9: a rule for one container", function(open)
  it("touches neither another nor the host", function()
    local s = open()
    local cast = cast_of(s)
    assert(s:change(function(host)
      return host:add_rules(cast.db.endpoint.id, {
        { action = "allow", direction = "inbound", protocol = "tcp", local_port = "81", name = "db's" },
        { action = "block", direction = "outbound", protocol = "icmp", name = "db's block" },
      })
    end))
    assert(s.lab:listen(stage.HOST, "tcp", 82))
    play(s, cast, {
      { "web", "tcp 81", "db", true, "rule" }, { "db", "tcp 81", "web", false, "default" },
      { "host", "tcp 81", "db", true, "rule" }, { "host", "tcp 81", "web", false },
      { "web", "ping", "vm", true }, { "db", "tcp 80", "outside", true },
      { "web", "tcp 80", "db", false, "default" }, -- one rule, one port
      { "db", "tcp 82", "host", true },
    })
    local answer = s:explain("db", text("out", cast.db.address, "ping", cast.web.address))
    assert.same({ "block", "db's block" }, { answer.verdict, answer.rule })
    assert.is_false(s:send(cast.db, "ping", cast.web, false).arrived)
    assert.is_true(s:send(cast.host, "ping", cast.vm, true).answered) -- not the host's
  end)
end)

stage.platforms(B, "S14: a hyperv container's firewall instance", function(open)
  it("is its own: rules and flows of one act in no other", function()
    local s = open()
    local cast = cast_of(s)
    local other = s:add { id = "vm2", type = "hyperv" }
    cast.vm2 = other
    assert(s.lab:listen(other.where, "tcp", 80))
    assert(s:change(function(host) -- of the host instance
      return host:add_rules(cast.db.endpoint.id, {
        { action = "block", direction = "inbound", protocol = "tcp", local_port = "80", name = "host's" } })
    end))
    play(s, cast, {
      { "web", "tcp 80", "vm", true }, { "web", "tcp 80", "vm2", true }, { "web", "tcp 80", "db", false, "rule" },
    })
    assert(s:change(function(host) -- of vm's own
      return host:add_rules(cast.vm.endpoint.id, {
        { action = "block", direction = "inbound", protocol = "tcp", local_port = "80", name = "vm's" } })
    end))
    play(s, cast, {
      { "db", "tcp 80", "vm", false, "rule" }, { "db", "tcp 81", "vm", true },
      { "db", "tcp 80", "vm2", true }, { "db", "tcp 80", "web", true },
    })
    local function connections()
      local count = 0
      for _, flow in ipairs(s.host:flows(other.endpoint.id)) do
        assert.same({ other.endpoint.id, other.where }, { flow.endpoint, flow.compartment })
        count = count + (flow.protocol == "tcp" and 1 or 0)
      end
      return count
    end
    assert.equal(2, connections())
    play(s, cast, { { "db", "tcp 81", "vm", true } })
    assert.equal(2, connections())
  end)
end)

stage.platforms(B, "S16: an endpoint on an overlay", function(open)
  it("has an ALLOW ALL rule both ways, over which a block wins, and which goes with it", function()
    local s = open()
    s:network { name = "cells", driver = "overlay", subnets = { "10.9.0.0/24" } }
    local a, b = s:add { id = "a", network = "cells" }, s:add { id = "b", network = "cells" }
    local cast = { a = a, b = b, host = { where = stage.HOST, address = "10.9.0.1" } }
    for _, actor in ipairs { a, b } do
      assert(s.lab:listen(actor.where, "tcp", 22))
      assert(s.lab:listen(actor.where, "tcp", 23))
    end
    local all = {}
    for _, rule in ipairs(s.host:rules(a.endpoint.id)) do
      if rule.name == "overlay allow all" then
        all[#all + 1] = ("%s %s %d"):format(rule.action, rule.direction, rule.priority)
        assert.is_nil(rule.protocol or rule.remote or rule["local"] or rule.local_port)
        assert.matches("policies/default/network/overlay%.lua:%d+$", rule.origin)
      end
    end
    table.sort(all)
    assert.same({ "allow inbound 65535", "allow outbound 65535" }, all)
    play(s, cast, { { "a", "tcp 22", "b", true, "rule" }, { "host", "tcp 22", "b", true, "rule" } })
    assert.is_true(s:send_raw(a, ("out 47 %s -> %s"):format(a.address, b.address), b, true))
    assert(s:change(function(host)
      return host:add_rules(b.endpoint.id, {
        { action = "block", direction = "inbound", protocol = "tcp", local_port = "22", name = "no ssh" } })
    end))
    play(s, cast, { { "host", "tcp 22", "b", false, "rule" }, { "a", "tcp 23", "b", true, "rule" } })
    local answer = s:explain("b", "in tcp 10.9.0.1:40000 -> " .. b.address .. ":22")
    assert.equal("no ssh", answer.rule)
    local lost = {}
    for _, match in ipairs(answer.matched) do
      lost[match.rule] = match.lost_by
    end
    assert.equal("priority", lost["overlay allow all"])
    s:remove "a"
    s:remove "b"
    assert.same({}, s.host:endpoints())
    assert.same({}, s.host:rules(a.endpoint.id) or {})
  end)
end)

stage.platforms(B, "S11: a reply", function(open, platform)
  after_each(sets.clear)

  --- Sends an opener out and, at once or after `wait`, its answer in; tells whether that arrived.
  local function exchange(s, a, out, back, wait)
    assert.is_true(s:send_raw(a, "out " .. out, stage.HOST, true), out)
    if wait then
      wait()
    end
    return s:send_raw(stage.HOST, "out " .. back, a, not wait)
  end

  it("is admitted to what went out, and not once its flow expired", function()
    local s = open()
    local dir = sets.make {
      ["container/process.lua"] = [[
        return { default = { inbound = "block", outbound = "allow" },
          timeouts = { syn = 1, udp = 1, udp_answered = 1, icmp = 1, other = 1 } }
      ]],
    }
    local a = s:add { id = "a", policies = dir }
    local function wait()
      if platform == "memory" then
        assert(s.lab:advance(2))
      else
        os.execute "sleep 1.2"
      end
    end
    local rows = {
      { "udp %s:40000 -> 172.16.0.1:9", "udp 172.16.0.1:9 -> %s:40000" },
      { "47 %s -> 172.16.0.1", "47 172.16.0.1 -> %s" },
    }
    for _, row in ipairs(rows) do
      local out, back = row[1]:format(a.address), row[2]:format(a.address)
      assert.is_false(s:send_raw(stage.HOST, "out " .. back, a, false)) -- unsolicited
      assert.is_true(exchange(s, a, out, back))
      assert.is_false(exchange(s, a, out, back, wait))
    end
  end)

  it("is refused once a rule blocks what opened the flow, and only that flow", function()
    local s = open()
    local a = s:add { id = "a" }
    for _, port in ipairs { 9, 10 } do
      assert.is_true(s:send_raw(a, ("out udp %s:40000 -> 172.16.0.1:%d"):format(a.address, port), stage.HOST, true))
    end
    for round = 1, 2 do -- the second time there is a table of its own already
      assert(s:change(function(host)
        return host:add_rules(a.endpoint.id, { {
          action = "block", direction = "outbound", protocol = "udp", remote_port = ("%d"):format(8 + round),
          name = "block " .. round,
        } })
      end))
      for _, port in ipairs { 9, 10 } do
        local passes = port > 8 + round
        local packet = ("udp 172.16.0.1:%d -> %s:40000"):format(port, a.address)
        local answer = s:explain("a", "in " .. packet)
        assert.equal(passes and "allow" or "block", answer.verdict)
        assert.equal(passes, s:send_raw(stage.HOST, "out " .. packet, a, passes))
      end
      local names = {}
      for _, rule in ipairs(s.host:rules(a.endpoint.id)) do
        names[rule.name] = rule.own
      end
      assert.is_true(names["block " .. round] and names["block 1"])
    end
    -- A change that is given up leaves all as it was.
    assert(s.host:begin())
    assert(s.host:add_rules(a.endpoint.id, { { action = "block", direction = "inbound", name = "given up" } }))
    s.host:abort()
    for _, rule in ipairs(s.host:rules(a.endpoint.id)) do
      assert.not_equal("given up", rule.name)
    end
    assert.is_true(s:send(stage.HOST, "ping", a, true).answered)
  end)

  it("belongs to its own conversation only", function()
    local s = open()
    local a, b = s:add { id = "a" }, s:add { id = "b" }
    assert.is_true(s:send_raw(a, ("out udp %s:40000 -> 172.16.0.1:9"):format(a.address), stage.HOST, true))
    for _, packet in ipairs {
      ("udp 172.16.0.1:10 -> %s:40000"):format(a.address), -- another port there
      ("udp 172.16.0.1:9 -> %s:40001"):format(a.address), -- another port here
      ("tcp[SA] 172.16.0.1:9 -> %s:40000"):format(a.address), -- another protocol
      ("udp 10.0.0.9:9 -> %s:40000"):format(a.address), -- another host
    } do
      assert.is_false(s:send_raw(stage.HOST, "out " .. packet, a, false), packet)
    end
    -- Another container has no part in it.
    assert.is_false(s:send_raw(stage.HOST, ("out udp 172.16.0.1:9 -> %s:40000"):format(b.address), b, false))
    assert.is_true(s:send_raw(stage.HOST, ("out udp 172.16.0.1:9 -> %s:40000"):format(a.address), a, true))
  end)
end)

stage.platforms(B, "a policy with one block", function(open)
  after_each(sets.clear)

  it("changes only what it names", function()
    local s = open()
    local dir = sets.make {
      ["container/process.lua"] = [[
        return { default = { inbound = "allow", outbound = "allow" },
          rules = { block.inbound { protocol = "tcp", local_port = 81, name = "no 81" } } }
      ]],
    }
    local cast = { a = s:add { id = "a", policies = dir }, b = s:add { id = "b", policies = dir } }
    for _, actor in pairs(cast) do
      assert(s.lab:listen(actor.where, "tcp", 80))
      assert(s.lab:listen(actor.where, "tcp", 81))
    end
    play(s, cast, {
      { "a", "tcp 81", "b", false, "rule" }, { "a", "tcp 80", "b", true, "default" }, { "a", "ping", "b", true },
    })
  end)
end)

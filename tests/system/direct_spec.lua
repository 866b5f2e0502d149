--- direct_spec.lua - what goes from one endpoint to another on the same switch is judged by the sender's
--- gate for both and put straight on the other's NIC: with real packets, that it is, that it is judged as
--- the receiver's own gate would, and what goes the way of the switch.
local audit = require "tests.support.audit"
local frames = require "tests.support.frames"
local json = require "json"
local metrics = require "metrics"
local namespaces = require "tests.support.namespaces"
local reload = require "reload"
local sets = require "tests.support.sets"
local stage = require "tests.support.stage"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

local IP4, BROADCAST = 0x0800, "ff:ff:ff:ff:ff:ff"

--- Runs a command in the switch namespace.
local function switch(s, command)
  local text, status = namespaces.shell(("nsenter --net=/run/bulkhead/%s/switch -- %s"):format(s.tag, command))
  assert(status == 0, text)
  return text
end

local function port_index(actor)
  return actor.endpoint.id * 4
end

--- What the switch sent out of an endpoint's port, in packets.
local function switched(s, actor)
  return json.decode(switch(s, "ip -j -s link show p" .. actor.endpoint.id))[1].stats64.tx.packets
end

local function direct(s, actor)
  return s:counters(actor).direct_out
end

--- Sends a frame as often as tells it from what the stacks say of themselves at the same time (ARP,
--- multicast listeners), and returns whether each arrived, how often it went directly, and how many
--- packets the switch sent to the receiver.
local COPIES = 12
local function send(s, from, to, frame)
  local before, moved, arrived = direct(s, from), to.endpoint and switched(s, to) or 0, 0
  for _ = 1, COPIES do
    arrived = arrived + (s.lab:inject(from.where, to.where, frame) and 1 or 0)
  end
  return arrived, direct(s, from) - before, to.endpoint and switched(s, to) - moved
end

--- Holds that a frame arrived, or not, and that it went directly, or by the switch.
local function hold(s, from, to, frame, passes, directly, label)
  local arrived, went, moved = send(s, from, to, frame)
  assert.equal(passes and COPIES or 0, arrived, label)
  assert(directly == (went >= COPIES) and (directly or went < COPIES // 2), ("%s: %d went directly"):format(label, went))
  assert(not moved or (passes and not directly) == (moved >= COPIES),
    ("%s: the switch sent %s"):format(label, moved))
end

--- Has what comes to an actor and goes from it pass the switch (`on`), or not (`off`).
local function by_switch(s, actor, word)
  local text, status = namespaces.shell(("'%s' /run/bulkhead/%s/bpf %d %s"):format(audit.helper "switched", s.tag,
    port_index(actor), word))
  assert(status == 0, text)
end

--- The MAC of the host's management vNIC of the first network.
local function vnic(s)
  for _, entry in ipairs(json.decode((namespaces.shell "ip -j link show type veth"))) do
    if entry.ifname == ("b%s-1"):format(s.tag) then
      return entry.address
    end
  end
end

--- Two process containers, web admitting TCP and UDP 80, and a hyperv one; all know each other's MAC.
local function cast_of(open)
  local s = open()
  local dir = sets.make { ["container/process.lua"] = [[
return {
  default = { inbound = "block", outbound = "allow" },
  rules = {
    allow.inbound { protocol = "tcp", local_port = 80, name = "web" },
    allow.inbound { protocol = "udp", local_port = 80, name = "web" },
    allow.inbound { protocol = "icmp", name = "ping" },
    allow.inbound { protocol = "icmp6", name = "ping6" },
  },
}]] }
  local web, db = s:add { id = "web", policies = dir }, s:add { id = "db", policies = dir }
  local vm = s:add { id = "vm", type = "hyperv" }
  for _, pair in ipairs { { web, db }, { web, vm }, { db, vm } } do
    assert.is_true(s:send(pair[1], "ping", pair[2], true).answered)
  end
  return s, web, db, vm
end

local function udp(from, to, port, more)
  local spec = { source = from.address, target = to.address, protocol = 17, payload = frames.udp(40000, port or 80) }
  for key, value in pairs(more or {}) do
    spec[key] = value
  end
  return frames.ipv4(spec)
end

local function flows_of(s, actor, port)
  local list = {}
  for _, flow in ipairs(s.host:flows()) do
    if flow.endpoint == actor.endpoint.id and (flow.local_port == port or flow.remote_port == port) then
      list[#list + 1] = flow
    end
  end
  return list
end

local function last_drop(s, actor)
  local found
  for _, record in ipairs((s.host:drops(-8192))) do
    found = record.container == actor.id and record.packet:find " udp" and record or found
  end
  return found
end

stage.platforms(B, "a packet for a sibling", function(open)
  after_each(sets.clear)

  it("passes the switch by, between containers of either type, both ways", function()
    local s, web, db, vm = cast_of(open)
    for _, pair in ipairs { { db, web }, { vm, web }, { web, vm }, { db, vm } } do
      local from, to = pair[1], pair[2]
      local packets = s:counters(to).packets_in
      hold(s, from, to, frames.ethernet(to.mac, from.mac, IP4, udp(from, to)), true, true, from.id .. " to " .. to.id)
      assert.is_true(s:counters(to).packets_in >= packets + COPIES)
    end
    local text = metrics.text(s.host)
    assert.equal(direct(s, db), math.tointeger(text:match(
      'bulkhead_direct_packets_total{container="db",[^}]*} (%d+)')))
  end)

  it("is judged by the receiver's policy, counted, recorded and remembered as its own gate would", function()
    local s, web, db = cast_of(open)
    local before, sent = s:counters(web), s:counters(db)
    -- What the receiver refuses: the sender's gate let it out, the receiver's would not let it in.
    hold(s, db, web, frames.ethernet(web.mac, db.mac, IP4, udp(db, web, 81)), false, true, "refused")
    local after, sent_after = s:counters(web), s:counters(db)
    assert.equal((before.dropped_in.default or 0) + COPIES, after.dropped_in.default)
    assert.is_true(sent_after.packets_out >= sent.packets_out + COPIES)
    assert.same(sent.dropped_out, sent_after.dropped_out)
    local record = last_drop(s, web)
    assert.same({ "block", "default", web.endpoint.id, "inbound" },
      { record.verdict, record.by, record.endpoint, record.direction })
    assert.truthy(record.packet:find("in udp " .. db.address .. ":40000 -> " .. web.address .. ":81", 1, true))
    assert.is_nil(last_drop(s, db))
    local answer = s:explain("db", ("out udp %s:40000 -> %s:81"):format(db.address, web.address))
    assert.equal("gate out db ok, switch nat ok, gate in web default", s.hops(answer))
    -- What it admits: a flow at each end, which the answer belongs to.
    local frame = frames.ethernet(web.mac, db.mac, IP4, udp(db, web, 80))
    assert.is_true(s.lab:inject(db.where, web.where, frame))
    local theirs, ours = flows_of(s, db, 80), flows_of(s, web, 80)
    assert.same({ 1, "outbound", 1, "inbound" }, { #theirs, theirs[1].direction, #ours, ours[1].direction })
    local back = frames.ethernet(db.mac, web.mac, IP4, udp(web, db, 0, { payload = frames.udp(80, 40000) }))
    assert.is_true(s.lab:inject(web.where, db.where, back))
    assert.same({ "answered", "answered" }, { flows_of(s, db, 80)[1].state, flows_of(s, web, 80)[1].state })
    -- Without a flow the answer would be nothing the other asked for.
    back = frames.ethernet(db.mac, web.mac, IP4, udp(web, db, 0, { payload = frames.udp(80, 40001) }))
    assert.is_false(s.lab:inject(web.where, db.where, back))
  end)

  it("belongs to one conversation whichever way its packets went", function()
    local s, web, db = cast_of(open)
    local function segment(from, to, text)
      return s:send_raw(from, text:format(from.address, to.address), to, true)
    end
    local before = direct(s, db) + direct(s, web)
    by_switch(s, web, "on")
    assert.is_true(segment(db, web, "out tcp[S] %s:40000 -> %s:80"))
    assert.is_true(segment(web, db, "out tcp[SA] %s:80 -> %s:40000"))
    assert.equal(before, direct(s, db) + direct(s, web))
    by_switch(s, web, "off")
    assert.is_true(segment(db, web, "out tcp[A] %s:40000 -> %s:80"))
    assert.is_true(segment(web, db, "out tcp[A] %s:80 -> %s:40000"))
    assert.is_true(direct(s, db) + direct(s, web) >= before + 2)
    assert.same({ 1, 1 }, { #flows_of(s, web, 80), #flows_of(s, db, 80) })
    -- A policy that blocks it takes effect on its next packet.
    assert(s:change(function(host)
      return host:add_rules(web.endpoint.id, {
        { action = "block", direction = "inbound", protocol = "tcp", local_port = "80", name = "no more" },
      })
    end))
    assert.is_false(s:send_raw(db, ("out tcp[A] %s:40000 -> %s:80"):format(db.address, web.address), web, false))
  end)

  it("goes by the switch if the policy of an end says so, and what stands on its ports sees it", function()
    local s = open()
    local function set(more)
      return sets.make { ["container/process.lua"] =
        'return { default = { inbound = "allow", outbound = "allow" }, ' .. more .. "}" }
    end
    local direct_set, switched_set = set "", set "direct = false"
    local web, db = s:add { id = "web", policies = direct_set }, s:add { id = "db", policies = switched_set }
    assert.is_true(s:send(db, "ping", web, true).answered)
    local frame = frames.ethernet(web.mac, db.mac, IP4, udp(db, web))
    hold(s, db, web, frame, true, false, "the sender's policy")
    local function change(who, dir)
      local changes = assert(reload.plan(s.host, { dir = dir, containers = { who } }))
      assert.equal(1, #changes)
      assert(reload.apply(s.host, changes))
    end
    change("db", direct_set)
    assert.is_true(s.host:endpoints("db")[1].direct)
    hold(s, db, web, frame, true, true, "neither")
    change("web", switched_set)
    assert.is_false(s.host:endpoints("web")[1].direct)
    hold(s, db, web, frame, true, false, "the receiver's policy")
    -- A port that is down, or off the switch, takes nothing.
    for _, words in ipairs { { "down", "up" }, { "nomaster", "master s1" } } do
      switch(s, ("ip link set p%d %s"):format(web.endpoint.id, words[1]))
      hold(s, db, web, frame, false, false, words[1])
      switch(s, ("ip link set p%d %s"):format(web.endpoint.id, words[2]))
    end
  end)

  it("and nothing else: the host, groups, strangers, itself, another network", function()
    local s, web, db = cast_of(open)
    s:network { name = "other", driver = "internal", subnets = { "172.20.0.0/24" } }
    local far = s:add { id = "far", network = "other" }
    local host = { where = stage.HOST, address = "172.16.0.1" }
    local mac = vnic(s)
    hold(s, db, host, frames.ethernet(mac, db.mac, IP4, udp(db, host)), true, false, "the host")
    local function to_web(label, target, source, packet, passes, directly)
      hold(s, db, web, frames.ethernet(target, source, IP4, packet), passes or false, directly or false, label)
    end
    to_web("its subnet", BROADCAST, db.mac, udp(db, { address = "172.16.255.255" }, 80), true)
    to_web("a group", "01:00:5e:00:00:fb", db.mac, udp(db, { address = "224.0.0.251" }, 80), true)
    to_web("itself", db.mac, db.mac, udp(db, db))
    hold(s, db, far, frames.ethernet(far.mac, db.mac, IP4, udp(db, far)), false, false, "another network")
    -- A liar gets no further than before.
    to_web("with another's MAC", web.mac, far.mac, udp(db, web))
    to_web("with another's address", web.mac, db.mac, udp(far, web))
    to_web("the truth", web.mac, db.mac, udp(db, web), true, true)
    -- Where nobody is, the switch asks all ports, whose gates refuse it.
    local spoofed = s:counters(web).dropped_in.spoof or 0
    s.lab:inject(db.where, web.where, frames.ethernet("02:99:99:99:99:99", db.mac, IP4, udp(db, web)))
    assert.equal(spoofed + 1, s:counters(web).dropped_in.spoof)
  end)

  it("from a group or from nobody is dropped by the switch, as ever, whoever may lie", function()
    local s, web = cast_of(open)
    local liar = s:add { id = "liar", policies = sets.make { ["container/process.lua"] =
      'return { default = { inbound = "allow", outbound = "allow" }, antispoof = false }' } }
    for _, mac in ipairs { "01:00:5e:00:00:01", "00:00:00:00:00:00" } do
      hold(s, liar, web, frames.ethernet(web.mac, mac, IP4, udp(liar, web)), false, false, mac)
    end
    hold(s, liar, web, frames.ethernet(web.mac, "02:00:00:00:00:01", IP4, udp(liar, web)), true, true, "anybody")
  end)

  it("larger than the receiver's port takes is dropped by the switch, as ever", function()
    local s, web, db = cast_of(open)
    namespaces.inside(s, db.where, "ip link set eth0 mtu 4000")
    switch(s, ("ip link set p%d mtu 4000"):format(db.endpoint.id))
    local payload = frames.udp(40000, 80, ("x"):rep(2000))
    local big = frames.ethernet(web.mac, db.mac, IP4, udp(db, web, 80, { payload = payload }))
    hold(s, db, web, big, false, false, "large")
    switch(s, ("ip link set p%d mtu 4000"):format(web.endpoint.id))
    namespaces.inside(s, web.where, "ip link set eth0 mtu 4000")
    hold(s, db, web, big, true, false, "large") -- by the switch, which takes it now
  end)

  it("may be of any size a stack hands to its NIC at once, and arrives whole", function()
    local s, web, db = cast_of(open)
    local path = "/run/bulkhead/" .. s.tag .. "/c%d"
    local before, moved = direct(s, db), switched(s, web)
    for _, address in ipairs { web.address, web.address6 } do
      local text, status = namespaces.shell(("'%s' %s %s %s 80 stream 300"):format(audit.helper "traffic",
        path:format(db.where), path:format(web.where), address))
      assert.equal(0, status, text)
      local result = json.decode(text)
      assert.equal(0, result.wrong)
      assert.equal(result.sent, result.done)
      assert.is_true(result.done > 1000000)
    end
    assert.is_true(direct(s, db) > before)
    assert.is_true(switched(s, web) - moved < 20)
  end)

  it("is lost if the receiver goes while it is on its way, and nothing of it is left", function()
    local s, web, db, vm = cast_of(open)
    local path = "/run/bulkhead/" .. s.tag .. "/c%d"
    local pipe = assert(io.popen(("'%s' %s %s %s 80 udp 3000 2>&1"):format(audit.helper "traffic",
      path:format(db.where), path:format(web.where), web.address)))
    local before = direct(s, db)
    for _ = 1, 200 do -- it has begun
      if direct(s, db) > before + 1000 then
        break
      end
      namespaces.shell "sleep 0.02"
    end
    assert.is_true(direct(s, db) > before + 1000)
    s:remove "web"
    before = direct(s, db)
    namespaces.shell "sleep 0.3"
    assert.equal(before, direct(s, db))
    pipe:read "a"
    pipe:close()
    local differences = audit.differences(s)
    assert(#differences == 0, table.concat(differences, "\n"))
    assert.is_true(s:send(db, "ping", vm, true).answered)
  end)
end, { "linux" })

stage.platforms(B, "the switch", function(open)
  after_each(sets.clear)

  it("knows where endpoints and the host are, for ever, and learns from no container", function()
    local dir = sets.make { ["container/process.lua"] =
      'return { default = { inbound = "allow", outbound = "allow" }, antispoof = false }' }
    local s = open()
    local a, b, c = s:add { id = "a", policies = dir }, s:add { id = "b" }, s:add { id = "c", type = "hyperv" }
    local host = { where = stage.HOST, address = "172.16.0.1" }
    assert.is_true(s:send(c, "ping", host, true).answered)
    -- a says that it is the host, and c, in frames that it may send.
    local mac = vnic(s)
    for _, victim in ipairs { mac, c.mac } do
      s.lab:inject(a.where, b.where, frames.ethernet(BROADCAST, victim, IP4, udp(a, { address = "172.16.255.255" })))
    end
    local table_text = switch(s, "bridge fdb show br s1")
    for _, pair in ipairs { { a.mac, "p" .. a.endpoint.id }, { b.mac, "p" .. b.endpoint.id },
      { c.mac, "p" .. c.endpoint.id }, { mac, "m1" } } do
      local count = 0
      for line in table_text:gmatch "[^\n]+" do -- one a VLAN, where the kernel knows of them
        if line:sub(1, 17) == pair[1] then
          count = count + 1
          assert.truthy(line:find("dev " .. pair[2] .. " .*static"), line)
        end
      end
      assert.is_true(count > 0, pair[1])
    end
    assert.is_true(s:send(b, "ping", host, true).answered)
    assert.is_true(s:send(host, "ping", c, true).answered)
    s:remove "b"
    assert.is_nil(switch(s, "bridge fdb show br s1"):find(b.mac, 1, true))
  end)
end, { "linux" })

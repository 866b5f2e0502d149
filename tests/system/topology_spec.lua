--- F1 and F2: the picture, and the hops a packet meets. Foreign programs' tables on the host are one.
local cli = require "tests.support.cli"
local namespaces = require "tests.support.namespaces"
local stage = require "tests.support.stage"
local topology = require "topology"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

local PICTURE = [[
physical NIC up0
└─ host ── compartment 1 (default)
   ├─ management vNIC 172.16.0.1 fd00:16::1 ── port 0
   │  └─ switch nat (nat) 172.16.0.0/16 fd00:16::/64
   │     ├─ port 1 ── vNIC eth0 172.16.0.2/16 fd00:16::2/64
   │     │  └─ compartment 2 ── container web (process)
   │     └─ port 2 ── vmNIC vm0 172.16.0.3/16 fd00:16::3/64
   │        └─ compartment 3 ── container vm (hyperv)
   └─ management vNIC 10.9.0.1 ── port 0
      └─ switch cells (overlay) 10.9.0.0/24
         └─ port 3 ── vNIC eth0 10.9.0.2/24
            └─ compartment 4 ── container cell (process)
]]

local function build(s)
  s:network { name = "cells", driver = "overlay", subnets = { "10.9.0.0/24" } }
  return s:add { id = "web" }, s:add { id = "vm", type = "hyperv" }, s:add { id = "cell", network = "cells" }
end

stage.platforms(B, "F1: the topology", function(open, platform)
  it("is exactly what was made", function()
    local s = open()
    build(s)
    assert.equal(PICTURE, topology.tree(topology.graph(s.host, "up0")))
    s:remove "vm"
    assert.is_nil(topology.tree(topology.graph(s.host, "up0")):find("vm0", 1, true))
  end)

  if platform == "linux" then
    it("is what `bulkhead topology` prints", function()
      local s = open()
      build(s)
      local text, status = namespaces.shell(("BULKHEAD_STATE=%s '%s' topology"):format(s.state, cli.program()))
      assert.equal(0, status)
      assert.equal(PICTURE, text)
    end)
  end
end)

stage.platforms(B, "F2: explain", function(open)
  it("lists the hops a packet meets, in order", function()
    local s = open()
    local web, vm, cell = build(s)
    local db = s:add { id = "db", publish = { "8080:80" } }
    for _, row in ipairs {
      { "web", "out tcp web:40000 -> db:80", "gate out web ok, switch nat ok, gate in db ok" },
      { "web", "out tcp web:40000 -> db:81", "gate out web ok, switch nat ok, gate in db default" },
      { "db", "in tcp web:40000 -> db:80", "gate out web ok, switch nat ok, gate in db ok" },
      { "db", "in tcp web:40000 -> db:81", "gate out web ok, switch nat ok, gate in db default" },
      { "web", "out udp db:40000 -> vm:9", "gate out web spoof" },
      { "web", "out tcp web:40000 -> vm:9", "gate out web ok, switch nat ok, gate in vm ok" },
      { "web", "out tcp web:40000 -> 172.16.0.1:9", "gate out web ok, switch nat ok, host host ok" },
      { "web", "in tcp 172.16.0.1:9 -> web:22", "host host ok, switch nat ok, gate in web default" },
      { "web", "out tcp web:40000 -> 10.0.0.9:9",
        "gate out web ok, switch nat ok, host host ok, translation nat ok" },
      { "vm", "in tcp 10.0.0.9:9 -> vm:22", "host host ok, network nat untranslated" },
      { "db", "in tcp 10.0.0.9:9 -> db:80", "host host ok, translation nat ok, switch nat ok, gate in db ok" },
      { "web", "out tcp web:40000 -> cell:22", "gate out web ok, switch nat ok, network nat reach" },
      { "cell", "out tcp cell:40000 -> 10.0.0.9:9", "gate out cell ok, switch cells ok, network cells outside" },
      { "web", "out tcp web:40000 -> 172.16.9.9:9", "gate out web ok, switch nat no such endpoint" },
    } do
      local packet = row[2]:gsub("%f[%a](%a+):(%d+)", function(name, port)
        local actor = ({ web = web, vm = vm, cell = cell, db = db })[name]
        return (actor and actor.address or name) .. ":" .. port
      end)
      local answer = s:explain(row[1], packet)
      assert.equal(row[3], stage.hops(answer), packet)
      local last = answer.hops[#answer.hops]
      assert.equal(last.verdict == "allow", answer.delivered, packet)
    end
  end)

  it("finds what a reply belongs to", function()
    local s = open()
    local web = s:add { id = "web" }
    local answer = s:explain("web", ("out udp %s:40000 -> 10.0.0.9:53"):format(web.address),
      ("in udp 10.0.0.9:53 -> %s:40000"):format(web.address))
    assert.same({ "allow", "flow", true }, { answer.verdict, answer.by, answer.delivered })
    assert.equal("host host ok, translation nat ok, switch nat ok, gate in web ok", stage.hops(answer))
    assert.matches("container/process%.lua:%d+$", answer.origin) -- the line that let the opener out
    -- It changes nothing: asked afresh, there is no such flow.
    assert.same({}, s.host:flows(web.endpoint.id)[1] and s.host:flows(web.endpoint.id)[1].protocol == "udp"
      and s.host:flows(web.endpoint.id) or {})
  end)
end)

stage.platforms(B, "another program's FORWARD that drops", function(open)
  local FOREIGN = [[nft -f - <<'END'
table inet stranger {
  chain forward { type filter hook forward priority filter; policy drop; }
}
END]]

  it("does not come between containers, and is named for what goes outside", function()
    local s = open()
    local web, db = s:add { id = "web" }, s:add { id = "db", publish = { "8080:80" } }
    for _, actor in ipairs { db, { where = stage.OUTSIDE } } do
      assert(s.lab:listen(actor.where, "tcp", 80))
    end
    local outside = { where = stage.OUTSIDE, address = stage.OUTSIDE_ADDRESS }
    assert.is_true(s:send(web, "tcp 80", outside, true).answered)
    assert.equal("", (namespaces.shell(FOREIGN)))
    for _, name in ipairs { "iptables", "ip6tables", "arptables" } do
      local file = io.open("/proc/sys/net/bridge/bridge-nf-call-" .. name, "w")
      if file then
        file:write "1\n"
        file:close()
      end
    end
    assert.is_true(s:send(web, "tcp 80", db, true).answered)
    assert.is_true(s:send(web, "ping", db, true, db.address6).answered)
    local to_sibling = s:explain("web", ("out tcp %s:40000 -> %s:80"):format(web.address, db.address))
    assert.equal("gate out web ok, switch nat ok, gate in db ok", stage.hops(to_sibling))

    local answer = s:explain("web", ("out tcp %s:40000 -> %s:80"):format(web.address, outside.address))
    assert.equal("allow", answer.verdict) -- the firewall's, at the gate
    assert.is_false(answer.delivered)
    assert.equal("gate out web ok, switch nat ok, host host ok, foreign inet stranger forward policy", stage.hops(answer))
    local seen = s:send(web, "tcp 80", outside, false)
    assert.same({ false, false }, { seen.arrived, seen.answered })
    answer = s:explain("db", ("in tcp %s:40000 -> %s:80"):format(outside.address, db.address))
    assert.matches("foreign inet stranger forward policy", stage.hops(answer), 1, true)

    assert.equal("", (namespaces.shell "nft delete table inet stranger"))
    assert.is_true(s:send(web, "tcp 80", outside, true).answered)
  end)
end, { "linux" })

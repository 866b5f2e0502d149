--- What explain says of a live host, held against what packets do there.
local sets = require "tests.support.sets"
local namespaces = require "tests.support.namespaces"
local stage = require "tests.support.stage"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

stage.platforms(B, "explain of a full flow account", function(open)
  after_each(sets.clear)

  it("says quota where the gate does, and allow where a flow makes room", function()
    local s = open { networks = false }
    s:network { name = "nat", driver = "nat", subnets = { "172.16.0.0/16" } } -- no IPv6: nobody else speaks
    local dir = sets.make {
      ["container/process.lua"] = 'return { default = { inbound = "allow", outbound = "allow" }, flows = 4 }',
    }
    local a = s:add { id = "a", policies = dir }
    local inward = ("udp 172.16.0.1:9 -> %s:9"):format(a.address)
    assert.equal("default", s:explain("a", "in " .. inward).by)
    for port = 1, 4 do
      assert.is_true(s:send_raw(a, ("out udp %s:%d -> 172.16.0.1:9"):format(a.address, port), stage.HOST, true))
    end
    local answer = s:explain("a", "in " .. inward)
    assert.same({ "block", "quota", false }, { answer.verdict, answer.by, answer.delivered })
    assert.is_false(s:send_raw(stage.HOST, "out " .. inward, a, false))
    assert.is_true(s:counters(a).dropped_in.quota >= 1)
    local outward = ("out udp %s:5 -> 172.16.0.1:9"):format(a.address)
    assert.equal("allow", s:explain("a", outward).verdict)
    assert.is_true(s:send_raw(a, outward, stage.HOST, true))
    assert.equal(4, s.host:flows_used(a.where))
  end)
end)

stage.platforms(B, "explain of a host with other programs' filters", function(open)
  local TABLE = "table %s other { chain c { type filter hook %s priority %d; policy accept; %s }; }"

  --- Each: what the other program says; a probe and explain's question; who is then blamed.
  local ROWS = {
    { TABLE:format("ip", "prerouting", -300, "tcp dport 8080 drop;"), "outside", "ip other c" },
    { TABLE:format("inet", "prerouting", -50, "ip daddr 172.16.0.0/16 drop;"), "outside", "inet other c" },
    { TABLE:format("inet", "forward", 0, "iifname \"up0\" reject;"), "outside", "inet other c" },
    { TABLE:format("ip", "postrouting", 0, "tcp dport 80 drop;"), "outside", "ip other c" },
    { TABLE:format("ip", "output", 0, "ip daddr 172.16.0.0/16 tcp dport 80 drop;"), "host", "ip other c" },
    { TABLE:format("ip", "prerouting", -150, "ip saddr 172.16.0.0/16 drop;"), "out", "ip other c" },
    { TABLE:format("inet", "forward", 10, "oifname \"up0\" drop;"), "out", "inet other c" },
    { TABLE:format("inet", "input", 0, "tcp dport 7000 drop;"), "to host", "inet other c" },
    { "iptables-legacy -P FORWARD DROP", "outside", "iptables-legacy filter FORWARD" },
    { "iptables-legacy -t raw -A PREROUTING -p tcp --dport 8080 -j DROP", "outside",
      "iptables-legacy raw PREROUTING" },
  }

  it("blames who drops, and nobody where none does", function()
    for _, row in ipairs(ROWS) do
      local s = open()
      local web = s:add { id = "web", publish = { "8080:80" } }
      assert(s.lab:listen(web.where, "tcp", 80))
      assert(s.lab:listen(stage.OUTSIDE, "tcp", 81))
      assert(s.lab:listen(stage.HOST, "tcp", 7000))
      local ways = {
        outside = { stage.OUTSIDE, "10.0.0.1", 8080, "in tcp 10.0.0.9:51000 -> 10.0.0.1:8080", web.where, 80 },
        host = { stage.HOST, "10.0.0.1", 8080, "in tcp 10.0.0.1:51000 -> 10.0.0.1:8080", web.where, 80 },
        out = { web.where, "10.0.0.9", 81, ("out tcp %s:51000 -> 10.0.0.9:81"):format(web.address), stage.OUTSIDE },
        ["to host"] = { web.where, "10.0.0.1", 7000, ("out tcp %s:51000 -> 10.0.0.1:7000"):format(web.address),
          stage.HOST },
      }
      local way = ways[row[2]]
      local function try(timeout)
        return assert(s.lab:probe {
          from = way[1], to = way[5], kind = "tcp", target = way[2], port = way[3], arrival_port = way[6],
          timeout = timeout,
        }).answered, s:explain("web", way[4])
      end
      local answered, answer = try(2)
      assert.is_true(answered, row[1])
      assert.is_true(answer.delivered, row[1] .. ": " .. stage.hops(answer))
      local text, status = namespaces.shell(row[1]:find "^table" and ("nft '%s'"):format(row[1]) or row[1])
      assert.equal(0, status, text)
      answered, answer = try(0.3)
      local last = answer.hops[#answer.hops]
      assert.is_false(answered, row[1])
      assert.same({ "foreign", row[3], "block", false }, { last.hop, last.at, last.verdict, answer.delivered }, row[1])
      s:close()
    end
  end)
end, { "linux" })

stage.platforms(B, "explain of a live container", function(open)
  it("tells what rules, flows and the gate counted, at either end", function()
    local s = open()
    local web, db = s:add { id = "web", publish = { "8080:80" } }, s:add { id = "db" }
    assert(s.lab:listen(web.where, "tcp", 80))
    assert.is_true(s:send(db, "tcp 80", web, true).answered)
    local answer = s:explain("db", ("out tcp %s:51000 -> %s:80"):format(db.address, web.address))
    local gate = answer.hops[#answer.hops]
    assert.same({ "gate in", "published 8080", 1 }, { gate.hop, gate.matched[1].rule, gate.matched[1].hits })
    assert.is_true(answer.counters.packets_out >= 2 and answer.counters.bytes_out > 80)
    local flow
    for _, each in ipairs(s.host:flows(web.endpoint.id)) do
      flow = each.protocol == "tcp" and each or flow
    end
    answer = s:explain("web", ("in tcp[A] %s:%d -> %s:80"):format(db.address, flow.remote_port, web.address))
    assert.equal("flow", answer.by)
    assert.same({ flow.packets_in, flow.packets_out }, { answer.flow.packets_in, answer.flow.packets_out })
  end)
end)

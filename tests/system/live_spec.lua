--- live_spec.lua - policies as code on a live host: reload, audit, drops, metrics, with packets.
local cli = require "tests.support.cli"
local json = require "json"
local metrics = require "metrics"
local namespaces = require "tests.support.namespaces"
local bulkhead = require "bulkhead"
local reload = require "reload"
local sets = require "tests.support.sets"
local stage = require "tests.support.stage"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

--- A set whose process policy allows these TCP ports in, and what handlers add.
local function set_of(ports, more)
  return sets.make { ["container/process.lua"] = ([[
return {
  default = { inbound = "block", outbound = "allow" }, %s
  rules = { allow.inbound { protocol = "tcp", local_port = { %s }, name = "ports" } },
  on = { attach = function(container, endpoint)
    for _, port in ipairs(container.published) do
      endpoint:add(allow.inbound { protocol = port.protocol, local_port = port.container, name = "published" })
    end
  end },
}
]]):format(more or "", ports) }
end

local function apply(s, dir, more)
  local request = { dir = dir }
  for key, value in pairs(more or {}) do
    request[key] = value
  end
  local changes, message, code = reload.plan(s.host, request)
  if not changes then
    return nil, message, code
  end
  local ok
  ok, message, code = reload.apply(s.host, changes)
  return ok and changes, message, code
end

--- Whether the gate lets a packet pass, by sending it as it is.
local function passes(s, from, text, to)
  return s:send_raw(from, text, to, true)
end

--- What was recorded of TCP at an actor's gate; real stacks speak of themselves too.
local function dropped(s, actor)
  local list = {}
  for _, record in ipairs((s.host:drops(-8192))) do
    if record.container == actor.id and record.packet:find " tcp" then
      list[#list + 1] = record
    end
  end
  return list
end

stage.platforms(B, "policy reload", function(open)
  after_each(sets.clear)

  it("ends established flows that are blocked now on their next packet; others go on", function()
    local s = open()
    local web = s:add { id = "web", policies = set_of "80, 81", publish = { "8080:82/tcp" } }
    local db = s:add { id = "db", policies = set_of "80" }
    local function segment(port, flags)
      return passes(s, db, ("out tcp[%s] %s:40000 -> %s:%d"):format(flags, db.address, web.address, port), web)
    end
    for _, port in ipairs { 80, 81, 82 } do
      assert.is_true(segment(port, "S"))
      assert.is_true(segment(port, "A"))
    end
    assert(apply(s, set_of "80"))
    assert.is_true(segment(80, "A"))
    assert.is_false(segment(81, "A"))
    assert.is_true(segment(82, "A")) -- published: its handler was run again
    local record = dropped(s, web)[1]
    assert.equal("block", record.verdict)
    assert.equal("default", record.by)
    assert.matches("container/process%.lua:2$", record.origin)
    assert.matches(("^in tcp%%[A%%] %s:40000 %%-> %s:81$"):format(db.address, web.address), record.packet)
    assert.equal(web.where, record.compartment)
    assert.equal(2, s.host:endpoints("web")[1].generation)
  end)

  it("keeps the old set in force if anything is wrong", function()
    local s = open()
    local good = set_of "80"
    local web, db = s:add { id = "web", policies = good }, s:add { id = "db", policies = good }
    for _, files in ipairs {
      { ["container/process.lua"] = "return {" },
      { ["container/process.lua"] = "return { default = { inbound = 'block' } }" },
      { ["container/other.lua"] = "return { default = { inbound = 'allow', outbound = 'allow' } }" },
      { ["container/process.lua"] = "return { default = { inbound = 'allow', outbound = 'allow' },"
        .. " on = { attach = function() error 'no' end } }" },
      { ["container/process.lua"] = "return { default = { inbound = 'allow', outbound = 'allow' } }",
        ["network/overlay.lua"] = "return { rules = 7 }" },
    } do
      local ok, message = apply(s, sets.make(files))
      assert.is_nil(ok)
      assert.matches(files["container/process.lua"] and files["container/process.lua"]:find "attach"
        and "^container '%w+': /tmp/[^ ]+" or "^/tmp/[^ ]+", message)
    end
    assert.is_nil((apply(s, "/nonexistent")))
    for _, who in ipairs { "web", "db" } do
      assert.equal(1, s.host:endpoints(who)[1].generation)
      assert.equal(good, s.host:container(who).policies)
    end
    local text = "out tcp %s:4%d -> %s:%d"
    assert.is_true(passes(s, db, text:format(db.address, 1, web.address, 80), web))
    assert.is_false(passes(s, db, text:format(db.address, 2, web.address, 81), web))
  end)

  it("tells what would change, and changes nothing", function()
    local s = open()
    local old = set_of "80, 81"
    local web, db = s:add { id = "web", policies = old }, s:add { id = "db", policies = old }
    assert.is_true(passes(s, db, ("out tcp %s:40000 -> %s:81"):format(db.address, web.address), web))
    local changes = assert(reload.plan(s.host, { dir = set_of("80", "flows = 100,"), flows = true }))
    assert.equal(2, #changes)
    assert.same({ { field = "flows", from = 65536, to = 100 } }, changes[1].fields)
    assert.equal("80", changes[1].added[1].local_port)
    assert.equal("80,81", changes[1].removed[1].local_port)
    assert.same({ ("in tcp %s:40000 -> %s:81"):format(db.address, web.address) }, changes[1].ends)
    assert.same({}, changes[2].ends)
    assert.equal(1, s.host:endpoints("web")[1].generation)
    changes = assert(reload.plan(s.host, {})) -- its own set again: the same
    assert.is_false(changes[1].differs or changes[1].lines or #changes.moves > 0)
    assert(reload.apply(s.host, changes))
    assert.equal(1, s.host:endpoints("web")[1].generation)
  end)

  it("replaces options and timeouts, and keeps the set for the container", function()
    local s = open()
    s:add { id = "web", policies = set_of "80" }
    local dir = set_of("80", "antispoof = false, timeouts = { udp = 7 },")
    assert(apply(s, dir))
    local endpoint = s.host:endpoints("web")[1]
    assert.is_false(endpoint.antispoof)
    assert.equal(7, endpoint.timeouts.udp)
    assert.equal(dir, s.host:container("web").policies)
    assert.equal("ports", s.host:rules(endpoint.id)[1].name)
  end)

  it("forgets hits of rules that are gone", function()
    local s = open()
    local web, db = s:add { id = "web", policies = set_of "80" }, s:add { id = "db", policies = set_of "80" }
    for port = 1, 3 do
      passes(s, db, ("out tcp %s:%d -> %s:80"):format(db.address, port, web.address), web)
    end
    assert.equal(3, s.host:rules(web.endpoint.id)[1].hits)
    assert(apply(s, set_of "80, 90"))
    assert.equal(0, s.host:rules(web.endpoint.id)[1].hits)
  end)
end)

stage.platforms(B, "audit", function(open)
  after_each(sets.clear)

  it("passes and records what the policy would block, until it is enforced", function()
    local s = open()
    local dir = set_of("80", "audit = true,")
    local web, db = s:add { id = "web", policies = dir }, s:add { id = "db", policies = set_of "80" }
    local text = ("out tcp[%%s] %s:40000 -> %s:81"):format(db.address, web.address)
    assert.is_true(passes(s, db, text:format "S", web))
    assert.is_true(passes(s, db, text:format "A", web))
    local records = dropped(s, web)
    assert.equal(1, #records) -- not each packet of the flow
    assert.is_true(records[1].audit)
    assert.same({ "allow", "default" }, { records[1].verdict, records[1].by })
    assert.is_true(s:counters(web).audited_in >= 2)
    assert.is_true(s.host:endpoints("web")[1].audit)
    local audited = 0
    for _, flow in ipairs(s.host:flows(web.endpoint.id)) do
      audited = audited + (flow.protocol == "tcp" and flow.audit and 1 or 0)
    end
    assert.equal(1, audited)
    local answer = s:explain("web", ("in tcp %s:1 -> %s:82"):format(db.address, web.address))
    assert.same({ "allow", true }, { answer.verdict, answer.audit })
    assert(apply(s, set_of "80"))
    assert.is_false(passes(s, db, text:format "A", web))
    assert(apply(s, set_of "80", { audit = true })) -- for all, until the next reload
    assert.is_true(passes(s, db, text:format "A", web))
    assert(apply(s))
    assert.is_false(passes(s, db, text:format "A", web))
  end)

  it("of one compartment leaves the others as they are", function()
    local s = open()
    local dir = set_of "80"
    local web, other = s:add { id = "web", policies = dir }, s:add { id = "other", policies = dir }
    local db = s:add { id = "db", policies = dir }
    local function reaches(actor, port)
      return passes(s, db, ("out tcp %s:%d -> %s:81"):format(db.address, port, actor.address), actor)
    end
    assert(apply(s, nil, { audit = true, containers = { "web" } }))
    assert.same({ true, false }, { reaches(web, 1), reaches(other, 2) })
    assert.same({ true, false }, { s.host:endpoints("web")[1].audit, s.host:endpoints("other")[1].audit })
    assert(apply(s, nil, { containers = { "web" } }))
    assert.is_false(reaches(web, 3))
  end)

  it("of one rule lets pass what that rule alone would block", function()
    local s = open()
    local dir = sets.make { ["container/process.lua"] = [[
return { default = { inbound = "block", outbound = "allow" }, rules = {
  block.inbound { protocol = "tcp", local_port = 80, name = "tried", audit = true },
  block.inbound { protocol = "tcp", local_port = 81, name = "meant" },
} }]] }
    local web, db = s:add { id = "web", policies = dir }, s:add { id = "db", policies = dir }
    for port, expected in pairs { [80] = true, [81] = false, [82] = false } do
      assert.equal(expected, passes(s, db, ("out tcp %s:4 -> %s:%d"):format(db.address, web.address, port), web), port)
    end
    local audited = {}
    for _, record in ipairs(dropped(s, web)) do
      audited[record.rule or record.by] = record.audit
    end
    assert.same({ tried = true, meant = false, default = false }, audited)
  end)

  it("lets nothing pass that is spoofed", function()
    local s = open()
    local web = s:add { id = "web", policies = set_of("80", "audit = true,") }
    local db = s:add { id = "db", policies = set_of("80", "audit = true,") }
    assert.is_false(s:send_raw(db, ("out tcp 172.16.9.9:1 -> %s:80"):format(web.address), web, false))
    local record = dropped(s, db)[1]
    assert.same({ "block", "spoof" }, { record.verdict, record.by })
  end)
end)

stage.platforms(B, "drops", function(open)
  after_each(sets.clear)

  it("name packet, reason, rule and line, also after the rule is gone", function()
    local s = open()
    local dir = sets.make { ["container/process.lua"] = [[
return { default = { inbound = "block", outbound = "allow" }, rules = {
  block.inbound { protocol = "tcp", local_port = 80, name = "no web" },
  allow.inbound { protocol = "tcp", local_port = 81, name = "seen", log = true },
  allow.inbound { protocol = "tcp", local_port = 82 },
} }]] }
    local web, db = s:add { id = "web", policies = dir }, s:add { id = "db", policies = dir }
    for port = 80, 82 do
      passes(s, db, ("out tcp %s:40000 -> %s:%d"):format(db.address, web.address, port), web)
    end
    local function hold()
      local list = dropped(s, web)
      assert.equal(2, #list)
      assert.same({ "block", "rule", "no web" }, { list[1].verdict, list[1].by, list[1].rule })
      assert.matches("process%.lua:2$", list[1].origin)
      assert.same({ "allow", "seen", true }, { list[2].verdict, list[2].rule, list[2].log })
      assert.is_true(math.abs(list[1].time - os.time()) < 5)
      return list
    end
    hold()
    assert(apply(s, set_of "99"))
    hold()
    local number = hold()[2].number
    s:remove "web"
    for _, record in ipairs((s.host:drops(-10))) do
      if record.number == number then
        assert.same({ "web", "seen" }, { record.container, record.rule })
      end
    end
  end)

  it("keep the newest 8192, and readers see where some are missing", function()
    local s = open()
    local web, db = s:add { id = "web", policies = set_of "80" }, s:add { id = "db", policies = set_of "80" }
    local _, start = s.host:drops()
    local frame = s.host:gate(db.endpoint.id):frame(("out udp %s:1 -> %s:9"):format(db.address, web.address))
    s:send_raw(db, ("out udp %s:1 -> %s:9"):format(db.address, web.address), web, false)
    local found = 0
    for _, record in ipairs((s.host:drops(start))) do
      found = found + (record.packet:find "^in udp 172%.16%.0%.%d+:1 " and 1 or 0)
    end
    assert.equal(1, found)
    if s.platform == "memory" then
      for _ = 1, 9000 do
        s.lab:inject(db.where, web.where, frame)
      end
      local list, next_number = s.host:drops(start)
      assert.equal(8192, #list)
      assert.equal(8192, next_number - list[1].number)
      assert.is_true(list[1].number > start)
      for i = 2, #list do
        assert.equal(list[i - 1].number + 1, list[i].number)
      end
      assert.same(list[#list].number, s.host:drops(-1)[1].number)
    end
  end)
end)

stage.platforms(B, "metrics", function(open)
  after_each(sets.clear)

  it("are in the exposition format, and right", function()
    local s = open()
    local web, db = s:add { id = "web", policies = set_of "80" }, s:add { id = "db", policies = set_of "80" }
    passes(s, db, ("out tcp %s:40000 -> %s:80"):format(db.address, web.address), web)
    passes(s, db, ("out tcp %s:40000 -> %s:81"):format(db.address, web.address), web)
    local text, known, seen = metrics.text(s.host, true), {}, {}
    for line in text:gmatch "([^\n]*)\n" do
      local name, kind = line:match "^# TYPE (bulkhead_[%w_]+) (%a+)$"
      if name then
        assert.is_true(kind == "counter" or kind == "gauge")
        assert.is_nil(known[name])
        known[name] = kind
      elseif not line:find "^# HELP bulkhead_[%w_]+ [^\n]+$" then
        local family, labels, value = line:match "^([%w_]+)(%b{}) (%d+)$"
        if not family then
          family, value = line:match "^([%w_]+) (%d+)$"
          labels = ""
        end
        assert.truthy(family and known[family], line)
        assert.is_nil(seen[family .. labels], line)
        seen[family .. labels] = tonumber(value)
        assert.equal(known[family] == "counter", family:find "_total$" ~= nil, line)
      end
    end
    local found = 0
    for key, value in pairs(seen) do
      if key:find('name="web"', 1, true) and key:find('direction="inbound"', 1, true) then
        if key:find("^bulkhead_dropped_packets_total") and key:find('reason="default"', 1, true) then
          assert.is_true(value >= 1, key)
          found = found + 1
        elseif key:find "^bulkhead_rule_hits_total" then
          found = found + 10 * value
        end
      end
    end
    assert.equal(11, found)
    assert.is_true(seen.bulkhead_records_total >= 1)
    -- The same as a list, for --json.
    local count = 0
    for _, family in ipairs(metrics.list(s.host, true)) do
      assert.same({ known[family.name], true }, { family.type, #family.help > 0 })
      for _, sample in ipairs(family.samples) do
        count = count + 1
        local hit = sample.labels.name == "web" and sample.labels.reason == "default" and sample.value or 0
        found = found + (sample.labels.direction == "inbound" and hit or 0)
      end
    end
    assert.is_true(found >= 12)
    for _ in pairs(seen) do
      count = count - 1
    end
    assert.equal(0, count)
  end)
end)

--- Runs the program on a state in the background; returns its process id.
local function start(s, words, out)
  local pipe = assert(io.popen(("BULKHEAD_STATE=%s %s %s >%s 2>&1 & echo $!")
    :format(s.state, cli.program(), words, out)))
  local pid = pipe:read "l"
  pipe:close()
  return pid
end

local function lines_of(path)
  local list = {}
  for line in io.lines(path) do
    list[#list + 1] = assert(json.decode(line), line)
  end
  return list
end

stage.platforms(B, "drops --follow", function(open)
  it("shows two readers the same", function()
    local s = open()
    local web, db = s:add { id = "web" }, s:add { id = "db" }
    local outs, pids = { os.tmpname(), os.tmpname() }, {}
    for i, out in ipairs(outs) do
      pids[i] = start(s, "drops --follow --json", out)
    end
    bulkhead.wait(0.5)
    for port = 1, 20 do
      s:send_raw(db, ("out udp %s:1 -> %s:%d"):format(db.address, web.address, port), web, false)
    end
    bulkhead.wait(0.5)
    local numbers = {}
    for i, out in ipairs(outs) do
      os.execute("kill " .. pids[i])
      numbers[i] = {}
      for _, record in ipairs(lines_of(out)) do
        if record.container == "web" and record.packet:find "^in udp" then
          table.insert(numbers[i], record.number)
        end
      end
      os.remove(out)
    end
    assert.equal(20, #numbers[1])
    assert.same(numbers[1], numbers[2])
  end)

  it("goes on with what is made after a reset", function()
    local s = open()
    s:add { id = "web" }
    local out = os.tmpname()
    local pid = start(s, "drops --follow", out)
    bulkhead.wait(0.3)
    assert.same({ "", 0 }, { namespaces.shell(("BULKHEAD_STATE=%s %s reset"):format(s.state, cli.program())) })
    s:reopen()
    local web, db = s:add { id = "web" }, s:add { id = "db" }
    local text
    for _ = 1, 100 do
      s:send_raw(db, ("out udp %s:1 -> %s:9"):format(db.address, web.address), web, false)
      bulkhead.wait(0.1)
      local file <close> = assert(io.open(out))
      text = file:read "a"
      if text:find "udp" then break end
    end
    os.execute("kill " .. pid)
    os.remove(out)
    assert.matches("the state " .. s.state .. " was made anew: what follows is of its gates\n", text, 1, true)
    assert.matches("web %(compartment %d+%) in udp [^\n]+:9 dropped: default", text)
  end)

  it("tells a reader that was stopped how many are left out", function()
    local s = open()
    local web, db = s:add { id = "web" }, s:add { id = "db" }
    local out = os.tmpname()
    local pid = start(s, "drops --follow", out)
    --- Waits until the reader has written what matches, at most 30 seconds; meanwhile `act` is done again.
    local function read(pattern, act)
      local text
      for _ = 1, 300 do
        if act then act() end
        bulkhead.wait(0.1)
        local file <close> = assert(io.open(out))
        text = file:read "a"
        if text:find(pattern) then break end
      end
      return text
    end
    read(".\n", function()
      s:send_raw(db, ("out udp %s:1 -> %s:9"):format(db.address, web.address), web, false)
    end)
    os.execute("kill -STOP " .. pid)
    local before = select(2, s.host:drops())
    namespaces.inside(s, db.where,
      ("bash -c 'for i in {1..8400}; do echo x > /dev/udp/%s/9; done'"):format(web.address))
    assert.is_true(select(2, s.host:drops()) - before > 8192)
    os.execute("kill -CONT " .. pid)
    local text = read "%d+ left out\n"
    os.execute("kill " .. pid)
    os.remove(out)
    assert.matches("%d+ left out\n", text)
  end)
end, { "linux" })

stage.platforms(B, "a reload that is killed", function(open)
  after_each(sets.clear)

  it("is finished or undone by the next change, for all containers alike", function()
    local s = open()
    local old, new = set_of "80", set_of "90"
    for i = 1, 12 do
      s:add { id = "c" .. i, policies = old, publish = { ("%d:5%d/tcp"):format(8000 + i, i) } }
    end
    local sides = {}
    for round = 1, 8 do
      local pid = start(s, "policy reload " .. (round % 2 == 1 and new or old), "/dev/null")
      bulkhead.wait(0.01 * round)
      os.execute("kill -9 " .. pid .. " 2>/dev/null")
      local status = os.execute(("BULKHEAD_STATE=%s %s reconcile"):format(s.state, cli.program()))
      assert.is_true(status)
      local side
      for i = 1, 12 do
        local endpoint = s.host:endpoints("c" .. i)[1]
        assert.equal("ready", endpoint.status)
        local gate = s.host:gate(endpoint.id)
        local address = endpoint.addresses[1]:match "^[^/]+"
        local function verdict(port)
          return gate:judge(("in tcp 172.16.200.9:1 -> %s:%d"):format(address, port)).verdict
        end
        local now = verdict(80) .. verdict(90)
        assert.is_true(now == "allowblock" or now == "blockallow", now)
        side = side or now
        assert.equal(side, now)
        assert.equal("allow", verdict(tonumber("5" .. i)))
        assert.equal(side == "allowblock" and old or new, s.host:container("c" .. i).policies)
      end
      sides[#sides + 1] = side
    end
    assert.equal(8, #sides)
  end)
end, { "linux" })

stage.platforms(B, "a snapshot", function(open)
  it("is of one moment, and nobody waits for it", function()
    local s = open()
    s:add { id = "a" }
    local function ids(host)
      local list = {}
      for i, container in ipairs(host:containers()) do
        list[i] = container.id
      end
      return table.concat(list, " ")
    end
    local before, meanwhile, status = s.host:snapshot(function(host)
      local first = ids(host)
      local _, _, code = os.execute(("BULKHEAD_STATE=%s timeout 20 %s container create b >/dev/null"):format(s.state,
        cli.program()))
      return first, ids(host), code
    end, s.host)
    assert.equal(0, status)
    assert.same({ "a", "a", "a b" }, { before, meanwhile, ids(s.host) })
  end)
end, { "linux" })

stage.platforms(B, "live flows", function(open, platform)
  it("are handed out one by one to who asks for it", function()
    local s = open()
    local a, b = s:add { id = "a" }, s:add { id = "b" }
    for port = 1, 5 do
      s:send_raw(a, ("out udp %s:4000 -> %s:%d"):format(a.address, stage.OUTSIDE_ADDRESS, port), { where = stage.OUTSIDE })
      s:send_raw(b, ("out udp %s:4000 -> %s:%d"):format(b.address, stage.OUTSIDE_ADDRESS, port), { where = stage.OUTSIDE })
    end
    local ports = {}
    local count = s.host:flows(a.endpoint.id, function(flow)
      assert.equal(a.endpoint.id, flow.endpoint)
      ports[flow.remote_port] = flow.protocol == "udp" and flow.remote_address or nil
    end)
    assert.same({ "10.0.0.9", "10.0.0.9", "10.0.0.9", "10.0.0.9", "10.0.0.9" }, ports)
    assert.equal(#s.host:flows(a.endpoint.id), count)
    assert.is_true(s.host:flows(nil, function() end) >= 10)
    -- What it raises ends it; so does a host that it closes.
    local calls = 0
    local function once() calls = calls + 1 end
    assert.has_error(function() s.host:flows(nil, function() once() error("enough", 0) end) end, "enough")
    assert.equal(1, calls)
    assert.has_error(function() s.host:flows(nil, "all") end)
    if platform == "linux" then
      local host = assert(bulkhead.open { platform = "linux", lab = s.lab, state = s.state })
      assert.equal(1, host:flows(nil, function() host:close() end))
    end
  end)
end)

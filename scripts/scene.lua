--- scene.lua - the original's figure, with packets: `make run`.
---
--- One host with its default compartment and management vNICs; a nat network with `web` and `db`
--- (process) and `vm` (hyperv, a stand-in for a VMM behind its tap); `cell` on an overlay; a peer
--- outside. Every probe is asked about first (`explain`), then sent, then watched for where it should
--- arrive. Exits 0 only if expectation, explanation and wire agree for all, and nothing is left.
local compartments = require "commands.compartments"
local explain = require "explain"
local labs = require "labs"
local lifecycle = require "lifecycle"
local notation = require "notation"
local policies = require "policies"
local session = require "session"
local show = require "show"
local topology = require "topology"
local validate = require "validate"
local worlds = require "worlds"

local OUTSIDE, HOST = "10.0.0.9", "10.0.0.1"

--- What a call returned, or its refusal as an error.
local function must(value, ...)
  if value == nil then
    error((...), 0)
  end
  return value, ...
end

--- The host of the scene; what is in it by name: { where, address, address6 }.
local function build(host, lab)
  must(host:begin())
  must(host:add_network { name = "nat", driver = "nat", subnets = { "172.16.0.0/16", "fd00:16::/64" } })
  must(host:add_network { name = "cells", driver = "overlay", subnets = { "10.9.0.0/24" } })
  must(host:commit())
  local cast = {
    outside = { where = 0, address = OUTSIDE },
    host = { where = 1, address = "172.16.0.1" },
  }
  for _, actor in ipairs {
    { id = "web", type = "process", network = "nat", publish = "8080:80/tcp" },
    { id = "db", type = "process", network = "nat" },
    { id = "vm", type = "hyperv", network = "nat" },
    { id = "cell", type = "process", network = "cells" },
  } do
    local _, endpoint = must(lifecycle.create(host, {
      id = actor.id, type = actor.type, network = actor.network,
      policies = session.policies(), annotations = {}, labels = {},
      published = actor.publish and must(validate.published { actor.publish }) or {},
    }))
    if actor.type == "hyperv" then
      must(lab:guest(endpoint))
    end
    cast[actor.id] = {
      where = endpoint.compartment, endpoint = endpoint,
      address = endpoint.addresses[1]:match "^[^/]+",
      address6 = endpoint.addresses[2] and endpoint.addresses[2]:match "^[^/]+",
    }
  end
  for _, port in ipairs { { "web", 80 }, { "web", 81 }, { "db", 5432 }, { "vm", 22 }, { "cell", 22 },
    { "outside", 80 } } do
    must(lab:listen(cast[port[1]].where, "tcp", port[2]))
  end
  must(lab:listen(0, "udp", 53))
  must(lab:route_outside "172.16.0.0/16")
  return cast
end

--- What is sent. `packets` is the sequence `explain` is asked about, seen from container `who`; the
--- verdict of the last counts.
local function plan(cast)
  local web, db, vm = cast.web, cast.db, cast.vm
  local list = {}

  local function probe(entry)
    list[#list + 1] = entry
  end

  --- A TCP connect or a ping, seen from the container that sends or, from elsewhere, receives.
  local function simple(from, to, what, passes, target)
    local source, kind, port = cast[from], what:match "^(%a+)%s*(%d*)"
    target = target or cast[to].address
    local out = cast[from].endpoint ~= nil
    local origin = target:find(":", 1, true) and source.address6 or source.address
    if from == "host" and to == "cell" then
      origin = "10.9.0.1" -- the management vNIC of that network
    end
    local text
    if kind == "ping" then
      text = (target:find(":", 1, true) and "icmp6[128:0] %s -> %s" or "icmp[8:0] %s -> %s")
        :format(origin, target)
    else
      text = ("%s %s -> %s"):format(kind, notation.socket(origin, 40000), notation.socket(target, port))
    end
    probe {
      from = from, to = to, what = what .. (target:find(":", 1, true) and " v6" or ""), passes = passes,
      who = out and from or to, packets = { (out and "out " or "in ") .. text },
      send = { kind = kind, target = target, port = math.tointeger(port) },
    }
  end

  --- One packet as it is written, whatever its source.
  local function raw(from, to, what, passes, text, who, packet)
    probe {
      from = from, to = to, what = what, passes = passes, who = who or from, packets = { packet or "out " .. text },
      send = { kind = "raw", packet = "out " .. text },
    }
  end

  --- A TCP connect to a port of the host, which may be web's; seen from `who`.
  local function by_host(from, what, passes, who, packet)
    local source, target, port = packet:match "(%S+):%d+ %-> (%S+):(%d+)"
    probe {
      from = from, to = "web", what = what, passes = passes, who = who,
      packets = { (source == cast[from].address and who == from and "out " or "in ") .. packet },
      send = { kind = "tcp", target = target, port = math.tointeger(port), arrival_port = 80 },
    }
  end

  by_host("outside", "host:8080", true, "web", ("tcp %s:40000 -> %s:8080"):format(OUTSIDE, HOST))
  by_host("outside", "host:8081", false, "web", ("tcp %s:40000 -> %s:8081"):format(OUTSIDE, HOST))
  by_host("host", "127.0.0.1:8080", true, "web", "tcp 127.0.0.1:40000 -> 127.0.0.1:8080")
  by_host("db", "host:8080", true, "db", ("tcp %s:40000 -> 172.16.0.1:8080"):format(db.address))
  by_host("web", "host:8080", true, "web", ("tcp %s:40000 -> 172.16.0.1:8080"):format(web.address))
  by_host("vm", "host:8080", true, "web", ("tcp %s:40000 -> %s:8080"):format(vm.address, HOST))
  simple("db", "web", "tcp 80", true)
  simple("db", "web", "tcp 81", false)
  simple("web", "db", "tcp 5432", false)
  simple("web", "db", "ping", true)
  simple("web", "db", "ping", true, db.address6)
  simple("db", "web", "tcp 81", false, web.address6)
  simple("db", "web", "tcp 80", true, web.address6)
  simple("host", "db", "ping", true)
  simple("host", "db", "tcp 5432", false)
  simple("host", "web", "tcp 80", true)
  simple("db", "outside", "tcp 80", true)
  simple("db", "outside", "ping", true)
  simple("outside", "web", "tcp 81", false)
  simple("outside", "vm", "tcp 22", false)
  simple("db", "vm", "tcp 22", true)
  simple("vm", "web", "tcp 81", false)
  simple("vm", "outside", "tcp 80", true)
  simple("host", "cell", "tcp 22", true)
  simple("db", "cell", "tcp 22", false)
  probe {
    from = "db", to = "outside", what = "dns query and reply", passes = true, answered = true, who = "db",
    packets = { ("out udp %s:40001 -> %s:53"):format(db.address, OUTSIDE),
      ("in udp %s:53 -> %s:40001"):format(OUTSIDE, db.address) },
    send = { kind = "udp", target = OUTSIDE, port = 53, source_port = 40001 },
  }
  raw("host", "db", "dns-like, unsolicited", false, ("udp 172.16.0.1:53 -> %s:40009"):format(db.address), "db",
    ("in udp 172.16.0.1:53 -> %s:40009"):format(db.address))
  raw("host", "db", "dhcp-like", true, ("udp 172.16.0.1:67 -> %s:68"):format(db.address), "db",
    ("in udp 172.16.0.1:67 -> %s:68"):format(db.address))
  raw("host", "db", "dhcp-like, port 69", false, ("udp 172.16.0.1:67 -> %s:69"):format(db.address), "db",
    ("in udp 172.16.0.1:67 -> %s:69"):format(db.address))
  raw("web", "db", "dhcp answer", false, ("udp %s:67 -> %s:68"):format(web.address, db.address))
  raw("web", "db", "stray ack", false, ("tcp[A] %s:40002 -> %s:5432"):format(web.address, db.address))
  raw("web", "db", "spoofed source", false, ("icmp[8:0] 172.16.0.99 -> %s"):format(db.address))
  raw("vm", "web", "spoofed source", false, ("udp %s:68 -> %s:68"):format(db.address, web.address))
  raw("vm", "db", "router advert.", false, ("icmp6[134:0] %s -> %s"):format(vm.address6, db.address6))
  simple("cell", "host", "ping", true, "10.9.0.1")
  return list
end

--- Asks, sends, and compares. Returns the row that is printed.
local function play(host, lab, cast, entry)
  local parsed = {}
  for i, text in ipairs(entry.packets) do
    parsed[i] = must(require("bulkhead.filter").packet(text))
  end
  local world = must(worlds.live(host, entry.who, parsed))
  local answer
  for _, text in ipairs(entry.packets) do
    answer = must(explain.packet(world, text))
  end
  local spec = entry.send
  spec.from, spec.to, spec.timeout = cast[entry.from].where, cast[entry.to].where, entry.passes and 2 or 0.15
  local seen = must(lab:probe(spec))
  local wire = seen.arrived
  if entry.answered or (spec.kind ~= "raw" and entry.passes) then
    wire = wire and seen.answered
  end
  local refusing = answer.hops[#answer.hops]
  local said, by, line = answer.delivered, answer.by, answer.origin
  if refusing and refusing.verdict == "block" then
    by = refusing.by
    line = refusing.origin or refusing.hop .. " " .. refusing.at
  end
  local function word(passes)
    return passes and "passes" or "dropped"
  end
  return {
    probe = entry.from .. " → " .. entry.to, what = entry.what, expected = word(entry.passes), wire = word(wire),
    explain = word(said), by = by, line = line,
    agrees = wire == entry.passes and said == entry.passes,
  }
end

local function print_rows(rows)
  io.write(show.table({
    { key = "agrees", title = "" }, { key = "probe", title = "Probe" }, { key = "what", title = "What" },
    { key = "expected", title = "Expected" }, { key = "wire", title = "Wire" },
    { key = "explain", title = "Explain" }, { key = "by", title = "By" }, { key = "line", title = "Decided by" },
  }, rows), "\n")
end

--- Plays the scene in an open lab; returns how many probes there were and disagreed.
local function scene(lab, host)
  local cast = build(host, lab)
  io.write(topology.tree(topology.graph(host, host:platform() == "linux" and "up0" or "uplink")), "\n")
  local rows, wrong = {}, 0
  for i, entry in ipairs(plan(cast)) do
    rows[i] = play(host, lab, cast, entry)
    wrong = wrong + (rows[i].agrees and 0 or 1)
    rows[i].agrees = rows[i].agrees and "=" or "≠"
  end
  print_rows(rows)
  io.write(compartments.text(host:compartments()), "\n")
  return #rows, wrong
end

local function open(platform)
  return labs.open {
    platform = platform, host = { "10.0.0.1/24", "fd00:10::1/64" },
    outside = { OUTSIDE .. "/24", "fd00:10::9/64" },
  }
end

local lab, host = nil, nil
if session.platform == "linux" then
  lab, host = open "linux"
  if not lab then
    io.write("The scene plays on the memory platform, in process: ", host, ".\n\n")
  end
end
if not lab then
  lab, host = open "memory"
  must(lab, host)
end
local platform = host:platform()
io.write(("A host on the %s platform, policies %s\n\n"):format(platform, policies.name(session.policies())))
local ok, count, wrong = pcall(scene, lab, host)
local clean, why = labs.close(lab, host)
if not ok then
  error(count, 0)
end
must(clean, why)
io.write(("%d probes, %s\n"):format(count,
  wrong == 0 and "wire, explanation and expectation agree for all; nothing is left"
  or ("%d of them disagree (≠)"):format(wrong)))
return wrong == 0 and 0 or 1

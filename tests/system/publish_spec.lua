--- Published ports with packets: real ones in namespaces where we may make them, and in memory.
local labs = require "labs"
local leftovers = require "tests.support.leftovers"
local lifecycle = require "lifecycle"
local stage = require "tests.support.stage"
local validate = require "validate"

local POLICIES = require("session").policies()
local HOST, HOST6, OUTSIDE, OUTSIDE6 = "10.0.0.1", "fd00:10::1", "10.0.0.9", "fd00:10::9"

--- A world for one test: a lab, its host with a dual-stack network `nat`, and helpers.
local function open(platform)
  local world = { platform = platform }
  world.lab, world.host = labs.open {
    platform = platform, host = { HOST .. "/24", HOST6 .. "/64" },
    outside = { OUTSIDE .. "/24", OUTSIDE6 .. "/64" },
  }
  assert(world.lab, world.host)
  local host = world.host
  assert(host:begin())
  assert(host:add_network { name = "nat", driver = "nat", subnets = { "172.16.0.0/16", "fd00:16::/64" } })
  assert(host:add_network { name = "cells", driver = "internal", subnets = { "10.9.0.0/24" } })
  assert(host:commit())
  return setmetatable(world, { __index = {
    --- Makes a container that publishes; returns compartment, address, address6, or nil and why.
    create = function(self, id, publish, options)
      options = options or {}
      local container, endpoint, code = lifecycle.create(self.host, {
        id = id, type = options.type or "process", network = options.network or "nat",
        policies = POLICIES, addresses = options.addresses,
        published = publish and assert(validate.published(publish)) or {},
      })
      if not container then
        return nil, endpoint, code
      end
      if options.type == "hyperv" then
        assert(self.lab:guest(endpoint))
      end
      local addresses = endpoint.addresses
      return container.compartment, addresses[1]:match "^[^/]+", addresses[2] and addresses[2]:match "^[^/]+"
    end,
    tcp = function(self, from, target, port, to, arrival, timeout)
      return assert(self.lab:probe {
        from = from, to = to, kind = "tcp", target = target, port = port, arrival_port = arrival,
        timeout = timeout or 2,
      })
    end,
    udp = function(self, from, target, port, to, arrival, source, timeout)
      return assert(self.lab:probe {
        from = from, to = to, kind = "udp", target = target, port = port, arrival_port = arrival,
        source_port = source, timeout = timeout or 2,
      })
    end,
    close = function(self)
      assert(labs.close(self.lab, self.host))
    end,
  } })
end

--- Output of a command; the process is in the host's namespace of its lab.
local function sh(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read "a"
  pipe:close()
  return text
end

--- Elements of all maps of our table, in the namespace of the lab.
local function elements(prefix)
  local count = 0
  for line in sh((prefix or "") .. "nft list ruleset"):gmatch "[^\n]+" do
    for _ in line:gmatch "%. %d+ : %S+ %. %d+" do
      count = count + 1
    end
  end
  return count
end

local function on(platform, body)
  return function()
    if platform == "linux" and stage.without_linux() then
      pending(stage.without_linux())
      return
    end
    local before = leftovers.look()
    local world = open(platform)
    leftovers.labs()
    local ok, why = pcall(body, world)
    world:close()
    if not ok then
      error(why, 0)
    end
    assert.same({}, leftovers.since(before))
  end
end

for _, platform in ipairs { "memory", "linux" } do
  describe("a published port on " .. platform, function()
    it("is reached from every side and by both families", on(platform, function(w)
      local web, address, address6 = w:create("web", { "8080:80/tcp" })
      local db = w:create "db"
      assert(w.lab:listen(web, "tcp", 80))
      for _, way in ipairs {
        { 0, HOST, OUTSIDE }, { 0, HOST6, OUTSIDE6 }, { 1, HOST, HOST }, { 1, HOST6, HOST6 },
        { 1, "127.0.0.1", "172.16.0.1" }, { 1, "172.16.0.1", "172.16.0.1" }, { db, HOST, "172.16.0.1" },
        { db, HOST6, "fd00:16::1" }, { web, HOST, "172.16.0.1" }, { web, HOST6, "fd00:16::1" },
        { db, "172.16.0.1", "172.16.0.1" },
      } do
        local seen = w:tcp(way[1], way[2], 8080, web, 80)
        local name = ("from %d to %s"):format(way[1], way[2])
        assert.is_true(seen.answered, name)
        assert.equal(way[3], seen.source, name)
      end
      assert.is_true(w:tcp(db, address, 80, web).answered)
      assert.is_true(w:tcp(db, address6, 80, web).answered)
    end))

    it("is one mapping and one rule", on(platform, function(w)
      w:create("web", { "127.0.0.1:8080:80/tcp" })
      local published = 0
      for _, rule in ipairs(w.host:rules(w.host:endpoints "web"[1].id)) do
        if rule.name and rule.name:find "^published" then
          published = published + 1
          assert.equal("80", rule.local_port)
        end
      end
      assert.equal(1, published)
      if platform == "linux" then
        assert.equal(1, elements())
        assert(lifecycle.remove(w.host, "web"))
        assert.equal(0, elements())
      end
    end))

    it("opens no other port, to no side", on(platform, function(w)
      local web, address = w:create("web", { "8080:80/tcp" })
      local db = w:create "db"
      assert(w.lab:route_outside "172.16.0.0/16")
      for _, port in ipairs { 80, 81, 8080 } do
        assert(w.lab:listen(web, "tcp", port))
      end
      for _, way in ipairs {
        { 0, HOST, 80 }, { 0, HOST, 81 }, { 0, address, 80 }, { 0, address, 8080 }, { 1, HOST, 81 },
        { 1, "127.0.0.1", 80 }, { 1, address, 81 }, { 1, address, 8080 }, { db, address, 81 },
        { db, address, 8080 }, { db, HOST, 81 },
      } do
        local seen = w:tcp(way[1], way[2], way[3], web, nil, 0.1)
        assert.is_false(seen.arrived or seen.answered, ("from %d to %s:%d"):format(way[1], way[2], way[3]))
      end
    end))

    it("may be of sctp", on(platform, function(w)
      assert(w:create("web", { "9000:90/sctp" }))
      local none, why = w:create("late", { "9000:91/sctp" })
      assert.is_nil(none)
      assert.equal("host port 9000/sctp is taken by container 'web'", why)
    end))

    it("may be a range, of a vmNIC too", on(platform, function(w)
      local vm = w:create("vm", { "9000-9003:90-93/tcp" }, { type = "hyperv" })
      for port = 90, 93 do
        assert(w.lab:listen(vm, "tcp", port))
        assert.is_true(w:tcp(0, HOST, 8910 + port, vm, port).answered)
      end
      assert.is_false(w:tcp(0, HOST, 9004, vm, 94, 0.1).arrived)
    end))

    it("is of one address if it names one", on(platform, function(w)
      local web = w:create("web", { HOST .. ":8080:80/tcp", "127.0.0.1:8081:80/tcp", "[" .. HOST6 .. "]:8082:80" })
      assert(w.lab:listen(web, "tcp", 80))
      assert.is_true(w:tcp(0, HOST, 8080, web, 80).answered)
      assert.is_true(w:tcp(1, "127.0.0.1", 8081, web, 80).answered)
      assert.is_true(w:tcp(0, HOST6, 8082, web, 80).answered)
      assert.is_false(w:tcp(1, "127.0.0.1", 8080, web, 80, 0.1).arrived)
      assert.is_false(w:tcp(0, HOST6, 8080, web, 80, 0.1).arrived)
      assert.is_false(w:tcp(0, HOST, 8081, web, 80, 0.1).arrived)
      assert.is_false(w:tcp(0, HOST, 8082, web, 80, 0.1).arrived)
    end))

    it("of udp is reached from every side", on(platform, function(w)
      local dns = w:create("dns", { "5300:53/udp" })
      local db = w:create "db"
      assert(w.lab:listen(dns, "udp", 53))
      for _, way in ipairs {
        { 0, HOST }, { 0, HOST6 }, { 1, HOST }, { 1, "127.0.0.1" }, { db, HOST }, { dns, HOST },
      } do
        assert.is_true(w:udp(way[1], way[2], 5300, dns, 53).answered, ("from %d to %s"):format(way[1], way[2]))
      end
      assert.is_false(w:tcp(0, HOST, 5300, dns, 53, 0.1).arrived)
    end))

    it("is refused on ::1 at once, so that a client goes on to 127.0.0.1", on(platform, function(w)
      local web = w:create("web", { "8080:80" })
      assert(w.lab:listen(web, "tcp", 80))
      local seen = w:tcp(1, "::1", 8080, web, 80, 1)
      assert.is_false(seen.arrived)
      assert.is_true(seen.refused)
      local none, why = w:create("other", { "[::1]:8081:80" })
      assert.is_nil(none)
      assert.equal("a port cannot be published on ::1, which no translation leaves; 127.0.0.1 can", why)
    end))

    it("is refused on what is no address of a host", on(platform, function(w)
      for _, address in ipairs { "255.255.255.255", "240.0.0.1", "0.0.0.1" } do
        local none, why, code = w:create("web", { address .. ":8080:80" })
        assert.is_nil(none)
        assert.equal(("a port cannot be published on %s: it is no address of a host (0.0.0.0 is any)")
          :format(address), why)
        assert.equal("EADDRNOTAVAIL", code)
      end
      for _, address in ipairs { "224.0.0.1", "[ff02::1]", "[fe80::1]" } do
        local none, why = w:create("web", { address .. ":8080:80" })
        assert.is_nil(none)
        assert.matches("^a port cannot be published on [%x.:]+: it is multicast or link%-local$", why)
      end
      assert.equal(0, #w.host:containers())
      assert(w:create("web", { "0.0.0.0:8080:80" }))
    end))

    it("has one holder: a container, named", on(platform, function(w)
      w:create("web", { "8080:80", HOST .. ":9090:80", "5353:53/udp" })
      for text, publish in pairs {
        ["host port 8080/tcp is taken by container 'web'"] = "8080:81",
        ["host port 10.0.0.1:8080/tcp is taken by container 'web'"] = HOST .. ":8080:80",
        ["host port 9090/tcp is taken by container 'web'"] = "9090:80",
        ["host port 0.0.0.0:9090/tcp is taken by container 'web'"] = "0.0.0.0:9090:80",
        ["host port 5353/udp is taken by container 'web'"] = "5353:53/udp",
      } do
        local none, why, code = w:create("late", { "7000:70", publish })
        assert.is_nil(none)
        assert.equal(text, why)
        assert.equal("EADDRINUSE", code)
      end
      assert.equal(1, #w.host:containers())
      -- What does not overlap is nobody's.
      assert(w:create("other", { "8080:80/udp", "172.16.0.1:9090:80", "[" .. HOST6 .. "]:9090:80" }))
    end))

    it("has one holder: a socket of the host", on(platform, function(w)
      assert(w.lab:listen(1, "tcp", 8080))
      assert(w.lab:listen(1, "udp", 5353))
      for _, publish in ipairs { "8080:80", "127.0.0.1:8080:80", "[" .. HOST6 .. "]:8080:80", "5353:53/udp" } do
        local none, why, code = w:create("web", { "7000:70", publish })
        assert.is_nil(none)
        assert.equal("EADDRINUSE", code)
        assert.truthy(why:find "^host port %d+/%a+ is taken by a listening socket")
        if platform == "linux" then
          assert.truthy(why:find "of 'bulkhead' %(process %d+%)$", why)
        end
      end
      assert.equal(0, #w.host:containers())
      assert.equal(1, #w.host:compartments())
      local none, why = w:create("web", { "203.0.113.7:8080:80" })
      assert.is_nil(none)
      assert.equal("203.0.113.7 is no address of this host, so port 8080 of it cannot be published", why)
      assert(w:create("web", { "8080:80/udp" }))
    end))

    it("needs a network with translation", on(platform, function(w)
      local none, why = w:create("web", { "8080:80" }, { network = "cells" })
      assert.is_nil(none)
      assert.equal("container 'web' cannot publish ports on network 'cells': its driver is internal, not nat", why)
      local db = w:create("db", nil, { network = "cells" })
      local web = w:create("web", { "8080:80" })
      assert(w.lab:listen(web, "tcp", 80))
      assert.is_false(w:tcp(db, "10.9.0.1", 8080, web, 80, 0.1).arrived)
    end))

    it("dies with its container, for udp too, and is the next one's", on(platform, function(w)
      local one = w:create("one", { "5353:53/udp", "8080:80" })
      assert(w.lab:listen(one, "udp", 53))
      assert(w.lab:listen(one, "tcp", 80))
      assert.is_true(w:udp(0, HOST, 5353, one, 53, 40000).answered)
      assert(lifecycle.remove(w.host, "one"))
      assert.is_false(w:udp(0, HOST, 5353, 1, nil, 40000, 0.2).answered)
      assert.is_false(w:tcp(0, HOST, 8080, 1, nil, 0.2).answered)
      local two = w:create("two", { "5353:53/udp", "8080:80" }, { addresses = { "172.16.7.7" } })
      assert(w.lab:listen(two, "udp", 53))
      assert(w.lab:listen(two, "tcp", 80))
      assert.is_true(w:udp(0, HOST, 5353, two, 53, 40000).answered)
      assert.is_true(w:tcp(0, HOST, 8080, two, 80).answered)
    end))

    it("moves to the next network when the one it was on goes", on(platform, function(w)
      local host = w.host
      assert(host:begin())
      assert(host:add_network { name = "second", driver = "nat", subnets = { "10.77.0.0/24" } })
      assert(host:commit())
      local web = w:create("web", { "8080:80", "10.0.0.1:8082:80", "[fd00:10::1]:8083:80" })
      assert(lifecycle.attach(host, { id = "web", type = "process", network = "second", policies = POLICIES,
        policy = "process" }))
      assert(w.lab:listen(web, "tcp", 80))
      assert.is_true(w:tcp(0, HOST, 8080, web, 80).answered)
      local first = host:endpoints "web"[1]
      assert.equal("nat", first.network)
      assert(lifecycle.detach(host, "web", first.id))
      assert.is_true(w:tcp(0, HOST, 8080, web, 80).answered)
      assert.is_true(w:tcp(0, HOST, 8082, web, 80).answered)
      assert.is_false(w:tcp(0, HOST6, 8083, web, 80, 0.3).answered)
      assert(lifecycle.remove(host, "web"))
      assert.is_false(w:tcp(0, HOST, 8080, 1, nil, 0.2).answered)
    end))

    it("lets another network in, which cannot come directly", on(platform, function(w)
      assert(w.host:begin())
      assert(w.host:add_network { name = "lan", driver = "nat", subnets = { "172.20.0.0/16" } })
      assert(w.host:commit())
      local web, address = w:create("web", { "8080:80" })
      local far = w:create("far", nil, { network = "lan" })
      assert(w.lab:listen(web, "tcp", 80))
      assert.is_false(w:tcp(far, address, 80, web, nil, 0.1).arrived)
      assert.is_true(w:tcp(far, HOST, 8080, web, 80).answered)
    end))
  end)
end

--- The Internet checksum.
local function checksum(data)
  local sum = 0
  for i = 1, #data, 2 do
    sum = sum + string.unpack(">I2", data, i)
  end
  while sum > 0xffff do
    sum = (sum & 0xffff) + (sum >> 16)
  end
  return ~sum & 0xffff
end

local function bytes(text, pattern, base)
  return (text:gsub(pattern, function(part)
    return string.char(tonumber(part, base))
  end))
end

--- A UDP datagram as a frame from an endpoint, or anybody, to a MAC address.
local function datagram(mac, source_mac, source, target, port)
  local udp = string.pack(">I2I2I2I2", math.random(1024, 65535), port, 16, 0) .. "bulkhead"
  local head = string.pack(">I1I1I2I2I2I1I1", 0x45, 0, 20 + #udp, 1, 0, 64, 17)
  local ends = bytes(source, "(%d+)%.?", 10) .. bytes(target, "(%d+)%.?", 10)
  return bytes(mac .. source_mac, "(%x%x):?", 16) .. "\8\0" .. head
    .. string.pack(">I2", checksum(head .. "\0\0" .. ends)) .. ends .. udp
end

--- The MAC address of an interface of the host.
local function mac_of(name)
  return sh("ip -o link show " .. name):match "link/ether (%S+)"
end

--- Datagrams that sockets of the host have got.
local function received()
  local file <close> = assert(io.open "/proc/thread-self/net/snmp")
  return tonumber(file:read("a"):match "\nUdp: (%d+) ")
end

--- Conversations that the rules of published ports let into a container.
local function came(w, id)
  local count = 0
  for _, rule in ipairs(w.host:rules(w.host:endpoints(id)[1].id)) do
    count = count + (rule.name and rule.name:find "^published" and rule.hits or 0)
  end
  return count
end

describe("published ports beside the rest of the host", function()
  it("let no 127/8 in from a wire", on("linux", function(w)
    local web = w:create("web", { "127.0.0.1:5300:53/udp", "5301:53/udp" })
    local db, address = w:create "db"
    assert(w.lab:listen(web, "udp", 53))
    assert(w.lab:listen(1, "udp", 7777))
    local vnic = sh "ip -o link":match "%d+: (b%w+%-%w+)@"
    local db_mac = w.host:endpoints "db"[1].mac
    local function sent(from, mac, source_mac, source, target, port)
      local before, heard = came(w, "web"), received()
      assert(w.lab:inject(from, 1, datagram(mac, source_mac, source, target, port)) ~= nil)
      return came(w, "web") - before, received() - heard
    end
    local up, down = mac_of "up0", mac_of(vnic)
    local other = "02:00:00:00:00:99"
    assert.is_true(w:udp(0, HOST, 5301, web, 53).answered) -- neighbours are known from here on
    assert.is_true(w:udp(db, "172.16.0.1", 7777, 1).answered)
    assert.same({ 1, 0 }, { sent(0, up, other, OUTSIDE, HOST, 5301) })
    assert.same({ 0, 0 }, { sent(0, up, other, OUTSIDE, "127.0.0.1", 5301) })
    assert.same({ 0, 0 }, { sent(0, up, other, OUTSIDE, "127.0.0.1", 5300) })
    assert.same({ 0, 1 }, { sent(db, down, db_mac, address, "172.16.0.1", 7777) })
    assert.same({ 0, 0 }, { sent(db, down, db_mac, address, "127.0.0.1", 7777) })
    assert.same({ 0, 0 }, { sent(db, down, db_mac, address, "127.0.0.1", 5300) })
    assert.same({ 0, 0 }, { sent(db, down, db_mac, address, "127.0.0.1", 5301) })
    assert.equal("", sh "nft flush ruleset") -- not even then
    assert.same({ 0, 0 }, { sent(db, down, db_mac, address, "127.0.0.1", 7777) })
  end))

  it("leave a neighbour's route to the host alone", on("linux", function(w)
    local web = w:create("web", { "8080:80" })
    local db = w:create "db"
    assert(w.lab:listen(web, "tcp", 80))
    assert(w.lab:listen(1, "tcp", 7000))
    for _ = 1, 3 do
      assert.is_true(w:tcp(db, HOST, 8080, web, 80).answered)
    end
    assert.is_true(w:tcp(db, HOST, 7000, 1).answered)
  end))

  it("of tcp leave no conversation behind, and none of another's", on("linux", function(w)
    local function tracked()
      local file <close> = assert(io.open "/proc/sys/net/netfilter/nf_conntrack_count")
      return file:read "n"
    end
    local web, db = w:create("web", { "8080:80" }), w:create("db", { "8081:81" })
    assert(w.lab:listen(web, "tcp", 80))
    assert(w.lab:listen(db, "tcp", 81))
    assert.is_true(w:tcp(0, HOST, 8081, db, 81).answered)
    local before = tracked()
    assert.is_true(before > 0)
    assert.is_true(w:tcp(0, HOST, 8080, web, 80).answered)
    assert.is_true(w:tcp(web, OUTSIDE, 9).answered ~= nil)
    assert.is_true(tracked() > before)
    assert(lifecycle.remove(w.host, "web"))
    assert.equal(before, tracked())
  end))

  it("do not mind what others do to their tables, nor touch those", on("linux", function(w)
    local theirs = "table inet other { chain f { type filter hook forward priority 0; policy accept; "
      .. "tcp dport 9 drop; }; chain n { type nat hook prerouting priority dstnat; tcp dport 9 redirect to :10; }; }"
    assert.equal("", sh(("nft '%s'"):format(theirs)))
    local before = sh "nft list table inet other"
    local web = w:create("web", { "8080:80" })
    assert(w.lab:listen(web, "tcp", 80))
    assert.is_true(w:tcp(0, HOST, 8080, web, 80).answered)
    assert.equal(before, sh "nft list table inet other")
    assert.equal("", sh "nft flush table inet other" .. sh "nft delete table inet other")
    assert.equal("", sh(("nft '%s'"):format(theirs)))
    assert.is_true(w:tcp(0, HOST, 8080, web, 80).answered)
    assert(lifecycle.remove(w.host, "web"))
    assert.equal(before, sh "nft list table inet other")
  end))

  it("are there again with the next change after a flush of everything", on("linux", function(w)
    local web = w:create("web", { "8080:80" })
    assert(w.lab:listen(web, "tcp", 80))
    assert.equal("", sh "nft flush ruleset")
    assert.is_false(w:tcp(0, HOST, 8080, web, 80, 0.1).arrived)
    assert(w.host:begin()) -- all that `bulkhead reconcile` does
    assert(w.host:commit())
    assert.is_true(w:tcp(0, HOST, 8080, web, 80).answered)
    assert.equal("", sh "nft flush ruleset")
    assert(lifecycle.remove(w.host, "web"))
    assert(w:create("web", { "8080:80" }))
    assert.equal(2, elements())
  end))

  it("that a foreign rule drops are explained by its name", on("linux", function(w)
    local explain, filter, worlds = require "explain", require "bulkhead.filter", require "worlds"
    local web = w:create("web", { "8080:80" })
    assert(w.lab:listen(web, "tcp", 80))
    assert.equal("", sh "nft 'table ip other { chain f { type filter hook forward priority 0; policy drop; }; }'")
    assert.is_false(w:tcp(0, HOST, 8080, web, 80, 0.1).arrived)
    local text = "in tcp 10.0.0.9:51000 -> 10.0.0.1:8080"
    local world = assert(worlds.live(w.host, "web", { filter.packet(text) }))
    local answer = assert(explain.packet(world, text))
    local last = answer.hops[#answer.hops]
    assert.same({ "foreign", "ip other f", "block" }, { last.hop, last.at, last.verdict })
    assert.is_false(answer.delivered)
  end))

  it("leak nothing when the program is killed at any moment", function()
    if stage.without_linux() then
      pending(stage.without_linux())
      return
    end
    local before = leftovers.look()
    local program = require("lfs").symlinkattributes("/proc/self/exe", "target")
    for _ = 1, 8 do
      local state = os.tmpname()
      os.remove(state)
      leftovers.watch(state)
      local pipe = assert(io.popen(("exec %s run tests/support/publisher.lua %s 2>&1"):format(program, state)))
      local line = pipe:read "l"
      local pid, tag = (line or ""):match "^ready (%d+) (%w+)$"
      assert(pid, line)
      os.execute(("sleep %.3f"):format(0.005 + math.random() * 0.12))
      assert(os.execute("kill -9 " .. pid))
      pipe:close()
      local host = assert(require("bulkhead").open { platform = "linux", state = state, write = true })
      assert(host:begin())
      assert(host:commit())
      local wanted = 0
      for _, container in ipairs(host:containers()) do
        wanted = wanted + 2 * #container.published -- two families
      end
      local found = elements(("nsenter --net=/run/bulkhead/%s/default "):format(tag))
      assert(host:reset())
      host:close()
      assert.equal(wanted, found)
    end
    assert.same({}, leftovers.since(before))
  end)
end)

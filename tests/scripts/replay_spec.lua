--- replay_spec.lua - somebody's capture through a policy, and a policy learnt from it.
local cli = require "tests.support.cli"
local filter = require "bulkhead.filter"
local json = require "json"
local learn = require "learn"
local notation = require "notation"
local policies = require "policies"
local replay = require "bulkhead.replay"
local sample = require "tests.support.sample"
local sets = require "tests.support.sets"

local PCAP = "tests/support/sample.pcap"

local function write(text)
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "wb"))
  file:write(text)
  return name
end

local function run(...)
  local status, out, err = cli.run { "replay", "--json", ... }
  assert.equal(0, status, err)
  return assert(json.decode(out)), err
end

local function flow_of(summary, protocol, port)
  for _, flow in ipairs(summary.flows) do
    if flow.protocol == protocol and (flow.local_port == port or flow.remote_port == port) then
      return flow
    end
  end
end

describe("the sample", function()
  it("is what its generator makes", function()
    local file <close> = assert(io.open(PCAP, "rb"))
    assert.is_true(file:read "a" == sample.pcap())
  end)
end)

describe("replay", function()
  after_each(sets.clear)

  local function hold(summary, arp)
    assert.same({ "172.16.0.2", "fd00:16::2" }, summary.addresses)
    assert.equal(arp and 57 or 55, summary.packets)
    assert.equal(1, summary.others)
    assert.same({ default = 4, malformed = 1 }, summary.dropped_in)
    assert.same({ spoof = arp and 1 or nil }, summary.dropped_out)
    assert.equal("allow", flow_of(summary, "tcp", 443).verdict)
    assert.equal("block", flow_of(summary, "tcp", 22).verdict)
    assert.equal("mixed", flow_of(summary, "udp", 40001).verdict) -- the late one, by the capture's clock
    assert.equal("policies/default/container/process.lua:7", flow_of(summary, "tcp", 22).origin)
  end

  it("judges pcap and pcapng alike", function()
    hold(run(PCAP), true)
    local name = write(sample.pcapng())
    hold(run(name), true)
    os.remove(name)
  end)

  it("names the capture's addresses where none of its packets is the container's", function()
    local status, out = cli.run { "replay", PCAP, "--type", "process", "--network", "nat", "--address", "172.16.9.9" }
    assert.equal(0, status)
    assert.equal("57 packets in 201.950 s at imagined (172.16.9.9); 57 of others\n"
      .. "in: 0 passed, 0 dropped; out: 0 passed, 0 dropped\n"
      .. "no packet is from or to it: the capture's most frequent addresses are 172.16.0.2, 198.51.100.10, 172.16.0.3, "
      .. "172.16.0.1, fd00:16::2; give one by --address\n", out)
    local summary = run(PCAP, "--address", "172.16.9.9")
    assert.same({ "172.16.0.2", "198.51.100.10", "172.16.0.3", "172.16.0.1", "fd00:16::2" }, summary.seen)
    assert.is_nil(run(PCAP, "--address", "172.16.0.2").seen)
    local name = write(sample.pcap():sub(1, 24)) -- not one packet
    status, out = cli.run { "replay", name }
    os.remove(name)
    assert.equal(0, status)
    assert.matches("^0 packets [^\n]+\n[^\n]+\nthe capture has no address that could be a container's\n$", out)
  end)

  it("judges raw IP", function()
    local name = write(sample.pcap(101))
    local summary = run(name, "--address", "172.16.0.2", "--address", "fd00:16::2")
    os.remove(name)
    assert.equal(55, summary.packets)
    assert.equal("allow", flow_of(summary, "tcp", 443).verdict)
    assert.equal("block", flow_of(summary, "tcp", 22).verdict)
    assert.equal(26, summary.passed_out + 1)
  end)

  it("tells the verdict on each packet", function()
    local answer = run(PCAP, "--packets", "--publish", "8080:80")
    assert.equal(56, #answer.verdicts)
    local published = 0
    for _, packet in ipairs(answer.verdicts) do
      published = published + (packet.rule == "published 8080" and 1 or 0)
      assert.is_true(packet.verdict == "allow" or packet.verdict == "block")
    end
    assert.equal(16, published)
    assert.equal("allow", flow_of(answer, "tcp", 80).verdict)
    local _, out = cli.run { "replay", PCAP, "--packets" }
    assert.matches("\n31 [%d.]+ in tcp%[S%] 172%.16%.0%.3:51000 %-> 172%.16%.0%.2:80: block by default ", out)
  end)

  it("refuses what is no capture, and tells where one ends too early", function()
    local name = write "nonsense"
    for _, words in ipairs {
      { name }, { "/nonexistent" }, { PCAP, "--policies", "/nonexistent" }, { "nosuch", PCAP },
    } do
      local status, _, err = cli.run { "replay", table.unpack(words) }
      assert.equal(words[1] == name and 2 or 1, status)
      assert.matches("^bulkhead: [^\n]+\n$", err)
    end
    assert.equal(2, (cli.run { "replay" }))
    assert.equal(2, (cli.run { "replay", "web", PCAP, "--type", "process" }))
    os.remove(name)
    name = write(sample.pcap():sub(1, 2000))
    local summary, err = run(name)
    os.remove(name)
    assert.is_true(summary.packets > 10 and summary.packets < 57)
    assert.matches("ends too early, in the middle of a packet: truncated", err)
  end)
end)

describe("a capture whose times are odd", function()
  local function at(packets)
    local parts = { ("<I4I2I2i4I4I4I4"):pack(0xa1b2c3d4, 2, 4, 0, 0, 65535, 101) }
    for i, seconds in ipairs(packets) do
      local udp = (">I2I2I2I2"):pack(1000 + i, 53, 8, 0)
      local ip = (">BBI2I2I2BBI2I4I4"):pack(0x45, 0, 28, 0, 0, 64, 17, 0, 0xac100002, 0x0a000035) .. udp
      parts[#parts + 1] = ("<I4I4I4I4"):pack(seconds, 0, #ip, #ip) .. ip
    end
    local name = write(table.concat(parts))
    local _, out = cli.run { "replay", "--type", "process", "--address", "172.16.0.2", name }
    os.remove(name)
    return out:match "^[^\n]+ in ([%d.-]+) s"
  end

  it("lasts from the earliest to the latest", function()
    assert.equal("0.000", at {})
    assert.equal("5.000", at { 100, 105 })
    assert.equal("7.000", at { 100, 105, 98, 104 })
    assert.equal("4294967195.000", at { 100, 0xffffffff, 0xfffffffe })
    assert.equal("1.000", at { 0xffffffff, 0xfffffffe })
  end)
end)

describe("a policy learnt from a capture", function()
  after_each(sets.clear)

  local function flows()
    local gate = assert(filter.gate { addresses = { "172.16.0.2/24", "fd00:16::2/64" } })
    local object <close> = assert(replay.open(PCAP, gate))
    object:run(1000)
    local list = {}
    for _, flow in ipairs(object:summary().flows) do
      if flow.protocol ~= "malformed" and flow.by ~= "spoof" and flow.protocol ~= "arp" then
        list[#list + 1] = flow
      end
    end
    return list
  end

  local function gate_of(width, list)
    local text = learn.policy { name = "web", flows = list, width = width, subnets = { "172.16.0.0/24" } }
    local set = assert(policies.load(sets.make { ["container/process.lua"] = text }, "process", "nat"))
    return assert(filter.gate {
      addresses = { "172.16.0.2/24", "fd00:16::2/64" }, default = set:default(), options = set:options(),
      rules = set:rules(),
    }), text
  end

  it("admits every flow and blocks near misses, as narrow as asked for", function()
    local list = flows()
    assert.is_true(#list > 6)
    local misses = { -- address, subnet, port
      { "out tcp 172.16.0.2:1 -> 198.51.100.10:444", "block", "block", "block" },
      { "out udp 172.16.0.2:1 -> 198.51.100.10:443", "block", "block", "block" },
      { "in tcp 198.51.100.10:1 -> 172.16.0.2:443", "block", "block", "block" },
      { "out tcp 172.16.0.2:1 -> 198.51.100.11:443", "block", "allow", "allow" },
      { "out tcp 172.16.0.2:1 -> 198.51.101.10:443", "block", "block", "allow" },
      { "in tcp 172.16.0.4:1 -> 172.16.0.2:80", "block", "allow", "allow" },
      { "out udp [fd00:16::2]:1 -> [fd00:16::9]:53", "block", "allow", "allow" },
      { "out udp [fd00:16::2]:1 -> [fd00:17::1]:53", "block", "block", "allow" },
      { "in icmp[8:0] 172.16.0.9 -> 172.16.0.2", "block", "allow", "allow" },
      { "in icmp[13:0] 172.16.0.1 -> 172.16.0.2", "block", "block", "block" },
    }
    for i, width in ipairs(learn.WIDTHS) do
      local gate, text = gate_of(width, list)
      for _, flow in ipairs(list) do
        assert.equal("allow", gate:judge(notation.opener(flow)).verdict, notation.opener(flow) .. "\n" .. text)
      end
      for _, miss in ipairs(misses) do
        assert.equal(miss[i + 1], gate:judge(miss[1]).verdict, width .. ": " .. miss[1] .. "\n" .. text)
      end
    end
  end)

  it("has ports side by side as one range", function()
    local list = {}
    for _, port in ipairs { 8080, 8081, 8082, 9000 } do
      list[#list + 1] = { direction = "outbound", protocol = "tcp", remote_address = "10.0.0.1",
        local_address = "172.16.0.2", local_port = 1, remote_port = port }
    end
    local _, text = gate_of("address", list)
    assert.truthy(text:find('remote_port = { "8080-8082", 9000 }', 1, true))
    assert.truthy(text:find('allow.outbound { protocol = "tcp"', 1, true))
  end)

  it("takes port 0 for a port, and a long list over several lines", function()
    local list = {}
    for i = 1, 40 do
      list[i] = { direction = "inbound", protocol = "tcp", remote_address = "10.0.0." .. i,
        local_address = "172.16.0.2", local_port = 0, remote_port = 1 }
    end
    local gate, text = gate_of("address", list)
    assert.equal("allow", gate:judge("in tcp 10.0.0.40:1 -> 172.16.0.2:0").verdict)
    assert.equal("block", gate:judge("in tcp 10.0.0.40:1 -> 172.16.0.2:1").verdict)
    for line in text:gmatch "[^\n]+" do
      assert.is_true(#line <= 100, line)
    end
  end)
end)

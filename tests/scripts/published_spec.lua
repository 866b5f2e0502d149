--- published_spec.lua - which entry takes a packet, whose addresses are the host's, and what doctor says.
local doctor = require "doctor"
local json = require "json"
local published = require "published"

describe("published", function()
  it("finds the entry by protocol, address and port", function()
    local list = {
      { host = 80, container = 1, protocol = "tcp", address = "10.0.0.1" },
      { host = 81, container = 2, protocol = "udp", address = "0.0.0.0" },
      { host = 82, container = 3, protocol = "tcp" },
    }
    assert.equal(list[1], published.entry(list, "tcp", "10.0.0.1", 80))
    assert.is_nil(published.entry(list, "tcp", "10.0.0.2", 80))
    assert.is_nil(published.entry(list, "udp", "10.0.0.1", 80))
    assert.equal(list[2], published.entry(list, "udp", "10.0.0.2", 81))
    assert.is_nil(published.entry(list, "udp", "fd00::1", 81))
    assert.equal(list[3], published.entry(list, "tcp", "fd00::1", 82))
  end)

  it("reads the host's addresses", function()
    local found = published.addresses([[
     +-- 192.0.2.0/24 2 0 2
        |-- 192.0.2.0
           /24 link UNICAST
        |-- 192.0.2.7
           /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
]], "fd000000000000000000000000000002 04 40 00 82     eth0\n")
    assert.same({ ["192.0.2.7"] = true, ["fd00::2"] = true }, found)
  end)

  it("rewrites the ends of a packet", function()
    assert.equal("in tcp[S] [fd00::1]:1 -> [fd00::2]:2", published.rewrite("out tcp[S] a:1 -> b:2", {
      direction = "in", source = "fd00::1", source_port = 1, target = "fd00::2", target_port = 2,
    }))
  end)
end)

describe("doctor", function()
  it("names the foreign filter that drops", function()
    local chain = [[{ "nftables": [ { "chain": { "family": "ip", "table": "filter", "name": "FORWARD",
      "hook": "forward", "type": "filter", "policy": "%s" } } ] }]]
    local list = { { host = 8080, container = 80, protocol = "tcp" } }
    assert.is_nil(doctor.dropped(json.decode(chain:format "accept"), list, "eth0"))
    assert.equal("the filter 'ip filter FORWARD' drops what containers send to the uplink, the filter "
      .. "'ip filter FORWARD' drops what comes by the published port 8080/tcp",
      doctor.dropped(json.decode(chain:format "drop"), list, "eth0"))
  end)
end)

--- explain_spec.lua - hops and verdicts that explain composes, on imagined and fake worlds.
local explain = require "explain"
local filter = require "bulkhead.filter"

local NAT = { name = "nat", driver = "nat", subnets = { { prefix = "172.16.0.0/16", gateway = "172.16.0.1" } } }

local function side(action, line)
  return { action = action, origin = "p.lua:" .. line }
end

--- A gate as a process container's: out is allowed, in is blocked but for some rules.
local function gate(address, rules, inbound)
  return assert(filter.gate {
    addresses = { address .. "/16" }, rules = rules or {},
    default = { inbound = side(inbound or "block", 1), outbound = side("allow", 2) },
  })
end

local function world(more)
  local default = { inbound = side("block", 1), outbound = side("allow", 2) }
  local base = {
    at = "web", network = NAT, published = {}, networks = { NAT }, live = true,
    gate = gate("172.16.0.2"), default = default,
    peer = function(address)
      return address == "172.16.0.3"
        and { at = "db", gate = gate("172.16.0.3"), network = "nat", default = default } or nil
    end,
    foreign = function() return {} end, link = function() return "up0" end,
    is_host = function() return false end,
  }
  for key, value in pairs(more or {}) do
    base[key] = value
  end
  return base
end

local function hops(answer)
  local parts = {}
  for i, hop in ipairs(answer.hops) do
    parts[i] = hop.hop .. (hop.verdict == "block" and "!" .. hop.by or "")
  end
  return table.concat(parts, " > ")
end

local function ask(w, text)
  local answer = assert(explain.packet(w, text))
  return hops(answer), answer
end

local IN = "in tcp 10.0.0.9:51000 -> 172.16.0.2:80"
local OUT = "out tcp 172.16.0.2:4000 -> 1.1.1.1:80"
local OPEN = { { action = "allow", direction = "inbound", protocol = "tcp", local_port = "80", priority = 1000,
  name = "open", origin = "p.lua:9", log = false, audit = false } }

describe("a packet from outside", function()
  it("is refused by nat if it was not translated, whatever the gate says", function()
    local path, answer = ask(world { gate = gate("172.16.0.2", {}, "allow") }, IN)
    assert.equal("host > network!untranslated", path)
    assert.equal("allow", answer.verdict)
    assert.is_false(answer.delivered)
  end)

  it("comes in where it is published", function()
    local published = { { host = 8080, container = 80, protocol = "tcp" } }
    local path, answer = ask(world { gate = gate("172.16.0.2", OPEN), published = published }, IN)
    assert.equal("host > translation > switch > gate in", path)
    assert.is_true(answer.delivered)
    assert.equal("open", answer.rule)
    assert.equal("p.lua:9", answer.origin)
    assert.is_true(answer.matched[1].won)
    path = ask(world { published = published, foreign = function()
      return { { at = "ip f x", verdict = "drop", by = "policy" } }
    end }, IN)
    assert.equal("host > translation > foreign!policy", path)
  end)

  it("belongs to a connection from inside", function()
    local w = world()
    local path, answer = ask(w, OUT)
    assert.equal("gate out > switch > host > translation", path)
    assert.equal("p.lua:2", answer.origin)
    path, answer = ask(w, "in tcp[SA] 1.1.1.1:80 -> 172.16.0.2:4000")
    assert.equal("host > translation > switch > gate in", path)
    assert.equal("flow", answer.by)
    assert.equal("p.lua:2", answer.origin)
  end)

  it("never meets an internal or overlay network, and meets a bridged one at once", function()
    for _, driver in ipairs { "internal", "overlay" } do
      local network = { name = "lan", driver = driver, subnets = NAT.subnets }
      assert.equal("host > network!outside", (ask(world { network = network }, IN)))
      assert.equal("gate out > switch > network!outside", (ask(world { network = network }, OUT)))
    end
    local network = { name = "lan", driver = "transparent", subnets = NAT.subnets }
    assert.equal("switch > gate in!default", (ask(world { network = network }, IN)))
    assert.equal("gate out > switch", (ask(world { network = network }, OUT)))
  end)
end)

describe("a packet to a sibling", function()
  it("meets its gate too", function()
    local path, answer = ask(world(), "out tcp 172.16.0.2:4000 -> 172.16.0.3:80")
    assert.equal("gate out > switch > gate in!default", path)
    assert.equal("allow", answer.verdict)
    assert.is_false(answer.delivered)
    assert.equal("db", answer.hops[3].at)
  end)

  it("comes by its gate", function()
    assert.equal("gate out > switch > gate in!default", (ask(world(), "in udp 172.16.0.3:9 -> 172.16.0.2:9")))
  end)

  it("goes nowhere where nobody is", function()
    for _, driver in ipairs { "internal", "overlay" } do
      local network = { name = "lan", driver = driver, subnets = NAT.subnets }
      assert.equal("gate out > switch!no such endpoint",
        (ask(world { network = network }, "out udp 172.16.0.2:9 -> 172.16.9.9:9")))
    end
    assert.equal("gate out > switch!no such endpoint", (ask(world(), "out udp 172.16.0.2:9 -> 172.16.9.9:9")))
    assert.equal("gate out > switch", (ask(world { live = false }, "out udp 172.16.0.2:9 -> 172.16.9.9:9")))
    assert.equal("gate out > switch", (ask(world(), "out udp 172.16.0.2:9 -> 172.16.255.255:9")))
    assert.equal("gate out > switch", (ask(world(), "out udp 172.16.0.2:9 -> 224.0.0.251:9")))
  end)

  it("reaches the host", function()
    assert.equal("gate out > switch > host", (ask(world(), "out udp 172.16.0.2:9 -> 172.16.0.1:53")))
    assert.equal("host > switch > gate in!default", (ask(world(), "in udp 172.16.0.1:53 -> 172.16.0.2:9")))
    -- By whatever address it has: an interface's, another network's gateway.
    local other = { name = "far", driver = "nat", subnets = { { prefix = "172.20.0.0/16", gateway = "172.20.0.1" } } }
    local w = { networks = { NAT, other }, is_host = function(address) return address == "10.0.0.1" end }
    for _, address in ipairs { "10.0.0.1", "172.20.0.1" } do
      assert.equal("gate out > switch > host", (ask(world(w), ("out udp 172.16.0.2:9 -> %s:53"):format(address))))
      assert.equal("host > switch > gate in!default",
        (ask(world(w), ("in udp %s:53 -> 172.16.0.2:9"):format(address))))
    end
  end)
end)

describe("between networks", function()
  local lan = { name = "lan", driver = "internal", subnets = { { prefix = "10.0.0.0/24", gateway = "10.0.0.1" } } }

  it("nothing passes unless both want it", function()
    assert.equal("gate out > switch > network!reach",
      (ask(world { networks = { NAT, lan } }, "out tcp 172.16.0.2:1 -> 10.0.0.9:2")))
    assert.equal("switch > network!reach", (ask(world { networks = { NAT, lan } }, IN)))
    local a = { name = "nat", driver = "nat", subnets = NAT.subnets, reach = { "lan" } }
    local b = { name = "lan", driver = "internal", subnets = lan.subnets, reach = { "nat" } }
    assert.equal("gate out > switch > host > switch!no such endpoint",
      (ask(world { network = a, networks = { a, b } }, "out tcp 172.16.0.2:1 -> 10.0.0.9:2")))
    assert.equal("gate out > switch > host > switch",
      (ask(world { network = a, networks = { a, b }, live = false }, "out tcp 172.16.0.2:1 -> 10.0.0.9:2")))
    a.reach = { "*" } -- as the engine has it
    assert.equal("gate out > switch > host > switch",
      (ask(world { network = a, networks = { a, b }, live = false }, "out tcp 172.16.0.2:1 -> 10.0.0.9:2")))
    assert.equal("switch > host > switch > gate in!default", (ask(world { network = a, networks = { a, b } }, IN)))
    assert.equal("gate out > switch > network!reach",
      (ask(world { network = a, networks = { a, lan } }, "out tcp 172.16.0.2:1 -> 10.0.0.9:2")))
  end)
end)

describe("a blocked gate", function()
  it("ends the path", function()
    local path, answer = ask(world(), "out udp 9.9.9.9:1 -> 172.16.0.3:2")
    assert.equal("gate out!spoof", path)
    assert.equal("block", answer.verdict)
  end)
end)

describe("what does not parse", function()
  it("is said, not raised", function()
    local answer, why = explain.packet(world(), "in tcp nonsense")
    assert.is_nil(answer)
    assert.is_string(why)
  end)
end)

describe("a packet to a published port of the host", function()
  local PUBLISHED = { { host = 8080, container = 80, protocol = "tcp" } }

  local function publishing(more)
    local w = { gate = gate("172.16.0.2", OPEN), addresses = { "172.16.0.2" }, published = PUBLISHED }
    for key, value in pairs(more or {}) do
      w[key] = value
    end
    return world(w)
  end

  it("is judged as the container's gate sees it", function()
    local path, answer = ask(publishing(), "in tcp 10.0.0.9:51000 -> 10.0.0.1:8080")
    assert.equal("host > translation > switch > gate in", path)
    assert.equal("open", answer.rule)
    path = ask(publishing(), "in tcp 127.0.0.1:51000 -> 127.0.0.1:8080")
    assert.equal("host > translation > switch > gate in", path)
    path = ask(publishing(), "in tcp 172.16.0.3:51000 -> 10.0.0.1:8080")
    assert.equal("gate out > switch > host > translation > translation > switch > gate in", path)
  end)

  it("goes nowhere if the port, the protocol or the address is another", function()
    for _, text in ipairs {
      "in tcp 10.0.0.9:51000 -> 10.0.0.1:8081", "in udp 10.0.0.9:51000 -> 10.0.0.1:8080",
      "in tcp 10.0.0.9:51000 -> 127.0.0.1:8080",
    } do
      assert.equal("host > network!untranslated", (ask(publishing(), text)))
    end
    local one = { { host = 8080, container = 80, protocol = "tcp", address = "10.0.0.2" } }
    assert.equal("host > network!untranslated",
      (ask(publishing { published = one }, "in tcp 10.0.0.9:51000 -> 10.0.0.1:8080")))
  end)

  it("is followed from the sender's side to the gate behind it", function()
    local w = world {
      publisher = function(packet)
        return packet.target == "10.0.0.1" and {
          at = "api", gate = gate("172.16.0.4", OPEN), entry = PUBLISHED[1], network = NAT, address = "172.16.0.4",
          default = { inbound = side("block", 1), outbound = side("allow", 2) },
        } or nil
      end,
    }
    local path, answer = ask(w, "out tcp 172.16.0.2:4000 -> 10.0.0.1:8080")
    assert.equal("gate out > switch > host > translation > translation > switch > gate in", path)
    assert.is_true(answer.delivered)
    assert.equal("api", answer.hops[#answer.hops].at)
  end)
end)

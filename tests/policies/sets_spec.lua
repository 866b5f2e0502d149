--- The three sets as they are shipped: what each says, rule by rule. What packets make of it is
--- tested elsewhere.
local policy = require "bulkhead.policy"

local published = {
  { host = 8080, container = 80, protocol = "tcp" }, { host = 53, container = 5353, protocol = "udp" },
}

--- A rule on one line: what it matches, without what every rule has.
local function line(rule)
  local words = { rule.action, rule.direction }
  for _, field in ipairs { "protocol", "local", "local_port", "remote", "remote_port", "icmp" } do
    if rule[field] then
      words[#words + 1] = field .. "=" .. rule[field]
    end
  end
  if rule.priority ~= 1000 then
    words[#words + 1] = "priority=" .. rule.priority
  end
  assert(not rule.log and not rule.audit and rule.name)
  return rule.name .. ": " .. table.concat(words, " ")
end

local function lines(rules)
  local list = {}
  for i, rule in ipairs(rules) do
    list[i] = line(rule)
  end
  return list
end

local core = {
  "DHCP: allow inbound protocol=udp local_port=68 remote_port=67",
  "DHCPv6: allow inbound protocol=udp local_port=546 remote_port=547",
}
local expected = {
  default = {
    core[1], core[2],
    "ICMPv4: allow inbound protocol=icmp",
    "ICMPv6: allow inbound protocol=icmp6",
    "IGMP: allow inbound protocol=igmp",
    "MLD: allow inbound protocol=icmp6 icmp=130,131,132,143",
  },
  strict = {
    core[1], core[2],
    "IGMP: allow inbound protocol=igmp",
    "ICMPv4 fragmentation needed: allow inbound protocol=icmp icmp=3:4",
    "ICMPv6 destination unreachable: allow inbound protocol=icmp6 icmp=1",
    "ICMPv6 packet too big: allow inbound protocol=icmp6 icmp=2",
    "ICMPv6 time exceeded: allow inbound protocol=icmp6 icmp=3",
    "ICMPv6 parameter problem: allow inbound protocol=icmp6 icmp=4",
    "router solicitation: allow inbound protocol=icmp6 icmp=133",
    "router advertisement: allow inbound protocol=icmp6 remote=fe80::/64 icmp=134",
    "neighbour solicitation: allow inbound protocol=icmp6 icmp=135",
    "neighbour advertisement: allow inbound protocol=icmp6 icmp=136",
    "MLD: allow inbound protocol=icmp6 remote=LocalSubnet icmp=130,131,132,143",
  },
  ["windows-1709"] = {
    "TCP: allow inbound protocol=tcp",
    "UDP: allow inbound protocol=udp",
    "ICMPv4: allow inbound protocol=icmp",
    "ICMPv6: allow inbound protocol=icmp6",
    "IGMP: allow inbound protocol=igmp",
  },
}

for set, rules in pairs(expected) do
  describe("policies/" .. set, function()
    local dir = "policies/" .. set

    it("lets process containers be reached by little", function()
      local p = assert(policy.load { dir = dir, type = "process", driver = "nat" })
      assert.same(rules, lines(p:rules()))
      assert.equal("block", p:default().inbound.action)
      assert.equal("allow", p:default().outbound.action)
      assert.matches("^" .. dir:gsub("%p", "%%%0") .. "/container/process.lua:%d+$", p:default().inbound.origin)
    end)

    it("lets hyperv containers speak for themselves", function()
      local p = assert(policy.load { dir = dir, type = "hyperv", driver = "nat" })
      assert.same({}, p:rules())
      assert.equal("allow", p:default().inbound.action)
      assert.equal("allow", p:default().outbound.action)
    end)

    for _, type in ipairs { "process", "hyperv" } do
      it("opens the published ports of " .. type .. " containers, on their own port", function()
        local p = assert(policy.load { dir = dir, type = type })
        assert.same({
          "published 8080: allow inbound protocol=tcp local_port=80",
          "published 53: allow inbound protocol=udp local_port=5353",
        }, lines(p:run("attach", { published = published }, {})))
        assert.same({}, p:run("attach", {}, {}))
      end)

      it("lets everything through on an overlay, for " .. type .. " containers, but for blocks", function()
        local plain = assert(policy.load { dir = dir, type = type })
        local overlay = assert(policy.load { dir = dir, type = type, driver = "overlay" })
        local all = lines(overlay:rules())
        assert.equal("overlay allow all: allow outbound priority=65535", table.remove(all))
        assert.equal("overlay allow all: allow inbound priority=65535", table.remove(all))
        assert.same(lines(plain:rules()), all)
        assert.equal(plain:default().inbound.action, overlay:default().inbound.action)
      end)
    end
  end)
end

describe("the default set", function()
  it("has its default where `explain` will say it is", function()
    local p = assert(policy.load { dir = "policies/default", type = "process" })
    assert.equal("policies/default/container/process.lua:7", p:default().inbound.origin)
  end)
end)

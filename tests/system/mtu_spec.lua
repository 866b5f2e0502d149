--- mtu_spec.lua - a sender is told when the way ahead takes only smaller packets, whatever its policy blocks.
local namespaces = require "tests.support.namespaces"
local sets = require "tests.support.sets"
local stage = require "tests.support.stage"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

--- Sends datagrams of 1400 bytes, which Linux forbids to fragment, to a UDP port nobody listens at.
local function send_large(s, from, to)
  namespaces.inside(s, from.where, ("bash -c 'for i in 1 2 3; do dd if=/dev/zero bs=1400 count=1 >/dev/udp/%s/9999; "
    .. "sleep 0.1; done 2>/dev/null; true'"):format(to))
end

--- What the sender knows of the way to an address: the MTU that it was told, or nil.
local function told(s, from, to)
  return namespaces.inside(s, from.where, "ip route get " .. to):match " mtu (%d+)"
end

stage.platforms(B, "the MTU of a path", function(open)
  after_each(sets.clear)

  --- Lets out what it sends to that port, and nothing in: what comes in as the answer belongs to a flow or not at all.
  local function silent(reach)
    return sets.make { ["container/process.lua"] = ([[
return {
  default = { inbound = "block", outbound = "block" }, %s
  rules = { allow.outbound { protocol = "udp", remote_port = 9999 } },
}
]]):format(reach and ("reach = { %q },"):format(reach) or "") }
  end

  it("is learnt where the uplink's is smaller", function()
    local s = open()
    local a = s:add { id = "a", policies = silent() }
    assert.equal(0, select(2, namespaces.shell "ip link set up0 mtu 1300"))
    for _, target in ipairs { stage.OUTSIDE_ADDRESS, "fd00:10::9" } do
      assert.is_nil(told(s, a, target))
      send_large(s, a, target)
      assert.equal("1300", told(s, a, target), target)
    end
  end)

  it("is learnt where another network's is smaller", function()
    local s = open { networks = false }
    s:network { name = "wide", driver = "nat", subnets = { "10.1.0.0/24", "fd01::/64" } }
    s:network { name = "narrow", driver = "nat", subnets = { "10.2.0.0/24", "fd02::/64" }, mtu = 1320 }
    local a = s:add { id = "a", network = "wide", policies = silent "narrow" }
    local b = s:add { id = "b", network = "narrow", policies = silent "wide" }
    for _, target in ipairs { b.address, b.address6 } do
      send_large(s, a, target)
      assert.equal("1320", told(s, a, target), target)
    end
  end)
end, { "linux" })

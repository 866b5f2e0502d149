--- What a host forwards because of us: our networks' traffic, and nothing else's.
local bulkhead = require "bulkhead"
local leftovers = require "tests.support.leftovers"
local namespaces = require "tests.support.namespaces"
local stage = require "tests.support.stage"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

local INNER, INNER6 = "10.1.0.9", "fd00:11::9"

local function sh(command)
  local text, status = namespaces.shell(command)
  assert(status == 0, command .. ": " .. text)
  return text
end

local function sysctl(path, value)
  local file <close> = assert(io.open("/proc/sys/net/" .. path, value and "w" or "r"))
  if value then
    return file:write(value)
  end
  return file:read "l"
end

--- A stage whose host has one more link, to a stack that knows the host as its router. The host forwards
--- nothing.
local function two_homed(open)
  local s = open { networks = false }
  sysctl("ipv4/ip_forward", "0")
  sysctl("ipv6/conf/all/forwarding", "0")
  s.inner = namespaces.pod(s)
  local inside = ("nsenter --net=%s "):format(s.inner)
  sh(("ip link add lan0 type veth peer name eth0 netns %s"):format(s.inner:match "%d+"))
  sh "ip addr add 10.1.0.1/24 dev lan0 && ip addr add fd00:11::1/64 nodad dev lan0 && ip link set lan0 up"
  sh(("%s sh -c 'ip link set lo up; ip addr add %s/24 dev eth0; ip addr add %s/64 nodad dev eth0;"
    .. " ip link set eth0 up; ip route add default via 10.1.0.1; ip route add default via fd00:11::1'")
    :format(inside, INNER, INNER6))
  sh(inside .. "ip -o link show eth0 && ip -o link show lan0") -- the kernel settles what is asked about
  assert(s.lab:route_outside "10.1.0.0/24")
  assert(s.lab:route_outside "fd00:11::/64")
  return s
end

--- Whether the stack at an address answers, by refusing, a connection to a port where nobody listens.
local function reaches(s, from, target, timeout, port)
  return assert(s.lab:probe {
    from = from, to = stage.HOST, kind = "tcp", target = target, port = port or 7, timeout = timeout or 1.5,
  }).refused
end

stage.platforms(B, "a host with two links that forwards nothing", function(open)
  it("forwards for our networks alone", function()
    local s = two_homed(open)
    assert.is_false(reaches(s, stage.OUTSIDE, INNER, 0.3))
    s:network { name = "nat", driver = "nat", subnets = { "172.16.0.0/16", "fd00:16::/64" } }
    local a = s:add { id = "a" }
    for _, target in ipairs { "10.0.0.9", "fd00:10::9", INNER, INNER6 } do
      assert.is_true(reaches(s, a.where, target), target)
    end
    for _, target in ipairs { INNER, INNER6 } do
      assert.is_false(reaches(s, stage.OUTSIDE, target, 0.3), target)
    end
    assert.equal("0", sysctl "ipv4/ip_forward")
  end)

  it("lets pass what another program translates or was asked for, and all once the host forwards", function()
    local s = two_homed(open)
    s:network { name = "nat", driver = "nat", subnets = { "172.16.0.0/16" } }
    sysctl("ipv4/ip_forward", "1") -- as Docker does
    sh("nft 'table ip other { chain p { type nat hook prerouting priority dstnat; iifname up0 ip daddr 10.0.0.1"
      .. " tcp dport 7000 dnat to 10.1.0.9:7; };"
      .. " chain i { type filter hook input priority 0; tcp dport 7000 drop; }; }'") -- the host itself is silent
    assert.is_true(reaches(s, stage.OUTSIDE, "10.0.0.1", 1.5, 7000))
    assert.is_false(reaches(s, stage.OUTSIDE, INNER, 0.3)) -- nobody told us yet
    assert(s:change(function() return true end))
    assert.is_true(reaches(s, stage.OUTSIDE, INNER))
    sysctl("ipv4/ip_forward", "0")
    assert(s:change(function() return true end))
    assert.is_false(reaches(s, stage.OUTSIDE, INNER, 0.3))
    assert.is_true(reaches(s, s:add { id = "a" }.where, INNER))
  end)

  it("is what it was when the last network is gone, unless the host forwards by then", function()
    local s = two_homed(open)
    local function values()
      return sysctl "ipv4/conf/up0/forwarding" .. sysctl "ipv4/conf/lan0/forwarding"
        .. sysctl "ipv6/conf/all/forwarding" .. sysctl "ipv6/conf/up0/forwarding"
    end
    for _, forwards in ipairs { "0", "1" } do
      s:network { name = "nat", driver = "nat", subnets = { "172.16.0.0/16", "fd00:16::/64" } }
      assert.equal("1111", values())
      if forwards == "1" then
        sysctl("ipv4/ip_forward", "1")
      end
      assert(s:change(function(host) return host:remove_network "nat" end))
      assert.equal(forwards:rep(2) .. "00", values())
    end
  end)
end, { "linux" })

stage.platforms(B, "two states in one namespace", function(open)
  local function open_second(s)
    local state = os.tmpname()
    os.remove(state)
    leftovers.watch(state)
    local second = assert(bulkhead.open { platform = "linux", state = state, write = true })
    s:defer(function()
      second:reset()
      second:close()
    end)
    assert(second:begin())
    assert(second:add_network { name = "far", driver = "nat", subnets = { "172.30.0.0/16", "fd00:30::/64" } })
    assert(second:commit())
    return second
  end

  for _, first_goes in ipairs { true, false } do
    it("leave forwarding to the one that stays: " .. (first_goes and "the second" or "the first"), function()
      local s = two_homed(open)
      s:network { name = "nat", driver = "nat", subnets = { "172.16.0.0/16", "fd00:16::/64" } }
      local second = open_second(s)
      local leaving, staying = s.host, second
      if not first_goes then
        leaving, staying = second, s.host
      end
      assert(leaving:reset())
      for _, path in ipairs { "ipv4/conf/up0", "ipv4/conf/lan0", "ipv6/conf/all" } do
        assert.equal("1", sysctl(path .. "/forwarding"), path)
      end
      for _, target in ipairs { INNER, INNER6 } do
        assert.is_false(reaches(s, stage.OUTSIDE, target, 0.3), target)
      end
      assert(staying:reset())
      for _, path in ipairs { "ipv4/conf/up0", "ipv4/conf/lan0", "ipv6/conf/all" } do
        assert.equal("0", sysctl(path .. "/forwarding"), path)
      end
      s:reopen()
    end)
  end
end, { "linux" })

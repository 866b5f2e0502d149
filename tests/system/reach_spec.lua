--- reach_spec.lua - networks that reach each other while policies of both say so, with packets.
local cli = require "tests.support.cli"
local json = require "json"
local reload = require "reload"
local sets = require "tests.support.sets"
local stage = require "tests.support.stage"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

local function set_of(reach)
  return sets.make { ["container/process.lua"] = ([[
return { default = { inbound = "allow", outbound = "allow" }, %s }
]]):format(reach and ("reach = { %q },"):format(reach) or "") }
end

local function put(s, dir, who)
  local changes = assert(reload.plan(s.host, { dir = dir, containers = { who }, flows = true }))
  assert(reload.apply(s.host, changes))
  return changes
end

local KINDS = { { "nat", "nat" }, { "nat", "internal" } }

stage.platforms(B, "reach", function(open)
  after_each(sets.clear)

  local s, a, b, near

  --- Two networks of a kind, with a container on each and a neighbour of the first.
  local function meet(kind)
    s = open { networks = false }
    s:network { name = "left", driver = kind[1], subnets = { "10.1.0.0/24", "fd01::/64" } }
    s:network { name = "right", driver = kind[2], subnets = { "10.2.0.0/24", "fd02::/64" } }
    a = s:add { id = "a", network = "left", policies = set_of "right" }
    b = s:add { id = "b", network = "right", policies = set_of "left" }
    near = s:add { id = "near", network = "left", policies = set_of() }
  end

  local PACKETS = {
    there = {
      "out tcp[%s] 10.1.0.2:40000 -> 10.2.0.2:80", "out udp 10.1.0.2:40000 -> 10.2.0.2:53",
      "out tcp[%s] [fd01::2]:40000 -> [fd02::2]:80",
    },
    back = {
      "out tcp[%s] 10.2.0.2:80 -> 10.1.0.2:40000", "out udp 10.2.0.2:53 -> 10.1.0.2:40000",
      "out tcp[%s] [fd02::2]:80 -> [fd01::2]:40000",
    },
  }

  local function hold(passes, first, second)
    for i, text in ipairs(PACKETS.there) do
      assert.equal(passes, s:send_raw(a, text:format(first), b, passes), text)
      assert.equal(passes, s:send_raw(b, PACKETS.back[i]:format(second), a, passes), PACKETS.back[i])
    end
  end

  it("that is withdrawn ends what was established, on its next packet, and nothing else", function()
    for _, kind in ipairs(KINDS) do
      meet(kind)
      hold(true, "S", "SA")
      hold(true, "A", "A")
      local beside = "out tcp[%s] 10.1.0.2:40000 -> " .. near.address .. ":80"
      assert.is_true(s:send_raw(a, beside:format "S", near, true))
      local changes = put(s, set_of(), "b")
      assert.same({ { field = "reach", from = "left", to = "" } }, changes[1].fields)
      table.sort(changes[1].ends)
      assert.same({
        "in tcp 10.1.0.2:40000 -> 10.2.0.2:80", "in tcp [fd01::2]:40000 -> [fd02::2]:80",
        "in udp 10.1.0.2:40000 -> 10.2.0.2:53",
      }, changes[1].ends)
      hold(false, "A", "A")
      assert.is_true(s:send_raw(a, beside:format "A", near, true))
      local answer = s:explain("a", "out tcp[A] 10.1.0.2:40000 -> 10.2.0.2:80")
      assert.same({ "allow", false }, { answer.verdict, answer.delivered })
      assert.matches("network left reach", stage.hops(answer))
      put(s, set_of "left", "b")
      hold(true, "A", "A")
    end
  end)

  it("goes with the last container whose policy says so", function()
    meet(KINDS[1])
    hold(true, "S", "SA")
    s:remove "a"
    a = s:add { id = "a", network = "left", policies = set_of(), addresses = { "10.1.0.2", "fd01::2" } }
    hold(false, "A", "A")
  end)
end)

stage.platforms(B, "network create --reach", function(open)
  it("says what is missing for it to mean anything", function()
    local s = open { networks = false }
    local function create(name, ...)
      local status, out, err = cli.run({ "network", "create", name, "--driver", "internal", ... }, nil, s.state)
      assert.same({ 0, name .. "\n" }, { status, out }, err)
      return err
    end
    assert.equal("bulkhead: there is no network 'right' yet: 'left' reaches it when it is made and says so too\n",
      create("left", "--subnet", "10.1.0.0/24", "--reach", "right"))
    assert.equal("", create("right", "--subnet", "10.2.0.0/24", "--reach", "*"))
    assert.equal("bulkhead: 'left' does not say yet that it reaches 'third': a policy of a container on it must have "
      .. 'reach = { "third" }\n', create("third", "--subnet", "10.3.0.0/24", "--reach", "left"))
    assert.equal(2, (cli.run({ "network", "create", "x", "--driver", "internal", "--subnet", "10.4.0.0/24",
      "--reach", "a b" }, nil, s.state)))
    local _, text = cli.run({ "network", "list", "--json" }, nil, s.state)
    local list = assert(json.decode(text))
    assert.same({ { "right" }, { "*" }, { "left" } }, { list[1].reach, list[2].own_reach, list[3].reach })
  end)
end, { "linux" })

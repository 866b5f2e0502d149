--- stage.lua - a lab with a host for system specs, on both platforms, with a check after each test
--- that nothing is left.
---
---   stage.platforms("S7", function(open) … it("…", function() local s = open() … end) end)
---
--- `open` makes a fresh lab; it is closed after the test, however that ends. A stage has `lab`,
--- `host`, `platform`; containers are added with `stage:add`, asked about with `stage:explain`, sent
--- to with `stage:send`.
local explain = require "explain"
local filter = require "bulkhead.filter"
local labs = require "labs"
local leftovers = require "tests.support.leftovers"
local lfs = require "lfs"
local lifecycle = require "lifecycle"
local validate = require "validate"
local worlds = require "worlds"

local stage = {}
stage.__index = stage

stage.HOST, stage.OUTSIDE = 1, 0
stage.HOST_ADDRESS, stage.OUTSIDE_ADDRESS = "10.0.0.1", "10.0.0.9"

local why_not -- nil: not asked yet

--- Why there is no linux platform here, or false.
function stage.without_linux()
  if why_not == nil then
    why_not = leftovers.slurp "/proc/self/status":match "Uid:%s+%d+%s+(%d+)" ~= "0"
      and "system tests need root, to make network namespaces" or false
  end
  return why_not
end

--- A policy set of the program's.
function stage.policies(name)
  return arg.root .. "/policies/" .. (name or "default")
end

--- Opens a lab and its host.
---@param options? { networks?: boolean } networks = false: none is made; default nat with IPv6
function stage.open(platform, options)
  local known = leftovers.labs()
  local lab, host, code = labs.open {
    platform = platform, host = { stage.HOST_ADDRESS .. "/24", "fd00:10::1/64" },
    outside = { stage.OUTSIDE_ADDRESS .. "/24", "fd00:10::9/64" },
  }
  assert(lab, ("no lab: %s (%s)"):format(host, code))
  local self = setmetatable({ lab = lab, host = host, platform = platform, deferred = {} }, stage)
  if platform == "linux" then
    for state in pairs(leftovers.labs()) do
      if not known[state] then
        self.state, self.tag = state, leftovers.tag(state)
      end
    end
  end
  if not options or options.networks ~= false then
    self:network { name = "nat", driver = "nat", subnets = { "172.16.0.0/16", "fd00:16::/64" } }
  end
  return self
end

--- Has `body` run before the lab is closed, while its namespaces are there; the last first.
function stage:defer(body)
  table.insert(self.deferred, 1, body)
end

function stage:close()
  while self.deferred[1] do
    table.remove(self.deferred, 1)()
  end
  if self.lab then
    local lab, host = self.lab, self.host
    self.lab, self.host = nil, nil
    assert(labs.close(lab, host))
  end
end

--- Opens the host anew, after its store was replaced or reset by another process.
function stage:reopen()
  self.host:close()
  lfs.mkdir(self.state:match "^(.*)/") -- whoever closes the last lab takes it away
  self.host = assert(require "bulkhead".open {
    platform = self.platform, lab = self.lab, state = self.state, write = true,
  })
end

--- Runs a change: `body(host)` returns nil and a message to refuse it.
function stage:change(body)
  local ok, message, code = self.host:begin()
  if not ok then
    return nil, message, code
  end
  local result
  result, message, code = body(self.host)
  if not result then
    self.host:abort()
    return nil, message, code
  end
  ok, message, code = self.host:commit()
  return ok and result, message, code
end

function stage:network(spec)
  return assert(self:change(function(host)
    return host:add_network(spec)
  end))
end

--- What lifecycle.create takes, with defaults: type process, network nat, the default policy set.
function stage.spec(wish)
  return {
    id = wish.id, type = wish.type or "process", network = wish.network or "nat",
    policies = wish.policies or stage.policies(), policy = wish.policy, netns = wish.netns,
    addresses = wish.addresses, annotations = {}, labels = {},
    published = wish.publish and assert(validate.published(wish.publish)) or {},
  }
end

local function bare(address)
  return address and address:match "^[^/]+"
end

--- Brings a container up; a hyperv one gets its guest unless `guest` is false.
---@return { id: string, where: integer, endpoint: endpoint, address: string, address6: string?, mac: string }
function stage:add(wish)
  local container, endpoint, code = lifecycle.create(self.host, stage.spec(wish))
  assert(container, ("%s (%s)"):format(endpoint, code))
  if wish.type == "hyperv" and wish.guest ~= false then
    assert(self.lab:guest(endpoint))
  end
  return {
    id = wish.id, where = endpoint.compartment, endpoint = endpoint, mac = endpoint.mac,
    address = bare(endpoint.addresses[1]), address6 = bare(endpoint.addresses[2]),
  }
end

--- Tries to bring a container up that must be refused; returns message and code.
function stage:refused(wish)
  local container, message, code = lifecycle.create(self.host, stage.spec(wish))
  assert(not container, "it was not refused")
  return message, code
end

function stage:remove(id)
  assert(lifecycle.remove(self.host, id))
end

--- What explain says of packets, a sequence, seen from a container: the answer to the last.
function stage:explain(who, ...)
  local parsed, answer = {}, nil
  for i, text in ipairs { ... } do
    parsed[i] = assert(filter.packet(text))
  end
  local world = assert(worlds.live(self.host, who, parsed))
  for _, text in ipairs { ... } do
    answer = assert(explain.packet(world, text))
  end
  return answer
end

--- The hops of an answer as one line: `gate out web ok, switch nat ok, gate in db default`.
function stage.hops(answer)
  local parts = {}
  for i, hop in ipairs(answer.hops) do
    parts[i] = ("%s %s %s"):format(hop.hop, hop.at, hop.verdict == "block" and hop.by or "ok")
  end
  return table.concat(parts, ", ")
end

--- The place of an actor, or the place itself.
local function where(actor)
  return type(actor) == "table" and actor.where or actor
end

--- Sends one probe: who it comes from, `tcp PORT`, `udp PORT` or `ping`, to whom; `target` overrides
--- the address. Waits longer for what should arrive.
---@return probe_result
function stage:send(from, what, to, passes, target)
  local kind, port = what:match "^(%a+)%s*(%d*)"
  return assert(self.lab:probe {
    from = where(from), to = where(to), kind = kind, port = math.tointeger(port),
    target = target or to.address, timeout = passes and 2 or 0.15,
  })
end

--- Sends one packet as the notation says. True if it arrived.
function stage:send_raw(from, packet, to, passes)
  return assert(self.lab:probe {
    from = where(from), to = where(to), kind = "raw", packet = packet,
    timeout = passes and 2 or 0.15,
  }).arrived
end

--- The sum of what was dropped in a direction.
function stage:counters(actor)
  return assert(self.host:counters(actor.endpoint.id))
end

--- Runs `body` once for each platform, in a `describe` of its own; `body(open, platform)`.
---@param B table busted's words where the spec has them: describe, it, before_each, after_each, pending
function stage.platforms(B, name, body, only)
  for _, platform in ipairs(only or { "memory", "linux" }) do
    B.describe(name .. " (" .. platform .. ")", function()
      local current, before = {}, nil
      if platform == "linux" and stage.without_linux() then
        B.pending(stage.without_linux())
        return
      end
      B.before_each(function()
        before = leftovers.look()
      end)
      B.after_each(function()
        for i = #current, 1, -1 do
          current[i]:close()
          current[i] = nil
        end
        local left = leftovers.since(before)
        assert(#left == 0, "left behind:\n  " .. table.concat(left, "\n  "))
      end)
      body(function(options)
        local opened = stage.open(platform, options)
        current[#current + 1] = opened
        return opened
      end, platform)
    end)
  end
end

return stage

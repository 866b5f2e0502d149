--- lifecycle_spec.lua - the order of policy, host and handlers, and what undoes what.
local fake_host = require "tests.support.fake_host"

--- Runs `body` with a policy set whose handlers fail as told, and the lifecycle that uses it.
local function with_policy(fails, added, body)
  local ran = {}
  local real = package.loaded.policies
  package.loaded.policies = {
    load = function()
      if fails.load then
        return nil, fails.load, "EINVAL"
      end
      return {
        default = function() return {} end, rules = function() return {} end,
        options = function() return {} end,
        handles = function(_, event) return fails[event] ~= nil or added[event] ~= nil end,
        run = function(_, event)
          ran[#ran + 1] = event
          if fails[event] then
            return nil, fails[event], "EINVAL"
          end
          return added[event] or {}
        end,
      }
    end,
  }
  local loaded = {}
  for _, name in ipairs { "lifecycle", "departure", "roster" } do
    loaded[name], package.loaded[name] = package.loaded[name], nil
  end
  local ok, why = pcall(body, require "lifecycle", ran)
  package.loaded.policies = real
  for _, name in ipairs { "lifecycle", "departure", "roster" } do
    package.loaded[name] = loaded[name]
  end
  assert(ok, why)
end

local SPEC = { id = "web", type = "process", policies = "/p", published = {} }

describe("a container that comes", function()
  it("is added in order, its network made on first use", function()
    with_policy({}, { attach = { { action = "allow" } } }, function(lifecycle, ran)
      local host = fake_host.new {}
      assert(lifecycle.create(host, SPEC))
      assert.same({ "begin", "add_container web", "add_network nat", "add_endpoint web",
        "add_rules 7", "set_phase web", "commit" }, host.calls)
      assert.same({ "create", "attach" }, ran)
    end)
  end)

  it("has its network made if one that was being made is gone by then", function()
    with_policy({}, {}, function(lifecycle)
      for _, name in ipairs { "nat", "pods" } do
        local lists = { networks = { { name = name, driver = "nat", status = "creating" } } }
        local host = fake_host.new(lists)
        local begin = host.begin
        function host.begin(...)
          lists.networks = nil
          return begin(...)
        end
        local wish = setmetatable({ network = name, network_spec = name == "pods" and { name = name } or nil },
          { __index = SPEC })
        assert(lifecycle.create(host, wish))
        assert.equal("add_network " .. name, host.calls[3])
      end
    end)
  end)

  it("is told its start in a change of its own, with the rules it adds", function()
    with_policy({}, { start = { { action = "allow" } } }, function(lifecycle, ran)
      local host = fake_host.new {}
      assert(lifecycle.create(host, SPEC))
      assert.same({ "commit", "begin", "add_rules 7", "set_phase web", "commit" },
        table.move(host.calls, #host.calls - 4, #host.calls, 1, {}))
      assert.same({ "create", "attach", "start" }, ran)
    end)
  end)

  it("is told its start later, once, where a hook says so", function()
    with_policy({}, { start = {} }, function(lifecycle, ran)
      local lists = {}
      local host = fake_host.new(lists)
      assert(lifecycle.create(host, setmetatable({ start = false }, { __index = SPEC })))
      assert.same({ "create", "attach" }, ran)
      assert(lifecycle.start(host, "web"))
      assert.same({ "create", "attach", "start" }, ran)
      lists.containers[1].phase, lists.endpoints[1].phase = "started", "started"
      assert(lifecycle.start(host, "web"))
      assert.equal(3, #ran)
      assert.is_nil((lifecycle.start(host, "db")))
    end)
  end)

  it("shares the endpoint of the compartment it joins", function()
    with_policy({}, {}, function(lifecycle, ran)
      local lists = { networks = { { name = "nat", driver = "nat" } }, endpoints = { {
        id = 3, container = "pause", compartment = 2, network = "nat", driver = "nat",
        addresses = { "172.16.0.9/16" } } } }
      local host = fake_host.new(lists)
      local _, endpoint = assert(lifecycle.create(host, SPEC))
      assert.equal(3, endpoint.id)
      assert.same({ "begin", "add_container web", "set_phase web", "commit" }, host.calls)
      assert.same({ "create" }, ran)
      local publishing = setmetatable({ id = "web2", published = { {} } }, { __index = SPEC })
      assert.matches("shares the endpoint of container 'pause'", select(2, lifecycle.create(host, publishing)))
      local addressed = setmetatable({ id = "web3", addresses = { "172.16.0.7" } }, { __index = SPEC })
      assert(lifecycle.create(host, addressed))
      assert.equal("add_endpoint web3", host.calls[#host.calls - 2])
    end)
  end)

  it("is refused before the lock if the policy or the network is wrong", function()
    with_policy({ load = "p.lua:1: no" }, {}, function(lifecycle)
      local host = fake_host.new {}
      local ok, why = lifecycle.create(host, SPEC)
      assert.is_nil(ok)
      assert.equal("p.lua:1: no", why)
      local missing = setmetatable({ network = "lan" }, { __index = SPEC })
      assert.equal("there is no network 'lan'", select(2, lifecycle.create(host, missing)))
      assert.same({}, host.calls)
    end)
  end)

  it("leaves nothing if create or attach fails", function()
    for _, event in ipairs { "create", "attach" } do
      with_policy({ [event] = "p.lua:2: no" }, {}, function(lifecycle)
        local host = fake_host.new {}
        local ok, why = lifecycle.create(host, SPEC)
        assert.is_nil(ok)
        assert.equal("p.lua:2: no", why)
        assert.equal("abort", host.calls[#host.calls])
      end)
    end
  end)

  it("is taken away if start fails, with the network made for it", function()
    with_policy({ start = "p.lua:3: no" }, {}, function(lifecycle)
      local host = fake_host.new {}
      local ok, why = lifecycle.create(host, SPEC)
      assert.is_nil(ok)
      assert.equal("p.lua:3: no", why)
      assert.same({ "commit", "begin", "abort", "begin", "remove_container web", "remove_network nat",
        "commit" }, table.move(host.calls, #host.calls - 6, #host.calls, 1, {}))
    end)
  end)

  it("is aborted if the host refuses", function()
    with_policy({}, {}, function(lifecycle)
      local host = fake_host.new({}, { add_endpoint = "no address is free" })
      assert.equal("no address is free", select(2, lifecycle.create(host, SPEC)))
      assert.equal("abort", host.calls[#host.calls])
    end)
  end)
end)

describe("a container that goes", function()
  it("goes whatever its handlers say", function()
    with_policy({ stop = "p.lua:4: no", detach = "p.lua:5: no" }, {}, function(lifecycle, ran)
      local said = {}
      local session = require "session"
      local say = session.say
      session.say = function(text) said[#said + 1] = text end
      local host = fake_host.new {
        containers = { { id = "web", name = "web", type = "process", policies = "/p", policy = "process",
          phase = "started" } },
        endpoints = { { id = 7, container = "web", driver = "nat", addresses = { "172.16.0.2/16" },
          phase = "started" } },
      }
      local ok = lifecycle.remove(host, "web")
      session.say = say
      assert.is_true(ok)
      assert.same({ "stop", "detach", "remove" }, ran)
      assert.same({ "p.lua:4: no", "p.lua:5: no" }, said)
      assert.same({ "begin", "remove_container web", "commit" }, host.calls)
    end)
  end)
end)

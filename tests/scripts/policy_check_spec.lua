--- policy_check_spec.lua - what `policy check` finds.
local cli = require "tests.support.cli"
local check = require "commands.policy_check"
local sets = require "tests.support.sets"

--- The findings of a set with this container policy, each on a line, without the directory.
local function findings(text, files)
  files = files or {}
  files["container/process.lua"] = text
  local dir = sets.make(files)
  local list = {}
  for i, finding in ipairs(check.findings(dir)) do
    local origin = finding.origin:gsub(dir:gsub("%p", "%%%0") .. "/?", "", 1)
    local message = finding.message:gsub(dir:gsub("%p", "%%%0") .. "/", "")
    list[i] = ("%s: %s: %s"):format(origin, finding.severity, message)
  end
  return list
end

local function with_rules(rules, inbound)
  return ('return { default = { inbound = "%s", outbound = "allow" }, rules = {\n%s\n} }\n')
    :format(inbound or "block", rules)
end

describe("policy check", function()
  teardown(sets.clear)

  it("finds nothing in what is right", function()
    assert.same({}, findings(with_rules 'allow.inbound { name = "a", protocol = "tcp", local_port = 80 },'))
  end)

  it("finds mistakes, once", function()
    local list = findings(with_rules 'allow.inbound { porto = 80 },')
    assert.equal(1, #list)
    assert.matches("^container/process.lua:2: error: rule has no field 'porto'", list[1])
  end)

  it("finds rules that others shadow, and says by which", function()
    assert.same({ "container/process.lua:3: error: 'b' never decides: shadowed by 'a' (container/process.lua:2)" },
      findings(with_rules [[block.inbound { name = "a", protocol = "tcp", local_port = "1-100" },
allow.inbound { name = "b", protocol = "tcp", local_port = 80 },]]))
  end)

  it("finds rules that several shadow together", function()
    local list = findings(with_rules [[allow.inbound { name = "a", protocol = "tcp", local_port = "1-50" },
allow.inbound { name = "b", protocol = "tcp", local_port = "51-100" },
allow.inbound { name = "c", protocol = "tcp", local_port = "40-60" },]])
    assert.same({ "container/process.lua:4: warning: 'c' never decides: shadowed by the rules before it together, "
      .. "as what it says is said already" }, list)
  end)

  it("finds rules that can match nothing", function()
    assert.same({ "container/process.lua:2: error: 'a' can never match: no packet is all that it asks for" },
      findings(with_rules 'allow.inbound { name = "a", remote = { "10.0.0.0/8", "!10.0.0.0/7" } },'))
  end)

  it("finds allows on a default that allows", function()
    assert.same({ "container/process.lua:2: warning: 'a' changes nothing: what it allows is allowed without it, "
      .. "by the default (container/process.lua:1)" },
      findings(with_rules('allow.inbound { name = "a", protocol = "tcp" },', "allow")))
  end)

  it("finds an allow as wide as everything", function()
    local list = findings(with_rules 'allow.inbound { name = "a" },')
    assert.same({ "container/process.lua:2: warning: 'a' is as wide as everything, so that the default "
      .. "(container/process.lua:1) decides nothing" }, list)
    list = findings(with_rules 'allow.inbound { name = "a", remote = "0.0.0.0/0" },')
    assert.same({ "container/process.lua:2: warning: 'a' is as wide as all of IPv4, so that the default "
      .. "(container/process.lua:1) decides nothing of it" }, list)
    list = findings(with_rules 'allow.inbound { name = "a", remote = { "::/1", "8000::/1" } },')
    assert.matches("warning: 'a' is as wide as all of IPv6", list[1] or "")
    assert.same({}, findings(with_rules 'allow.inbound { name = "a", remote = { "0.0.0.0/0", "!10.0.0.0/8" } },'))
  end)

  it("says what it did not try, once its time is over", function()
    local dir = sets.make { ["container/process.lua"] = [[
return { default = { inbound = "allow", outbound = "allow" },
  rules = { allow.inbound { protocol = "tcp" },
    allow.inbound { protocol = "udp" } } }]] }
    local found = check.findings(dir, 1e-9)
    assert.equal(1, #found)
    assert.equal("warning", found[1].severity)
    assert.truthy(found[1].message:find("2 rules of 2 not tried one by one", 1, true), found[1].message)
    assert.equal(2, #check.findings(dir))
  end)

  it("finds files that nobody reads", function()
    local list = findings(with_rules "", {
      ["network/nta.lua"] = "return {}\n", ["forgotten.lua"] = "return {}\n",
    })
    assert.matches("^network/nta.lua:1: warning: is never read, nor its handlers reached", list[1])
    assert.equal("forgotten.lua:1: warning: is required by no policy of the set", list[2])
  end)

  it("runs handlers", function()
    local list = findings [[
return { default = { inbound = "block", outbound = "allow" },
  on = { attach = function(container) return container.nothing.there end } }
]]
    assert.matches("^container/process.lua:2: error: ", list[1])
    for _, event in ipairs { "start", "stop", "detach", "remove" } do
      list = findings(('return { default = { inbound = "block", outbound = "allow" },\n'
        .. "  on = { %s = function(container) return container.nothing.there end } }\n"):format(event))
      assert.matches("^container/process.lua:2: error: ", list[1], nil, event)
      assert.equal(1, #list)
    end
  end)

  it("exits by what it found", function()
    assert.equal(0, (cli.run { "policy", "check", "policies/default" }))
    assert.equal(2, (cli.run { "policy", "check", "policies/default/common.lua" }))
    local dir = sets.make { ["container/process.lua"] = "return 1\n" }
    local status, out = cli.run { "policy", "check", dir }
    assert.equal(1, status)
    assert.matches("error: a policy must return a table", out)
    assert.matches("1 error, 0 warnings\n$", out)
  end)

  for _, set in ipairs { "default", "strict", "windows-1709", "quarantine" } do
    it("finds no errors in policies/" .. set, function()
      for _, finding in ipairs(check.findings(arg.root .. "/policies/" .. set)) do
        assert.equal("warning", finding.severity, finding.message)
      end
    end)
  end
end)

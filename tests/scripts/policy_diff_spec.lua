--- policy_diff_spec.lua - `policy diff` as people see it.
local cli = require "tests.support.cli"
local json = require "json"
local sets = require "tests.support.sets"

local GOLDEN = [[
process on nat, l2bridge, transparent, internal:
  newly allowed:
    inbound tcp
      in tcp[S] 10.0.0.9:51000 -> 172.16.0.2:80
      blocked by default policies/default/container/process.lua:7
      allowed by 'TCP' policies/windows-1709/common.lua:5
    inbound udp local port 0-67, 69-545, 547-65535
      in udp 10.0.0.9:51000 -> 172.16.0.2:80
      blocked by default policies/default/container/process.lua:7
      allowed by 'UDP' policies/windows-1709/common.lua:6
    inbound udp local port 68 remote port 0-66, 68-65535
      in udp 10.0.0.9:51000 -> 172.16.0.2:68
      blocked by default policies/default/container/process.lua:7
      allowed by 'UDP' policies/windows-1709/common.lua:6
    inbound udp local port 546 remote port 0-546, 548-65535
      in udp 10.0.0.9:51000 -> 172.16.0.2:546
      blocked by default policies/default/container/process.lua:7
      allowed by 'UDP' policies/windows-1709/common.lua:6

process on overlay: the same
]]

local PLAIN = 'return { default = { inbound = "block", outbound = "allow" } }\n'

describe("policy diff", function()
  teardown(sets.clear)

  it("tells what later Windows admits", function()
    local status, out, err = cli.run { "policy", "diff", "policies/default", "policies/windows-1709", "--type",
      "process" }
    assert.equal("", err)
    assert.equal(0, status)
    assert.equal(GOLDEN, out)
  end)

  it("says the same when they are", function()
    local status, out = cli.run { "policy", "diff", "policies/default", "policies/default", "--exit-code" }
    assert.equal("the same\n", out)
    assert.equal(0, status)
  end)

  it("tells the exit status on request", function()
    local words = { "policy", "diff", "policies/default", "policies/strict" }
    assert.equal(0, (cli.run(words)))
    words[#words + 1] = "--exit-code"
    assert.equal(1, (cli.run(words)))
  end)

  it("heeds published ports and addresses", function()
    local dir = sets.make { ["container/process.lua"] = PLAIN }
    local status, out = cli.run { "policy", "diff", "policies/default", dir, "--type", "process", "--network", "nat",
      "--address", "172.16.5.5", "--publish", "8080:80/tcp" }
    assert.equal(0, status)
    assert.matches("inbound tcp local port 80\n      in tcp%[S%] 10.0.0.9:51000 %-> 172.16.5.5:80\n", out)
    assert.matches("allowed by 'published 8080' policies/default/container/process.lua:14", out)
  end)

  it("answers in JSON", function()
    local _, out = cli.run { "policy", "diff", "policies/default", "policies/windows-1709", "--network", "nat",
      "--json" }
    local value = assert(json.decode(out))
    assert.is_false(value.same)
    local entry = value.compared[2]
    assert.equal("process", entry.policy)
    assert.equal("tcp", entry.newly_allowed[1].protocol)
    assert.equal("in tcp[S] 10.0.0.9:51000 -> 172.16.0.2:80", entry.newly_allowed[1].example)
    assert.equal("policies/default/container/process.lua:7", entry.newly_allowed[1].before.origin)
    assert.equal("policies/windows-1709/common.lua:5", entry.newly_allowed[1].after.origin)
    assert.same({}, entry.newly_blocked)
  end)

  it("tells defaults, options and policies that only one has", function()
    local a = sets.make { ["container/p.lua"] = PLAIN, ["container/q.lua"] = PLAIN }
    local b = sets.make { ["container/p.lua"] =
      'return { default = { inbound = "allow", outbound = "allow" }, flows = 9, timeouts = { syn = 5 } }\n' }
    local _, out = cli.run { "policy", "diff", a, b }
    local text = "p on nat, l2bridge, transparent, internal, overlay:\n  newly allowed:\n    inbound any protocol\n"
    assert.truthy(out:find(text, 1, true))
    assert.matches("inbound frames that are neither IP nor ARP", out)
    assert.matches("flows: default %-> 9\n  timeouts.syn: default %-> 5", out)
    assert.matches("q: only .+ has it", out)
  end)

  it("refuses what is no set and who is nobody", function()
    local status, _, err = cli.run { "policy", "diff", "policies/default", "/nowhere" }
    assert.equal(2, status)
    assert.matches("is not a directory", err)
    status, _, err = cli.run { "policy", "diff", "policies/default", "policies/strict", "web", "--type", "process" }
    assert.equal(2, status)
    assert.matches("not both", err)
    status, _, err = cli.run { "policy", "diff", "policies/strict", "--type", "process" }
    assert.equal(2, status)
    assert.matches("for an imagined one give two sets", err)
    status, _, err = cli.run { "policy", "diff", "policies/strict", "nosuch" }
    assert.equal(1, status)
    assert.matches("'nosuch' is neither a directory nor a container", err)
    local empty = sets.make {}
    for _, words in ipairs { { "policies/default", empty }, { empty, "policies/default" }, { empty } } do
      status, _, err = cli.run { "policy", "diff", "--exit-code", table.unpack(words) }
      assert.equal(2, status)
      assert.matches("is no policy set: it has no container/NAME.lua", err, 1, true)
    end
    status, _, err = cli.run { "policy", "reload", empty }
    assert.equal(2, status)
    assert.matches("is no policy set", err)
  end)
end)

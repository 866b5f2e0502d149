--- policy_test_spec.lua - `policy test`: specs of sets, and whose specs are run.
local cli = require "tests.support.cli"
local json = require "json"
local lfs = require "lfs"
local sets = require "tests.support.sets"

local POLICY = [[
return { default = { inbound = "block", outbound = "allow" }, rules = {
  allow.inbound { name = "web", protocol = "tcp", local_port = 80 },
  allow.inbound { name = "ssh", protocol = "tcp", local_port = 22 },
} }
]]

local SPEC = [[
local packets = require "policy_spec"
describe("it", function()
  packets({ type = "process" }, {
    { "in tcp 10.0.0.9:51000 -> 172.16.0.2:80", "allow", "web" },
    { "in tcp 10.0.0.9:51000 -> 172.16.0.2:81", "%s", "default" },
    { { "out udp 172.16.0.2:9 -> 10.0.0.9:53", "in udp 10.0.0.9:53 -> 172.16.0.2:9" }, "allow", "flow" },
  })
end)
]]

--- A set with a spec in it that is right or wrong.
local function make(verdict)
  local dir = sets.make { ["container/process.lua"] = POLICY }
  lfs.mkdir(dir .. "/spec")
  local file <close> = assert(io.open(dir .. "/spec/it_spec.lua", "w"))
  file:write(SPEC:format(verdict))
  return dir
end

describe("policy test", function()
  teardown(sets.clear)

  it("runs specs and tells which rules never decided", function()
    local status, out = cli.run { "policy", "test", make "block", "--trust" }
    assert.equal(0, status)
    assert.matches("3 successes / 0 failures", out)
    assert.matches("rules that decided: 1 of 2\n  never: .*process.lua:3 ssh\n$", out)
  end)

  it("answers in JSON", function()
    local status, out = cli.run { "policy", "test", make "allow", "--trust", "--json" }
    local value = assert(json.decode(out))
    assert.same({ 1, 2, 0, 0, 2, 1 },
      { status, value.passed, value.skipped, #value.errors, value.rules, value.decided })
    assert.equal("ssh", value.never[1].rule)
    assert.matches("process.lua:3$", value.never[1].origin)
    assert.matches("172.16.0.2:81: expected allow by default, got block by default", value.failures[1].message)
    status, out = cli.run { "policy", "test", make "block", "--trust", "--json" }
    assert.same({ 0, 3, {} }, { status, json.decode(out).passed, json.decode(out).failures })
  end)

  it("fails with a sentence about the packet", function()
    local status, out = cli.run { "policy", "test", make "allow", "--trust" }
    assert.equal(1, status)
    assert.matches("172.16.0.2:81: expected allow by default, got block by default", out)
    assert.matches("Failure %-> [^\n]*/spec/it_spec.lua @ 5\n", out)
    assert.is_nil(out:find "policy_spec.lua")
  end)

  it("refuses a row that is none, by its line", function()
    local status, out = cli.run { "policy", "test", make "blok", "--trust" }
    assert.equal(1, status)
    assert.matches("it_spec.lua:5: in tcp 10.0.0.9:51000 -> 172.16.0.2:81: the verdict 'blok' is neither"
      .. " 'allow' nor 'block'", out, 1, true)
    assert.matches("2 successes / 0 failures / 1 error", out)
  end)

  it("does not run as root what others own", function()
    if lfs.attributes("/proc/self").uid ~= 0 then
      return pending "only root is at risk"
    end
    local dir = make "block"
    assert(os.execute(("chown 65534 '%s/spec/it_spec.lua'"):format(dir)))
    local status, _, err = cli.run { "policy", "test", dir }
    assert.equal(1, status)
    assert.matches("it_spec.lua is not root's alone", err)
    assert.equal(0, (cli.run { "policy", "test", dir, "--trust" }))
  end)

  it("does not run what is in the directory one stands in", function()
    local dir, trap = make "block", os.tmpname()
    os.remove(trap)
    assert(lfs.mkdir(trap))
    assert(lfs.mkdir(trap .. "/src"))
    for _, name in ipairs { ".busted", "moonscript.lua", "src/helper.lua" } do
      local file <close> = assert(io.open(trap .. "/" .. name, "w"))
      file:write "io.stderr:write 'trapped\\n' return {}"
    end
    do
      local file <close> = assert(io.open(dir .. "/spec/helper.lua", "w"))
      file:write "return 'of the set'"
      local spec <close> = assert(io.open(dir .. "/spec/more_spec.lua", "w"))
      spec:write "it('has its own', function() assert.equal('of the set', require 'helper') end)"
    end
    local here = lfs.currentdir()
    assert(lfs.chdir(trap))
    local status, out, err = cli.run { "policy", "test", dir, "--trust" }
    assert(lfs.chdir(here))
    os.execute("rm -r " .. trap)
    assert.same({ 0, "" }, { status, err }, out)
    assert.matches("4 successes / 0 failures", out)
  end)

  it("refuses what is no set, or has no specs", function()
    assert.equal(2, (cli.run { "policy", "test", "/nowhere" }))
    assert.equal(2, (cli.run { "policy", "test", sets.make {} }))
    local status, _, err = cli.run { "policy", "test", sets.make { ["container/process.lua"] = POLICY } }
    assert.equal(1, status)
    assert.matches("has no specs", err)
  end)

  for set, never in pairs {
    default = 1, strict = 2, ["windows-1709"] = 0, quarantine = 0,
  } do
    it("passes for policies/" .. set, function()
      local status, out = cli.run { "policy", "test", "policies/" .. set, "--trust" }
      assert.equal(0, status, out)
      local _, count = out:gsub("\n  never: ", "")
      assert.equal(never, count)
    end)
  end
end)

--- What one more container takes does not grow with how many there are: counted in system calls that
--- change something or ask the kernel (requests of netlink, maps, mounts), not in seconds.
local audit = require "tests.support.audit"
local cli = require "tests.support.cli"
local namespaces = require "tests.support.namespaces"
local stage = require "tests.support.stage"

local CROWD = 96
local ROUNDS = 3 -- of which the least counts: a busy machine is asked again whether it is done
local SLACK = 12 -- such questions; one call for each container that is there would be CROWD

describe("with many containers on a host", function()
  if stage.without_linux() then
    it("one more takes as many calls", function()
      pending(stage.without_linux())
    end)
    return
  end
  local s

  before_each(function()
    s = stage.open("linux", { networks = false })
  end)
  after_each(function()
    s:close()
  end)

  --- Runs the program; under `prefix`, what it wrote is returned as a number.
  local function run(words, prefix)
    local text, status = namespaces.shell(("BULKHEAD_STATE='%s' %s '%s' %s")
      :format(s.state, prefix or "", cli.program(), words))
    assert.equal(0, status, words .. ": " .. text)
    return math.tointeger(tonumber(text:match "(%d+)%s*$"))
  end

  --- The least that a creation and a removal take.
  local function least()
    local created, removed = math.huge, math.huge
    for _ = 1, ROUNDS do
      created = math.min(created, run("container create probe --publish 9999:80",
        ("'%s' 0"):format(audit.helper "killer")))
      removed = math.min(removed, run("container remove probe", ("'%s' 0"):format(audit.helper "killer")))
    end
    return created, removed
  end

  it("creating and removing one more takes as many calls", function()
    run "container create first --publish 9000:80"
    local created, removed = least()
    assert.is_true(created > 20 and removed > 10, "nothing was counted")
    for i = 1, CROWD do
      run(("container create c%d --publish %d:80"):format(i, 9000 + i))
    end
    local created_then, removed_then = least()
    assert.is_true(created_then <= created + SLACK, ("%d calls, then %d"):format(created, created_then))
    assert.is_true(removed_then <= removed + SLACK, ("%d calls, then %d"):format(removed, removed_then))
  end)
end)

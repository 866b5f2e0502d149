--- A state that was never made: whoever only looks or takes away finds nothing, and makes nothing.
local cli = require "tests.support.cli"
local lfs = require "lfs"
local stage = require "tests.support.stage"
local namespaces = require "tests.support.namespaces"

local CNI = '{"cniVersion":"1.1.0","name":"pods","type":"bulkhead","subnet":"10.9.0.0/24"%s}'

describe("of a state that was never made", function()
  if stage.without_linux() then
    it("nothing comes", function()
      pending(stage.without_linux())
    end)
    return
  end
  local state, before

  --- What is there; `but` names what may be.
  local function runtime(but)
    local names = {}
    for name in (namespaces.shell "ls /run/bulkhead 2>/dev/null"):gmatch "%S+" do
      if not (but and but[name]) then
        names[name] = true
      end
    end
    return names
  end

  before_each(function()
    state = ("/tmp/bulkhead-nothing-%d"):format(math.random(1 << 40))
    before = runtime()
  end)
  after_each(function()
    namespaces.shell(("BULKHEAD_STATE=%s %s reset; rm -rf %s"):format(state, cli.program(), state))
  end)

  local function run(words, input, environment)
    return namespaces.shell(("printf '%%s' '%s' | %s BULKHEAD_STATE=%s %s %s"):format(input or "",
      environment or "", state, cli.program(), words))
  end

  local rows = {
    { "hook poststop", '{"id":"web"}', status = 0 },
    { "hook poststart", '{"id":"web"}', status = 1, says = "there is no container 'web'" },
    { "cni", CNI:format "", "CNI_COMMAND=DEL CNI_CONTAINERID=web CNI_IFNAME=eth0 CNI_PATH=/", status = 0 },
    { "cni", CNI:format ',"cni.dev/valid-attachments":[]', "CNI_COMMAND=GC CNI_PATH=/", status = 0 },
    { "cni", CNI:format "", "CNI_COMMAND=STATUS CNI_PATH=/", status = 0 },
    { "container remove web", status = 1, says = "there is no container 'web'" },
    { "network remove nat", status = 1, says = "there is no network 'nat'" },
    { "network list", status = 0 },
    { "compartments", status = 0 },
    { "endpoints", status = 0 },
    { "rules", status = 0 },
    { "flows", status = 0 },
    { "topology", status = 0 },
    { "drops", status = 0 },
    { "metrics", status = 0 },
    { "policy reload", status = 0 },
    { "reconcile", status = 0 },
    { "reset", status = 0 },
  }
  for _, row in ipairs(rows) do
    it(("`%s %s` makes nothing"):format(row[3] and row[3]:match "%u+=%u+" or "", row[1]), function()
      local text, status = run(row[1], row[2], row[3])
      assert.equal(row.status, status, text)
      if row.says then
        assert.matches(row.says, text, 1, true)
      end
      assert.is_nil(lfs.attributes(state))
      assert.same({}, runtime(before))
    end)
  end
end)

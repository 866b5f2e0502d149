--- The quick reading of a command's words and argparse's agree wherever the quick one says anything.
local dispatch = require "dispatch"

local ROWS = {
  { "hook", { "createRuntime" }, true },
  { "hook", { "createRuntime", "--policies", "/p" }, true },
  { "hook", { "--policies=/p", "poststop" }, true },
  { "hook", {} },
  { "hook", { "a", "b" } },
  { "hook", { "a", "--polcies", "/p" } },
  { "hook", { "a", "--policies" } },
  { "hook", { "a", "--policies", "--json" } },
  { "hook", { "a", "--policies", "/p", "--policies", "/q" } },
  { "cni", {}, true },
  { "reconcile", {}, true },
  { "reconcile", { "now" } },
  { "container", { "create", "c" }, true },
  { "container", { "create", "c", "--publish", "1:2", "--publish=3:4", "--netns", "/n", "--json" }, true },
  { "container", { "create", "--type", "hyperv", "c", "--address", "10.0.0.2" }, true },
  { "container", { "create" } },
  { "container", { "create", "c", "--type", "process", "--type", "hyperv" } },
  { "container", { "create", "c", "--json=yes" } },
  { "container", { "--json", "create", "c" } },
  { "container", { "remove", "c" }, true },
  { "container", { "destroy", "c" } },
  { "container", {} },
  { "network", { "create", "n", "--driver", "nat", "--subnet", "10.0.0.0/8" } },
  { "network", { "create", "n" } },
  { "network", { "list", "--json" }, true },
  { "network", { "remove", "n" }, true },
  { "rules", {}, true },
  { "rules", { "web" }, true },
  { "drops", { "-f" }, true },
  { "drops", { "--last", "3" }, true },
  { "drops", { "--last", "-3" } },
  { "topology", {}, true },
  { "topology", { "--dot" } },
  { "topology", { "--dot", "--svg" } },
  { "policy", { "reload", "--audit", "--dry-run", "--container", "a", "--container", "b" }, true },
  { "explain", { "web", "in tcp 1.2.3.4:5 -> 6.7.8.9:10" } },
  { "flows", { "--", "web" } },
}

describe("the quick reading of words", function()
  for _, row in ipairs(ROWS) do
    local name, words, plain = row[1], row[2], row[3]
    it(("agrees on `%s %s`"):format(name, table.concat(words, " ")), function()
      local quick, args = dispatch.both(name, words)
      assert.equal(plain or false, quick ~= nil)
      if quick then
        assert.same(args, quick)
      end
    end)
  end
end)

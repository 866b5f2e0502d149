--- Scripts are taken as bytecode while their text is what the program was built with, and as text once it
--- is another: who changes a script has what is written there.
local cli = require "tests.support.cli"
local namespaces = require "tests.support.namespaces"

local shell = namespaces.shell

describe("a script", function()
  local home

  --- A copy of the program and its scripts, one of them changed by a command of sed.
  local function copy(script, change)
    home = os.tmpname()
    shell(("rm %s; mkdir -p %s/build; cp -L '%s' %s/build/bulkhead; cp -R '%s/scripts' '%s/policies' %s"):format(
      home, home, cli.program(), home, arg.root, arg.root, home))
    if script then
      assert.equal("", (shell(("sed -i '%s' %s/scripts/%s"):format(change, home, script))))
    end
  end

  local function run(words)
    return shell(home .. "/build/bulkhead " .. words)
  end

  after_each(function()
    shell("rm -rf " .. home)
  end)

  local WHERE = [[run /dev/stdin <<'X'
print(debug.getinfo(require "json".encode, "S").source, debug.getinfo(require "dkjson".encode, "S").short_src)
print(pcall(require "validate".absolute_path, nil, "x"))
X
]]

  it("that is as it was built is bytecode, with its lines", function()
    copy()
    local text = run(WHERE)
    assert.matches("^@scripts/json.lua\tdkjson.lua\n", text)
    assert.matches("false\tscripts/validate.lua:%d+: ", text)
  end)

  it("that was changed is what it says now", function()
    copy("json.lua", "1i -- a line more")
    assert.matches(("^@%s/scripts/json.lua\tdkjson.lua\n"):format(home), (run(WHERE)))
    copy("catalogue.lua", 's/"explain", "[^"]*"/"explain", "is changed"/')
    assert.matches("explain +is changed", (run "help"))
    copy("quick.lua", "3i this is not Lua")
    local text, status = run "help"
    assert.equal(1, status)
    assert.matches(("%s/scripts/quick.lua:3: syntax error"):format(home), text, 1, true)
  end)
end)

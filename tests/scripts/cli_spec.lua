--- cli_spec.lua - the command line: exit statuses and sentences.
local cli = require "tests.support.cli"
local namespaces = require "tests.support.namespaces"
local json = require "json"

--- Runs and holds the answer to the contract: the status, and one sentence where it is not 0.
local function refused(status, words, input, pattern)
  local code, out, err = cli.run(words, input)
  local line = table.concat(words, " "):sub(1, 100)
  assert.equal(status, code, line .. "\n" .. err)
  assert.equal("", out, line)
  assert.matches("^bulkhead: [^\n]+\n$", err, nil, line)
  assert.is_true(#err < 400, line)
  if pattern then
    assert.matches(pattern, err)
  end
end

local function script(text)
  local name = os.tmpname()
  local file = assert(io.open(name, "w"))
  file:write(text)
  file:close()
  return name
end

--- The words and, so many times, two more.
local function repeated(words, times, option, value)
  for _ = 1, times do
    words[#words + 1], words[#words + 2] = option, value
  end
  return words
end

local PACKET = "in tcp 10.0.0.9:51000 -> 172.16.0.2:80"

describe("the command line", function()
  it("says what it is", function()
    local status, out = cli.run { "--version" }
    assert.equal(0, status)
    assert.matches("^bulkhead %d+%.%d+%.%d+\n$", out)
    status, out = cli.run { "help" }
    assert.equal(0, status)
    for _, name in ipairs { "run", "hook", "explain", "reset" } do
      assert.matches("\n  " .. name .. " ", out)
      assert.equal(0, (cli.run { "help", name }))
      assert.equal(0, (cli.run { name, "--help" }))
    end
    assert.matches("%-%-subnet", select(2, cli.run { "help", "network", "create" }))
    for line in out:gmatch "[^\n]+" do
      assert.is_true(#line <= 80)
    end
  end)

  it("says so if the answer cannot be written", function()
    for _, words in ipairs { "--version", "help", "network list --json" } do
      local text, status = namespaces.shell(("BULKHEAD_STATE=/nowhere '%s' %s >/dev/full"):format(cli.program(), words))
      assert.equal(1, status, words)
      assert.equal("bulkhead: the answer cannot be written: No space left on device\n", text)
    end
    for words, input in pairs {
      ["--version"] = "", help = "", topology = "", cni = '{"cniVersion":"1.0.0"}', repl = "return 1",
    } do
      local text, status = namespaces.shell(("echo '%s' | CNI_COMMAND=%s BULKHEAD_STATE=/nowhere '%s' %s >&-")
        :format(input, words == "cni" and "VERSION" or "", cli.program(), words))
      assert.equal("bulkhead: the answer cannot be written: Bad file descriptor\n", text, words)
      assert.equal(1, status, words)
    end
  end)

  it("writes nothing of its own into what it opens where streams are closed", function()
    local name, other = script "", os.tmpname()
    local file <close> = assert(io.open(name, "w"))
    file:write(([[local open = {}; for i = 1, 3 do open[i] = io.open(%q, "w") end
      print "out"; io.stdout:flush(); io.stderr:write "err"]]):format(other))
    file:close()
    local _, status = namespaces.shell(("'%s' run '%s' <&- >&- 2>&-"):format(cli.program(), name))
    local read <close> = assert(io.open(other))
    assert.equal("", read:read "a")
    assert.equal(1, status) -- what it printed is nowhere
    os.remove(name)
    os.remove(other)
  end)

  it("refuses a path from a directory that is gone", function()
    for words, status in pairs {
      ["container create x --policies ../p"] = 2, ["policy check p"] = 2, ["policy check /nonexistent"] = 2,
      endpoints = 0,
    } do
      local text, code = namespaces.shell(("D=$(mktemp -d) && cd $D && rmdir $D && BULKHEAD_STATE=/nowhere '%s' %s")
        :format(cli.program(), words))
      assert.equal(status, code, text)
      if words:find " %.?%.?/?p$" then
        assert.matches("^bulkhead: the working directory is gone: give '[^']*p' from / on\n$", text)
      end
    end
  end)

  it("refuses what is no command", function()
    refused(2, {}, nil, "bulkhead help")
    refused(2, { "frobnicate" }, nil, "bulkhead help")
    refused(2, { "--frobnicate" }, nil, "bulkhead help")
    refused(2, { "\27[2J" })
    refused(2, { "help", "frobnicate" })
    refused(2, { "network" })
    refused(2, { "network", "frobnicate" })
    refused(2, { "compartments", "--frobnicate" })
    refused(2, { "topology", "--dot", "--svg" })
    refused(2, { "reset", "everything" })
    refused(2, { "--version", "extra" })
    refused(2, { "policy" }, nil, "a verb is missing: check, test, diff, reload or learn")
    refused(2, { "explain" }, nil, "missing argument 'WHO|PACKET'")
    refused(2, { "policy", "diff" }, nil, "missing argument 'A|B|WHO'")
    refused(2, { "container", "create", "x", "--type", "process", "--type", "hyperv" }, nil, "'%-%-type' must be used")
    refused(1, { "run", "/nonexistent.lua" }, nil, "/nonexistent.lua: No such file")
    refused(1, { "run", "/" }, nil, "/: Is a directory")
  end)

  it("refuses arguments that do not parse", function()
    local net = { "network", "create" }
    local function network(...)
      refused(2, table.move({ ... }, 1, select("#", ...), 3, { table.unpack(net) }))
    end
    network()
    network("lan", "--driver", "nat")
    network("lan", "--subnet", "10.0.0.0/24")
    network("lan", "--driver", "bridge", "--subnet", "10.0.0.0/24")
    network("-lan", "--driver", "nat", "--subnet", "10.0.0.0/24")
    network("la/n", "--driver", "nat", "--subnet", "10.0.0.0/24")
    network(("x"):rep(64), "--driver", "nat", "--subnet", "10.0.0.0/24")
    network("lan", "--driver", "nat", "--subnet", "10.0.0.0/33")
    network("lan", "--driver", "nat", "--subnet", "10.0.0.1/24")
    network("lan", "--driver", "nat", "--subnet", "10.0.0.0")
    network("lan", "--driver", "nat", "--subnet", "10.0.0.0/24", "--gateway", "x")
    network("lan", "--driver", "nat", "--subnet", "10.0.0.0/24", "--mtu", "67")
    network("lan", "--driver", "nat", "--subnet", "10.0.0.0/24", "--mtu", "many")
    network("lan", "--driver", "nat", "--subnet", "10.0.0.0/024")
    for option, many in pairs {
      ["--subnet"] = { 9, "10.0.0.0/24", "9 subnets are too many: a network has at most 8" },
      ["--gateway"] = { 9, "10.0.0.1", "9 gateways are too many" },
      ["--dns"] = { 17, "10.0.0.1", "17 name servers are too many: a network has at most 16" },
      ["--reach"] = { 65, "back", "65 networks to reach are too many" },
    } do
      refused(2, repeated({ "network", "create", "lan", "--driver", "nat", "--subnet", "10.0.0.0/24" },
        option == "--subnet" and many[1] - 1 or many[1], option, many[2]), nil, many[3])
    end
    refused(2, repeated({ "explain", PACKET }, 9, "--address", "172.16.0.2"), nil, "at most 8")
    refused(2, repeated({ "policy", "diff", "policies/default", "policies/strict" }, 9, "--address", "172.16.0.2"),
      nil, "at most 8")
    for _, words in ipairs {
      {}, { "a b" }, { ("x"):rep(256) }, { "web", "--type", "vm" }, { "web", "--network", "a b" },
      { "web", "--address", "1.2.3" }, { "web", "--publish", "90-80:90-80" }, { "web", "--publish", "80:80/icmp" },
      { "web", "--publish", "80:80", "--publish", "80:81" }, { "web", "--policy", "../x" },
      { "web", "--netns", "" }, { "web", "--field", "x" }, { "web", "--address", "172.16.0.2/016" },
      repeated({ "web" }, 9, "--address", "172.16.0.2"),
    } do
      refused(2, table.move(words, 1, #words, 3, { "container", "create" }))
    end
    refused(2, { "compartments", "x" })
    refused(2, { "compartments", "1.5" })
    refused(2, { "compartments", "-1" })
    refused(2, { "rules", "a b" })
  end)
end)

describe("hook", function()
  it("does nothing where there is nothing to do", function()
    for _, event in ipairs { "createContainer", "startContainer" } do
      assert.same({ 0, "", "" }, { cli.run({ "hook", event }, "{}") })
    end
  end)

  it("refuses bad input of every kind", function()
    refused(2, { "hook" })
    refused(2, { "hook", "prestart" }, "{}", "createRuntime")
    for _, event in ipairs { "createRuntime", "poststart", "poststop" } do
      for _, text in ipairs {
        "", "{", '{"id":"web"', "[]", "null", '"x"', "{}", '{"id":1}', '{"id":"a/b"}', '{"id":"web","pid":"1"}',
        '{"id":"' .. ("x"):rep(256) .. '"}', '{"id":"web","pid":1,"annotations":{"bulkhead.type":1}}',
        '{"id":"web","pid":1,"annotations":[1]}', "\0\1\2", ("["):rep(100000), ('{"id":'):rep(100000),
        '{"id":"web"}' .. (" "):rep(10 << 20), '{"id":"' .. ("x"):rep(10 << 20) .. '"}',
      } do
        refused(2, { "hook", event }, text)
      end
    end
    for _, annotation in ipairs {
      '"bulkhead.type":"vm"', '"bulkhead.network":"a b"', '"bulkhead.publish":"80"',
      '"bulkhead.publish":"2-1:2-1"', '"bulkhead.policy":"../../etc/passwd"', '"bulkhead.address":"x"',
    } do
      refused(2, { "hook", "createRuntime" }, ('{"id":"web","pid":1,"annotations":{%s}}'):format(annotation),
        "annotation bulkhead%.")
    end
    refused(2, { "hook", "createRuntime" }, '{"id":"web"}', "no pid")
  end)
end)

describe("explain", function()
  it("answers about an imagined container, whatever the verdict", function()
    local status, out, err = cli.run { "explain", "--json", "--type", "process", PACKET }
    assert.equal(0, status, err)
    local answer = assert(json.decode(out))
    assert.equal("block", answer.verdict)
    assert.equal("default", answer.by)
    assert.equal("policies/default/container/process.lua:7", answer.origin)
    assert.equal(json.null, answer.rule)
    status, out = cli.run { "--json", "explain", "--publish", "8080:80", PACKET, "out udp 172.16.0.2:9 -> 1.1.1.1:53" }
    assert.equal(0, status)
    local answers = assert(json.decode(out))
    assert.equal(2, #answers)
    assert.equal("published 8080", answers[1].rule)
    assert.is_true(answers[1].delivered)
    assert.matches('^%[{"verdict":"allow","by":"rule","rule":', out)
  end)

  it("fits 80 columns and has no colour in a file", function()
    local _, out = cli.run { "explain", "--network", "overlay", "--type", "hyperv", PACKET,
      "in icmp6[8:0] fe80::1 -> fd00::2" }
    for line in out:gmatch "[^\n]+" do
      assert.is_true(utf8.len(line) <= 80, line)
    end
    assert.is_nil(out:find "\27")
  end)

  it("refuses what does not parse", function()
    for _, words in ipairs {
      {}, { "web" }, { "in" }, { "in tcp" }, { "inn tcp 1.1.1.1:1 -> 2.2.2.2:2" },
      { "in frob 1.1.1.1:1 -> 2.2.2.2:2" },
      { "in tcp 1.1.1.1:1 2.2.2.2:2" }, { "in tcp 1.1.1.1:1 -> 2.2.2.2:70000" }, { "in tcp 1.1.1.1 -> 2.2.2.2" },
      { "in tcp 1.1.1.1:1 -> [fd00::1]:2" }, { "in tcp[QQ] 1.1.1.1:1 -> 2.2.2.2:2" },
      { "in icmp[999:0] 1.1.1.1 -> 2.2.2.2" },
      { "in 300 1.1.1.1 -> 2.2.2.2" }, { PACKET, "nonsense" }, { "web", "--type", "process", PACKET },
      { "--type", "vm", PACKET }, { "--address", "x", PACKET }, { "--publish", "x", PACKET },
      { "--network", "a b", PACKET },
    } do
      refused(2, table.move(words, 1, #words, 2, { "explain" }))
    end
    refused(1, { "explain", "nosuch", PACKET })
    refused(1, { "explain", "--network", "nosuch", PACKET })
    refused(1, { "compartments", "7" })
    refused(1, { "explain", "--policies", "/nonexistent", PACKET })
    refused(1, { "explain", "--policy", "nosuch", PACKET })
  end)
end)

describe("--json", function()
  it("is one document, whatever prints", function()
    for _, words in ipairs {
      { "compartments" }, { "endpoints" }, { "rules" }, { "flows" }, { "topology" }, { "network", "list" }, { "drops" },
      { "metrics" }, { "metrics", "--rules" }, { "reconcile" }, { "policy", "reload", "--dry-run" },
      { "policy", "check", "policies/default" }, { "policy", "diff", "policies/default", "policies/strict" },
      { "explain", PACKET }, { "replay", "tests/support/sample.pcap" },
      { "replay", "tests/support/sample.pcap", "--packets" },
    } do
      local status, out, err = cli.run(table.move(words, 1, #words, 1, { [#words + 1] = "--json" }))
      assert.same({ 0, "" }, { status, err }, table.concat(words, " "))
      assert.is_table(json.decode(out), table.concat(words, " "))
      assert.equal(#out, out:find "\n")
    end
  end)

  it("refuses to be a drawing too", function()
    for _, kind in ipairs { "--dot", "--svg" } do
      refused(2, { "topology", kind, "--json" }, nil, "do not go together")
    end
  end)
end)

describe("a policy set", function()
  it("that is no directory is an argument that does not parse, wherever one is named", function()
    for _, verb in ipairs { "check", "test", "diff", "reload" } do
      refused(2, { "policy", verb, "/nonexistent" }, nil, "'/nonexistent' is not a directory")
    end
  end)
end)

describe("run", function()
  it("gives the script its arguments and takes its status", function()
    local name = script [[
local a, b = ...
print(a, b, #arg, arg[0] ~= nil, require("session").platform)
return 7]]
    local status, out = cli.run { "run", name, "--json", "-x" }
    assert.equal(7, status)
    assert.equal("--json\t-x\t2\ttrue\tmemory\n", out)
    assert.matches("linux\n$", select(2, cli.run { "run", "--linux", name }))
    assert.matches("^%-%-linux.*linux\n$", select(2, cli.run { "run", name, "--linux" }))
    os.remove(name)
  end)

  it("refuses scripts that fail, are none, or are not there", function()
    local name = script "error('boom')"
    refused(1, { "run", name }, nil, "boom")
    os.remove(name)
    name = script "if then"
    refused(2, { "run", name })
    os.remove(name)
    refused(1, { "run", name })
    refused(2, { "run" })
    refused(2, { "run", "--frob", name })
  end)
end)

describe("the program", function()
  it("needs no more memory than it uses, though it takes a large page where it may", function()
    local function run(kilobytes)
      return namespaces.shell(("ulimit -d %d; '%s' help"):format(kilobytes, cli.program()))
    end
    if select(2, run(32000)) ~= 0 then
      pending "sanitizers take more than may be given"
    end
    for kilobytes = 2000, 4500, 250 do
      local text, status = run(kilobytes)
      assert.equal(0, status, ("%d KB: %s"):format(kilobytes, text))
    end
  end)
end)

describe("the REPL", function()
  it("works without a terminal", function()
    local status, out = cli.run({ "repl" }, "return #containers()")
    assert.equal(0, status)
    assert.equal("0\n", out)
    status, out = cli.run({ "repl" }, "x = {\n1,\n2 }\n#x\nhelp('host:rules')\n")
    assert.equal(0, status)
    assert.matches("^2\nhost:rules%(endpoint, uncounted%)\n", out)
    local err
    status, out, err = cli.run({ "repl" }, "error('boom')\n1 + 1\n")
    assert.equal(1, status)
    assert.equal("2\n", out)
    assert.matches("^bulkhead: [^\n]*boom\n$", err)
  end)
end)

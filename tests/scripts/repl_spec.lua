--- repl_spec.lua - sessions: piped, and typed at a terminal.
local bulkhead = require "bulkhead"
local cli = require "tests.support.cli"
local completion = require "completion"
local console = require "bulkhead.console"
local folders = require "tests.support.folders"
local lfs = require "lfs"
local lifecycle = require "lifecycle"
local sets = require "tests.support.sets"
local stubs = require "stubs"
local terminal = require "tests.support.terminal"
local workbench = require "workbench"

--- A first script: two containers, `web` with a published port.
local CONTAINERS = [[
local lifecycle, validate = require "lifecycle", require "validate"
for _, name in ipairs { "web", "db" } do
  assert(lifecycle.create(host, { id = name, type = "process", policies = require("session").policies(),
    published = name == "web" and assert(validate.published { "8080:80/tcp" }) or {} }))
end
]]

local first

setup(function()
  first = os.tmpname()
  local file <close> = assert(io.open(first, "w"))
  file:write(CONTAINERS)
end)

teardown(function()
  os.remove(first)
  sets.clear()
end)

--- What a session with two containers prints for the lines.
local function prints(expected, ...)
  local status, out, err = cli.run({ "repl", first }, table.concat({ ... }, "\n") .. "\n")
  assert.same({ 0, "" }, { status, err })
  assert.equal(expected, out)
end

local function fails(pattern, ...)
  local status, out, err = cli.run({ "repl", first }, table.concat({ ... }, "\n") .. "\n")
  assert.same({ 1, "" }, { status, out })
  assert.matches(pattern, err)
end

describe("a piped session", function()
  it("prints values and nothing else", function()
    prints("2\n", "return #containers")
    prints("2\n2\n", "#containers", "#containers()")
    prints("web\ndb\n", "containers[1].name, containers.db.id")
    prints("", "x = 1", "", "local y = 2", "nil")
    prints("2\n", "t = {", "1,", "2 }", "#t")
  end)

  it("fails where anything failed, and goes on", function()
    local status, out, err = cli.run({ "repl" }, "error('boom')\n1 + 1\n")
    assert.same({ 1, "2\n" }, { status, out })
    assert.matches("^bulkhead: [^\n]*boom\n$", err)
    assert.equal(1, (cli.run({ "repl" }, "x = {\n")))
    assert.equal(1, (cli.run({ "repl" }, "return return\n")))
    status, out, err = cli.run({ "repl" }, "error(setmetatable({}, { __tostring = function() error 'no' end }))\n")
    assert.same({ 1, "", "bulkhead: an error whose text cannot be made\n" }, { status, out, err })
    status, out, err = cli.run({ "repl" }, "error { a = 1, b = { 'x' } }\nerror(setmetatable({}, { __tostring = "
      .. "function() return 'said' end }))\nerror()\n")
    assert.same({ 1, "", 'bulkhead: { a = 1, b = { "x" } }\nbulkhead: said\nbulkhead: nil\n' }, { status, out, err })
  end)

  it("prints lists of records as tables that fit, and says what did not", function()
    local status, out = cli.run({ "repl", first }, "endpoints()\nrules 'web'\ncontainers\n")
    assert.equal(0, status)
    for line in out:gmatch "[^\n]+" do
      assert.is_true(utf8.len(line) <= 80, line)
    end
    assert.matches("^id  container  compartment  network", out)
    assert.matches("\n 7  allow   inbound    published 8080  tcp       80 ", out)
    assert.matches("\nalso: addresses, gateways,", out)
  end)

  it("refuses arguments that make no sense", function()
    local status, _, err = cli.run { "repl", "--write" }
    assert.equal(2, status)
    assert.matches("^bulkhead: %-%-write is for the live host", err)
    assert.equal(1, (cli.run { "repl", "/nonexistent" }))
  end)
end)

describe("the words of a session", function()
  it("explain with and without a container, and imagine one", function()
    prints([[
block: in tcp 172.16.0.3:51000 -> 172.16.0.2:81
  by default policies/default/container/process.lua:7
  gate out db -> switch nat -> gate in web [blocked: default]
  so far: in 0 packets, 0 bytes; out 0 packets, 0 bytes
]], 'explain "in tcp 172.16.0.3:51000 -> 172.16.0.2:81"')
    prints("allow\npublished 8080\n", 'a = explain("web", "in tcp 172.16.0.3:51000 -> 172.16.0.2:80")',
      "a.verdict, a.rule")
    prints("flow\n", 'explain("out udp 172.16.0.2:40000 -> 10.0.0.53:53", "in udp 10.0.0.53:53 -> 172.16.0.2:40000")'
      .. "[2].by")
    prints("block\n", 'explain("in tcp 10.0.0.9:51000 -> 10.1.0.2:80").verdict')
    fails("there is no container 'nosuch'", 'explain("nosuch", "in tcp 10.0.0.9:51000 -> 10.1.0.2:80")')
    fails("a packet is missing", "explain()")
    fails("a packet is missing", 'explain "web"')
  end)

  it("find rules and flows by whom they are asked about", function()
    prints("7\n7\n6\n13\n0\n", "#rules 'web'", "#rules(1)", "#rules(endpoints('db')[1])", "#rules()", "#flows 'db'")
    fails("there is no endpoint 9", "rules(9)")
    fails("there is no container 'x'", "flows 'x'")
  end)

  it("add rules and tell the delta as a policy", function()
    assert.same({ 0, "", "" }, { cli.run({ "repl" }, "delta()\n") })
    prints([[
true
-- network 'nat' was made: bulkhead network create nat --driver nat --subnet 172.16.0.0/16
-- container 'db' was made: bulkhead container create db --type process --network nat --address 172.16.0.3/16
-- container 'web' was made: bulkhead container create web --type process --network nat --address 172.16.0.2/16]]
      .. [[ --publish 8080:80/tcp
-- container 'web', endpoint 1 on nat:
block.inbound { protocol = "tcp", local_port = { 22, "80-81" }, remote = "10.0.0.0/8", name = "a \"b\"", audit = true },
block
]], 'add("web", block.inbound { protocol = "tcp", local_port = { 22, "80-81" }, '
      .. 'remote = "10.0.0.0/8", name = "a \\"b\\"", audit = true, priority = 1000 })', "delta()",
      'explain("in tcp 10.0.0.9:51000 -> 172.16.0.2:22").matched[1].action')
    fails("rule has no field 'porto' %(it may have: protocol,", "allow.inbound { porto = 1 }")
    fails("local_port '99999' is not a port", "allow.inbound { protocol = 'tcp', local_port = 99999 }")
    fails("a rule is missing", "add 'web'")
  end)

  it("tell a delta that is a policy again", function()
    local _, out = cli.run({ "repl", first }, 'add("db", block.outbound { protocol = 17, remote = { "10.0.0.0/8", '
      .. '"!10.1.0.0/16" }, remote_port = "1-9" }, allow.inbound { icmp = "8:0", protocol = "icmp" })\ndelta()\n')
    local text = out:gsub("^true\n", "", 1)
    local loaded = assert(sets.load('return { default = { inbound = "block", outbound = "allow" }, rules = {\n'
      .. text .. "} }\n"))
    local rules = loaded:rules()
    assert.equal(2, #rules)
    assert.equal("10.0.0.0/8,!10.1.0.0/16", rules[1].remote)
    assert.equal("8:0", rules[2].icmp)
  end)

  it("try another set, or a file, on a copy", function()
    prints("the same\n", "t = try()", "t:changes()")
    prints("6\nallowed\nblocked\ntrue\nfalse\n", 't = try "policies/strict"', "#t:changes()",
      'explain("in icmp[8:0] 172.16.0.3 -> 172.16.0.2").verdict .. "ed"',
      't:explain("in icmp[8:0] 172.16.0.3 -> 172.16.0.2").verdict .. "ed"',
      't:send "in tcp 172.16.0.3:40000 -> 172.16.0.2:80"', 't:send "in icmp[8:0] 172.16.0.3 -> 172.16.0.2"')
    local path = sets.make { ["w.lua"] = 'return {\n  default = { inbound = "allow", outbound = "block" },\n}\n' }
      .. "/w.lua"
    prints(("block\n%s:2\nallow\n0\n"):format(path), ("t = try(%q, 'web')"):format(path),
      'a = t:explain "out tcp 172.16.0.2:1 -> 10.0.0.9:2"', "a.verdict, a.origin",
      't:explain("out tcp 172.16.0.3:1 -> 10.0.0.9:2").verdict', "#host:flows()")
    fails("there is no policy set and no file", "try '/nonexistent'")
    fails("try takes the path of a policy set or of a policy's file, not a number", "try(1)")
    path = sets.make { ["w.lua"] = "return 1" } .. "/w.lua"
    fails("w.lua:1: ", ("try %q"):format(path))
    fails("the trial is closed", "t = try()", "t:close()", "t:rules 'web'")
  end)

  it("leave nothing behind", function()
    local before = {}
    for name in lfs.dir "/tmp" do
      before[name] = true
    end
    local path = sets.make { ["w.lua"] = 'return { default = { inbound = "allow", outbound = "block" } }' } .. "/w.lua"
    prints("2\n", ("t = try(%q)"):format(path), "#t.containers")
    local made = path:match "^/tmp/([^/]+)"
    for name in lfs.dir "/tmp" do
      assert.truthy(before[name] or name == made or not lfs.attributes("/tmp/" .. name .. "/container"), name)
    end
  end)

  it("tour, in steps that all run", function()
    local status, out, err = cli.run({ "repl" }, "tutorial()\n")
    assert.same({ 0, "" }, { status, err })
    assert.matches("^1 of 9\n", out)
    assert.matches("\n9 of 9\n", out)
    assert.matches("\nblock: in tcp 172%.16%.0%.3:51000 %-> 172%.16%.0%.2:80\n", out)
  end)

  it("watch for as long as they are told", function()
    prints("true\n", "watch(nil, 0)", "watch('web', 0)", "true")
  end)

  it("are documented, and what is documented is there", function()
    local host <close> = assert(bulkhead.open())
    local env = workbench.new(host, true)
    local class = stubs.load().classes["bulkhead.repl"]
    local words = { bulkhead = true, filter = true, policy = true, prove = true, replay = true }
    for key in pairs(class.methods) do
      assert.is_function(env[key], key)
      words[key] = true
    end
    for _, field in ipairs(class.fields) do
      assert.truthy(env[field.name], field.name)
      words[field.name] = true
    end
    for key in pairs(env) do
      assert.is_true(words[key], key .. " is not documented")
    end
    local trial = env["try"]()
    for key in pairs(stubs.load().classes.trial.methods) do
      assert.is_function(trial[key], key)
    end
    trial:close()
  end)

  it("help about names, functions and objects", function()
    local _, out = cli.run({ "repl" }, "help 'host:rules'\nhelp(filter.gate)\nhelp(host)\nhelp(watch)\nhelp(1)\n"
      .. "help(prove)\nhelp 'endpoint.mac'\nhelp()\n")
    for _, name in ipairs { "host.rules", "host.begin", "filter.gate({}).judge", "try().explain", "containers" } do
      local _, shown = cli.run({ "repl" }, ("help(%s)\n"):format(name))
      assert.matches("^%a+:" .. name:match "%a+$" .. "%(", shown)
    end
    for _, text in ipairs { "host:rules(endpoint, uncounted)\n  The rules", "filter.gate(spec)\n  A gate", "host\n  A host that was",
      "watch(who, seconds)\n  Shows what", "nothing is known of this", "bulkhead.prove\n  Proofs:",
      "endpoint.mac string\n" } do
      assert.truthy(out:find(text, 1, true), text)
    end
    assert.matches("tutorial%(%) shows around", out)
  end)
end)

describe("a session that only reads", function()
  it("says so at everything that changes, and shows all the rest", function()
    local host <close> = assert(bulkhead.open())
    assert(lifecycle.create(host, { id = "web", type = "process", policies = "policies/default" }))
    local env = workbench.new(host, false)
    local sentence = "this session only reads the host; `bulkhead repl --linux --write` may change it"
    for _, method in ipairs { "begin", "commit", "abort", "add_network", "remove_network", "add_container",
      "remove_container", "add_endpoint", "remove_endpoint", "add_rules", "change_endpoint", "set_phase",
      "set_policies", "reset", "forget_lost" } do
      assert.has_error(function() env.host[method](env.host) end, sentence)
    end
    assert.has_error(function() env.add("web", env.block.inbound { protocol = "tcp" }) end, sentence)
    assert.has_error(function() env.bulkhead.open { platform = "linux", write = true } end, sentence)
    assert.equal(1, #env.containers)
    assert.equal(6, #env.rules "web")
    assert.equal("host (memory), to be read", tostring(env.host))
    assert.has_error(function() env.host.rules(1) end, "methods are called with a colon: host:rules(…)")
    -- What a copy does is its own affair.
    local trial = env["try"]()
    assert.is_true(trial.host:begin())
    trial.host:abort()
    trial:close()
  end)

  it("has every method of a host: what is not a list of those that change, reads", function()
    local changing = {}
    for name in ("begin commit abort add_network remove_network add_container remove_container add_endpoint "
      .. "remove_endpoint add_rules change_endpoint set_phase set_policies reset forget_lost"):gmatch "[%w_]+" do
      changing[name] = true
    end
    local reading = {}
    for name in ("close platform networks compartments containers container endpoints counters rules flows drops "
      .. "flows_used gate check_endpoint check_network check_container visit lost snapshot"):gmatch "[%w_]+" do
      reading[name] = true
    end
    for name in pairs(stubs.load().classes.host.methods) do
      assert.truthy(changing[name] or reading[name], name .. ": does it change the host? say so in guarded.lua")
    end
  end)
end)

describe("completion", function()
  local api, env = stubs.load(), { alpha = 1, x = { alpha = 1, beta = { gamma = 2 } }, ["if not"] = 1 }
  local function names(what)
    return what == "containers" and { "web", "db-1" } or { "nat" }
  end
  for _, case in ipairs {
    { "host:ru", "rules" }, { "return #cont", "contains? containers" }, { "host:remove_", "remove_container "
      .. "remove_endpoint remove_network" },
    { "containers.", "web" }, { "containers[1].na", "name" }, { "containers.web.st", "status" },
    { "x.", "alpha beta" }, { "x.beta.", "gamma" }, { "x.b", "beta" }, { "filter.pa", "packet" },
    { "filter.gate{}:ju", "" }, { "filter.gate():ju", "judge judge_frame" },
    { "host:containers()[1].pol", "policies policy" }, { 'host:container("w', "web" }, { "host:container('web').ty", "type" },
    { "try('a'):se", "send" }, { "try 'a':", "changes close explain rules send" }, { "1 + prove.pe", "permits" },
    { "string.fo", "format" }, { "whil", "while" }, { "nothing.foo.b", "" }, { "x..al", "allow alpha" }, { "", "" },
    { 'explain("x", "', "db-1 nat web" }, { "host:gate(1):adv", "advance" }, { "host.ru", "" },
  } do
    it(("of %q"):format(case[1]), function()
      local expected = case[2]:gsub("contains%? ", "")
      assert.equal(expected, table.concat((completion.of(api, env, case[1], names)), " "))
    end)
  end

  it("calls nothing of the user's", function()
    local trap = setmetatable({}, { __index = function() error "called" end, __pairs = function() error "called" end })
    assert.same({}, (completion.of(api, { trap = trap }, "trap.", names)))
    assert.same({}, (completion.of(api, { trap = trap }, "trap.a.b", names)))
  end)
end)

describe("console", function()
  it("guards a call like pcall where nobody presses Ctrl-C", function()
    assert.same({ true, 1, nil, 3 }, { console.guard(function(...) return ... end, 1, nil, 3) })
    local ok, err, interrupted = console.guard(error, "x", 0)
    assert.same({ false, "x", false }, { ok, err, interrupted })
    assert.has_error(function() console.guard(1) end)
    assert.is_nil(debug.gethook())
  end)

  it("says what is no terminal", function()
    assert.is_false(console.is_terminal(99))
  end)
end)

describe("at a terminal", function()
  local home

  before_each(function()
    home = folders.make()
  end)

  after_each(folders.clear)

  local function session(script, options)
    options = options or {}
    options.home = home
    local status, shown = terminal.run({ "repl", first }, script .. "expect > \nsend \\x04\nend\n", options)
    assert.equal(0, status, shown)
    return shown
  end

  --- Ctrl-C once the chunk says that it runs; then the session goes on.
  local function interrupted(chunk)
    return ("expect > \nsend print('g'..'o') %s\\n\nexpect go\nsend \\x03\nexpect interrupted\n"
      .. "expect > \nsend 40 + 2\\n\nexpect 42\n"):format(chunk)
  end

  it("Ctrl-C ends what runs, however it runs, and not the session", function()
    for _, chunk in ipairs {
      "while true do end", "while true do pcall(error) end", "coroutine.wrap(function() while true do end end)()",
      "local function f() return pcall(f) or f() end f()",
      "while true do coroutine.wrap(function() pcall(function() while true do end end) end)() end",
      "watch()", "bulkhead.wait(1000)", "while true do bulkhead.wait(1000) end",
      "setmetatable({}, { __index = function() while true do end end }).x()",
      "return setmetatable({}, { __tostring = function() while true do end end })",
    } do
      session(interrupted(chunk))
    end
  end)

  it("Ctrl-C lets what runs clean up, and gives up an open change", function()
    session(interrupted "assert(host:begin()) while true do end"
      .. "expect > \nsend host:begin()\\n\nexpect true\nexpect > \nsend host:abort()\\n\n")
    session(interrupted "local ok, e = pcall(function() while true do end end) closed = 'cl' .. 'osed' error(e, 0)"
      .. "expect > \nsend closed\\n\nexpect closed\n")
  end)

  it("Ctrl-C gives up a line that is being typed, and a chunk of several lines", function()
    local shown = session "expect > \nsend error('never')\nexpect never\nsend \\x03\nexpect > \nsend x = {\\n\n"
      .. "" .. ""
    assert.is_nil(shown:find "input:1")
  end)

  it("Ctrl-C leaves the terminal to the next line, however often", function()
    local shown = session(("expect > \nsend error('never')\nexpect never\nsend \\x03\n"):rep(20)
      .. "expect > \nsend 40 + 2\\n\nexpect 42\n")
    local _, times = shown:gsub("%^C", "")
    assert.equal(20, times)
    assert.is_nil(shown:find "input:1")
  end)

  it("completes names, and what was typed comes back as history, in a later session too", function()
    session "expect > \nsend host:pla\\t()\\n\nexpect memory\n"
    assert.is_table(lfs.attributes(home .. "/.bulkhead_history"))
    session "expect > \nsend \\x1b[A\nexpect host:platform()\nsend \\n\nexpect memory\n"
  end)

  it("tables fit its width", function()
    for _, columns in ipairs { 40, 60, 120 } do
      local shown = session("expect > \nsend endpoints()\\n\nexpect also:\n", { columns = columns, term = "dumb" })
      for line in shown:gmatch "[^\n]+" do
        assert.is_true(utf8.len(line) <= columns, line)
      end
      assert.matches("\nid  container", shown)
    end
  end)

  it("works as well without readline", function()
    session(interrupted "while true do end", { term = "dumb" })
    session("expect > \nsend abc\nexpect abc\nsend \\x03\nexpect > \nsend 40 + 2\\n\nexpect 42\n", { term = "dumb" })
  end)

  it("the tour goes on with Enter and ends with q", function()
    local shown = session "expect > \nsend tutorial()\\n\nexpect q ends:\nsend \\n\nexpect 2 of 9\nexpect q ends:\nsend q\\n\n"
    assert.is_nil(shown:find "3 of 9")
  end)
end)

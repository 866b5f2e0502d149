--- What bulkhead.policy loads, what it answers, and what it says about mistakes.
local policy = require "bulkhead.policy"
local sets = dofile "tests/support/sets.lua"

local load, body, field = sets.load, sets.body, sets.field

describe("policy", function()
  after_each(sets.clear)

  it("answers what the files say", function()
    local p = assert(load([[
local common = require "common"
return {
  default = {
    inbound = "block",
    outbound = "allow",
  },
  antispoof = false, router = true, direct = false, flows = 2000,
  timeouts = { syn = 5, udp = 7 },
  reach = { "back", "front" },
  rules = {
    common.rules,
    block.outbound {
      remote = { "10.0.0.0/8", "!10.1.0.0/16" }, protocol = 6, remote_port = { 80, "8000-8099" },
      priority = 10, name = "no", log = true, audit = true,
    },
  },
}]], {
      ["common.lua"] = 'return { rules = {\n allow.inbound { protocol = "icmp", icmp = { 8, "3:4" } } } }',
      ["network/nat.lua"] = [[
return {
  default = { outbound = "block" },
  timeouts = { udp = 9 },
  dhcp_server = true,
  rules = { allow.outbound {} },
}]],
    }, { driver = "nat" }))
    local dir = tostring(p):match "%((.-):"
    assert.same({
      inbound = { action = "block", origin = dir .. "/container/p.lua:3" },
      outbound = { action = "block", origin = dir .. "/network/nat.lua:2" },
    }, p:default())
    assert.same({
      antispoof = false, router = true, dhcp_server = true, audit = false, direct = false, flows = 2000,
      timeouts = { syn = 5, udp = 9 }, reach = { "back", "front" },
    }, p:options())
    assert.same({
      { action = "allow", direction = "inbound", protocol = "icmp", icmp = "8,3:4",
        priority = 1000, log = false, audit = false, origin = dir .. "/common.lua:2" },
      { action = "block", direction = "outbound", protocol = "tcp", remote = "10.0.0.0/8,!10.1.0.0/16",
        remote_port = "80,8000-8099", priority = 10, name = "no", log = true, audit = true,
        origin = dir .. "/container/p.lua:12" },
      { action = "allow", direction = "outbound", priority = 1000, log = false, audit = false,
        origin = dir .. "/network/nat.lua:5" },
    }, p:rules())
    local names = {}
    for _, file in ipairs(p:files()) do
      names[#names + 1] = file.name
      assert.equal(dir .. "/" .. file.name, file.path)
      assert.equal(32, #file.hash)
      assert.is_string(file.text)
    end
    assert.same({ "container/p.lua", "common.lua", "network/nat.lua" }, names)
  end)

  it("has defaults for what is not said", function()
    local p = assert(load(body "", nil, { driver = "nat" }))
    assert.same({ antispoof = true, router = false, dhcp_server = false, audit = false, direct = true, timeouts = {}, reach = {} },
      p:options())
    assert.same({}, p:rules())
    assert.is_false(p:handles "attach")
    assert.same({}, p:run("attach", {}, {}))
  end)

  it("hashes content, not place or order", function()
    local a, b, c = assert(load(body "")), assert(load(body "")), assert(load(body "-- "))
    assert.matches("^%x+$", a:hash())
    assert.equal(a:hash(), b:hash())
    assert.not_equal(a:hash(), c:hash())
  end)

  it("closes", function()
    local p = assert(load(body ""))
    p:close()
    p:close()
    assert.matches("closed", tostring(p))
    assert.error_matches(function() p:rules() end, "the policy is closed")
    do
      local q <close> = assert(load(body ""))
      p = q
    end
    assert.matches("closed", tostring(p))
  end)

  it("raises at mistakes of the caller", function()
    assert.error_matches(function() policy.load {} end, "dir must be a string")
    assert.error_matches(function() policy.load { dir = "x", type = 1 } end, "type must be a string")
    assert.error_matches(function() policy.load { dir = "x", typ = "p" } end, "policy.load takes dir")
    assert.error_matches(function() policy.load { dir = "x", type = "p", memory = 0 } end, "memory")
    local p = assert(load(body ""))
    assert.error_matches(function() p:run("atach", {}) end, "there is no event 'atach'")
    assert.error_matches(function() p:handles "x" end, "there are: create, attach, start, stop")
    assert.error_matches(function() p:run("attach", 1) end, "container expected")
  end)

  describe("finds the line of default", function()
    for text, line in pairs {
      ['return {\n\n  default = { inbound = "block", outbound = "block" } }'] = 3,
      ['local x = { default = 1 }\nreturn {\n rules = {}, default =\n{ inbound = "block", outbound = "block" } }'] = 3,
      ['local t = {}\nt.default = { inbound = "block", outbound = "block" }\nreturn t'] = 2,
      ['-- default = 1\nlocal s = [==[\nreturn { default = 1 }]==]\nreturn { --[[ default = 2\n]] default = '
        .. '{ inbound = "block", outbound = "block" } }'] = 5,
      ['return { on = { attach = function()\n local x = { default = 1 }\n return x end },\n'
        .. 'default = { inbound = "block", outbound = "block" } }'] = 4,
      ['local k = "default"\nreturn { [k] = { inbound = "block", outbound = "block" } }'] = 2,
      ['local f = function() return { default = 1 } end\nlocal s = "\\"return {\\z\n" .. \'\\\'\'\n'
        .. 'return f and { default = { inbound = "block", outbound = "block" } }'] = 4,
    } do
      it("in " .. text, function()
        local p = assert(load(text))
        assert.equal(line, tonumber(p:default().inbound.origin:match ":(%d+)$"))
        assert.equal(p:default().inbound.origin, p:default().outbound.origin)
      end)
    end
  end)

  describe("says what is wrong:", function()
    local known = "(it may have: default, rules, on, antispoof, router, dhcp_server, audit, direct, flows, timeouts, reach)"
    local rule_fields = "(it may have: protocol, local, local_port, remote, remote_port, icmp, priority, "
      .. "name, log, audit)"
    for name, case in pairs {
      ["nothing returned"] = { "local x = 1", ":1: a policy must return a table, not nil" },
      ["a string returned"] = { "\nreturn 'x'", ":2: a policy must return a table, not a string" },
      ["syntax"] = { "return {\n default = = 1 }", ":2: unexpected symbol near '='", "EBADMSG" },
      ["unknown field"] = { field "rulez = {}", ":2: a policy has no field 'rulez' " .. known },
      ["field without a name"] = { field "1", ":1: a policy has no field 1 " .. known },
      ["no default"] = { "return {}", ":1: the policy says no default for inbound traffic "
        .. '(default = { inbound = "block", outbound = "allow" })' },
      ["half a default"] = { 'return {\n default = { inbound = "block" } }',
        ":2: the policy says no default for outbound traffic "
        .. '(default = { inbound = "block", outbound = "allow" })' },
      ["default no table"] = { 'return { default = "block" }',
        ":1: default must be a table { inbound = …, outbound = … }, not a string" },
      ["default of no direction"] = { 'return { default = { inbund = "block" } }',
        ":1: default has no field 'inbund' (it may have: inbound, outbound)" },
      ["default of no action"] = { 'return { default = { inbound = "deny", outbound = "allow" } }',
        ':1: default.inbound must be "allow" or "block"' },
      ["antispoof"] = { field "antispoof = 1", ":2: antispoof must be true or false, not a number" },
      ["router"] = { field "router = 'yes'", ":2: router must be true or false, not a string" },
      ["dhcp_server"] = { field "dhcp_server = {}", ":2: dhcp_server must be true or false, not a table" },
      ["flows"] = { field "flows = 0", ":2: flows must be an integer from 1 to 65536" },
      ["fractional flows"] = { field "flows = 1.5", ":2: flows must be an integer from 1 to 65536" },
      ["timeouts"] = { field "timeouts = 3",
        ":2: timeouts must be a table of seconds, { syn = 60 }, not a number" },
      ["unknown timeout"] = { field "timeouts = { tcp = 3 }", ":2: timeouts has no field 'tcp' (it may have: "
        .. "syn, established, closing, reset, udp, udp_answered, icmp, other)" },
      ["negative timeout"] = { field "timeouts = { udp = -3 }",
        ":2: timeouts.udp must be an integer from 1 to 2147483647" },
      ["reach"] = { field "reach = { 1 }", ":2: reach must be a list of names of networks" },
      ["much reach"] = { field("reach = { " .. ("'a', "):rep(65) .. "}"),
        ":2: reach names 65 networks; at most 64 are possible" },
      ["reach by name"] = { field "reach = { back = true }", ":2: reach must be a list of names of networks" },
      ["on"] = { field "on = print", ":2: on must be a table of handlers, { attach = function … }, not a function" },
      ["unknown event"] = { field "on = { atach = print }", ":2: on has no field 'atach' (it may have: "
        .. "create, attach, start, stop, detach, remove)" },
      ["handler no function"] = { field "on = { attach = 1 }", ":2: on.attach must be a function, not a number" },
      ["rules no list"] = { field "rules = 1",
        ":2: rules must be a list of rules made by allow or block, not a number" },
      ["rules of strings"] = { field "rules = { allow.inbound {}, { 'x' } }",
        ":2: rules[2][1] is a string; it must be a rule made by allow or block, or a list of them" },
      ["rules by name"] = { field "rules = { http = allow.inbound {} }",
        ":2: rules must be a list; it has the key 'http'" },
      ["rules with a gap"] = { field "rules = { allow.inbound {}, nil, allow.inbound {} }",
        ":2: rules must be a list without gaps" },
      ["rules in themselves"] = { "local t = {} t[1] = t " .. field "rules = t",
        ":2: rules[1][1][1][1][1][1][1][1][1][1][1][1][1][1][1][1] is nested too deep (at most 16 lists)" },
      ["unknown rule field"] = { field "rules = { allow.inbound { porto = 1 } }",
        ":2: rule has no field 'porto' " .. rule_fields },
      ["rule field by number"] = { field "rules = { allow.inbound { 'tcp' } }",
        ":2: rule has no field '1' " .. rule_fields },
      ["rule without table"] = { field "rules = { block.outbound 'tcp' }",
        ':2: block.outbound takes a table, as in block.outbound { protocol = "tcp", local_port = 80 }' },
      ["protocol"] = { field "rules = { allow.inbound { protocol = 'tpc' } }", ":2: protocol 'tpc' is not known "
        .. "(tcp, udp, icmp, icmp6, igmp, sctp, … or a number 0 to 255)" },
      ["list of protocols"] = { field "rules = { allow.inbound { protocol = { 'tcp', 'udp' } } }",
        ":2: protocol must be a name or an integer, not a table" },
      ["backwards port"] = { field "rules = { allow.inbound { protocol = 'tcp', local_port = '9-8' } }",
        ":2: local_port '9-8' is backwards; the lower port comes first" },
      ["fractional port"] = { field "rules = { allow.inbound { local_port = 80.5 } }",
        ":2: local_port must be a string, an integer, or a list of these, not 80.5" },
      ["fractional port in a list"] = { field "rules = { allow.inbound { local_port = { 1, 2.5 } } }",
        ":2: local_port must be a string or an integer, not 2.5" },
      ["empty list"] = { field "rules = { allow.inbound { remote = {} } }",
        ":2: remote is an empty list; leave it out to mean any" },
      ["keyed list"] = { field "rules = { allow.inbound { remote = { a = '10.0.0.1' } } }",
        ":2: remote must be a list; it has the key 'a'" },
      ["NUL in a value"] = { field "rules = { allow.inbound { remote = '10.0.0.1\\0,10.0.0.2' } }",
        ":2: remote has a NUL byte in it" },
      ["priority as text"] = { field "rules = { allow.inbound { priority = '5' } }",
        ":2: priority must be an integer from 0 to 65535, not a string" },
      ["fractional priority"] = { field "rules = { allow.inbound { priority = 5.5 } }",
        ":2: priority must be an integer from 0 to 65535, not a fraction" },
      ["priority too high"] = { field "rules = { allow.inbound { priority = 65536 } }",
        ":2: priority '65536' must be a number 0 to 65535" },
      ["log as text"] = { field "rules = { allow.inbound { log = 'yes' } }",
        ":2: log must be true or false, not a string" },
      ["name as number"] = { field "rules = { allow.inbound { name = 8 } }",
        ":2: name must be a string, not a number" },
      ["audit on allow"] = { field "rules = { allow.inbound { audit = true } }",
        ":2: audit belongs to block rules; an allow passes anyway" },
      ["changing a rule"] = { body "local r = allow.inbound {}\nr.priority = 1",
        ":2: a rule cannot be changed once it is made" },
      ["error with a message"] = { body "\nerror 'no such luck'", ":2: no such luck" },
      ["error with a table"] = { body "error {}", ":1: the error raised is a table value, not a message" },
      ["error with nil"] = { body "\nerror(nil)", ":2: the error raised is a nil value, not a message" },
      ["error with a number"] = { body "error(42)", ":1: 42" },
      ["error without position"] = { body "error('a\\nb\\27c', 0)", ":1: a b c" },
      ["error of a function further up"] = {
        body "local t = setmetatable({}, { __index = function() error(7) end })\nlocal x = t.x", ":1: 7" },
      ["contains"] = { body "contains('10.0.0.0/33', '10.0.0.1')", nil },
    } do
      it(name, function()
        local p, message, code = load(case[1])
        assert.is_nil(p)
        assert.equal(case[3] or "EINVAL", code)
        if case[2] then
          assert.equal("DIR/container/p.lua" .. case[2], message)
        else
          assert.matches("^DIR/container/p.lua:%d+: ", message)
        end
      end)
    end

    it("in the network's file", function()
      local _, message = load(body "", { ["network/nat.lua"] = "return {\nrule = 1 }" }, { driver = "nat" })
      assert.matches("^DIR/network/nat.lua:2: a policy has no field 'rule' ", message)
    end)
  end)

  describe("files", function()
    it("names what there is", function()
      local p, message, code = policy.load { dir = sets.make {
        ["container/b.lua"] = "", ["container/a.lua"] = "", ["container/a.txt"] = "",
      }, type = "c" }
      assert.is_nil(p)
      assert.matches("/container/c.lua: no such file %(the set has: a, b%)$", message)
      assert.equal("ENOENT", code)
      p, message, code = policy.load { dir = "/nonexistent", type = "c" }
      assert.is_nil(p)
      assert.equal("policy set /nonexistent cannot be opened: No such file or directory", message)
      assert.equal("ENOENT", code)
    end)

    for _, name in ipairs { "", "..", "../p", "/etc/passwd", "a/b", ".hidden", "-x", ("x"):rep(41), "a b" } do
      it("refuses the name '" .. name .. "'", function()
        local dir = sets.make { ["container/p.lua"] = body "" }
        for _, request in ipairs { { dir = dir, type = name }, { dir = dir, type = "p", driver = name } } do
          local p, message, code = policy.load(request)
          assert.is_nil(p)
          assert.equal("EINVAL", code)
          assert.matches("cannot name a policy", message)
        end
      end)
    end

    it("loads each required file once", function()
      assert(load(body [[
assert(require "a" == require "a")
assert(require "b" == true)
assert(count == 1)]], { ["a.lua"] = "count = (count or 0) + 1 return {}", ["b.lua"] = "" }))
    end)

    it("refuses a circle", function()
      local _, message = load(body 'require "a"',
        { ["a.lua"] = '\nrequire "b"', ["b.lua"] = '\n\nrequire "a"' })
      assert.equal("DIR/b.lua:3: require 'a' goes in a circle: a.lua is still being loaded", message)
    end)

    it("names what could be required", function()
      local _, message, code = load(body '\nrequire "z"', { ["a.lua"] = "", ["b.lua"] = "" })
      assert.equal("DIR/container/p.lua:2: the set has no file 'z.lua' to require (it has: a, b)", message)
      assert.equal("EINVAL", code)
    end)

    it("says where a required file went wrong", function()
      local _, message = load(body 'require "a"', { ["a.lua"] = "\n\nlocal x = nil + 1" })
      assert.equal("DIR/a.lua:3: attempt to perform arithmetic on a nil value", message)
    end)

    for _, name in ipairs { "../x", "/etc/passwd", "a.b", "a/b", "container/p", "", "a\\0b", "x.lua" } do
      it("does not require '" .. name .. "'", function()
        local p, message = load(body('require "' .. name .. '"'), { ["x.lua"] = "", ["a.lua"] = "" })
        assert.is_nil(p)
        assert.matches("^DIR/container/p.lua:1: require takes the name of a file in the set's root", message)
      end)
    end

    it("reads nothing after it was loaded", function()
      local p, _, _, dir = load(field 'on = { attach = function() require "a" end }', { ["a.lua"] = "" })
      local added, message, code = p:run("attach", {}, {})
      assert.is_nil(added)
      assert.equal(dir .. "/container/p.lua:2: require 'a' comes too late: files are read when the set is loaded",
        message)
      assert.equal("EINVAL", code)
    end)

    it("takes text only", function()
      local _, message, code = load(string.dump(function() end))
      assert.equal("EBADMSG", code)
      assert.equal("DIR/container/p.lua: is bytecode; a policy is Lua source text", message)
      _, message = load(body "\0")
      assert.equal("DIR/container/p.lua: has a NUL byte; a policy is Lua source text", message)
      _, message = load(body "\nrequire 'a'", { ["a.lua"] = "\27Lua" })
      assert.equal("DIR/container/p.lua:2: a.lua: is bytecode; a policy is Lua source text", message)
    end)

    it("takes small files only", function()
      local _, message, code = load(body(("-"):rep((1 << 20) + 1)))
      assert.equal("DIR/container/p.lua: is larger than 1024 KiB", message)
      assert.equal("EFBIG", code)
    end)

    it("follows no links and opens no devices", function()
      local lfs = require "lfs"
      local dir = sets.make { ["container/p.lua"] = body "require 'common'", ["container/q.lua"] = body "" }
      local outside = sets.make { ["container/p.lua"] = body "", ["x.lua"] = "return {}" }
      local function says(pattern, code, options)
        local p, message, c = policy.load { dir = dir, type = options and options.type or "p",
          driver = options and options.driver }
        assert.is_nil(p)
        assert.matches(pattern, message)
        assert.equal(code, c)
      end
      assert(lfs.link(outside .. "/x.lua", dir .. "/common.lua", true))
      says("/container/p.lua:1: common.lua: is a symbolic link; the files of a set are plain files$", "EINVAL")
      assert(lfs.link(outside .. "/container/p.lua", dir .. "/container/l.lua", true))
      says("/container/l.lua: is a symbolic link", "ELOOP", { type = "l" })
      assert(lfs.mkdir(dir .. "/container/d.lua"))
      says("/container/d.lua: is a directory; it must be a file$", "EISDIR", { type = "d" })
      assert(os.execute("mkfifo '" .. dir .. "/container/f.lua'"))
      says("/container/f.lua: is no plain file$", "EPERM", { type = "f" })
      assert(lfs.link("/nowhere", dir .. "/network/nat.lua", true))
      says("/network/nat.lua: is a symbolic link", "ELOOP", { type = "q", driver = "nat" })
      assert(lfs.rmdir(outside .. "/network"))
      assert(lfs.link(dir .. "/container", outside .. "/network", true))
      local p, message = policy.load { dir = outside, type = "p", driver = "q" }
      assert.is_nil(p)
      assert.matches("/network/q.lua: its folder is no directory of the set, or a symbolic link", message)
    end)
  end)
end)

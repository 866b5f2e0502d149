--- What a hostile policy tries. Each attempt ends soon, is refused, and leaves everybody else whole.
local policy = require "bulkhead.policy"
local sets = dofile "tests/support/sets.lua"

local load, body, field = sets.load, sets.body, sets.field

--- CPU seconds: the time limit of 2, and what one step may take beyond, under sanitizers too.
local SOON = 6

--- Loads; the load must be refused soon, and the next one succeed.
local function refused(text, files, options)
  local start = os.clock()
  local p, message, code = load(text, files, options)
  assert.is_true(os.clock() - start < SOON, "took " .. os.clock() - start .. " s")
  assert.is_nil(p)
  assert(load(body ""))
  return message, code
end

local budget = "the policy ran over its budget of 5000000 instructions"
local time = "the policy ran over its time limit of 2 s"
local memory = "the policy ran over its memory limit of 16 MiB"
local long = "the policy made a string longer than 64 KiB"

--- The cap that ended it. On a slow machine the time limit may come before the budget.
local function ended_by(cap, message)
  local said = message:match "^DIR/container/p%.lua:%d+: (.*)" or message:match "^DIR/container/p%.lua: (.*)"
    or message
  assert.is_true(said == cap or (cap == budget and said == time), said)
end

describe("a policy's caps", function()
  after_each(sets.clear)

  describe("end", function()
    for name, case in pairs {
      ["a loop"] = { "\nwhile true do end", budget, 2 },
      ["a goto loop"] = { "::a:: goto a", budget },
      ["a repeat around pcall"] = { "repeat pcall(function() while true do end end) until false", budget },
      ["a loop in a pcall in a pcall"] = {
        "local function f() while true do pcall(f) end end\nwhile true do pcall(pcall, f) end", budget },
      ["a loop in a handler of xpcall"] = {
        "local function f() while true do end end\nwhile true do xpcall(f, f) end", budget },
      ["a failing handler of xpcall"] = {
        "local function f() error(f) end while true do xpcall(f, f) end", budget },
      ["a loop in xpcall's handler after the budget"] = {
        "xpcall(function() while true do end end, function() while true do end end)", budget },
      ["__index"] = { "local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end })\n"
        .. "while true do pcall(function() return t[1] end) end" },
      ["__newindex"] = { "local t t = setmetatable({}, { __newindex = function(_, k, v) t[k + 1] = v end })\n"
        .. "while true do pcall(function() t[1] = 1 end) end" },
      ["__eq"] = { "local m = {} m.__eq = function(a, b) return a == b end\n"
        .. "local a, b = setmetatable({}, m), setmetatable({}, m)\n"
        .. "while true do pcall(function() return a == b end) end" },
      ["__concat"] = { "local m = { __concat = function(a, b) while true do end end }\n"
        .. "local _ = setmetatable({}, m) .. 'x'", budget },
      ["__lt in sort"] = { "local m = { __lt = function() while true do end end }\nlocal t = {}\n"
        .. "for i = 1, 9 do t[i] = setmetatable({}, m) end table.sort(t)", budget },
      ["__len"] = { "local _ = #setmetatable({}, { __len = function() while true do end end })", budget },
      ["__call"] = { "local f = setmetatable({}, { __call = function(self) return self() end }) f()", budget },
      ["__pairs"] = {
        "for _ in pairs(setmetatable({}, { __pairs = function() while true do end end })) do end", budget },
      ["pairs without an end"] = { "for _ in function() return 1 end do end", budget },
      ["__close"] = { "local x <close> = setmetatable({}, { __close = function() while true do end end })", budget },
      ["__close while being ended"] = {
        "local c = setmetatable({}, { __close = function() while true do end end })\n"
        .. "local x <close> = c local y <close> = c while true do end", budget },
      ["__close that pcalls while being ended"] = {
        "local c = setmetatable({}, { __close = function()\n"
        .. "while true do pcall(function() while true do end end) end end })\n"
        .. "while true do pcall(function() local x <close> = c while true do end end) end", budget },
      ["__tostring"] = { "tostring(setmetatable({}, { __tostring = function() while true do end end }))", budget },
      ["__tostring in format"] = {
        "string.format('%s', setmetatable({}, { __tostring = function() while true do end end }))", budget },
      ["__tostring in print"] = {
        "print(setmetatable({}, { __tostring = function() while true do end end }))", budget },
      ["printing"] = { "while true do print 'x' end", budget },
      ["string.rep"] = { "string.rep('x', 1 << 40)", "resulting string is longer than 64 KiB" },
      ["string.rep as a method"] = { "('x'):rep(1 << 40)", "resulting string is longer than 64 KiB" },
      ["string.rep of a separator"] = { "('').rep('', 1 << 40, 'x')", "resulting string is longer than 64 KiB" },
      ["doubling"] = { "local s = 'x' while true do s = s .. s end", long },
      ["doubling in pcall"] = { "local s = 'x' while true do pcall(function() s = s .. s end) end", long },
      ["long format"] = { "local s = ('x'):rep(65536) while true do pcall(string.format, '%s%s', s, s) end" },
      ["comparing long strings"] = { "local s = ('x'):rep(65535) local a, b = s .. 'y', s .. 'y'\n"
        .. "while a <= b do end" },
      ["equality of long strings"] = { "local s = ('x'):rep(65535) local a, b = s .. 'y', s .. 'y'\n"
        .. "while a == b do end" },
      ["copying long strings"] = { "local s = ('x'):rep(65000) local i = 0 while true do i = i + 1\n"
        .. "local _ = s .. i end", budget },
      ["hashing long strings"] = { "local t, s = {}, ('x'):rep(65000) local i = 0 while true do i = i + 1\n"
        .. "local _ = t[s .. i] end", budget },
      ["lower and upper"] = { "local s = ('x'):rep(65536) while true do s = s:upper():lower() end", budget },
      ["byte and char"] = { "local s = ('x'):rep(65536) while true do pcall(string.char, s:byte(1, -1)) end" },
      ["a big table"] = { "local t = {} for i = 1, 1 << 40 do t[i] = i end", nil },
      ["a big table with a big budget"] = { "local t = {} for i = 1, 1 << 40 do t[i] = i end", memory, 1,
        { instructions = 1 << 40 } },
      ["many tables with a big budget"] = { "local t = {} while true do t = { t } end", memory, 1,
        { instructions = 1 << 40 } },
      ["memory in pcall"] = { "local t = {}\nwhile true do pcall(function() while true do t = { t } end end) end",
        memory, 2, { instructions = 1 << 40 } },
      ["living at the limit"] = { "local t = {}\n"
        .. "while pcall(function() for i = 1, 1000 do t[#t + 1] = { i } end end) and #t < 120000 do end\n"
        .. "while true do local x = {} end", nil, nil, { memory = 9 << 20, instructions = 1 << 40 } },
      ["many rules"] = { "local t = {} while true do t[#t + 1] = allow.inbound { name = ('x'):rep(200) } end", budget },
      ["many rules with a big budget"] = {
        "local t = {} while true do t[#t + 1] = allow.inbound { name = ('x'):rep(200) } end", memory, 1,
        { instructions = 1 << 40 } },
      ["huge lists in rules"] = { "local l = {} for i = 1, 4096 do l[i] = i end\n"
        .. "while true do allow.inbound { local_port = l } end", budget },
      ["lists that are too long"] = { "local l = {} for i = 1, 4097 do l[i] = i end allow.inbound { local_port = l }",
        "local_port lists 4097 elements; at most 4096 are possible" },
      ["deep recursion"] = { "local function f(n) return 1 + f(n + 1) end f(1)", nil },
      ["deep recursion with a big budget"] = { "local function f(n) return 1 + f(n + 1) end\nf(1)", nil, nil,
        { instructions = 1 << 40 } },
      ["recursion through pcall"] = { "local function f() return pcall(f) end while true do f() end", budget },
      ["recursion through xpcall"] = { "local function f() return xpcall(f, f) end while true do f() end", budget },
      ["recursion through tostring"] = {
        "local t = setmetatable({}, { __tostring = function(t) return tostring(t) end })\n"
        .. "while true do pcall(tostring, t) end", budget },
      ["recursion through format"] = {
        "local t = setmetatable({}, { __tostring = function(t) return string.format('%s', t) end })\n"
        .. "while true do pcall(tostring, t) end", budget },
      ["recursion through sort"] = {
        "local function f(a, b) table.sort({ 1, 2, 3 }, f) return true end\nwhile true do pcall(f) end", budget },
      ["recursion through require"] = {
        "local function f() return pcall(require, 'x', f) end while true do f() end", budget },
      ["a chain of __index"] = { "local t = {} for i = 1, 3000 do t = setmetatable({}, { __index = t }) end\n"
        .. "local _ = t.x", nil },
      ["a loop of __index"] = { "local t = {} setmetatable(t, { __index = t }) local _ = t.x",
        nil },
      ["a table that calls itself"] = { "local t = {} setmetatable(t, { __call = t }) t()",
        "'__call' must be a function" },
      ["a table made to call itself later"] = {
        "local t, m = {}, { __call = function() end } setmetatable(t, m) m.__call = t\n"
        .. "getmetatable(t).__call = t t() error 'called'", "called" },
      ["concat of far away"] = {
        "table.concat({}, '', 1, 1 << 62)", "invalid value (at index 1) in table for 'concat'" },
      ["concat of too much"] = { "local t, s = {}, ('x'):rep(60000) for i = 1, 99 do t[i] = s end table.concat(t)",
        "resulting string is longer than 64 KiB" },
      ["concat of nothing, often"] = { "local t = {} for i = 1, 1 << 17 do t[i] = '' end\n"
        .. "while true do table.concat(t) end", budget },
      ["unpack of much"] = { "table.unpack({}, 1, 1e7)", "too many results to unpack (at most 8192)" },
      ["unpack of everything"] = { "table.unpack({}, math.mininteger, math.maxinteger)",
        "too many results to unpack (at most 8192)" },
      ["unpack, often"] = { "local t = {} for i = 1, 8192 do t[i] = i end while true do table.unpack(t) end", budget },
      ["insert at the front"] = { "local t = {} while true do table.insert(t, 1, 1) end", budget },
      ["insert far away"] = { "table.insert({}, 1 << 40, 1)",
        "bad argument #2 to 'insert' (position out of bounds)" },
      ["remove at the front"] = { "local t = {} for i = 1, 1 << 17 do t[i] = i end\n"
        .. "while true do table.insert(t, table.remove(t, 1)) end", budget },
      ["remove far away"] = { "table.remove({}, 1 << 40)",
        "bad argument #2 to 'remove' (position out of bounds)" },
      ["a lying __len in insert"] = { "local t = setmetatable({}, { __len = function() return 1 << 40 end })\n"
        .. "table.insert(t, 1, 1) assert(rawlen(t) == 1) error 'whole'", "whole" },
      ["a lying __len in remove"] = { "local t = setmetatable({}, { __len = function() return 1 << 40 end })\n"
        .. "table.remove(t, 1) error 'whole'", "whole" },
      ["a lying __len in concat"] = { "local t = setmetatable({}, { __len = function() return 1 << 40 end })\n"
        .. "assert(table.concat(t) == '') error 'whole'", "whole" },
      ["a lying __len in unpack"] = { "local t = setmetatable({}, { __len = function() return 1 << 40 end })\n"
        .. "assert(select('#', table.unpack(t)) == 0) error 'whole'", "whole" },
      ["a lying __len in sort"] = {
        "local t = setmetatable({}, { __len = function() return (1 << 31) - 2 end, __index = rawlen })\n"
        .. "table.sort(t) error 'whole'", "whole" },
      ["a bad comparison"] = { "local t = {} for i = 1, 1 << 12 do t[i] = i end\n"
        .. "while true do table.sort(t, function() return true end) end", budget },
      ["sorting much"] = { "local t = {} for i = 1, 1 << 17 do t[i] = -i end while true do table.sort(t) end", budget },
      ["sorting long strings"] = { "local t, s = {}, ('x'):rep(60000) for i = 1, 1 << 17 do t[i] = s end\n"
        .. "table.sort(t)", budget },
      ["next over an emptied table"] = { "local t = {} for i = 1, 1 << 17 do t['x' .. i] = 1 end\n"
        .. "for i = 1, 1 << 17 do t['x' .. i] = nil end while true do next(t) end", nil, nil, { memory = 64 << 20,
        instructions = 1 << 40 } },
      ["rehashing"] = { "local t = {} for i = 1, 1 << 16 do t[i + 0.5] = 1 end local i = 1\n"
        .. "while true do t[i + 0.5] = nil t[-i] = 1 t[-i] = nil i = i + 1 end" },
      ["globs"] = { "local a, b = ('*a'):rep(500), ('a'):rep(1024) while true do glob(a, b .. '') end", budget },
      ["globs of long texts"] = { "glob(('*a'):rep(5000), 'x')", "glob takes texts of at most 1024 bytes" },
      ["an error with a looping __tostring"] = {
        "error(setmetatable({}, { __tostring = function() while true do end end }))",
        "the error raised is a table value, not a message" },
      ["an error with a looping __name"] = {
        "error(setmetatable({}, { __name = ('x'):rep(60000) }))", "the error raised is a table value, not a message" },
      ["a very long error"] = { "error(('x'):rep(60000))", nil },
      ["weak tables"] = { "setmetatable({}, { __mode = 'k' })", "setmetatable refuses '__mode' in a policy: "
        .. "there are no weak tables" },
      ["finalisers"] = { "setmetatable({}, { __gc = function() while true do end end })",
        "setmetatable refuses '__gc' in a policy: finalisers run without limits" },
      ["finalisers that are nothing yet"] = { "setmetatable({}, { __gc = false })",
        "setmetatable refuses '__gc' in a policy: finalisers run without limits" },
      ["finalisers put in later"] = { "local m = {} local t = setmetatable({}, m)\n"
        .. "m.__gc = function() while true do end end getmetatable(t).__gc = m.__gc t, m = nil, nil\n"
        .. "for i = 1, 99999 do local _ = {} end error 'done'", "done" },
      ["nested parentheses"] = { "return " .. ("("):rep(5000) .. "1" .. (")"):rep(5000), nil },
      ["nested functions"] = { ("local function f() "):rep(5000) .. ("end "):rep(5000), nil },
      ["nested tables"] = { "return " .. ("{"):rep(5000) .. ("}"):rep(5000), nil },
      ["a name that is searched for long"] = {
        (function()
          local names = {}
          for i = 1, 150 do names[i] = "a" .. i end
          local head = "local " .. table.concat(names, ",") .. " "
          return (head .. "local function f() "):rep(150) .. ("x=x "):rep(200000) .. ("end "):rep(150)
        end)(), time },
      ["a long constant"] = { "local s = '" .. ("x"):rep(100000) .. "'", long },
    } do
      it(name, function()
        local message = refused(body(case[1]), nil, case[4])
        if case[2] then
          ended_by(case[2], message)
        else
          assert.matches("^DIR/container/p%.lua:", message)
        end
        if case[3] then
          assert.matches("^DIR/container/p%.lua:" .. case[3] .. ": ", message)
        end
      end)
    end
  end)

  it("hold for all files together", function()
    local files = {}
    for i = 1, 10 do
      files["f" .. i .. ".lua"] = "for i = 1, 1000000 do end"
    end
    local message, code = refused(body "for i = 1, 10 do require('f' .. i) end", files)
    assert.matches("^DIR/f%d.lua:1: " .. budget .. "$", message)
    assert.equal("ETIME", code)
  end)

  it("are told by code", function()
    local _, code = refused(body "while true do end", nil, { instructions = 1000 })
    assert.equal("ETIME", code)
    _, code = refused(body "local t = {} while true do t = { t } end", nil,
      { instructions = 1 << 40, memory = 1 << 20 })
    assert.equal("ENOMEM", code)
  end)

  it("may be too small for anything", function()
    for size = 1, 60000, 997 do
      local p, message, code = policy.load { dir = "policies/default", type = "process", memory = size }
      if not p then
        assert.equal("ENOMEM", code)
        assert.matches("memory limit of %d+ KiB$", message)
      end
    end
    for n = 1, 400, 7 do
      local p, message, code = policy.load { dir = "policies/default", type = "process", instructions = n }
      if not p then
        assert.equal("ETIME", code)
        assert.matches("the policy ran over its budget of " .. n .. " instructions$", message)
      end
    end
  end)

  it("leave nothing to escape with", function()
    assert(load(body [[
for _, name in ipairs { "load", "loadfile", "loadstring", "dofile", "collectgarbage", "os", "io", "debug",
  "utf8", "package", "coroutine", "warn", "_G", "module", "newproxy", "setfenv", "getfenv" } do
  assert(_ENV[name] == nil, name)
end
for _, name in ipairs { "dump", "find", "match", "gmatch", "gsub", "pack", "unpack", "reverse", "packsize" } do
  assert(string[name] == nil and ("")[name] == nil, name)
end
assert(table.move == nil and math.randomseed == nil)
assert(getmetatable "" == false)
assert(not pcall(setmetatable, "", {}))
assert(getmetatable(allow.inbound {}) == false)
assert(("").rep == string.rep and ("").format == string.format)
assert(not pcall(string.format, "%p", {}) and not pcall(string.format, "%-10p", {}))
assert(string.format("%5d %q %s %%p", 7, "x", {}) == '    7 "x" table %p')
assert(tostring {} == "table" and tostring(print) == "function" and tostring(setmetatable({}, { __name = "N" })) == "N")
assert(not pcall(rawset, string, nil, 1))
]]))
  end)

  it("leave the language as it is", function()
    assert(load(body [[
local m = { __index = function(_, k) return k end, __add = function() return "sum" end }
local t = setmetatable({}, m)
assert(getmetatable(t) == m and t.x == "x" and t + t == "sum")
assert(setmetatable(t, nil) == t and getmetatable(t) == nil)
local locked = setmetatable({}, { __metatable = "no" })
assert(getmetatable(locked) == "no" and not pcall(setmetatable, locked, {}))
local sorted = { 5, 2, 8, 1, 9, 3 }
table.sort(sorted)
assert(table.concat(sorted, ",") == "1,2,3,5,8,9")
table.sort(sorted, function(a, b) return a > b end)
assert(table.concat(sorted, ",", 2, 4) == "8,5,3")
for n = 0, 40 do
  local list = {}
  for i = 1, n do list[i] = (i * 7919) % 41 end
  table.sort(list)
  for i = 2, n do assert(list[i - 1] <= list[i]) end
end
local list = { 1, 2, 3 }
table.insert(list, 4) table.insert(list, 1, 0)
assert(table.concat(list) == "01234" and table.remove(list, 1) == 0 and table.remove(list) == 4)
assert(table.remove({}) == nil and #list == 3 and table.remove(list, 4) == nil)
assert(select("#", table.unpack(list)) == 3 and table.pack(nil, nil).n == 2)
assert(("ab"):rep(3, "-") == "ab-ab-ab" and ("x"):rep(0) == "" and ("x"):rep(-1) == "")
assert(#("x"):rep(65536) == 65536 and string.rep("", 1 << 40) == "")
assert("10" + 1 == 11 and ("%d"):format("3") == "3")
local ok, a, b = xpcall(function(...) return ... end, print, 1, 2)
assert(ok and a == 1 and b == 2)
ok, a = xpcall(error, function(e) return "<" .. e .. ">" end, "x", 0)
assert(not ok and a == "<x>")
assert(select(2, pcall(error, "x", 0)) == "x")
]]))
  end)

  it("keep policies apart", function()
    local a = assert(load(body "leak = 1 allow.leak = 1 string.leak = 1"))
    assert(load(body "assert(leak == nil and allow.leak == nil and string.leak == nil)"))
    local p = assert(load(field [[on = { attach = function(c, e)
      e:add(allow.inbound {}) end }]]))
    assert.equal(1, #p:run("attach", {}, {}))
    assert.same({}, a:rules())
    assert.is_nil(rawget(_G, "leak"))
  end)

  it("let a policy be collected while another runs", function()
    for _ = 1, 50 do
      load(field "on = { attach = function() end }"):run("attach", {}, {})
    end
    collectgarbage()
  end)

  it("hold in handlers", function()
    for _, event in ipairs { "create", "attach", "start", "stop", "detach", "remove" } do
      local p = assert(load(field("on = { " .. event .. " = function() while true do pcall(error) end end }")))
      local added, message, code = p:run(event, {}, {})
      assert.is_nil(added)
      assert.matches("container/p.lua:2: " .. budget, message)
      assert.equal("ETIME", code)
      p = assert(load(field("on = { " .. event .. " = pcall }")))
      assert.same({}, p:run(event, {}, {}))
    end
  end)
end)

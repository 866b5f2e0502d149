--- reference_spec.lua - the stubs as a table, the reference made from them, and every example in them
--- and in the README: it runs.
local cli = require "tests.support.cli"
local lfs = require "lfs"
local reference = require "reference"
local sets = require "tests.support.sets"
local stubs = require "stubs"

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

--- The blocks of a language in a text; `prefix` is a pattern of what stands before each line.
local function blocks(text, language, prefix)
  local list, block, fence = {}, nil, nil
  for line in (text .. "\n"):gmatch "(.-)\n" do
    line = line:gsub(prefix or "^", "", 1)
    if fence and line:find "^```" then
      list[#list + 1] = fence == language and table.concat(block, "\n") .. "\n" or nil
      fence = nil
    elseif fence then
      block[#block + 1] = line
    elseif line:find "^```" then
      fence, block = line:sub(4), {}
    end
  end
  return list
end

describe("stubs", function()
  it("are read as functions, classes and fields", function()
    local api = stubs.new()
    stubs.read(api, "x", [[
---@meta
--- What it is.

---@class bulkhead.x
local x = {}

---@class thing
---@field name string what it is called
---@field size? integer|fun(): integer bytes

--- Opens.
---@param path string where
---@param how? "read"|"write" default "read"
---@return thing[]? things
---@return string? message
function x.open(path, how) end

--- One.
---@class thing_object
local object = {}

--- Lost.

function object:no() end
]])
    assert.equal(2, #api.functions)
    local stub = stubs.find(api, "open")
    assert.equal("x.open(path, how)", stub.signature)
    assert.equal("Opens.", stub.text)
    assert.same({ name = "how", type = '"read"|"write"', text = 'default "read"', optional = true }, stub.params[2])
    assert.same({ type = "thing[]?", text = "things" }, stub.returns[1])
    assert.same({ name = "size", type = "integer|fun(): integer", text = "bytes", optional = true },
      api.classes.thing.fields[2])
    assert.equal("", stubs.find(api, "thing_object:no").text)
    assert.is_nil(stubs.find(api, "shut"))
    local class, list = stubs.class_of(api, "thing[]?")
    assert.equal("thing", class.name)
    assert.is_true(list)
    assert.equal("What it is.", api.modules[1].text)
  end)

  it("stand once, and say what each function does", function()
    local seen = {}
    for _, stub in ipairs(stubs.load().functions) do
      assert.is_nil(seen[stub.name], stub.name .. " stands twice")
      seen[stub.name] = true
      assert.truthy(stub.text:find "%a", stub.name .. " has no documentation")
      for _, param in ipairs(stub.params) do
        local name = param.name == "..." and "%.%.%." or "%f[%w_]" .. param.name .. "%f[^%w_]"
        assert.truthy(stub.signature:find(name), stub.name .. " has no " .. param.name)
      end
      for name in stub.signature:match "%((.-)%)":gmatch "[%w_]+" do
        local said = false
        for _, param in ipairs(stub.params) do
          said = said or param.name == name
        end
        assert.truthy(said, ("%s: parameter %s has no type"):format(stub.name, name))
      end
    end
  end)

  it("name types that are there", function()
    local api = stubs.load()
    local plain = {}
    for word in ("any boolean function integer lightuserdata nil number self string table true false fun "
      .. "userdata"):gmatch "%a+" do
      plain[word] = true
    end
    local function check(where, kind)
      for word in kind:gsub('"[^"]*"', ""):gsub("[%a_]+%??:", ""):gmatch "[%a_][%w_%.]*" do
        assert.truthy(plain[word] or api.aliases[word] or api.classes[word],
          ("%s: there is no type %s"):format(where, word))
      end
    end
    for _, stub in ipairs(api.functions) do
      for _, list in ipairs { stub.params, stub.returns } do
        for _, each in ipairs(list) do
          check(stub.name, each.type)
        end
      end
    end
    for name, class in pairs(api.classes) do
      for _, field in ipairs(class.fields) do
        check(name .. "." .. field.name, field.type)
      end
    end
  end)
end)

describe("the reference", function()
  it("has every function and class, and fits 80 columns but for long types", function()
    local api = stubs.load()
    local status, out = cli.run { "help", "lua" }
    assert.equal(0, status)
    for _, stub in ipairs(api.functions) do
      assert.truthy(("\n" .. out):find("\n" .. stub.signature .. "\n", 1, true), stub.signature)
    end
    for name, class in pairs(api.classes) do
      assert.truthy(#class.fields == 0 or out:find("\n" .. name .. " (fields)\n", 1, true), name)
    end
    for line in out:gmatch "[^\n]+" do
      assert.truthy(utf8.len(line) <= 80 or not line:find "%S .*%S" or line:find "[|{].*[|}]", line)
    end
  end)

  it("explains one name, whole or its last word", function()
    local status, out = cli.run { "help", "lua", "host:rules" }
    assert.equal(0, status)
    assert.matches("^host:rules%(endpoint, uncounted%)\n  The rules of an endpoint", out)
    assert.matches("\nrule\n", out)
    assert.matches("\n    priority +integer", out)
    assert.equal(out, select(2, cli.run { "help", "lua", "host.rules" }))
    assert.matches("^container\n", reference.of_name(stubs.load(), "container", 80))
    assert.matches("^rule%.hits integer\n  packets it decided\n", reference.of_name(stubs.load(), "rule.hits", 80))
    status, out = cli.run { "help", "lua", "nosuch" }
    assert.same({ 2, "" }, { status, out })
  end)
end)

describe("every example", function()
  local CONTAINERS = [[
local lifecycle, validate = require "lifecycle", require "validate"
for _, name in ipairs { "web", "db" } do
  assert(lifecycle.create(host, { id = name, type = "process", policies = require("session").policies(),
    published = name == "web" and assert(validate.published { "8080:80/tcp" }) or {} }))
end
]]

  local count = 0
  for name in lfs.dir "bindings/types" do
    for at, example in ipairs(name:find "%.lua$" and blocks(read("bindings/types/" .. name), "lua", "^%-%-%- ?") or {}) do
      count = count + 1
      it(("%d of %s runs"):format(at, name), function()
        local first = os.tmpname()
        do
          local file <close> = assert(io.open(first, "w"))
          file:write(CONTAINERS)
        end
        local status, _, err = cli.run({ "repl", first }, example)
        os.remove(first)
        assert.same({ 0, "" }, { status, err }, example)
      end)
    end
  end

  it("is found", function()
    assert.is_true(count >= 4)
  end)

  it("of a policy in the README loads, and of a spec passes", function()
    finally(sets.clear)
    local policies, specs = 0, 0
    for _, example in ipairs(blocks(read "README.md", "lua")) do
      if example:find "policy_spec" then
        specs = specs + 1
        local dir = sets.make { ["container/process.lua"] = read "policies/default/container/process.lua",
          ["common.lua"] = read "policies/default/common.lua" }
        assert(lfs.mkdir(dir .. "/spec"))
        local file = assert(io.open(dir .. "/spec/readme_spec.lua", "w"))
        file:write(example)
        file:close()
        local status, out, err = cli.run { "policy", "test", dir }
        assert.equal(0, status, out .. err)
        assert.matches("2 successes", out)
      else
        policies = policies + 1
        assert.equal(read "policies/default/container/process.lua", example)
        assert(sets.load(example, { ["common.lua"] = read "policies/default/common.lua" }))
      end
    end
    assert.same({ 1, 1 }, { policies, specs })
  end)

  it("of a command in the README that needs no host prints what it shows", function()
    local shown = 0
    for _, block in ipairs(blocks(read "README.md", "")) do
      local command, output = block:match "^%$ (.-[^\\])\n(.*)\n$"
      if command then
        shown = shown + 1
        local pipe = assert(io.popen(("export PATH='%s':$PATH; { %s; } 2>&1"):format(
          cli.program():match "^(.*)/", command:gsub("\\\n", ""))))
        local text = pipe:read "a"
        pipe:close()
        assert.equal(output .. "\n", text:sub(1, #output + 1), command)
      end
    end
    assert.is_true(shown >= 4)
  end)
end)

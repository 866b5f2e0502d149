--- types_spec.lua - what is there is documented, and what is documented is there.
local bulkhead = require "bulkhead"
local filter = require "bulkhead.filter"
local stubs = require "stubs"

local API = stubs.load()

--- Holds the functions of a table against those of a class of the stubs.
local function same(class, real)
  local documented = API.classes[class].methods
  for name, stub in pairs(documented) do
    assert.is_function(real[name], name .. " is documented but not there")
    assert.truthy(stub.text:find "%w", name .. " has no documentation")
  end
  for name, value in pairs(real) do
    if type(value) == "function" and not name:find "^__" then
      assert.truthy(documented[name], name .. " is not documented")
    end
  end
end

local function same_object(class, object)
  same(class, getmetatable(object).__index)
  assert.equal("bulkhead." .. class, getmetatable(object).__name)
end

describe("the stubs agree with", function()
  for _, name in ipairs { "bulkhead", "bulkhead.console", "bulkhead.filter", "bulkhead.lab", "bulkhead.policy",
    "bulkhead.prove", "bulkhead.replay" } do
    it("module " .. name, function()
      same(name, require(name))
    end)
  end

  it("all modules there are", function()
    local found = 0
    for name in pairs(package.preload) do
      assert.truthy(API.classes[name], name)
      found = found + 1
    end
    assert.equal(7, found)
  end)

  it("the objects of modules", function()
    local host <close> = assert(bulkhead.open())
    local gate = assert(filter.gate {})
    local replay <close> = assert(require("bulkhead.replay").open("tests/support/sample.pcap", gate))
    local lab <close> = assert(require("bulkhead.lab").open { platform = "memory", host = {}, outside = {} })
    local policy <close> = assert(require("bulkhead.policy").load { dir = "policies/default", type = "process" })
    same_object("host", host)
    same_object("gate", gate)
    same_object("replay", replay)
    same_object("lab", lab)
    same_object("policy", policy)
  end)

  it("what a policy is given", function()
    local sets = require "tests.support.sets"
    finally(sets.clear)
    local given = { "allow.inbound", "allow.outbound", "block.inbound", "block.outbound", "contains", "glob", "require" }
    for _, name in ipairs(given) do
      local stub = assert(stubs.find(API, name))
      assert.equal("policy_globals", stub.file)
      assert(sets.load(sets.body(("assert(type(%s) == 'function')"):format(name))))
    end
    for _, stub in ipairs(API.functions) do
      local known = stub.file ~= "policy_globals" or stub.name == "policy_endpoint:add"
      for _, name in ipairs(given) do
        known = known or stub.name == name
      end
      assert.is_true(known, stub.name)
    end
  end)
end)

describe("objects", function()
  it("have a name, a text, and end with their scope", function()
    local host = assert(bulkhead.open())
    local gate = assert(filter.gate {})
    for _, object in ipairs { host, gate } do
      local meta = getmetatable(object)
      assert.truthy(meta.__name:find "^bulkhead%.")
      assert.truthy(meta.__gc and meta.__close and meta.__tostring)
    end
    assert.equal("host (memory)", tostring(host))
    host:close()
    host:close()
    assert.equal("host (closed)", tostring(host))
    assert.has_error(function() host:networks() end, "the host is closed")
  end)

  it("of another kind are refused", function()
    assert.has_error(function() getmetatable(assert(filter.gate {})).__index.judge(io.stdout, "x") end)
  end)
end)

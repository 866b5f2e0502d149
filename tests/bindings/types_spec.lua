--- types_spec.lua - what is there is documented, and what is documented is there.
local bulkhead = require "bulkhead"
local filter = require "bulkhead.filter"

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

--- Functions of a stub by the table they stand in: { filter = { packet = "documented" } }.
local function stub(path)
  local found, comment = {}, {}
  for line in read(path):gmatch "[^\n]*" do
    local owner, name = line:match "^function ([%w_]+)[.:]([%w_]+)%("
    if owner then
      found[owner] = found[owner] or {}
      found[owner][name] = table.concat(comment, " ")
    end
    comment = line:find "^%-%-%-" and { table.concat(comment, " "), line } or {}
  end
  return found
end

local STUBS = {
  bulkhead = stub "bindings/types/bulkhead.lua", filter = stub "bindings/types/filter.lua",
  lab = stub "bindings/types/lab.lua", prove = stub "bindings/types/prove.lua",
  replay = stub "bindings/types/replay.lua",
}

local function same(documented, real)
  for name, text in pairs(documented) do
    assert.truthy(real[name], name .. " is documented but not there")
    assert.truthy(text:find "%-%-%- %w", name .. " has no documentation")
  end
  for name, value in pairs(real) do
    if type(value) == "function" and not name:find "^__" then
      assert.truthy(documented[name], name .. " is not documented")
    end
  end
end

describe("the stubs agree with", function()
  it("module bulkhead and its host", function()
    local host <close> = assert(bulkhead.open())
    same(STUBS.bulkhead.bulkhead, bulkhead)
    same(STUBS.bulkhead.host, getmetatable(host).__index)
  end)

  it("module filter and its gate", function()
    same(STUBS.filter.filter, filter)
    same(STUBS.filter.gate, getmetatable(assert(filter.gate {})).__index)
  end)

  it("module prove", function()
    same(STUBS.prove.prove, require "bulkhead.prove")
  end)

  it("module replay and its replay", function()
    local module = require "bulkhead.replay"
    local replay <close> = assert(module.open("tests/support/sample.pcap", assert(filter.gate {})))
    same(STUBS.replay.replay_module, module)
    same(STUBS.replay.replay, getmetatable(replay).__index)
  end)

  it("module lab and its lab", function()
    local module = require "bulkhead.lab"
    local lab <close> = assert(module.open { platform = "memory", host = {}, outside = {} })
    same(STUBS.lab.lab_module, module)
    same(STUBS.lab.lab, getmetatable(lab).__index)
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

--- roster_spec.lua - reading a host that others change meanwhile.
local roster = require "roster"

describe("what is read of a host", function()
  local endpoints, snapshots

  local host = {
    endpoints = function() return endpoints end,
    snapshot = function(_, body, ...)
      snapshots = snapshots + 1
      return body(...)
    end,
  }

  before_each(function()
    endpoints, snapshots = { { id = 7, status = "ready" } }, 0
  end)

  it("is of one moment, and comes back as it is", function()
    assert.same({ 1, nil, 3, n = 3 }, table.pack(roster.steady(host, function(a, b, c)
      return a, b, c
    end, 1, nil, 3)))
    assert.equal(1, snapshots)
    assert.same({ n = 0 }, table.pack(roster.steady(host, function() end)))
    assert.same({ n = 1 }, table.pack(roster.steady(host, function() return nil end)))
  end)

  for name, fail in pairs {
    raises = function() error("it is gone", 0) end,
    refuses = function() return nil, "it is gone", "ENOENT" end,
  } do
    it("is read again if the reader " .. name .. " as an endpoint comes or goes", function()
      local tries = 0
      assert.equal("all", roster.steady(host, function()
        tries = tries + 1
        if tries == 3 then
          endpoints = { { id = 8, status = "ready" } }
          return "all"
        end
        endpoints = { { id = 7, status = "removing" } }
        return fail()
      end))
      assert.equal(3, snapshots)
    end)

    it("is not read again if the reader " .. name .. " and nobody moved", function()
      local sound, why, message, code = pcall(roster.steady, host, fail)
      assert.equal("it is gone", sound and message or why)
      assert.equal(sound and "ENOENT" or nil, code)
      assert.equal(1, snapshots)
    end)

    it("fails in the end if the reader " .. name .. " and somebody never arrives", function()
      endpoints[1].status = "creating"
      local sound, why, message = pcall(roster.steady, host, fail)
      assert.equal("it is gone", sound and message or why)
      assert.is_true(snapshots > 1)
    end)
  end

  it("is of the outer moment where readers call each other", function()
    assert.equal("inner", roster.steady(host, function()
      return roster.steady(host, function() return "inner" end)
    end))
    assert.equal(1, snapshots)
  end)
end)

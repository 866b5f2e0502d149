--- What explain says of a live host, held against what packets do there.
local sets = require "tests.support.sets"
local stage = require "tests.support.stage"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

stage.platforms(B, "explain of a full flow account", function(open)
  after_each(sets.clear)

  it("says quota where the gate does, and allow where a flow makes room", function()
    local s = open()
    local dir = sets.make {
      ["container/process.lua"] = 'return { default = { inbound = "allow", outbound = "allow" }, flows = 4 }',
    }
    local a = s:add { id = "a", policies = dir }
    local inward = ("udp 172.16.0.1:9 -> %s:9"):format(a.address)
    assert.equal("default", s:explain("a", "in " .. inward).by)
    for port = 1, 4 do
      assert.is_true(s:send_raw(a, ("out udp %s:%d -> 172.16.0.1:9"):format(a.address, port), stage.HOST, true))
    end
    local answer = s:explain("a", "in " .. inward)
    assert.same({ "block", "quota", false }, { answer.verdict, answer.by, answer.delivered })
    assert.is_false(s:send_raw(stage.HOST, "out " .. inward, a, false))
    assert.is_true(s:counters(a).dropped_in.quota >= 1)
    local outward = ("out udp %s:5 -> 172.16.0.1:9"):format(a.address)
    assert.equal("allow", s:explain("a", outward).verdict)
    assert.is_true(s:send_raw(a, outward, stage.HOST, true))
    assert.equal(4, s.host:flows_used(a.where))
  end)
end)

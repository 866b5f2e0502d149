--- A container's first packet: neither lost nor let through by a gate that is not there yet.
local namespaces = require "tests.support.namespaces"
local stage = require "tests.support.stage"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

stage.platforms(B, "a container's first packet", function(open)
  it("is not lost, whatever index its NIC has", function()
    local s = open()
    s:add { id = "first" }
    for i = 1, 3 do
      -- Where the ends of a veth have one index the kernel is in no hurry to put them in use, the more
      -- so if it did that for others within the second.
      local pod = namespaces.pod(s)
      local wanted = 4 * (s.host:endpoints()[i].id + 1) -- the index of the next endpoint's port
      for _ = 2, wanted - 1 do
        assert.equal("", (namespaces.shell(("nsenter --net=%s ip link add type bridge"):format(pod))))
      end
      local a = s:add { id = "a" .. i, netns = pod }
      assert.is_true(assert(s.lab:probe {
        from = a.where, to = stage.HOST, kind = "ping", target = "172.16.0.1", timeout = 0.5,
      }).answered)
      assert.matches("^" .. wanted .. ": eth0@",
        (namespaces.shell(("nsenter --net=%s ip -o link show eth0"):format(pod))))
    end
  end)
end, { "linux" })

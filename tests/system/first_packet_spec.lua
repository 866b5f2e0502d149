--- A container's first packet: neither lost nor let through by a gate that is not there yet.
local lifecycle = require "lifecycle"
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

stage.platforms(B, "a container under the address of one that went", function(open, platform)
  it("is reached at once by who knew the other", function()
    local s = open()
    local wish = { addresses = { "172.16.0.77/16", "fd00:16::77/64" }, policy = "hyperv" } -- which admits all
    local a, host = s:add { id = "a" }, { where = stage.HOST }
    local function add(id, kind)
      return s:add { id = id, type = kind, addresses = wish.addresses, policy = wish.policy }
    end
    local b = add "b"
    for round, kind in ipairs { "process", "hyperv", "process" } do
      for _, from in ipairs { a, host } do
        for _, target in ipairs { b.address, b.address6 } do
          assert.is_true(s:send(from, "ping", b, true, target).answered, target)
        end
      end
      s:remove(b.id)
      local old = b
      b = add("b" .. round, kind)
      assert.equal(old.mac, b.mac)
      -- One packet to where the other was: nobody asks first.
      for _ = 1, platform == "linux" and 3 or 0 do
        local packets = s:counters(b).packets_in
        assert.is_true(s:send_raw(a, ("out udp %s:4000 -> %s:80"):format(a.address, b.address), b, true))
        assert.is_true(s:counters(b).packets_in > packets)
      end
    end
  end)

  it("gets another MAC address if its own is taken", function()
    local s = open()
    local a, b = s:add { id = "a" }, s:add { id = "b" }
    b.addresses = b.endpoint.addresses
    assert.matches("^02:", b.mac)
    assert.not_equal(a.mac, b.mac)
    s:remove "b"
    local thief = s.spec { id = "thief", addresses = { "172.16.0.99/16" } }
    thief.mac = b.mac
    assert(lifecycle.create(s.host, thief))
    local again = s:add { id = "b", addresses = b.addresses }
    assert.not_equal(b.mac, again.mac)
  end)
end)

--- S8: what an overlay network needs, looked at on a host whose ports we close one after another.
local cli = require "tests.support.cli"
local namespaces = require "tests.support.namespaces"
local stage = require "tests.support.stage"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

local CREATE = "network create cells --driver overlay --subnet 10.9.0.0/24"

stage.platforms(B, "S8: an overlay network", function(open)
  local function run(s, words)
    return namespaces.shell(("BULKHEAD_STATE=%s '%s' %s"):format(s.state, cli.program(), words))
  end

  --- It is refused, each closed port is named, and nothing is made.
  local function refused(s, ...)
    local text, status = run(s, CREATE)
    assert.equal(1, status, text)
    assert.matches("^bulkhead: [^\n]+\n$", text)
    local named = {}
    for port in text:gmatch "%d+/%l+" do
      named[#named + 1] = port
    end
    assert.same({ ... }, named, text)
    assert.is_nil(run(s, "network list"):find("cells", 1, true))
    local examined = run(s, "--json doctor")
    assert.is_true(type(examined) == "string")
    for _, port in ipairs { ... } do
      assert.matches(port, examined, 1, true)
    end
    assert.same(1, #s.host:networks())
  end

  it("is made where its ports are open, and not where one is closed", function()
    local s = open()
    assert(s.lab:listen(stage.HOST, "udp", 4789))
    refused(s, "4789/udp")
  end)

  it("is refused where a filter drops one", function()
    local s = open()
    assert.equal("", (namespaces.shell [[nft -f - <<'END'
table inet stranger {
  chain input {
    type filter hook input priority filter; policy accept;
    udp dport 7946 drop
    tcp dport { 7946, 2377 } drop
  }
}
END]]))
    refused(s, "2377/tcp", "7946/tcp", "7946/udp")
    namespaces.shell "nft flush chain inet stranger input"
    namespaces.shell "nft add rule inet stranger input udp dport 4789 drop"
    refused(s, "4789/udp")
    namespaces.shell "nft delete table inet stranger"
    local text, status = run(s, CREATE)
    assert.same({ 0, "cells\n" }, { status, text })
    assert.equal(2, #s.host:networks())
  end)

  it("of one driver needs none of it for the others", function()
    local s = open()
    assert(s.lab:listen(stage.HOST, "udp", 4789))
    local _, status = run(s, "network create lan --driver internal --subnet 10.8.0.0/24")
    assert.equal(0, status)
  end)
end, { "linux" })

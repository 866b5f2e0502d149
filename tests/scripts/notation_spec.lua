--- notation_spec.lua - flows as text, and their order.
local filter = require "bulkhead.filter"
local notation = require "notation"

local function flow(fields)
  local made = { endpoint = 1, direction = "inbound", protocol = "tcp", local_address = "172.16.0.2", local_port = 80,
    remote_address = "10.0.0.9", remote_port = 40000 }
  for key, value in pairs(fields) do
    made[key] = value
  end
  return made
end

describe("notation", function()
  it("writes the packet that opened a flow", function()
    for _, case in ipairs {
      { "in tcp 10.0.0.9:40000 -> 172.16.0.2:80", {} },
      { "out tcp 172.16.0.2:80 -> 10.0.0.9:40000", { direction = "outbound" } },
      { "in tcp 10.0.0.9:0 -> 172.16.0.2:80", { remote_port = 0 } },
      { "in sctp [fd00::9]:40000 -> [fd00::2]:80",
        { protocol = "sctp", local_address = "fd00::2", remote_address = "fd00::9" } },
      { "in icmp[8:0] 10.0.0.9 -> 172.16.0.2",
        { protocol = "icmp", icmp_type = 8, icmp_code = 0, local_port = 0, remote_port = 0 } },
      { "out gre 172.16.0.2 -> 10.0.0.9",
        { protocol = "gre", direction = "outbound", local_port = 0, remote_port = 0 } },
    } do
      local text = notation.opener(flow(case[2]))
      assert.equal(case[1], text)
      assert(filter.packet(text))
    end
    assert.equal("-", notation.end_of({ protocol = "malformed" }, "local"))
  end)

  it("keeps what goes to one service together, however flows come", function()
    local wanted = {
      flow { remote_address = "10.0.0.9", remote_port = 9 }, flow { remote_address = "10.0.0.9" },
      flow { remote_address = "10.0.0.10", remote_port = 1 }, flow { local_port = 443 },
      flow { direction = "outbound", remote_port = 443, remote_address = "10.0.0.9", local_port = 2 },
      flow { direction = "outbound", remote_port = 443, remote_address = "10.0.0.10", local_port = 1 },
      flow { direction = "outbound", protocol = "udp", remote_port = 53 },
      flow { endpoint = 2, local_port = 22 }, flow { endpoint = 10, local_port = 21 },
    }
    local function texts(list)
      local lines = {}
      for i, each in ipairs(list) do
        lines[i] = each.endpoint .. " " .. notation.opener(each)
      end
      return lines
    end
    local expected = texts(wanted)
    for step = 1, #wanted - 1 do
      local mixed = {}
      for i = 1, #wanted do
        table.insert(mixed, i % (step + 1) + 1 <= #mixed and i % (step + 1) + 1 or #mixed + 1, wanted[i])
      end
      assert.same(expected, texts(notation.sort(mixed)))
    end
  end)
end)

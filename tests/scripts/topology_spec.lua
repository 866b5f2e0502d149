--- topology_spec.lua - the figure as a tree, DOT and JSON.
local fake_host = require "tests.support.fake_host"
local topology = require "topology"

local function host()
  return fake_host.new {
    networks = {
      { id = 1, name = "nat", driver = "nat", subnets = { { prefix = "172.16.0.0/16", gateway = "172.16.0.1" } } },
      { id = 2, name = "lan", driver = "internal", subnets = { { prefix = "10.9.0.0/24", gateway = "10.9.0.1" } } },
    },
    compartments = { { id = 1, type = "default" }, { id = 2, type = "process" }, { id = 3, type = "hyperv" } },
    containers = { { id = "c1", name = "web", type = "process" }, { id = "c2", name = "vm", type = "hyperv" } },
    endpoints = {
      { id = 1, container = "c1", compartment = 2, network = "nat", kind = "vNIC", interface = "eth0",
        addresses = { "172.16.0.2/16" } },
      { id = 2, container = "c2", compartment = 3, network = "nat", kind = "vmNIC", interface = "vm0",
        addresses = { "172.16.0.3/16" } },
    },
  }
end

describe("the topology", function()
  it("is the original's figure as a tree", function()
    assert.equal([[
physical NIC ens3
└─ host ── compartment 1 (default)
   ├─ management vNIC 172.16.0.1 ── port 0
   │  └─ switch nat (nat) 172.16.0.0/16
   │     ├─ port 1 ── vNIC eth0 172.16.0.2/16
   │     │  └─ compartment 2 ── container web (process)
   │     └─ port 2 ── vmNIC vm0 172.16.0.3/16
   │        └─ compartment 3 ── container vm (hyperv)
   └─ management vNIC 10.9.0.1 ── port 0
      └─ switch lan (internal) 10.9.0.0/24
]], topology.tree(topology.graph(host(), "ens3")))
  end)

  it("is one graph: every edge joins two nodes, and all hang together", function()
    local graph = topology.graph(host(), "ens3")
    local group = {}
    for _, node in ipairs(graph.nodes) do
      assert.is_nil(group[node.id])
      group[node.id] = node.id
    end
    local function root(id)
      return group[id] == id and id or root(group[id])
    end
    for _, edge in ipairs(graph.edges) do
      assert.is_string(group[edge.from])
      assert.is_string(group[edge.to])
      group[root(edge.from)] = root(edge.to)
    end
    local one = root "uplink"
    for _, node in ipairs(graph.nodes) do
      assert.equal(one, root(node.id))
    end
  end)

  it("is written as DOT", function()
    local dot = topology.dot(topology.graph(host(), "ens3"))
    assert.matches('"uplink" %-%- "compartment 1";', dot)
    assert.matches('label = "vmNIC\\nvm0 172.16.0.3/16"', dot, 1, true)
  end)
end)

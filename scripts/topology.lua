--- topology.lua - the original's figure as a graph: physical NIC, host, switches, NICs, containers.
---
--- The graph is built once from the host's lists and then written as a tree, as DOT or as JSON.
local topology = {}

---@class node
---@field id string
---@field kind "physical NIC"|"host"|"management vNIC"|"switch"|"port"|"vNIC"|"vmNIC"|"compartment"|"container"
---@field label string

--- Builds the graph.
---@param host host
---@param uplink string? name of the physical NIC
---@return { nodes: node[], edges: { from: string, to: string }[], switches: table[], uplink: string? }
function topology.graph(host, uplink)
  local graph = { nodes = {}, edges = {}, switches = {}, uplink = uplink }
  local seen = {}
  local function node(id, kind, label)
    if not seen[id] then
      seen[id] = true
      graph.nodes[#graph.nodes + 1] = { id = id, kind = kind, label = label }
    end
    return id
  end
  local function edge(from, to)
    graph.edges[#graph.edges + 1] = { from = from, to = to }
  end
  node("compartment 1", "host", "host")
  if uplink then
    edge(node("uplink", "physical NIC", uplink), "compartment 1")
  end
  local containers, compartments = {}, {}
  for _, container in ipairs(host:containers()) do
    containers[container.id] = container
  end
  for _, compartment in ipairs(host:compartments()) do
    compartments[compartment.id] = compartment
  end
  for _, network in ipairs(host:networks()) do
    local switch = { network = network, gateways = {}, ports = {} }
    graph.switches[#graph.switches + 1] = switch
    for i, subnet in ipairs(network.subnets) do
      switch.gateways[i] = subnet.gateway
    end
    local id = "switch " .. network.name
    node(id, "switch", network.name)
    local label = table.concat(switch.gateways, " ")
    edge("compartment 1", node("management vNIC " .. network.name, "management vNIC", label))
    edge("management vNIC " .. network.name, node("port " .. network.name .. " 0", "port", "0"))
    edge("port " .. network.name .. " 0", id)
    for _, endpoint in ipairs(host:endpoints()) do
      if endpoint.network == network.name then
        local key = ("%s %d"):format(network.name, endpoint.id)
        local container = containers[endpoint.container]
        local compartment = ("compartment %d"):format(endpoint.compartment)
        switch.ports[#switch.ports + 1] =
          { endpoint = endpoint, container = container, compartment = compartments[endpoint.compartment] }
        edge(id, node("port " .. key, "port", tostring(endpoint.id)))
        local nic = node("endpoint " .. endpoint.id, endpoint.kind,
          endpoint.interface .. " " .. table.concat(endpoint.addresses, " "))
        edge("port " .. key, nic)
        edge(nic, node(compartment, "compartment", compartment))
        local name = container and container.name or endpoint.container
        local inside = "container " .. endpoint.container
        if not seen[inside] then
          edge(compartment, node(inside, "container", name))
        end
      end
    end
  end
  return graph
end

--- Lines of a tree: each item is { text, children… }.
local function draw(item, lines, lead, child_lead)
  lines[#lines + 1] = lead .. item[1]
  for i = 2, #item do
    local last = i == #item
    draw(item[i], lines, child_lead .. (last and "└─ " or "├─ "),
      child_lead .. (last and "   " or "│  "))
  end
end

local function port_text(port)
  local endpoint, container = port.endpoint, port.container
  local name = container and container.name or endpoint.container
  local kind = container and (" (%s)"):format(container.type) or ""
  return ("port %d ── %s %s %s"):format(endpoint.id, endpoint.kind, endpoint.interface,
      table.concat(endpoint.addresses, " ")),
    ("compartment %d ── container %s%s"):format(endpoint.compartment, name, kind)
end

--- The graph as a tree in text.
function topology.tree(graph)
  local root = { "host ── compartment 1 (default)" }
  for _, switch in ipairs(graph.switches) do
    local network = switch.network
    local prefixes = {}
    for i, subnet in ipairs(network.subnets) do
      prefixes[i] = subnet.prefix
    end
    local item = {
      ("switch %s (%s) %s"):format(network.name, network.driver, table.concat(prefixes, " ")),
    }
    for _, port in ipairs(switch.ports) do
      local nic, inside = port_text(port)
      item[#item + 1] = { nic, { inside } }
    end
    local addresses = table.concat(switch.gateways, " ")
    root[#root + 1] = { ("management vNIC %s ── port 0"):format(addresses), item }
  end
  if graph.uplink then
    root = { "physical NIC " .. graph.uplink, root }
  end
  local lines = {}
  draw(root, lines, "", "")
  return table.concat(lines, "\n") .. "\n"
end

local SHAPES = {
  ["physical NIC"] = "cds", host = "box3d", ["management vNIC"] = "component", switch = "octagon",
  port = "point", vNIC = "component", vmNIC = "component", compartment = "box", container = "folder",
}

local function quote(text)
  return '"' .. text:gsub('[\\"]', "\\%0"):gsub("%c", " ") .. '"'
end

--- The graph in the language of Graphviz.
function topology.dot(graph)
  local lines = { "graph bulkhead {", "  rankdir = LR;", "  node [fontname = \"sans-serif\"];" }
  for _, node in ipairs(graph.nodes) do
    local label = node.kind == "host" and "host" or node.kind .. "\\n" .. node.label
    if node.kind == "compartment" then
      label = node.label
    end
    label = quote(label):gsub("\\\\n", "\\n", 1)
    lines[#lines + 1] = ("  %s [shape = %s, label = %s];"):format(
      quote(node.id), SHAPES[node.kind], label)
  end
  for _, edge in ipairs(graph.edges) do
    lines[#lines + 1] = ("  %s -- %s;"):format(quote(edge.from), quote(edge.to))
  end
  lines[#lines + 1] = "}"
  return table.concat(lines, "\n") .. "\n"
end

--- The graph drawn by Graphviz.
---@return string? svg
---@return string? message
function topology.svg(dot)
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  file:write(dot)
  file:flush()
  local pipe = io.popen(("dot -Tsvg %s 2>/dev/null"):format(name))
  local svg = pipe and pipe:read "a" or ""
  if pipe then
    pipe:close()
  end
  os.remove(name)
  if svg == "" then
    return nil, "--svg needs the program dot of Graphviz, which is not here"
  end
  return svg
end

return topology

--- topology.lua - `bulkhead topology [--dot|--svg]`: the picture.
local refuse = require "refuse"
local session = require "session"
local topology = require "topology"
local uplink = require "uplink"

local command = {}

function command.options(parser)
  parser:mutex(
    parser:flag("--dot", "In the language of Graphviz."),
    parser:flag("--svg", "Drawn by Graphviz, where it is installed."))
end

function command.run(args)
  if session.json and (args.dot or args.svg) then
    refuse.input "--json gives the graph itself, --dot and --svg a drawing of it: they do not go together"
  end
  session.read(function(host)
    local graph = topology.graph(host, uplink.name())
    session.print({ nodes = graph.nodes, edges = graph.edges }, function()
      if args.svg then
        return refuse.check(topology.svg(topology.dot(graph)))
      end
      return args.dot and topology.dot(graph) or topology.tree(graph)
    end, { "nodes", "edges", "id", "kind", "label", "from", "to" })
  end)
end

return command

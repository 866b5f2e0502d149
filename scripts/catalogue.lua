--- catalogue.lua - the commands as data: what help prints and what is loaded.
---
--- Each command is scripts/commands/NAME.lua, which returns
---   options(parser)     declares arguments, with argparse
---   run(args)           does it; returns an exit status or nothing for 0; refuses by raising
--- or, for a command of several verbs, `verbs`: a list of { name, summary, options, run }. One that is
--- `silent` prints nothing; one that is `brief` ends before collecting garbage would pay.
local catalogue = {
  { "run", "runs a Lua script with the API" },
  { "repl", "looks into a host interactively" },
  { "hook", "an OCI runtime's hook, state on standard input" },
  { "install-hooks", "tells runtimes that read hooks.d about our hooks" },
  { "cni", "a plugin of the Container Network Interface" },
  { "network", "makes, lists and removes networks" },
  { "container", "makes and removes containers by hand" },
  { "compartments", "lists network compartments" },
  { "endpoints", "lists endpoints" },
  { "rules", "lists rules in the order of precedence, with hits" },
  { "flows", "lists live flows" },
  { "topology", "draws NICs, switches and compartments" },
  { "explain", "says why a packet passes or not" },
  { "policy", "checks, tests, compares and replaces policies" },
  { "drops", "shows what was dropped, and by which line" },
  { "replay", "says what a policy does to a captured traffic" },
  { "metrics", "prints counters for Prometheus" },
  { "doctor", "checks that this machine can do it all" },
  { "reconcile", "mends what a crash left half done" },
  { "reset", "removes everything that this state ever made" },
  { "help", "explains a command" },
}

for _, entry in ipairs(catalogue) do
  catalogue[entry[1]] = entry
end

--- The text of `bulkhead help`.
function catalogue.text()
  local lines = { "Network isolation for containers.", "", "Usage: bulkhead COMMAND [ARGUMENTS]", "" }
  for _, entry in ipairs(catalogue) do
    lines[#lines + 1] = ("  %-14s %s"):format(entry[1], entry[2])
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "--json on a command that prints makes it print one JSON document."
  lines[#lines + 1] = "`bulkhead help COMMAND` explains a command; `bulkhead --version` is the version."
  return table.concat(lines, "\n") .. "\n"
end

return catalogue

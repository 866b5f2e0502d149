--- catalogue.lua - the commands as data: what help prints, what completion offers, what is loaded.
---
--- Each command is scripts/commands/NAME.lua, which returns
---   options(parser)     declares arguments, with argparse
---   run(args)           does it; returns an exit status or nothing for 0; refuses by raising
--- or, for a command of several verbs, `verbs`: a list of { name, summary, options, run }.
local catalogue = {
  { "run", "runs a Lua script with the API", "[--linux] SCRIPT.lua [ARG...]" },
  { "repl", "looks into a host interactively", "[--linux] [FILE]" },
  { "hook", "called by an OCI runtime, the container's state on standard input", "EVENT" },
  { "network", "makes, lists and removes networks", "create|list|remove" },
  { "container", "makes and removes containers by hand", "create|remove" },
  { "compartments", "lists network compartments", "[ID...]" },
  { "endpoints", "lists endpoints", "[CONTAINER]" },
  { "rules", "lists rules in the order of precedence, with hits", "[CONTAINER]" },
  { "flows", "lists live flows", "[CONTAINER]" },
  { "topology", "draws NICs, switches and compartments", "[--dot|--svg]" },
  { "explain", "says why a packet passes or not", "[WHO] PACKET..." },
  { "doctor", "checks that this machine can do it all", "" },
  { "reconcile", "mends what a crash left half done", "" },
  { "reset", "removes everything that this state ever made", "" },
  { "help", "explains a command", "[COMMAND]" },
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
  lines[#lines + 1] = "`bulkhead help COMMAND` explains a command; `bulkhead --version` says which this is."
  return table.concat(lines, "\n") .. "\n"
end

return catalogue

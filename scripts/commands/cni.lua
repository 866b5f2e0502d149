--- cni.lua - `bulkhead cni`: a plugin of the Container Network Interface.
---
--- Also what the program is when it is called as bulkhead-cni, or without words while CNI_COMMAND is
--- set. Answers and errors are JSON on standard output.
local plugin = require "cni_plugin"

local command = { silent = true, brief = true }

function command.run()
  local text, failed = plugin.run(os.getenv, io.stdin)
  if text then
    io.stdout:write(text, "\n")
  end
  return failed and 1 or 0
end

return command

--- cni.lua - `bulkhead cni`: a plugin of the Container Network Interface.
---
--- Also what the program is when it is called as bulkhead-cni, or without words while CNI_COMMAND is
--- set. Answers and errors are JSON on standard output.
local plugin = require "cni_plugin"

local command = {
  silent = true, brief = true,
  more = [[
Fields of the configuration beside cniVersion, name and type:
   network               A network; default the configuration's name. Made by
                         its first ADD, it stays.
   driver, subnet,       What to make it with; subnet and gateway are one or a
   gateway, mtu          list. A network that is there must agree.
   containerType         process or hyperv; default the pod's annotation.
   policies, policy      The policy set, from /, and the container policy in it.
   dns                   Answered, and the network's name servers.
   args                  Of it cni.ips: addresses.
   state                 Directory of the state, from /.
   capabilities          portMappings, ips, mac, dns,
                         io.kubernetes.cri.pod-annotations.]],
}

function command.run()
  local text, failed = plugin.run(os.getenv, io.stdin)
  if text then
    io.stdout:write(text, "\n")
  end
  return failed and 1 or 0
end

return command

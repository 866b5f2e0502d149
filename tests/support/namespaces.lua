--- namespaces.lua - looking into network namespaces from a shell, and making one for a pod.
local namespaces = {}

--- The output of a shell command, its status appended as a second value.
function namespaces.shell(command)
  local pipe = assert(io.popen("exec 2>&1\n" .. command))
  local text = pipe:read "a"
  local _, _, status = pipe:close()
  return text, status
end

--- Runs a command in a compartment of a stage's host; raises unless it succeeds.
function namespaces.inside(stage, compartment, command)
  local text, status = namespaces.shell(("nsenter --net=/run/bulkhead/%s/c%d -- %s")
    :format(stage.tag, compartment, command))
  assert(status == 0, text)
  return text
end

--- Names of the interfaces of a compartment, sorted, as one line.
function namespaces.links(stage, compartment)
  local names = {}
  for name in namespaces.inside(stage, compartment, "cat /proc/self/net/dev"):gmatch "([^%s:|]+):" do
    names[#names + 1] = name
  end
  table.sort(names)
  return table.concat(names, " ")
end

--- The path of a namespace as a pod's, that of a process which sleeps in it until the stage closes.
function namespaces.pod(stage)
  if stage.platform ~= "linux" then
    return "/pods/1/net"
  end
  local pipe = assert(io.popen "exec unshare --net sh -c 'echo $$; exec sleep 60'")
  local pid = assert(pipe:read "l")
  stage:defer(function()
    os.execute("kill " .. pid)
    pipe:close()
  end)
  return ("/proc/%s/ns/net"):format(pid)
end

return namespaces

--- main.lua - what `bulkhead WORDS…` means.
if arg[1] == "run" then
  local script = table.remove(arg, 2)
  table.remove(arg, 1)
  arg[0] = script
  return assert(loadfile(script))(table.unpack(arg))
end
io.stderr:write("bulkhead: no such command\n")
return 2

--- publisher.lua - makes and removes containers with published ports until it is killed.
--- Arguments: the state's directory, the program's root. Says
--- `ready PID TAG` once there is a network.
local lifecycle = require "lifecycle"
local validate = require "validate"

local lab = assert(require("bulkhead.lab").open {
  platform = "linux", host = { "10.0.0.1/24" }, outside = { "10.0.0.9/24" },
})
local host = assert(require("bulkhead").open { platform = "linux", lab = lab, state = arg[1], write = true })
assert(host:begin())
assert(host:add_network { name = "nat", driver = "nat", subnets = { "172.16.0.0/16", "fd00:16::/64" } })
assert(host:commit())
local pipe = assert(io.popen "ip -o link")
local tag = pipe:read("a"):match " b(%w+)%-%w+@"
pipe:close()
io.write("ready ", require("lfs").symlinkattributes("/proc/self", "target"), " ", tag, "\n")
io.flush()
for number = 1, math.huge do
  local id = "c" .. number
  assert(lifecycle.create(host, {
    id = id, type = "process", policies = require("session").policies(),
    published = assert(validate.published { "8000-8019:8000-8019", "5300-5309:5300-5309/udp" }),
  }))
  assert(lifecycle.remove(host, id))
end

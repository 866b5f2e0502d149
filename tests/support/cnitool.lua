--- cnitool.lua - calls our program as a container runtime calls a CNI plugin.
local cli = require "tests.support.cli"
local json = require "json"

local cnitool = {}
cnitool.__index = cnitool

local function quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

--- A runtime whose plugin has this state.
function cnitool.new(state)
  return setmetatable({ state = state }, cnitool)
end

--- A request about container `id` on a network of these subnets; `fields` are the configuration's, `more` the
--- request's own.
function cnitool.request(id, netns, subnets, fields, more)
  local conf = { cniVersion = "1.0.0", name = "pods", type = "bulkhead", subnet = subnets }
  for key, value in pairs(fields or {}) do
    conf[key] = value
  end
  local request = { id = id, netns = netns, conf = conf }
  for key, value in pairs(more or {}) do
    request[key] = value
  end
  return request
end

--- Calls a command. What comes back is decoded, {} if it is empty.
---@param command string
---@param request { id: string?, netns: string?, interface: string?, args: string?, conf: table|string }
---@return integer status
---@return any answer
---@return string errors what stood on standard error
function cnitool:call(command, request)
  local input, errors = os.tmpname(), os.tmpname()
  local file = assert(io.open(input, "w"))
  file:write(type(request.conf) == "table" and json.encode(request.conf) or request.conf or "")
  file:close()
  local words = { "env", "BULKHEAD_STATE=" .. quote(self.state), "CNI_COMMAND=" .. command, "CNI_PATH=/opt/cni/bin" }
  for name, value in pairs {
    CNI_CONTAINERID = request.id, CNI_NETNS = request.netns, CNI_IFNAME = request.interface or "eth0",
    CNI_ARGS = request.args,
  } do
    words[#words + 1] = name .. "=" .. quote(value)
  end
  words[#words + 1] = ("%s <%s 2>%s"):format(quote(cli.program()), input, errors)
  local pipe = assert(io.popen(table.concat(words, " ")))
  local text = pipe:read "a"
  local _, _, status = pipe:close()
  local handle = assert(io.open(errors))
  local said = handle:read "a"
  handle:close()
  os.remove(input)
  os.remove(errors)
  if text == "" then
    return status, {}, said
  end
  return status, assert(json.decode(text), text), said
end

--- Calls a command that must succeed.
function cnitool:done(command, request)
  local status, answer = self:call(command, request)
  assert(status == 0, ("%s: %s"):format(command, answer.msg))
  return answer
end

--- Calls a command that must fail with this code.
---@return string msg
function cnitool:fails(code, command, request)
  local status, answer, said = self:call(command, request)
  assert(status == 1, ("%s succeeded"):format(command))
  assert(answer.code == code, ("code %s, not %d: %s"):format(answer.code, code, answer.msg))
  assert(type(answer.cniVersion) == "string" and #answer.msg > 0)
  assert(said == "", said)
  return answer.msg
end

return cnitool

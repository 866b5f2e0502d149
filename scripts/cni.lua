--- cni.lua - the Container Network Interface's words: what a runtime asks, and the shape of answers.
---
--- Here the environment is read and checked, and results and errors are written, for the versions
--- 0.3.1 to 1.1.0 of the specification; cni_config.lua reads configurations, and cni_plugin.lua does
--- what they ask.
local json = require "json"
local validate = require "validate"

local cni = {}

cni.LIMIT = 1 << 20 -- bytes of configuration read
cni.VERSIONS = { "0.3.1", "0.4.0", "1.0.0", "1.1.0" }
cni.LATEST = "1.1.0"

--- Error codes: those below 100 are the specification's.
cni.VERSION_MISMATCH = 1
cni.UNSUPPORTED_FIELD = 2
cni.BAD_ENVIRONMENT = 4
cni.IO_FAILURE = 5
cni.NOT_DECODED = 6
cni.BAD_CONFIGURATION = 7
cni.TRY_AGAIN = 11
cni.NOT_AVAILABLE = 50
cni.REFUSED = 100 -- by a policy, or because the host does not have what is asked for
cni.NO_ADDRESS = 101 -- it is taken, or none is free
cni.ATTACHED = 102 -- already, or under another name
cni.CHANGED = 103 -- CHECK found it otherwise than it was made
cni.INTERNAL = 999 -- a mistake of ours

local ORDER = {
  "cniVersion", "code", "msg", "details", "interfaces", "name", "mac", "mtu", "sandbox", "ips",
  "version", "interface", "address", "gateway", "routes", "dst", "gw", "dns", "nameservers", "domain",
  "search", "options", "supportedVersions",
}

--- A failure, to be raised.
local Failure = { __name = "CNI failure" }
Failure.__index = Failure
Failure.__tostring = function(failure)
  return failure.msg
end

--- Raises a failure.
---@param code integer
---@param msg string
---@param details? string
function cni.fail(code, msg, details)
  error(setmetatable({ code = code, msg = msg, details = details }, Failure), 0)
end
local fail = cni.fail

function cni.is_failure(value)
  return getmetatable(value) == Failure
end

--- The value, unless it is nil: then the second is why.
local function valid(code, value, message)
  if value == nil then
    fail(code, message)
  end
  return value
end

--- The place of a version among those supported; nil if it is none.
local function rank(version)
  for i, known in ipairs(cni.VERSIONS) do
    if known == version then
      return i
    end
  end
end

cni.rank = rank

--- Whether a version is another or later.
function cni.at_least(version, other)
  return rank(version) >= rank(other)
end

--- The document that a failure becomes.
function cni.error_text(version, failure)
  return json.encode({
    cniVersion = rank(version) and version or cni.LATEST, code = failure.code, msg = failure.msg,
    details = failure.details,
  }, ORDER)
end

--- The answer to VERSION.
function cni.version_text(version)
  return json.encode({
    cniVersion = rank(version) and version or cni.LATEST, supportedVersions = cni.VERSIONS,
  }, ORDER)
end

--- CNI_ARGS: `KEY=VALUE;…`. K8S_… is for others, but for the pod's name.
---@return { name: string?, address: string?, mac: string? }
function cni.arguments(text)
  local found, written, ignore = {}, {}, false
  for pair in (text or ""):gmatch "[^;]+" do
    local key, value = pair:match "^([%w_]+)=(.*)$"
    if not key then
      fail(cni.BAD_ENVIRONMENT, ("CNI_ARGS: %s is not KEY=VALUE"):format(validate.quoted(pair)))
    end
    found[key:lower()], written[key:lower()] = value, key
    ignore = ignore or (key:lower() == "ignoreunknown" and (value:lower() == "true" or value == "1"))
  end
  local result = {}
  for key, value in pairs(found) do
    if key == "ip" then
      result.address = valid(cni.BAD_ENVIRONMENT, validate.address(value, true))
    elseif key == "mac" then
      result.mac = valid(cni.BAD_ENVIRONMENT, validate.mac(value))
    elseif key == "k8s_pod_name" then
      result.name = validate.id(value) -- another tool's name may be longer than ours
    elseif key:sub(1, 4) ~= "k8s_" and key ~= "ignoreunknown" and not ignore then
      fail(cni.BAD_ENVIRONMENT, ("CNI_ARGS: the key %s is unknown, and IgnoreUnknown is not set")
        :format(validate.quoted(written[key])))
    end
  end
  return result
end

-- What each command must have in its environment.
local NEEDS = {
  ADD = { "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME" },
  CHECK = { "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME" },
  DEL = { "CNI_CONTAINERID", "CNI_IFNAME" },
  GC = {}, STATUS = {}, VERSION = {},
}
local SINCE = { CHECK = "0.4.0", GC = "1.1.0", STATUS = "1.1.0" }

--- The command, if it is one.
function cni.command(environment)
  local command = environment "CNI_COMMAND"
  if command == nil or command == "" then
    fail(cni.BAD_ENVIRONMENT, "CNI_COMMAND is not set: it is ADD, DEL, CHECK, STATUS, GC or VERSION")
  elseif not NEEDS[command] then
    fail(cni.BAD_ENVIRONMENT, ("CNI_COMMAND %s is not known: it is ADD, DEL, CHECK, STATUS, GC or VERSION")
      :format(validate.quoted(command)))
  end
  return command
end

--- Refuses a command that the version does not have.
function cni.check_command(command, version)
  local since = SINCE[command]
  if since and not cni.at_least(version, since) then
    fail(cni.VERSION_MISMATCH, ("the CNI version %s has no %s"):format(version, command),
      "it came with " .. since)
  end
end

--- What a command is about, from the environment.
---@param command string
---@param environment fun(name: string): string?
---@return { id: string?, netns: string?, interface: string?, arguments: table }
function cni.request(command, environment)
  for _, name in ipairs(NEEDS[command]) do
    if (environment(name) or "") == "" then
      fail(cni.BAD_ENVIRONMENT, ("%s needs %s, which is not set"):format(command, name))
    end
  end
  local request = { arguments = {} }
  local function take(key, name, check)
    local text = environment(name)
    if text and text ~= "" then
      local value, message = check(text)
      request[key] = value or fail(cni.BAD_ENVIRONMENT, name .. ": " .. message)
    end
  end
  if #NEEDS[command] > 0 then
    take("id", "CNI_CONTAINERID", validate.id)
    take("interface", "CNI_IFNAME", validate.interface)
    if command ~= "DEL" then
      take("netns", "CNI_NETNS", function(text)
        return validate.path(text, "a network namespace")
      end)
      request.arguments = cni.arguments(environment "CNI_ARGS")
    end
  end
  return request
end

-- A list that stays one in JSON when it is empty.
local function list(items)
  return setmetatable(items or {}, { __jsontype = "array" })
end

--- The text of a result in the version asked for, after what earlier plugins of a chain answered.
---@param version string
---@param made table name, mac, mtu, sandbox, ips (address, gateway), routes (dst, gw), dns
---@param previous? table
---@return string
function cni.result_text(version, made, previous)
  previous = previous or {}
  local function before(key)
    return list(type(previous[key]) == "table" and not json.is_object(previous[key])
      and table.move(previous[key], 1, #previous[key], 1, {}))
  end
  local interfaces, ips, routes = before "interfaces", before "ips", before "routes"
  local at = #interfaces -- counted from 0
  interfaces[at + 1] = {
    name = made.name, mac = made.mac, sandbox = made.sandbox,
    mtu = cni.at_least(version, "1.1.0") and made.mtu or nil,
  }
  for _, ip in ipairs(made.ips) do
    ips[#ips + 1] = {
      version = not cni.at_least(version, "1.0.0") and (ip.address:find(":", 1, true) and "6" or "4") or nil,
      interface = at, address = ip.address, gateway = ip.gateway,
    }
  end
  table.move(made.routes, 1, #made.routes, #routes + 1, routes)
  local dns = made.dns or (json.is_object(previous.dns) and previous.dns) or setmetatable({}, { __jsontype = "object" })
  return json.encode({
    cniVersion = version, interfaces = interfaces, ips = ips, routes = routes, dns = dns,
  }, ORDER)
end

return cni

--- cni_config.lua - a CNI configuration as it comes on standard input, read and checked.
---
--- Everything may be hostile. Keys are matched without case, because containerd's CRI writes `HostPort`;
--- messages have them as they were written.
--- Whatever asks for something that would not be done is refused, not ignored.
local cni = require "cni"
local json = require "json"
local validate = require "validate"

local config = {}
local fail = cni.fail

--- The value, unless it is nil: then the second is why.
local function valid(code, value, message)
  if value == nil then
    fail(code, message)
  end
  return value
end

-- A list that stays one in JSON when it is empty.
local function list(items)
  return setmetatable(items or {}, { __jsontype = "array" })
end

--- Objects with keys in lower case, all the way down, but for those whose keys are data; `written` of the
--- metatable has them as they were.
local DATA = { ["io.kubernetes.cri.pod-annotations"] = true, ["prevresult"] = true, ["args"] = true }
local function fold(value)
  if not json.is_object(value) then
    if type(value) == "table" then
      for i, item in ipairs(value) do
        value[i] = fold(item)
      end
    end
    return value
  end
  local written = {}
  local folded = setmetatable({}, { __jsontype = "object", written = written })
  for key, item in pairs(value) do
    local lower = tostring(key):lower()
    if folded[lower] ~= nil then
      fail(cni.NOT_DECODED, ("the key %s is there twice"):format(validate.quoted(key)))
    end
    folded[lower], written[lower] = DATA[lower] and item or fold(item), key
  end
  return folded
end

--- A key of a folded object as it was written.
local function written(object, key)
  local meta = getmetatable(object)
  return meta and meta.written and meta.written[key] or key
end

local function is_list(value)
  return type(value) == "table" and not json.is_object(value)
end

--- A field of an object: nil if it is missing or null, refused if it is of another kind.
local function field(object, key, kind, where)
  local value = object[key]
  if value == nil or value == json.null then
    return nil
  end
  local ok = type(value) == kind
  if kind == "object" then
    ok = json.is_object(value)
  elseif kind == "list" then
    ok = is_list(value)
  elseif kind == "integer" then
    value = type(value) == "number" and math.tointeger(value)
    ok = value and true or false
  end
  if not ok then
    fail(cni.NOT_DECODED, ("%s of %s is not %s"):format(validate.quoted(written(object, key)), where,
      (kind == "object" or kind == "integer") and "an " .. kind or kind == "string" and "text" or "a " .. kind))
  end
  return value
end

--- A list of texts that `check` has read.
local function texts(object, key, where, check)
  local result = list()
  for i, text in ipairs(field(object, key, "list", where) or {}) do
    if type(text) ~= "string" then
      fail(cni.NOT_DECODED, ("%s of %s is not a list of texts")
        :format(validate.quoted(written(object, key)), where))
    end
    result[i] = check and valid(cni.BAD_CONFIGURATION, check(text)) or text
  end
  return result
end

local function plain(text)
  if #text > 255 or text:find "[%c ]" then
    return nil, validate.quoted(text) .. " is no name for DNS"
  end
  return text
end

local function servers(object, key, where)
  return valid(cni.BAD_CONFIGURATION,
    validate.at_most(texts(object, key, where, validate.address), validate.SERVERS_MAX, "name servers", "a network"))
end

--- A `dns` object, all fields there; nil if it says nothing.
local function read_dns(object, where)
  if not object then
    return nil
  end
  local dns = {
    nameservers = servers(object, "nameservers", where),
    search = texts(object, "search", where, plain),
    options = texts(object, "options", where, plain),
    domain = field(object, "domain", "string", where),
  }
  if object.servers or object.searches then -- as the capability calls them
    dns.nameservers = servers(object, "servers", where)
    dns.search = texts(object, "searches", where, plain)
  end
  if dns.domain then
    valid(cni.BAD_CONFIGURATION, plain(dns.domain))
  end
  local says = dns.domain or dns.nameservers[1] or dns.search[1] or dns.options[1]
  return says and dns or nil
end

--- Shows a value that is refused, as the specification wants it in the message.
local function shown(value)
  local ok, text = pcall(json.encode, value)
  return validate.quoted(ok and text or tostring(value))
end

local function unsupported(key, value, why)
  fail(cni.UNSUPPORTED_FIELD, ("the field %s with the value %s is not supported: %s")
    :format(validate.quoted(key), shown(value), why))
end

--- portMappings, as entries of `published`.
local function read_mappings(mappings)
  local published = {}
  for i, mapping in ipairs(mappings or {}) do
    local where = "portMappings[" .. i .. "]"
    if not json.is_object(mapping) then
      fail(cni.NOT_DECODED, where .. " is not an object")
    end
    local address = field(mapping, "hostip", "string", where)
    local entry = {
      host = field(mapping, "hostport", "integer", where),
      container = field(mapping, "containerport", "integer", where),
      protocol = (field(mapping, "protocol", "string", where) or "tcp"):lower(),
    }
    valid(cni.BAD_CONFIGURATION, validate.protocol(entry.protocol))
    for _, key in ipairs { "host", "container" } do
      if not entry[key] or entry[key] < 1 or entry[key] > 65535 then
        fail(cni.BAD_CONFIGURATION, ("%s: the %s port is a number from 1 to 65535"):format(where, key))
      end
    end
    if address and address ~= "" and address ~= "0.0.0.0" and address ~= "::" then
      entry.address = valid(cni.BAD_CONFIGURATION, validate.address(address))
    end
    published[i] = entry
  end
  return valid(cni.BAD_CONFIGURATION, validate.no_conflict(published))
end

local RUNTIME = {
  portmappings = true, ips = true, mac = true, bandwidth = true, dns = true,
  ["io.kubernetes.cri.pod-annotations"] = true,
}

--- Rates and bursts of 0 ask for nothing.
local function check_bandwidth(bandwidth)
  for _, value in pairs(bandwidth or {}) do
    if value ~= 0 and value ~= json.null then
      unsupported("bandwidth", bandwidth, "Bulkhead does not limit rates; a qdisc on the NIC does")
    end
  end
end

--- runtimeConfig: what the runtime asks for this one container.
local function read_runtime(runtime)
  for key, value in pairs(runtime) do
    if not RUNTIME[key] and value ~= json.null and not (type(value) == "table" and next(value) == nil) then
      unsupported("runtimeConfig." .. written(runtime, key), value, "it is not a capability of Bulkhead")
    end
  end
  check_bandwidth(field(runtime, "bandwidth", "object", "runtimeConfig"))
  local annotations = field(runtime, "io.kubernetes.cri.pod-annotations", "object", "runtimeConfig")
  local mac = field(runtime, "mac", "string", "runtimeConfig")
  return {
    published = read_mappings(field(runtime, "portmappings", "list", "runtimeConfig")),
    addresses = valid(cni.BAD_CONFIGURATION, validate.addresses(texts(runtime, "ips", "runtimeConfig"))),
    mac = mac and mac ~= "" and valid(cni.BAD_CONFIGURATION, validate.mac(mac)) or nil,
    annotations = valid(cni.NOT_DECODED, validate.annotations(annotations)),
    dns = read_dns(field(runtime, "dns", "object", "runtimeConfig"), "runtimeConfig.dns"),
  }
end

--- args.cni: what the conventions of CNI ask for by way of the configuration. Labels ask for nothing, and
--- other members of `args` are for others.
local function read_args(args)
  local ours
  for key, value in pairs(args or {}) do
    ours = tostring(key):lower() == "cni" and json.is_object(value) and fold(value) or ours
  end
  for key, value in pairs(ours or {}) do
    if key ~= "ips" and key ~= "labels" and value ~= json.null
      and not (type(value) == "table" and next(value) == nil) then
      unsupported("args.cni." .. written(ours, key), value, "Bulkhead takes ips")
    end
  end
  return ours and valid(cni.BAD_CONFIGURATION, validate.addresses(texts(ours, "ips", "args.cni"))) or {}
end

-- What a configuration may have. `capabilities`, `args` and what begins with cni.dev/ are for others.
local KEYS = {
  cniversion = true, name = true, type = true, capabilities = true, args = true, dns = true,
  prevresult = true, runtimeconfig = true, network = true, driver = true, subnet = true,
  gateway = true, mtu = true, containertype = true, policies = true, policy = true,
  state = true,
}

--- A text or a list of texts.
local function one_or_more(object, key, check)
  if type(object[key]) == "string" then
    return { valid(cni.BAD_CONFIGURATION, check(object[key])) }
  end
  local items = texts(object, key, "the configuration", check)
  valid(cni.BAD_CONFIGURATION, validate.at_most(items, validate.SUBNETS_MAX, key .. "s", "a network"))
  return items[1] and items or nil
end

local function optional(object, key, check)
  local text = field(object, key, "string", "the configuration")
  return text and valid(cni.BAD_CONFIGURATION, check(text)) or nil
end

--- The cniVersion of a document that may be anything; nil if it has none.
local function version_of(object)
  local version = field(object, "cniversion", "string", "the configuration")
  if version ~= nil and not cni.rank(version) then
    fail(cni.VERSION_MISMATCH, ("the CNI version %s is not supported")
      :format(validate.quoted(version)), "supported are " .. table.concat(cni.VERSIONS, ", "))
  end
  return version
end

--- Reads a JSON object and folds its keys.
function config.decode(text)
  local value, message = json.decode(text, { unique = true })
  if value == nil then
    fail(cni.NOT_DECODED, "the configuration: " .. (message or "null"))
  elseif not json.is_object(value) then
    fail(cni.NOT_DECODED, "the configuration is not a JSON object")
  end
  local ok, folded = pcall(fold, value)
  if not ok then
    fail(cni.NOT_DECODED, cni.is_failure(folded) and folded.msg or "the configuration is nested too deeply")
  end
  return folded
end

--- The version that an answer is written in, from a folded configuration.
function config.version(object)
  return version_of(object) or fail(cni.VERSION_MISMATCH, "the configuration has no cniVersion",
    "supported are " .. table.concat(cni.VERSIONS, ", "))
end

--- Reads a configuration. `lenient` (DEL, GC) leaves out what only matters when something is made.
---@param object table folded
---@param lenient? boolean
---@return table configuration
function config.read(object, lenient)
  local name = field(object, "name", "string", "the configuration")
  if not name then
    fail(cni.BAD_CONFIGURATION, "the configuration has no name")
  end
  local configuration = {
    version = config.version(object), name = valid(cni.BAD_CONFIGURATION, validate.configuration_name(name)),
    previous = field(object, "prevresult", "object", "the configuration"),
    state = optional(object, "state", function(text)
      return validate.absolute_path(text, "state")
    end),
  }
  if lenient then
    return configuration
  end
  for key, value in pairs(object) do
    if not KEYS[key] and key:sub(1, 8) ~= "cni.dev/" and value ~= json.null
      and not (type(value) == "table" and next(value) == nil) then
      unsupported(written(object, key), value, "it is not a field of Bulkhead's")
    end
  end
  configuration.network =
    valid(cni.BAD_CONFIGURATION, validate.network_name(field(object, "network", "string", "the configuration") or name))
  configuration.driver = optional(object, "driver", validate.driver)
  configuration.subnets = one_or_more(object, "subnet", validate.subnet)
  configuration.gateways = one_or_more(object, "gateway", validate.address)
  configuration.mtu = field(object, "mtu", "integer", "the configuration")
  configuration.type = optional(object, "containertype", validate.type)
  configuration.policies = optional(object, "policies", function(text)
    return validate.absolute_path(text, "policies")
  end)
  configuration.policy = optional(object, "policy", validate.policy_name)
  configuration.dns = read_dns(field(object, "dns", "object", "the configuration"), "dns")
  configuration.runtime =
    read_runtime(field(object, "runtimeconfig", "object", "the configuration") or setmetatable({}, nil))
  configuration.addresses = read_args(field(object, "args", "object", "the configuration"))
  local mtu = configuration.mtu
  if mtu == 0 then
    configuration.mtu = nil
  elseif mtu and (mtu < 68 or mtu > 65535) then
    fail(cni.BAD_CONFIGURATION, "the mtu is a number from 68 to 65535")
  end
  return configuration
end

--- What GC is told: the attachments that stay, by `container interface`.
function config.attachments(object)
  local value = field(object, "cni.dev/valid-attachments", "list", "the configuration")
    or field(object, "cni.dev/attachments", "list", "the configuration")
  if not value then
    fail(cni.BAD_CONFIGURATION, "GC needs cni.dev/valid-attachments")
  end
  local stay = {}
  for i, each in ipairs(value) do
    local where = "cni.dev/valid-attachments[" .. i .. "]"
    if not json.is_object(each) then
      fail(cni.NOT_DECODED, where .. " is not an object")
    end
    local id, interface = field(each, "containerid", "string", where), field(each, "ifname", "string", where)
    if not id or not interface then
      fail(cni.BAD_CONFIGURATION, where .. " has no containerID or no ifname")
    end
    stay[id .. " " .. interface] = true
  end
  return stay
end

return config

--- validate.lua - what comes from outside is read here, and nowhere else: ids, names, published
--- ports, annotations.
---
--- Every function returns the value, or nil and one sentence that says what would have been right.
local validate = {}

validate.TYPES = { "process", "hyperv" }
validate.DRIVERS = { "nat", "l2bridge", "transparent", "internal", "overlay" }
validate.PROTOCOLS = { "tcp", "udp", "sctp" }
validate.ID_MAX = 255
validate.NAME_MAX = 63
validate.ADDRESSES_MAX = 8 -- of one endpoint, as the host takes them
validate.SUBNETS_MAX = 8 -- of one network, as the host takes them; and as many gateways
validate.SERVERS_MAX = 16 -- name servers of a network: what a rule's `DNS` can stand for
validate.REACH_MAX = 64 -- networks that a network reaches
validate.PUBLISHED_MAX = 4096 -- ports of one container: a bound for what one annotation can ask for

--- Untrusted text, short and harmless enough for a sentence.
local function quoted(text)
  text = tostring(text):gsub("[%c\127-\255]", "?")
  return "'" .. (#text > 40 and text:sub(1, 37) .. "..." or text) .. "'"
end
validate.quoted = quoted

local function one_of(list, what)
  local words = table.concat(list, ", ", 1, #list - 1) .. " or " .. list[#list]
  return function(text)
    for _, known in ipairs(list) do
      if text == known then
        return text
      end
    end
    return nil, ("%s is no %s: it is one of %s"):format(quoted(text), what, words)
  end
end

--- A container type.
validate.type = one_of(validate.TYPES, "container type")
--- A network driver.
validate.driver = one_of(validate.DRIVERS, "network driver")
--- A protocol that can be published.
validate.protocol = one_of(validate.PROTOCOLS, "protocol to publish")

local function word(text, what, max)
  if type(text) ~= "string" then
    return nil, ("a %s is text"):format(what)
  elseif text == "" then
    return nil, ("a %s cannot be empty"):format(what)
  elseif #text > max then
    return nil, ("a %s has at most %d characters, not %d"):format(what, max, #text)
  elseif not text:find "^[A-Za-z0-9][A-Za-z0-9_.-]*$" then
    return nil, ("%s is no %s: it may have A-Z a-z 0-9 _ . - and begins with a letter or digit")
      :format(quoted(text), what)
  end
  return text
end

--- A container's id.
function validate.id(text)
  return word(text, "container id", validate.ID_MAX)
end

--- A network's name; a driver's name is no name for a network but `nat`, which is made on first use.
function validate.network_name(text)
  return word(text, "network name", validate.NAME_MAX)
end

--- The name of a CNI configuration, as libcni takes it.
function validate.configuration_name(text)
  return word(text, "configuration name", validate.ID_MAX)
end

--- The name of a container policy: it becomes the name of a file.
function validate.policy_name(text)
  if type(text) ~= "string" or #text > 32 or not text:find "^[A-Za-z0-9_-]+$" then
    return nil, ("%s is no policy name: it has 1 to 32 of A-Z a-z 0-9 _ -"):format(quoted(text))
  end
  return text
end

--- A whole number within bounds, written in digits.
function validate.number(text, what, low, high)
  local number = type(text) == "string" and #text <= 10 and text:find "^%d+$"
    and math.tointeger(tonumber(text))
  if not number or number < low or number > high then
    return nil, ("%s is no %s: it is a number from %d to %d"):format(quoted(text), what, low, high)
  end
  return number
end

--- The name of an interface in a container. `lo`, `all` and `default` mean something else to the kernel.
function validate.interface(text)
  local reserved = text == "lo" or text == "all" or text == "default" or text == "." or text == ".."
  if reserved or #text > 15 or not text:find "^[!-~]+$" or text:find "[/:%%]" then
    return nil, ("%s is no interface name: it has 1 to 15 visible characters without / : %%, and is not lo, "
      .. "all or default"):format(quoted(text))
  end
  return text
end

--- A unicast MAC address, in lower case.
function validate.mac(text)
  local first = text:match "^(%x%x):%x%x:%x%x:%x%x:%x%x:%x%x$"
  if not first or tonumber(first, 16) % 2 == 1 or text:find "^00:00:00:00:00:00$" then
    return nil, ("%s is no MAC address of one NIC: it is like 02:42:ac:10:00:02"):format(quoted(text))
  end
  return text:lower()
end

--- A path: any bytes but none that could end it early or steer a terminal.
function validate.path(text, what)
  if text == "" or text:find "%c" then
    return nil, ("%s is no path for %s"):format(quoted(text), what)
  end
  return text
end

--- A path from the root: who reads it may stand anywhere.
function validate.absolute_path(text, what)
  local path, why = validate.path(text, what)
  if path and path:sub(1, 1) ~= "/" then
    return nil, ("%s is no path for %s: it begins with /"):format(quoted(text), what)
  end
  return path, why
end

--- An address, with a prefix length if `length` says "/LEN" may stand.
function validate.address(text, length)
  local filter = require "bulkhead.filter"
  local parsed = (length or not text:find("/", 1, true)) and filter.prefix(text, true)
  if not parsed then
    return nil, ("%s is no address%s"):format(quoted(text), length and " or ADDRESS/LENGTH" or "")
  end
  return length and text or parsed.address
end

--- A list, if it is not longer than it may be.
---@param list any[]
---@param max integer
---@param what string like "subnets"
---@param whose string like "a network"
---@return any[]?
---@return string? message
function validate.at_most(list, max, what, whose)
  if #list > max then
    return nil, ("%d %s are too many: %s has at most %d"):format(#list, what, whose, max)
  end
  return list
end

--- Addresses of one endpoint, each with or without "/LEN".
---@param texts string[]
---@return string[]?
---@return string? message
function validate.addresses(texts)
  local few, many = validate.at_most(texts, validate.ADDRESSES_MAX, "addresses", "an endpoint")
  if not few then
    return nil, many
  end
  for _, text in ipairs(texts) do
    local ok, why = validate.address(text, true)
    if not ok then
      return nil, why
    end
  end
  return texts
end

--- A prefix like 172.16.0.0/16: with a length, and nothing beyond it.
function validate.subnet(text)
  if not text:find("/", 1, true) then
    return nil, ("%s is no subnet: it is like 172.16.0.0/16"):format(quoted(text))
  end
  local parsed, why = require("bulkhead.filter").prefix(text)
  if not parsed then
    return nil, ("%s is no subnet: %s"):format(quoted(text), why)
  end
  return text
end

local function ports(text, what)
  local first, last = text:match "^(%d+)%-(%d+)$"
  first, last = first or text, last or text
  local low, why = validate.number(first, what, 1, 65535)
  if not low then
    return nil, why
  end
  local high
  high, why = validate.number(last, what, 1, 65535)
  if not high then
    return nil, why
  elseif high < low then
    return nil, ("the range %s runs backwards"):format(text)
  end
  return low, high
end

--- Splits `[ADDR:]HOST:CTR` into its three parts; an IPv6 address stands in brackets.
local function split(text)
  local address, rest = text:match "^%[([^%[%]]*)%]:(.*)$"
  if not address then
    address, rest = text:match "^([^:]*):([^:]*:[^:]*)$"
    if address and (address == "" or address:find("[", 1, true)) then
      return nil
    end
    rest = rest or text
  elseif not address:find(":", 1, true) then
    return nil
  end
  local host, container = rest:match "^([%d-]+):([%d-]+)$"
  return host, container, address
end

--- One P: `[ADDR:]HOST[-HOST]:CTR[-CTR][/tcp|udp|sctp]`, as one entry for each port.
---@param text string
---@return published[]?
---@return string? message
function validate.publish(text)
  local body, protocol = text:match "^([^/]*)/(.*)$"
  body, protocol = body or text, protocol or "tcp"
  local known, why = validate.protocol(protocol)
  if not known then
    return nil, why
  end
  local host, container, address = split(body)
  if not host then
    return nil, ("%s is no published port: it is [ADDR:]HOST[-HOST]:CTR[-CTR][/tcp|udp|sctp]")
      :format(quoted(text))
  end
  if address then
    address, why = validate.address(address)
    if not address then
      return nil, why
    end
  end
  local host_low, host_high = ports(host, "host port")
  if not host_low then
    return nil, host_high
  end
  local low, high = ports(container, "container port")
  if not low then
    return nil, high
  elseif host_high - host_low ~= high - low then
    return nil, ("%s: the two ranges have different lengths"):format(quoted(text))
  end
  local list = {}
  for offset = 0, high - low do
    list[#list + 1] = {
      address = address, host = host_low + offset, container = low + offset, protocol = protocol,
    }
  end
  return list
end

--- Two entries on the same host port: of one address, or of any where one names none.
local function conflict(list)
  local taken = {}
  for _, entry in ipairs(list) do
    local key = entry.protocol .. " " .. entry.host
    local others = taken[key] or { any = false, addresses = {} }
    if others.any or (entry.address == nil and next(others.addresses))
      or (entry.address and others.addresses[entry.address]) then
      return ("host port %d/%s is published twice"):format(entry.host, entry.protocol)
    end
    if entry.address then
      others.addresses[entry.address] = true
    else
      others.any = true
    end
    taken[key] = others
  end
end

--- The list, if no two of its entries are on the same host port.
---@param list published[]
---@return published[]?
---@return string? message
function validate.no_conflict(list)
  if #list > validate.PUBLISHED_MAX then
    return nil, ("more than %d published ports"):format(validate.PUBLISHED_MAX)
  end
  local why = conflict(list)
  if why then
    return nil, why
  end
  return list
end

--- Several P, checked against each other too.
---@param texts string[]
---@return published[]?
---@return string? message
function validate.published(texts)
  local all = {}
  for _, text in ipairs(texts) do
    local list, why = validate.publish(text)
    if not list then
      return nil, why
    end
    table.move(list, 1, #list, #all + 1, all)
    if #all > validate.PUBLISHED_MAX then
      return nil, ("more than %d published ports"):format(validate.PUBLISHED_MAX)
    end
  end
  return validate.no_conflict(all)
end

--- The parts of a list P,P,… as an annotation has it. No text, no parts.
function validate.list(text)
  local parts = {}
  if text == nil or text == "" then
    return parts
  end
  for part in (text .. ","):gmatch "%s*(.-)%s*," do
    parts[#parts + 1] = part
  end
  return parts
end

--- Annotations: a JSON object whose values are text. None is as good as an empty object.
---@return table<string, string>?
---@return string? message
function validate.annotations(value)
  local json = require "json"
  local copy = {}
  if value == nil or value == json.null then
    return copy
  elseif not json.is_object(value) then
    return nil, "annotations are an object"
  end
  for key, text in pairs(value) do
    if type(text) ~= "string" then
      return nil, ("the annotation %s is not text"):format(quoted(key))
    end
    copy[key] = text
  end
  return copy
end

local ANNOTATIONS = { "address", "network", "policy", "publish", "type" }

--- Refuses annotations that would be Bulkhead's and are none: a misspelt one must not leave a container
--- with the defaults.
local function known_only(annotations)
  local keys, known = {}, {}
  for i, name in ipairs(ANNOTATIONS) do
    known[i] = "bulkhead." .. name
    known[known[i]] = true
  end
  for key in pairs(annotations) do
    keys[#keys + 1] = key:sub(1, 9):lower() == "bulkhead." and not known[key] and key or nil
  end
  table.sort(keys)
  if keys[1] then
    return nil, ("there is no annotation %s: there are %s and %s"):format(quoted(keys[1]),
      table.concat(known, ", ", 1, #known - 1), known[#known])
  end
  return true
end

--- What the annotations of Bulkhead ask for.
---@param annotations table<string, string>
---@return { type: string, network: string?, policy: string?, published: published[], addresses: string[] }?
---@return string? message
function validate.wishes(annotations)
  local wishes = {}
  local _, why = known_only(annotations)
  local function take(field, key, check, default)
    if why == nil then
      local text = annotations["bulkhead." .. key]
      if text == nil then
        wishes[field] = default
      else
        wishes[field], why = check(text)
        why = why and ("annotation bulkhead.%s: %s"):format(key, why)
      end
    end
  end
  take("type", "type", validate.type, "process")
  take("network", "network", validate.network_name)
  take("policy", "policy", validate.policy_name)
  take("published", "publish", function(text)
    return validate.published(validate.list(text))
  end, {})
  take("addresses", "address", function(text)
    return validate.addresses(validate.list(text))
  end)
  if why then
    return nil, why
  end
  return wishes
end

return validate

--- cni_plugin.lua - what CNI's commands do on the host.
---
--- An attachment is an endpoint: of the container CNI_CONTAINERID, on the interface CNI_IFNAME, with the
--- name of the configuration noted, so that DEL and GC touch nothing that another one brought. ADD tells
--- handlers `create`, `attach` and `start`; DEL tells `stop` and `detach`, and with the container's last
--- endpoint `remove`. The network is made by its first ADD and stays.
local cni = require "cni"
local config = require "cni_config"
local filter = require "bulkhead.filter"
local lfs = require "lfs"
local lifecycle = require "lifecycle"
local overlay = require "overlay"
local policies = require "policies"
local roster = require "roster"
local session = require "session"
local validate = require "validate"

local plugin = {}
local fail = cni.fail

local CODES = {
  EEXIST = cni.ATTACHED, EADDRINUSE = cni.NO_ADDRESS, EADDRNOTAVAIL = cni.NO_ADDRESS,
  EBUSY = cni.TRY_AGAIN, ESTALE = cni.TRY_AGAIN, EAGAIN = cni.TRY_AGAIN,
  EIO = cni.IO_FAILURE, ENOSPC = cni.IO_FAILURE, EPROTO = cni.IO_FAILURE, EUCLEAN = cni.IO_FAILURE,
}

--- The values, or a failure made of message and code.
local function check(value, message, code)
  if value == nil or value == false then
    fail(CODES[code] or cni.REFUSED, message)
  end
  return value
end

--- Opens the host and gives it to `body`.
local function with_host(write, body)
  return session.use(check(session.host(write)), body)
end

--- Ports of the runtime and of the annotation; what both name counts once.
local function published(runtime, annotated)
  local all, seen = {}, {}
  for _, entries in ipairs { runtime, annotated } do
    for _, entry in ipairs(entries) do
      local key = ("%s %s %d %d"):format(entry.address or "*", entry.protocol, entry.host, entry.container)
      if not seen[key] then
        seen[key] = true
        all[#all + 1] = entry
      end
    end
  end
  local list, message = validate.no_conflict(all)
  return list or fail(cni.BAD_CONFIGURATION, message)
end

--- What to make if the network is not there.
local function network_spec(conf)
  if not conf.subnets then
    return nil -- `nat` has one by default
  end
  return {
    name = conf.network, driver = conf.driver or "nat", subnets = conf.subnets,
    gateways = conf.gateways, mtu = conf.mtu, dns = conf.dns and conf.dns.nameservers or nil,
  }
end

--- Refuses a network that is there but is not the one that is configured.
local function check_network(host, conf)
  local network = roster.find_network(host, conf.network)
  if not network then
    if not conf.subnets and conf.network ~= "nat" then
      fail(cni.BAD_CONFIGURATION, ("there is no network '%s', and no subnet to make it with")
        :format(conf.network))
    end
    local closed = conf.driver == "overlay" and overlay.sentence(overlay.closed(overlay.machine()))
    return closed and fail(cni.REFUSED, closed)
  elseif conf.driver and network.driver ~= conf.driver then
    fail(cni.BAD_CONFIGURATION, ("network '%s' is there with the driver %s, not %s")
      :format(conf.network, network.driver, conf.driver))
  end
  local have, gateways = {}, {}
  for _, subnet in ipairs(network.subnets) do
    have[subnet.prefix], gateways[subnet.gateway] = true, true
  end
  for _, subnet in ipairs(conf.subnets or {}) do
    local prefix = filter.prefix(subnet)
    if not have[prefix.address .. "/" .. prefix.length] and not have[subnet] then
      fail(cni.BAD_CONFIGURATION, ("network '%s' is there without the subnet %s"):format(conf.network, subnet))
    end
  end
  for _, gateway in ipairs(conf.gateways or {}) do
    if not gateways[gateway] then
      fail(cni.BAD_CONFIGURATION, ("network '%s' is there without the gateway %s"):format(conf.network, gateway))
    end
  end
  if conf.mtu and conf.mtu ~= network.mtu then
    fail(cni.BAD_CONFIGURATION, ("network '%s' is there with the MTU %d, not %d")
      :format(conf.network, network.mtu, conf.mtu))
  end
end

--- What an ADD asks for, for lifecycle.
local function wish(conf, request)
  local wishes, message = validate.wishes(conf.runtime.annotations)
  if not wishes then
    fail(cni.BAD_CONFIGURATION, message)
  end
  local asked = conf.runtime.annotations["bulkhead.type"]
  if asked and conf.type and asked ~= conf.type then
    fail(cni.REFUSED, ("the pod wants to be of type %s, and the configuration makes it %s")
      :format(asked, conf.type))
  elseif wishes.network and wishes.network ~= conf.network then
    fail(cni.REFUSED, ("the pod wants network '%s', and the configuration is of '%s'")
      :format(wishes.network, conf.network))
  end
  local addresses = conf.runtime.addresses[1] and conf.runtime.addresses or conf.addresses
  if not addresses[1] then
    addresses = request.arguments.address and { request.arguments.address } or wishes.addresses
  end
  return {
    id = request.id, name = request.arguments.name, type = conf.type or wishes.type, owner = "cni",
    netns = request.netns, network = conf.network, network_spec = network_spec(conf),
    addresses = addresses and addresses[1] and { table.unpack(addresses) } or nil,
    mac = conf.runtime.mac or request.arguments.mac, interface = request.interface,
    published = published(conf.runtime.published, wishes.published),
    policies = session.policies(conf.policies), policy = conf.policy or wishes.policy,
    annotations = conf.runtime.annotations, attachment = conf.name,
  }
end

local function same_ports(a, b)
  local function keys(list)
    local set = {}
    for _, entry in ipairs(list) do
      set[#set + 1] =
        ("%s %s %d %d"):format(entry.address or "*", entry.protocol, entry.host, entry.container)
    end
    table.sort(set)
    return table.concat(set, ",")
  end
  return keys(a) == keys(b)
end

--- Attaches a container that another attachment brought.
local function attach(host, container, spec)
  check(host:check_container(spec.id, spec.netns))
  if container.type ~= spec.type then
    fail(cni.REFUSED, ("container '%s' is of type %s, not %s"):format(spec.id, container.type, spec.type))
  elseif spec.published[1] and not same_ports(spec.published, container.published) then
    fail(cni.REFUSED, ("container '%s' publishes other ports already"):format(spec.id))
  end
  spec.policies, spec.policy = container.policies, container.policy
  spec.published, spec.annotations = container.published, container.annotations
  return check(lifecycle.attach(host, spec))
end

local function create(host, spec)
  local container, endpoint, code = lifecycle.create(host, spec)
  check(container, endpoint, code)
  return endpoint
end

--- What a result says of an endpoint.
local function describe(host, conf, request, endpoint)
  local network = roster.find_network(host, endpoint.network)
  local made = {
    name = request.interface, mac = endpoint.mac, mtu = network.mtu, sandbox = request.netns,
    ips = {}, routes = {}, dns = conf.runtime.dns or conf.dns,
  }
  local families = {}
  for i, address in ipairs(endpoint.addresses) do
    made.ips[i] = { address = address }
    for _, subnet in ipairs(network.subnets) do
      if filter.contains(subnet.prefix, (address:match "^[^/]+")) then
        made.ips[i].gateway = subnet.gateway
      end
    end
    local family = address:find(":", 1, true) and "::/0" or "0.0.0.0/0"
    if network.driver == "nat" and made.ips[i].gateway and not families[family] then
      families[family] = true
      made.routes[#made.routes + 1] = { dst = family, gw = made.ips[i].gateway }
    end
  end
  if not made.dns and network.dns[1] then
    made.dns = { nameservers = network.dns }
  end
  return made
end

--- The entry of a previous result about the interface.
local function in_previous(previous, interface)
  for at, each in ipairs(type(previous) == "table" and type(previous.interfaces) == "table"
    and previous.interfaces or {}) do
    if type(each) == "table" and each.name == interface and type(each.sandbox) == "string"
      and each.sandbox ~= "" then
      return each, at - 1
    end
  end
end

--- The configuration, read; the state it names is the one that is opened.
local function read_configuration(object, lenient)
  local conf = config.read(object, lenient)
  session.chosen_state = conf.state
  return conf
end

local commands = {}

function commands.ADD(object, request)
  local conf = read_configuration(object)
  if in_previous(conf.previous, request.interface) then
    fail(cni.ATTACHED, ("an earlier plugin of the chain made the interface %s: Bulkhead comes first")
      :format(request.interface))
  elseif not lfs.attributes(request.netns) then
    fail(cni.BAD_ENVIRONMENT, ("CNI_NETNS: there is no %s"):format(validate.quoted(request.netns)))
  end
  local spec = wish(conf, request)
  return with_host(true, function(host)
    check_network(host, conf)
    local container = roster.settled(host, request.id)
    local endpoint = container and attach(host, container, spec) or create(host, spec)
    return cni.result_text(conf.version, describe(host, conf, request, endpoint), conf.previous)
  end)
end

--- The endpoint of an attachment.
local function find_attachment(host, name, request)
  for _, endpoint in ipairs(host:endpoints()) do
    if endpoint.container == request.id and endpoint.attachment == name
      and endpoint.interface == request.interface then
      return endpoint
    end
  end
end

--- Success whatever is gone: DEL comes twice, without a namespace, or without an ADD before.
function commands.DEL(object, request)
  local conf = read_configuration(object, true)
  local reader <close> = session.host(false) or setmetatable({}, { __close = function() end })
  if reader.endpoints and not find_attachment(reader, conf.name, request) then
    return nil
  end
  with_host("existing", function(host)
    local endpoint = find_attachment(host, conf.name, request)
    if endpoint then
      check(lifecycle.detach(host, request.id, endpoint.id))
    end
  end)
end

--- Refuses what the runtime remembers of an interface and is not so.
local function check_previous(conf, request, endpoint)
  local seen, at = in_previous(conf.previous, request.interface)
  if not seen then
    fail(cni.CHANGED, ("prevResult has no interface %s in a container"):format(request.interface))
  elseif seen.mac ~= nil and seen.mac ~= "" and tostring(seen.mac):lower() ~= endpoint.mac then
    fail(cni.CHANGED, ("the interface %s has the MAC address %s, and prevResult another")
      :format(request.interface, endpoint.mac))
  end
  local have = {}
  for _, address in ipairs(endpoint.addresses) do
    have[address] = true
  end
  for _, ip in ipairs(type(conf.previous.ips) == "table" and conf.previous.ips or {}) do
    if type(ip) == "table" and ip.interface == at and not have[ip.address] then
      fail(cni.CHANGED, ("the interface %s does not have the address %s"):format(request.interface,
        validate.quoted(ip.address)))
    end
  end
end

function commands.CHECK(object, request)
  local conf = read_configuration(object)
  if not conf.previous then
    fail(cni.BAD_CONFIGURATION, "CHECK needs prevResult")
  end
  with_host(false, function(host)
    local endpoint = find_attachment(host, conf.name, request)
    if not endpoint then
      fail(cni.CHANGED, ("container '%s' is not attached by '%s' on %s")
        :format(request.id, conf.name, request.interface))
    end
    for _, there in ipairs {
      { host:check_container(request.id, request.netns) }, { host:check_endpoint(endpoint.id) },
    } do
      if not there[1] then
        fail(cni.CHANGED, there[2])
      end
    end
    check_previous(conf, request, endpoint)
  end)
end

--- Takes away what this configuration attached and the runtime no longer knows.
function commands.GC(object)
  local conf = read_configuration(object, true)
  local stay = config.attachments(object)
  with_host("existing", function(host)
    local first
    for _, endpoint in ipairs(host:endpoints()) do
      if endpoint.attachment == conf.name and not stay[endpoint.container .. " " .. endpoint.interface] then
        local ok, message, code = lifecycle.detach(host, endpoint.container, endpoint.id)
        first = first or not ok and { message, code } or nil
      end
    end
    check(not first, table.unpack(first or {}))
  end)
end

--- Whether an ADD could succeed.
function commands.STATUS(object)
  local conf = read_configuration(object)
  local set, message = policies.load(session.policies(conf.policies), conf.policy or conf.type or "process",
    conf.driver or "nat")
  local host
  if set then
    host, message = session.host(false)
  end
  if not host then
    fail(cni.NOT_AVAILABLE, message)
  end
  host:close()
end

local function read(file)
  local text = file:read(cni.LIMIT + 1) or ""
  if #text > cni.LIMIT then
    fail(cni.NOT_DECODED, ("the configuration has more than %d bytes"):format(cni.LIMIT))
  end
  return text
end

--- Does what the environment and the file ask.
---@param environment fun(name: string): string?
---@param file file* the configuration
---@return string? text of the answer
---@return boolean failed
function plugin.run(environment, file)
  local version = cni.LATEST
  local ok, result = pcall(function()
    local command, text = cni.command(environment), read(file)
    if command == "VERSION" then
      local object = text:find "%S" and config.decode(text) or {}
      return cni.version_text(object.cniversion)
    end
    local object = config.decode(text)
    version = config.version(object)
    cni.check_command(command, version)
    return commands[command](object, cni.request(command, environment))
  end)
  if ok then
    return result, false
  elseif not cni.is_failure(result) then
    result = { code = cni.INTERNAL, msg = tostring(result) }
  end
  return cni.error_text(version, result), true
end

return plugin

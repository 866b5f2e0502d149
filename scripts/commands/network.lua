--- network.lua - `bulkhead network create|list|remove`.
local overlay = require "overlay"
local reach = require "reach"
local refuse = require "refuse"
local session = require "session"
local show = require "show"
local validate = require "validate"

local ORDER = { "id", "name", "driver", "subnets", "prefix", "gateway", "dns", "mtu", "reach", "own_reach", "status" }

local function each(texts, check, max, what)
  local list = {}
  refuse.parsed(validate.at_most(texts, max, what, "a network"))
  for i, text in ipairs(texts) do
    list[i] = refuse.parsed(check(text))
  end
  return list
end

local function create_options(parser)
  parser:argument("name", "1 to 63 of A-Z a-z 0-9 _ . -")
  parser:option("--driver", table.concat(validate.DRIVERS, ", ") .. "."):argname "D":count "1"
  parser:option("--subnet", "Like 172.16.0.0/16; may be repeated."):argname "CIDR":count "+":target "subnets"
  parser:option("--gateway", "In one of the subnets; default the first host of each.")
    :argname "A":count "*":target "gateways"
  parser:option("--dns", "A name server; default the gateways."):argname "A":count "*"
  parser:option("--reach", "A network to exchange packets with, if it says so of this one too, by --reach or "
    .. "by a policy's `reach`; it may be made later. '*': any."):argname "NETWORK":count "*"
  parser:option("--mtu", "Bytes, 68 to 65535; default the uplink's."):argname "N"
end

local function reach_name(text)
  if text == "*" then
    return text
  end
  return validate.network_name(text)
end

--- Says what is still missing for the new network to reach the others it names.
local function say_missing(host, network)
  for _, name in ipairs(network.own_reach) do
    local other = host:networks(name)[1]
    if name ~= "*" and not other then
      session.say(("there is no network '%s' yet: '%s' reaches it when it is made and says so too"):format(name,
        network.name))
    elseif name ~= "*" and not reach.each_other(network, other) then
      session.say(("'%s' does not say yet that it reaches '%s': a policy of a container on it must have "
        .. "reach = { \"%s\" }"):format(name, network.name, network.name))
    end
  end
end

local function create(args)
  local name = refuse.parsed(validate.network_name(args.name))
  local driver = refuse.parsed(validate.driver(args.driver))
  if name ~= driver and validate.driver(name) then
    refuse.world(("'%s' is reserved: it is a driver's name"):format(name))
  end
  local spec = {
    name = name, driver = driver, subnets = each(args.subnets, validate.subnet, validate.SUBNETS_MAX, "subnets"),
    gateways = #args.gateways > 0
      and each(args.gateways, validate.address, validate.SUBNETS_MAX, "gateways") or nil,
    dns = each(args.dns, validate.address, validate.SERVERS_MAX, "name servers"),
    reach = each(args.reach, reach_name, validate.REACH_MAX, "networks to reach"),
    mtu = args.mtu and refuse.parsed(validate.number(args.mtu, "MTU", 68, 65535)) or nil,
  }
  if driver == "overlay" then
    local why = overlay.sentence(overlay.closed(overlay.machine()))
    if why then
      refuse.world(why)
    end
  end
  session.with_host(true, function(host)
    refuse.check(host:begin())
    local network, message = host:add_network(spec)
    if not network then
      host:abort()
      refuse.world(message)
    end
    refuse.check(host:commit())
    say_missing(host, network)
    session.print(network, name .. "\n", ORDER)
  end)
end

local COLUMNS = {
  { title = "ID", right = true },
  { title = "Name" },
  { title = "Driver" },
  { title = "Subnets", value = function(network)
    local prefixes = {}
    for i, subnet in ipairs(network.subnets) do
      prefixes[i] = subnet.prefix
    end
    return prefixes
  end },
  { title = "Gateways", value = function(network)
    local gateways = {}
    for i, subnet in ipairs(network.subnets) do
      gateways[i] = subnet.gateway
    end
    return gateways
  end },
  { title = "Reach" },
  { title = "MTU", right = true },
  { title = "Status" },
}

local function list()
  session.read(function(host)
    local networks = host:networks()
    session.print(networks, function()
      return show.table(COLUMNS, networks, show.width())
    end, ORDER)
  end)
end

local function remove(args)
  local name = refuse.parsed(validate.network_name(args.name))
  session.with_host("existing", function(host)
    refuse.check(host:networks(name)[1], ("there is no network '%s'"):format(name))
    refuse.check(host:begin())
    local ok, message = host:remove_network(name)
    if not ok then
      host:abort()
      refuse.world(message)
    end
    refuse.check(host:commit())
    session.print({ name = name }, "")
  end)
end

return {
  brief = true,
  verbs = {
    { name = "create", summary = "Make a network.", options = create_options, run = create },
    { name = "list", summary = "List networks.", run = list },
    {
      name = "remove", summary = "Remove a network that no endpoint uses.", run = remove,
      options = function(parser)
        parser:argument("name", "Its name.")
      end,
    },
  },
}

--- imagined.lua - WHO by options: a container that is not there, for commands that ask about one.
local refuse = require "refuse"
local session = require "session"
local validate = require "validate"

local imagined = {}

--- Declares the options. `own` says what its address is without --address.
function imagined.options(parser, own)
  parser:option("--type", "Imagine a container: process or hyperv."):argname "T"
  parser:option("--network", "A driver or a network; default nat."):argname "N"
  parser:option("--address", ("Its address; default %s. May be repeated."):format(own))
    :argname "A[/LEN]":count "*":target "addresses"
  parser:option("--publish", "A port it publishes; may be repeated."):argname "P":count "*"
  parser:option("--policies", "The policy set."):argname "DIR"
  parser:option("--policy", "The container policy in it; default the type."):argname "NAME"
end

--- Whether any of them was given.
function imagined.asked(args)
  return args.type or args.network or args.addresses[1] or args.publish[1] or args.policies
    or args.policy
end

--- The imagined container that the options describe, checked.
function imagined.spec(args)
  local spec = {
    type = refuse.parsed(validate.type(args.type or "process")),
    network_name = refuse.parsed(validate.network_name(args.network or "nat")),
    addresses = refuse.parsed(validate.addresses(args.addresses)), policies = session.policies(args.policies),
    policy = args.policy and refuse.parsed(validate.policy_name(args.policy)),
  }
  local texts = {}
  for _, text in ipairs(args.publish) do
    local parts = validate.list(text)
    table.move(parts, 1, #parts, #texts + 1, texts)
  end
  spec.published = refuse.parsed(validate.published(texts))
  if validate.driver(spec.network_name) then
    spec.driver = spec.network_name
  end
  return spec
end

--- Fills in the live network that the spec names, where it names no driver.
function imagined.find_network(host, spec)
  for _, network in ipairs(host:networks()) do
    if network.name == spec.network_name then
      spec.network = network
    end
  end
  if not spec.network then
    refuse.world(("there is no network '%s'"):format(spec.network_name))
  end
end

return imagined

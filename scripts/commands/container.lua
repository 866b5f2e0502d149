--- container.lua - `bulkhead container create|remove`: by hand, without a runtime.
local lifecycle = require "lifecycle"
local refuse = require "refuse"
local session = require "session"
local validate = require "validate"

local ORDER = {
  "id", "name", "type", "compartment", "network", "driver", "kind", "interface", "mac", "addresses",
}

local function create_options(parser)
  parser:argument("name", "The container's id: 1 to 255 of A-Z a-z 0-9 _ . -")
  parser:option("--type", "process (default) or hyperv.", "process"):argname "T"
  parser:option("--network", "A network; default nat, made on first use."):argname "N"
  parser:option("--address", "Default the next free one of each subnet; may be repeated.")
    :argname "A[/LEN]":count "*":target "addresses"
  parser:option("--publish", "[ADDR:]HOST[-HOST]:CTR[-CTR][/tcp|udp|sctp]; may be repeated.")
    :argname "P":count "*"
  parser:option("--netns", "A network namespace that is there; default a fresh one."):argname "PATH"
  parser:option("--policies", "The policy set."):argname "DIR"
  parser:option("--policy", "The container policy in it; default the type."):argname "NAME"
end

local function create(args)
  local addresses = refuse.parsed(validate.addresses(args.addresses))
  local texts = {}
  for _, text in ipairs(args.publish) do
    local parts = validate.list(text)
    table.move(parts, 1, #parts, #texts + 1, texts)
  end
  local spec = {
    id = refuse.parsed(validate.id(args.name)),
    type = refuse.parsed(validate.type(args.type)),
    network = args.network and refuse.parsed(validate.network_name(args.network)),
    addresses = #addresses > 0 and addresses or nil,
    published = refuse.parsed(validate.published(texts)),
    netns = args.netns and session.absolute(refuse.parsed(validate.path(args.netns, "--netns"))),
    policies = session.policies(args.policies),
    policy = args.policy and refuse.parsed(validate.policy_name(args.policy)),
  }
  session.with_host(true, function(host)
    local container, endpoint = refuse.check(lifecycle.create(host, spec))
    session.print({
      id = container.id, name = container.name, type = container.type,
      compartment = container.compartment, network = endpoint.network, driver = endpoint.driver,
      kind = endpoint.kind, interface = endpoint.interface, mac = endpoint.mac,
      addresses = endpoint.addresses,
    }, container.id .. "\n", ORDER)
  end)
end

local function remove(args)
  local who = refuse.parsed(validate.id(args.name))
  session.with_host("existing", function(host)
    refuse.check(lifecycle.remove(host, who, { named = true }))
    session.print({ name = who }, "")
  end)
end

return {
  brief = true,
  verbs = {
    { name = "create", summary = "Make a container's compartment and NIC.", options = create_options,
      run = create },
    {
      name = "remove", summary = "Remove everything that was made for a container.", run = remove,
      options = function(parser)
        parser:argument("name", "Its whole id, or its name.")
      end,
    },
  },
}

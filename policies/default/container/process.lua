--- Process-isolated containers share the host's kernel, so the host's firewall speaks for them:
--- anything may leave; nothing unsolicited may enter, but for what a network stack needs to
--- come up and the ports the container publishes.
local common = require "common"

return {
  default = { inbound = "block", outbound = "allow" },
  rules   = common.rules,

  on = {
    --- Each published port is one hole, on the container's own port.
    attach = function(container, endpoint)
      for _, port in ipairs(container.published) do
        endpoint:add(allow.inbound {
          protocol = port.protocol, local_port = port.container, name = "published " .. port.host,
        })
      end
    end,
  },
}

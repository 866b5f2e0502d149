--- Process-isolated containers as later versions of Windows have them: anything may leave; the
--- common protocols may enter, and no others.
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

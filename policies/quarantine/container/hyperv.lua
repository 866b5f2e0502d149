--- A kernel of its own is no reason to trust a container in quarantine more than another.
local common = require "common"

return {
  default = { inbound = "block", outbound = "block" },
  rules   = common.rules,

  on = {
    --- Quarantine and a published port contradict each other: who wants both has made a mistake.
    create = function(container)
      if #container.published > 0 then
        error("a container in quarantine publishes no ports")
      end
    end,
  },
}

--- A container whose outbound traffic is denied but for what is named, and that nobody reaches: for
--- what was broken into, is under investigation, or was never trusted.
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

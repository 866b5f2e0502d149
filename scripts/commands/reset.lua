--- reset.lua - `bulkhead reset`: removes everything that this state ever made.
local refuse = require "refuse"
local session = require "session"

local reset = { silent = true }

function reset.run()
  session.with_host(true, function(host)
    refuse.check(host:reset())
  end, { check = true, discard = true })
end

return reset

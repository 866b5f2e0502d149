--- reset.lua - `bulkhead reset`: removes everything that this state ever made.
local lfs = require "lfs"
local refuse = require "refuse"
local session = require "session"

local reset = { silent = true }

function reset.run()
  if not lfs.attributes(session.state()) then
    return -- nothing was ever made
  end
  session.with_host(true, function(host)
    refuse.check(host:reset())
  end, { check = true, discard = true })
end

return reset

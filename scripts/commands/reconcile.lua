--- reconcile.lua - `bulkhead reconcile`: mends what a crash left half done.
local refuse = require "refuse"
local session = require "session"

local reconcile = { silent = true }

function reconcile.run()
  session.with_host(true, function(host)
    refuse.check(host:begin()) -- every change begins with mending
    refuse.check(host:commit())
  end)
end

return reconcile

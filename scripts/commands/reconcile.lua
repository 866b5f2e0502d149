--- reconcile.lua - `bulkhead reconcile`: mends what a crash left half done, and takes away what belongs
--- to containers that are gone without a word.
local labs = require "labs"
local lfs = require "lfs"
local lifecycle = require "lifecycle"
local refuse = require "refuse"
local session = require "session"

local reconcile = {}

function reconcile.run()
  local done = { removed = {}, lost = {} }
  if lfs.attributes(session.state()) then -- else nothing was ever made
    session.with_host(true, function(host)
      refuse.check(host:begin()) -- every change begins with mending
      refuse.check(host:commit())
      done = refuse.check(lifecycle.sweep(host))
    end, { check = true })
  end
  labs.sweep()
  session.print(done, "", { "removed", "lost" }) -- people are told of each as it goes
end

return reconcile

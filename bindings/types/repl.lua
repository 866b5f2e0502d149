---@meta
--- What a session of `bulkhead repl` has beside Lua and the modules (bulkhead, filter, policy, prove):
--- words by themselves, about the host that it looks into.
---
--- The host is read and not changed, unless the session was started with `--write` (or in process,
--- where everything goes with the session). Ctrl-C ends what runs.

---@class bulkhead.repl
local repl = {}

--- The host that the session looks into, as `bulkhead.open` gives it.
---@type host
repl.host = nil

--- Its containers: a list that can also be asked by name, `containers.web`.
---@type container[]
repl.containers = nil

--- Its networks; by name too.
---@type network[]
repl.networks = nil

--- Its compartments.
---@type compartment[]
repl.compartments = nil

--- Makes rules that let packets pass, as in a policy.
---@type allow
repl.allow = nil

--- Makes rules that drop packets, as in a policy.
---@type block
repl.block = nil

--- Explains: without anything, what there is; else a name, a function, an object or one of its kind.
---
--- ```lua
--- help "host:rules"
--- help(filter.gate)
--- help "container"
--- ```
---@param topic? any
function repl.help(topic) end

--- All endpoints, or those of a container.
---@param who? string|container name, id or prefix
---@return endpoint[]
function repl.endpoints(who) end

--- The rules of a container's endpoints, or of one endpoint, in the order of precedence, with hits.
---@param who string|container|integer|endpoint
---@return rule[]
function repl.rules(who) end

--- Live flows: all, a container's, or an endpoint's.
---@param who? string|container|integer|endpoint
---@return flow[]
function repl.flows(who) end

--- What was dropped, audited or logged lately: everywhere, or at a container.
---@param who? string|container
---@param last? integer how many; default 20
---@return drop[]
function repl.drops(who, last) end

--- Says why a packet passes or not. Without a container it is about the one that has the packet's
--- local address, else about an imagined one. Several packets are one sequence.
---
--- ```lua
--- explain "in tcp 10.0.0.9:51000 -> 172.16.0.2:80"
--- ```
---@param who? string name, id or prefix
---@param ... string packets in notation
---@return answer|answer[]
function repl.explain(who, ...) end

--- What `explain` answers; `bulkhead explain --json` prints the same.
---@class answer
---@field verdict "allow"|"block" of the firewall at the container's gate
---@field by "flow"|"rule"|"default"|"neighbour"|"fragment"|"malformed"|"spoof"|"quota"
---@field rule? string
---@field origin? string FILE:LINE
---@field audit boolean
---@field delivered boolean whether everything on its way lets it pass
---@field hops table[]
---@field matched table[]

--- Shows what is dropped and what flows begin and end, as it happens, until Ctrl-C.
---@param who? string|container only this one's
---@param seconds? number ends by itself after so long
function repl.watch(who, seconds) end

--- A copy of what is live (containers, networks, addresses, published ports) on the memory platform,
--- under another policy: a set, or one file that stands for the policy of containers. Nothing that is
--- done to it reaches the host.
---
--- ```lua
--- t = try "policies/strict"
--- t:changes()
--- ```
---@param policy? string directory of a set, or a container policy's file; default what they have
---@param who? string with a file: whose policy it is; default all containers'
---@return trial
function repl.try(policy, who) end

--- A what-if copy. `local t <close> = try(…)` ends it.
---@class trial
---@field host host of its own, on the memory platform
---@field containers container[]
local trial = {}

--- As the session's `explain`, in the copy.
---@param who? string
---@param ... string packets in notation
---@return answer|answer[]
function trial:explain(who, ...) end

--- Sends a packet through the copy, from NIC to NIC, and tells whether it arrived.
---
--- ```lua
--- t = try()
--- t:send "in icmp[8:0] 10.0.0.9 -> 172.16.0.2"
--- ```
---@param packet string in notation
---@return boolean arrived
function trial:send(packet) end

--- What the copy's policy lets pass or blocks that the live one does not, over all packets, for each
--- endpoint. Nothing: the same.
---@return trial_change[]
function trial:changes() end

---@class trial_change
---@field container string name
---@field change "allowed"|"blocked"
---@field packets string the class of packets, in words
---@field example string a packet of it, in notation
---@field line string where the copy's policy decides it

--- The rules of a container in the copy.
---@param who string
---@return rule[]
function trial:rules(who) end

--- Ends the copy.
function trial:close() end

--- Gives a container's endpoints more rules, as one change. Needs a session that writes.
---
--- ```lua
--- -- add("web", block.inbound { protocol = "tcp", local_port = 22 })
--- ```
---@param who string|container
---@param ... policy_rule|policy_rule[]
---@return true
function repl.add(who, ...) end

--- Prints what this session changed on the host, as the text of a policy; nothing where nothing was.
function repl.delta() end

--- A tour in steps that really run, on a host of its own in process.
function repl.tutorial() end

return repl

---@meta
--- Policy sets: loading one, and asking it.
---
--- A policy runs in a Lua state of its own, by a white list, under limits of memory, instructions and
--- time that nothing in it can lift. What a policy may write is in policy_globals.lua.

---@class bulkhead.policy
local policy = {}

---@class policy_request
---@field dir string the set's directory; origins begin with it as it is given here
---@field type string container/TYPE.lua: a container type, or what bulkhead.policy names
---@field driver? string network/DRIVER.lua, if the set has it
---@field memory? integer bytes the policy's state may take; default 16 MiB
---@field instructions? integer budget of the load, and again of each run; default 5 million

--- Loads the policy for one type of container on one driver of network: reads the files, runs them,
--- checks what they return. A policy that is wrong, missing or over a limit is refused.
---@param request policy_request
---@return policy?
---@return string? message begins with FILE:LINE where there is one
---@return string? code "ENOENT": no such set or policy; "EINVAL": a mistake in it; "ETIME", "ENOMEM": over a limit; …
function policy.load(request) end

--- A loaded policy. `local p <close> = …` frees it at the end of the block.
---@class policy
local object = {}

---@class policy_default
---@field action "allow"|"block"
---@field origin string FILE:LINE of the field `default`

--- What becomes of traffic that no rule speaks of.
---@return { inbound: policy_default, outbound: policy_default }
function object:default() end

--- The rules, those of the container's file first.
---@return rule[]
function object:rules() end

---@class policy_options
---@field antispoof boolean default true
---@field router boolean default false
---@field dhcp_server boolean default false
---@field audit boolean default false
---@field direct boolean default true
---@field flows? integer flows an endpoint may have at once
---@field timeouts table<string, integer> seconds; only those the policy sets
---@field reach string[] names of networks

--- What the policy says besides rules; the network's file replaces what the container's says.
---@return policy_options
function object:options() end

--- Whether there is a handler for the event.
---@param event "create"|"attach"|"start"|"stop"|"detach"|"remove"
---@return boolean
function object:handles(event) end

--- Runs the handlers of an event, the container's file's first, on copies of container and endpoint.
--- Of the container they see id, name, type, annotations, labels, published; of the endpoint address
--- (else the first of addresses), addresses, mac, network. If one fails, no rules are returned.
---@param event "create"|"attach"|"start"|"stop"|"detach"|"remove"
---@param container table
---@param endpoint? table nil in create and remove
---@return rule[]? rules those added by endpoint:add
---@return string? message FILE:LINE: what went wrong
---@return string? code
function object:run(event, container, endpoint) end

---@class policy_file
---@field path string DIR/NAME
---@field name string relative to the set
---@field text string
---@field hash string 32 hexadecimal digits

--- The files that were read, in the order of reading. None is read later.
---@return policy_file[]
function object:files() end

--- A hash (FNV-1a, 128 bits) of the names and texts of all files: equal for equal policies wherever
--- they lie. It finds changes; it is no signature.
---@return string hash 32 hexadecimal digits
function object:hash() end

--- Frees the policy. Doing so twice is harmless.
function object:close() end

return policy

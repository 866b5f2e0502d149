---@meta
--- What a policy can write: the words it is given, and the table it returns.
---
--- Besides these there are Lua's assert, error, getmetatable, ipairs, next, pairs, pcall, print (to the
--- log), rawequal, rawget, rawlen, rawset, select, setmetatable, tonumber, tostring, type, xpcall; string
--- byte char format len lower rep sub upper; table concat insert pack remove sort unpack; math but for
--- randomseed. Strings that a policy makes are at most 64 KiB long. setmetatable takes the metatable as it is
--- at that moment: later changes to it do nothing.

---@class rule_fields
---@field protocol? string|integer "tcp", "udp", "icmp" (IPv4's), "icmp6" (IPv6's), "igmp", "sctp", … or a number; default any
---@field local? string|string[] the container's address: an address, CIDR, range "a-b" or a list; "!" excludes
---@field remote? string|string[] the other side's; also "LocalSubnet", "DefaultGateway", "DNS", "DHCP"
---@field local_port? integer|string|(integer|string)[] a port, a range "8000-8099" or a list
---@field remote_port? integer|string|(integer|string)[] the same of the other side
---@field icmp? integer|string|(integer|string)[] a type, "type:code" or a list
---@field priority? integer 0 to 65535, default 1000; the lowest wins, and at equal priority block does
---@field name? string shown by `rules` and `explain`
---@field log? boolean packets it decides are recorded
---@field audit? boolean of a block: what it would drop passes, and is recorded

--- A rule that was made. Its fields can be read, as text; it cannot be changed.
---@class policy_rule
---@field action "allow"|"block"
---@field direction "inbound"|"outbound"
---@field origin string FILE:LINE that made it, the file relative to the set

---@alias policy_rules policy_rule|policy_rules[]

--- Makes rules that let packets pass.
allow = {}

--- A rule for packets towards the container. Raises at a mistake, at this line.
---@param fields rule_fields
---@return policy_rule
function allow.inbound(fields) end

--- A rule for packets from the container.
---@param fields rule_fields
---@return policy_rule
function allow.outbound(fields) end

--- Makes rules that drop packets.
block = {}

--- A rule for packets towards the container. Raises at a mistake, at this line.
---@param fields rule_fields
---@return policy_rule
function block.inbound(fields) end

--- A rule for packets from the container.
---@param fields rule_fields
---@return policy_rule
function block.outbound(fields) end

--- Whether an address lies in a prefix, a range "a-b" or is that address.
---@param prefix string
---@param address string a prefix length after it is ignored
---@return boolean
function contains(prefix, address) end

--- Whether the whole text fits the pattern, in which `*` is any text and `?` any one byte.
---@param pattern string at most 1024 bytes, like the text
---@param text string
---@return boolean
function glob(pattern, text) end

--- Runs another file of the set's root, once, and returns its value. Only while the set is loaded.
---@param name string without ".lua": letters, digits and "_"
---@return any
function require(name) end

--- The table a policy's file returns.
---@class policy_table
---@field default? { inbound?: "allow"|"block", outbound?: "allow"|"block" } both are required of a container's file
---@field rules? policy_rules a list of rules; lists in it are flattened
---@field on? policy_handlers
---@field antispoof? boolean default true: an endpoint sends and receives only as itself
---@field router? boolean may send router advertisements and redirects
---@field dhcp_server? boolean may send to DHCP clients (udp ports 68 and, of IPv6, 546)
---@field audit? boolean what rules or defaults would block passes, and is recorded; malformed and spoofed packets are dropped
---@field direct? boolean default true: what siblings send each other may pass the switch, and what stands on its ports, by
---@field flows? integer 1 to 65536: flows an endpoint may have at once
---@field timeouts? policy_timeouts
---@field reach? string[] networks that may be reached, if their policy says the same of this one

--- Seconds after which a flow without packets is forgotten.
---@class policy_timeouts
---@field syn? integer default 60
---@field established? integer default 86400
---@field closing? integer default 60
---@field reset? integer default 10
---@field udp? integer default 30
---@field udp_answered? integer default 180
---@field icmp? integer default 30
---@field other? integer default 60

--- If one of the first three fails, the container is refused; a failure of the others is logged.
---@class policy_handlers
---@field create? fun(container: policy_container)
---@field attach? fun(container: policy_container, endpoint: policy_endpoint)
---@field start? fun(container: policy_container, endpoint: policy_endpoint)
---@field stop? fun(container: policy_container, endpoint: policy_endpoint)
---@field detach? fun(container: policy_container, endpoint: policy_endpoint)
---@field remove? fun(container: policy_container)

--- A copy of what is known of the container.
---@class policy_container
---@field id string
---@field name string
---@field type "process"|"hyperv"
---@field annotations table<string, string>
---@field labels table<string, string> `bulkhead.bundle`: of a hook's, the path of its bundle
---@field published published[] one per port

--- A copy of what is known of the endpoint.
---@class policy_endpoint
---@field address string without prefix length
---@field addresses? string[] all of them, with prefix length
---@field mac string
---@field network string
local policy_endpoint = {}

--- Adds rules of the endpoint's own. Only while the handler runs.
---@param rules policy_rules
function policy_endpoint:add(rules) end

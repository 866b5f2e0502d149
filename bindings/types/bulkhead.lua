---@meta
--- The host: what Bulkhead made on this machine, and how to change it.
---
--- Mistakes of the programmer raise; refusals of the world return `nil, message, code`, the code
--- being an errno name such as `"EEXIST"`. What is returned are plain tables, snapshots that do not
--- follow later changes.

---@class bulkhead
local bulkhead = {}

---@class open_options
---@field platform? "linux"|"memory" where things are made; default "memory"
---@field state? string directory of the state; linux only, default $BULKHEAD_STATE or /var/lib/bulkhead
---@field write? boolean false (default) opens for reading: nothing is made that is missing
---@field check? boolean reads all of the store first, and begins a new one if it is damaged
---@field discard? boolean to be reset: begins a new store in place of one of a later version, too, and does not warn of what is gone
---@field lab? lab a throwaway host to open in

--- Opens a host.
---@param options? open_options
---@return host? host
---@return string? message
---@return string? code
function bulkhead.open(options) end

--- Whether a network's `reach` names another network.
---@param reach string[] names, or "*"
---@param name string
---@return boolean
function bulkhead.reaches(reach, name) end

--- The nftables of this process's network namespace, as `nft -j list ruleset` writes them.
---@return string? json
---@return string? message
---@return string? code
function bulkhead.nftables() end

--- What on the way to a file somebody besides root may change, so that the file might become another:
--- the first such directory, link or file; "" = nothing. The sticky bit counts, access lists do not.
---@param path string from the root
---@return string? path
---@return string? message
---@return string? code
function bulkhead.stranger(path) end

--- Does nothing for so long.
---@param seconds number
function bulkhead.wait(seconds) end

--- The version of the program, like "0.1.0".
---@type string
bulkhead.version = ""

---@class subnet
---@field prefix string like "172.16.0.0/16"
---@field gateway string the management vNIC's address in it

---@class network
---@field id integer
---@field name string
---@field driver "nat"|"l2bridge"|"transparent"|"internal"|"overlay"
---@field mtu integer bytes
---@field subnets subnet[]
---@field dns string[] addresses of name servers; empty = the gateways
---@field reach string[] names of networks that this one lets in and out, if they do too; also by its endpoints' policies
---@field own_reach string[] those of them that it was made with
---@field status "creating"|"ready"|"removing"

---@class compartment
---@field id integer 1 = the default compartment
---@field guid string like "{b1062982-2b18-4b4f-b3d5-a78ddb9cdd49}"
---@field description string
---@field type "default"|"process"|"hyperv"
---@field containers string[] ids
---@field endpoints integer[] ids

---@class published
---@field address? string host address; nil = all
---@field host integer port on the host, 1 to 65535
---@field container integer port in the container
---@field protocol "tcp"|"udp"|"sctp"

---@class container
---@field id string
---@field name string
---@field type "process"|"hyperv"
---@field compartment integer id
---@field policies string directory of the policy set
---@field policy string name of the container policy in it
---@field owner "hook"|"cni"|"hand" who takes it away
---@field netns? string where its runtime said its namespace is
---@field phase "attached"|"started"|"stopped" what handlers were told last
---@field annotations table<string, string>
---@field labels table<string, string> `bulkhead.bundle`: of a hook's, the path of its bundle
---@field published published[]
---@field endpoints integer[] ids of its own
---@field status "creating"|"ready"|"removing"

---@class counters
---@field packets_in integer packets that passed towards the container
---@field packets_out integer
---@field bytes_in integer
---@field bytes_out integer
---@field audited_in integer passed only because what blocks it is audited
---@field audited_out integer
---@field direct_out integer of packets_out: handed straight to their receiver, past the switch
---@field dropped_in table<string, integer> by reason: rule default malformed spoof neighbour quota
---@field dropped_out table<string, integer>

---@class endpoint
---@field id integer
---@field container string id
---@field compartment integer id
---@field namespace? string path of the compartment's network namespace; nil in memory
---@field network string name
---@field driver string
---@field kind "vNIC"|"vmNIC"
---@field interface string name in the compartment
---@field mac string
---@field addresses string[] with prefix length
---@field gateways string[]
---@field ipv6 boolean
---@field default_inbound "allow"|"block"
---@field default_outbound "allow"|"block"
---@field default_inbound_origin string FILE:LINE
---@field default_outbound_origin string FILE:LINE
---@field generation integer of the policy in force
---@field flows_limit integer
---@field antispoof boolean
---@field router boolean
---@field dhcp_server boolean
---@field audit boolean what the policy would block passes, and is recorded
---@field direct boolean the switch may be passed by
---@field timeouts table<string, integer> seconds
---@field reach string[] networks that its policy lets its network reach
---@field attachment string name of the CNI configuration that asked for it; "" = none
---@field phase "attached"|"started"|"stopped" what handlers were told last
---@field status "creating"|"ready"|"changing"|"removing"

---@class rule
---@field id? integer
---@field action "allow"|"block"
---@field direction "inbound"|"outbound"
---@field name? string
---@field protocol? string
---@field local? string
---@field remote? string
---@field local_port? string
---@field remote_port? string
---@field icmp? string
---@field priority integer
---@field log boolean
---@field audit boolean
---@field origin? string FILE:LINE
---@field own? boolean the endpoint's own (a handler's), not shared
---@field hits? integer packets it decided

---@class flow
---@field endpoint integer
---@field compartment integer
---@field protocol string
---@field direction "inbound"|"outbound" of the opener
---@field local_address string
---@field remote_address string
---@field local_port integer
---@field remote_port integer
---@field icmp_type? integer of the opener
---@field icmp_code? integer
---@field state "opening"|"answered"|"established"|"closing"|"reset"
---@field rule? integer id of the rule that allowed the opener
---@field blocked boolean a later policy blocks it
---@field audit boolean it passes only because what blocks it is audited
---@field age integer seconds since it was opened
---@field idle integer seconds since its last packet
---@field packets_in integer
---@field packets_out integer

---@class drop
---@field number integer of the record; what is missing between two was overwritten
---@field time number seconds since 1970
---@field container? string id, where it is known
---@field name? string the container's
---@field compartment integer
---@field endpoint integer
---@field direction "inbound"|"outbound"
---@field packet string in notation
---@field verdict "allow"|"block"
---@field by "flow"|"rule"|"default"|"fragment"|"malformed"|"spoof"|"quota"
---@field rule? string name of the rule that decided
---@field rule_id? integer
---@field origin? string FILE:LINE of the rule or default
---@field audit boolean it passed only because what blocks it is audited
---@field log boolean a rule with `log` decided
---@field ethertype integer
---@field source_mac string
---@field size integer bytes of the frame

--- A host that was opened. `local host <close> = …` closes it.
---@class host
local host = {}

--- Closes the host; what it made stays.
function host:close() end

--- Which platform it is on: "linux" or "memory".
---@return string
function host:platform() end

--- All networks, by id; or only the one of this name, if it is there.
---@param name? string
---@return network[]
function host:networks(name) end

--- All compartments, by id; or the one with this id.
---@param id? integer
---@return compartment[]|compartment|nil
---@return string? message
---@return string? code
function host:compartments(id) end

--- All containers, by creation; or only the one with this whole id, if it is there.
---@param id? string
---@return container[]
function host:containers(id) end

--- Containers that a reboot took and whose handlers were not told yet, with what was attached.
---@return lost_container[]
function host:lost() end

---@class lost_container
---@field id string
---@field name string
---@field type "process"|"hyperv"
---@field policies string
---@field policy string
---@field phase string what handlers were told last
---@field annotations table<string, string>
---@field labels table<string, string>
---@field published published[]
---@field endpoints { id: integer, container: string, network: string, driver: string, mac: string, addresses: string[], phase: string }[]

--- A container that a reboot took is told of no more. Inside a change.
---@param id string
---@return true?
---@return string? message
---@return string? code
function host:forget_lost(id) end

--- The container with this id or name, or whose id begins so and no other's does.
---@param who string
---@return container?
---@return string? message
---@return string? code
function host:container(who) end

--- All endpoints, or those of one container; of one that has none, those that it shares with the
--- other containers of its compartment. Or those of a compartment, or the one with this id.
---@param of? string|integer
---@param by? "container"|"compartment"|"id" what `of` is; default a container's id
---@return endpoint[]
function host:endpoints(of, by) end

--- What passed and was dropped at an endpoint's gate.
---@param endpoint integer
---@return counters?
---@return string? message
---@return string? code
function host:counters(endpoint) end

--- The rules of an endpoint in the order of precedence, with the packets each decided; without these it is
--- quicker by some milliseconds.
---@param endpoint integer
---@param uncounted? boolean no packets
---@return rule[]
function host:rules(endpoint, uncounted) end

--- Live flows, or those of one endpoint: a list, in no order. There may be a million: with `visit` each is
--- handed to it instead, and their number is returned.
---@param endpoint? integer
---@param visit? fun(flow: flow)
---@return flow[]|integer
function host:flows(endpoint, visit) end

--- What gates dropped, audited or were asked to log, oldest first, from record number `from` on; a
--- negative one counts back from the newest. The newest 8,192 are kept; reading takes none away.
---@param from? integer default -100
---@param limit? integer at most 8192, the default
---@return drop[]
---@return integer next the number to go on from
function host:drops(from, limit) end

--- Calls a function in the network namespace of the default compartment, where one is, and hands on what
--- it returns.
---@param body fun(): ...
---@return any ...
function host:visit(body) end

--- How many flows a compartment is charged for.
---@param compartment integer
---@return integer?
---@return string? message
---@return string? code
function host:flows_used(compartment) end

--- The gate of a live endpoint as an object of its own: what it judges changes nothing on the host.
---@param endpoint integer
---@return gate?
---@return string? message
---@return string? code
function host:gate(endpoint) end

--- Whether an endpoint's NIC, port and gate are there and as they were made.
---@param endpoint integer
---@return true?
---@return string? message what is not
---@return string? code
function host:check_endpoint(endpoint) end

--- Whether a network's switch and the host's port on it are there and up.
---@param name string
---@return true?
---@return string? message what is not
---@return string? code
function host:check_network(name) end

--- Whether a container's namespace still is ours and where its runtime said; with `netns`, whether
--- it is the one at that path.
---@param id string
---@param netns? string
---@return true?
---@return string? message
---@return string? code
function host:check_container(id, netns) end

--- Runs a function with the values that follow it, and returns what it returns. All that it reads of the
--- host's store is of one moment, whoever changes it meanwhile. Begins no change.
---@param body fun(...): ...
---@return any ...
function host:snapshot(body, ...) end

--- Starts a change: waits for its turn (10 s at most) and mends what a crash left. Everything that
--- follows takes effect at `commit`, or not at all.
---@return true?
---@return string? message
---@return string? code
function host:begin() end

--- Makes what was asked for since `begin` real. On failure everything is undone.
---@return true?
---@return string? message
---@return string? code
function host:commit() end

--- Forgets what was asked for since `begin`.
function host:abort() end

---@class network_spec
---@field name string 1 to 63 of A-Z a-z 0-9 _ . -, the first alphanumeric
---@field driver string
---@field subnets string[] prefixes
---@field gateways? string[] each in one of the subnets; default the first host of each
---@field mtu? integer 68 to 65535; default the uplink's
---@field dns? string[]
---@field reach? string[] names of networks, of which some may come later, or "*"

--- Adds a network. Inside a change.
---@param spec network_spec
---@return network?
---@return string? message
---@return string? code
function host:add_network(spec) end

--- Removes a network that no endpoint uses. Inside a change.
---@param name string
---@return true?
---@return string? message
---@return string? code
function host:remove_network(name) end

---@class container_spec
---@field id string 1 to 255 of A-Z a-z 0-9 _ . -, the first alphanumeric
---@field name? string default the id
---@field type "process"|"hyperv"
---@field policies string directory of the policy set
---@field policy? string name of the container policy; default the type
---@field netns? string path of the namespace a runtime made; without, a fresh one
---@field owner? "hook"|"cni"|"hand" who takes it away; default "hand"
---@field annotations? table<string, string>
---@field labels? table<string, string>
---@field published? published[]

--- Adds a container and its compartment; joins a compartment whose namespace is already known.
--- Inside a change.
---@param spec container_spec
---@return container?
---@return string? message
---@return string? code
function host:add_container(spec) end

---@class endpoint_spec
---@field container string id
---@field network string name
---@field addresses? string[] without: the next free one of each subnet
---@field interface? string name in the compartment; default the first free ethN
---@field kind? "vNIC"|"vmNIC" default as the container's type asks for
---@field mac? string without: made from the first address, so that it comes again with that
---@field attachment? string name of the CNI configuration that asks for it
---@field default { inbound: table, outbound: table } as policy:default() gives them
---@field options table as policy:options() gives them
---@field rules rule[] the policy's rules, shared with others of the same

--- Adds an endpoint to a container. Inside a change.
---@param spec endpoint_spec
---@return endpoint?
---@return string? message
---@return string? code
function host:add_endpoint(spec) end

--- Removes an endpoint; its container stays. Inside a change.
---@param endpoint integer
---@return true?
---@return string? message
---@return string? code
function host:remove_endpoint(endpoint) end

--- Notes what handlers were told last of a container and its endpoints. Inside a change.
---@param id string the container's
---@param phase "attached"|"started"|"stopped"
---@return true?
---@return string? message
---@return string? code
function host:set_phase(id, phase) end

--- Adds rules of the endpoint's own, also to one that is there. Inside a change.
---@param endpoint integer
---@param rules rule[]
---@return true?
---@return string? message
---@return string? code
function host:add_rules(endpoint, rules) end

---@class endpoint_change
---@field default { inbound: table, outbound: table } as policy:default() gives them
---@field options table as policy:options() gives them
---@field rules rule[] the policy's rules
---@field own? rule[] the endpoint's own

--- Another policy for an endpoint that is there: all of it is replaced, its own rules too. Its flows
--- are asked again on their next packet. All endpoints of a change get theirs together. Inside a
--- change.
---@param endpoint integer
---@param change endpoint_change
---@return true?
---@return string? message
---@return string? code
function host:change_endpoint(endpoint, change) end

--- Another policy set for a container to keep. Inside a change.
---@param container string id
---@param policies string directory
---@return true?
---@return string? message
---@return string? code
function host:set_policies(container, policies) end

--- Removes a container with its endpoints and, with the last, the compartment. Inside a change.
---@param id string
---@return true?
---@return string? message
---@return string? code
function host:remove_container(id) end

--- Removes everything that this state ever made.
---@return true?
---@return string? message
---@return string? code
function host:reset() end

return bulkhead

---@meta
--- Captured traffic (pcap, pcapng) through a gate.

---@class bulkhead.replay
local replay_module = {}

--- Opens a capture to be judged by a gate's rules and addresses, from no flows on. The gate itself is
--- not changed. Ethernet, raw IP and Linux cooked captures are read.
---@param path string
---@param gate gate
---@return replay?
---@return string? message
---@return string? code
function replay_module.open(path, gate) end

--- The addresses that occur in a capture.
---@param path string
---@param limit? integer packets to look at; default 1,000,000
---@return { address: string, packets: integer, order: integer }[]?
---@return string? message
---@return string? code
function replay_module.addresses(path, limit) end

---@class replay_packet
---@field number integer in the capture, from 1
---@field time number seconds since 1970
---@field direction "inbound"|"outbound"
---@field opener "inbound"|"outbound" of the packet, or of the flow it belongs to
---@field packet string in notation
---@field size integer
---@field verdict "allow"|"block"
---@field by string
---@field rule? string
---@field rule_id? integer
---@field origin? string
---@field audit boolean

---@class replay_flow
---@field protocol string
---@field direction "inbound"|"outbound" of its first packet
---@field opener "inbound"|"outbound" of the packet that `by` is about
---@field local_address? string
---@field remote_address? string
---@field local_port? integer
---@field remote_port? integer
---@field icmp_type? integer of its first packet
---@field icmp_code? integer
---@field ethertype integer
---@field first number seconds since 1970
---@field last number
---@field packets_in integer
---@field packets_out integer
---@field bytes_in integer
---@field bytes_out integer
---@field dropped integer packets
---@field audited integer packets
---@field verdict "allow"|"block"|"mixed"
---@field by string about its first packet, or the first that was dropped
---@field rule? string
---@field rule_id? integer
---@field origin? string

---@class replay_summary
---@field packets integer read
---@field others integer neither from nor to the gate's addresses
---@field passed_in integer
---@field passed_out integer
---@field dropped_in table<string, integer> by reason
---@field dropped_out table<string, integer>
---@field audited integer
---@field unlisted integer packets of flows beyond the first million
---@field first number seconds since 1970
---@field last number
---@field ending? string why the capture ends too early
---@field flows replay_flow[]

--- A capture on its way through a gate.
---@class replay
local replay = {}

--- Judges the next packets of the gate's; fewer than asked for at the end.
---@param count integer
---@return integer judged
function replay:run(count) end

--- The same, with the verdict on each.
---@param count integer
---@return replay_packet[]
function replay:list(count) end

--- How far it is, 0 to 1.
---@return number
function replay:progress() end

--- What became of what was judged so far.
---@return replay_summary
function replay:summary() end

--- Closes the capture.
function replay:close() end

return replay_module

---@meta
--- The evaluator by itself: packets, rules and gates, without a host.

---@class bulkhead.filter
local filter = {}

---@class packet
---@field direction "inbound"|"outbound"
---@field protocol string
---@field source string address
---@field target string address
---@field source_port? integer
---@field target_port? integer
---@field icmp_type? integer
---@field icmp_code? integer
---@field local string the container's side
---@field remote string
---@field local_port? integer
---@field remote_port? integer
---@field family integer 4 or 6
---@field text string in notation, with what was left out

--- Reads PACKET notation, like `in tcp 10.0.0.9:51000 -> 172.16.0.2:80`.
---@param text string
---@return packet?
---@return string? message
---@return string? code
function filter.packet(text) end

--- Reads a prefix like "10.0.0.0/8" or an address. With `host_bits` the address part may be any.
---@param text string
---@param host_bits? boolean
---@return { address: string, length: integer, first: string, last: string, gateway: string, family: integer }?
---@return string? message
---@return string? code
function filter.prefix(text, host_bits) end

--- Whether the prefix contains the address.
---@param prefix string
---@param address string
---@return boolean
function filter.contains(prefix, address) end

---@class gate_spec
---@field mac? string default 02:00:00:00:00:02
---@field addresses? string[] own addresses, with prefix length
---@field default? { inbound: table, outbound: table } default allow
---@field options? table as policy:options() gives them
---@field rules? rule[] shared rules
---@field own? rule[] the endpoint's own rules
---@field words? { LocalSubnet?: string[], DefaultGateway?: string[], DNS?: string[], DHCP?: string[] }

--- A gate that exists nowhere but here: judges packets by these rules, with flows and a clock.
---@param spec gate_spec
---@return gate?
---@return string? message
---@return string? code
function filter.gate(spec) end

---@class match
---@field rule? string name
---@field id integer
---@field origin? string
---@field action "allow"|"block"
---@field priority integer
---@field won boolean
---@field lost_by? "priority"|"block"

---@class judgement
---@field packet string in notation
---@field direction "inbound"|"outbound"
---@field verdict "allow"|"block"
---@field by "flow"|"rule"|"default"|"neighbour"|"fragment"|"malformed"|"spoof"|"quota"
---@field rule? string name of the rule that decided (a flow: its opener's)
---@field origin? string FILE:LINE
---@field audit boolean
---@field opener "inbound"|"outbound" of the packet, or of the flow it belongs to
---@field rule_id? integer
---@field matched match[] in the order of precedence; for a flow, of its opener
---@field flow? { state: string, age: integer, idle: integer, packets_in: integer, packets_out: integer } what
---  a live flow counted so far

--- One firewall gate to ask. Looking at a live one changes nothing there.
---@class gate
local gate = {}

--- The verdict on a packet in notation; flows it opens are known to the next one.
---@param packet string
---@return judgement?
---@return string? message
---@return string? code
function gate:judge(packet) end

--- The verdict on a frame, byte for byte from the Ethernet header on.
---@param direction "inbound"|"outbound"
---@param frame string
---@return judgement
function gate:judge_frame(direction, frame) end

--- Sets the gate's clock forward.
---@param seconds number
function gate:advance(seconds) end

--- How many flows it holds.
---@return integer
function gate:flow_count() end

--- The frame that a packet in notation stands for, between the gate's NIC and a neighbour.
---@param packet string
---@return string
function gate:frame(packet) end

return filter

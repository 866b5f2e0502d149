---@meta
--- A throwaway host to send packets in: real namespaces on linux, simulated stacks in memory.

---@class bulkhead.lab
local lab_module = {}

---@class lab_options
---@field platform "linux"|"memory"
---@field host string[] addresses of the host's uplink, with prefix length
---@field outside string[] addresses of the peer outside, in the same subnets

--- Makes a lab. On linux the process moves into its host namespace until the lab is closed.
---@param options lab_options
---@return lab?
---@return string? message
---@return string? code
function lab_module.open(options) end

--- Where something is: a compartment's id, 1 = the host, 0 = the peer outside.
---@alias where integer

---@class probe_spec
---@field from where
---@field to where at whose NIC arrival is watched
---@field kind "tcp"|"udp"|"ping"|"raw"
---@field target? string address; tcp, udp, ping
---@field port? integer target port; tcp, udp
---@field source_port? integer
---@field arrival_port? integer tcp, udp: the port it arrives at, behind a published one; default `port`
---@field packet? string raw: PACKET notation, sent as it says whatever its source
---@field timeout? number seconds to wait for arrival and answer; default 0.5

---@class probe_result
---@field arrived boolean seen at the NIC of `to`
---@field answered boolean tcp: connected; udp: echoed; ping: replied
---@field refused boolean tcp: an RST came back
---@field source? string the address it arrived from, if it did

---@class lab
local lab = {}

--- Opens a TCP port that accepts or a UDP port that echoes.
---@param where where
---@param protocol "tcp"|"udp"
---@param port integer
---@return true?
---@return string? message
---@return string? code
function lab:listen(where, protocol, port) end

--- Starts a stand-in for a VMM on an endpoint's vmNIC, with a stack of its own behind it.
---@param endpoint endpoint
---@return true?
---@return string? message
---@return string? code
function lab:guest(endpoint) end

--- Sends a probe and tells what was seen.
---@param spec probe_spec
---@return probe_result?
---@return string? message
---@return string? code
function lab:probe(spec) end

--- Sends a frame as it is out of the NIC of `from`; true if it was seen at `to`.
---@param from where
---@param to where
---@param frame string
---@return boolean?
---@return string? message
---@return string? code
function lab:inject(from, to, frame) end

--- Gives the peer outside a route by the host, as a neighbour on the LAN could.
---@param prefix string
---@return true?
---@return string? message
---@return string? code
function lab:route_outside(prefix) end

--- Sets the clock forward; memory only.
---@param seconds number
---@return true?
---@return string? message
---@return string? code
function lab:advance(seconds) end

--- Removes the lab. Close the host opened in it first.
function lab:close() end

return lab_module

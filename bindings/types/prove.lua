---@meta
--- Proofs: what gates make of all packets, exactly and not by samples.
---
--- Asked are packets that start anew, so flows have no say; what a gate decides before any rule
--- (malformed packets, neighbour discovery, spoofs) counts for neither side. Whatever does not hold
--- comes with a packet, in notation, for which it does not. What would take more than the budget of
--- steps (some seconds) is refused: `nil, message, "E2BIG"`.

---@class bulkhead.prove
local prove = {}

---@class decider
---@field action "allow"|"block"
---@field by "rule"|"default"|"spoof"
---@field audit boolean an audited block, which lets it pass
---@field rule? string name
---@field origin? string FILE:LINE; a default's is in policy:default()
---@field id? integer

---@class difference_class
---@field change "allowed"|"blocked" what the second gate does that the first does not
---@field direction "inbound"|"outbound"
---@field protocol? string one, a list, or what is left out: "!tcp,!udp"; nil = any, as in all others
---@field local? string
---@field local_port? string
---@field remote? string a word such as LocalSubnet where it says it
---@field remote_port? string
---@field icmp? string types, ranges of types, type:code
---@field example string a packet of the class, in notation
---@field before decider of the example at the first gate
---@field after decider of the example at the second gate

--- All packets on which two gates differ, as the fewest classes that merging makes; none overlap.
---@param a gate
---@param b gate
---@param budget? integer steps; default 400 million
---@return difference_class[]?
---@return string? message
---@return string? code
function prove.compare(a, b, budget) end

--- Whether two gates agree on every packet; if not, one on which they do not.
---@param a gate
---@param b gate
---@return boolean?
---@return string? packet
---@return string? code
function prove.equivalent(a, b) end

--- Whether a gate lets every packet pass that `what` describes; if not, one that is blocked.
---@param gate gate
---@param what table fields of a rule: direction (default inbound), protocol, local, remote, …
---@return boolean?
---@return string? packet
---@return string? code
function prove.permits(gate, what) end

--- Whether a gate blocks every packet that `what` describes; if not, one that passes.
---@param gate gate
---@param what table fields of a rule: direction (default inbound), protocol, local, remote, …
---@return boolean?
---@return string? packet
---@return string? code
function prove.forbids(gate, what) end

--- Whether a rule never decides, because others take all it matches; if not, a packet it decides.
---@param gate gate
---@param id integer as in prove.rules()
---@return boolean?
---@return string? packet
---@return string? code
function prove.shadowed(gate, id) end

--- Whether the gate would do the same without a rule; if not, a packet that would fare otherwise.
---@param gate gate
---@param id integer as in prove.rules()
---@return boolean?
---@return string? packet
---@return string? code
function prove.idle(gate, id) end

--- The rules of a gate in the order of precedence, with their ids.
---@param gate gate
---@return rule[]
function prove.rules(gate) end

return prove

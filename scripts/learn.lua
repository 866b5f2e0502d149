--- learn.lua - a policy from flows that were seen: what is allowed is what was used, the rest is not.
---
--- A flow is taken as its opener opened it: the server's port is the other side's for what the
--- container opened, its own for what was opened towards it; the client's port stays open. How wide a
--- rule is made is for the caller to say.
local filter = require "bulkhead.filter"
local lists = require "lists"

local learn = {}

learn.WIDTHS = { "address", "subnet", "port" }

--- The remote side as a rule's `remote`: nil is any.
local function remote_of(flow, width, subnets)
  local address = flow.remote_address
  if width == "port" then
    return nil
  elseif width == "address" then
    return address
  end
  for _, subnet in ipairs(subnets or {}) do
    if filter.contains(subnet, address) then
      return subnet
    end
  end
  local length = address:find(":", 1, true) and 64 or 24
  if filter.contains("224.0.0.0/4", address) or filter.contains("ff00::/8", address)
    or address == "255.255.255.255" then
    return address
  end
  return filter.prefix(address .. "/" .. length, true).first .. "/" .. length
end

local ALL = { ["0.0.0.0/0"] = true, ["::/0"] = true }

local function service_of(flow)
  if flow.icmp_type then
    return { icmp = ("%d:%d"):format(flow.icmp_type, flow.icmp_code) }
  end
  local inbound = flow.direction == "inbound"
  local port = inbound and flow.local_port or flow.remote_port
  return port ~= 0 and { port = port } or {}
end

--- Ports as numbers and ranges of neighbours.
local function ranges(set)
  local list, out = {}, {}
  for port in pairs(set) do
    list[#list + 1] = port
  end
  table.sort(list)
  local i = 1
  while i <= #list do
    local last = i
    while list[last + 1] == list[last] + 1 do
      last = last + 1
    end
    out[#out + 1] = last > i and ("%d-%d"):format(list[i], list[last]) or list[i]
    i = last + 1
  end
  return out
end

local function literal(value)
  return type(value) == "number" and tostring(value) or ("%q"):format(value)
end

--- One value, or a list of several.
local function field(name, list)
  local parts = {}
  for i, value in ipairs(list) do
    parts[i] = literal(value)
  end
  return #parts == 1 and ("%s = %s"):format(name, parts[1])
    or ("%s = { %s }"):format(name, table.concat(parts, ", "))
end

--- Flows that a rule can be made of.
local function usable(flow)
  return flow.remote_address and flow.protocol ~= "arp" and not flow.blocked and flow.verdict ~= "block"
end

---@class learnt_rule
---@field direction "inbound"|"outbound"
---@field protocol string
---@field remotes string[] empty: any
---@field ports (integer|string)[]
---@field icmp string[]
---@field flows integer

--- Groups flows: by remotes the ports, then by ports the remotes.
---@return learnt_rule[]
function learn.rules(flows, width, subnets)
  local services = {}
  for _, flow in ipairs(flows) do
    if usable(flow) then
      local service = service_of(flow)
      local six = flow.remote_address:find(":", 1, true) and 6 or 4
      local key = table.concat({ flow.direction, flow.protocol, service.port or "", service.icmp or "", six }, " ")
      local group = services[key]
        or { direction = flow.direction, protocol = flow.protocol, port = service.port, icmp = service.icmp,
          remotes = {}, flows = 0, six = six }
      local remote = remote_of(flow, width, subnets) or (six == 6 and "::/0" or "0.0.0.0/0")
      group.remotes[remote] = true
      group.flows = group.flows + 1
      services[key] = group
    end
  end
  local merged, order = {}, {}
  for _, key in ipairs(lists.sorted_keys(services)) do
    local group = services[key]
    local name = table.concat({ group.direction, group.protocol, table.concat(lists.sorted_keys(group.remotes), ","),
      group.icmp and "icmp" or group.port and "port" or "" }, " ")
    local rule = merged[name]
    if not rule then
      rule = { direction = group.direction, protocol = group.protocol, remotes = lists.sorted_keys(group.remotes),
        port_set = {}, icmp_set = {}, flows = 0 }
      merged[name] = rule
      order[#order + 1] = rule
    end
    rule.flows = rule.flows + group.flows
    if group.port then
      rule.port_set[group.port] = true
    end
    if group.icmp then
      rule.icmp_set[group.icmp] = true
    end
  end
  for _, rule in ipairs(order) do
    rule.ports, rule.icmp = ranges(rule.port_set), lists.sorted_keys(rule.icmp_set)
  end
  return order
end

local function rule_text(rule)
  local inbound = rule.direction == "inbound"
  local parts = { field("protocol", { rule.protocol }) }
  if #rule.ports > 0 then
    parts[#parts + 1] = field(inbound and "local_port" or "remote_port", rule.ports)
  end
  if #rule.icmp > 0 then
    parts[#parts + 1] = field("icmp", rule.icmp)
  end
  if #rule.remotes > 1 or not ALL[rule.remotes[1]] or rule.protocol ~= "icmp" and rule.protocol ~= "icmp6" then
    parts[#parts + 1] = field("remote", rule.remotes)
  end
  return ("    -- %d %s\n    allow.%s { %s },\n"):format(rule.flows, rule.flows == 1 and "flow" or "flows",
    rule.direction, table.concat(parts, ", "))
end

---@class learn_request
---@field name string of the container
---@field flows table[] as host:flows() or a replay's summary gives them
---@field width "address"|"subnet"|"port" how wide `remote` is made
---@field subnets? string[] of the network, for `subnet`
---@field when? string

--- The text of a container policy that lets exactly these flows start, made as wide as asked for.
---@param request learn_request
---@return string text
---@return integer flows how many it was made of
function learn.policy(request)
  local rules = learn.rules(request.flows, request.width, request.subnets)
  local count, texts = 0, {}
  for i, rule in ipairs(rules) do
    texts[i] = rule_text(rule)
    count = count + rule.flows
  end
  local lines = {
    ("--- Learned from %d %s of container %s%s, by %s. Read it before it is put in force:"):format(count,
      count == 1 and "flow" or "flows", (request.name:gsub("%c", "?")), request.when and ", " .. request.when or "",
      request.width),
    "--- what was used is allowed, be it right or not; what was not seen is blocked.",
    "return {",
    '  default = { inbound = "block", outbound = "block" },',
    "  rules = {",
  }
  return table.concat(lines, "\n") .. "\n" .. table.concat(texts) .. "  },\n}\n", count
end

return learn

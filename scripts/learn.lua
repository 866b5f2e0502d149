--- learn.lua - a policy from flows that were seen: what is allowed is what was used, the rest is not.
---
--- A flow is taken as its opener opened it: the server's port is the other side's for what the
--- container opened, its own for what was opened towards it; the client's port stays open. The
--- container's addresses are not written, so that the policy still holds when it gets others; a group
--- that was sent to (multicast, broadcast) is. How wide the other side is made is for the caller to say.
local filter = require "bulkhead.filter"
local lists = require "lists"
local notation = require "notation"
local show = require "show"

local learn = {}

learn.WIDTHS = { "address", "subnet", "port" }

local function is_group(address)
  return filter.contains("224.0.0.0/4", address) or filter.contains("ff00::/8", address)
    or address == "255.255.255.255"
end

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
  if is_group(address) then
    return address
  end
  local length = address:find(":", 1, true) and 64 or 24
  return filter.prefix(address .. "/" .. length, true).first .. "/" .. length
end

local ALL = { ["0.0.0.0/0"] = true, ["::/0"] = true }

local function service_of(flow)
  if flow.icmp_type then
    return { icmp = ("%d:%d"):format(flow.icmp_type, flow.icmp_code) }
  end
  local port = flow.direction == "inbound" and flow.local_port or flow.remote_port
  return { port = notation.has_ports(flow.protocol) and port or nil }
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

local WIDTH = 100 -- columns of a policy

--- One value, or a list of several; one too long for a line is broken into more.
local function field(name, list)
  local parts = {}
  for i, value in ipairs(list) do
    parts[i] = literal(value) .. (i < #list and "," or "")
  end
  local text = ("%s = { %s }"):format(name, table.concat(parts, " "))
  if #parts == 1 then
    return ("%s = %s"):format(name, parts[1])
  elseif #text + 7 <= WIDTH then
    return text
  end
  parts[1] = (" "):rep(8) .. parts[1]
  return ("%s = {\n%s,\n      }"):format(name, show.wrap(parts, WIDTH, (" "):rep(8)))
end

--- A rule's call, on one line if it fits.
local function call(direction, fields)
  local text = ("    allow.%s { %s },\n"):format(direction, table.concat(fields, ", "))
  if #text <= WIDTH + 1 then
    return text
  end
  return ("    allow.%s {\n      %s,\n    },\n"):format(direction, table.concat(fields, ",\n      "))
end

--- Flows that a rule can be made of.
local function usable(flow)
  return flow.remote_address and flow.protocol ~= "arp" and not flow.blocked and flow.verdict ~= "block"
end

--- The broadcast address of a subnet of the network.
local function is_broadcast(address, subnets)
  for _, subnet in ipairs(subnets or {}) do
    if not subnet:find(":", 1, true) and filter.prefix(subnet).last == address then
      return true
    end
  end
  return false
end

local function key_of(...)
  return table.concat({ ... }, " ")
end

--- Flows to the same service: with remotes as a set, and the group that was sent to, if one was.
local function services_of(flows, width, subnets)
  local services = {}
  for _, flow in ipairs(flows) do
    if usable(flow) then
      local service = service_of(flow)
      local six = flow.remote_address:find(":", 1, true) and 6 or 4
      local here = flow.direction == "inbound" and flow.local_address
      local group = here and (is_group(here) or is_broadcast(here, subnets)) and here or nil
      local plain = key_of(flow.direction, flow.protocol, service.port or "", service.icmp or "", six)
      local key = key_of(plain, group or "")
      local entry = services[key]
        or { direction = flow.direction, protocol = flow.protocol, port = service.port, icmp = service.icmp,
          remotes = {}, flows = 0, group = group, plain = key_of(plain, "") }
      entry.remotes[remote_of(flow, width, subnets) or (six == 6 and "::/0" or "0.0.0.0/0")] = true
      entry.flows = entry.flows + 1
      services[key] = entry
    end
  end
  return services
end

--- Whether a remote lies in one of a set, other than itself unless `itself`.
local function within(remotes, remote, itself)
  local parsed = filter.prefix(remote)
  for other in pairs(remotes) do
    if other == remote then
      if itself then
        return true
      end
    elseif filter.prefix(other).length <= parsed.length and filter.contains(other, parsed.first) then
      return true
    end
  end
  return false
end

--- Takes out what is said twice: a remote inside another, and one that may send to a group what it may
--- send anyway.
local function thin(services)
  for _, entry in pairs(services) do
    for _, remote in ipairs(lists.sorted_keys(entry.remotes)) do
      if within(entry.remotes, remote) then
        entry.remotes[remote] = nil
      end
    end
  end
  for key, entry in pairs(services) do
    local wider = entry.group and services[entry.plain]
    for _, remote in ipairs(wider and lists.sorted_keys(entry.remotes) or {}) do
      if within(wider.remotes, remote, true) then
        entry.remotes[remote] = nil
      end
    end
    if next(entry.remotes) == nil then
      wider.flows = wider.flows + entry.flows
      services[key] = nil
    end
  end
  return services
end

---@class learnt_rule
---@field direction "inbound"|"outbound"
---@field protocol string
---@field group? string the local address, where it is one of several
---@field remotes string[]
---@field ports (integer|string)[]
---@field icmp string[]
---@field flows integer

--- Groups flows: by service the remotes, then by remotes the services.
---@return learnt_rule[]
function learn.rules(flows, width, subnets)
  local services = thin(services_of(flows, width, subnets))
  local merged, order = {}, {}
  for _, key in ipairs(lists.sorted_keys(services)) do
    local entry = services[key]
    local remotes = lists.sorted_keys(entry.remotes)
    local name = key_of(entry.direction, entry.protocol, entry.group or "", table.concat(remotes, ","),
      entry.icmp and "icmp" or entry.port and "port" or "")
    local rule = merged[name]
    if not rule then
      rule = { direction = entry.direction, protocol = entry.protocol, group = entry.group, remotes = remotes,
        port_set = {}, icmp_set = {}, flows = 0 }
      merged[name] = rule
      order[#order + 1] = rule
    end
    rule.flows = rule.flows + entry.flows
    if entry.port then
      rule.port_set[entry.port] = true
    end
    if entry.icmp then
      rule.icmp_set[entry.icmp] = true
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
  if rule.group then
    parts[#parts + 1] = field('["local"]', { rule.group })
  end
  if #rule.remotes > 1 or not ALL[rule.remotes[1]] or rule.protocol ~= "icmp" and rule.protocol ~= "icmp6" then
    parts[#parts + 1] = field("remote", rule.remotes)
  end
  return ("    -- %s\n"):format(show.count(rule.flows, "flow")) .. call(rule.direction, parts)
end

-- Not to be learnt, and not to be recorded as dropped whenever a neighbour starts.
local ANNOUNCEMENTS = "    -- memberships and solicitations that hosts tell a whole link; they start no flow\n"
  .. call("inbound", { field("protocol", { "igmp" }), field('["local"]', { "224.0.0.0/4" }) })
  .. call("inbound", {
    field("protocol", { "icmp6" }), field("icmp", { "131", "132", "133", "143" }), field('["local"]', { "ff00::/8" }),
  })

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
    ("--- Learned from %s of container %s%s, by %s. Read it before it is put in force:"):format(
      show.count(count, "flow"), (request.name:gsub("%c", "?")), request.when and ", " .. request.when or "",
      request.width),
    "--- what was used is allowed, be it right or not; what was not seen is blocked.",
    "return {",
    '  default = { inbound = "block", outbound = "block" },',
    "  rules = {",
  }
  return table.concat(lines, "\n") .. "\n" .. table.concat(texts) .. ANNOUNCEMENTS .. "  },\n}\n", count
end

return learn

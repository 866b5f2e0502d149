--- metrics.lua - a host's counters in Prometheus' text exposition format.
local metrics = {}

local REASONS = { "rule", "default", "malformed", "spoof", "neighbour", "quota" }

--- Families in the order they are printed: name, type, help.
local FAMILIES = {
  { "bulkhead_info", "gauge", "The version, as a label." },
  { "bulkhead_packets_total", "counter", "Packets that passed an endpoint's gate." },
  { "bulkhead_bytes_total", "counter", "Bytes that passed an endpoint's gate." },
  { "bulkhead_direct_packets_total", "counter", "Packets an endpoint sent that went straight to a local one." },
  { "bulkhead_audited_packets_total", "counter", "Packets that passed only because a block is audited." },
  { "bulkhead_dropped_packets_total", "counter", "Packets dropped at an endpoint's gate, by reason." },
  { "bulkhead_policy_generation", "gauge", "How often the endpoint's policy was set." },
  { "bulkhead_audit", "gauge", "1 where the endpoint's whole policy is audited." },
  { "bulkhead_flows", "gauge", "Flows a compartment is charged for." },
  { "bulkhead_flows_limit", "gauge", "Flows an endpoint's compartment may have." },
  { "bulkhead_rule_hits_total", "counter", "Packets a rule decided." },
  { "bulkhead_records_total", "counter", "Records of drops, audits and logs since the gate was loaded." },
}

local function escape(value)
  return (tostring(value):gsub('[\\"\n]', { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }))
end

--- A line: labels are a list of name, value, name, value.
local function sample(name, labels, value)
  local parts = {}
  for i = 1, #labels, 2 do
    parts[#parts + 1] = ('%s="%s"'):format(labels[i], escape(labels[i + 1]))
  end
  local text = #parts > 0 and "{" .. table.concat(parts, ",") .. "}" or ""
  return ("%s%s %d"):format(name, text, value)
end

--- Labels with more behind.
local function with(labels, ...)
  local more = table.pack(...)
  return table.move(more, 1, more.n, #labels + 1, table.move(labels, 1, #labels, 1, {}))
end

local function add_rules(host, endpoint, labels, put)
  for _, rule in ipairs(host:rules(endpoint.id)) do
    put("bulkhead_rule_hits_total", with(labels, "direction", rule.direction, "action", rule.action,
      "rule", rule.name or "", "origin", rule.origin or "", "id", rule.id), rule.hits)
  end
end

local function add_endpoint(host, endpoint, labels, put)
  local counters = host:counters(endpoint.id)
  if not counters then
    return -- it went meanwhile
  end
  for _, side in ipairs { "in", "out" } do
    local directed = with(labels, "direction", side .. "bound")
    put("bulkhead_packets_total", directed, counters["packets_" .. side])
    put("bulkhead_bytes_total", directed, counters["bytes_" .. side])
    put("bulkhead_audited_packets_total", directed, counters["audited_" .. side])
    for _, reason in ipairs(REASONS) do
      put("bulkhead_dropped_packets_total", with(directed, "reason", reason),
        counters["dropped_" .. side][reason] or 0)
    end
  end
  put("bulkhead_direct_packets_total", labels, counters.direct_out)
  put("bulkhead_policy_generation", labels, endpoint.generation)
  put("bulkhead_audit", labels, endpoint.audit and 1 or 0)
  put("bulkhead_flows_limit", labels, endpoint.flows_limit)
end

--- All of it as text.
---@param host host
---@param rules? boolean hits of rules too
function metrics.text(host, rules)
  local lines = {}
  local function put(name, labels, value)
    lines[name] = lines[name] or {}
    table.insert(lines[name], sample(name, labels, value))
  end
  put("bulkhead_info", { "version", arg.version or "" }, 1)
  local names, charged = {}, {}
  for _, container in ipairs(host:containers()) do
    names[container.id] = container.name
  end
  for _, endpoint in ipairs(host:endpoints()) do
    if endpoint.status ~= "creating" and endpoint.status ~= "removing" then
      local labels = {
        "container", endpoint.container, "name", names[endpoint.container] or "", "endpoint", endpoint.id,
        "compartment", endpoint.compartment, "network", endpoint.network,
      }
      add_endpoint(host, endpoint, labels, put)
      if rules then
        add_rules(host, endpoint, labels, put)
      end
      local used = not charged[endpoint.compartment] and host:flows_used(endpoint.compartment)
      if used then
        charged[endpoint.compartment] = true
        put("bulkhead_flows", { "compartment", endpoint.compartment }, used)
      end
    end
  end
  put("bulkhead_records_total", {}, select(2, host:drops(math.maxinteger)))
  local text = {}
  for _, family in ipairs(FAMILIES) do
    if lines[family[1]] then
      text[#text + 1] = ("# HELP %s %s"):format(family[1], family[3])
      text[#text + 1] = ("# TYPE %s %s"):format(family[1], family[2])
      table.move(lines[family[1]], 1, #lines[family[1]], #text + 1, text)
    end
  end
  return table.concat(text, "\n") .. "\n"
end

return metrics

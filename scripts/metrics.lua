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

--- A sample as a line; its labels are a list of name, value, name, value.
local function line_of(name, sample)
  local parts, labels = {}, sample.labels
  for i = 1, #labels, 2 do
    parts[#parts + 1] = ('%s="%s"'):format(labels[i], escape(labels[i + 1]))
  end
  local text = #parts > 0 and "{" .. table.concat(parts, ",") .. "}" or ""
  return ("%s%s %d"):format(name, text, sample.value)
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

--- All samples, by the name of their family: { labels, value }.
---@param host host
---@param rules? boolean hits of rules too
local function gather(host, rules)
  local samples = {}
  local function put(name, labels, value)
    samples[name] = samples[name] or {}
    table.insert(samples[name], { labels = labels, value = value })
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
  return samples
end

--- All of it as text.
---@param host host
---@param rules? boolean hits of rules too
function metrics.text(host, rules)
  local text, samples = {}, gather(host, rules)
  for _, family in ipairs(FAMILIES) do
    local list = samples[family[1]]
    if list then
      text[#text + 1] = ("# HELP %s %s"):format(family[1], family[3])
      text[#text + 1] = ("# TYPE %s %s"):format(family[1], family[2])
      for _, sample in ipairs(list) do
        text[#text + 1] = line_of(family[1], sample)
      end
    end
  end
  return table.concat(text, "\n") .. "\n"
end

--- The same for --json: a list of families with their samples.
---@param host host
---@param rules? boolean hits of rules too
---@return { name: string, type: string, help: string, samples: { labels: table<string, string>, value: integer }[] }[]
function metrics.list(host, rules)
  local list, samples = {}, gather(host, rules)
  for _, family in ipairs(FAMILIES) do
    local entry = { name = family[1], type = family[2], help = family[3], samples = {} }
    for i, sample in ipairs(samples[family[1]] or {}) do
      local labels = {}
      for at = 1, #sample.labels, 2 do
        labels[sample.labels[at]] = tostring(sample.labels[at + 1])
      end
      entry.samples[i] = { labels = labels, value = sample.value }
    end
    list[#list + 1] = #entry.samples > 0 and entry or nil
  end
  return list
end

return metrics

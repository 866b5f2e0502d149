--- audit.lua - whether store and kernel agree: nothing in the kernel that the store does not name, and
--- all that it does name.
local cli = require "tests.support.cli"
local lfs = require "lfs"
local namespaces = require "tests.support.namespaces"

local audit = {}

--- A program of tests/support, built beside the one under test.
function audit.helper(name)
  return cli.program():match "^(.*)/[^/]*$" .. "/tests/support/" .. name
end

--- Base 36, as management vNICs are numbered.
local function base36(number)
  local digits, text = "0123456789abcdefghijklmnopqrstuvwxyz", ""
  repeat
    local digit = number % 36
    text, number = digits:sub(digit + 1, digit + 1) .. text, number // 36
  until number == 0
  return text
end

local function interfaces(path)
  local set = {}
  local text = namespaces.shell(("nsenter --net=%s cat /proc/self/net/dev"):format(path))
  for name in text:gmatch "([^%s:|]+):" do
    set[name] = true
  end
  return set
end

--- Compares two sets; adds what differs.
local function compare(differences, what, wanted, found)
  for name in pairs(wanted) do
    if not found[name] then
      differences[#differences + 1] = ("%s %s is missing"):format(what, name)
    end
  end
  for name in pairs(found) do
    if not wanted[name] then
      differences[#differences + 1] = ("%s %s is left"):format(what, name)
    end
  end
end

--- The keys of the gate's maps, by map; of the forwarding table, what they lead to.
local function map_keys(directory)
  local keys = {}
  for line in namespaces.shell(("'%s' %s"):format(audit.helper "maps", directory)):gmatch "[^\n]+" do
    local map, word, value = line:match "^(%S+) (%d+) (%d+)$"
    word = map == "bh_forwards" and value or word
    keys[map] = keys[map] or {}
    keys[map][math.tointeger(word)] = true
  end
  return keys
end

--- What differs between a stage's store and the kernel: a list of sentences.
---@return string[]
function audit.differences(s)
  local differences, directory = {}, "/run/bulkhead/" .. s.tag
  local endpoints, networks, compartments = s.host:endpoints(), s.host:networks(), s.host:compartments()
  local pins, ports, vnics, ids, shares = { default = true }, { lo = true }, {}, {}, {}
  for _, compartment in ipairs(compartments) do
    if compartment.id ~= 1 then
      pins["c" .. compartment.id], shares[compartment.id] = true, true
    end
  end
  for _, network in ipairs(networks) do
    ports["s" .. network.id], ports["m" .. network.id] = true, true
    vnics[("b%s-%s"):format(s.tag, base36(network.id))] = true
  end
  for _, endpoint in ipairs(endpoints) do
    ports["p" .. endpoint.id], ids[endpoint.id] = true, true
    local ok, why = s.host:check_endpoint(endpoint.id)
    differences[#differences + 1] = not ok and why or nil
  end
  local have = {}
  for name in lfs.dir(directory) do
    if not name:find "^%." and name ~= "switch" and name ~= "bpf" and name ~= "sysctls" then
      have[name] = true
    end
  end
  compare(differences, "pin", pins, have)
  if lfs.attributes(directory .. "/switch") then
    compare(differences, "port", ports, interfaces(directory .. "/switch"))
  end
  have = {}
  for name in pairs(interfaces "/proc/self/ns/net") do
    have[name] = name:sub(1, #s.tag + 2) == "b" .. s.tag .. "-" or nil
  end
  compare(differences, "management vNIC", vnics, have)
  local keys = map_keys(directory .. "/bpf")
  compare(differences, "counters of endpoint", ids, keys.bh_counts or {})
  compare(differences, "account of compartment", shares, keys.bh_shares or {})
  if keys.guarantees then -- as many as there are accounts
    compare(differences, "number of guarantees", { [#compartments - 1] = true }, keys.guarantees)
  end
  have = {}
  for index in pairs(keys.bh_ports or {}) do
    have[index // 4] = true -- indices of links are made from ids (switch.h)
  end
  compare(differences, "gate of endpoint", ids, have)
  have = {}
  for index in pairs(keys.bh_forwards or {}) do
    have[index // 4] = true
  end
  compare(differences, "place in the forwarding table of endpoint", ids, have)
  have = {}
  for table_id in pairs(keys.bh_spots or {}) do
    have[table_id] = true
  end
  compare(differences, "table", audit.tables(s), have)
  compare(differences, "published port", audit.published(s), audit.mappings(s))
  for _, rows in ipairs { endpoints, networks, compartments, s.host:containers() } do
    for _, row in ipairs(rows) do
      if row.status ~= "ready" then
        differences[#differences + 1] = ("row %s is %s"):format(row.id, row.status)
      end
    end
  end
  return differences
end

--- Asks the store directly, or changes it behind the host's back.
function audit.sql(s, statement)
  return (namespaces.shell(("sqlite3 '%s/state.db' \"%s\""):format(s.state, statement)))
end

--- Ids of the tables in the store.
function audit.tables(s)
  local set = {}
  local text = audit.sql(s, "SELECT DISTINCT tbl FROM rules")
  for id in text:gmatch "%d+" do
    set[math.tointeger(id)] = true
  end
  return set
end

--- Host ports in the store.
function audit.published(s)
  local set = {}
  for _, container in ipairs(s.host:containers()) do
    for _, entry in ipairs(container.published) do
      set[entry.protocol .. " " .. entry.host] = true
    end
  end
  return set
end

--- Host ports that nftables translates.
function audit.mappings(s)
  local set = {}
  local text = namespaces.shell("nft -n list table inet bulkhead_" .. s.tag)
  for protocol, port in text:gmatch "(%w+) %. (%d+) : [%x.:]+ %. %d+" do
    set[(protocol == "6" and "tcp" or protocol == "17" and "udp" or protocol) .. " " .. port] = true
  end
  return set
end

return audit

--- doctor.lua - whether this machine can do it all: things looked at, then a throwaway host made.
---
--- The trial is the proof; the looks say why it could fail. Each check is a record
--- { name, status = "ok"|"warning"|"failed", detail }.
local foreign = require "foreign"
local nft = require "nft"
local overlay = require "overlay"
local policies = require "policies"

local doctor = {}

local function slurp(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

--- The effective user id in the text of /proc/self/status.
function doctor.user(text)
  return tonumber(text:match "Uid:%s+%d+%s+(%d+)")
end

local function check(list, name, ok, detail, bad)
  list[#list + 1] = { name = name, status = ok and "ok" or bad or "failed", detail = detail }
  return ok
end

--- The sentence about other programs' filters, or nil if none surely drops what is forwarded.
---@param ruleset table as `nft -j list ruleset` decodes
---@param published published[] of the containers that are there
---@param uplink string?
function doctor.dropped(ruleset, published, uplink)
  local said, parts = {}, {}
  local function ask(direction, what, protocol, port, host_port)
    for _, family in ipairs { "ip", "ip6" } do
      local chain = foreign.chain(ruleset, {
        direction = direction, protocol = protocol, dport = port, host_port = host_port, family = family,
      }, uplink)
      local part = chain and ("'%s' drops %s"):format(chain, what)
      if part and not said[part] then
        said[part] = true
        parts[#parts + 1] = part
      end
    end
  end
  ask("outbound", "what containers send to the uplink")
  for _, entry in ipairs(published) do
    local name = ("%d/%s"):format(entry.host, entry.protocol)
    ask("inbound", ("what comes by the published port %s"):format(name), entry.protocol, entry.container,
      entry.host)
    ask("host", ("what the host itself sends to the published port %s"):format(name), entry.protocol,
      entry.container, entry.host)
  end
  return parts[1] and "the filter " .. table.concat(parts, ", the filter ") or nil
end

--- Whether a table of ours still refuses what the host forwards as a whole by now.
---@param ruleset table?
---@param ip_forward string text of the sysctl
function doctor.refuses_late(ruleset, ip_forward)
  for _, item in ipairs(ruleset and ruleset.nftables or {}) do
    local chain = item.chain
    if chain and chain.table:find "^bulkhead_" and chain.name == "lent4" then
      return ip_forward:find "^1" ~= nil
    end
  end
  return false
end

local NAMED = 5 -- of what is broken

--- What a host has made and somebody took away or set down. What a container did to its own network is its own
--- business, and does not fail the machine.
---@return string? detail nil if all is there
---@return string? status "warning" if only containers did it
function doctor.broken(host)
  local said, more, status = {}, 0, "warning"
  local function ask(ok, why)
    if not ok then
      status = why:find(": inside: ", 1, true) and status or "failed"
      more = more + (said[NAMED] and 1 or 0)
      said[#said + (said[NAMED] and 0 or 1)] = why
    end
  end
  for _, network in ipairs(host:networks()) do
    ask(host:check_network(network.name))
  end
  for _, endpoint in ipairs(host:endpoints()) do
    ask(host:check_endpoint(endpoint.id))
  end
  if not said[1] then
    return nil
  end
  return table.concat(said, "; ") .. (more > 0 and ("; and %d more"):format(more) or "")
    .. "; `bulkhead reconcile` puts back a gate, the host's port, and what is down", status
end

--- What stands in the way of the networks and published ports that are there.
local function look_at_networks(list, uplink)
  local host = require("session").host(false)
  local published, networks = {}, host and #host:networks() or 0
  for _, container in ipairs(host and host:containers() or {}) do
    table.move(container.published, 1, #container.published, #published + 1, published)
  end
  if host then
    local broken, status = doctor.broken(host)
    check(list, "endpoints", not broken, broken or ("%d of them, as they were made"):format(#host:endpoints()), status)
    host:close()
  end
  local ruleset, unread = nft.read()
  local why = ruleset and doctor.dropped(ruleset, published, uplink)
  if ruleset and ruleset.unread[1] then
    why = (why and why .. "; " or "") .. table.concat(ruleset.unread, ", ")
      .. " is in use, but its rules are not read: iptables-legacy-save is missing"
  elseif not ruleset then
    why = unread
  end
  check(list, "foreign filters", not why, why or "none surely drops what containers send or publish", "warning")
  local found = networks == 0
  for _, item in ipairs(ruleset and ruleset.nftables or {}) do
    found = found or (item.table and item.table.name:find "^bulkhead_") ~= nil
  end
  if ruleset then
    check(list, "networks", found, found and ("%d of them"):format(networks)
      or "another program took the table of networks away; `bulkhead reconcile` makes it again")
  end
  local late = doctor.refuses_late(ruleset, slurp "/proc/sys/net/ipv4/ip_forward")
  check(list, "forwarding", not late, late and "the host forwards by now, but our table still refuses what comes "
    .. "in by its links to others than our networks; `bulkhead reconcile` takes that away"
    or "as our networks need it", "warning")
  check(list, "localhost by IPv6", false,
    "a published port answers on 127.0.0.1; on ::1 it is refused at once, for no translation leaves ::1",
    "warning")
end

--- Whether a kernel release is new enough for the gate.
---@param release string as /proc/sys/kernel/osrelease has it
function doctor.new_enough(release)
  local major, minor = release:match "^(%d+)%.(%d+)"
  major, minor = tonumber(major) or 0, tonumber(minor) or 0
  return major > 6 or (major == 6 and minor >= 1)
end

local function look(list)
  check(list, "root", doctor.user(slurp "/proc/self/status") == 0, "to change networks")
  local release = slurp "/proc/sys/kernel/osrelease":match "[^\n]*"
  local types = io.open "/sys/kernel/btf/vmlinux"
  check(list, "kernel", doctor.new_enough(release) and types ~= nil, doctor.new_enough(release)
    and (types and release or "it does not describe its types (BTF, CONFIG_DEBUG_INFO_BTF), which the gate needs")
    or release .. " is older than 6.1")
  if types then
    types:close()
  end
  check(list, "eBPF file system", slurp "/proc/filesystems":find "%sbpf\n" ~= nil, "to pin gates")
  check(list, "tap devices", io.open "/dev/net/tun" ~= nil, "for hyperv containers", "warning")
  local uplink = require("uplink").name()
  check(list, "uplink", uplink ~= nil, uplink or "there is no default route", "warning")
  local closed = overlay.closed(overlay.machine())
  look_at_networks(list, uplink)
  check(list, "overlay ports", #closed == 0,
    overlay.sentence(closed) or "2377/tcp, 7946/tcp, 7946/udp and 4789/udp are open", "warning")
end

local function look_at_policies(list, dir)
  for _, type in ipairs { "process", "hyperv" } do
    local set, why = policies.load(dir, type, "nat")
    check(list, "policy " .. type, set ~= nil, set and policies.name(dir) or why)
  end
end

--- Makes a container in a throwaway host and sends it a packet from outside that must not arrive
--- and one that must leave.
local function trial(list, dir)
  local labs = require "labs"
  local lab, host = labs.open {
    platform = "linux", host = { "192.0.2.1/24" }, outside = { "192.0.2.2/24" },
  }
  if not check(list, "throwaway host", lab ~= nil, lab and "made" or host) then
    return
  end
  local container, endpoint = require("lifecycle").create(host, {
    id = "doctor", type = "process", policies = dir,
    published = { { host = 8080, container = 80, protocol = "tcp" } },
  })
  if check(list, "gate", container ~= nil, container and "a container was attached" or endpoint) then
    lab:listen(0, "tcp", 8080)
    local out = lab:probe {
      from = container.compartment, to = 0, kind = "tcp", target = "192.0.2.2", port = 8080,
    }
    check(list, "outbound", out and out.answered, "a connection to outside is answered")
    lab:listen(container.compartment, "tcp", 80)
    for _, way in ipairs { { 0, "192.0.2.1", "from outside" }, { 1, "127.0.0.1", "from the host" } } do
      local seen = lab:probe {
        from = way[1], to = container.compartment, kind = "tcp", target = way[2], port = 8080,
        arrival_port = 80,
      }
      check(list, "published port", seen and seen.answered, "a connection " .. way[3] .. " is answered")
    end
  end
  local ok, why = labs.close(lab, host)
  check(list, "clean-up", ok, ok and "nothing is left" or why)
end

--- Runs all checks.
---@param dir string the policy set's
---@return { name: string, status: string, detail: string }[]
function doctor.examine(dir)
  local list = {}
  look(list)
  look_at_policies(list, dir)
  local ok, message = pcall(trial, list, dir)
  if not ok then
    check(list, "trial", false, message)
  end
  return list
end

return doctor

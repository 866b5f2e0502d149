--- lifecycle.lua - what it takes to bring up and take down one endpoint, beside CNI plugins and netavark.
---
---   bulkhead run tests/bench/lifecycle.lua [LAST] [--json]     LAST endpoints at most, default 500
---
--- Each contender works in a throwaway host of its own, on namespaces made beforehand, with addresses,
--- a route, policy (theirs: masquerade and firewall chains) and one published port an endpoint. Times
--- are wall clock of whole processes, the median of five neighbours at the 1st, 100th, 500th, 1000th
--- endpoint. The contenders take turns. Where a peer is not installed it is left out, and said so.
local json = require "json"
local labs = require "labs"
local lfs = require "lfs"
local session = require "session"
local system = require "system"

local STEPS, NEIGHBOURS = { 1, 100, 500, 1000 }, 5
local last, as_json = 500, false
for _, word in ipairs { ... } do
  as_json = as_json or word == "--json"
  last = math.tointeger(tonumber(word)) or last
end

local program = lfs.symlinkattributes("/proc/self/exe", "target")

local function shell(command)
  local ok = os.execute(command .. " >/dev/null 2>/tmp/bulkhead-bench.err")
  if not ok then
    local file <close> = io.open "/tmp/bulkhead-bench.err"
    error(command:sub(1, 200) .. ": " .. (file and file:read "a" or ""), 0)
  end
end

local function timed(command)
  local start = system.monotime()
  shell(command)
  return (system.monotime() - start) * 1000
end

local function installed(path)
  return lfs.attributes(path, "mode") == "file"
end

--- The name of the i-th namespace of a contender.
local function netns(contender, i)
  return ("bhbench-%s-%d"):format(contender.name, i)
end

--- Feeds a text to a command.
local function fed(text, command)
  return ("printf '%%s' '%s' | %s"):format(text:gsub("'", "'\\''"), command)
end

local ours = { name = "bulkhead" }

function ours.add(i)
  return ("%s container create c%d --netns /run/netns/%s --publish %d:80/tcp"):format(
    program, i, netns(ours, i), 10000 + i)
end

function ours.remove(i)
  return ("%s container remove c%d"):format(program, i)
end

local cni = { name = "cni", needs = { "/usr/lib/cni/bridge", "/usr/lib/cni/portmap", "/usr/lib/cni/firewall" } }

local function cni_config(plugin, i, previous)
  local config = {
    cniVersion = "0.4.0", name = "bench", type = plugin, bridge = "cnibench0", isGateway = true, ipMasq = true,
    ipam = { type = "host-local", dataDir = "/tmp/bulkhead-bench-cni", ranges = { { { subnet = "10.88.0.0/16" } } },
      routes = { { dst = "0.0.0.0/0" } } },
    capabilities = { portMappings = true }, prevResult = previous,
    runtimeConfig = { portMappings = { { hostPort = 10000 + i, containerPort = 80, protocol = "tcp" } } },
  }
  return json.encode(config)
end

--- One command that runs the chain, each plugin given the result of the one before.
local function cni_chain(verb, i)
  local environment = ("CNI_COMMAND=%s CNI_CONTAINERID=bench%d CNI_NETNS=/run/netns/%s "
    .. "CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni")
    :format(verb, i, netns(cni, i))
  local parts = {}
  local plugins = verb == "ADD" and { "bridge", "portmap", "firewall" } or { "firewall", "portmap", "bridge" }
  for n, plugin in ipairs(plugins) do
    local previous = verb == "ADD" and n > 1 and "@PREV@" or nil
    local text = cni_config(plugin, i, previous)
    local feed = ("printf '%%s' '%s'"):format(text)
    if previous then
      feed = feed .. (" | sed 's|\"@PREV@\"|'"
        .. "\"$(tr -d \"\\n\\t\" < /tmp/bulkhead-bench-cni.out | sed 's/|/\\\\|/g')\"'|'")
    end
    parts[n] = ("%s | %s /usr/lib/cni/%s%s"):format(feed, environment, plugin,
      verb == "ADD" and n == 1 and " > /tmp/bulkhead-bench-cni.out" or "")
  end
  return "{ " .. table.concat(parts, " && ") .. "; }"
end

function cni.add(i)
  return cni_chain("ADD", i)
end

function cni.remove(i)
  return cni_chain("DEL", i)
end

local netavark = { name = "netavark", needs = { "/usr/lib/podman/netavark" } }

local function netavark_command(verb, i)
  local options = {
    container_id = ("%064x"):format(i), container_name = "bench" .. i,
    port_mappings = { { container_port = 80, host_ip = "", host_port = 10000 + i, protocol = "tcp", range = 1 } },
    networks = { bench = { static_ips = { ("10.89.%d.%d"):format(i // 250, 2 + i % 250) }, interface_name = "eth0" } },
    network_info = { bench = {
      name = "bench", id = ("%064x"):format(99), driver = "bridge", network_interface = "navbench0",
      subnets = { { subnet = "10.89.0.0/16", gateway = "10.89.255.254" } }, ipv6_enabled = false, internal = false,
      dns_enabled = false, ipam_options = { driver = "host-local" },
    } },
  }
  return fed(json.encode(options), ("/usr/lib/podman/netavark --config /tmp/bulkhead-bench-nav %s /run/netns/%s")
    :format(verb, netns(netavark, i)))
end

function netavark.add(i)
  return netavark_command("setup", i)
end

function netavark.remove(i)
  return netavark_command("teardown", i)
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

--- Brings endpoints up to `to`, timing those at steps; then takes the last ones down.
local function play(contender, results)
  local made = 0
  for _, step in ipairs(STEPS) do
    if step > last then
      break
    end
    while made < step - 1 do
      made = made + 1
      shell(contender.add(made))
    end
    local adds, removes = {}, {}
    for n = 1, NEIGHBOURS do
      adds[n] = timed(contender.add(made + n))
    end
    for n = NEIGHBOURS, 1, -1 do
      removes[n] = timed(contender.remove(made + n))
    end
    results[contender.name] = results[contender.name] or {}
    results[contender.name][tostring(step)] = { create_ms = median(adds), remove_ms = median(removes) }
    io.stderr:write(("%s at %d: create %.1f ms, remove %.1f ms\n"):format(contender.name, step,
      median(adds), median(removes)))
  end
  return made
end

local function run(contender, results)
  for _, path in ipairs(contender.needs or {}) do
    if not installed(path) then
      io.stderr:write(("%s is left out: %s is not installed\n"):format(contender.name, path))
      return
    end
  end
  local count = last + NEIGHBOURS
  local lab, host = labs.open { platform = "linux", host = { "10.0.0.1/24" }, outside = { "10.0.0.9/24" } }
  assert(lab, host)
  os.execute "rm -rf /tmp/bulkhead-bench-cni /tmp/bulkhead-bench-nav; mkdir -p /tmp/bulkhead-bench-nav"
  for i = 1, count do
    shell("ip netns add " .. netns(contender, i))
  end
  local prefix = contender == ours and ("BULKHEAD_STATE=/tmp/bulkhead-bench-state ") or ""
  local wrapped = setmetatable({
    add = function(i) return prefix .. contender.add(i) end,
    remove = function(i) return prefix .. contender.remove(i) end,
  }, { __index = contender })
  local ok, why = pcall(play, wrapped, results)
  if contender == ours then
    os.execute(prefix .. program .. " reset")
  end
  for i = 1, count do
    os.execute("ip netns del " .. netns(contender, i) .. " 2>/dev/null")
  end
  labs.close(lab, host)
  os.execute "rm -rf /tmp/bulkhead-bench-*"
  if not ok then
    io.stderr:write(("%s gave up: %s\n"):format(contender.name, why))
  end
end

session.platform = "linux"
local results = {}
for _, contender in ipairs { ours, netavark, cni } do
  run(contender, results)
end

if as_json then
  io.write(json.encode(results), "\n")
  return 0
end
io.write(("%-8s %-10s"):format("", "endpoint"))
for _, step in ipairs(STEPS) do
  io.write(("%10d"):format(step))
end
io.write "\n"
for _, what in ipairs { "create_ms", "remove_ms" } do
  for _, contender in ipairs { ours, netavark, cni } do
    io.write(("%-8s %-10s"):format(what == "create_ms" and "create" or "remove", contender.name))
    for _, step in ipairs(STEPS) do
      local figure = results[contender.name] and results[contender.name][tostring(step)]
      local base = results.bulkhead and results.bulkhead[tostring(step)]
      if not figure then
        io.write(("%10s"):format "-")
      elseif contender == ours or not base then
        io.write(("%7.1f ms"):format(figure[what]))
      else
        io.write(("%9.1f×"):format(figure[what] / base[what]))
      end
    end
    io.write "\n"
  end
end
return 0

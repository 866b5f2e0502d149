--- lifecycle.lua - what it takes to bring up and take down one endpoint, beside CNI plugins and netavark.
---
---   bulkhead run tests/bench/lifecycle.lua [OURS [PEERS]] [--json FILE]
---
--- Each contender works in a throwaway host of its own, on namespaces made beforehand, with addresses,
--- a route, policy (theirs: masquerade and firewall chains) and one published port an endpoint. Times
--- are wall clock of whole processes, the median of five neighbours at the 1st, 100th, 500th, 1000th
--- endpoint: of ours as far as OURS (default 1000), of the peers as far as PEERS (default 500; the way
--- to their 1000th takes ten minutes). Where a peer is not installed it is left out, and said so.
---
--- Of ours alone: a whole `policy reload` of as many endpoints as were brought up, to a set with a handler
--- and rules of each endpoint's own (what of it is the kernel's, bench-reload measures); a whole `hook
--- createRuntime` beyond a hook that does nothing, the first of a state (which loads the programs) apart;
--- 32 creations at once; the kernel's memory of an endpoint: what our maps grew by, each by the kernel's own
--- account; and all that grew, beyond what does with a bare namespace and a veth pair (which drifts by some KB
--- with whatever else the machine does).
local json = require "json"
local report = require "tests.bench.report"
local labs = require "labs"
local leftovers = require "tests.support.leftovers"
local sets = require "tests.support.sets"
local lfs = require "lfs"
local session = require "session"
local system = require "system"

local STATE = "/tmp/bulkhead-bench-state"
local STEPS, NEIGHBOURS = { 1, 100, 500, 1000 }, 5
local HOOKS, AT_ONCE, CROWD = 15, 32, 400
local given, chosen = report.words { ... }
for i, word in ipairs(given) do
  given[i] = assert(math.tointeger(tonumber(word)), "a number of endpoints is needed")
end
local OURS, PEERS = given[1] or 1000, given[2] or math.min(given[1] or 500, 500)

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
  return ours.prefix .. ("%s container create c%d --netns /run/netns/%s --publish %d:80/tcp"):format(
    program, i, netns(ours, i), 10000 + i)
end

function ours.remove(i)
  return ours.prefix .. ("%s container remove c%d"):format(program, i)
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

--- Makes or deletes many namespaces by one program.
local function namespaces(verb, contender, count)
  local path = "/tmp/bulkhead-bench-netns"
  local file <close> = assert(io.open(path, "w"))
  for i = 1, count do
    file:write("netns ", verb, " ", netns(contender, i), "\n")
  end
  file:close()
  os.execute(("ip -force -batch %s 2>/dev/null"):format(path))
end

--- Runs `body` in a throwaway host, with `count` namespaces for a contender.
local function in_host(contender, count, body)
  local lab, host = labs.open { platform = "linux", host = { "10.0.0.1/24" }, outside = { "10.0.0.9/24" } }
  assert(lab, host)
  os.execute "rm -rf /tmp/bulkhead-bench-cni /tmp/bulkhead-bench-nav; mkdir -p /tmp/bulkhead-bench-nav"
  namespaces("add", contender, count)
  local ok, why = pcall(body)
  if contender == ours then
    os.execute(ours.prefix .. program .. " reset")
  end
  namespaces("del", contender, count)
  labs.close(lab, host)
  os.execute "rm -rf /tmp/bulkhead-bench-*"
  if not ok then
    io.stderr:write(("%s gave up: %s\n"):format(contender.name, why))
  end
end

--- Brings endpoints up as far as the last step, timing neighbours at each and taking those down again.
local function climb(contender, last, results)
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
    if step == 1 and contender == ours then
      results.first_ever_ms = adds[1] -- loads the programs, makes the network
      table.remove(adds, 1)
    end
    results[contender.name] = results[contender.name] or {}
    results[contender.name][tostring(step)] = { create_ms = median(adds), remove_ms = median(removes) }
    io.stderr:write(("%s at %d: create %.1f ms, remove %.1f ms\n"):format(contender.name, step,
      median(adds), median(removes)))
  end
end

--- Another policy for all that are up.
local function reload(results)
  local dir = sets.make { ["container/process.lua"] = [[
return {
  default = { inbound = "block", outbound = "allow" },
  rules = { allow.inbound { protocol = "icmp" }, block.outbound { remote = "192.0.2.0/24" } },
  on = {
    attach = function(container, endpoint)
      for _, port in ipairs(container.published) do
        endpoint:add(allow.inbound { protocol = port.protocol, local_port = port.container })
      end
    end,
  },
}
]] }
  results.reload_ms = timed(ours.prefix .. program .. " policy reload " .. dir)
  results.reload_again_ms = timed(ours.prefix .. program .. " policy reload " .. dir)
  sets.clear()
end

local function missing(contender)
  for _, path in ipairs(contender.needs or {}) do
    if not installed(path) then
      io.stderr:write(("%s is left out: %s is not installed\n"):format(contender.name, path))
      return true
    end
  end
end

local function race(contender, last, results)
  if not missing(contender) then
    in_host(contender, last + NEIGHBOURS, function()
      climb(contender, last, results)
      if contender == ours then
        reload(results)
      end
    end)
  end
end

--- A process in the i-th namespace, whose hook is called; its pid. The pipe is kept: to collect it would
--- wait for the process.
local pipes = {}
local function sleeper(i)
  local pipe = assert(io.popen(("exec nsenter --net=/run/netns/%s sh -c 'echo $$; exec sleep 600 >&-'"):format(
    netns(ours, i))))
  pipes[#pipes + 1] = pipe
  return pipe:read "n"
end

--- Whole hook processes beside one that does nothing, and many at once.
local function hooks(results)
  in_host(ours, AT_ONCE + HOOKS, function()
    shell(ours.prefix .. program .. " network create nat --driver nat --subnet 172.16.0.0/16")
    local pids, empty, whole, all = {}, {}, {}, {}
    local function hook(event, i)
      return fed(('{"ociVersion":"1.0.2","id":"h%d","pid":%d,"status":"created",'
        .. '"annotations":{"bulkhead.publish":"%d:80"}}')
        :format(i, pids[i], 20000 + i), ours.prefix .. program .. " hook " .. event)
    end
    for i = 1, AT_ONCE + HOOKS do
      pids[i] = sleeper(i)
    end
    shell(hook("createRuntime", 1))
    for i = 2, HOOKS do
      empty[#empty + 1] = timed(fed("{}", "/bin/true"))
      whole[#whole + 1] = timed(hook("createRuntime", i))
    end
    for i = HOOKS + 1, HOOKS + AT_ONCE do
      all[#all + 1] = "{ " .. hook("createRuntime", i) .. "; } &"
    end
    results.hook_ms = median(whole) - median(empty)
    results.at_once_ms = timed(table.concat(all, "\n") .. "\nwait")
    for i = 1, AT_ONCE + HOOKS do
      os.execute(("kill %d"):format(pids[i]))
    end
  end)
end

--- Kernel memory that is in use, in KB.
local function memory()
  local used = 0
  for line in io.lines "/proc/meminfo" do
    local name, kb = line:match "^(%w+):%s+(%d+) kB"
    if name == "SUnreclaim" or name == "Percpu" or name == "VmallocUsed" or name == "KernelStack" then
      used = used + kb
    end
  end
  return used
end

--- Waits until what went before is freed: namespaces die slowly.
local function settle()
  local last = memory()
  for _ = 1, 30 do
    os.execute "sleep 1"
    local now = memory()
    if math.abs(now - last) < 256 then
      break
    end
    last = now
  end
end

--- What the gate's maps take, in KB: the kernel's own account of each (memlock in its fdinfo, which is
--- what bpftool shows), of those that are pinned in our state.
local function maps_kb()
  local total = 0
  local pipe <close> = assert(io.popen(("for m in /run/bulkhead/%s/bpf/*; do bpftool -j map show pinned $m 2>&1; done")
    :format(leftovers.tag(STATE))))
  for bytes in pipe:read "a":gmatch '"bytes_memlock":(%d+)' do
    total = total + tonumber(bytes)
  end
  return total / 1024
end

--- What is there without us: the same interfaces, address and route.
local bare = { name = "bare" }

function bare.add(i)
  local name = netns(bare, i)
  return ("ip link add bhv%d mtu 1500 master bhbare type veth peer name eth0 netns %s && ip link set bhv%d up"
    .. " && ip -n %s -batch - <<X\nlink set lo up\nlink set eth0 up\naddr add 10.%d.%d.1/8 dev eth0\n"
    .. "route add default via 10.255.255.254\nX\n"):format(i, name, i, name, i // 200, i % 200)
end

--- The kernel's memory that one endpoint takes, in KB, and what of it is in our maps.
local function footprint(contender, before)
  local gained, in_maps
  in_host(contender, CROWD + 1, function()
    before()
    shell(contender.add(CROWD + 1))
    settle()
    local start, maps = memory(), maps_kb()
    for i = 1, CROWD do
      shell(contender.add(i))
    end
    settle()
    gained, in_maps = (memory() - start) / CROWD, (maps_kb() - maps) / CROWD
  end)
  return gained, in_maps
end

local function crowd(results)
  local own, in_maps = footprint(ours, function() end)
  local plain = footprint(bare, function()
    shell "ip link add bhbare type bridge && ip link set bhbare up"
  end)
  results.memory_kb = own and plain and own - plain
  results.bare_memory_kb = plain
  results.maps_kb = in_maps
end

local function print_table(results)
  local function row(what, contender)
    io.write(("%-8s %-10s"):format(what, contender.name))
    for _, step in ipairs(STEPS) do
      local figure = results[contender.name] and results[contender.name][tostring(step)]
      local base = results.bulkhead and results.bulkhead[tostring(step)]
      if not figure then
        io.write(("%10s"):format "-")
      elseif contender == ours or not base then
        io.write(("%7.1f ms"):format(figure[what .. "_ms"]))
      else
        io.write(("%9.1f×"):format(figure[what .. "_ms"] / base[what .. "_ms"]))
      end
    end
    io.write "\n"
  end
  io.write(("%-8s %-10s"):format("", "endpoint"))
  for _, step in ipairs(STEPS) do
    io.write(("%10d"):format(step))
  end
  io.write "\n"
  for _, what in ipairs { "create", "remove" } do
    for _, contender in ipairs { ours, netavark, cni } do
      row(what, contender)
    end
  end
  local first, final = results.bulkhead and results.bulkhead["1"], results.bulkhead and results.bulkhead["1000"]
  local function say(format, value, target)
    if value then
      io.write((format .. "  (target %s)\n"):format(value, target))
    end
  end
  say("create grows from the 1st to the 1000th by %.2f×", final and final.create_ms / first.create_ms, "1.5×")
  say("remove grows from the 1st to the 1000th by %.2f×", final and final.remove_ms / first.remove_ms, "1.5×")
  say("a whole hook createRuntime beyond an empty hook: %.1f ms", results.hook_ms, "10 ms")
  say("the first ever of a state: %.1f ms", results.first_ever_ms, "none")
  say(("a whole policy reload of %d endpoints: %%.0f ms"):format(OURS), results.reload_ms, "none")
  say("the same again, which changes nothing: %.0f ms", results.reload_again_ms, "none")
  say("32 at once: %.0f ms", results.at_once_ms, "2000 ms")
  say("memory of an endpoint in our maps, as the kernel accounts for each: %.1f KB", results.maps_kb, "16 KB")
  say("kernel memory of an endpoint beyond namespace and veth, by what of /proc/meminfo grew: %.1f KB",
    results.memory_kb, "16 KB")
end

--- How many times ours the peers take at the 500th, and the growth to the 1000th.
local function hold(results)
  local mine = results.bulkhead or {}
  for _, what in ipairs { "create", "remove" } do
    local key = what .. "_ms"
    for peer, bound in pairs { cni = 20, netavark = 10 } do
      local theirs = results[peer] and results[peer]["500"]
      report.at_least(("%s at the 500th, times of %s"):format(what, peer),
        theirs and mine["500"] and theirs[key] / mine["500"][key], bound)
    end
    report.at_most(what .. ", growth to the 1000th", mine["1000"] and mine["1000"][key] / mine["1"][key], 1.5)
  end
  report.at_most("hook createRuntime, ms", results.hook_ms, 10)
  report.at_most("32 at once, ms", results.at_once_ms, 2000)
  report.at_most("memory of an endpoint, KB", results.memory_kb, 16)
end

session.platform = "linux"
ours.prefix = ("BULKHEAD_STATE=%s "):format(STATE)
local results = {}
hooks(results) -- first: the kernel goes on for long with taking a thousand namespaces away
race(ours, OURS, results)
race(netavark, PEERS, results)
race(cni, PEERS, results)
crowd(results)
print_table(results)
hold(results)
report.finish(results, chosen.json)
return 0

--- leftovers.lua - what tests may not leave behind.
---
--- Others work on the same machine: of what is shared (interfaces, mounts, tables, directories) only
--- what bears a name of our own states counts, and the names of a state's objects are made from its
--- directory. What is ours alone (namespaces, programs, maps and files held open; sysctls of the
--- namespace we stand in) must be as before.
local lfs = require "lfs"

local leftovers = {}

local LABS = "/run/bulkhead-labs"
local states = {} -- directories of states this run used, by tag

local SYSCTLS = {
  "net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet", "net/ipv4/conf/all/forwarding",
  "net/ipv4/conf/default/forwarding", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/default/forwarding",
  "net/ipv6/conf/all/disable_ipv6", "net/ipv6/conf/default/disable_ipv6", "net/ipv6/conf/all/accept_ra",
  "net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables",
}

local function slurp(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end
leftovers.slurp = slurp

function leftovers.pid()
  return lfs.symlinkattributes("/proc/self", "target")
end

--- The tag of a state's kernel objects: FNV-1a of its directory (engine/host/host.c).
function leftovers.tag(state)
  local digits, hash, tag = "0123456789abcdefghijklmnopqrstuvwxyz", 0xcbf29ce484222325, {}
  for i = 1, #state do
    hash = (hash ~ state:byte(i)) * 0x100000001b3
  end
  hash = hash ~ (hash >> 32)
  for i = 1, 6 do
    local high = (hash >> 1) // 18 -- unsigned division by 36
    local digit = hash - high * 36
    tag[i], hash = digits:sub(digit + 1, digit + 1), high
  end
  return table.concat(tag)
end

--- Remembers a state's directory; from then on its objects count.
---@return string tag
function leftovers.watch(state)
  local tag = leftovers.tag(state)
  states[tag] = state
  return tag
end

--- Directories of the states of this process's labs. Each is remembered.
---@return table<string, true>
function leftovers.labs()
  local found = {}
  for _, name in ipairs(leftovers.list(LABS)) do
    if name:match "^(%d+)%-" == leftovers.pid() then
      found[LABS .. "/" .. name] = true
      leftovers.watch(LABS .. "/" .. name)
    end
  end
  return found
end

--- The names in a directory, sorted; none if there is no such directory.
function leftovers.list(dir)
  local names = {}
  if lfs.attributes(dir, "mode") == "directory" then
    for name in lfs.dir(dir) do
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

--- Names of the interfaces of the namespace this process is in.
function leftovers.links()
  local names = {}
  for name in slurp("/proc/self/net/dev"):gmatch "([^%s:]+):" do
    names[name] = true
  end
  return names
end

--- Mounts of a state, where they are, sorted.
---@return string[]
function leftovers.mounts(tag)
  local found = {}
  for line in slurp "/proc/self/mountinfo":gmatch "[^\n]+" do
    local at = line:match(" (/run/bulkhead/" .. tag .. "%S*) ")
    if at then
      found[#found + 1] = at
    end
  end
  table.sort(found)
  return found
end

--- What the process holds open that is not a plain file or pipe, by what it is, counted.
local function held()
  local counts = {}
  for _, name in ipairs(leftovers.list "/proc/self/fd") do
    local target = lfs.symlinkattributes("/proc/self/fd/" .. name, "target")
    local kind = target and (target:match "^net:" and "network namespace"
      or target:match "^anon_inode:.?(bpf[%w-]*)" or target:match "^/run/bulkhead.*" or target:match "^(socket):"
      or target:match "^/dev/net/tun")
    if kind then
      counts[kind] = (counts[kind] or 0) + 1
    end
  end
  return counts
end

--- Everything that may bear our name.
local function named()
  local found = {}
  leftovers.labs() -- some may not have been told of
  local function add(text)
    found[#found + 1] = text
  end
  local tables
  do
    local pipe <close> = io.popen "nft list tables 2>/dev/null"
    tables = pipe:read "a"
  end
  local links = leftovers.links()
  for tag, state in pairs(states) do
    for name in pairs(links) do
      if name:sub(1, #tag + 2) == "b" .. tag .. "-" then
        add("interface " .. name)
      end
    end
    if lfs.attributes("/run/bulkhead/" .. tag) then
      add("directory /run/bulkhead/" .. tag)
    end
    for _, at in ipairs(leftovers.mounts(tag)) do
      add("mount " .. at)
    end
    if tables:find("bulkhead_" .. tag, 1, true) then
      add("nftables table bulkhead_" .. tag)
    end
    if lfs.attributes(state) then
      add("directory " .. state)
    end
  end
  return found
end

local function set_of(list)
  local set = {}
  for _, each in ipairs(list) do
    set[each] = true
  end
  return set
end

--- How things are now.
function leftovers.look()
  local sysctls = {}
  for _, path in ipairs(SYSCTLS) do
    sysctls[path] = slurp("/proc/sys/" .. path)
  end
  return {
    sysctls = sysctls, links = leftovers.links(), held = held(), named = set_of(named()),
    namespace = lfs.symlinkattributes("/proc/self/ns/net", "target"),
  }
end

--- What is there now and was not: a list of sentences, empty if all is well.
---@return string[]
function leftovers.since(before)
  collectgarbage() -- what is only waiting for the collector is not left
  local now, found = leftovers.look(), {}
  for each in pairs(now.named) do
    -- What a test before this one left is that one's failure.
    found[#found + 1] = not before.named[each] and each or nil
  end
  table.sort(found)
  if now.namespace ~= before.namespace then
    found[#found + 1] = "the process is in another network namespace"
    return found
  end
  for path, value in pairs(before.sysctls) do
    if now.sysctls[path] ~= value then
      found[#found + 1] = ("sysctl %s is %s, was %s"):format(path, now.sysctls[path], value):gsub("\n", "")
    end
  end
  for name in pairs(now.links) do
    -- Management vNICs of other states come and go.
    if not before.links[name] and not name:find "^b%w%w%w%w%w%w%-" then
      found[#found + 1] = "interface " .. name
    end
  end
  for kind, count in pairs(now.held) do
    if count > (before.held[kind] or 0) then
      found[#found + 1] = ("%d descriptors of %s, before %d"):format(count, kind, before.held[kind] or 0)
    end
  end
  return found
end

return leftovers

--- whatif.lua - a copy of a live host on the memory platform, under another policy: try() of a session.
---
--- Containers come up in it as they did, in the same order: networks, addresses, MACs and published
--- ports are the live ones, the policy's handlers run. What refuses a container there would refuse it
--- here, and is raised. A single file stands for the policies of containers in a copy of their set.
local asking = require "asking"
local compare = require "compare"
local filter = require "bulkhead.filter"
local labs = require "labs"
local lfs = require "lfs"
local lifecycle = require "lifecycle"
local policies = require "policies"
local prove = require "bulkhead.prove"
local session = require "session"
local show = require "show"

local whatif = {}
local need = asking.need

---@class trial
local Trial = {}
Trial.__index = Trial
Trial.__name = "trial"

local function copy_file(from, to)
  local source <close> = need(io.open(from, "rb"))
  local target <close> = need(io.open(to, "wb"))
  target:write(source:read "a")
end

local function remove_tree(path)
  if lfs.symlinkattributes(path, "mode") == "directory" then
    for name in lfs.dir(path) do
      if name ~= "." and name ~= ".." then
        remove_tree(path .. "/" .. name)
      end
    end
    lfs.rmdir(path)
  else
    os.remove(path)
  end
end

--- A copy of a set in which a file stands for the named container policies.
---@return string dir
local function with_file(dir, file, names)
  local new = os.tmpname()
  os.remove(new)
  need(lfs.mkdir(new))
  for _, folder in ipairs { "", "/container", "/network" } do
    if lfs.attributes(dir .. folder, "mode") == "directory" then
      lfs.mkdir(new .. folder)
      for name in lfs.dir(dir .. folder) do
        if name:find "^[^.].*%.lua$" then
          copy_file(dir .. folder .. "/" .. name, new .. folder .. "/" .. name)
        end
      end
    end
  end
  for name in pairs(names) do
    local path = ("%s/container/%s.lua"):format(new, name)
    copy_file(file, path)
    table.insert(policies.stand_ins, { path, policies.name(file) })
  end
  table.insert(policies.stand_ins, { new, policies.name(dir) })
  return new
end

--- The set each container has in the copy: what was asked for, else its own.
local function chooser(self, path, who)
  local sets = {}
  local is_file = path and lfs.attributes(path, "mode") == "file"
  if path and not is_file and lfs.attributes(path, "mode") ~= "directory" then
    error(("there is no policy set and no file '%s'"):format(path), 0)
  end
  return function(container, names)
    if not path or is_file and who and container.id ~= who then
      return container.policies
    elseif not is_file then
      return path
    end
    local dir = sets[container.policies]
    if not dir then
      dir = with_file(container.policies, path, names)
      sets[container.policies] = dir
      table.insert(self.made, dir)
    end
    return dir
  end
end

--- An address for the uplink that is in nobody's way, and one for the peer outside.
local function outside_of(host)
  local function is_free(prefix)
    for _, network in ipairs(host:networks()) do
      for _, subnet in ipairs(network.subnets) do
        local other = filter.prefix(subnet.prefix)
        if filter.contains(subnet.prefix, filter.prefix(prefix).first) or filter.contains(prefix, other.first) then
          return false
        end
      end
    end
    return true
  end
  for _, base in ipairs { "192.0.2", "198.51.100", "203.0.113", "10.255.255" } do
    if is_free(base .. ".0/24") then
      return { base .. ".1/24", "2001:db8:ff::1/64" }, { base .. ".9/24", "2001:db8:ff::9/64" }
    end
  end
  error("no address is left for an uplink", 0)
end

local function copy_networks(host, copy)
  need(copy:begin())
  for _, network in ipairs(host:networks()) do
    local prefixes, gateways = {}, {}
    for i, subnet in ipairs(network.subnets) do
      prefixes[i], gateways[i] = subnet.prefix, subnet.gateway
    end
    need(copy:add_network {
      name = network.name, driver = network.driver, subnets = prefixes, gateways = gateways,
      mtu = network.mtu, dns = network.dns, reach = network.own_reach,
    })
  end
  need(copy:commit())
end

local function copy_container(host, self, container, dir)
  local common = {
    id = container.id, name = container.name, type = container.type, policies = dir,
    policy = container.policy, owner = container.owner, annotations = container.annotations,
    labels = container.labels, published = container.published,
    netns = ("/compartment/%d"):format(container.compartment), -- a name by which those of a pod find each other
  }
  local copy, endpoints = self.host, host:endpoints(container.id)
  local function wish(endpoint)
    local spec = {}
    for key, value in pairs(common) do
      spec[key] = value
    end
    spec.network, spec.addresses, spec.mac = endpoint.network, endpoint.addresses, endpoint.mac
    spec.attachment = endpoint.attachment
    return spec
  end
  local own = {}
  for _, endpoint in ipairs(endpoints) do
    own[#own + 1] = endpoint.container == container.id and endpoint or nil
  end
  if #own == 0 then
    return #endpoints > 0 and need(lifecycle.create(copy, common)) -- shares the endpoint of another container
  end
  need(lifecycle.create(copy, wish(own[1])))
  for i = 2, #own do
    need(lifecycle.attach(copy, wish(own[i])))
  end
  local made = copy:endpoints(container.id)
  for i, endpoint in ipairs(own) do
    self.twins[endpoint.id] = made[i].id
    if endpoint.kind == "vmNIC" then
      self.lab:guest(made[i])
    end
  end
end

--- Makes the copy.
---@param host host
---@param path? string whole path of a set, or of a container policy's file
---@param who? string id of the container that a file is for
---@return trial
function whatif.new(host, path, who)
  local self = setmetatable({ live = host, made = {}, twins = {} }, Trial)
  local uplink, outside = outside_of(host)
  local lab, copy = need(labs.open { platform = "memory", host = uplink, outside = outside })
  self.lab, self.host = lab, copy
  self.outside = outside
  local ok, why = pcall(function()
    copy_networks(host, copy)
    for _, network in ipairs(host:networks()) do
      for _, subnet in ipairs(network.subnets) do
        lab:route_outside(subnet.prefix)
      end
    end
    local choose, names = chooser(self, path, who), {}
    for _, container in ipairs(host:containers()) do
      names[container.policy] = names[container.policy] or not who or container.id == who or nil
    end
    for _, container in ipairs(host:containers()) do
      if container.status == "ready" then
        copy_container(host, self, container, choose(container, names))
      end
    end
  end)
  if not ok then
    self:close()
    error(why, 0)
  end
  return self
end

function Trial.__tostring(self)
  return self.host and "trial of " .. show.count(#self.host:containers(), "container") or "trial (closed)"
end

local function open(self)
  if not self.host then
    error("the trial is closed", 0)
  end
  return self.host
end

--- As bindings/types/repl.lua has these.
function Trial:explain(...)
  return require("workbench").explain(open(self), ...)
end

function Trial:rules(who)
  return asking.gathered(open(self), who, "rules")
end

--- The compartment that has an address; 1 the host's, 0 outside.
local function where_is(host, address)
  for _, endpoint in ipairs(host:endpoints()) do
    for _, own in ipairs(endpoint.addresses) do
      if own:match "^[^/]+" == address then
        return endpoint.compartment
      end
    end
  end
  for _, network in ipairs(host:networks()) do
    for _, subnet in ipairs(network.subnets) do
      if subnet.gateway == address then
        return 1
      end
    end
  end
  return 0
end

function Trial:send(text)
  local host = open(self)
  local packet = need(filter.packet(text))
  local from, to = where_is(host, packet.source), where_is(host, packet.target)
  if from == to then
    error(("neither side of '%s' is a container's"):format(text), 0)
  end
  local seen = need(self.lab:probe { kind = "raw", from = from, to = to, packet = (text:gsub("^%s*in%s", "out ")) })
  return seen.arrived
end

--- Changes for people: whose, what, an example and the line that decides it.
local function changes_text(list)
  local lines = {}
  for _, each in ipairs(list) do
    lines[#lines + 1] = show.wrap({ show.clean(each.container) .. ":",
      show.colour(each.change == "allowed" and "green" or "red", "newly " .. each.change), each.packets }, 80, "  ")
    lines[#lines + 1] = "  " .. each.example
    lines[#lines + 1] = "  by " .. show.clean(each.line)
  end
  return #lines > 0 and table.concat(lines, "\n") .. "\n" or "the same\n"
end

function Trial:changes()
  local host, list, names = open(self), {}, {}
  for _, container in ipairs(host:containers()) do
    names[container.id] = container.name
  end
  for _, endpoint in ipairs(self.live:endpoints()) do
    local twin = self.twins[endpoint.id]
    if twin then
      local before, after = need(self.live:gate(endpoint.id)), need(host:gate(twin))
      for _, class in ipairs(need(prove.compare(before, after))) do
        local line = class.after.origin
        for _, each in ipairs(line == nil and host:endpoints(endpoint.container) or {}) do
          line = each.id == twin and each[("default_%s_origin"):format(class.direction)] or line
        end
        list[#list + 1] = {
          container = names[endpoint.container], change = class.change, packets = compare.describe(class),
          example = class.example, line = line or class.after.by,
        }
      end
    end
  end
  return setmetatable(list, { __records = true, __text = function()
    return changes_text(list)
  end })
end

function Trial:close()
  for _, dir in ipairs(self.made) do
    remove_tree(dir)
  end
  local lab, host = self.lab, self.host
  self.made, self.lab, self.host = {}, nil, nil
  if host then
    host:close()
    lab:close()
  end
end

Trial.__close, Trial.__gc = Trial.close, Trial.close

--- For completion and help: what a trial's containers are.
local index = Trial.__index
whatif.methods = index
function Trial.__index(self, key)
  if key == "containers" then
    return open(self):containers()
  end
  return index[key]
end

--- The whole path that a session's words mean, or nil.
---@param path? string
function whatif.path(path)
  if path ~= nil and type(path) ~= "string" then
    error(("try takes the path of a policy set or of a policy's file, not a %s"):format(type(path)), 0)
  end
  return path and session.absolute(path)
end

return whatif

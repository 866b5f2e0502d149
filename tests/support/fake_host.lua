--- fake_host.lua - a host that writes down what is asked of it and fails where it is told to.
local fake_host = {}

--- Makes a host. `fails[METHOD]` is a message that METHOD refuses with.
---@param lists { networks: table?, containers: table?, endpoints: table?, compartments: table? }
---@param fails? table<string, string>
function fake_host.new(lists, fails)
  local host = { calls = {} }
  fails = fails or {}
  local function act(name, result)
    host[name] = function(_, what)
      local word = type(what) == "table" and (what.id or what.name or what.container) or what
      host.calls[#host.calls + 1] = word and name .. " " .. word or name
      if fails[name] then
        return nil, fails[name], "EFAKE"
      end
      return type(result) == "function" and result(what) or result or true
    end
  end
  for _, name in ipairs { "begin", "commit", "abort", "remove_network", "remove_container", "add_rules",
    "set_phase", "remove_endpoint", "check_container", "check_endpoint" } do
    act(name)
  end
  act("add_network", function(spec) return spec end)
  act("add_container", function(spec)
    local container = setmetatable({ compartment = 2, phase = "attached" }, { __index = spec })
    lists.containers = lists.containers or {}
    table.insert(lists.containers, container)
    return container
  end)
  act("add_endpoint", function(spec)
    local endpoint = {
      id = 7, container = spec.container, network = spec.network, driver = "nat", phase = "attached",
      compartment = 2, addresses = { "172.16.0.2/16" }, mac = "02:00:00:00:00:02", rules = spec.rules,
    }
    lists.endpoints = lists.endpoints or {}
    table.insert(lists.endpoints, endpoint)
    return endpoint
  end)
  host.endpoints = function() return lists.endpoints or {} end
  host.lost = function() return {} end
  host.compartments = function() return lists.compartments or {} end
  for name, key in pairs { networks = "name", containers = "id" } do
    host[name] = function(_, one)
      local found = {}
      for _, each in ipairs(lists[name] or {}) do
        if one == nil or each[key] == one then
          found[#found + 1] = each
        end
      end
      return found
    end
  end
  function host.container(_, who)
    for _, each in ipairs(lists.containers or {}) do
      if each.id == who then
        return each
      end
    end
    return nil, ("there is no container '%s'"):format(who), "ENOENT"
  end
  return host
end

return fake_host

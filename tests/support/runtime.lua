--- runtime.lua - real containers by an OCI runtime, with our program as its hook.
---
--- A bundle is a directory of its own with a root of busybox and a config.json; the runtime's state
--- is beside it. The runtime is run from the namespace this process is in: a lab's host.
local cli = require "tests.support.cli"
local json = require "json"
local lfs = require "lfs"
local namespaces = require "tests.support.namespaces"

local runtime = {}
runtime.__index = runtime

local function found(program)
  local text, status = namespaces.shell("command -v " .. program)
  return status == 0 and text:match "^[^\n]+" or nil
end

runtime.found = found

--- Why a runtime (default runc) cannot be used, or nil.
function runtime.missing(program)
  if not found(program or "runc") then
    return (program or "runc") .. " is not installed"
  elseif not found "busybox" then
    return "busybox is not installed, to make a container's root of"
  end
end

--- A command that runs crun. It takes no control groups of both versions at once: where the second is
--- mounted beside the first, it does not see it.
function runtime.crun()
  return "unshare -m sh -c 'umount /sys/fs/cgroup/unified 2>/dev/null; exec " .. found "crun" .. " \"$@\"' crun"
end

---@param state string directory of our state
---@param program? string runc (default) or crun
function runtime.new(state, program)
  local dir = os.tmpname()
  os.remove(dir)
  for _, folder in ipairs { "", "/state", "/root", "/root/bin", "/root/proc", "/root/dev", "/root/sys" } do
    assert(lfs.mkdir(dir .. folder))
  end
  local _, status = namespaces.shell(("cp '%s' '%s/root/bin/busybox'"):format(found "busybox", dir))
  assert(status == 0)
  return setmetatable({
    dir = dir, state = state, ids = {}, command = program == "crun" and runtime.crun() or "runc",
  }, runtime)
end

local function hook_of(self, event, policies)
  return { {
    path = cli.program(), args = { "bulkhead", "hook", event, policies and "--policies", policies },
    env = { "BULKHEAD_STATE=" .. self.state, "PATH=" .. os.getenv "PATH" }, timeout = 60,
  } }
end

--- Writes the bundle's config.json.
---@param spec { annotations?: table<string, string>, command: string, policies?: string, netns?: string,
--- cgroup?: string }
function runtime:configure(spec)
  local capabilities = { "CAP_NET_RAW", "CAP_NET_BIND_SERVICE", "CAP_KILL" }
  local config = {
    ociVersion = "1.0.2",
    process = {
      terminal = false, cwd = "/", user = { uid = 0, gid = 0 }, env = { "PATH=/bin" }, noNewPrivileges = true,
      args = { "/bin/busybox", "sh", "-c", spec.command },
      capabilities = { bounding = capabilities, effective = capabilities, permitted = capabilities },
    },
    root = { path = "root", readonly = true },
    hostname = "cell",
    mounts = { { destination = "/proc", type = "proc", source = "proc" } },
    annotations = spec.annotations,
    hooks = {
      createRuntime = hook_of(self, "createRuntime", spec.policies),
      poststart = hook_of(self, "poststart"), poststop = hook_of(self, "poststop"),
    },
    linux = {
      cgroupsPath = spec.cgroup,
      namespaces = {
        { type = "pid" }, { type = "network", path = spec.netns }, { type = "ipc" }, { type = "uts" },
        { type = "mount" },
      },
    },
  }
  local file <close> = assert(io.open(self.dir .. "/config.json", "w"))
  file:write(json.encode(config))
end

--- Runs the runtime; returns its output and status.
function runtime:run(words)
  local log = self.dir .. "/log"
  local _, status = namespaces.shell(("%s --root '%s/state' %s </dev/null >'%s' 2>&1")
    :format(self.command, self.dir, words, log))
  local file <close> = assert(io.open(log))
  return file:read "a", status
end

function runtime:create(id)
  self.ids[#self.ids + 1] = id
  return self:run(("create --bundle '%s' %s"):format(self.dir, id))
end

--- Whether the runtime knows the container.
function runtime:knows(id)
  return select(2, self:run("state " .. id)) == 0
end

--- Takes away what is left, and the directory.
function runtime:close()
  for _, id in ipairs(self.ids) do
    self:run("delete --force " .. id)
  end
  namespaces.shell(("rm -rf '%s'"):format(self.dir))
end

return runtime

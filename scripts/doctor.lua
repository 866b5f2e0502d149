--- doctor.lua - whether this machine can do it all: things looked at, then a throwaway host made.
---
--- The trial is the proof; the looks say why it could fail. Each check is a record
--- { name, status = "ok"|"warning"|"failed", detail }.
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

local function look(list)
  check(list, "root", doctor.user(slurp "/proc/self/status") == 0, "to change networks")
  check(list, "eBPF file system", slurp "/proc/filesystems":find "%sbpf\n" ~= nil, "to pin gates")
  check(list, "tap devices", io.open "/dev/net/tun" ~= nil, "for hyperv containers", "warning")
  local uplink = require("uplink").name()
  check(list, "uplink", uplink ~= nil, uplink or "there is no default route", "warning")
  local closed = overlay.closed(overlay.machine())
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
    id = "doctor", type = "process", policies = dir, published = {},
  })
  if check(list, "gate", container ~= nil, container and "a container was attached" or endpoint) then
    lab:listen(0, "tcp", 8080)
    local out = lab:probe {
      from = container.compartment, to = 0, kind = "tcp", target = "192.0.2.2", port = 8080,
    }
    check(list, "outbound", out and out.answered, "a connection to outside is answered")
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

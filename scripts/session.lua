--- session.lua - what one run of the program knows: platform, state, policies, where output goes.
local refuse = require "refuse"

local session = {
  ---@type "linux"|"memory" where `run` and `repl` make things; commands are always about linux
  platform = "linux",
  json = false, -- was --json given
  brief = false, -- ends as soon as its command has: what it holds goes with the process
}

--- The directory that scripts/ and policies/ are in.
session.root = arg.root

--- The directory of the state. A CNI configuration may name it (`chosen_state`), because runtimes do
--- not always hand on the environment they were started with.
function session.state()
  local given = session.chosen_state or os.getenv "BULKHEAD_STATE"
  return given and given ~= "" and given or "/var/lib/bulkhead"
end

--- What tells this session's state from one that is made anew in its place; nil if there is none.
function session.mark()
  return require("lfs").attributes(session.state() .. "/state.db", "ino")
end

--- Whether anything was ever made in this session's state.
function session.exists()
  return session.platform ~= "linux" or require("lfs").attributes(session.state() .. "/state.db", "mode") ~= nil
end

--- Opens the host of this session.
---@param write? boolean|"existing" to change it; one that was never made stays so, and is empty
---@param options? { check: boolean?, discard: boolean? } as bulkhead.open has them
---@return host? host
---@return string? message
---@return string? code
function session.host(write, options)
  local linux = session.platform == "linux"
  options = options or {}
  if write == "existing" then
    write = session.exists()
  end
  return require("bulkhead").open {
    platform = session.platform, state = linux and session.state() or nil, write = write or not linux,
    check = options.check, discard = options.discard,
  }
end

--- Gives an open host to `body` and closes it however that ends, but leaves that to the end of a brief
--- process where all went well.
function session.use(host, body)
  local result = table.pack(pcall(body, host))
  if not (session.brief and result[1]) then
    host:close()
  end
  if not result[1] then
    error(result[2], 0)
  end
  return table.unpack(result, 2, result.n)
end

--- Opens the host for `body`. Refuses where it cannot be opened.
function session.with_host(write, body, options)
  return session.use(refuse.check(session.host(write, options)), body)
end

--- Opens the host to read it: all that `body` reads is of one moment, whoever changes it.
function session.read(body)
  return session.with_host(false, function(host)
    return require("roster").steady(host, body, host)
  end)
end

--- A path without `.`, `..` and doubled slashes, from the root; symbolic links stay.
function session.absolute(path)
  local here = path:sub(1, 1) ~= "/" and (require("lfs").currentdir()
    or refuse.input(("the working directory is gone: give %s from / on"):format(require("validate").quoted(path))))
  local whole = here and here .. "/" .. path or path
  local parts = {}
  for part in whole:gmatch "[^/]+" do
    if part == ".." then
      table.remove(parts)
    elseif part ~= "." then
      parts[#parts + 1] = part
    end
  end
  return "/" .. table.concat(parts, "/")
end

--- The whole path of a directory that an argument names; refuses what is none.
function session.directory(path)
  local dir = session.absolute(path)
  if require("lfs").attributes(dir, "mode") ~= "directory" then
    refuse.input(("%s is not a directory"):format(require("validate").quoted(path)))
  end
  return dir
end

--- The whole path of a policy set that an argument names; refuses a directory that is none.
function session.policy_set(path)
  local dir = session.directory(path)
  if not require("compare").names(dir, "container")[1] then
    refuse.input(("%s is no policy set: it has no container/NAME.lua"):format(require("validate").quoted(path)))
  end
  return dir
end

--- The directory of the policy set: the one asked for, else the default set.
function session.policies(given)
  if given == nil then
    return session.root .. "/policies/default"
  end
  return session.absolute(given)
end

--- Prints what people read, or with --json the value instead.
---@param value any for --json
---@param text string|fun(): string
---@param order? string[] order of keys
function session.print(value, text, order)
  if session.json then
    io.stdout:write(require "json".encode(value, order), "\n")
  else
    io.stdout:write(type(text) == "function" and text() or text)
  end
end

--- A line on standard error, as one piece: other processes may write there too.
function session.say(message)
  io.stderr:write("bulkhead: " .. tostring(message):gsub("%c+", " ") .. "\n")
end

return session

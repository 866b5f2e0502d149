--- tutorial.lua - a tour of a session in steps that really run, on a host of its own in process.
local bulkhead = require "bulkhead"
local show = require "show"

local tutorial = {}

--- What is said, and what is run then.
local STEPS = {
  { "Bulkhead gives every container a network compartment and a firewall. This host is made up and in "
    .. "process: nothing you do here reaches the machine. Two containers are on it.", "containers" },
  { "A name finds one; its endpoint is its NIC on a network.", "containers.web.published[1]",
    "rules \"web\"" },
  { "Why does a packet pass? Port 80 is published, so the policy made a rule for it; the line is named.",
    "explain \"in tcp 172.16.0.3:51000 -> 172.16.0.2:80\"" },
  { "Nothing speaks of port 81, so the default decides.",
    "explain \"in tcp 172.16.0.3:51000 -> 172.16.0.2:81\"" },
  { "Several packets are one sequence: a reply belongs to the flow that the first one opened.",
    "explain(\"out udp 172.16.0.2:40000 -> 10.0.0.53:53\", \"in udp 10.0.0.53:53 -> 172.16.0.2:40000\")" },
  { "Proofs hold for all packets, not for samples. Where something does not hold, a packet shows it.",
    "g = host:gate(1)", "prove.forbids(g, { protocol = \"tcp\", local_port = \"1-79\" })",
    "prove.permits(g, { protocol = \"tcp\" })" },
  { "What if another policy were in force? A copy under it can be asked, and packets sent through it.",
    "t = try \"policies/strict\"", "t:changes()", "t:send \"in tcp 172.16.0.3:51000 -> 172.16.0.2:80\"" },
  { "Rules are made as in a policy, and delta() says as a policy what a session changed.",
    "add(\"web\", block.inbound { protocol = \"tcp\", local_port = 80, remote = \"172.16.0.3\" })", "delta()",
    "explain \"in tcp 172.16.0.3:51000 -> 172.16.0.2:80\"" },
  { "On a live host: `bulkhead repl --linux` looks, `--write` may change. watch() shows drops and flows as "
    .. "they happen, help() lists the words, Tab completes them, Ctrl-C ends what runs." },
}

--- The containers of the tour.
local function populate(host)
  local lifecycle, session, validate = require "lifecycle", require "session", require "validate"
  for _, who in ipairs { { "web", { "8080:80/tcp" } }, { "db", {} } } do
    local ok, message = lifecycle.create(host, {
      id = who[1], type = "process", policies = session.policies(), published = validate.published(who[2]),
    })
    if not ok then
      error(message, 0)
    end
  end
end

--- Waits for Enter; false if the tour is to end. Without a terminal it goes on by itself.
local function go_on()
  if not show.is_terminal(0) then
    return true
  end
  io.stdout:write(show.colour("dim", "Enter goes on, q ends: "))
  io.stdout:flush()
  if not require("bulkhead.console").wait_input() then
    error("interrupted", 0)
  end
  local answer = io.read "l"
  return answer ~= nil and not answer:find "^%s*[qQ]"
end

--- Runs the tour.
---@return boolean whether all of its steps ran
function tutorial.run()
  local repl, workbench = require "repl", require "workbench"
  local host <close> = assert(bulkhead.open())
  populate(host)
  local env, tools = workbench.new(host, true)
  local width = math.min(show.width() or 80, 80)
  local sound = true
  for i, step in ipairs(STEPS) do
    io.stdout:write(show.colour("bold", ("%d of %d"):format(i, #STEPS)), "\n",
      require("reference").fill(step[1], width, ""), "\n")
    for at = 2, #step do
      local text = step[at]:gsub('^t = try "policies/strict"$', ("t = try %q"):format(arg.root .. "/policies/strict"))
      io.stdout:write(show.colour("cyan", "> " .. step[at]), "\n")
      sound = repl.evaluate(assert(repl.compile(text, env)), tools, false) and sound
    end
    io.stdout:write "\n"
    if i < #STEPS and not go_on() then
      break
    end
  end
  if not sound then
    error("a step of the tour failed", 0)
  end
end

return tutorial

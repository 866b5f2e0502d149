--- A new version of the program finds what another one loaded. The other version is bulkhead-older, built of
--- the same source with an older layout of what gates enforce; or this one's own gate under another number:
--- its programs stay on the ports, with maps of their own.
local audit = require "tests.support.audit"
local cli = require "tests.support.cli"
local json = require "json"
local lfs = require "lfs"
local namespaces = require "tests.support.namespaces"
local stage = require "tests.support.stage"

local shell = namespaces.shell

describe("the gate of another version", function()
  if stage.without_linux() then
    it("is taken over or refused", function()
      pending(stage.without_linux())
    end)
    return
  end
  local s, pins

  before_each(function()
    s = stage.open("linux", { networks = false })
    pins = "/run/bulkhead/" .. s.tag .. "/bpf"
  end)
  after_each(function()
    s:close()
  end)

  local function run(words, prefix)
    return shell(("BULKHEAD_STATE='%s' %s '%s' %s"):format(s.state, prefix or "", cli.program(), words))
  end

  local function done(words)
    local text, status = run(words)
    assert.equal(0, status, words .. ": " .. text)
    return text
  end

  --- This version's number.
  local function layout()
    for name in lfs.dir(pins) do
      local number = name:match "^bh_gate_out%-(%d+)$"
      if number then
        return math.tointeger(number)
      end
    end
  end

  --- Gives what has this version's number another one; with `parts` only pins of these names.
  local function renumber(from, to, parts)
    for name in lfs.dir(pins) do
      local base = name:match("^(bh_.*)%-" .. from .. "$")
      if base and (not parts or parts[base]) then
        assert(os.rename(pins .. "/" .. name, ("%s/%s-%d"):format(pins, base, to)))
      end
    end
  end

  --- Programs and maps that any version makes anew; the others it shares as long as they mean the same.
  local OWN = {
    bh_gate_out = true, bh_gate_in = true, bh_gate_probe = true, bh_gate_forget = true, bh_ports = true,
    bh_state = true, bh_spots = true, bh_chunks_1m = true, bh_chunks_8m = true,
    bh_chunks_64m = true, bh_forwards = true,
  }

  --- Ids of the programs on the port of an endpoint.
  local function programs(id)
    local text = ""
    for _, direction in ipairs { "ingress", "egress" } do
      text = text .. shell(("nsenter --net=/run/bulkhead/%s/switch tc filter show dev p%d %s"):format(s.tag, id,
        direction)):match " id (%d+)" .. " "
    end
    return text
  end

  local function agree(message)
    s:reopen()
    local differences = audit.differences(s)
    assert(#differences == 0, message .. ":\n  " .. table.concat(differences, "\n  "))
  end

  --- A TCP connection that stays, from where `client` is run to where `server` is. Two functions: each has
  --- one end say a word, the server first, and tells what the other has heard, all of it by then.
  local function wire(client, server, address, port, listen)
    local dir = os.tmpname()
    os.remove(dir)
    os.execute(([[mkdir -p '%s'; cd '%s'; mkfifo say reply
      { %s busybox nc -l -p %d <say >returned & echo $! >>pids; exec 3<>say; sleep 0.3
      %s busybox nc %s %d <reply >heard & echo $! >>pids; exec 4<>reply
      exec sleep 300; } >/dev/null 2>&1 & echo $! >>pids; sleep 1]]):format(dir, dir, server, listen or port, client,
      address, port))
    s:defer(function()
      os.execute(("kill $(cat '%s/pids') 2>/dev/null; rm -rf '%s'"):format(dir, dir))
    end)
    local function speaker(fifo, file)
      return function(word)
        local whole
        os.execute(("echo %s >'%s/%s'"):format(word, dir, fifo))
        for _ = 1, 40 do
          whole = shell(("cat '%s/%s'"):format(dir, file))
          if whole:find(word, 1, true) then
            break
          end
          os.execute "sleep 0.1"
        end
        return whole
      end
    end
    return speaker("say", "heard"), speaker("reply", "returned")
  end

  local function inside(compartment)
    return ("nsenter --net=/run/bulkhead/%s/c%d"):format(s.tag, compartment)
  end

  --- From a container to the host.
  local function connect(compartment)
    return wire(inside(compartment), "", "172.16.0.1", 7777)
  end

  --- Runs the older program.
  local function older(words)
    local text, status = shell(("BULKHEAD_STATE='%s' '%s-older' %s"):format(s.state, cli.program(), words))
    assert.equal(0, status, words .. ": " .. text)
    return text
  end

  --- Nothing of the state is anywhere in the kernel.
  local function nothing()
    assert.is_nil(lfs.attributes("/run/bulkhead/" .. s.tag), "the runtime directory")
    assert.is_nil((shell "nft list tables"):find(s.tag, 1, true), "a table")
    assert.is_nil((shell "ip -o link"):find("b" .. s.tag, 1, true), "a management vNIC")
    assert.is_nil((shell "bpftool -j net show 2>&1"):find("bh_gate", 1, true), "a program")
  end

  local function with_older(body)
    return function()
      if not lfs.attributes(cli.program() .. "-older") then
        pending "the older program is not built under sanitizers"
      end
      body()
    end
  end

  --- What the older program makes: web publishes a port, db says nothing; each has a connection.
  local function scene()
    older "network create nat --driver nat --subnet 172.16.0.0/16 --subnet fd00:16::/64"
    older "container create web --publish 8080:80"
    older "container create db"
    s:reopen()
    local web, db = s.host:container "web", s.host:container "db"
    assert.equal(3, layout())
    local say, reply = connect(db.compartment)
    assert.equal("before\n", say "before")
    assert.equal("yes\n", reply "yes")
    local serve, ask = wire("", inside(web.compartment), "10.0.0.1", 8080, 80)
    assert.equal("welcome\n", serve "welcome")
    assert.equal("hello\n", ask "hello")
    return { web = web, db = db, say = say, reply = reply, serve = serve, ask = ask }
  end

  it("that an older program loaded is taken over by this one's first command", with_older(function()
    local it = scene()
    assert.is_false(s.lab:probe { from = 1, to = it.web.compartment, kind = "tcp", target = "172.16.0.2", port = 81,
      timeout = 0.2 }.arrived)
    local flows, drops = json.decode(older "flows --json"), json.decode(older "drops --json")
    local rules = json.decode(older "rules web --json")
    assert.is_true(#flows >= 2 and #drops >= 1)
    local before = { programs(it.web.endpoints[1]), programs(it.db.endpoints[1]) }
    s.host:close()
    assert.equal("late\n", (done "container create late"))
    s:reopen()
    assert.equal(9, layout())
    assert.are_not.equal(before[1], programs(it.web.endpoints[1]))
    assert.are_not.equal(before[2], programs(it.db.endpoints[1]))
    -- Connections go on, whoever speaks first.
    assert.equal("before\nafter\n", it.say "after")
    assert.equal("hello\nagain\n", it.ask "again")
    assert.equal("welcome\nback\n", it.serve "back")
    assert.equal("yes\nstill\n", it.reply "still")
    -- What was counted and recorded is there.
    assert.is_true(#json.decode(done "flows --json") >= #flows)
    assert.equal(#drops, #json.decode(done "drops --json"))
    for i, rule in ipairs(json.decode(done "rules web --json")) do
      assert.is_true((rule.hits or 0) >= (rules[i].hits or 0), rule.name)
    end
    assert.is_true(s:counters { endpoint = { id = it.web.endpoints[1] } }.dropped_in.default >= 1)
    agree "taken over"
    -- The published port, and IPv6, as before.
    assert(s.lab:listen(it.web.compartment, "tcp", 80))
    assert.is_true(s.lab:probe { from = 0, to = it.web.compartment, kind = "tcp", target = "10.0.0.1", port = 8080,
      arrival_port = 80, timeout = 2 }.answered)
    assert.is_true(s.lab:probe { from = it.db.compartment, to = it.web.compartment, kind = "ping",
      target = "fd00:16::2", timeout = 2 }.answered)
    local text, status = shell(("BULKHEAD_STATE='%s' '%s-older' container create x"):format(s.state, cli.program()))
    assert.equal(1, status)
    assert.equal("bulkhead: the gate was loaded by a later version of bulkhead (layout 9, this one knows 3); "
      .. "use that one, or `bulkhead reset` to begin anew\n", text)
    s.host:close()
    assert.equal("", (done "reset"))
    nothing()
    s:reopen()
  end))

  it("that an older program loaded is reset by this one", with_older(function()
    scene()
    s.host:close()
    assert.equal("", (done "reset"))
    nothing()
    s:reopen()
  end))

  it("whose flows mean something else loses them, and connections go on by the rules", with_older(function()
    local it = scene()
    local renamed = 0
    for name in lfs.dir(pins) do
      local base = name:match "^(bh_%a+)%-%d+$"
      if base == "bh_flows" or base == "bh_ledger" or base == "bh_shares" or base == "bh_rooms" then
        assert(os.rename(pins .. "/" .. name, pins .. "/" .. base .. "-1"))
        renamed = renamed + 1
      end
    end
    assert.equal(4, renamed)
    s.host:close()
    assert.equal("", (done "reconcile"))
    s:reopen()
    -- A segment in mid-stream starts a flow where a rule or a default lets it; then the other way is known too.
    assert.equal("yes\nstill\n", it.reply "still")
    assert.equal("before\nafter\n", it.say "after")
    assert.equal("hello\nagain\n", it.ask "again")
    assert.equal("welcome\nback\n", it.serve "back")
    agree "taken over"
  end))

  it("that is older is taken over, connection by connection", function()
    done "container create web --publish 8080:80"
    done "container create db"
    local web, db = s.host:container "web", s.host:container "db"
    local now = layout()
    assert(s.lab:listen(web.compartment, "tcp", 80))
    assert.is_true(s.lab:probe { from = 0, to = web.compartment, kind = "tcp", target = "10.0.0.1", port = 8080,
      arrival_port = 80, timeout = 2 }.answered)
    local say = connect(db.compartment)
    assert.equal("before\n", say "before")
    local flows = #s.host:flows()
    local before = { programs(web.endpoints[1]), programs(db.endpoints[1]) }
    renumber(now, 1, OWN)
    s.host:close()
    for _, words in ipairs { "flows", "rules web" } do
      local text, status = run(words)
      assert.equal(1, status, text)
      assert.matches("the gate is an earlier version's %(layout 1, this one's is " .. now
        .. "%); `bulkhead reconcile` takes it over", text)
    end
    assert.equal("", (done "reconcile"))
    s:reopen()
    assert.equal(now, layout())
    assert.are_not.equal(before[1], programs(web.endpoints[1]))
    assert.are_not.equal(before[2], programs(db.endpoints[1]))
    assert.equal(flows, #s.host:flows())
    assert.equal("before\nafter\n", say "after") -- nothing unsolicited comes in: its flow is known
    agree "taken over"
    assert.is_true(s.lab:probe { from = 0, to = web.compartment, kind = "tcp", target = "10.0.0.1", port = 8080,
      arrival_port = 80, timeout = 2 }.answered)
    for name in lfs.dir(pins) do
      assert.is_nil(name:match "%-1$")
    end
    done "container remove web"
    done "container remove db"
    agree "removed"
  end)

  it("that is older is taken over by any change, and once more after a kill", function()
    done "container create web --publish 8080:80"
    local now = layout()
    for n = 1, 400, 19 do
      renumber(now, 1, OWN)
      local text, status = shell(("BULKHEAD_STATE='%s' '%s' %d '%s' container create db%d"):format(s.state,
        audit.helper "killer", n, cli.program(), n))
      if status ~= 137 then
        assert.equal(0, status, text)
        break
      end
      done "reconcile"
      agree("killed at " .. n)
      shell(("BULKHEAD_STATE='%s' '%s' container remove db%d"):format(s.state, cli.program(), n))
      assert(n < 370, "it does not end")
    end
    agree "at the end"
  end)

  it("that is older, of which nothing means the same any more, gives way", function()
    done "container create web --publish 8080:80"
    local now = layout()
    for name in lfs.dir(pins) do
      local base = name:match "^(bh_.*)%-%d+$"
      if base then
        assert(os.rename(pins .. "/" .. name, pins .. "/" .. base .. "-1"))
      end
    end
    s.host:close()
    done "container create db"
    s:reopen()
    assert.equal(now, layout())
    agree "made anew"
  end)

  it("that is later is refused, and reset begins anew", function()
    done "container create web"
    local now = layout()
    renumber(now, now + 7, OWN)
    s.host:close()
    for _, words in ipairs { "container create db", "container remove web", "flows", "reconcile" } do
      local text, status = run(words)
      assert.equal(1, status)
      assert.matches("later version of bulkhead.*reset", text)
    end
    done "reset"
    s:reopen()
    done "container create web"
    agree "begun anew"
  end)
end)

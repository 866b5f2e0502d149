--- A new version of the program finds what another one loaded. The other version is played by this one's
--- own gate under another number: its programs stay on the ports, with maps of their own.
local audit = require "tests.support.audit"
local cli = require "tests.support.cli"
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
    bh_pages = true, bh_forwards = true,
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

  --- A TCP connection from a container to the host that stays; returns what makes the host say a word and
  --- tells what the container has heard.
  local function connect(compartment)
    local dir = s.state .. "-wire"
    os.execute(([[mkdir -p '%s'; cd '%s'; mkfifo say hold
      { busybox nc -l -p 7777 <say >/dev/null & echo $! >>pids; exec 3<>say; sleep 0.3
      nsenter --net=/run/bulkhead/%s/c%d busybox nc 172.16.0.1 7777 <hold >heard & echo $! >>pids; exec 4<>hold
      exec sleep 300; } >/dev/null 2>&1 & echo $! >>pids; sleep 1]]):format(dir, dir, s.tag, compartment))
    s:defer(function()
      os.execute(("kill $(cat '%s/pids') 2>/dev/null; rm -rf '%s'"):format(dir, dir))
    end)
    return function(word)
      os.execute(("echo %s >'%s/say'"):format(word, dir))
      os.execute "sleep 0.3"
      return shell(("cat '%s/heard'"):format(dir))
    end
  end

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

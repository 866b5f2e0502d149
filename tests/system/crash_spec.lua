--- A kill at every place, and other damage: after `bulkhead reconcile` store and kernel agree, nothing is
--- left, and what comes next works. tests/support/killer.c does the killing.
local audit = require "tests.support.audit"
local cli = require "tests.support.cli"
local lfs = require "lfs"
local namespaces = require "tests.support.namespaces"
local stage = require "tests.support.stage"

local shell = namespaces.shell

describe("after a crash", function()
  if stage.without_linux() then
    it("all is mended", function()
      pending(stage.without_linux())
    end)
    return
  end
  local s

  before_each(function()
    s = stage.open("linux", { networks = false })
  end)
  after_each(function()
    s:close()
  end)

  --- The words that run the program with the stage's state.
  local function program(prefix)
    return ("BULKHEAD_STATE='%s' %s '%s' "):format(s.state, prefix or "", cli.program())
  end

  local function run(words, input)
    return shell((input and ("echo '%s' | "):format(input) or "") .. program() .. words)
  end

  local function done(words, input)
    local text, status = run(words, input)
    assert.equal(0, status, words .. ": " .. text)
    return text
  end

  --- Store and kernel agree.
  local function agree(message)
    local differences = audit.differences(s)
    assert(#differences == 0, message .. ":\n  " .. table.concat(differences, "\n  "))
  end

  local function exists(id)
    for _, container in ipairs(s.host:containers()) do
      if container.id == id then
        return true
      end
    end
    return false
  end

  --- Runs `command` killed at its N-th change for N = 1, 1 + stride, … until it ends by itself; after
  --- each kill it is mended and all is held to `agree`, then `again` brings the scene back.
  local function sweep(name, command, again, stride)
    local n = 1
    while true do
      local text, status = shell(command(n))
      if status ~= 137 then
        assert.equal(0, status, ("%s, run %d: %s"):format(name, n, text))
        agree(("%s, not killed at %d"):format(name, n))
        return n
      end
      done "reconcile"
      agree(("%s, killed at %d"):format(name, n))
      again(n)
      assert(n < 2000, name .. " does not end")
      n = n + (stride or 1)
    end
  end

  local function killed(words, input)
    return function(n)
      return (input and ("echo '%s' | "):format(input) or "")
        .. program(("'%s' %d"):format(audit.helper "killer", n)) .. words
    end
  end

  local function gone(id)
    return function()
      if exists(id) then
        done("container remove " .. id)
        agree("removed")
      end
    end
  end

  it("in the middle of the first creation nothing is left", function()
    local function again()
      done "reset"
      s:reopen()
    end
    sweep("first create", killed "container create web --publish 8080:80", again, 11)
    done "container remove web"
    agree "removed"
  end)

  it("in the middle of the first creation the next one is made, by whatever it comes", function()
    local path = namespaces.pod(s)
    local state = ('{"id":"%%s","pid":%s,"status":"created"}'):format(path:match "%d+")
    local conf = '{"cniVersion":"1.0.0","name":"pods","type":"bulkhead","subnet":"10.9.0.0/24"}'
    local cni = ("CNI_COMMAND=ADD CNI_CONTAINERID=%%s CNI_IFNAME=eth0 CNI_NETNS=%s"):format(path)
    local function by_cni(id, prefix)
      return shell(("echo '%s' | %s "):format(conf, cni:format(id)) .. program(prefix))
    end
    local ways = {
      function(id, prefix) return shell(program(prefix) .. "container create " .. id) end,
      function(id, prefix)
        return shell(("echo '%s' | "):format(state:format(id)) .. program(prefix) .. "hook createRuntime")
      end,
      by_cni,
    }
    for i, way in ipairs(ways) do
      local _, status = way("k1", ("'%s' 60"):format(audit.helper "killer"))
      assert.equal(137, status)
      local text
      text, status = way(i == 1 and "k2" or "k1")
      assert.equal(0, status, ("way %d: %s"):format(i, text))
      agree("way " .. i)
      done "reset"
      s:reopen()
    end
  end)

  it("in the middle of a creation nothing is left", function()
    done "container create neighbour --publish 9090:90"
    sweep("create", killed "container create web --publish 8080:80/udp", gone "web")
    done "container remove web"
    assert.is_true(exists "neighbour")
  end)

  it("in the middle of a removal it is done or was not begun", function()
    done "container create neighbour --publish 9090:90"
    done "container create web --publish 8080:80"
    sweep("remove", killed "container remove web", function()
      if not exists "web" then
        done "container create web --publish 8080:80"
      end
    end)
    assert.is_false(exists "web")
  end)

  it("in the middle of a hyperv container's life nothing is left in a namespace of others", function()
    local netns = namespaces.pod(s)
    local function lo_only()
      if not exists "vm" then
        assert.equal("lo", shell(("nsenter --net=%s cat /proc/self/net/dev | tail -n +3 | cut -d: -f1"):format(netns))
          :gsub("%s", ""))
      end
    end
    done "container create neighbour"
    sweep("create vm", killed("container create vm --type hyperv --netns " .. netns), function()
      lo_only()
      gone "vm"()
    end, 5)
    sweep("remove vm", killed "container remove vm", function()
      lo_only()
      if not exists "vm" then
        done("container create vm --type hyperv --netns " .. netns)
      end
    end, 5)
  end)

  it("in the middle of a hook nothing is left", function()
    local pid = namespaces.pod(s):match "%d+"
    local state = ('{"id":"web","pid":%s,"status":"created","annotations":{"bulkhead.publish":"8080:80"}}'):format(pid)
    done "container create neighbour"
    sweep("createRuntime", killed("hook createRuntime", state), function()
      if exists "web" then
        done("hook poststop", state)
      end
    end, 7)
    sweep("poststart", killed("hook poststart", state), function() end, 3)
    sweep("poststop", killed("hook poststop", state), function()
      if not exists "web" then
        done("hook createRuntime", state)
      end
    end, 7)
  end)

  it("in the middle of CNI's ADD and DEL nothing is left", function()
    local conf = '{"cniVersion":"1.0.0","name":"pods","type":"bulkhead","subnet":"10.9.0.0/24"}'
    local netns = namespaces.pod(s)
    local function cni(command)
      return function(n)
        return ("echo '%s' | CNI_COMMAND=%s CNI_CONTAINERID=web CNI_IFNAME=eth0 CNI_NETNS=%s ")
          :format(conf, command, netns) .. program(n and ("'%s' %d"):format(audit.helper "killer", n))
      end
    end
    done "container create neighbour"
    sweep("ADD", cni "ADD", function()
      assert.equal("", (shell(cni "DEL"())))
      assert.is_false(exists "web")
    end, 7)
    sweep("DEL", cni "DEL", function()
      if not exists "web" then
        assert.equal(0, select(2, shell(cni "ADD"())))
      end
    end, 7)
  end)

  it("in the middle of a reset another one ends it", function()
    for n = 1, 400, 9 do
      s.host:close()
      done "container create web --publish 8080:80"
      local text, status = shell(killed "reset"(n))
      if status ~= 137 then
        assert.equal(0, status, text)
        return s:reopen()
      end
      if n % 2 == 0 then -- a change mends it as well
        done "reconcile"
        s:reopen()
        agree("reset, killed at " .. n)
        s.host:close()
      end
      done "reset"
      assert.is_nil(lfs.attributes("/run/bulkhead/" .. s.tag))
      lfs.mkdir(s.state:match "^(.*)/")
    end
    error "reset does not end"
  end)

  describe("of the store", function()
    before_each(function()
      done "container create web --publish 8080:80"
    end)

    local function begins_anew(message)
      local text, status = run "reconcile"
      assert.equal(0, status, text)
      if message then
        assert.matches(message, text, 1, true)
      end
      s:reopen()
      assert.same({}, s.host:containers())
      agree "begun anew"
      done "container create web --publish 8080:80"
      agree "created again"
      done "container remove web"
    end

    --- Lets go of the store, as if no process had it open.
    local function write_over(text)
      s.host:close()
      os.execute(("rm -f '%s'/state.db*"):format(s.state))
      if text then
        local file <close> = assert(io.open(s.state .. "/state.db", "wb"))
        file:write(text)
      end
    end

    it("that is missing or empty, one is begun", function()
      write_over(nil)
      begins_anew()
      s.host:close()
      write_over ""
      begins_anew()
    end)

    it("that is damaged, it is set aside", function()
      write_over(("not a database "):rep(1000))
      local text, status = run "endpoints"
      assert.equal(1, status)
      assert.matches("the store", text)
      begins_anew "is kept as"
      assert.is_truthy(lfs.attributes(s.state .. "/state.db.damaged"))
    end)

    it("that is damaged in the middle, reconcile finds it", function()
      s.host:close()
      audit.sql(s, "PRAGMA wal_checkpoint(TRUNCATE)")
      local file = assert(io.open(s.state .. "/state.db", "r+b"))
      for page = 2, 12 do
        file:seek("set", page * 4096)
        file:write(("\xde\xad"):rep(2048))
      end
      file:close()
      os.execute(("rm -f '%s'/state.db-*"):format(s.state))
      begins_anew "is kept as"
    end)

    it("that a later version wrote, it is refused, and reset begins anew", function()
      audit.sql(s, "PRAGMA user_version = 99")
      for _, words in ipairs { "endpoints", "container create db", "reconcile" } do
        local text, status = run(words)
        assert.equal(1, status)
        assert.matches("later version.*reset", text)
      end
      assert.equal(0, select(2, run "reset"))
      s:reopen()
      done "container create web --publish 8080:80"
      agree "created again"
    end)

    it("that an earlier version wrote, it is brought up to date", function()
      assert.equal("", audit.sql(s, ".read tests/support/store5.sql"))
      for _, column in ipairs {
        "containers.owner", "containers.netns", "containers.phase", "endpoints.attachment", "endpoints.phase",
        "endpoints.reach",
      } do
        local name, field = column:match "^(%a+)%.(%a+)$"
        audit.sql(s, ("ALTER TABLE %s DROP COLUMN %s"):format(name, field))
      end
      audit.sql(s, "DROP INDEX endpoints_compartment; DROP INDEX published_host; DROP TABLE before;"
        .. " DROP TABLE past_policies; DROP TABLE past_rules; DROP TABLE lost_properties; DROP TABLE lost_published;"
        .. " DROP TABLE lost_endpoints; DROP TABLE lost; DROP TABLE loose; DROP TRIGGER endpoints_gone;"
        .. " DROP TRIGGER endpoints_changed; ALTER TABLE tables ADD COLUMN blocks_in INTEGER NOT NULL DEFAULT 0;"
        .. " ALTER TABLE tables ADD COLUMN blocks_out INTEGER NOT NULL DEFAULT 0; PRAGMA user_version = 1")
      assert.matches("earlier version.*reconcile", (run "endpoints"))
      done "reconcile"
      s:reopen()
      assert.is_true(exists "web")
      agree "brought up to date"
      done "container remove web"
      agree "removed"
    end)

    it("that version 5 wrote, it is brought up to date by any change, with what is half done", function()
      audit.sql(s, "UPDATE endpoints SET status = 'creating'; UPDATE containers SET status = 'creating';"
        .. " UPDATE compartments SET status = 'creating' WHERE id <> 1")
      assert.equal("", audit.sql(s, ".read tests/support/store5.sql"))
      done "container create db"
      s:reopen()
      assert.is_false(exists "web")
      agree "brought up to date"
      done "container create web --publish 8080:80"
      agree "created again"
    end)

    it("whose boot was another, what it names is gone", function()
      audit.sql(s, "UPDATE meta SET value = 'x' WHERE key = 'boot'")
      done "reconcile"
      assert.same({}, s.host:containers())
      assert.equal("nat", s.host:networks()[1].name)
      agree "begun anew"
      done "container create web --publish 8080:80"
      agree "created again"
    end)

    it("whose boot was another, handlers of what it took are told, once, and its leases are free", function()
      local dir = s.state .. "-set"
      os.execute(("rm -rf '%s'; mkdir -p '%s/container'"):format(dir, dir))
      s:defer(function()
        os.execute(("rm -rf '%s'"):format(dir))
      end)
      local file <close> = assert(io.open(dir .. "/container/process.lua", "w"))
      file:write [[
local function say(event)
  return function(container, endpoint)
    error(("told %s of %s at %s"):format(event, container.id, endpoint and endpoint.address or "-"))
  end
end
return {
  default = { inbound = "block", outbound = "allow" },
  on = { stop = say "stop", detach = say "detach", remove = say "remove" },
}
]]
      file:close()
      local create = "container create db --address 172.16.9.9 --publish 9090:90 --policies " .. dir
      done(create)
      audit.sql(s, "UPDATE meta SET value = 'x' WHERE key = 'boot'")
      local text = done(create)
      local events = {}
      for event in text:gmatch "told (%l+ of db at [^%s]+)" do
        events[#events + 1] = event
      end
      assert.same({ "stop of db at 172.16.9.9", "detach of db at 172.16.9.9", "remove of db at -" }, events)
      assert.matches("container 'web' was lost", text, 1, true)
      audit.sql(s, "UPDATE meta SET value = 'x' WHERE key = 'boot'")
      assert.matches("told remove of db", (done "reconcile"))
      assert.equal("", (done "reconcile"))
      agree "after two boots"
    end)

    it("whose boot was another, a network that cannot come back stands in nobody's way", function()
      done "network create lan --driver internal --subnet 10.8.0.0/24"
      audit.sql(s, "UPDATE meta SET value = 'x' WHERE key = 'boot'")
      shell "ip route add 10.8.0.0/16 via 10.0.0.9"
      local text = done "container create db"
      assert.matches("'lan' is not made again.*10.8.0.0/24 overlaps the host's route to 10.8.0.0/16 by 10.0.0.9", text)
      text = select(1, run "container create other --network lan")
      assert.matches("network 'lan' could not be made again", text)
      shell "ip route del 10.8.0.0/16"
      done "container create other --network lan"
      done "container remove other"
      done "network remove lan"
      agree "all are back"
    end)

    it("knows what vanished: namespaces of others, and pins of its own", function()
      local pipe = assert(io.popen "exec unshare --net sh -c 'echo $$; exec sleep 60'")
      local pid = assert(pipe:read "l")
      done("hook createRuntime", ('{"id":"dead","pid":%s}'):format(pid))
      done "reconcile"
      assert.is_true(exists "dead")
      shell("kill -9 " .. pid)
      pipe:close()
      assert.matches("container 'dead'", (done "reconcile"))
      assert.is_false(exists "dead")
      agree "without the dead one"
      shell(("umount /run/bulkhead/%s/c%d"):format(s.tag, s.host:container "web".compartment))
      done "container create db"
      done "container remove web"
      agree "removed without its namespace"
      shell(("umount /run/bulkhead/%s/c%d"):format(s.tag, s.host:container "db".compartment))
      assert.matches("compartment", (done "reconcile"))
      assert.is_false(exists "db")
      agree "reconciled without its namespace"
    end)
  end)

  describe("of what lies outside", function()
    for what, command in pairs {
      ["the pins of the gate"] = "umount /run/bulkhead/%s/bpf",
      ["the switch namespace"] = "umount /run/bulkhead/%s/switch",
      ["the whole runtime directory"] = "umount -l /run/bulkhead/%s",
    } do
      it("somebody unmounts " .. what .. ", and reconcile mends it", function()
        done "container create web --publish 8080:80"
        s.host:close()
        assert.equal("", (shell(command:format(s.tag))))
        local text = done "reconcile"
        s:reopen()
        assert.equal(what == "the pins of the gate", exists "web", text)
        agree "mended"
        done "container create db"
        agree "and goes on"
        for _, id in ipairs { "web", "db" } do
          run("container remove " .. id)
        end
        agree "removed"
      end)
    end

    for what, command in pairs {
      ["takes the gate off a port"] = "qdisc del dev %s clsact",
      ["takes it off one direction"] = "filter del dev %s egress",
      ["has another hook in its place"] = "qdisc del dev %s clsact; tc qdisc add dev %s ingress",
      ["has another filter in its place"] = "filter del dev %s egress; tc filter add dev %s egress pref 1 u32 match u32 0 0",
    } do
      it(("somebody %s: a check finds it, and reconcile mends it"):format(what), function()
        done "container create neighbour"
        done "container create web"
        local endpoint = s.host:endpoints("web")[1]
        assert.equal("", (shell(("nsenter --net=/run/bulkhead/%s/switch sh -c 'tc %s'"):format(s.tag,
          (command:gsub("%%s", "p" .. endpoint.id))))))
        local ok, message = s.host:check_endpoint(endpoint.id)
        assert.is_nil(ok)
        assert.matches("the gate is off the port", message)
        assert.matches(("^bulkhead: [^\n]*gate[^\n]* endpoint %d; it is put back\n$"):format(endpoint.id), (run "reconcile"))
        agree "mended"
        assert.equal("", (run "reconcile"))
      end)
    end

    it("somebody deletes the host's port of a network, or its switch: reconcile mends the one and tells of the other", function()
      done "container create web --publish 8080:80"
      local id = s.host:networks()[1].id
      local vnic = ("b%s-%d"):format(s.tag, id)
      local function mac()
        return (shell(("ip -o link show dev %s"):format(vnic))):match "link/ether (%S+)"
      end
      local known = mac()
      assert.matches("^02:", known)
      assert.equal("", (shell("ip link del " .. vnic)))
      assert.equal("bulkhead: somebody took the host's port off network 'nat'; it is put back\n", (run "reconcile"))
      assert.equal(known, mac()) -- or containers would not reach their gateway while they remember it
      agree "mended"
      assert.equal("1\n", (shell(("cat /proc/sys/net/ipv4/conf/%s/forwarding"):format(vnic))))
      assert.matches("172.16.0.1/16", (shell("ip -4 addr show dev " .. vnic)), 1, true)
      assert.equal("", (run "reconcile"))
      shell(("nsenter --net=/run/bulkhead/%s/switch ip link del s%d"):format(s.tag, id))
      assert.matches("the switch of network nat is gone", (run "reconcile"))
      done "container remove web"
      done "network remove nat"
      done "container create web"
      agree "made anew"
    end)

    it("what is gone or down is named by doctor, and reconcile says what it does about it", function()
      local broken = require "doctor".broken
      done "container create web --publish 8080:80"
      done "container create db"
      s:reopen()
      local network, web, db = s.host:networks()[1].id, s.host:endpoints "web"[1], s.host:endpoints "db"[1]
      local vnic = ("b%s-%d"):format(s.tag, network)
      local inside = ("nsenter --net=/run/bulkhead/%s/c%d "):format(s.tag, web.compartment)
      local switch = ("nsenter --net=/run/bulkhead/%s/switch "):format(s.tag)
      for _, case in ipairs {
        { ("ip link set %s down"):format(vnic), ("the host's port %s of network nat is down"):format(vnic),
          "somebody set the host's port of network 'nat' down; it is up again" },
        { switch .. ("ip link set m%d down"):format(network), ("the host's port %s of network nat is down"):format(vnic),
          "somebody set the host's port of network 'nat' down; it is up again" },
        { ("ip link del %s"):format(vnic), ("the host's port %s of network nat is gone"):format(vnic),
          "somebody took the host's port off network 'nat'; it is put back" },
        { switch .. ("ip link set p%d down"):format(db.id), ("endpoint %d: the port is down"):format(db.id),
          ("somebody set the port of endpoint %d down; it is up again"):format(db.id) },
      } do
        assert.is_nil(broken(s.host))
        assert.equal("", (shell(case[1])))
        local detail, status = broken(s.host)
        assert.equal("failed", status)
        assert.equal(case[2], detail:match "^[^;]*")
        assert.equal(("bulkhead: %s\n"):format(case[3]), (run "reconcile"))
        assert.equal("", (run "reconcile"))
        agree(case[1])
      end
      assert.is_nil(broken(s.host))
      assert.equal("", (shell(inside .. "ip link set eth0 down")))
      local detail, status = broken(s.host)
      assert.equal("warning", status)
      assert.matches(("^endpoint %d: inside: interface eth0 is down; "):format(web.id), detail)
      assert.equal("", (run "reconcile"))
      assert.equal("", (shell(inside .. "ip link del eth0")))
      local deleted = ("endpoint %d: somebody deleted its NIC; it comes back when its container is removed and created again")
        :format(web.id)
      detail, status = broken(s.host)
      assert.equal("failed", status)
      assert.equal(1, (detail:find(deleted, 1, true)))
      assert.equal(("bulkhead: %s\n"):format(deleted), (run "reconcile"))
      done "container remove web"
      assert.equal("", (run "reconcile"))
      assert.is_nil(broken(s.host))
      agree "removed"
    end)

    --- A control group of this test's own that has no more memory, and what it takes to be in it; nil without one.
    local function poor_group(megabytes)
      for root, limit in pairs {
        ["/sys/fs/cgroup/memory"] = "memory.limit_in_bytes", ["/sys/fs/cgroup"] = "memory.max",
      } do
        local group = root .. "/bulkhead-test-" .. s.tag
        local _, status = shell(("test -e %s/cgroup.procs && mkdir %s && echo %d > %s/%s"):format(root, group,
          megabytes << 20, group, limit))
        s:defer(function()
          shell(("rmdir %s 2>/dev/null"):format(group))
        end)
        if status == 0 then
          return ("sh -c 'echo $$ > %s/cgroup.procs && exec \"$@\"' -- "):format(group)
        end
      end
    end

    it("memory of the caller's control group that does not do for the gate is named", function()
      local enter = poor_group(32)
      if not enter then
        return pending "no control group may be made here"
      end
      local text, status = shell(("BULKHEAD_STATE='%s' %s '%s' container create web"):format(s.state, enter, cli.program()))
      assert.equal(1, status)
      assert.equal("bulkhead: there is not enough memory to load the gate: about 80 MB are needed, which count against "
        .. "the limit of this process's control group\n", text)
      agree "nothing is made"
      done "container create web"
    end)

    it("a state directory that others may write, or have, is refused", function()
      done "network list"
      s.host:close()
      for command, why in pairs { ["chmod 0777"] = "may be written by others", ["chown 1"] = "belongs to another user" } do
        shell(("%s '%s'"):format(command, s.state))
        for _, words in ipairs { "network list", "container create web", "reconcile" } do
          local text, status = run(words)
          assert.equal(1, status)
          assert.matches(why .. "; it must be root's alone", text, 1, true)
        end
        shell(("chown 0 '%s'; chmod 0700 '%s'"):format(s.state, s.state))
      end
      s:reopen()
    end)

    describe("of a disk that is full", function()
      local home, set

      --- Runs the program with a state on a disk of its own.
      local function full(words, prefix, by)
        return shell(("%s BULKHEAD_STATE='%s' %s '%s' %s"):format(prefix or "", home, by or "", cli.program(), words))
      end

      local function fill(free)
        shell(("rm -f '%s/ballast'"):format(home))
        local room = tonumber((shell(("df -k --output=avail '%s' | tail -1"):format(home))))
        if free < room then
          shell(("dd if=/dev/zero of='%s/ballast' bs=1k count=%d"):format(home, room - free))
        end
      end

      local function disk(size)
        home, set = s.state .. "-full", s.state .. "-open"
        shell(("mkdir -p '%s' '%s/container'; mount -t tmpfs -o size=%s,mode=0700 none '%s'"):format(home, set, size, home))
        local file <close> = assert(io.open(set .. "/container/process.lua", "w"))
        file:write 'local rules = {}\nfor i = 1, 600 do rules[i] = block.inbound { name = "open " .. i, '
        file:write 'protocol = "tcp", local_port = i } end\n'
        file:write 'return { default = { inbound = "allow", outbound = "allow" }, rules = rules }\n'
        s:defer(function()
          full "reset"
          shell(("umount '%s'; rm -rf '%s' '%s'"):format(home, home, set))
        end)
      end

      --- How many endpoints are listed, all of them ready.
      local function listed()
        local text = full "endpoints --json"
        local count = select(2, text:gsub('"container":', "%0"))
        assert.equal(count, select(2, text:gsub('"status":"ready"', "%0")))
        return count
      end

      --- What is in force at c1's port 4000, and whether all that is told of it is of one policy.
      local function verdict()
        local told = full "explain c1 'in tcp 172.16.0.9:1 -> 172.16.0.2:4000'"
        local rules = full "rules c1"
        local new = told:find("^allow") ~= nil
        for _, text in ipairs { told, rules } do
          assert.equal(new, text:find(set, 1, true) ~= nil, text)
        end
        assert.equal(new, rules:find("inbound allow", 1, true) ~= nil, rules)
        return new and "new" or "old"
      end

      it("what is refused is not done at all, ever; what is there can be removed, and reset", function()
        disk "2M"
        assert.equal("c1\n", (full "container create c1 --publish 8080:80"))
        fill(0)
        local count, text, status = 1, nil, nil
        for i = 2, 300 do
          text, status = full(("container create c%d"):format(i))
          if status ~= 0 then
            break
          end
          count = i
        end
        assert.equal(1, status)
        assert.matches("^bulkhead: the store: the disk of '[^\n]*' is full\n$", text)
        assert.equal(count, listed())
        assert.equal("", (full "reconcile"))
        assert.equal(count, listed())
        for i = 1, count do
          assert.equal("", (full(("container remove c%d"):format(i))))
        end
        assert.equal(0, listed())
        assert.equal(0, select(2, full "reset"))
      end)

      it("a change of policies is all done, or refused and never done", function()
        disk "3M"
        assert.equal("c1\n", (full "container create c1"))
        assert.equal("c2\n", (full "container create c2"))
        local free, refused = 0, 0
        repeat
          fill(free)
          local text, status = full(("policy reload '%s'"):format(set))
          local expected = status == 0 and "new" or "old"
          assert.equal(expected, verdict(), ("%d KB: %s"):format(free, text))
          fill(3000)
          assert.equal("", (full "reconcile"))
          assert.equal(expected, verdict(), ("%d KB, mended"):format(free))
          refused = refused + (status == 0 and 0 or 1)
          free = free + 8
        until status == 0
        assert.is_true(refused > 0)
      end)

      it("killed in the middle, a change of policies is done or not begun, and what is told is what is in force", function()
        disk "8M"
        assert.equal("c1\n", (full "container create c1"))
        assert.equal("c2\n", (full "container create c2"))
        local killer = ("'%s' %%d"):format(audit.helper "killer")
        local seen, n, other = {}, 1, { old = set, new = stage.policies() }
        while true do
          local before = verdict()
          local _, status = full(("policy reload '%s'"):format(other[before]), nil, killer:format(n))
          if status ~= 137 then
            assert.equal(0, status)
            break
          end
          local told = verdict()
          full "reconcile"
          seen[told .. " " .. verdict()] = true
          n = n + 3
        end
        assert.is_true(n > 10)
        assert.is_true((seen["old new"] or seen["new old"]) == true, "none was finished")
      end)

      it("a disk too small for a state gets none, and keeps its room", function()
        disk "300k"
        local text, status = full "container create c1"
        assert.equal(1, status)
        assert.matches("^bulkhead: the store: the disk of '[^\n]*' is full\n$", text)
        fill(0)
        assert.equal(0, select(2, full "reset"))
        assert.same({}, { (shell(("ls '%s' | grep -v ballast"):format(home))):match "%S+" })
      end)

      it("and of a limit on the size of files", function()
        disk "3M"
        assert.equal("c1\n", (full "container create c1"))
        local text, status = full("container create c2", "ulimit -f 8;")
        assert.equal(1, status)
        assert.matches("^bulkhead: the store: [^\n]*\n$", text)
        assert.equal("", (full "container remove c1"))
        assert.equal("c2\n", (full "container create c2 --publish 8080:80"))
      end)
    end)
  end)

  describe("of nothing", function()
    it("32 creations at once all succeed", function()
      local text = shell(("for i in $(seq 32); do %s container create c$i >/dev/null & done; wait"):format(program()))
      assert.equal("", text)
      assert.equal(32, #s.host:containers())
      agree "32 at once"
      text = shell(("for i in $(seq 32); do %s container remove c$i & done; wait"):format(program()))
      assert.equal("", text)
      assert.same({}, s.host:containers())
      agree "32 removed"
    end)

    it("hundreds of racing removals remove one, and no other", function()
      done "container create race"
      done "container create race2"
      local text = shell(("for i in $(seq 200); do %s container remove race & done 2>&1; wait"):format(program()))
      local refused = 0
      for line in text:gmatch "[^\n]+" do
        assert.matches("there is no container 'race'", line)
        refused = refused + 1
      end
      assert.equal(199, refused)
      assert.is_true(exists "race2")
      agree "one removed"
    end)

    it("creations that race removals of one id come and go whole, one after the other", function()
      done "container create bystander"
      local text = shell(([[for i in $(seq 100); do
        { %s container create race --publish 8080:80 && echo made; } & { %s container remove race && echo gone; } &
        done 2>&1; wait]]):format(program(), program()))
      local count = { made = 0, gone = 0 }
      for line in text:gmatch "[^\n]+" do
        if count[line] then
          count[line] = count[line] + 1
        else
          assert(line == "race" or line:find("there is no container 'race'", 1, true)
            or line:find("container 'race' exists already", 1, true), line)
        end
      end
      assert.is_true(count.made > 0)
      assert.equal(exists "race" and 1 or 0, count.made - count.gone)
      assert.is_true(exists "bystander")
      agree "after the race"
    end)

    it("a network whose addresses the host has a route for is refused, and the route named", function()
      shell "ip route add 172.16.4.0/22 via 10.0.0.9; ip route add 10.0.0.0/7 dev lo; ip route add fd77::/32 via fd00:10::9"
      for words, why in pairs {
        ["container create web"] = "subnet 172.16.0.0/16 overlaps the host's route to 172.16.4.0/22 by 10.0.0.9 on ",
        ["network create a --driver nat --subnet 11.2.0.0/16"] =
          "subnet 11.2.0.0/16 overlaps the host's route to 10.0.0.0/7 on lo",
        ["network create b --driver nat --subnet fd77:0:1::/64"] =
          "subnet fd77:0:1::/64 overlaps the host's route to fd77::/32 by fd00:10::9 on ",
        ["network create c --driver nat --subnet 10.0.0.0/25"] =
          "subnet 10.0.0.0/25 overlaps 10.0.0.1/24, which the host has on ",
      } do
        local text, status = run(words)
        assert.equal(1, status)
        assert.matches(why, text, 1, true)
      end
      assert.same({}, s.host:networks())
      agree "refused"
      shell "ip route del 172.16.4.0/22; ip route add blackhole 172.16.0.0/12; ip route add 128.0.0.0/1 via 10.0.0.9"
      done "container create web"
      agree "routes that mean no place"
    end)
  end)
end)

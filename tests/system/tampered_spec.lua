--- What somebody else made of our places: a state directory that is none, a fifo for a store, links where
--- directories should be, rows that we never wrote. Each is told in one sentence, and nothing hangs.
local cli = require "tests.support.cli"
local folders = require "tests.support.folders"
local leftovers = require "tests.support.leftovers"
local lfs = require "lfs"
local namespaces = require "tests.support.namespaces"
local stage = require "tests.support.stage"

local shell = namespaces.shell

describe("what somebody tampered with", function()
  if stage.without_linux() then
    it("is refused", function()
      pending(stage.without_linux())
    end)
    return
  end
  local home

  before_each(function()
    home = folders.make()
    shell(("chmod 0700 '%s'"):format(home))
  end)
  after_each(function()
    shell(("BULKHEAD_STATE='%s/s' '%s' reset"):format(home, cli.program()))
    folders.clear()
  end)

  --- Runs it with a state, no longer than it may take.
  local function run(state, words)
    return shell(("BULKHEAD_STATE='%s' timeout 20 '%s' %s </dev/null"):format(state, cli.program(), words))
  end

  --- Every way to open a state says why it does not.
  local function refused(state, why)
    for _, words in ipairs { "network list", "container create web", "container remove web", "reconcile", "reset" } do
      local text, status = run(state, words)
      assert.equal(1, status, words .. ": " .. text)
      assert.equal("bulkhead: " .. why .. "\n", text, words)
    end
  end

  it("a state directory that is no directory, or everybody's", function()
    refused("/dev/null", "the state directory '/dev/null' is no directory")
    shell(("touch '%s/file'; ln -s / '%s/root'"):format(home, home))
    refused(home .. "/file", ("the state directory '%s/file' is no directory"):format(home))
    for _, root in ipairs { "/", "//", "/usr/..", home .. "/root" } do
      refused(root, "the state directory cannot be '/'; it is one of its own, like /var/lib/bulkhead")
    end
    assert.is_nil(lfs.attributes "/state.db")
    assert.is_nil(lfs.attributes "/lock")
  end)

  for kind, make in pairs {
    ["a fifo"] = "mkfifo '%s'", ["a directory"] = "mkdir '%s'", ["a device or a socket"] = "mknod '%s' c 1 3",
    ["a symbolic link"] = "ln -s /nowhere '%s'",
  } do
    it(kind .. " where a file of the state should be", function()
      local state = home .. "/s"
      assert(lfs.mkdir(state))
      shell(("chmod 0700 '%s'"):format(state))
      for _, name in ipairs { "lock", "state.db", "state.db-wal", "state.db-shm" } do
        local path = state .. "/" .. name
        assert.equal("", (shell(make:format(path))))
        refused(state, ("'%s' is no file: it is %s, and not bulkhead's"):format(path, kind))
        assert.truthy(lfs.symlinkattributes(path), "it is left alone")
        shell(("rm -rf '%s'"):format(path))
      end
      assert.is_nil(lfs.attributes "/nowhere")
    end)
  end

  it("a place where nothing is to be seen in /sys", function()
    local text = shell(([[exec unshare --net sh -c 'ip link set lo up; export BULKHEAD_STATE=%s/s; p="%s"
      $p container create web
      unshare -m sh -c "mount -t tmpfs none /sys; $p container create db; $p flows"; $p reconcile
      $p endpoints --json; $p reset']]):format(home, cli.program()))
    local why = "cannot see for how many processors the gate counts: No such file or directory\n"
    local said = ("web\nbulkhead: the NIC of endpoint 2 cannot be made: %sEp "):format(why) -- flows are read all the same
    assert.equal(said, text:sub(1, #said))
    assert.matches("^[^\n]*\n[^\n]*web[^\n]*\n$", text:sub(#said + 1))
    assert.is_nil(text:find("db", 1, true))
  end)

  it("a link where the runtime directory should be, or in it", function()
    local state = home .. "/s"
    local runtime = "/run/bulkhead/" .. leftovers.watch(state)
    local made = lfs.attributes("/run/bulkhead", "mode") == nil
    shell(("mkdir -p -m 0700 /run/bulkhead '%s/elsewhere'; chmod 0755 /run/bulkhead"):format(home))
    shell(("ln -s '%s/elsewhere' %s"):format(home, runtime))
    refused(state, runtime .. " is no directory but a symbolic link, which is not bulkhead's")
    assert.same({ ".", ".." }, leftovers.list(home .. "/elsewhere"))
    shell(("rm %s; mkdir -m 0777 %s; chmod 0777 %s"):format(runtime, runtime, runtime))
    refused(state, ("the runtime directory %s may be written by others; it must be root's alone"):format(runtime))
    -- In a state that is begun, all of that was there before is taken away.
    shell(("chmod 0700 %s; ln -s '%s/elsewhere' %s/bpf; ln -s /proc/1/ns/net %s/c2"):format(runtime, home, runtime,
      runtime))
    assert.equal("net\n", (run(state, "network create net --driver internal --subnet 10.9.0.0/24")))
    assert.equal("db\n", (run(state, "container create db --network net")))
    assert.equal("directory", lfs.symlinkattributes(runtime .. "/bpf", "mode"))
    -- What comes later is not followed.
    for at, path in ipairs { "/proc/1/ns/net", home .. "/elsewhere/made" } do
      local name = "c" .. at + 2
      shell(("ln -s %s %s/%s"):format(path, runtime, name))
      local text, status = run(state, "container create web --network net")
      assert.equal(1, status, text)
      assert.matches("^bulkhead: [^\n]+Too many levels of symbolic links[^\n]*\n$", text)
      shell(("rm -f %s/%s"):format(runtime, name))
    end
    shell(("umount %s/bpf; rmdir %s/bpf; ln -s /sys/fs/bpf %s/bpf"):format(runtime, runtime, runtime))
    local before = leftovers.list "/sys/fs/bpf"
    local text, status = run(state, "container create web --network net")
    assert.equal(1, status)
    assert.equal(("bulkhead: the gate that is there cannot be taken over: %s/bpf is no directory, and not bulkhead's\n")
      :format(runtime), text)
    assert.same(before, leftovers.list "/sys/fs/bpf")
    assert.equal("", (run(state, "reset")))
    assert.is_nil(lfs.attributes(runtime))
    assert.same({ ".", ".." }, leftovers.list(home .. "/elsewhere"))
    if made then
      lfs.rmdir "/run/bulkhead"
    end
  end)

  it("a store whose rows say what we never wrote", function()
    local state = home .. "/s"
    leftovers.watch(state)
    local function sql(statement)
      assert.equal("", (shell(("sqlite3 '%s/state.db' \"%s\""):format(state, statement))))
    end
    run(state, "network create lan --driver internal --subnet 10.9.0.0/24")
    assert.equal("web\n", (run(state, "container create web --network lan")))
    for change, why in pairs {
      ["UPDATE subnets SET prefix = 'nat'"] = "the store: network 'lan': 'nat' is not an address",
      ["UPDATE subnets SET gateway = -1"] = "the store: network 'lan': '-1' is not an address",
      ["UPDATE networks SET driver = x'00ff'"] = "the store: network 'lan': driver ''",
      ["UPDATE endpoints SET mac = 'é'"] = "the store: endpoint 1: 'é' is not a MAC address",
    } do
      shell(("cp '%s/state.db' '%s/kept'; cp '%s/state.db-wal' '%s/kept-wal'"):format(state, home, state, home))
      sql(change)
      local told = false
      for _, words in ipairs(change:find "endpoints" and { "container remove web" } or {
        "network list", "endpoints", "topology", "explain web 'in tcp 10.9.0.9:1 -> 10.9.0.2:80'", "policy reload",
        "container create db --network lan", "doctor",
      }) do
        local text, status = run(state, words)
        assert.is_true(status == 0 or status == 1, change .. ": " .. words .. ": " .. text)
        assert.is_nil(text:find("%.lua:%d+: '"), text)
        told = told or text:find("bulkhead: " .. why, 1, true) ~= nil
        run(state, "container remove db")
      end
      assert.is_true(told, change)
      shell(("rm -f '%s'/state.db-shm; cp '%s/kept' '%s/state.db'; cp '%s/kept-wal' '%s/state.db-wal'"):format(state,
        home, state, home, state))
    end
    assert.equal("", (run(state, "container remove web")))
  end)
end)

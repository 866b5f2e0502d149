--- A container started by a real runtime, runc, with our program as its hook. Everything happens in a
--- lab: the runtime inherits the lab's host namespace, which is the default compartment.
local cli = require "tests.support.cli"
local json = require "json"
local leftovers = require "tests.support.leftovers"
local lfs = require "lfs"
local namespaces = require "tests.support.namespaces"
local runtime = require "tests.support.runtime"
local sets = require "tests.support.sets"
local stage = require "tests.support.stage"
local B = { describe = describe, it = it, before_each = before_each, after_each = after_each, pending = pending }

local SERVE = "busybox httpd -p 80 -h /; busybox httpd -p 81 -h /; exec busybox sleep 60"
local PUBLISH = { ["bulkhead.network"] = "nat", ["bulkhead.publish"] = "8080:80/tcp" }

stage.platforms(B, "a container of runc", function(open)
  if runtime.missing() then
    it("is isolated", function()
      pending(runtime.missing())
    end)
    return
  end

  --- A lab, and a runtime in it that has a bundle. What the runtime has is deleted before the lab
  --- is closed: its hooks must still find the lab's state.
  local function start(spec)
    local s = open()
    local runc = runtime.new(s.state)
    s:defer(function()
      runc:close()
    end)
    spec.command = spec.command or SERVE
    runc:configure(spec)
    return s, runc
  end

  --- What of ours is on the machine, apart from what the state itself keeps.
  local function look(s)
    local pins = {}
    for name in lfs.dir("/run/bulkhead/" .. s.tag) do
      pins[#pins + 1] = name
    end
    table.sort(pins)
    return {
      links = leftovers.links(), mounts = leftovers.mounts(s.tag), pins = pins,
      nft = namespaces.shell "nft list ruleset", containers = s.host:containers(), endpoints = s.host:endpoints(),
      compartments = #s.host:compartments(),
    }
  end

  local function actor(s, id)
    local container = assert(s.host:container(id))
    local endpoint = s.host:endpoints(container.id)[1]
    return {
      id = id, where = container.compartment, endpoint = endpoint, mac = endpoint.mac,
      address = endpoint.addresses[1]:match "^[^/]+", address6 = endpoint.addresses[2]:match "^[^/]+",
    }
  end

  --- Until what runs in the container listens; the gate does not stand in the way of its own loopback.
  local function ready(s, web)
    for _ = 1, 100 do
      local seen = s:send(web, "tcp 81", web, true, "127.0.0.1")
      if seen.answered then
        return
      end
      os.execute "sleep 0.05"
    end
    error "what runs in the container does not listen"
  end

  after_each(sets.clear)

  it("is reached at its published port and nowhere else, and reaches everything", function()
    local s, runc = start { annotations = PUBLISH }
    local text, status = runc:create "web"
    assert.equal("", text)
    assert.equal(0, status)
    text, status = runc:run "start web"
    assert.same({ "", 0 }, { text, status })
    local web, db = actor(s, "web"), s:add { id = "db" }
    assert.equal("eth0 lo", namespaces.links(s, web.where))
    ready(s, web)
    for _, from in ipairs { db, stage.HOST } do
      assert.is_true(s:send(from, "tcp 80", web, true).answered)
      assert.is_false(s:send(from, "tcp 81", web, false).answered)
      assert.is_true(s:send(from, "ping", web, true).answered)
    end
    assert.is_true(s:send(db, "tcp 80", web, true, web.address6).answered)
    assert.is_false(s:send(db, "tcp 81", web, false, web.address6).arrived)
    -- What runs inside reaches the outside, and has nothing of the host's.
    text, status = runc:run("exec web /bin/busybox ping -c 1 -W 5 " .. stage.OUTSIDE_ADDRESS)
    assert.equal(0, status, text)
    text = runc:run "exec web /bin/busybox cat /proc/net/dev"
    assert.matches("eth0:", text, 1, true)
    assert.is_nil(text:find("up0:", 1, true))
    assert(s.lab:listen(stage.OUTSIDE, "tcp", 80))
    assert.is_true(s:send(web, "tcp 80", { where = stage.OUTSIDE, address = stage.OUTSIDE_ADDRESS }, true).answered)
  end)

  it("leaves nothing when it is deleted", function()
    local s, runc = start { annotations = PUBLISH }
    local _, status = runc:create "first" -- what the state needs is made with the first
    assert.equal(0, status)
    runc:run "delete --force first"
    local before = look(s)
    for _ = 1, 2 do
      local text
      text, status = runc:create "web"
      assert.equal(0, status, text)
      assert.equal(1, #s.host:containers())
      assert.equal(2, #s.host:compartments())
      assert.not_same(before, look(s))
      text, status = runc:run "delete --force web"
      assert.equal(0, status, text)
      assert.same(before, look(s))
      assert.same({}, s.host:flows())
    end
    -- Deleted once more, as runtimes do, it is gone already.
    local text
    text, status = namespaces.shell(("echo '{\"id\":\"web\"}' | BULKHEAD_STATE=%s '%s' hook poststop")
      :format(s.state, cli.program()))
    assert.same({ "", 0 }, { text, status })
  end)

  it("does not start if its policy refuses, and the runtime says which line did", function()
    local dir = sets.make {
      ["container/process.lua"] = table.concat({
        "return {",
        '  default = { inbound = "block", outbound = "allow" },',
        "  on = { attach = function(container, endpoint)",
        '    error("not on a Tuesday")',
        "  end },",
        "}",
      }, "\n"),
    }
    local s, runc = start { annotations = PUBLISH, policies = dir }
    s:add { id = "neighbour" }
    local before = look(s)
    local text, status = runc:create "web"
    assert.not_equal(0, status)
    assert.matches(dir .. "/container/process.lua:4: not on a Tuesday", text, 1, true)
    assert.is_false(runc:knows "web")
    assert.same(before, look(s))
  end)

  it("is refused if an annotation is wrong or names what is not there", function()
    for annotation, message in pairs {
      publish = "annotation bulkhead.publish", network = "there is no network 'lan'",
    } do
      local s, runc = start { annotations = { ["bulkhead." .. annotation] = "lan" } }
      local text, status = runc:create "web"
      assert.not_equal(0, status)
      assert.matches(message, text, 1, true)
      assert.same({}, s.host:containers())
      s:close()
    end
  end)

  it("keeps its network when another container of its id is refused and stops", function()
    local s, runc = start { annotations = PUBLISH }
    assert.equal("", (runc:create "web"))
    local other = runtime.new(s.state)
    s:defer(function() other:close() end)
    local spec = { annotations = PUBLISH, command = SERVE, cgroup = "/other" }
    other:configure(spec)
    local function refused(words, says)
      local before = look(s)
      local text, status = other:run(words)
      assert.not_equal(0, status)
      assert.matches("already attached", text, 1, true)
      assert.same(before, look(s))
      -- What the runtime, which shows nothing of it, ran then:
      local state = json.encode { id = "web", status = "stopped", pid = 0, bundle = words:match "--bundle '(.-)'" }
      text, status = namespaces.shell(("echo '%s' | BULKHEAD_STATE=%s '%s' hook poststop")
        :format(state, s.state, cli.program()))
      assert.same({ ("bulkhead: container 'web' %s; nothing is removed\n"):format(says), 0 }, { text, status })
      assert.same(before, look(s))
    end
    refused(("create --bundle '%s' web"):format(other.dir),
      ("is of the bundle %s, not %s"):format(runc.dir, other.dir))
    runc:configure(spec) -- a runtime with two states may be given one bundle twice
    refused(("create --bundle '%s' web"):format(runc.dir), "still runs")
    assert.equal(0, select(2, runc:run "delete --force web"))
    assert.same({}, s.host:containers())
    s:add { id = "web", publish = { "8080:80/tcp" } }
    refused(("create --bundle '%s' web"):format(other.dir), "was made by hand")
  end)

  it("is attached once", function()
    local s, runc = start { annotations = PUBLISH }
    assert.equal("", (runc:create "web"))
    local before = look(s)
    local path = namespaces.pod(s)
    local state = { ociVersion = "1.0.2", id = "web", status = "creating", pid = math.tointeger(path:match "%d+"),
      bundle = runc.dir, annotations = PUBLISH }
    local text, status = namespaces.shell(("echo '%s' | BULKHEAD_STATE=%s '%s' hook createRuntime")
      :format(json.encode(state), s.state, cli.program()))
    assert.equal(1, status)
    assert.matches("^bulkhead: .*already attached[^\n]*\n$", text)
    assert.same(before, look(s))
  end)
end, { "linux" })

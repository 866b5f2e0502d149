--- Real runtimes: runc and crun with our hooks, podman with hooks and with CNI, containerd's ctr with CNI.
--- Everything happens in a lab, whose host namespace they inherit; nothing is pulled.
local audit = require "tests.support.audit"
local cli = require "tests.support.cli"
local leftovers = require "tests.support.leftovers"
local lfs = require "lfs"
local namespaces = require "tests.support.namespaces"
local runtime = require "tests.support.runtime"
local sets = require "tests.support.sets"
local stage = require "tests.support.stage"

local shell = namespaces.shell
local NAP = "exec busybox sleep 60"

--- What hooks said, wherever the runtime put it.
local function said(engine, text)
  return text .. leftovers.slurp(engine.dir .. "/said")
end

local function policy(body)
  return sets.make {
    ["container/process.lua"] = 'return { default = { inbound = "block", outbound = "allow" }, on = {\n'
      .. body .. "\n} }",
  }
end

--- Declares a test, or why it cannot be run here.
local function with(missing, name, body)
  it(name, function()
    local why = stage.without_linux()
    for _, program in ipairs(missing) do
      why = why or runtime.missing(program)
    end
    if why then
      pending(why)
    else
      body()
    end
  end)
end

for _, program in ipairs { "runc", "crun" } do
  describe("a container of " .. program, function()
    local s
    after_each(function()
      if s then
        s:close()
        s = nil
      end
      sets.clear()
    end)

    local function start(spec)
      s = s or stage.open("linux", { networks = false })
      local engine = runtime.new(s.state, program)
      s:defer(function() engine:close() end)
      spec.command, spec.annotations = NAP, spec.annotations or { ["bulkhead.type"] = "process" }
      spec.annotations["run.oci.hooks.stderr"] = engine.dir .. "/said" -- crun shows it nowhere else
      engine:configure(spec)
      return engine
    end

    with({ program }, "is told create and attach, start, and its end", function()
      local engine = start {
        policies = policy 'start = function(_, endpoint) endpoint:add(allow.inbound { name = "started" }) end',
      }
      local text, status = engine:create "web"
      assert.equal(0, status, text)
      local endpoint = s.host:endpoints("web")[1]
      if program == "crun" then -- runc runs poststart already
        assert.equal("attached", endpoint.phase)
        assert.same({}, s.host:rules(endpoint.id))
      end
      text, status = engine:run "start web"
      assert.equal(0, status, text)
      assert.equal("started", s.host:endpoints("web")[1].phase)
      assert.equal("started", s.host:rules(endpoint.id)[1].name)
      assert.same({}, audit.differences(s))
      text, status = engine:run "delete --force web"
      assert.equal(0, status, text)
      assert.same({}, s.host:containers())
      assert.same({}, audit.differences(s))
    end)

    for _, event in ipairs { "create", "attach", "start" } do
      with({ program }, "has no network if its policy refuses at " .. event, function()
        local engine = start { policies = policy(event .. ' = function() error("not today") end') }
        local text, status = engine:create "web"
        if event == "start" and status == 0 then
          text, status = engine:run "start web"
        end
        assert.matches("process.lua:2: not today", said(engine, text), 1, true)
        if program == "runc" or event ~= "start" then
          assert.not_equal(0, status)
        else -- what crun starts all the same is ended
          for _ = 1, 50 do
            text = engine:run "state web"
            if text:find '"stopped"' then
              break
            end
            os.execute "sleep 0.05"
          end
          assert.matches('"stopped"', text)
        end
        -- crun runs no poststop for what never ran.
        assert.same({}, s.host:containers())
        assert.equal(event == "start" and 1 or 0, #s.host:networks()) -- a network that is used once stays
        assert.same({}, audit.differences(s))
      end)
    end

    with({ program }, "that joins another's namespace shares compartment and endpoint", function()
      local first = start {}
      assert.equal(0, select(2, first:create "pause"))
      local netns = s.host:container "pause".netns
      local second = start { netns = netns }
      local text, status = second:create "app"
      assert.equal(0, status, text)
      assert.equal(2, #s.host:compartments())
      assert.equal(s.host:container "pause".compartment, s.host:container "app".compartment)
      assert.equal(1, #s.host:endpoints())
      assert.equal("eth0 lo", namespaces.links(s, s.host:container "app".compartment))
      assert.equal(s.host:endpoints("pause")[1].id, s.host:endpoints("app")[1].id)
      local third = start { netns = netns, annotations = { ["bulkhead.publish"] = "80:80" } }
      text, status = third:create "other"
      assert.not_equal(0, status)
      assert.matches("shares the endpoint of container 'pause'", said(third, text))
      second:run "delete --force app"
      assert.equal("eth0 lo", namespaces.links(s, s.host:container "pause".compartment))
      first:run "delete --force pause"
      assert.same({}, s.host:containers())
      assert.same({}, audit.differences(s))
    end)
  end)
end

--- Where engines make directories of their own.
local PLACES = { "/run/crun", "/run/containerd", "/var/lib/cni", "/etc/cni", "/opt/cni" }

--- A directory with a root of busybox and what engines keep, gone with the stage.
local function workshop(s)
  local dir = os.tmpname()
  os.remove(dir)
  local made = {}
  for _, place in ipairs(PLACES) do
    made[place] = not lfs.attributes(place)
  end
  local text, status = shell(([[
    mkdir -p '%s/root/bin' '%s/cni' '%s/plugins' '%s/tmp' '%s/engines' && cd '%s' &&
    cp "$(command -v busybox)" root/bin/busybox && ln -s busybox root/bin/sh &&
    mkdir root/proc root/sys root/dev root/etc root/tmp && tar -C root -cf root.tar . &&
    ln -s '%s' plugins/bulkhead]]):gsub("%%s", dir, 6):format(cli.program()))
  assert(status == 0, text)
  s:defer(function()
    shell("rm -rf '" .. dir .. "'")
    for _, place in ipairs(PLACES) do
      if made[place] then
        shell(("find %s -depth -type d -empty -delete 2>/dev/null"):format(place))
      end
    end
  end)
  return dir
end

local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
end

--- The state is named, because podman's cleanup forgets the environment.
local function conflist(state)
  return ([[{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"bulkhead","subnet":"10.9.0.0/24",
    "state":"%s","capabilities":{"portMappings":true,"ips":true,"mac":true}}]}]]):format(state)
end

describe("a container of podman", function()
  local s, dir, podman
  after_each(function()
    if s then
      s:close()
      s = nil
    end
  end)

  --- podman with everything of its own in the workshop; `podman(words)` returns output and status.
  local function start()
    s = stage.open("linux", { networks = false })
    dir = workshop(s)
    write(dir .. "/cni/pods.conflist", conflist(s.state))
    write(dir .. "/engines/crun", "#!/bin/sh\nexec " .. runtime.crun() .. ' "$@"\n')
    assert(shell(("chmod +x '%s/engines/crun'"):format(dir)) == "")
    local text, status =
      shell(("BULKHEAD_STATE='%s' '%s' install-hooks '%s/hooks'"):format(s.state, cli.program(), dir))
    assert.equal(0, status, text)
    write(dir .. "/containers.conf", (([[
      [containers]
      cgroups = "disabled"
      default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
      [engine]
      cgroup_manager = "cgroupfs"
      events_logger = "none"
      lock_type = "file"
      hooks_dir = ["DIR/hooks"]
      runtime = "crun"
      [engine.runtimes]
      crun = ["DIR/engines/crun"]
      [network]
      network_backend = "cni"
      cni_plugin_dirs = ["DIR/plugins"]
      network_config_dir = "DIR/cni"
      default_network = "pods"
    ]]):gsub("DIR", dir)))
    write(dir .. "/storage.conf",
      ('[storage]\ndriver = "vfs"\ngraphroot = "DIR/graph"\nrunroot = "DIR/run"\n'):gsub("DIR", dir))
    podman = function(words)
      return shell((([[cd @DIR@ && export BULKHEAD_STATE='@STATE@' CONTAINERS_CONF=@DIR@/containers.conf
        export TMPDIR=@DIR@/tmp CONTAINERS_STORAGE_CONF=@DIR@/storage.conf
        exec podman --log-level=error --tmpdir @DIR@/live ]])
        :gsub("@(%u+)@", { DIR = dir, STATE = s.state })) .. words)
    end
    s:defer(function()
      podman "rm --force --time 0 --all"
      podman "rm --force --time 0 --all"
      shell(("umount '%s/graph' 2>/dev/null"):format(dir))
    end)
    text, status = podman "import root.tar cell"
    assert.equal(0, status, text)
  end

  local function run(options, expected)
    local text, status = podman("run -d " .. options .. " cell /bin/busybox sleep 60")
    assert.equal(expected or 0, status, text)
    return text
  end

  with({ "podman", "crun" }, "is attached by hooks", function()
    start()
    run "--name web --network none --annotation bulkhead.publish=8080:80"
    local web = s.host:containers()[1]
    assert.equal("hook", web.owner)
    assert.equal("started", web.phase)
    assert.equal(8080, web.published[1].host)
    assert.equal("eth0 lo", namespaces.links(s, web.compartment))
    run "--name plain --network none"
    assert.equal(1, #s.host:containers())
    run("--name host --network host --annotation bulkhead.type=process", 126)
    run("--name bad --network none --annotation bulkhead.type=vm", 126)
    assert.equal(1, #s.host:containers())
    podman "rm --force --time 0 web"
    assert.same({}, s.host:containers())
    assert.same({}, audit.differences(s))
  end)

  with({ "podman", "crun" }, "is attached by CNI, with and without hooks", function()
    start()
    run "--name web --network pods --publish 8080:80 --ip 10.9.0.50 --mac-address 02:00:00:00:00:50"
    local web = s.host:container "web"
    assert.equal("cni", web.owner)
    local endpoint = s.host:endpoints(web.id)[1]
    assert.equal("10.9.0.50/24", endpoint.addresses[1])
    assert.equal("02:00:00:00:00:50", endpoint.mac)
    assert(s.lab:listen(web.compartment, "tcp", 80))
    local seen = s.lab:probe {
      from = stage.OUTSIDE, to = web.compartment, kind = "tcp", target = stage.HOST_ADDRESS, port = 8080,
    }
    assert.is_true(seen.answered)
    run "--name both --network pods --annotation bulkhead.type=process"
    assert.equal("cni", s.host:container "both".owner)
    run "--name guest --network container:web --annotation bulkhead.type=process"
    assert.equal(3, #s.host:containers())
    assert.equal(3, #s.host:compartments())
    -- What CNI attached otherwise than annotations say does not start.
    run("--name vm --network pods --annotation bulkhead.type=hyperv", 126)
    run("--name twice --network pods --publish 8080:81", 126)
    assert.equal(3, #s.host:containers())
    for _, name in ipairs { "guest", "both", "web" } do
      local text, status = podman("rm --force --time 0 " .. name)
      assert.equal(0, status, text)
    end
    assert.same({}, s.host:containers())
    assert.same({}, audit.differences(s))
  end)
end)

describe("a container of containerd", function()
  with({ "ctr", "containerd", "runc" }, "is attached by CNI", function()
    local s = stage.open("linux", { networks = false })
    local dir = workshop(s)
    finally(function() s:close() end)
    write(dir .. "/config.toml", "version = 2\ndisabled_plugins = [" .. table.concat({
      '"io.containerd.grpc.v1.cri"', '"io.containerd.snapshotter.v1.btrfs"', '"io.containerd.snapshotter.v1.zfs"',
      '"io.containerd.snapshotter.v1.devmapper"', '"io.containerd.snapshotter.v1.aufs"',
    }, ", ") .. "]\n")
    write(dir .. "/pods.conflist", conflist(s.state))
    -- ctr looks in places of the machine, which are covered for it.
    write(dir .. "/script", (([[
      cd '@DIR@'
      export BULKHEAD_STATE='@STATE@'
      mkdir -p /etc/cni /opt/cni /var/lib/cni /run/containerd
      for place in /etc/cni /opt/cni /var/lib/cni /run/containerd; do mount -t tmpfs none $place; done
      mkdir -p /etc/cni/net.d /opt/cni/bin
      cp pods.conflist /etc/cni/net.d/
      ln -s '@PROGRAM@' /opt/cni/bin/bulkhead
      containerd -c config.toml --root @DIR@/store --state @DIR@/live --address @DIR@/socket -l error >log 2>&1 &
      daemon=$!
      trap 'kill $daemon; wait $daemon' EXIT
      for i in $(seq 50); do [ -S socket ] && break; sleep 0.1; done
      ctr="timeout 20 ctr -a @DIR@/socket"
      $ctr run --rm --cni --rootfs @DIR@/root web /bin/busybox ip -4 -o addr show eth0 </dev/null || exit 1
      $ctr run -d --cni --rootfs @DIR@/root nap /bin/busybox sleep 60 </dev/null || exit 1
      '@PROGRAM@' endpoints --json
      $ctr task kill -s KILL nap
      sleep 0.5
      $ctr task rm nap
      $ctr container rm nap
    ]]):gsub("@(%u+)@", { DIR = dir, STATE = s.state, PROGRAM = cli.program() })))
    local text = shell(("unshare -m sh '%s/script'"):format(dir))
    assert.matches("inet 10.9.0.2/24", text, 1, true)
    assert.matches('"container":"default-nap"', text, 1, true)
    -- ctr run -d never sends DEL: the container is gone without a word.
    assert.equal(1, #s.host:containers())
    text = shell(("BULKHEAD_STATE='%s' '%s' reconcile"):format(s.state, cli.program()))
    assert.matches("container 'default%-nap'", text)
    assert.same({}, s.host:containers())
    assert.same({}, audit.differences(s))
  end)
end)

--- CNI's words: what is read from a runtime and what is written back, for every version.
local cni = require "cni"
local config = require "cni_config"
local json = require "json"

--- What `body` fails with; raises unless it is a failure.
local function failure(body)
  local ok, result = pcall(body)
  assert.is_false(ok)
  assert.is_true(cni.is_failure(result), tostring(result))
  return result
end

local function read(fields, lenient)
  local text = '{"cniVersion":"1.0.0","name":"n","type":"bulkhead",' .. fields .. '"x":null}'
  return config.read(config.decode(text), lenient)
end

local function environment(values)
  return function(name)
    return values[name]
  end
end

describe("a CNI configuration", function()
  it("is read with keys in any case", function()
    local conf = config.read(config.decode [[{"CNIVERSION":"1.1.0","Name":"pods","type":"bulkhead","network":"lan",
      "driver":"nat","subnet":"10.9.0.0/24","containerType":"hyperv","policies":"/p","policy":"db","mtu":1400,
      "dns":{"nameservers":["9.9.9.9"],"domain":"a.b","search":["a"],"options":["ndots:5"]},
      "capabilities":{"portMappings":true},"args":{"labels":[]},"cni.dev/x":1,
      "runtimeConfig":{"PortMappings":[{"HostPort":8080,"ContainerPort":80,"Protocol":"TCP","HostIP":"0.0.0.0"},
        {"hostPort":53,"containerPort":53,"protocol":"udp","hostIP":"10.0.0.1"}],
        "ips":["10.9.0.5/24"],"mac":"02:AA:00:00:00:01","bandwidth":{"ingressRate":0},
        "io.kubernetes.cri.pod-annotations":{"bulkhead.Type":"x","bulkhead.type":"hyperv"}}}]])
    assert.equal("1.1.0", conf.version)
    assert.equal("pods", conf.name)
    assert.equal("lan", conf.network)
    assert.same({ "10.9.0.0/24" }, { table.unpack(conf.subnets) })
    assert.equal("hyperv", conf.type)
    assert.equal(1400, conf.mtu)
    assert.equal("a.b", conf.dns.domain)
    assert.same({
      { host = 8080, container = 80, protocol = "tcp" },
      { host = 53, container = 53, protocol = "udp", address = "10.0.0.1" },
    }, conf.runtime.published)
    assert.same({ "10.9.0.5/24" }, { table.unpack(conf.runtime.addresses) })
    assert.equal("02:aa:00:00:00:01", conf.runtime.mac)
    assert.same({ ["bulkhead.Type"] = "x", ["bulkhead.type"] = "hyperv" }, conf.runtime.annotations)
  end)

  it("needs little, and takes subnets as a list", function()
    local conf = read '"subnet":["10.9.0.0/24","fd09::/64"],'
    assert.equal("n", conf.network)
    assert.same({ "10.9.0.0/24", "fd09::/64" }, { table.unpack(conf.subnets) })
    assert.is_nil(conf.type)
    assert.is_nil(conf.dns)
    assert.same({}, conf.runtime.published)
    assert.is_nil(read('"dns":{},').dns)
    assert.equal("10.0.0.2", read('"runtimeConfig":{"dns":{"servers":["10.0.0.2"],"searches":["a"]}},')
      .runtime.dns.nameservers[1])
  end)

  local BAD = {
    { cni.NOT_DECODED, '"dns":[],' }, { cni.NOT_DECODED, '"dns":{"nameservers":"x"},' },
    { cni.NOT_DECODED, '"mtu":"1500",' }, { cni.NOT_DECODED, '"mtu":1.5,' }, { cni.NOT_DECODED, '"network":7,' },
    { cni.NOT_DECODED, '"runtimeConfig":[1],' }, { cni.NOT_DECODED, '"runtimeConfig":{"portMappings":{}},' },
    { cni.NOT_DECODED, '"runtimeConfig":{"portMappings":[7]},' }, { cni.NOT_DECODED, '"runtimeConfig":{"ips":[7]},' },
    { cni.NOT_DECODED, '"runtimeConfig":{"portMappings":[{"hostPort":"80","containerPort":80}]},' },
    { cni.NOT_DECODED, '"runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"a":1}},' },
    { cni.NOT_DECODED, '"NAME":"twice",' }, { cni.NOT_DECODED, '"mtu":1500,"mtu":1400,' },
    { cni.NOT_DECODED, '"args":7,' }, { cni.NOT_DECODED, '"args":{"cni":{"ips":"10.9.0.7"}},' },
    { cni.BAD_CONFIGURATION, '"args":{"cni":{"ips":["x"]}},' },
    { cni.UNSUPPORTED_FIELD, '"args":{"cni":{"Mac":"02:aa:00:00:00:01"}},' }, { cni.NOT_DECODED, '"prevResult":7,' },
    { cni.BAD_CONFIGURATION, '"subnet":"10.9.0.1/24",' }, { cni.BAD_CONFIGURATION, '"subnet":["10.9.0.0"],' },
    { cni.BAD_CONFIGURATION, '"driver":"bridge",' }, { cni.BAD_CONFIGURATION, '"containerType":"vm",' },
    { cni.BAD_CONFIGURATION, '"mtu":20,' }, { cni.BAD_CONFIGURATION, '"network":"a/b",' },
    { cni.BAD_CONFIGURATION, '"state":"run/x",' }, { cni.BAD_CONFIGURATION, '"policies":"p",' },
    { cni.BAD_CONFIGURATION, '"policy":"../x",' }, { cni.BAD_CONFIGURATION, '"dns":{"nameservers":["x"]},' },
    { cni.BAD_CONFIGURATION, '"dns":{"search":["a b"]},' }, { cni.BAD_CONFIGURATION, '"policies":"",' },
    { cni.BAD_CONFIGURATION, '"runtimeConfig":{"mac":"01:00:5e:00:00:01"},' },
    { cni.BAD_CONFIGURATION, '"runtimeConfig":{"ips":["x"]},' },
    { cni.BAD_CONFIGURATION, '"runtimeConfig":{"ips":["10.0.0.2/024"]},' },
    { cni.BAD_CONFIGURATION, '"runtimeConfig":{"ips":["10.0.0.2"' .. (',"10.0.0.2"'):rep(8) .. ']},' },
    { cni.BAD_CONFIGURATION, '"subnet":["10.9.0.0/24"' .. (',"10.9.0.0/24"'):rep(8) .. '],' },
    { cni.BAD_CONFIGURATION, '"gateway":["10.9.0.1"' .. (',"10.9.0.1"'):rep(8) .. '],' },
    { cni.BAD_CONFIGURATION, '"dns":{"nameservers":["10.9.0.1"' .. (',"10.9.0.1"'):rep(16) .. ']},' },
    { cni.BAD_CONFIGURATION, '"runtimeConfig":{"portMappings":[{"hostPort":0,"containerPort":80}]},' },
    { cni.BAD_CONFIGURATION, '"runtimeConfig":{"portMappings":[{"hostPort":80}]},' },
    { cni.BAD_CONFIGURATION, '"runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":80,'
      .. '"protocol":"icmp"}]},' },
    { cni.BAD_CONFIGURATION, '"runtimeConfig":{"portMappings":[{"hostPort":80,"containerPort":80},'
      .. '{"hostPort":80,"containerPort":81}]},' },
    { cni.UNSUPPORTED_FIELD, '"ipam":{"type":"host-local"},' }, { cni.UNSUPPORTED_FIELD, '"bridge":"cni0",' },
    { cni.UNSUPPORTED_FIELD, '"runtimeConfig":{"bandwidth":{"ingressRate":1000}},' },
    { cni.UNSUPPORTED_FIELD, '"runtimeConfig":{"ipRanges":[[{"subnet":"10.0.0.0/8"}]]},' },
  }
  for _, each in ipairs(BAD) do
    it("is refused: " .. each[2], function()
      local refused = failure(function() read(each[2]) end)
      assert.equal(each[1], refused.code, refused.msg)
      assert.is_nil(refused.msg:find "%c")
    end)
  end

  it("names key and value of a field that is not supported", function()
    local refused = failure(function() read '"bridge":"cni0",' end)
    assert.matches("'bridge'.*cni0", refused.msg)
  end)

  it("names fields as they were written", function()
    for text, name in pairs {
      ['"MTU":"x",'] = "'MTU' of the configuration", ['"Subnet":[7],'] = "'Subnet' of the configuration",
      ['"isGateway":true,'] = "field 'isGateway' with",
      ['"runtimeConfig":{"PortMappings":7},'] = "'PortMappings' of runtimeConfig",
      ['"runtimeConfig":{"ipRanges":[1]},'] = "'runtimeConfig.ipRanges'",
      ['"runtimeConfig":{"portMappings":[{"hostPort":"80"}]},'] = "'hostPort' of portMappings[1]",
      ['"args":{"cni":{"Mac":"x"}},'] = "'args.cni.Mac'",
    } do
      assert.matches(name, failure(function() read(text) end).msg, 1, true)
    end
    local refused = failure(function() config.version(config.decode '{"cniVersion":7}') end)
    assert.matches("'cniVersion' of", refused.msg)
    assert.matches("the key 'FOO'", failure(function() cni.arguments "FOO=1" end).msg)
  end)

  it("may ask for addresses in its args", function()
    local conf = read '"args":{"cni":{"IPs":["10.9.0.7/24"],"labels":[{"key":"a"}]},"other":{"x":1}},'
    assert.same({ "10.9.0.7/24" }, { table.unpack(conf.addresses) })
    assert.same({}, read("").addresses)
  end)

  it("says which name is wrong, and how many are too many", function()
    local named = failure(function() config.read(config.decode '{"cniVersion":"1.0.0","name":"a/b"}') end)
    assert.equal("'a/b' is no configuration name: it may have A-Z a-z 0-9 _ . - and begins with a letter or digit",
      named.msg)
    local many = failure(function() read('"runtimeConfig":{"ips":["10.0.0.2"' .. (',"10.0.0.2"'):rep(8) .. ']},') end)
    assert.equal("9 addresses are too many: an endpoint has at most 8", many.msg)
  end)

  it("may have a path that is odd but good", function()
    for _, path in ipairs { "/", "//a//b/", "/a/../b/.", "/a b/ä/日本", "/-x", "/a'\\\"b", "/a%s;$(x)`y`" } do
      local conf = read(('"state":"%s","policies":"%s",'):format(path, path))
      assert.equal(conf.state, conf.policies)
      assert.equal((path:gsub('\\(.)', "%1")), conf.state)
    end
  end)

  it("is read leniently where something goes", function()
    assert.equal("n", read('"bridge":"cni0","runtimeConfig":{"bandwidth":{"ingressRate":1}},', true).name)
  end)

  it("that is hostile is code 6", function()
    for _, text in ipairs {
      "", "{", "[]", "null", "7", '"x"', "{}x", ("["):rep(100000), ('{"a":'):rep(100000), "\0\1", '{"a":\u{7f}}',
    } do
      assert.equal(cni.NOT_DECODED, failure(function() config.decode(text) end).code)
    end
  end)

  it("of another version is code 1, without a name code 7", function()
    for _, text in ipairs { '{"name":"n"}', '{"cniVersion":"0.2.0"}', '{"cniVersion":"9"}' } do
      local refused = failure(function() config.version(config.decode(text)) end)
      assert.equal(cni.VERSION_MISMATCH, refused.code)
    end
    for _, text in ipairs { '{"cniVersion":"1.0.0"}', '{"cniVersion":"1.0.0","name":"a/b"}' } do
      assert.equal(cni.BAD_CONFIGURATION, failure(function() config.read(config.decode(text)) end).code)
    end
    assert.equal(cni.NOT_DECODED, failure(function() config.version(config.decode '{"cniVersion":7}') end).code)
  end)
end)

describe("CNI's environment", function()
  local FULL = { CNI_CONTAINERID = "web", CNI_IFNAME = "eth0", CNI_NETNS = "/run/netns/x" }
  local function with(changes)
    local values = {}
    for key, value in pairs(FULL) do values[key] = value end
    for key, value in pairs(changes) do values[key] = value ~= "" and value or nil end
    return environment(values)
  end

  it("says what is wanted", function()
    local request = cni.request("ADD", with { CNI_ARGS = "IgnoreUnknown=1;K8S_POD_NAME=pod;IP=10.0.0.2;X=y" })
    assert.equal("web", request.id)
    assert.equal("eth0", request.interface)
    assert.equal("/run/netns/x", request.netns)
    assert.same({ name = "pod", address = "10.0.0.2" }, request.arguments)
    assert.is_nil(cni.request("DEL", with { CNI_NETNS = "" }).netns)
    assert.same({ arguments = {} }, cni.request("GC", environment {}))
  end)

  it("is refused with code 4 where it is wrong", function()
    for _, changes in ipairs {
      { CNI_CONTAINERID = "" }, { CNI_CONTAINERID = "a/b" }, { CNI_IFNAME = "" }, { CNI_NETNS = "" },
      { CNI_NETNS = "/a\nb" }, { CNI_ARGS = "x" }, { CNI_ARGS = "X=y" }, { CNI_ARGS = "IP=x" }, { CNI_ARGS = "MAC=x" },
      { CNI_IFNAME = ("x"):rep(16) }, { CNI_IFNAME = "a/b" }, { CNI_IFNAME = "a b" }, { CNI_IFNAME = ".." },
      { CNI_IFNAME = "lo" }, { CNI_IFNAME = "all" }, { CNI_IFNAME = "default" }, { CNI_IFNAME = "eth%d" },
      { CNI_IFNAME = "a:b" }, { CNI_IFNAME = "\27[2J" },
    } do
      local refused = failure(function() cni.request("ADD", with(changes)) end)
      assert.equal(cni.BAD_ENVIRONMENT, refused.code)
      assert.is_nil(refused.msg:find "%c")
    end
    for _, command in ipairs { "", "add", "EXEC" } do
      assert.equal(cni.BAD_ENVIRONMENT,
        failure(function() cni.command(environment { CNI_COMMAND = command }) end).code)
    end
  end)

  it("has commands by version", function()
    for command, versions in pairs {
      ADD = { "0.3.1", "0.4.0", "1.0.0", "1.1.0" }, CHECK = { "0.4.0", "1.0.0", "1.1.0" },
      GC = { "1.1.0" }, STATUS = { "1.1.0" },
    } do
      local has = {}
      for _, version in ipairs(versions) do has[version] = true end
      for _, version in ipairs(cni.VERSIONS) do
        local ok = pcall(cni.check_command, command, version)
        assert.equal(has[version] or false, ok, command .. " " .. version)
      end
    end
  end)
end)

describe("a CNI answer", function()
  local MADE = {
    name = "eth0", mac = "02:00:00:00:00:02", mtu = 1500, sandbox = "/run/netns/x",
    ips = { { address = "10.9.0.2/24", gateway = "10.9.0.1" }, { address = "fd09::2/64" } },
    routes = { { dst = "0.0.0.0/0", gw = "10.9.0.1" } },
  }
  for _, version in ipairs(cni.VERSIONS) do
    it("has the form of " .. version, function()
      local result = assert(json.decode(cni.result_text(version, MADE)))
      local old, latest = version < "1.0.0", version == "1.1.0"
      assert.equal(version, result.cniVersion)
      assert.same({ name = "eth0", mac = MADE.mac, sandbox = MADE.sandbox, mtu = latest and 1500 or nil },
        { name = result.interfaces[1].name, mac = result.interfaces[1].mac, sandbox = result.interfaces[1].sandbox,
          mtu = result.interfaces[1].mtu })
      assert.equal(old and "4" or nil, result.ips[1].version)
      assert.equal(old and "6" or nil, result.ips[2].version)
      assert.equal(0, result.ips[1].interface)
      assert.equal("10.9.0.1", result.ips[1].gateway)
      assert.is_nil(result.ips[2].gateway)
      assert.equal("0.0.0.0/0", result.routes[1].dst)
      assert.is_true(json.is_object(result.dns))
    end)
  end

  it("keeps what earlier plugins said", function()
    local previous = config.read(config.decode [[{"cniVersion":"1.0.0","name":"n","prevResult":{"cniVersion":"1.0.0",
      "interfaces":[{"name":"br0"},{"name":"net1","sandbox":"/x"}],"ips":[{"address":"10.1.0.2/24","interface":1}],
      "routes":[{"dst":"10.2.0.0/16"}],"dns":{"nameservers":["1.1.1.1"]}}}]]).previous
    local result = assert(json.decode(cni.result_text("1.0.0", MADE, previous)))
    assert.equal(3, #result.interfaces)
    assert.equal("eth0", result.interfaces[3].name)
    assert.equal(1, result.ips[1].interface)
    assert.equal(2, result.ips[2].interface)
    assert.equal(2, #result.routes)
    assert.equal("1.1.1.1", result.dns.nameservers[1])
  end)

  it("to VERSION lists all, whatever is asked", function()
    for asked, answered in pairs { ["1.0.0"] = "1.0.0", ["9.9"] = "1.1.0" } do
      local answer = assert(json.decode(cni.version_text(asked)))
      assert.equal(answered, answer.cniVersion)
      assert.same({ "0.3.1", "0.4.0", "1.0.0", "1.1.0" }, { table.unpack(answer.supportedVersions) })
    end
  end)

  it("that refuses has code and msg", function()
    local answer = assert(json.decode(cni.error_text("0.4.0", { code = 7, msg = "no", details = "why" })))
    assert.equal("0.4.0 7 no why", ("%s %d %s %s"):format(answer.cniVersion, answer.code, answer.msg, answer.details))
  end)
end)

describe("what GC keeps", function()
  it("is read", function()
    local function object(text)
      return config.decode('{"cniVersion":"1.1.0","name":"n"' .. text .. "}")
    end
    assert.same({ ["a eth0"] = true }, config.attachments(object
      ',"cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}]'))
    assert.same({}, config.attachments(object ',"cni.dev/valid-attachments":[]'))
    for text, code in pairs {
      [""] = 7, [',"cni.dev/valid-attachments":7'] = 6, [',"cni.dev/valid-attachments":[7]'] = 6,
      [',"cni.dev/valid-attachments":[{"ifname":"eth0"}]'] = 7,
    } do
      assert.equal(code, failure(function() config.attachments(object(text)) end).code)
    end
  end)
end)

describe("the files of hooks.d", function()
  local hooks = require "hooks"
  local lfs = require "lfs"
  local function dir()
    local name = os.tmpname()
    os.remove(name)
    return name
  end
  local function write(path, text)
    local file <close> = assert(io.open(path, "w"))
    file:write(text)
  end
  local function slurp(path)
    local file <close> = assert(io.open(path))
    return file:read "a"
  end

  it("are of schema 1.0.0, one an event", function()
    for _, event in ipairs(hooks.EVENTS) do
      local value = assert(json.decode(hooks.text(event, { program = "/usr/bin/bulkhead", state = "/s" })))
      assert.equal("1.0.0", value.version)
      assert.equal("/usr/bin/bulkhead", value.hook.path)
      assert.same({ "bulkhead", "hook", event }, { table.unpack(value.hook.args) })
      assert.same({ "BULKHEAD_STATE=/s" }, { table.unpack(value.hook.env) })
      assert.same({ event }, { table.unpack(value.stages) })
      local pattern = next(value.when.annotations)
      assert.equal("^bulkhead\\.", pattern)
    end
  end)

  it("are written over ours, and refused beside another's", function()
    local place = dir()
    local files = assert(hooks.install(place, { program = "/usr/bin/bulkhead" }))
    assert.equal(3, #files)
    assert(hooks.install(place, { program = "/opt/bulkhead" }))
    assert.matches("/opt/bulkhead", slurp(files[1]), 1, true)
    local before = slurp(files[1])
    for _, text in ipairs { "{}", "x", '{"hook":{"args":["other","hook"]}}' } do
      write(files[3], text)
      local ok, why = hooks.install(place, { program = "/usr/bin/bulkhead" })
      assert.is_nil(ok)
      assert.matches("is not Bulkhead's", why)
      assert.equal(before, slurp(files[1]))
      assert.equal(text, slurp(files[3]))
    end
    for _, name in ipairs(files) do os.remove(name) end
    assert(lfs.rmdir(place))
    assert.is_nil((hooks.install(place .. "/a/b", { program = "/x" })))
  end)
end)

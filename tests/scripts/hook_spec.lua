--- hook_spec.lua - state JSON of OCI runtimes, right and hostile.
local hook = require "hook"

local function refused(text, pattern)
  local state, why = hook.parse(text)
  assert.is_nil(state)
  assert.is_nil(why:find "%c")
  assert.matches(pattern, why)
end

describe("an OCI state", function()
  it("is read as runc and crun write it", function()
    local state = assert(hook.parse [[{"ociVersion":"1.0.2","id":"web","status":"creating","pid":42,
      "bundle":"/b","annotations":{"bulkhead.type":"hyperv"}}]])
    assert.same({ id = "web", pid = 42, status = "creating", bundle = "/b",
      annotations = { ["bulkhead.type"] = "hyperv" } }, state)
    assert.is_nil(assert(hook.parse [[{"id":"web","pid":0}]]).pid)
    assert.same({}, assert(hook.parse [[{"id":"web","annotations":null}]]).annotations)
    assert.equal(("a1"):rep(32), assert(hook.parse(('{"id":"%s"}'):format(("a1"):rep(32)))).id)
  end)

  it("is refused when it is none", function()
    refused("", "missing")
    refused("{", "does not parse")
    refused("[]", "not a JSON object")
    refused("null", "not a JSON object")
    refused("{}", "has no id")
    refused('{"id":null}', "has no id")
    refused('{"id":"web"} x', "follows")
    refused('{"id":7}', "is text")
    refused('{"id":"../../etc"}', "no container id")
    refused('{"id":"a\\u0000b"}', "no container id")
    refused('{"id":"web","pid":-1}', "no process id")
    refused('{"id":"web","pid":1.5}', "no process id")
    refused('{"id":"web","pid":"1"}', "no process id")
    refused('{"id":"web","pid":1e300}', "no process id")
    refused('{"id":"web","annotations":[]}', "are an object")
    refused('{"id":"web","annotations":"x"}', "are an object")
    refused('{"id":"web","annotations":{"a":1}}', "is not text")
    refused('{"id":"web","annotations":{"a":{}}}', "is not text")
    refused('{"id":"web","status":1}', "is not text")
    refused('{"id":"web","id":"db"}', "the key 'id' is there twice")
    refused('{"id":"web","annotations":{"bulkhead.type":"hyperv","a":"","bulkhead.type":"process"}}',
      "the key 'bulkhead.type' is there twice")
    refused('{"id":"web","bundle":1}', "is no path")
    refused('{"id":"web","bundle":"' .. ("a"):rep(4097) .. '"}', "is no path")
    refused(("["):rep(400000), "nested too deeply")
    refused(('{"a":'):rep(200000), "nested too deeply")
  end)

  it("asks for a container at createRuntime", function()
    local state = assert(hook.parse [[{"id":"web","status":"created","pid":42,
      "annotations":{"bulkhead.publish":"8080:80","bulkhead.policy":"db"}}]])
    local spec = assert(hook.spec(state, "/p"))
    assert.equal("/proc/42/ns/net", spec.netns)
    assert.equal("db", spec.policy)
    assert.equal(80, spec.published[1].container)
    assert.equal("process", spec.type)
    assert.is_nil((hook.spec({ id = "web", annotations = {} }, "/p")))
    local none, why = hook.spec({ id = "web", pid = 1, annotations = { ["bulkhead.polcy"] = "db" } }, "/p")
    assert.is_nil(none)
    assert.matches("no annotation 'bulkhead.polcy'", why)
    assert.is_nil((hook.spec({ id = "web", pid = 1, status = "running", annotations = {} }, "/p")))
  end)
end)

describe("an event", function()
  it("is one of the known", function()
    assert.is_true(hook.is_silent "startContainer")
    assert.is_false(hook.is_silent "poststop")
    assert.is_false(hook.is_silent "poststart")
    local silent, why = hook.is_silent "prestart"
    assert.is_nil(silent)
    assert.matches("createRuntime, createContainer", why)
  end)

  it("poststop of an unknown container is success", function()
    local host = require("tests.support.fake_host").new {}
    assert.is_true(hook.remove(host, { id = "web" }))
    assert.same({}, host.calls)
  end)

  it("createRuntime of a known one is refused", function()
    local host = require("tests.support.fake_host").new { containers = { { id = "web" } } }
    local ok, why = hook.create(host, { id = "web" })
    assert.is_nil(ok)
    assert.matches("already attached", why)
  end)

  it("of a container that CNI attached changes nothing but what was told", function()
    local cni = { id = "web", owner = "cni", type = "process", phase = "started", policies = "/p",
      policy = "process", published = { { host = 80, container = 80, protocol = "tcp" } } }
    local host = require("tests.support.fake_host").new { containers = { cni } }
    assert.is_true(hook.create(host, { id = "web", type = "process", published = {} }))
    local ok, why = hook.create(host, { id = "web", type = "hyperv", type_given = true, published = {} })
    assert.is_nil(ok)
    assert.matches("is of type process, not hyperv", why)
    ok, why = hook.create(host, { id = "web", type = "process",
      published = { { host = 81, container = 80, protocol = "tcp" } } })
    assert.is_nil(ok)
    assert.matches("port 81/tcp is not published", why)
    assert.is_true(hook.remove(host, { id = "web" }))
    assert.same({ "begin", "set_phase web", "commit" }, table.move(host.calls, #host.calls - 2, #host.calls, 1, {}))
  end)
end)

--- validate_spec.lua - names, ports and options from outside.
local validate = require "validate"

describe("ids and names", function()
  it("take what runtimes use", function()
    for _, id in ipairs { "web", "a", ("0123456789abcdef"):rep(4), "a_b.c-d", ("x"):rep(255) } do
      assert.equal(id, validate.id(id))
    end
  end)

  it("refuse the rest in one sentence", function()
    for _, id in ipairs { "", "-a", ".a", "_a", "a/b", "a b", "a\0b", "a\n", "ä", ("x"):rep(256) } do
      local value, why = validate.id(id)
      assert.is_nil(value)
      assert.is_nil(why:find "%c")
    end
    assert.is_nil((validate.id(12)))
    assert.is_nil((validate.network_name(("x"):rep(64))))
    assert.equal(("x"):rep(63), validate.network_name(("x"):rep(63)))
  end)

  it("name a policy without leaving its folder", function()
    assert.equal("web-1_A", validate.policy_name "web-1_A")
    for _, name in ipairs { "", "..", "a/b", "a.b", ("x"):rep(33) } do
      assert.is_nil((validate.policy_name(name)))
    end
  end)
end)

describe("types and drivers", function()
  it("are words of a list", function()
    assert.equal("hyperv", validate.type "hyperv")
    assert.equal("overlay", validate.driver "overlay")
    local value, why = validate.type "vm"
    assert.is_nil(value)
    assert.equal("'vm' is no container type: it is one of process or hyperv", why)
  end)
end)

describe("a published port", function()
  local function entries(text)
    local list = assert(validate.publish(text))
    local parts = {}
    for i, entry in ipairs(list) do
      parts[i] = ("%s:%d:%d/%s"):format(entry.address or "*", entry.host, entry.container, entry.protocol)
    end
    return table.concat(parts, " ")
  end

  it("has the forms of the grammar", function()
    assert.equal("*:8080:80/tcp", entries "8080:80")
    assert.equal("*:53:53/udp", entries "53:53/udp")
    assert.equal("*:53:53/sctp", entries "53:53/sctp")
    assert.equal("127.0.0.1:8080:80/tcp", entries "127.0.0.1:8080:80")
    assert.equal("::1:8080:80/tcp", entries "[::1]:8080:80/tcp")
    assert.equal("*:8000:80/tcp *:8001:81/tcp", entries "8000-8001:80-81")
    assert.equal("*:1:65535/tcp", entries "1:65535")
  end)

  it("refuses everything else", function()
    for _, text in ipairs {
      "", "80", "80:", ":80", ":80:80", "0:80", "80:0", "65536:80", "80:65536", "80:80/icmp", "80:80/",
      "80:80/tcp/udp", "8001-8000:80-81", "8000-8001:80", "8000:80-81", "a:80", "80:b", "-1:80",
      "1.2.3:80:80", "1.2.3.4.5:80:80", "::1:80:80", "[::1]80:80", "[1.2.3.4]:80:80", "[]:80:80",
      "1-2-3:1-3", "80:80 ", " 80:80", "80:80\n", "1e3:80", "0x50:80", "99999999999999999999:80",
    } do
      local value, why = validate.publish(text)
      assert.is_nil(value, text)
      assert.is_string(why)
      assert.is_nil(why:find "%c")
    end
  end)

  it("is held against the others", function()
    assert.equal(2, #assert(validate.published { "80:80", "80:80/udp" }))
    assert.equal(2, #assert(validate.published { "127.0.0.1:80:80", "127.0.0.2:80:80" }))
    for _, list in ipairs {
      { "80:80", "80:81" }, { "80-90:80-90", "85:1" }, { "127.0.0.1:80:80", "80:80" },
      { "80:80", "127.0.0.1:80:80" }, { "[::1]:80:80", "[0::1]:80:81" },
    } do
      local value, why = validate.published(list)
      assert.is_nil(value)
      assert.matches("published twice", why)
    end
  end)

  it("is bounded in number", function()
    assert.is_nil((validate.published { "1-60000:1-60000" }))
  end)
end)

describe("addresses and subnets", function()
  it("are read by the filter", function()
    assert.equal("172.16.0.0/16", validate.subnet "172.16.0.0/16")
    assert.equal("172.16.0.2/24", validate.address("172.16.0.2/24", true))
    for _, text in ipairs { "", "172.16.0.0", "172.16.0.0/33", "172.16.0.1/16", "a/8", "fd00::/129",
      "10.0.0.0/024", "10.0.0.0/08", "fd00::/0064", "010.0.0.0/8", "0.0.0.0/00", "10.0.0.0/ 8", "10.0.0.0/+8" } do
      assert.is_nil((validate.subnet(text)))
    end
    assert.equal("0.0.0.0/0", validate.subnet "0.0.0.0/0")
    local _, why = validate.subnet "10.0.0.0/024"
    assert.equal("'10.0.0.0/024' is no subnet: '10.0.0.0/024': the prefix length is written without leading zeros, /24",
      why)
    assert.is_nil((validate.address "172.16.0.2/24"))
    assert.is_nil((validate.address("172.16.0.2/024", true)))
    assert.is_nil((validate.address("172.16.0.256", true)))
  end)
end)

describe("annotations", function()
  it("say what a container wishes", function()
    local wishes = assert(validate.wishes {
      ["bulkhead.type"] = "hyperv", ["bulkhead.publish"] = "80:80,81:81/udp",
      ["bulkhead.address"] = "172.16.0.9",
    })
    assert.equal("hyperv", wishes.type)
    assert.equal(2, #wishes.published)
    assert.same({ "172.16.0.9" }, wishes.addresses)
    assert.same({ type = "process", published = {} }, validate.wishes {})
  end)

  it("that would be ours and are none are refused", function()
    for _, key in ipairs { "bulkhead.polcy", "bulkhead.", "Bulkhead.type", "BULKHEAD.POLICY", "bulkhead.type " } do
      local wishes, why = validate.wishes { [key] = "process", ["bulkhead.network"] = "nat" }
      assert.is_nil(wishes)
      assert.equal(("there is no annotation '%s': there are bulkhead.address, bulkhead.network, bulkhead.policy, "
        .. "bulkhead.publish and bulkhead.type"):format(key), why)
    end
    assert(validate.wishes { ["bulkheads.type"] = "x", ["org.bulkhead.type"] = "x", bulkhead = "x" })
  end)

  it("name the one that is wrong", function()
    local wishes, why = validate.wishes { ["bulkhead.publish"] = "80:80,,81:81" }
    assert.is_nil(wishes)
    assert.matches("^annotation bulkhead.publish: '' is no published port", why)
    wishes, why = validate.wishes { ["bulkhead.address"] = ("172.16.0.9,"):rep(8) .. "172.16.0.9" }
    assert.is_nil(wishes)
    assert.equal("annotation bulkhead.address: 9 addresses are too many: an endpoint has at most 8", why)
    wishes = assert(validate.wishes { ["bulkhead.address"] = ("172.16.0.9,"):rep(7) .. "172.16.0.9" })
    assert.equal(8, #wishes.addresses)
  end)
end)

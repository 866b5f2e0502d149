--- stranger_spec.lua - who besides root may change what a path leads to.
local bulkhead = require "bulkhead"
local folders = require "tests.support.folders"
local lfs = require "lfs"

describe("bulkhead.stranger", function()
  local home

  before_each(function()
    home = folders.make()
  end)

  after_each(folders.clear)

  --- Runs shell commands in the directory; what is said of paths in it must be as told.
  local function hold(commands, cases)
    if lfs.attributes("/proc/self").uid ~= 0 then
      return pending "only root can give files away"
    end
    assert(os.execute(("cd '%s' && umask 022 && %s"):format(home, commands)))
    for path, expected in pairs(cases) do
      local whose = assert(bulkhead.stranger(home .. "/" .. path))
      assert.equal(expected == "" and "" or home .. "/" .. expected, whose, path)
    end
  end

  it("trusts what is root's, also below a sticky directory of all", function()
    hold("mkdir -p a/b && touch a/b/c && mkdir -m 1777 s && mkdir s/d && touch s/d/e && ln -s ../a/b s/l",
      { ["a/b/c"] = "", ["a/../a/./b/c"] = "", ["s/d/e"] = "", ["s/l/c"] = "", ["s"] = "s" })
  end)

  it("names what is another's, or open to others", function()
    hold("mkdir -p a/b o/b w/b g/b r/b && touch a/b/c o/b/c w/b/c g/b/c r/b/c && chown 65534 o a/b/c && chmod o+w w"
      .. " && chgrp 65534 g && chmod g+w g r",
      { ["a/b/c"] = "a/b/c", ["o/b/c"] = "o", ["w/b/c"] = "w", ["g/b/c"] = "g", ["r/b/c"] = "" })
  end)

  it("follows links, and what they lead through", function()
    hold("mkdir -p good/d bad && touch good/d/f && ln -s \"$PWD/good/d\" bad/l && ln -s bad/l first && ln -s good/d other"
      .. " && ln -s good/d own && chown -h 65534 other && chown 65534 bad",
      { ["first/f"] = "bad", ["other/f"] = "other", ["own/f"] = "", ["bad/l/f"] = "bad" })
  end)

  it("says what is not there, and what has no end", function()
    local whose, message, code = bulkhead.stranger(home .. "/nothing/f")
    assert.same({ nil, "ENOENT" }, { whose, code })
    assert.matches("nothing/f", message)
    assert(lfs.link("loop", home .. "/loop", true))
    assert.equal("ELOOP", (select(3, bulkhead.stranger(home .. "/loop"))))
    assert.equal("ENAMETOOLONG", (select(3, bulkhead.stranger(("/x"):rep(5000)))))
    assert.has_error(function() bulkhead.stranger "relative" end)
    assert.has_error(function() bulkhead.stranger "/a\0b" end)
    assert.equal("", bulkhead.stranger "/")
  end)
end)

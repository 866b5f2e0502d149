--- luacheck_spec.lua - all Lua of the project is clean to luacheck.
describe("luacheck", function()
  it("finds nothing", function()
    if not os.execute "command -v luacheck >/dev/null" then
      pending "luacheck is not installed"
      return
    end
    local pipe = assert(io.popen "luacheck --no-color -q scripts policies bindings tests 2>&1")
    local out = pipe:read "a"
    local ok = pipe:close()
    assert.is_true(ok, out)
  end)
end)

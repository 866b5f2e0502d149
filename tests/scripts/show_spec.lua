--- show_spec.lua - tables and key/value blocks as text.
local pretty = require "pretty"
local repl = require "repl"
local show = require "show"

describe("a table", function()
  local columns = { { title = "Name" }, { title = "Hits", right = true }, { title = "Note" } }

  it("is as wide as its cells, numbers to the right", function()
    assert.equal("Name  Hits  Note\nweb      3  a, b\nx     1000  -\n", show.table(columns, {
      { name = "web", hits = 3, note = { "a", "b" } }, { name = "x", hits = 1000 },
    }))
  end)

  it("gives up its widest text to fit", function()
    local text = show.table(columns, { { name = "web", hits = 3, note = ("long "):rep(20) } }, 30)
    for line in text:gmatch "[^\n]+" do
      assert.is_true(utf8.len(line) <= 30)
    end
    assert.matches("…", text)
  end)

  it("lets nobody steer the terminal", function()
    assert.is_nil(show.table({ { title = "Name" } }, { { name = "\27[2J\n" } }):find "\27")
  end)
end)

describe("fields", function()
  it("line up", function()
    assert.equal("Id      : 1\nNumber  : 2\n", show.fields { { "Id", 1 }, { "Number ", 2 } })
  end)
end)

describe("the REPL", function()
  it("takes expressions, statements and unfinished chunks", function()
    assert.is_function((repl.compile("1 + 1", {})))
    assert.is_function((repl.compile("local x = 1", {})))
    for _, text in ipairs { "for i = 1, 2 do", "f(", "x = ", "{ 1,", "1 +", "function f()", "[[ a" } do
      local chunk, _, incomplete = repl.compile(text, {})
      assert.is_nil(chunk)
      assert.is_true(incomplete, text)
    end
    for _, text in ipairs { "x y", ")", "a b c", "1 1", "end" } do
      local chunk, message, incomplete = repl.compile(text, {})
      assert.is_nil(chunk)
      assert.is_string(message)
      assert.is_false(incomplete, text)
    end
  end)

  it("prints values, records and lists of records", function()
    assert.equal("3\n", pretty.text(3))
    assert.equal("text\n", pretty.text "text")
    assert.equal('{ 1, "a", { x = true } }\n', pretty.text { 1, "a", { x = true } })
    assert.equal("id  name\n 1  a\n 2  b\n", pretty.text { { id = 1, name = "a" }, { id = 2, name = "b" } })
    assert.equal("a : 1\nb : { 1 }\n", pretty.text { a = 1, b = { 1 } })
    local loop = {}
    loop[1] = loop
    assert.equal("{ {…} }\n", pretty.text(loop))
  end)
end)

--- compartments.lua - `bulkhead compartments [ID…]`: prints like Get-NetCompartment.
local refuse = require "refuse"
local session = require "session"
local show = require "show"
local validate = require "validate"

local ORDER =
  { "CompartmentId", "CompartmentDescription", "CompartmentGuid", "CompartmentType" }

local compartments = {}

function compartments.options(parser)
  parser:argument("id", "Only these."):args "*"
end

local function record(compartment)
  return {
    CompartmentId = compartment.id, CompartmentDescription = compartment.description,
    CompartmentGuid = compartment.guid, CompartmentType = compartment.type,
  }
end

--- A block a record, as Get-NetCompartment prints them.
local function blocks_of(records)
  local blocks = {}
  for i, each in ipairs(records) do
    local fields = {}
    for f, key in ipairs(ORDER) do
      fields[f] = { key, each[key] }
    end
    blocks[i] = show.fields(fields)
  end
  return table.concat(blocks, "\n")
end

--- Compartments as the command prints them.
---@param list compartment[]
---@return string
function compartments.text(list)
  local records = {}
  for i, each in ipairs(list) do
    records[i] = record(each)
  end
  return blocks_of(records)
end

function compartments.run(args)
  local ids = {}
  for i, word in ipairs(args.id) do
    ids[i] = refuse.parsed(validate.number(word, "compartment id", 1, 0xffffffff))
  end
  session.read(function(host)
    local records = {}
    if #ids == 0 then
      for i, each in ipairs(host:compartments()) do
        records[i] = record(each)
      end
    end
    for i, id in ipairs(ids) do
      records[i] = record(refuse.check(host:compartments(id)))
    end
    session.print(records, function()
      return blocks_of(records)
    end, ORDER)
  end)
end

return compartments

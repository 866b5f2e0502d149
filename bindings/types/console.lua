---@meta
--- The terminal of a session.

---@class bulkhead.console
local console = {}

--- From now on Ctrl-C does not end the program: it is for `guard` and `wait_input`, and what comes
--- between two of them counts for the next of either.
function console.catch() end

--- Calls a function so that Ctrl-C ends it, and only it: coroutines, loops around pcall and waits
--- too. Not what is busy inside a C function.
---@param body function
---@param ... any its arguments
---@return boolean ok
---@return any ... what it returned, or the error and whether it was Ctrl-C
function console.guard(body, ...) end

--- Waits until standard input has something to read, its end included.
---@return boolean ready false: Ctrl-C was pressed
function console.wait_input() end

--- Whether a descriptor (0, 1, 2) is a terminal.
---@param descriptor integer
---@return boolean
function console.is_terminal(descriptor) end

--- Columns of the terminal that standard output is; nil if it is none.
---@return integer?
function console.width() end

return console

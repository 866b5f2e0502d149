--- run.lua - busted inside our own program, so that sanitizers see everything.
require "busted.runner" { standalone = false }

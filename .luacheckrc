std = "lua54"

exclude_files = { "bindings/types" }

-- What a policy is given; see bindings/types/policy_globals.lua.
files["policies"] = { read_globals = { "allow", "block", "contains", "glob" } }
-- Rows of tables of packets and verdicts may be wide.
files["**/*_spec.lua"] = { std = "+busted", max_line_length = false }

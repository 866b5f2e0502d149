std = "lua54"

exclude_files = { "bindings/types" }

-- What a policy is given; see bindings/types/policy_globals.lua.
files["policies"] = { read_globals = { "allow", "block", "contains", "glob" } }
files["**/*_spec.lua"] = { std = "+busted" }

#!/bin/sh
# Runs every test with the program of the build directory given. Last line: N passed, N failed, N skipped.
set -u
exec "$1"/bulkhead run tests/run.lua --helper=tests/support/helper.lua --pattern=_spec --output=tests/support/output.lua tests

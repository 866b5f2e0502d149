#!/bin/sh
# Runs every test with the program of the build directory given: the C test programs, then busted in
# our own program. Last line: N passed, N failed, N skipped, the sum; exit status 0 if none failed.
# Whoever dies without such a line counts as one failure. SPECS names other specs than all.
set -u
build=$1
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# run NAME COMMAND...: the last line of its output that counts is added; the others are shown.
run() {
	name=$1
	shift
	echo "== $name"
	{ "$@" 2>&1; echo "exit $?"; } | tee "$log" | grep --line-buffered -v '^exit 0$'
	status=$(sed -n '$s/^exit //p' "$log")
	counts=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed, \([0-9]*\) skipped$/\1 \2 \3/p' "$log" | tail -n 1)
	if [ -z "$counts" ]; then
		echo "$name: ended without a count"
		counts="0 1 0"
	elif [ "$status" != 0 ] && [ "$(echo "$counts" | cut -d' ' -f2)" = 0 ]; then
		echo "$name: exit status $status"
		counts="${counts% * *} 1 ${counts##* }"
	fi
	set -- $counts
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

for program in "$build"/tests/filter/* "$build"/tests/fuzz/*; do
	[ -f "$program" ] && [ -x "$program" ] && run "${program#"$build"/}" "$program"
done
# The evaluator without x86's vectors.
if [ "$(uname -m)" = x86_64 ]; then
	if [ -x "$build"/arm64/classifier ] && command -v qemu-aarch64 >/dev/null; then
		run arm64/classifier qemu-aarch64 "$build"/arm64/classifier 300000
	else
		run arm64/classifier echo "0 passed, 0 failed, 1 skipped"
	fi
fi
run busted "$build"/bulkhead run tests/run.lua --helper=tests/support/helper.lua --pattern=_spec \
	--output=tests/support/output.lua ${SPECS:-tests}

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]

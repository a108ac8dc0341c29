#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs fuzzers one after the other, a line each.
#
#       tests/fuzz/run.sh DIR SECONDS PROGRAM ...
#
# DIR/corpus/FOO grows from run to run; DIR/FOO.log is the whole output, and
# DIR/FOO-crash-* the input that broke it.
#
# Exit: 0 none broke; 1 some did (every one is run).

set -u
dir=$1
seconds=$2
shift 2
failed=
for program; do
	name=${program##*/fuzz_}
	seeds=tests/fuzz/corpus/$name
	mkdir -p "$dir/corpus/$name"
	[ -d "$seeds" ] || seeds=
	# shellcheck disable=SC2086
	"$program" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 \
	    -verbosity=1 -print_final_stats=1 \
	    -artifact_prefix="$dir/$name-" \
	    "$dir/corpus/$name" $seeds >"$dir/$name.log" 2>&1
	status=$?
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$dir/$name.log")
	if [ "$status" -eq 0 ]; then
		printf 'fuzz  %-20s %9s inputs\n' "$name" "$runs"
	else
		printf 'fuzz  %-20s FAILED (exit %d): %s\n' "$name" "$status" \
		    "$dir/$name.log"
		grep -E 'ERROR|SUMMARY|Assertion|runtime error|Test unit' \
		    "$dir/$name.log" | sed 's/^/    /'
		failed="$failed $name"
	fi
done
[ -z "$failed" ] && exit 0
echo "fuzz: failed:$failed" >&2
exit 1

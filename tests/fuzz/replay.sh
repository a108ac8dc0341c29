#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs each fuzzer over its corpus, a line each: no fuzzing, some seconds.
#
#       tests/fuzz/replay.sh REPLAY-PROGRAM ...
#
# Exit: 0 none broke; 1 some did (every one is run).

set -u
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
failed=
for program; do
	name=${program##*/replay_}
	if "$program" "tests/fuzz/corpus/$name" >"$out" 2>&1; then
		printf 'fuzz  %-20s %s\n' "$name" "$(tail -n 1 "$out")"
	else
		printf 'fuzz  %-20s FAILED\n' "$name"
		sed 's/^/    /' "$out"
		failed="$failed $name"
	fi
done
[ -z "$failed" ] && exit 0
echo "fuzz: failed:$failed" >&2
exit 1

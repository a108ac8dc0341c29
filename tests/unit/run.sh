#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs test programs, one line each; the whole output of those that fail.
#
#       tests/unit/run.sh PROGRAM ...
#
# UNIT_UNDER, when set, is a command with arguments that each runs under.
#
# Exit: 0 all passed; 1 some failed (every one is run).

set -u
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
failed=
for program; do
	name=${program##*/}
	# shellcheck disable=SC2086
	${UNIT_UNDER:-} "$program" >"$out" 2>&1
	status=$?
	n=$(grep -c '^\[       OK \]' "$out")
	if [ "$status" -eq 0 ]; then
		printf 'unit  %-20s %3d passed\n' "$name" "$n"
	else
		printf 'unit  %-20s FAILED (exit %d)\n' "$name" "$status"
		sed 's/^/    /' "$out"
		failed="$failed $name"
	fi
done
[ -z "$failed" ] && exit 0
echo "unit: failed:$failed" >&2
exit 1

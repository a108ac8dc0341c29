#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Is the table of docs/METRICS.md, between its two marks, what the program
# prints?  Exits with 1 and the differences when not.
# Usage: check-metrics-docs.sh [--write] [directory of the programs]

set -eu

cd "$(dirname "$0")/.."
page=docs/METRICS.md
write=
if [ "${1-}" = --write ]; then
	write=1
	shift
fi
program=${1:-build/bin}/sse-metrics.fcgi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM

"$program" --catalogue >"$dir/code"
for mark in '<!-- catalogue -->' '<!-- end -->'; do
	if [ "$(grep -cxF "$mark" "$page")" != 1 ]; then
		echo "check-metrics-docs: $page must have the line $mark once" >&2
		exit 1
	fi
done
# An empty table would agree with an empty page.
if ! [ -s "$dir/code" ]; then
	echo "check-metrics-docs: $program --catalogue printed nothing" >&2
	exit 1
fi
if [ -n "$write" ]; then
	sed -e '/^<!-- catalogue -->$/,/^<!-- end -->$/{/^<!--/!d;}' \
	    -e "/^<!-- catalogue -->\$/r $dir/code" "$page" >"$dir/page"
	cat "$dir/page" >"$page"
fi
sed -n '/^<!-- catalogue -->$/,/^<!-- end -->$/{/^<!--/!p;}' "$page" \
    >"$dir/docs"
if ! diff -u "$dir/docs" "$dir/code" >"$dir/diff"; then
	echo "check-metrics-docs: $page (-) differs from the catalogue (+);" \
	    "tests/check-metrics-docs.sh --write puts it right:" >&2
	grep '^[-+]|' "$dir/diff" >&2
	exit 1
fi
echo "check-metrics-docs: $(grep -c '^| `' "$dir/code") metrics agree"

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Does walcast.conf(5) have every key of the table in lib/conf.c, with its
# default, and no other, and is debian/walcast.conf what `debian/rules conf`
# makes of the table?  Exits with 1 and the differences when not.

set -eu

cd "$(dirname "$0")/.."
page=docs/man/walcast.conf.5
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM

cat >"$dir/rows.c" <<'END'
#include <stdio.h>

#include "conf.h"

int
main(void)
{
	const struct conf_row *row;

	for (row = conf_rows; row->key != NULL; row++)
		printf("%s =%s%s\n", row->key,
		    row->initial[0] == '\0' ? "" : " ", row->initial);
	return 0;
}
END

sources="lib/conf.c lib/buf.c lib/fmt.c lib/name.c lib/span.c lib/status.c
    lib/traceparent.c lib/utf8.c"
for program in "$dir/rows" debian/conf; do
	# shellcheck disable=SC2086
	${CC:-cc} -std=c11 -D_GNU_SOURCE -Ilib -o "$dir/${program##*/}" \
	    "$program.c" $sources
done
"$dir/rows" | sort >"$dir/code"
sed -n 's/^\.It Ic \([a-z_]*\) No =/\1 =/p' "$page" | sort >"$dir/docs"

# An empty table would agree with an empty page.
if ! [ -s "$dir/code" ]; then
	echo "check-conf-docs: the table of lib/conf.c came out empty" >&2
	exit 1
fi
if ! diff -u "$dir/docs" "$dir/code" >"$dir/diff"; then
	echo "check-conf-docs: $page (-) differs from lib/conf.c (+):" >&2
	grep '^[-+][a-z]' "$dir/diff" >&2
	exit 1
fi
if ! "$dir/conf" | diff -u debian/walcast.conf - >"$dir/diff"; then
	echo "check-conf-docs: debian/walcast.conf (-) differs from lib/conf.c (+); run debian/rules conf:" >&2
	grep '^[-+][^-+]' "$dir/diff" >&2
	exit 1
fi
echo "check-conf-docs: $(wc -l <"$dir/code") keys agree"

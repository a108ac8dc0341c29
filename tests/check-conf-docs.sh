#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Does walcast.conf(5) have every key of the table in lib/conf.c, with its
# default and with (restart) where HUP does not change it, and no other; does
# the manual of each program list the keys that it reads; and is
# debian/walcast.conf what `debian/rules conf` makes of the table?  Exits with 1
# and the differences when not.

set -eu

cd "$(dirname "$0")/.."
page=docs/man/walcast.conf.5
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM

cat >"$dir/rows.c" <<'END'
#include <stdio.h>
#include <string.h>

#include "conf.h"

/* All rows, or the keys that one of the programs reads. */
static unsigned
user_of(const char *name)
{
	return strcmp(name, "pubd") == 0 ? CONF_PUBD
	    : strcmp(name, "worker") == 0 ? CONF_WORKER : CONF_METRICS;
}

int
main(int argc, char **argv)
{
	const struct conf_row *row;

	for (row = conf_rows; argc > 1 && row->key != NULL; row++)
		if ((row->users & user_of(argv[1])) != 0)
			printf("%s\n", row->key);
	for (row = conf_rows; argc == 1 && row->key != NULL; row++)
		printf("%s =%s%s%s\n", row->key,
		    row->initial[0] == '\0' ? "" : " ", row->initial,
		    row->reload ? "" : " (restart)");
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
awk '/^\.(It|El)/ && row { print row mark; row = mark = "" }
    sub(/^\.It Ic /, "") { sub(/ No =/, " ="); row = $0 }
    /^\.Pq restart$/ { mark = " (restart)" }' "$page" | sort >"$dir/docs"

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
# The first list of keys: from the line that begins it to the full stop.
keys() { # page, how the list begins
	awk -v begin="$2" 'index($0, begin) { on = 1 }
	    on && /^\.(Ic|Cm) [a-z_]+( [,;.])?$/ { print $2 }
	    on && /^\.(Ic|Cm) .* [.;]$/ { exit }' "$1" | sort
}
readers() { # enum conf_user's member
	"$dir/rows" "$1" | sort
}
while read -r program user begin; do
	keys "docs/man/$program.8" "$begin" >"$dir/docs"
	readers "$user" >"$dir/keys"
	if ! diff -u "$dir/docs" "$dir/keys" >"$dir/diff"; then
		echo "check-conf-docs: the keys of $program(8) (-) are not those of lib/conf.c (+):" >&2
		grep '^[-+][a-z]' "$dir/diff" >&2
		exit 1
	fi
done <<END
pubd pubd The keys that concern
sse.fcgi worker These keys of
sse-metrics.fcgi metrics These keys of
END
if ! "$dir/conf" | diff -u debian/walcast.conf - >"$dir/diff"; then
	echo "check-conf-docs: debian/walcast.conf (-) differs from lib/conf.c (+); run debian/rules conf:" >&2
	grep '^[-+][^-+]' "$dir/diff" >&2
	exit 1
fi
echo "check-conf-docs: $(wc -l <"$dir/code") keys agree"

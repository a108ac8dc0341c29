#!/bin/sh
# SPDX-License-Identifier: MIT
# clang-tidy, cppcheck, banners and mandoc over the tree; quiet when all is well.  Fails
# when one of them is not there, or does not get to its end.
# Usage: lint.sh BUILD_DIR
set -u
gen=$1/gen
dirs=$(find lib fcgi pubd -name '*.h' -printf '-I%h\n' | sort -u | tr '\n' ' ')
flags="-std=c11 -D_GNU_SOURCE -DWALCAST_VERSION=\"lint\" $dirs -I$gen"
bad=0
jobs=$(nproc)

"${0%/*}"/../deps.sh --missing lint || exit 1

echo "lint: clang-tidy"
# shellcheck disable=SC2086
find lib fcgi pubd -name '*.c' -print0 |
	xargs -0 -n 4 -P "$jobs" sh -c \
	    'flags=$1; shift
	     exec clang-tidy --quiet --warnings-as-errors="*" "$@" -- $flags' \
	    sh "$flags" >"$1/clang-tidy.out" 2>&1 || {
	grep -vE '^[0-9]+ warnings? generated|^$|^Suppressed|Use -header-filter' \
	    "$1/clang-tidy.out"
	echo "lint: clang-tidy has failed"
	bad=1
}

echo "lint: cppcheck"
cppcheck --quiet -j "$jobs" --std=c11 --enable=warning,performance,portability \
	--inline-suppr --suppress=missingIncludeSystem --error-exitcode=1 \
	--suppress=unknownMacro --suppress=uninitvar:*/store_writer.c \
	--suppress=uninitvar:*/cli_audit.c -D_GNU_SOURCE -DWALCAST_VERSION='"lint"' \
	$dirs -I"$gen" lib fcgi pubd || bad=1

# clang-format breaks what is wider than 80 columns: the name of a part then
# stands above a line of dashes, or of nothing.
echo "lint: banners"
find lib fcgi pubd tests debian -name '*.[ch]' -exec awk '
	FNR > 1 && banner && /^[ *-]*\*\/$/ {
		print FILENAME ":" FNR - 1 ": a banner in two lines"
		bad = 1
	}
	{ banner = /^\/\* ----/ && !/\*\/$/ }
	END { exit bad }' {} + || bad=1

echo "lint: mandoc"
for page in docs/man/*.[1-9]; do
	mandoc -Tlint -Wwarning "$page" || bad=1
done

[ $bad = 0 ] && echo "lint: nothing to report"
exit $bad

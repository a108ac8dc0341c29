#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs system tests with every program under a tool that watches it, and fails
# when the tool has anything to say, whatever the tests themselves say.
#
#       tests/dynamic/system.sh valgrind BIN [PYTEST ARGUMENT ...]
#       tests/dynamic/system.sh tsan BIN [PYTEST ARGUMENT ...]
#
# BIN holds the programs; for tsan, built with SAN=thread.  They are copied to
# where the web servers' user can reach them, each behind a script of its name:
# so the tool sees the programs that a web server starts as well, and its
# reports have a directory of their own and cannot get lost in /dev/null.
#
# Exit: 0 clean; 1 a test failed or something was reported; 2 usage.

set -u
usage() {
	echo "usage: system.sh valgrind|tsan BIN [pytest argument ...]" >&2
	exit 2
}
[ $# -ge 2 ] || usage
tool=$1
bin=$2
shift 2
here=$(dirname "$0")

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$dir/real" "$dir/log" "$dir/tmp" || exit 1
cp "$bin"/* "$dir/real/" || exit 1
cp "$here/valgrind.supp" "$dir/" || exit 1
chmod 755 "$dir" "$dir/real" "$dir/real"/* || exit 1
chmod 644 "$dir/valgrind.supp" || exit 1
chmod 1777 "$dir/log" "$dir/tmp" || exit 1

case $tool in
valgrind)
	# It has files of its own, as the user of the program.
	under="env TMPDIR=$dir/tmp valgrind -q --leak-check=full
	    --errors-for-leak-kinds=definite,indirect,possible
	    --show-leak-kinds=definite,indirect,possible
	    --suppressions=$dir/valgrind.supp --log-file=$dir/log/%p" ;;
tsan)
	under="env TSAN_OPTIONS=log_path=$dir/log/r" ;;
*)	usage ;;
esac
for program in "$dir/real"/*; do
	wrapper=$dir/${program##*/}
	printf '#!/bin/sh\nexec %s %s "$@"\n' \
	    "$(echo "$under" | tr -s '\n\t ' ' ')" "$program" >"$wrapper"
	chmod 755 "$wrapper"
done

WALCAST_BIN=$dir "${PYTHON:-/usr/bin/python3}" -B -m pytest -q \
    -p no:cacheprovider "$@"
status=$?

# valgrind makes a file for each process, most of them empty.
found=0
for report in "$dir/log"/*; do
	[ -s "$report" ] || continue
	found=$((found + 1))
	sed 's/^/    /' "$report" >&2
done
n=$(find "$dir/log" -type f | wc -l)
if [ "$found" -gt 0 ]; then
	echo "$tool: $found processes with reports" >&2
	exit 1
fi
# No log at all under valgrind means that nothing ran under it.
if [ "$tool" = valgrind ] && [ "$n" -eq 0 ]; then
	echo "valgrind: no program ran under it" >&2
	exit 1
fi
[ "$status" -eq 0 ] || exit 1
echo "$tool: nothing reported"

#!/bin/sh
# SPDX-License-Identifier: MIT
# Where a tool or a header is missing, plain make and the lint say on one line
# which and what installs it, fail, and install nothing.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
bad=0

complain() {
	echo "check-missing: $*" >&2
	sed 's/^/    /' "$tmp/out" >&2
	bad=1
}

# A PATH with all there is but compilers, checkers and what could install.
mkdir "$tmp/bin" "$tmp/build"
ln -s /usr/bin/* /bin/* "$tmp/bin" 2>/dev/null
for gone in cc gcc c99 clang-tidy; do
	rm -f "$tmp/bin/$gone"
done
for installer in apt-get dpkg dpkg-query sudo; do
	rm -f "$tmp/bin/$installer"
	printf '#!/bin/sh\necho "%s $*" >>"%s/installed"\nexit 1\n' \
	    $installer "$tmp" >"$tmp/bin/$installer"
	chmod +x "$tmp/bin/$installer"
done

# lacks WHAT SENTENCE COMMAND ...: it fails with that, and that alone
lacks() {
	what=$1
	sentence=$2
	shift 2
	if "$@" >"$tmp/out" 2>&1; then
		complain "without $what, $* succeeds"
	fi
	grep -qF "$sentence" "$tmp/out" ||
	    complain "without $what, $* does not say: $sentence"
	[ "$(grep -vc '^make' "$tmp/out")" = 1 ] ||
	    complain "without $what, $* says more than a line"
	[ ! -e "$tmp/installed" ] ||
	    complain "without $what, $* runs: $(cat "$tmp/installed")"
}

unset MAKEFLAGS MFLAGS MAKELEVEL
lacks "a compiler" 'missing: gcc (cc); `make deps-build` installs it' \
    env PATH="$tmp/bin" make B="$tmp/build" CC=cc
lacks headers 'libfcgi-dev (fcgiapp.h), libsqlite3-dev (sqlite3.h), ' \
    make B="$tmp/build" CC='cc -nostdinc'
lacks clang-tidy \
    'missing: clang-tidy; `make deps-lint` installs it' \
    env PATH="$tmp/bin" tests/lint/lint.sh "$tmp/build"
[ -z "$(find "$tmp/build" -type f)" ] || {
	find "$tmp/build" -type f >"$tmp/out"
	complain "something was built all the same"
}

tests/deps.sh --missing build >"$tmp/out" 2>&1 && [ ! -s "$tmp/out" ] ||
    complain "what builds here is said to be missing"
[ $bad = 0 ] &&
    echo "check-missing: what is missing is said, and nothing is installed"
exit $bad

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Installs what a target of the Makefile needs from Debian's own packages.
#
#       tests/deps.sh build check
#
#       tests/deps.sh --missing build
#
# Groups: build demo check lint fuzz bench valgrind (all: every one).
# --missing installs nothing: it says on one line which commands and headers of
# `build` or `lint` are not there, wherever they may come from, and what would
# install them.
#
# Only what is missing is installed, and it says what.  Nothing is started: a
# web server that comes in by this does not take port 80.  One that ran before
# is left alone.
#
# Exit: 0 all there; 1 something is missing, or cannot be installed (the command
# to run is printed); 2 usage.

set -eu

packages() {
	case $1 in
	build)	echo gcc libc6-dev make pkg-config libfcgi-dev libsqlite3-dev \
		    libjson-c-dev libcurl4-openssl-dev uthash-dev \
		    libjwt-dev libssl-dev ;;
	demo)	echo lighttpd ;;
	check)	echo libcmocka-dev lighttpd lighttpd-mod-deflate \
		    lighttpd-mod-openssl apache2 \
		    libapache2-mod-fcgid php-cli php-sqlite3 libdbi-perl \
		    libdbd-sqlite3-perl python3 python3-pytest \
		    python3-pytest-xdist curl chromium firefox-esr haproxy \
		    procps ca-certificates media-types sqlite3 \
		    prometheus python3-yaml jq nodejs npm iproute2 \
		    php-fpm libapache2-mod-auth-openidc openssl \
		    libcrypt-jwt-perl python3-jwt ;;
	lint)	echo clang-format clang-tidy cppcheck mandoc python3 ;;
	fuzz)	echo clang libclang-rt-14-dev ;;
	bench)	echo nginx-light libnginx-mod-nchan lighttpd apache2 python3 ;;
	valgrind) echo valgrind ;;
	all)	for g in build demo check lint fuzz bench valgrind; do
			packages "$g"
		done ;;
	*)	echo "deps.sh: no group '$1'; there are: build demo check" \
		    "lint fuzz bench valgrind all" >&2
		return 2 ;;
	esac
}

# What can be seen of a group: PACKAGE:COMMAND, PACKAGE:HEADER.h.
things() {
	case $1 in
	build)	echo "gcc:${CC%% *} libc6-dev:stdio.h libfcgi-dev:fcgiapp.h" \
		    "libsqlite3-dev:sqlite3.h libjson-c-dev:json-c/json.h" \
		    "libcurl4-openssl-dev:curl/curl.h uthash-dev:uthash.h" \
		    "libjwt-dev:jwt.h libssl-dev:openssl/evp.h" ;;
	lint)	for tool in $(packages lint); do
			echo "$tool:$tool"
		done ;;
	*)	echo "deps.sh: --missing knows build and lint, not '$1'" >&2
		return 2 ;;
	esac
}

there() {
	case $1 in
	# shellcheck disable=SC2086
	*.h)	echo "#include <$1>" |
		    $CC ${INCLUDES:-} -E -x c - >/dev/null 2>&1 ;;
	*)	command -v "$1" >/dev/null ;;
	esac
}

say_missing() {
	CC=${CC:-cc}
	list=
	needed=$(things "$1") || exit 2
	for thing in $needed; do
		package=${thing%%:*}
		thing=${thing#*:}
		there "$thing" && continue
		list="$list, $package"
		[ "$package" = "$thing" ] || list="$list ($thing)"
		# Without a compiler nobody can tell what headers there are.
		[ "$package" != gcc ] || break
	done
	[ -n "$list" ] || exit 0
	echo "walcast: missing:${list#,}; \`make deps-$1\` installs it" >&2
	exit 1
}

installed() {
	case $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) in
	"install ok installed") return 0 ;;
	esac
	# nginx-light stands for any nginx; Node.js may come with its npm.
	case $1 in
	nginx-light) [ -x /usr/sbin/nginx ] ;;
	nodejs) command -v node >/dev/null ;;
	npm) command -v npm >/dev/null ;;
	*) return 1 ;;
	esac
}

if [ $# -eq 2 ] && [ "$1" = --missing ]; then
	say_missing "$2"
fi
[ $# -gt 0 ] || { echo "usage: deps.sh [--missing] group ..." >&2; exit 2; }

wanted=
for group; do
	list=$(packages "$group") || exit 2
	wanted="$wanted $list"
done
if ! command -v dpkg-query >/dev/null; then
	echo "deps.sh: this is not a Debian system; what is needed is called" \
	    "there:$(echo " $wanted" | tr '\n' ' ')" >&2
	exit 1
fi
missing=
for p in $(printf '%s\n' $wanted | sort -u); do
	installed "$p" || missing="$missing $p"
done

# A root made by debootstrap has a /dev/shm that only root can write to; the
# workers and Apache, as www-data, share memory there.
case " $* " in
*" check "*|*" demo "*|*" all "*)
	if [ -d /dev/shm ] && [ "$(stat -c %a /dev/shm)" = 755 ]; then
		if [ "$(id -u)" -eq 0 ]; then
			echo "deps.sh: chmod 1777 /dev/shm, as Debian has it"
			chmod 1777 /dev/shm
		else
			echo "deps.sh: /dev/shm is for root only; run as root:" \
			    "chmod 1777 /dev/shm" >&2
		fi
	fi ;;
esac

[ -n "$missing" ] || exit 0
missing=${missing# }

apt="apt-get install -y --no-install-recommends"
if [ "$(id -u)" -eq 0 ]; then
	as=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
	as="sudo"
else
	cat >&2 <<-END
	deps.sh: these packages are missing: $missing
	deps.sh: run as root:
	    apt-get update && $apt $missing
	END
	exit 1
fi

echo "deps.sh: installing for $*: $missing"

# While this file says 101 no package starts its service.
policy=/usr/sbin/policy-rc.d
kept=
restore() {
	trap - EXIT
	$as rm -f "$policy"
	[ -z "$kept" ] || $as mv "$kept" "$policy"
}
[ -d /usr/sbin ] || $as mkdir -p /usr/sbin
if [ -e "$policy" ] || [ -L "$policy" ]; then
	kept=$policy.walcast-kept
	$as mv "$policy" "$kept"
fi
trap restore EXIT
trap 'exit 1' HUP INT TERM
printf '#!/bin/sh\n# From tests/deps.sh, for one installation.\nexit 101\n' |
    $as tee "$policy" >/dev/null
$as chmod 755 "$policy"

$as env DEBIAN_FRONTEND=noninteractive apt-get update -q
# shellcheck disable=SC2086
$as env DEBIAN_FRONTEND=noninteractive $apt -q $missing
restore
echo "deps.sh: done"

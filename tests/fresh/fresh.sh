#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The promise of README.md, from nothing: a Debian root with make and git in it
# and no more, a clone of this repository's HEAD, and then what a visitor types.
#
#       fresh.sh                make demo, read its stream, end it; then what
#                               the demo's own check kills and compares
#       fresh.sh --check        and make check
#       fresh.sh --package      and the Debian package: built, installed,
#                               started, removed
#       fresh.sh --root DIR -- COMMAND ...
#                               one command in the clone of a kept root
#
# --keep leaves the root where it is and says where; --root DIR takes that one
# again, with a new clone.  RELEASE=bookworm, MIRROR=URL (default: the one that
# this host's apt uses), MINUTES=60 for all of it.
#
# Needs root and debootstrap.  Everything runs in mount and process namespaces
# of its own: when it ends, however it ends, its processes and mounts are gone.
# The network is the host's, since packages come through it.
#
# Exit: 0 all as promised; 1 not; 64 usage; 124 out of time.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
release=${RELEASE:-bookworm}
work=/srv/walcast               # in the root: not in /root, which is closed

say() {
	printf '== %s\n' "$*"
}

die() {
	printf 'fresh.sh: %s\n' "$*" >&2
	exit 1
}

usage() {
	echo "usage: fresh.sh [--check] [--package] [--keep]" \
	    "[--root DIR [-- COMMAND ...]]" >&2
	exit 64
}

# ---- in the root -------------------------------------------------------------

# inside [-d DIR] COMMAND ...: as root there, with nothing of our environment
inside() {
	dir=$work
	if [ "$1" = -d ]; then
		dir=$2
		shift 2
	fi
	env -i HOME=/root LANG=C.UTF-8 TERM=dumb \
	    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	    ${http_proxy:+"http_proxy=$http_proxy"} \
	    ${https_proxy:+"https_proxy=$https_proxy"} \
	    ${no_proxy:+"no_proxy=$no_proxy"} \
	    chroot "$root" sh -c 'cd "$1" && shift && exec "$@"' sh \
	    "$dir" "$@" </dev/null
}

# The mirror of this host's apt for the release.
mirror() {
	if [ -n "${MIRROR:-}" ]; then
		echo "$MIRROR"
		return
	fi
	uri=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' \
	    "Created-By: Packages" 2>/dev/null |
	    awk -v r="$release" '$1 == r { print $2; exit }') || uri=
	echo "${uri:-http://deb.debian.org/debian}"
}

# The host's way to packages: sources, proxy, keys.  No passwords.
borrow_apt() {
	for f in sources.list sources.list.d apt.conf apt.conf.d \
	    trusted.gpg trusted.gpg.d keyrings; do
		[ -e "/etc/apt/$f" ] || continue
		rm -rf "$root/etc/apt/$f"
		cp -a "/etc/apt/$f" "$root/etc/apt/$f"
	done
	cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
	# Nothing starts a service in here.
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
}

make_root() {
	say "debootstrap of $release into $root"
	proxy=
	eval "$(apt-config shell proxy Acquire::http::Proxy 2>/dev/null || :)"
	[ -z "$proxy" ] || [ -n "${http_proxy:-}" ] || export http_proxy="$proxy"
	debootstrap --variant=minbase --include=make,git,ca-certificates \
	    "$release" "$root" "$(mirror)" >"$root.log" 2>&1 || {
		tail -n 20 "$root.log" >&2
		die "debootstrap failed"
	}
	rm -f "$root.log"
	borrow_apt
}

mount_all() {
	for d in proc sys dev/pts dev/shm; do
		mkdir -p "$root/$d"
	done
	mount -t proc proc "$root/proc"
	mount -t sysfs -o ro sysfs "$root/sys" 2>/dev/null || :
	mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts \
	    "$root/dev/pts"
	mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
}

# By way of a bundle, so that it is HEAD and nothing that lies about here, and
# so that it does not matter who owns the repository.
clone() {
	say "a clone of HEAD in $work"
	git -c safe.directory="$repo" -C "$repo" bundle create -q \
	    "$root/tmp/walcast.bundle" HEAD
	rm -rf "$root${work:?}"
	inside -d / git -c advice.detachedHead=false clone -q \
	    /tmp/walcast.bundle "$work"
	rm "$root/tmp/walcast.bundle"
	inside git log -1 --format='%h %s'
}

# ---- what is promised --------------------------------------------------------

demo_pid=

demo_log() {
	sed 's/^/   | /' "$root/tmp/demo.log"
}

# wait_for SECONDS WHAT COMMAND ...
wait_for() {
	left=$(($1 * 5))
	what=$2
	shift 2
	until "$@"; do
		left=$((left - 1))
		[ $left -gt 0 ] || {
			demo_log >&2
			die "waited in vain for $what"
		}
		[ -z "$demo_pid" ] || kill -0 "$demo_pid" 2>/dev/null || {
			demo_log >&2
			die "make demo ended before $what"
		}
		sleep 0.2
	done
}

page_is_up() {
	grep -q 'The page:' "$root/tmp/demo.log"
}

# An EventSource of six lines: a fresh root has bash, and no curl.
stream() {
	cat >"$root/tmp/stream.sh" <<-'END'
	exec 3<>"/dev/tcp/$1/$2" || exit 1
	printf 'GET /sse.fcgi?channel=*&last_event_id=0 HTTP/1.0\r\n' >&3
	printf 'Host: %s:%s\r\nAccept: text/event-stream\r\n\r\n' "$1" "$2" >&3
	exec cat <&3
	END
	inside bash /tmp/stream.sh "$1" "$2" >"$root/tmp/stream" &
	stream_pid=$!
}

in_stream() {
	grep -q "$1" "$root/tmp/stream"
}

demo_conf() {
	inside sh -c 'ls -d /tmp/walcast-demo.*/walcast.conf'
}

demo() {
	say "make demo"
	rm -rf "$root"/tmp/walcast-demo.*
	# What sh starts in the background has INT ignored; a terminal's has not.
	inside env --default-signal=INT,QUIT setsid make demo \
	    >"$root/tmp/demo.log" 2>&1 &
	demo_pid=$!
	wait_for 600 "the page" page_is_up
	demo_log
	url=$(sed -n 's|.*The page: *http://\([^/]*\)/.*|\1|p' \
	    "$root/tmp/demo.log")
	stream "${url%:*}" "${url##*:}"
	wait_for 20 "the stream to open" in_stream '^event: control.open'
	wait_for 20 "the clock" in_stream '"tick"'
	inside env WALCAST_CONF="$(demo_conf)" build/bin/walcast publish \
	    -c demo --text "hello from a shell" >/dev/null
	wait_for 20 "what was published" in_stream '^data: hello from a shell'
	say "it streams:"
	sed -n 's/^/   | /; 1,24p' "$root/tmp/stream" | tr -d '\r'

	# Ctrl-C, as the terminal sends it: to the whole group.
	kill -INT -"$(demo_group)"
	demo_pid=
	wait_for 20 "all of the demo to end" nothing_runs
	kill "$stream_pid" 2>/dev/null || :
	! demo_conf >/dev/null 2>&1 || die "the demo left its directory"
	say "Ctrl-C: all gone"
}

# The process that setsid made the leader.
demo_group() {
	ps_of '^make demo' | head -n 1
}

# ps_of PATTERN: ids of processes in this name space with that command line
ps_of() {
	for d in /proc/[0-9]*; do
		line=$({ tr '\0' ' ' <"$d/cmdline"; } 2>/dev/null) || continue
		case $line in
		*ps_of*) ;;
		*) printf '%s' "$line" | grep -q -e "$1" &&
		    echo "${d##*/}" ;;
		esac
	done
}

nothing_runs() {
	[ -z "$(ps_of 'walcast-demo\.\|build/bin/\|lighttpd')" ]
}

demo_check() {
	say "demo.sh --check: everything killed, nothing missing"
	inside tests/deps.sh check >"$root/tmp/deps.log" 2>&1 || {
		tail -n 20 "$root/tmp/deps.log" >&2
		die "make deps-check failed"
	}
	inside tests/demo/demo.sh --check
}

check() {
	say "make check"
	inside make check
}

# ---- the package -------------------------------------------------------------

apt() {
	inside -d / env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
	    -o Dpkg::Use-Pty=0 "$@" >"$root/tmp/apt.log" 2>&1 || {
		tail -n 20 "$root/tmp/apt.log" >&2
		die "apt-get $* failed"
	}
}

# as USER COMMAND ...
as() {
	user=$1
	shift
	inside -d / setpriv --reuid="$user" --regid=walcast --init-groups \
	    --reset-env "$@"
}

package_build() {
	say "the Debian package"
	rm -rf "$root/tmp/package"
	mkdir "$root/tmp/package"
	git -c safe.directory="$repo" -C "$repo" archive HEAD |
	    tar -x -C "$root/tmp/package" --one-top-level=walcast
	apt update
	apt install --no-install-recommends dpkg-dev lintian
	apt build-dep --no-install-recommends /tmp/package/walcast
	inside -d /tmp/package/walcast dpkg-buildpackage -us -uc -b \
	    >"$root/tmp/package.log" 2>&1 || {
		tail -n 30 "$root/tmp/package.log" >&2
		die "dpkg-buildpackage failed"
	}
	! grep -n 'warning:' "$root/tmp/package.log" || die "it has warnings"
	# It is built here for here, so nobody's address stands in it.
	inside -d /tmp/package sh -c 'lintian --allow-root \
	    --fail-on error,warning --suppress-tags \
	    bogus-mail-host,bogus-mail-host-in-debian-changelog *.changes'
	say "built, and lintian has nothing to say"
}

# As systemd would start them; there is none in here.
package_start() {
	inside -d / install -d -o walcast -g walcast -m 755 /run/walcast
	as walcast /usr/sbin/pubd 2>"$root/tmp/pubd.log" &
	as walcast-sse /usr/lib/walcast/sse.fcgi \
	    --listen /tmp/sse.sock 2>"$root/tmp/sse.log" &
	left=50
	until [ -S "$root/run/walcast/pubd.sock" ]; do
		left=$((left - 1))
		[ $left -gt 0 ] || die "pubd did not start:" \
		    "$(cat "$root/tmp/pubd.log")"
		sleep 0.1
	done
}

package() {
	package_build
	inside -d /tmp/package sh -c 'apt-get install -q -y ./walcast_*.deb' \
	    >"$root/tmp/apt.log" 2>&1 || {
		tail -n 20 "$root/tmp/apt.log" >&2
		die "the package cannot be installed"
	}
	inside -d / stat -c '%A %U:%G %n' /var/lib/walcast \
	    /var/lib/walcast/events.db /etc/walcast/walcast.conf
	inside -d / sh -c 'id www-data; id walcast; id walcast-sse'
	package_start
	as www-data walcast publish -c demo "hello from www-data" ||
	    die "www-data cannot publish"
	as walcast-sse walcast tail -c demo -n 1 ||
	    die "the worker's user cannot read"
	as walcast-sse sh -c 'echo >>/var/lib/walcast/events.db' 2>/dev/null &&
	    die "the worker's user may write to the log"
	inside -d / walcast doctor
	# shellcheck disable=SC2046
	kill $(ps_of '^/usr/sbin/pubd') $(ps_of '^/usr/lib/walcast/sse') 2>/dev/null || :
	apt purge walcast
	[ ! -e "$root/var/lib/walcast" ] || die "purge left the log"
	[ ! -e "$root/etc/walcast" ] || die "purge left the configuration"
	say "installed, started, purged"
}

# ---- main --------------------------------------------------------------------

run() {
	[ -x "$root/usr/bin/make" ] || make_root
	mount_all
	if [ "$command" = yes ]; then
		inside "$@"
		return
	fi
	clone
	[ -z "$(inside -d / sh -c 'command -v gcc curl python3')" ] ||
	    say "(a root that was used before: not fresh)"
	demo
	demo_check
	[ "$check" = no ] || check
	[ "$package" = no ] || package
	say "as promised"
}

check=no package=no keep=no command=no stage=outer
root=
while [ $# -gt 0 ]; do
	case $1 in
	--check) check=yes ;;
	--package) package=yes ;;
	--keep) keep=yes ;;
	--root)
		[ $# -gt 1 ] || usage
		root=$2
		keep=yes
		shift ;;
	--stage-two) stage=two ;;
	--)
		command=yes
		shift
		break ;;
	*) usage ;;
	esac
	shift
done
[ $command = no ] || [ $# -gt 0 ] || usage
[ $command = no ] || [ -n "$root" ] || usage

if [ $stage = two ]; then
	run "$@"
	exit
fi

[ "$(id -u)" -eq 0 ] || die "run it as root: it makes a root of its own"
for p in debootstrap unshare git; do
	command -v $p >/dev/null || die "$p is missing: apt-get install $p"
done

if [ -z "$root" ]; then
	root=$(mktemp -d /tmp/walcast-fresh.XXXXXX)
	chmod 755 "$root"
fi

# The mounts went with their name space.
finish() {
	rc=$?
	trap - EXIT
	if [ $keep = no ]; then
		rm -rf --one-file-system "$root" "$root.log"
	else
		say "kept: $root"
	fi
	exit $rc
}
trap finish EXIT
child=
trap '[ -z "$child" ] || kill "$child"; exit 1' HUP INT TERM

[ $command = no ] || set -- -- "$@"
[ $check = no ] || set -- --check "$@"
[ $package = no ] || set -- --package "$@"
timeout -k 2 "$((${MINUTES:-60} * 60))" \
    unshare --mount --propagation private --pid --fork --kill-child \
    --mount-proc sh "$here/fresh.sh" --stage-two --root "$root" "$@" &
child=$!
wait "$child"

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The whole river in a temporary directory, on loopback.
#
#       demo.sh            a page to look at, until Ctrl-C
#       demo.sh --check    without a browser: kill -9 of everything, read by
#                          id, compare; exit status 0 when nothing is missing
#
# Each program is kept running by `hold` (hold.c), which also keeps the
# listening sockets while a program is dead.  TERM, HUP or Ctrl-C ends all of
# it and removes the directory.
#
# PORT=8080 is tried first, then any.  DEMO_TICK=0: no clock.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=${WALCAST_BIN:-$root/build/bin}
hold=${WALCAST_HOLD:-$root/build/demo/hold}
PATH=$PATH:/usr/sbin:/sbin
export PATH

demo=                   # the directory
holds=                  # process ids of hold, newest first
curl_pid=

say() {
	printf '%s\n' "$*"
}

die() {
	say "demo: $*" >&2
	[ -z "$demo" ] || tail -n 5 "$demo"/log/*.log >&2 2>/dev/null || :
	exit 1
}

# ---- the end

finish() {
	rc=$?
	trap - EXIT
	trap '' INT TERM HUP
	[ -z "$curl_pid" ] || kill "$curl_pid" 2>/dev/null || :
	for pid in $holds; do           # web server first, pubd last
		kill "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	[ -z "$demo" ] || rm -rf "$demo"
	exit "$rc"
}

# ---- the parts

# keep NAME [OPTION OF hold]... -- PROGRAM...: runs it from now on
keep() {
	name=$1
	shift
	"$hold" -f "$demo/$name" -d "$delay_ms" "$@" </dev/null \
	    >>"$demo/log/$name.log" 2>&1 &
	holds="$! $holds"
}

publish() {
	tries=0
	until "$bin/walcast" publish "$@" 2>"$demo/log/publish.log"; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || die "cannot publish"
		sleep 0.1
	done
}

configure() {
	demo=$(mktemp -d "${TMPDIR:-/tmp}/walcast-demo.XXXXXX")
	mkdir "$demo/log" "$demo/htdocs" "$demo/run"
	ln -s "$bin" "$demo/bin"
	cat >"$demo/walcast.conf" <<-END
	database = $demo/data/events.db
	socket = $demo/run/pubd.sock
	heartbeat_ms = 2000
	retry_ms = 500
	drain_ms = 200
	END
	export DEMO="$demo" WALCAST_CONF="$demo/walcast.conf"
	cp "$here/index.html" "$here/demo.cgi" "$root"/client/dist/*.js \
	    "$demo/htdocs"

	# The shipped file, with our paths and no more descriptors than we may.
	# shellcheck disable=SC3045
	fds=$(ulimit -H -n 2>/dev/null || echo 1024)
	case $fds in
	*[!0-9]*) fds=20000 ;;
	esac
	[ "$fds" -lt 20000 ] || fds=20000
	{
		cat "$here/lighttpd.conf"
		sed -e "s|/run/walcast|$demo/run|" \
		    -e "s|^\(server.max-fds .*\)20000|\1$fds|" \
		    -e "s|^\(server.max-connections .*\)10000|\1$((fds / 2))|" \
		    "$root/lighttpd/walcast.conf"
	} >"$demo/lighttpd.conf"
	lighttpd -tt -f "$demo/lighttpd.conf" >"$demo/log/web.log" 2>&1 ||
	    die "lighttpd does not take its configuration"
	"$bin/walcast" init >"$demo/log/init.log" 2>&1 ||
	    die "walcast init failed"
}

start() {
	keep pubd -- "$bin/pubd"
	keep worker -n 2 -l "$demo/run/sse.sock" -- "$bin/sse.fcgi"
	keep metrics -l "$demo/run/metrics.sock" -- "$bin/sse-metrics.fcgi"
	keep web -l "127.0.0.1:$port,127.0.0.1:0" -- \
	    lighttpd -D -f "$demo/lighttpd.conf"
	publish -c demo --text "The river flows." >"$demo/log/first"
	tries=0
	until [ -s "$demo/web.addr" ] && [ -s "$demo/worker.pid" ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || die "the web server did not start"
		sleep 0.1
	done
	url=http://$(cat "$demo/web.addr")
}

commands() {
	cat <<-END
	D=$demo
	export WALCAST_CONF=\$D/walcast.conf PATH=\$D/bin:\$PATH

	# an event; lines; a row in SQL (with Debian's package sqlite3)
	walcast publish -c demo 'from a shell'
	seq 5 | walcast publish -c demo --lines
	sqlite3 \$D/data/events.db "INSERT INTO \\
	  events(channel, data) VALUES ('demo', 'by SQL')"

	# break it
	kill -9 \$(cat \$D/worker.pid)
	kill -9 \$(cat \$D/pubd.pid)
	kill -9 \$(cat \$D/web.pid)

	# look at it
	walcast status
	walcast audit
	curl -N '$url/sse.fcgi?channel=*&last=5'
	END
}

# A clock, so that something moves: each tick is stored once, whatever dies.
tick() {
	demo=$1
	n=0
	while :; do
		n=$((n + 1))
		publish -c clock -k "$$-$n" --json "{\"tick\":$n}" >/dev/null
		sleep 1
	done
}

show() {
	commands >"$demo/htdocs/commands.txt"
	[ "${DEMO_TICK:-1}" = 0 ] || keep tick -- sh "$here/demo.sh" --tick "$demo"
	say ""
	say "  The page:    $url/"
	say ""
	say "  In another terminal:"
	say ""
	commands | sed 's/^./    &/'
	say ""
	say "  What dies is started again within a second; the page shows that"
	say "  nothing is lost.  Logs: $demo/log.  Ctrl-C ends it all."
	say ""
	# The page is up when nothing here ends; a signal ends the wait.
	while :; do
		wait || :
		sleep 1
	done
}

# ---- the check

kill_all() {
	# shellcheck disable=SC2046
	kill -9 $(cat "$demo/$1.pid") 2>/dev/null || :
}

# read_to N FILE [HEADER]: through lighttpd into FILE until event N is there
read_to() {
	tries=0
	: >"$2"
	while ! grep -q "^id: $1\$" "$2"; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || die "event $1 did not come: $(tail "$2")"
		if [ -z "$curl_pid" ] || ! kill -0 "$curl_pid" 2>/dev/null; then
			curl -sS -N -H "${3:-X-None: 1}" >>"$2" \
			    "$url/sse.fcgi?channel=demo&last_event_id=0" \
			    2>>"$demo/log/curl.log" &
			curl_pid=$!
		fi
		sleep 0.05
	done
}

cut() {
	[ -n "$curl_pid" ] || return 0
	kill "$curl_pid" 2>/dev/null || :
	wait "$curl_pid" 2>/dev/null || :
	curl_pid=
}

# events FILE: "id data" of each event, control frames left out
events() {
	awk '/^id: / { id = $2 } /^event: / { named = 1 }
	     /^data: / && !named { print id, substr($0, 7) }
	     /^$/ { named = 0 }' "$1"
}

button() {
	curl -sS -f -H "X-Walcast-Demo: 1" --data-binary "${2:-}" \
	    "$url/demo.cgi/$1"
}

check() {
	head=1
	for _ in 1 2 3 4 5 6 7 8 9; do
		publish -c demo -k "a$head" "before $head" >/dev/null
		head=$((head + 1))
	done
	read_to $head "$demo/one"
	cut
	say "demo: $head events read through lighttpd"

	kill_all worker
	kill_all pubd
	# shellcheck disable=SC2016
	[ "$(button publish 'from a page; $(id) "&<')" = $((head + 1)) ] ||
	    die "the page's button gave another id than $((head + 1))"
	[ "$(button burst)" = 1000 ] || die "not all of the burst was stored"
	publish -c demo -k last "after the kill" >/dev/null
	read_to $((head + 1002)) "$demo/two" "Last-Event-ID: $head"
	cut
	say "demo: workers and pubd killed; 1002 more read on from id $head"

	head=$((head + 1002))
	kill_all web
	publish -c demo -k end "after another" >/dev/null
	read_to $((head + 1)) "$demo/three" "Last-Event-ID: $head"
	cut
	head=$((head + 1))
	say "demo: lighttpd killed; read on to id $head"

	for f in one two three; do events "$demo/$f"; done >"$demo/seen"
	awk -v n=$head '$1 != NR { print "line " NR " is id " $1; bad = 1 }
	    END { if (NR != n) { print NR " of " n; bad = 1 } exit bad }' \
	    "$demo/seen" || die "not every event once and in order"
	grep -qxF "$((10 + 1)) from a page; \$(id) \"&<" "$demo/seen" ||
	    die "a text did not come as it was sent"
	"$bin/walcast" audit >/dev/null || die "the audit finds fault"
	curl -sS -f -o "$demo/page" "$url/" || die "there is no page"
	cmp -s "$demo/page" "$here/index.html" || die "the page is another"
	curl -sS -f -o "$demo/client" -D "$demo/head" "$url/walcast.js" ||
	    die "there is no client for the page"
	cmp -s "$demo/client" "$root/client/dist/walcast.js" ||
	    die "the client is another"
	grep -qi '^content-type: text/javascript' "$demo/head" ||
	    die "a browser does not take the client for a script"
	curl -sS -f -o "$demo/metrics" "$url/sse-metrics.fcgi" || :
	grep -q '^sse_streams_open' "$demo/metrics" ||
	    die "there are no metrics"
	curl -s -o /dev/null -w '%{http_code}' -d x \
	    "$url/demo.cgi/kill/pubd" | grep -q 403 || die "a stranger may press buttons"
	curl -s -o /dev/null -w '%{http_code}' "$url/" -H "Host: evil.example" |
	    grep -q 403 || die "another name leads here"
	say "demo: $head events, each once and in order"
}

# ---- main

delay_ms=400
port=${PORT:-8080}
case ${1:-} in
--tick)
	tick "$2"
	;;
--check)
	port=0
	delay_ms=100
	trap finish EXIT
	trap 'exit 1' INT TERM HUP
	configure
	start
	check
	;;
"")
	trap finish EXIT
	trap 'exit 0' INT TERM HUP
	configure
	start
	show
	;;
*)
	say "usage: demo.sh [--check]" >&2
	exit 64
	;;
esac

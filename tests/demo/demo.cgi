#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The buttons of the demo page (CGI, run by lighttpd; POST only):
#       publish         the body becomes an event; answers with its id
#       burst           1000 events; answers with how many are stored
#       kill/workers    kill -9; answers with the process ids
#       kill/pubd, kill/web
#
# What comes from outside is the body, which goes to standard input, and the
# path, which is compared and never used.  A header of its own keeps pages of
# other sites out: a browser would ask first (CORS), and is not answered.

demo=${SCRIPT_FILENAME%/*/*}
export WALCAST_CONF="$demo/walcast.conf"
walcast=$demo/bin/walcast

answer() {
	printf 'Status: %s\r\nContent-Type: text/plain\r\n' "$1"
	printf 'Cache-Control: no-store\r\n\r\n%s\n' "$2"
	exit 0
}

# While pubd is away: again.  The key makes that store the event once.
publish() {
	body=$demo/body.$$
	trap 'rm -f "$body"' EXIT
	cat >"$body"
	tries=0
	while [ $tries -lt 40 ]; do
		id=$("$walcast" publish -c demo -k "$key" --text - \
		    <"$body" 2>&1) && answer 200 "$id"
		tries=$((tries + 1))
		sleep 0.1
	done
	answer 503 "$id"
}

# Not keyed: when pubd dies in the middle of it, only what was acknowledged
# before is counted.
burst() {
	n=0
	tries=0
	while [ "$n" -eq 0 ] && [ $tries -lt 40 ]; do
		n=$(awk -v k="$key" 'BEGIN { for (i = 1; i <= 1000; i++)
		        printf "{\"burst\":\"%s\",\"n\":%d}\n", k, i }' |
		    "$walcast" publish -c demo --json --lines 2>&1 |
		    grep -c '^[0-9]*$')
		tries=$((tries + 1))
		[ "$n" -gt 0 ] || sleep 0.1
	done
	answer 200 "$n"
}

pids() {
	tr '\n' ' ' <"$demo/$1.pid"
}

[ "$REQUEST_METHOD" = POST ] || answer 405 "POST only"
[ "$HTTP_X_WALCAST_DEMO" = 1 ] || answer 403 "from the demo page only"
key=$(date +%H%M%S)-$$
case $PATH_INFO in
/publish)	publish ;;
/burst)		burst ;;
/kill/workers)	p=$(pids worker) ;;
/kill/pubd)	p=$(pids pubd) ;;
/kill/web)	p=$(pids web) ;;
*)		answer 404 "no such button" ;;
esac
[ -n "$p" ] || answer 503 "it is being started"
# A moment later, so that lighttpd can still deliver the answer: a browser
# that got none would send the request again.
# shellcheck disable=SC2086
(sleep 0.1; kill -9 $p) </dev/null >/dev/null 2>&1 &
answer 200 "$p"

#!/bin/sh
# SPDX-License-Identifier: MIT
# The arrows between modules (docs/ARCHITECTURE.md): fcgi -> lib, pubd -> lib,
# nothing else, no circles; a third-party header in the one file that wraps it;
# each header compiles alone.  Prints what breaks a rule; exit status 1.
set -u
bad=0
PRIVATE='(_private|parts)$'

say() {
	echo "check-deps: $*" >&2
	bad=1
}

# Quoted includes of a file, one a line.
includes() {
	sed -n 's/^#include "\(.*\)\.h"$/\1/p' "$1"
}

for file in lib/*.[ch] fcgi/*.[ch] pubd/*.[ch]; do
	dir=${file%%/*}
	for inc in $(includes "$file"); do
		[ "$inc" = sql_text ] && continue
		[ -e "$dir/$inc.h" ] || [ -e "lib/$inc.h" ] ||
			say "$file includes $inc.h, which is neither in $dir/ nor in lib/"
	done
done

only_in() { # header pattern, file...
	pattern=$1
	shift
	for file in $(grep -lE "^#include <($pattern)>" lib/*.[ch] fcgi/*.[ch] \
	    pubd/*.[ch]); do
		case " $* " in
		*" $file "*) ;;
		*) say "$file includes <$pattern>: only $* may" ;;
		esac
	done
}
only_in 'sqlite3\.h' lib/dbparts.h lib/db_vfs.c
only_in 'json-c/.*|json\.h' lib/json.c
only_in 'uthash\.h' lib/hashtable.h
only_in 'curl/.*' pubd/exporter.c
only_in 'fcgiapp\.h|fcgi_stdio\.h' fcgi/fcgx.c

# A module in several files has a header foo_private.h (or fooparts.h) that only
# foo*.c include.
for file in lib/*.[ch] fcgi/*.[ch] pubd/*.[ch]; do
	for inc in $(includes "$file" | grep -E "$PRIVATE"); do
		whole=$(echo "$inc" | sed -E "s/$PRIVATE//")
		case ${file##*/} in
		"$whole"*) ;;
		*) say "$file includes $inc.h, which is private to $whole" ;;
		esac
	done
done

# The module that a file belongs to.
module() {
	whole=$(includes "$1" | sed -nE "s/$PRIVATE//p")
	name=${1##*/}
	name=${name%.[ch]}
	echo "${whole:-$(echo "$name" | sed -E "s/$PRIVATE//")}"
}

# Module foo is foo.c and foo.h, or what its private header joins; tsort tells circles.
for dir in lib fcgi pubd; do
	loops=$(for file in $dir/*.[ch]; do
		name=$(module "$file")
		for inc in $(includes "$file" | sed -E "s/$PRIVATE//"); do
			[ -e "$dir/$inc.h" ] && [ "$inc" != "$name" ] &&
				echo "$name $inc"
		done
	done | sort -u | tsort 2>&1 >/dev/null | sed -n 's/^tsort: //p' |
	    grep -v 'input contains' | tr '\n' ' ')
	[ -z "$loops" ] || say "circle in $dir/: $loops"
done

for header in lib/*.h fcgi/*.h pubd/*.h; do
	echo "#include \"$header\"" |
		${CC:-cc} -std=c11 -D_GNU_SOURCE -I. -Ilib -Ifcgi -Ipubd \
		    -fsyntax-only -xc - 2>/dev/null ||
		say "$header does not compile alone"
done

# A web server may make a program's arguments out of a visitor's URL.
for file in fcgi/main_*.c; do
	grep -q 'cgi_arguments(argc)' "$file" ||
		say "$file reads its arguments without cgi_arguments()"
done

# clock.c alone asks for the time, so that timers are tested without sleeping.
for file in $(grep -lE '\b(clock_gettime|gettimeofday|time) ?\(' lib/*.c \
    fcgi/*.c pubd/*.c | grep -v '^lib/clock\.c$'); do
	say "$file asks the kernel for the time: only lib/clock.c may"
done

[ $bad = 0 ] && echo "check-deps: arrows, circles, wrappers and headers are in order"
exit $bad

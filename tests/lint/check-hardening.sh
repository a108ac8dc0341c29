#!/bin/sh
# SPDX-License-Identifier: MIT
# Are programs built as dpkg-buildflags with hardening=+all would: position
# independent, all relocations bound at start and read-only, with checks of
# the stack and of the C library's buffers?  Prints what is missing; exit
# status 1.
# Usage: check-hardening.sh PROGRAM...
set -u
bad=0

want() { # program, what, pattern
	readelf -Whld --dyn-syms "$1" 2>/dev/null | grep -qE "$3" && return
	echo "check-hardening: $1 is built without $2" >&2
	bad=1
}

for program; do
	want "$program" PIE '^ *Type: +DYN \(Position-Independent Exec'
	want "$program" RELRO '^ *GNU_RELRO '
	want "$program" BIND_NOW '\(FLAGS(_1)?\).*NOW'
	want "$program" "stack protector" ' __stack_chk_fail'
	want "$program" FORTIFY ' __(v?snprintf|memcpy)_chk'
done
[ $bad = 0 ] && echo "check-hardening: PIE, RELRO, BIND_NOW, stack, FORTIFY"
exit $bad

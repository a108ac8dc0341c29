/* SPDX-License-Identifier: MIT */
/*
 * Which call is to fail: a small file that the driver and the program under
 * test both map.
 *
 * The driver fills in the first part and creates the file before it starts
 * the program with WALCAST_FAULT_CONTROL=PATH; it may change nth, times,
 * error and armed while the program runs.  While armed, calls are counted by
 * site; from the nth at the named one on, `times` of them fail.  Only the
 * process that was started counts, not what it forks or executes.
 *
 * sweep.py has this layout a second time (class Control).
 */
#ifndef WALCAST_FAULT_CONTROL_H
#define WALCAST_FAULT_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTROL_ENV         "WALCAST_FAULT_CONTROL"
#define CONTROL_SITES       48
#define CONTROL_NAME_BYTES  16
#define CONTROL_STACK_BYTES 2048

struct control_seen {
	char name[CONTROL_NAME_BYTES];
	_Atomic uint64_t n; /* calls at this site */
};

struct control_file {
	_Atomic uint32_t armed;
	_Atomic uint32_t error; /* errno, or the VFS's code; 0: the usual one */
	_Atomic uint64_t nth;   /* the first that fails; 0: none */
	_Atomic uint64_t
	    times; /* how many do; CONTROL_EVER: from then on all */
	char site[CONTROL_NAME_BYTES];
	/* What the shims write. */
	_Atomic uint64_t n_fired;
	_Atomic uint64_t n_sites;
	struct control_seen seen[CONTROL_SITES];
	char stack[CONTROL_STACK_BYTES]; /* of the last: OBJECT+OFFSET ... */
};

#define CONTROL_EVER UINT64_MAX

/* Maps the file; names[i] is site i.  Aborts when that cannot be. */
void control_open(const char *const *names, size_t n_names);

/* One call at a site.  True: it is to fail. */
bool control_fails(unsigned site);

/* The error to fail with, `usual` unless the driver said another. */
int control_error(int usual);

/* Of a call that fails: it is to be cut short instead. */
bool control_is_short(void);
#define CONTROL_SHORT 0xffffu /* as the error */

#endif

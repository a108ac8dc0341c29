/* SPDX-License-Identifier: MIT */
/*
 * From a listening socket to a request: accepts without blocking, waits until
 * a whole request lies in the connection, and only then lets libfcgi parse
 * it.  A peer that sends half a request, or nothing, or nonsense, costs one
 * descriptor until its deadline and is felt by nobody.
 *
 * A request of more than RECORD_REQUEST_MAX bytes is answered with 413, one
 * with too many header fields or too long ones with 431, and what else comes of
 * it is read away for a while: a front end that finds the connection closed
 * while it writes would answer 502 or 503 instead.
 */
#ifndef WALCAST_INTAKE_H
#define WALCAST_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "params.h"

struct intake;

struct intake_options {
	int listener;         /* non-blocking; stays the caller's */
	uint64_t timeout_us;  /* a request must be whole by then */
	unsigned max_waiting; /* connections whose request is not whole */
	size_t body_bytes;    /* so much of a body is kept; see params.h */
	/*
	 * Takes over fd; params are valid during the call only.
	 */
	void (*ready)(void *arg, int fd, uint16_t request_id,
	    const struct params *params);
	void *arg;
};

/* Why a request was not taken: X(MEMBER, word in metrics). */
#define INTAKE_REFUSAL_LIST(X)                                                 \
	X(SIZE, "size")           /* more than RECORD_REQUEST_MAX bytes */     \
	X(FIELDS, "fields")       /* too many header fields, or too long */    \
	X(MALFORMED, "malformed") /* not FastCGI as it must be */              \
	X(MEMORY, "memory")       /* there was none to read it */

enum intake_refusal {
#define X(member, word) INTAKE_##member,
	INTAKE_REFUSAL_LIST(X)
#undef X
	    INTAKE_REFUSALS
};

struct intake_counters {
	uint64_t n_accepted;
	uint64_t n_refused[INTAKE_REFUSALS];
	uint64_t n_timeouts; /* refused peers that stayed are among them */
	uint64_t n_paused;
};

MUST_USE enum status intake_new(struct intake **out, struct loop *l,
    const struct intake_options *o);
void intake_free(struct intake **in);

/* No more connections are accepted; those that wait are still served. */
void intake_stop(struct intake *in);
unsigned intake_waiting(const struct intake *in);
const struct intake_counters *intake_counters(const struct intake *in);

/* Frees connections that ended in this turn; after loop_turn(). */
void intake_reap(struct intake *in);

#endif

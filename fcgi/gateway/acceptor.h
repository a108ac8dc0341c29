/* SPDX-License-Identifier: MIT */
/*
 * From a listening socket to a request: accepts without blocking, waits until
 * a whole request lies in the connection, and only then lets libfcgi parse
 * it.  A peer that sends half a request, or nothing, or nonsense, costs one
 * descriptor until its deadline and slows nobody down.
 *
 * A request of more than RECORD_REQUEST_MAX bytes is answered with 413, one
 * with too many header fields or too long ones with 431, and what else comes of
 * it is read away for a while: a front end that finds the connection closed
 * while it writes would answer 502 or 503 instead.
 */
#ifndef WALCAST_ACCEPTOR_H
#define WALCAST_ACCEPTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "params.h"

struct acceptor;

struct acceptor_options {
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
#define ACCEPTOR_REFUSAL_LIST(X)                                               \
	X(SIZE, "size")           /* more than RECORD_REQUEST_MAX bytes */     \
	X(FIELDS, "fields")       /* too many header fields, or too long */    \
	X(MALFORMED, "malformed") /* not FastCGI as it must be */              \
	X(MEMORY, "memory")       /* there was none to read it */

enum acceptor_refusal {
#define X(member, word) ACCEPTOR_##member,
	ACCEPTOR_REFUSAL_LIST(X)
#undef X
	    ACCEPTOR_REFUSALS
};

struct acceptor_counters {
	uint64_t n_accepted;
	uint64_t n_refused[ACCEPTOR_REFUSALS];
	uint64_t n_timeouts; /* of those that were not refused */
	uint64_t n_paused;
};

MUST_USE enum status acceptor_new(struct acceptor **out, struct loop *l,
    const struct acceptor_options *o);
void acceptor_free(struct acceptor **in);

/* No more connections are accepted; those that wait are still served. */
void acceptor_stop(struct acceptor *in);
unsigned acceptor_waiting(const struct acceptor *in);
const struct acceptor_counters *acceptor_counters(const struct acceptor *in);

/* Frees connections that ended in this turn; after loop_turn(). */
void acceptor_reap(struct acceptor *in);

#endif

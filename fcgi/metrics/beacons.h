/* SPDX-License-Identifier: MIT */
/*
 * The answers to POST /sse-metrics.fcgi/beacon, and what was counted of them.
 * Nothing that a beacon holds changes anything but these counters, and none of
 * its text is kept or logged.  No I/O and no clock of its own.
 *
 * The rate is held by each process: where a front end starts several
 * (mod_fcgid), an address may send so many to each.
 *
 *   204  counted, or left out by beacon_sample    400  malformed
 *   403  a page that may not                      413  past BEACON_MAX_BYTES
 *   404  beacon = off, or plain CGI               415  neither JSON nor text
 *   405  neither POST nor OPTIONS                 429  past beacon_rate
 */
#ifndef WALCAST_BEACONS_H
#define WALCAST_BEACONS_H

#include <stdint.h>

#include "beacon.h"
#include "buf.h"
#include "conf.h"
#include "hist.h"
#include "metrics.h"
#include "params.h"
#include "status.h"

/* What of a body must be kept (params_keep_body) to see that it is too long. */
#define BEACONS_BODY_BYTES (BEACON_MAX_BYTES + 1)

/* X(MEMBER, word in metrics); see frontend.h. */
#define BEACON_RESULT_LIST(X)                                                  \
	X(ACCEPTED, "accepted")                                                \
	X(SAMPLED, "sampled") /* left out */                                   \
	X(ORIGIN, "origin")                                                    \
	X(TOO_LARGE, "too_large")                                              \
	X(MALFORMED, "malformed")                                              \
	X(TYPE, "type")                                                        \
	X(RATE, "rate")

enum beacon_result {
#define X(member, word) BEACON_##member,
	BEACON_RESULT_LIST(X)
#undef X
	    BEACON_RESULTS
};

struct beacon_counters {
	uint64_t n[BEACON_RESULTS];
	uint64_t reconnects, gaps, duplicates, missing, buffered;
	uint64_t fallback[BEACON_FALLBACKS];
	struct hist first_event, lag; /* HIST_TIME */
};

struct beacons;

/* seed   random; see limiter.h */
MUST_USE enum status beacons_new(struct beacons **out, uint64_t seed);
void beacons_free(struct beacons **b);

/*
 * Appends the whole HTTP answer to a request for /beacon, of any method, and
 * counts it.
 *
 * b       NULL in plain CGI, where nothing lasts from one request to the next
 *         that a rate could be held against: the answer is 404
 * p       with the body, as far as BEACONS_BODY_BYTES
 * now_us  monotonic time in microseconds
 *
 * Returns  ST_OK, ST_NOMEM, ST_FULL; on failure nothing was appended or
 *          counted
 */
MUST_USE enum status beacons_answer(struct beacons *b, const struct params *p,
    const struct conf *c, uint64_t now_us, struct buf *out);

const struct beacon_counters *beacons_counters(const struct beacons *b);

/* Sets the cells of the catalogue that are about beacons. */
void beacons_report(const struct beacons *b, struct metrics *f);

#endif

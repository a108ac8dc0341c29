/* SPDX-License-Identifier: MIT */
/*
 * What a browser says of its streams: a small JSON object of numbers, sent by
 * navigator.sendBeacon() or fetch().  Pure.
 *
 *   first_event_ms  from connect to the first event
 *   lag_ms          array of at most BEACON_MAX_LAGS delivery lags
 *   reconnects      and gaps, duplicates, missing: whole numbers, counted
 *                   since the last beacon
 *   buffered        true when events with spread times arrived together
 *   fallback        "fetch", "eventsource", "none"; anything else is ignored
 *
 * All members are optional, null is the same as not there, the last of a name
 * counts, and others are ignored (visible_ms is one).  A number is from 0 to
 * the bound of its member: a browser that says more is wrong in all it says.
 */
#ifndef WALCAST_BEACON_H
#define WALCAST_BEACON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"
#include "status.h"

#define BEACON_MAX_BYTES 4096
#define BEACON_MAX_LAGS  20
#define BEACON_MAX_MS    3600000 /* of a time: an hour */
#define BEACON_MAX_COUNT 10000

/* X(MEMBER, word in reports and metrics); see frontend.h. */
#define BEACON_FALLBACK_LIST(X)                                                \
	X(UNKNOWN, "unknown") /* it did not say, or another */                 \
	X(NONE, "none")                                                        \
	X(FETCH, "fetch")                                                      \
	X(EVENTSOURCE, "eventsource")

enum beacon_fallback {
#define X(member, word) BEACON_FALLBACK_##member,
	BEACON_FALLBACK_LIST(X)
#undef X
	    BEACON_FALLBACKS
};

struct beacon {
	bool has_first_event;
	uint64_t first_event_us;
	size_t n_lags;
	uint64_t lag_us[BEACON_MAX_LAGS];
	uint64_t reconnects, gaps, duplicates, missing;
	bool buffered;
	enum beacon_fallback fallback;
};

/*
 * Reads a body; it has no strings that outlive it.
 * Returns  ST_OK, ST_INVALID, ST_TOOLARGE (more than BEACON_MAX_BYTES)
 */
MUST_USE enum status beacon_parse(struct span text, struct beacon *out);

/*
 * May a page of this origin send a beacon?
 *
 * origin, host, site   the headers Origin, Host and Sec-Fetch-Site; SPAN_NONE
 *                      when there is none
 * allow_origin         see origin_allowed()
 *
 * Without an Origin only a browser's word that it is the same one helps, and
 * "null" (a sandboxed frame, a file) is nobody's, whatever is allowed.
 */
bool beacon_origin_ok(struct span origin, struct span host, struct span site,
    struct span allow_origin);

#endif

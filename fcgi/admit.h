/* SPDX-License-Identifier: MIT */
/*
 * From a request to a stream: limits, the position, the first bytes.
 */
#ifndef WALCAST_ADMIT_H
#define WALCAST_ADMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "conf.h"
#include "hub.h"
#include "params.h"
#include "ramp.h"
#include "replay.h"
#include "reply.h"
#include "slots.h"
#include "tail.h"

/* Why a stream is turned away.  The catalogue of figures has this order. */
enum admit_reject {
	ADMIT_MAX_STREAMS, /* of this process */
	ADMIT_SLOTS,       /* of the web server */
	ADMIT_RAMP,        /* too many at once for it */
	ADMIT_ADDRESS,
	ADMIT_DRAIN,
	ADMIT_UNAVAILABLE, /* the log cannot be read as far as it must */
	ADMIT_REJECTS
};

/* Errors that are final, by status.  In the catalogue's order, too. */
enum admit_refuse {
	ADMIT_400,
	ADMIT_403,
	ADMIT_405,
	ADMIT_406,
	ADMIT_OTHER,
	ADMIT_REFUSES
};

struct admit_counters {
	uint64_t n_asked; /* streams */
	uint64_t n_rejected[ADMIT_REJECTS];
	uint64_t n_front_rejected[FRONTS];
	uint64_t n_refused[ADMIT_REFUSES];
	/* n_came_back == resumes ok + with a gap + failed */
	uint64_t n_came_back, n_resumes_ok, n_resumes_gap, n_resumes_failed;
	uint64_t n_mismatch[GAP_INVALID + 1]; /* of resumes with a gap */
};

#define ADMIT_POOLS 8 /* locations with a cap that are remembered */

struct admit {
	const struct conf *conf;
	struct loop *loop;
	struct hub *hub;
	struct tail *tail;
	struct replay *replay;
	struct reply_set *replies;
	struct slots *slots;
	uint64_t random; /* of random_seed */
	struct ramp ramp;
	bool draining;
	uint64_t limit_told_us; /* that a limit is no number */
	struct slots_count pool[ADMIT_POOLS];
	size_t n_pools;
	struct admit_counters counters;
};

/*
 * Serves one request on fd, which it takes in every case.
 * request_id   0: plain CGI, nothing is framed
 */
void admit_request(struct admit *a, int fd, uint16_t request_id,
    const struct params *params);

/* Gives back what a stream held; for hub_options.ended. */
void admit_release(struct admit *a, const struct stream *s);

#endif

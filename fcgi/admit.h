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
#include "reply.h"
#include "slots.h"
#include "tail.h"

struct admit {
	const struct conf *conf;
	struct loop *loop;
	struct hub *hub;
	struct tail *tail;
	struct reply_set *replies;
	struct slots *slots;
	struct ramp ramp;
	bool draining;
	/* counters */
	uint64_t n_rejected_overload, n_rejected_address, n_rejected_drain;
	uint64_t n_refused; /* 4xx */
	uint64_t n_resumes_ok, n_resumes_gap;
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

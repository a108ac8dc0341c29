/* SPDX-License-Identifier: MIT */
/*
 * What is told of events after their commit: they are counted, by channel
 * too; lines for the log; spans of those whose trace is sampled.  Never of
 * their payload.
 */
#ifndef WALCAST_TRAIL_H
#define WALCAST_TRAIL_H

#include <stdint.h>

#include "log.h"

struct beat;
struct exporter;
struct request;
struct wire_span;

struct trail {
	struct beat *beat;
	struct exporter *exporter; /* NULL: spans go nowhere */
	struct log_gate gate;
	uint64_t random;           /* for the ids of spans */
	uint64_t begin_us, end_us; /* of the last commit, monotonic */
	int64_t unix_us;           /* Unix time less the monotonic one */
};

/* A commit went through; what follows is of its events. */
void trail_commit(struct trail *t, uint64_t begin_us, uint64_t end_us,
    int64_t real_ms);

/* A publish or an array of it is being answered. */
void trail_stored(struct trail *t, const struct request *r);

/* A worker tells what it did with an event. */
void trail_dispatched(struct trail *t, const struct wire_span *s);

#endif

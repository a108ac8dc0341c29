/* SPDX-License-Identifier: MIT */
/*
 * What is recorded about events after their commit: counts, also by channel;
 * lines in the log; spans, if their trace is sampled.  Never their payload.
 */
#ifndef WALCAST_AFTER_COMMIT_H
#define WALCAST_AFTER_COMMIT_H

#include <stdint.h>

#include "log.h"

struct status_writer;
struct exporter;
struct protocol_request;
struct wire_span;

struct after_commit {
	struct status_writer *status_writer;
	struct exporter *exporter; /* NULL: spans go nowhere */
	struct log_gate gate;
	uint64_t random;           /* for the ids of spans */
	uint64_t begin_us, end_us; /* of the last commit, monotonic */
	int64_t unix_us;           /* Unix time minus monotonic time */
};

/* A commit went through; the calls that follow are about its events. */
void after_commit_commit(struct after_commit *t, uint64_t begin_us,
    uint64_t end_us, int64_t real_ms);

/* A publish or an array of it is being answered. */
void after_commit_stored(struct after_commit *t,
    const struct protocol_request *r);

/* A worker has reported what it did with an event. */
void after_commit_dispatched(struct after_commit *t, const struct wire_span *s);

#endif

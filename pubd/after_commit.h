/* SPDX-License-Identifier: MIT */
/*
 * What is told of events after their commit: they are counted, by channel
 * too; lines for the log; spans of those whose trace is sampled.  Never of
 * their payload.
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
	int64_t unix_us;           /* Unix time less the monotonic one */
};

/* A commit went through; what follows is of its events. */
void after_commit_commit(struct after_commit *t, uint64_t begin_us,
    uint64_t end_us, int64_t real_ms);

/* A publish or an array of it is being answered. */
void after_commit_stored(struct after_commit *t,
    const struct protocol_request *r);

/* A worker tells what it did with an event. */
void after_commit_dispatched(struct after_commit *t, const struct wire_span *s);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Stores a batch in one transaction and writes its outcome into each request.
 * Nothing is answered here, and nothing may be answered before.
 */
#ifndef WALCAST_COMMIT_H
#define WALCAST_COMMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log.h"
#include "status.h"

struct batch;
struct log_writer;

/* What is committed to what. */
struct commit {
	struct log_writer *log_writer;
	struct batch *batch;
	struct log_gate failed_gate, waits_gate;
};

struct commit_time {
	uint64_t now_us;     /* monotonic */
	int64_t ts_ms;       /* Unix time for the events */
	uint64_t timeout_us; /* how long to wait for the lock */
};

enum commit_fate {
	COMMIT_NONE, /* nothing had to be stored */
	COMMIT_DONE,
	COMMIT_FAILED, /* all publishers are told so */
	COMMIT_WAITS   /* for the lock */
};

struct commit_result {
	enum commit_fate fate;
	bool waits_first;  /* WAITS: it did not wait before */
	size_t n_stored;   /* events that are durable now */
	struct errmsg why; /* what a failure's message points to */
};

/*
 * Returns  ST_OK     every request has its fate: answer it.  Those that could
 *                    not be stored have become errors, whose messages live as
 *                    long as *out
 *          ST_AGAIN  another program has the lock; the batch is deferred
 */
MUST_USE enum status commit_run(struct commit *c, const struct commit_time *t,
    struct commit_result *out);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Group-commit policy: which requests wait for the next transaction, in the
 * order in which they were read, and when it is due.  Also holds requests
 * that store nothing but must not overtake an earlier one of their
 * connection.  Pure: no clock, no I/O, no globals.  One thread.
 */
#ifndef WALCAST_BATCH_H
#define WALCAST_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol.h"
#include "status.h"

#define BATCH_NEVER UINT64_MAX

struct batch; /* opaque: batch.c */

struct batch_limits {
	size_t max_events; /* refuse events beyond; >= PROTOCOL_MAX_EVENTS */
	size_t max_bytes;  /* refuse copies beyond this total */
	uint64_t retry_min_us, retry_max_us; /* after batch_defer */
};

/* One request that waits, and for whom. */
struct batch_op {
	void *waiter; /* echoed */
	struct protocol_request request;
};

MUST_USE enum status batch_new(struct batch **out,
    const struct batch_limits *limits);
void batch_free(struct batch **b);

/*
 * Adds a deep copy of the request on behalf of the waiter.  Into an empty
 * batch any request fits.
 *
 * Returns  ST_OK
 *          ST_FULL   a bound would be crossed; the batch is unchanged
 *          ST_NOMEM  the batch is unchanged, but for its memory
 */
MUST_USE enum status batch_add(struct batch *b, void *waiter,
    const struct protocol_request *r);

/* The requests that wait, oldest first; op i, i < batch_count. */
size_t batch_count(const struct batch *b);
struct batch_op *batch_at(struct batch *b, size_t i);

/* Events among them, and bytes that the copies take. */
size_t batch_events(const struct batch *b);
size_t batch_bytes(const struct batch *b);

/*
 * When the transaction is due: 0 (at once) when something waits, later after
 * batch_defer, BATCH_NEVER when nothing waits.
 */
uint64_t batch_due_us(const struct batch *b);

/*
 * Somebody else holds the lock: puts the batch off, by a back-off that grows
 * from retry_min_us to retry_max_us.
 */
void batch_defer(struct batch *b, uint64_t now_us);

/* For how long the batch has been deferred; 0: not yet. */
uint64_t batch_waited_us(const struct batch *b, uint64_t now_us);

/* Every request has been answered: forgets them. */
void batch_clear(struct batch *b);

#endif

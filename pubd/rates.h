/* SPDX-License-Identifier: MIT */
/*
 * How many events may be published: buckets of tokens, one token for each
 * event.  A user has one for all that he publishes (publish_rate), over all of
 * his connections, and one for each line of the rules that bounds him.
 * Bounded: when the table is full, those that are not in it share one bucket.
 * Pure.
 */
#ifndef WALCAST_RATES_H
#define WALCAST_RATES_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

#define RATES_MAX 512 /* buckets that are not full, at once */

struct rates_rule {
	uint64_t per_s; /* events a second; 0: no limit */
	uint64_t burst; /* at once, after a rest; > 0 when per_s is */
};

/* Whose bucket it is. */
struct rates_key {
	int64_t uid;   /* -1: not known, or of all users of a line */
	uint64_t line; /* stands for a line of the rules; 0: publish_rate */
};

struct rates_bucket {
	struct rates_key key;
	struct rates_rule rule; /* as of the last take */
	uint64_t tokens;        /* millionths of an event */
	uint64_t seen_us;       /* when that was right; 0: it is full */
};

struct rates {
	struct rates_bucket list[RATES_MAX]; /* by key */
	size_t n;
	struct rates_bucket others;
};

void rates_init(struct rates *rs);

/*
 * Takes tokens for n events; all of them or none.  The rule may be another one
 * each time.
 *
 * now_us   monotonic, > 0
 * Returns  ST_OK
 *          ST_BUSY      not now: in *wait_us there are enough, if nobody else
 *                       takes of this bucket meanwhile
 *          ST_TOOLARGE  more than the burst: never
 */
MUST_USE enum status rates_take(struct rates *rs, struct rates_key key,
    struct rates_rule rule, uint64_t n, uint64_t now_us, uint64_t *wait_us);

/* Gives back tokens that were taken but not used. */
void rates_give_back(struct rates *rs, struct rates_key key, uint64_t n);

#endif

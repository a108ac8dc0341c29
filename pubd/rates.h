/* SPDX-License-Identifier: MIT */
/*
 * How many events each user may publish: a bucket of tokens for each, over
 * all of his connections, one token for each event.  Bounded: when the table
 * is full, the users that are not in it share one bucket.  Pure.
 */
#ifndef WALCAST_RATES_H
#define WALCAST_RATES_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

#define RATES_MAX 256 /* users with a bucket that is not full, at once */

struct rates_rule {
	uint64_t per_s; /* events a second; 0: no limit */
	uint64_t burst; /* at once, after a rest; > 0 when per_s is */
};

/* The rule for a user; uid -1: not known. */
typedef struct rates_rule rates_rule_fn(const void *arg, int64_t uid);

struct rates_bucket {
	int64_t uid;
	uint64_t tokens;  /* millionths of an event */
	uint64_t seen_us; /* when that was right; 0: it is full */
};

struct rates {
	struct rates_bucket list[RATES_MAX]; /* by uid */
	size_t n;
	struct rates_bucket others;
	rates_rule_fn *rule;
	const void *rule_arg;
};

/* arg   handed to the rule; outlives it */
void rates_init(struct rates *rs, rates_rule_fn *rule, const void *arg);

/*
 * Takes tokens for n events; all of them or none.
 *
 * now_us   monotonic, > 0
 * Returns  ST_OK
 *          ST_BUSY      not now: in *wait_us there are enough, if nobody of
 *                       this user takes them meanwhile
 *          ST_TOOLARGE  more than the burst: never
 */
MUST_USE enum status rates_take(struct rates *rs, int64_t uid, uint64_t n,
    uint64_t now_us, uint64_t *wait_us);

/* Gives back tokens that were taken but not used. */
void rates_give_back(struct rates *rs, int64_t uid, uint64_t n);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * When the newest events were committed, according to pubd's wakes.  Pure.
 */
#ifndef WALCAST_COMMIT_CLOCK_H
#define WALCAST_COMMIT_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define COMMIT_CLOCK_WAKES 256 /* so many are remembered */

/* What became visible between two wakes. */
struct commit_clock_wake {
	int64_t upto_id;
	int64_t at_us; /* CLOCK_MONOTONIC; meaningless unless known */
	bool known;
};

struct commit_clock {
	struct commit_clock_wake wake[COMMIT_CLOCK_WAKES]; /* a circle */
	uint64_t n;                                        /* that have come */
};

/*
 * A wake: the log's head is `head`.  One that says less than the last begins
 * anew: it is another log.
 *
 * at_us    when the oldest event that was not told yet was committed;
 *          NULL: not known, also of what is at or below the first head
 */
void commit_clock_told(struct commit_clock *c, int64_t head,
    const int64_t *at_us);

/*
 * When an event was committed.
 *
 * accepted_us  when pubd, or whoever inserted it, took it: the answer when no
 *              wake has told, but not before what was told of earlier ids
 */
int64_t commit_clock_time(const struct commit_clock *c, int64_t id,
    int64_t accepted_us);

#endif

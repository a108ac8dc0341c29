/* SPDX-License-Identifier: MIT */
/*
 * How long to wait before trying again what has failed: twice as long after
 * each failure, up to a bound, so that a short fault is over soon and a lasting
 * one costs little.  Pure: no clock; callers add jitter if they want it.
 *
 *	struct backoff retry = {.min_us = 100000, .max_us = 2000000};
 *
 *	try_at_us = now_us + backoff_next_us(&retry);  after each failure
 *	backoff_reset(&retry);                         after it has worked
 */
#ifndef WALCAST_BACKOFF_H
#define WALCAST_BACKOFF_H

#include <stdint.h>

struct backoff {
	uint64_t min_us;  /* the first wait; > 0 */
	uint64_t max_us;  /* no wait is longer; >= min_us */
	uint64_t wait_us; /* the last one; 0: nothing has failed */
};

/* The time to wait after one more failure. */
uint64_t backoff_next_us(struct backoff *b);

/* It has worked: the next wait is the first one again. */
void backoff_reset(struct backoff *b);

#endif

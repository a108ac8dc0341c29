/* SPDX-License-Identifier: MIT */
/*
 * When the newest events were committed.  Invariant: upto_id rises from wake
 * to wake.  Pure.
 */
#include "commit_clock.h"

#include <stddef.h>

/* The wake that came `back` wakes before the newest. */
static const struct commit_clock_wake *
wake_at(const struct commit_clock *c, uint64_t back)
{
	return &c->wake[(c->n - 1 - back) % COMMIT_CLOCK_WAKES];
}

void
commit_clock_told(struct commit_clock *c, int64_t head, const int64_t *at_us)
{
	struct commit_clock_wake w = {.upto_id = head};

	if (c->n > 0 && head < wake_at(c, 0)->upto_id)
		c->n = 0;
	if (c->n > 0 && head == wake_at(c, 0)->upto_id)
		return;
	/* What lies below the first wake may be of any age. */
	if (at_us != NULL && c->n > 0) {
		w.known = true;
		w.at_us = *at_us;
	}
	c->wake[c->n++ % COMMIT_CLOCK_WAKES] = w;
}

/* Ids were given out in the order of commits. */
static int64_t
not_before(int64_t us, const struct commit_clock_wake *earlier)
{
	return earlier->known && earlier->at_us > us ? earlier->at_us : us;
}

/* How many wakes, from the newest on, told of a head of `id` or more. */
static uint64_t
count_from(const struct commit_clock *c, int64_t id)
{
	uint64_t lo = 0,
		 hi = c->n < COMMIT_CLOCK_WAKES ? c->n : COMMIT_CLOCK_WAKES;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (wake_at(c, mid)->upto_id >= id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int64_t
commit_clock_time(const struct commit_clock *c, int64_t id, int64_t accepted_us)
{
	uint64_t n = count_from(c, id);
	const struct commit_clock_wake *w = n == 0 ? NULL : wake_at(c, n - 1);

	if (n == COMMIT_CLOCK_WAKES || n == c->n)
		return accepted_us; /* older than what is remembered */
	return w != NULL && w->known ? w->at_us
				     : not_before(accepted_us, wake_at(c, n));
}

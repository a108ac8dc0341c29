/* SPDX-License-Identifier: MIT */
/* How fast streams may fill a front end's slots.  Pure. */
#include "ramp.h"

#define MILLI        1000
#define RATE_MIN     15       /* measured: 50 threads, then 25 a second */
#define RATE_PERCENT 15       /* of the cap, where that is more */
#define SINK_DIVISOR 3        /* the peak sinks at a third of the rate */
#define ELAPSED_MAX  60000000 /* us; more changes nothing */

int64_t
ramp_default(int64_t cap)
{
	int64_t rate = cap / 100 * RATE_PERCENT;

	return rate < RATE_MIN ? RATE_MIN : rate;
}

bool
ramp_admits(struct ramp *r, uint64_t now_us, int64_t n_held, int64_t rate)
{
	int64_t held_m = n_held * MILLI, burst_m = rate * MILLI * 4 / 3;
	int64_t rise_m, elapsed = (int64_t)(now_us - r->last_us);

	if (r->last_us == 0)
		r->ceiling_m = burst_m;
	if (r->last_us == 0 || elapsed > ELAPSED_MAX)
		elapsed = r->last_us == 0 ? 0 : ELAPSED_MAX;
	r->last_us = now_us;
	rise_m = elapsed * rate / (1000000 / MILLI);
	r->peak_m -= rise_m / SINK_DIVISOR;
	if (r->peak_m < held_m)
		r->peak_m = held_m;
	r->ceiling_m += rise_m;
	if (r->ceiling_m > r->peak_m + burst_m)
		r->ceiling_m = r->peak_m + burst_m;
	return held_m + MILLI <= r->ceiling_m;
}

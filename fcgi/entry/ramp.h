/* SPDX-License-Identifier: MIT */
/*
 * How fast streams may fill a front end's slots.
 *
 * Apache's event MPM starts with 50 threads as Debian ships it and adds some
 * once a second, so streams that come all at once take every thread that is
 * there and the pages wait until there are more.  A ceiling that rises with
 * time leaves it the time.  Pure.
 */
#ifndef WALCAST_RAMP_H
#define WALCAST_RAMP_H

#include <stdbool.h>
#include <stdint.h>

struct ramp {
	uint64_t last_us;
	int64_t ceiling_m; /* streams that may be held now, thousandths */
	int64_t peak_m;    /* the most that were held, sinking slowly */
};

/*
 * May one more stream come in while n_held are there?
 *
 * rate    streams by which the ceiling rises in a second; > 0.  It begins at
 *         four thirds of that, and never stands higher than so many above
 *         the recent peak.
 */
bool ramp_admits(struct ramp *r, uint64_t now_us, int64_t n_held, int64_t rate);

/* The rate for a front end with `cap` slots that says nothing of it. */
int64_t ramp_default(int64_t cap);

#endif

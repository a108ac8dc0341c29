/* SPDX-License-Identifier: MIT */
/*
 * Histograms with fixed bounds: what is counted in one process can be added
 * to what was counted in another, and shown as Prometheus wants it
 * (exposition format 0.0.4, "histogram").  Pure.
 */
#ifndef WALCAST_HIST_H
#define WALCAST_HIST_H

#include <stdint.h>

#define HIST_BOUNDS 20
#define HIST_CELLS  (HIST_BOUNDS + 2) /* with the one above all, and the sum */

enum hist_scale {
	HIST_TIME, /* microseconds, 50 us to 60 s */
	HIST_SIZE  /* powers of two, 1 to 2^19 */
};

/* The upper bounds, ascending; each is inclusive. */
extern const uint64_t hist_bounds[2][HIST_BOUNDS];

struct hist {
	uint64_t n[HIST_BOUNDS + 1]; /* not cumulative; the last is the rest */
	uint64_t sum;                /* of all values */
};

/* Counts the value n times; a histogram holds either times or sizes. */
void hist_add(struct hist *h, enum hist_scale scale, uint64_t value,
    uint64_t n);

uint64_t hist_count(const struct hist *h);

/*
 * The value below which `permille` of what was counted lies, interpolated
 * within its bucket; the highest bound when it lies above that.  0 when nothing
 * was counted.
 */
uint64_t hist_quantile(const struct hist *h, enum hist_scale scale,
    unsigned permille);

#endif

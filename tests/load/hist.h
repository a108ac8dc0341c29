/* SPDX-License-Identifier: MIT */
/*
 * A histogram of durations in microseconds: 64 buckets for each power of
 * two, so that a quantile is at most 1.6 % too high.  No allocation.
 */
#ifndef HIST_H
#define HIST_H

#include <stdint.h>
#include <stdio.h>

#define HIST_SUB_BITS 6
#define HIST_BUCKETS  ((40 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
	uint64_t n;
	uint64_t sum_us;
	uint64_t max_us;
	uint64_t count[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t us);
void hist_merge(struct hist *into, const struct hist *from);

/* The value below or at which the fraction `q` of the samples lies. */
uint64_t hist_quantile_us(const struct hist *h, double q);

/* One JSON object: count, mean, p50, p90, p99, p99_9, max. */
void hist_print(const struct hist *h, FILE *out);

#endif

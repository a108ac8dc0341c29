/* SPDX-License-Identifier: MIT */
/* Histograms with fixed bounds.  Pure. */
#include "hist.h"

const uint64_t hist_bounds[2][HIST_BOUNDS] = {
    [HIST_TIME] = {50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000,
	100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 20000000,
	30000000, 60000000},
    [HIST_SIZE] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096,
	8192, 16384, 32768, 65536, 131072, 262144, 524288},
};

void
hist_add(struct hist *h, enum hist_scale scale, uint64_t value, uint64_t n)
{
	const uint64_t *bound = hist_bounds[scale];
	int i = 0;

	while (i < HIST_BOUNDS && value > bound[i])
		i++;
	h->n[i] += n;
	h->sum += value * n;
}

uint64_t
hist_count(const struct hist *h)
{
	uint64_t n = 0;
	int i;

	for (i = 0; i <= HIST_BOUNDS; i++)
		n += h->n[i];
	return n;
}

uint64_t
hist_quantile(const struct hist *h, enum hist_scale scale, unsigned permille)
{
	const uint64_t *bound = hist_bounds[scale];
	double rank = (double)hist_count(h) * permille / 1000, below = 0;
	uint64_t low = 0;
	int i;

	for (i = 0; i < HIST_BOUNDS; i++) {
		double n = (double)h->n[i];

		if (n > 0 && below + n >= rank)
			return low +
			    (uint64_t)((double)(bound[i] - low) *
				(rank - below) / n);
		below += n;
		low = bound[i];
	}
	return h->n[HIST_BOUNDS] > 0 ? low : 0;
}

/* SPDX-License-Identifier: MIT */
/* A histogram of durations; see hist.h.  Pure but for hist_print(). */
#include "hist.h"

#include <stddef.h>

static size_t
bucket_of(uint64_t us)
{
	unsigned shift;

	if (us < (1U << HIST_SUB_BITS))
		return (size_t)us;
	if (us >> 39 != 0)
		us = (UINT64_C(1) << 39) - 1;
	shift = 63U - (unsigned)__builtin_clzll(us) - HIST_SUB_BITS;
	return ((size_t)shift << HIST_SUB_BITS) + (size_t)(us >> shift);
}

/* The largest value that falls into bucket i. */
static uint64_t
bucket_top(size_t i)
{
	size_t shift;

	if (i < (2U << HIST_SUB_BITS))
		return i;
	shift = (i >> HIST_SUB_BITS) - 1;
	return ((i - (shift << HIST_SUB_BITS) + 1) << shift) - 1;
}

void
hist_add(struct hist *h, uint64_t us)
{
	h->n++;
	h->sum_us += us;
	if (us > h->max_us)
		h->max_us = us;
	h->count[bucket_of(us)]++;
}

void
hist_merge(struct hist *into, const struct hist *from)
{
	size_t i;

	into->n += from->n;
	into->sum_us += from->sum_us;
	if (from->max_us > into->max_us)
		into->max_us = from->max_us;
	for (i = 0; i < HIST_BUCKETS; i++)
		into->count[i] += from->count[i];
}

uint64_t
hist_quantile_us(const struct hist *h, double q)
{
	uint64_t need = (uint64_t)(q * (double)h->n), seen = 0, top;
	size_t i;

	if (h->n == 0)
		return 0;
	if (need >= h->n)
		need = h->n - 1;
	for (i = 0; i < HIST_BUCKETS - 1; i++) {
		seen += h->count[i];
		if (seen > need)
			break;
	}
	top = bucket_top(i);
	return top < h->max_us ? top : h->max_us;
}

void
hist_print(const struct hist *h, FILE *out)
{
	fprintf(out,
	    "{\"count\":%llu,\"mean\":%llu,\"p50\":%llu,\"p90\":%llu,"
	    "\"p99\":%llu,\"p99_9\":%llu,\"max\":%llu}",
	    (unsigned long long)h->n,
	    (unsigned long long)(h->n > 0 ? h->sum_us / h->n : 0),
	    (unsigned long long)hist_quantile_us(h, 0.5),
	    (unsigned long long)hist_quantile_us(h, 0.9),
	    (unsigned long long)hist_quantile_us(h, 0.99),
	    (unsigned long long)hist_quantile_us(h, 0.999),
	    (unsigned long long)h->max_us);
}

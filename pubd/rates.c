/* SPDX-License-Identifier: MIT */
/*
 * Buckets in an array sorted by their keys.  Invariant: whoever is not in it
 * has a full bucket, or is among `others`.  Pure.
 */
#include "rates.h"

#include <stdbool.h>
#include <string.h>

#define MILLION UINT64_C(1000000)

void
rates_init(struct rates *rs)
{
	memset(rs, 0, sizeof(*rs));
}

/* Time brings tokens, up to the burst; a full bucket can be forgotten. */
static void
refill(struct rates_bucket *b, uint64_t now_us)
{
	const struct rates_rule *r = &b->rule;
	uint64_t full = r->burst * MILLION, gone_us;

	if (b->seen_us == 0)
		return;
	gone_us = now_us > b->seen_us ? now_us - b->seen_us : 0;
	/* A microsecond brings per_s millionths. */
	if (r->per_s == 0 || b->tokens >= full ||
	    gone_us > (full - b->tokens) / r->per_s) {
		b->seen_us = 0;
		return;
	}
	b->tokens += gone_us * r->per_s;
	b->seen_us = now_us;
}

/* ---- the table ---------------------------------------------------------- */

static bool
is_below(const struct rates_key *a, const struct rates_key *b)
{
	return a->uid != b->uid ? a->uid < b->uid : a->line < b->line;
}

/* The first place whose key is not below this one. */
static size_t
rates_place(const struct rates *rs, const struct rates_key *key)
{
	size_t low = 0, high = rs->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (is_below(&rs->list[mid].key, key))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Forgets those whose buckets are full. */
static void
sweep(struct rates *rs, uint64_t now_us)
{
	size_t i, kept = 0;

	for (i = 0; i < rs->n; i++) {
		struct rates_bucket b = rs->list[i];

		refill(&b, now_us);
		if (b.seen_us != 0)
			rs->list[kept++] = b;
	}
	rs->n = kept;
}

static struct rates_bucket *
find(struct rates *rs, const struct rates_key *key)
{
	size_t at = rates_place(rs, key);

	return at < rs->n && !is_below(key, &rs->list[at].key) ? &rs->list[at]
							       : &rs->others;
}

/* Its bucket; it is made if there is room for it. */
static struct rates_bucket *
rates_enter(struct rates *rs, const struct rates_key *key, uint64_t now_us)
{
	struct rates_bucket *b = find(rs, key);
	size_t at;

	if (b != &rs->others)
		return b;
	if (rs->n == RATES_MAX)
		sweep(rs, now_us);
	if (rs->n == RATES_MAX)
		return b;
	at = rates_place(rs, key);
	memmove(&rs->list[at + 1], &rs->list[at],
	    (rs->n - at) * sizeof(rs->list[0]));
	rs->n++;
	rs->list[at] = (struct rates_bucket){.key = *key};
	return &rs->list[at];
}

/* ---- tokens ------------------------------------------------------------- */

enum status
rates_take(struct rates *rs, struct rates_key key, struct rates_rule rule,
    uint64_t n, uint64_t now_us, uint64_t *wait_us)
{
	struct rates_bucket *b;

	*wait_us = 0;
	if (rule.per_s == 0)
		return ST_OK;
	if (n > rule.burst)
		return ST_TOOLARGE;
	b = rates_enter(rs, &key, now_us);
	b->rule = rule;
	refill(b, now_us);
	if (b->seen_us == 0) {
		b->tokens = rule.burst * MILLION;
		b->seen_us = now_us;
	}
	if (b->tokens < n * MILLION) {
		*wait_us = (n * MILLION - b->tokens) / rule.per_s + 1;
		return ST_BUSY;
	}
	b->tokens -= n * MILLION;
	return ST_OK;
}

void
rates_give_back(struct rates *rs, struct rates_key key, uint64_t n)
{
	struct rates_bucket *b = find(rs, &key);

	if (b->seen_us != 0)
		b->tokens += n * MILLION;
}

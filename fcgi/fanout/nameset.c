/* SPDX-License-Identifier: MIT */
/* Open addressing; at most half of the slots are taken. */
#include "nameset.h"

#include <assert.h>
#include <string.h>

#include "hashtable.h"

#define FEW 3 /* so few are compared faster than hashed */

int
nameset_compare(const void *a, const void *b)
{
	const struct span *x = a, *y = b;
	size_t n = x->len < y->len ? x->len : y->len;
	int c = n == 0 ? 0 : memcmp(x->p, y->p, n);

	if (c != 0)
		return c;
	return x->len < y->len ? -1 : x->len > y->len;
}

static size_t
first_slot(struct span name)
{
	return hashtable_hash(name.p, name.len) % NAMESET_SLOTS;
}

void
nameset_init(struct nameset *set, const struct span *name, size_t n)
{
	size_t i;

	assert(n <= NAMESET_MAX);
	*set = (struct nameset){.name = name, .n = n};
	for (i = 0; n > FEW && i < n; i++) {
		size_t at = first_slot(name[i]);

		while (set->slot[at] != 0)
			at = (at + 1) % NAMESET_SLOTS;
		set->slot[at] = (uint8_t)(i + 1);
	}
}

bool
nameset_has(const struct nameset *set, struct span name)
{
	size_t i;

	if (set->n <= FEW) {
		for (i = 0; i < set->n; i++)
			if (span_eq(set->name[i], name))
				return true;
		return false;
	}
	for (i = first_slot(name); set->slot[i] != 0;
	     i = (i + 1) % NAMESET_SLOTS)
		if (span_eq(set->name[set->slot[i] - 1], name))
			return true;
	return false;
}

size_t
nameset_reduce(struct span *prefix, size_t n)
{
	size_t i, kept = 0;

	/* Sorted, what begins with another one comes right behind it. */
	for (i = 0; i < n; i++)
		if (kept == 0 || !span_starts(prefix[i], prefix[kept - 1]))
			prefix[kept++] = prefix[i];
	return kept;
}

bool
nameset_begins(const struct span *prefix, size_t n, struct span name)
{
	size_t lo = 0, hi = n;

	/* The last one that is not behind the name: no other can begin it. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (nameset_compare(&prefix[mid], &name) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 && span_starts(name, prefix[lo - 1]);
}

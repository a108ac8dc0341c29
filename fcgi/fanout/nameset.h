/* SPDX-License-Identifier: MIT */
/*
 * A set of names, or of prefixes, that is searched for every event of the log:
 * a search costs one hash look-up among names, and one binary search among
 * prefixes, however many there are.  Pure.
 */
#ifndef WALCAST_NAMESET_H
#define WALCAST_NAMESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"

#define NAMESET_MAX   64
#define NAMESET_SLOTS 128 /* a power of two, twice as many */

struct nameset {
	const struct span *name; /* the caller's; sorted, no two equal */
	size_t n;
	uint8_t slot[NAMESET_SLOTS]; /* 1 + index in name; 0: none */
};

/* The order in which names have to be. */
int nameset_compare(const void *a, const void *b);

/* n   at most NAMESET_MAX; the spans must outlive the set */
void nameset_init(struct nameset *set, const struct span *name, size_t n);

bool nameset_has(const struct nameset *set, struct span name);

/*
 * Leaves out what begins with another one of the list, so that of what is left
 * at most one can be the beginning of any name.  Returns how many are left.
 *
 * prefix   sorted
 */
size_t nameset_reduce(struct span *prefix, size_t n);

/* Does the name begin with one of them?  They are reduced and sorted. */
bool nameset_begins(const struct span *prefix, size_t n, struct span name);

#endif

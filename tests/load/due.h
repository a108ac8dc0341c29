/* SPDX-License-Identifier: MIT */
/*
 * Timers of numbered objects: a heap with at most one entry for each
 * number below `n`.  Pure: time is passed in.
 */
#ifndef DUE_H
#define DUE_H

#include <stddef.h>
#include <stdint.h>

#define DUE_NEVER UINT64_MAX

struct due;

/* Ends the program when there is no memory. */
struct due *due_new(size_t n);
void due_free(struct due **d);

/* Sets or moves the timer of `who`. */
void due_set(struct due *d, size_t who, uint64_t at_us);
void due_clear(struct due *d, size_t who);

/* When the earliest timer is due; DUE_NEVER: none is set. */
uint64_t due_next_us(const struct due *d);

/* Takes the earliest timer that is due at now_us, or returns SIZE_MAX. */
size_t due_take(struct due *d, uint64_t now_us);

#endif

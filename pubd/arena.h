/* SPDX-License-Identifier: MIT */
/*
 * Memory for copies that are forgotten together.  Pieces never move.  One
 * owner, one thread.
 */
#ifndef WALCAST_ARENA_H
#define WALCAST_ARENA_H

#include <stddef.h>

#include "span.h"
#include "status.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks; /* the newest first */
	struct arena_chunk *spare;  /* kept over arena_reset */
};

void arena_init(struct arena *a);
void arena_fini(struct arena *a);

/* n bytes, aligned for any type, not cleared; NULL when there are none. */
void *arena_take(struct arena *a, size_t n);

/* A copy of s in *out; an empty one without memory of its own. */
MUST_USE enum status arena_copy(struct arena *a, struct span s,
    struct span *out);

/* Forgets everything; keeps one chunk for the next time. */
void arena_reset(struct arena *a);

#endif

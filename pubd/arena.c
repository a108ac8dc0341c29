/* SPDX-License-Identifier: MIT */
/*
 * A list of chunks, filled from the front of each.  What is larger than a
 * chunk gets one of its own.  Invariant: used <= size.  Never blocks.
 */
#include "arena.h"

#include <stdalign.h>
#include <stdlib.h>

#define CHUNK_BYTES ((size_t)256 * 1024)

struct arena_chunk {
	struct arena_chunk *next;
	size_t size, used;
	alignas(max_align_t) char bytes[];
};

void
arena_init(struct arena *a)
{
	*a = (struct arena){NULL, NULL};
}

static void
free_list(struct arena_chunk *c)
{
	struct arena_chunk *next;

	for (; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
}

void
arena_fini(struct arena *a)
{
	free_list(a->chunks);
	free(a->spare);
	arena_init(a);
}

static struct arena_chunk *
new_chunk(struct arena *a, size_t n)
{
	struct arena_chunk *c = a->spare;
	size_t size = n > CHUNK_BYTES ? n : CHUNK_BYTES;

	if (c != NULL && n <= c->size) {
		a->spare = NULL;
	} else {
		c = malloc(sizeof(*c) + size);
		if (c == NULL)
			return NULL;
		c->size = size;
	}
	c->used = 0;
	c->next = a->chunks;
	a->chunks = c;
	return c;
}

void *
arena_take(struct arena *a, size_t n)
{
	struct arena_chunk *c = a->chunks;
	void *p;

	if (n > SIZE_MAX / 2)
		return NULL;
	n = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (c == NULL || n > c->size - c->used) {
		c = new_chunk(a, n);
		if (c == NULL)
			return NULL;
	}
	p = c->bytes + c->used;
	c->used += n;
	return p;
}

enum status
arena_copy(struct arena *a, struct span s, struct span *out)
{
	char *p;

	if (s.len == 0) {
		*out = s.p == NULL ? SPAN_NONE : SPAN("");
		return ST_OK;
	}
	p = arena_take(a, s.len);
	if (p == NULL)
		return ST_NOMEM;
	memcpy(p, s.p, s.len);
	*out = span_of(p, s.len);
	return ST_OK;
}

void
arena_reset(struct arena *a)
{
	struct arena_chunk *c = a->chunks;

	if (c != NULL && a->spare == NULL && c->size == CHUNK_BYTES) {
		a->spare = c;
		c = c->next;
	}
	free_list(c);
	a->chunks = NULL;
}

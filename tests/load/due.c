/* SPDX-License-Identifier: MIT */
/* Timers of numbered objects; see due.h. */
#include "due.h"

#include <assert.h>
#include <stdlib.h>

#include "tool.h"

struct entry {
	uint64_t at_us;
	size_t who;
};

struct due {
	size_t n;
	size_t len;
	size_t *place; /* who -> index in heap + 1; 0: not set */
	struct entry *heap;
};

struct due *
due_new(size_t n)
{
	struct due *d = tool_alloc(1, sizeof(*d));

	d->n = n;
	d->place = tool_alloc(n, sizeof(*d->place));
	d->heap = tool_alloc(n, sizeof(*d->heap));
	return d;
}

void
due_free(struct due **d)
{
	if (*d == NULL)
		return;
	free((*d)->place);
	free((*d)->heap);
	free(*d);
	*d = NULL;
}

static void
put(struct due *d, size_t i, struct entry e)
{
	d->heap[i] = e;
	d->place[e.who] = i + 1;
}

static void
sift_up(struct due *d, size_t i)
{
	struct entry e = d->heap[i];

	while (i > 0 && d->heap[(i - 1) / 2].at_us > e.at_us) {
		put(d, i, d->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	put(d, i, e);
}

static void
sift_down(struct due *d, size_t i)
{
	struct entry e = d->heap[i];
	size_t kid;

	while ((kid = 2 * i + 1) < d->len) {
		if (kid + 1 < d->len &&
		    d->heap[kid + 1].at_us < d->heap[kid].at_us)
			kid++;
		if (d->heap[kid].at_us >= e.at_us)
			break;
		put(d, i, d->heap[kid]);
		i = kid;
	}
	put(d, i, e);
}

void
due_clear(struct due *d, size_t who)
{
	size_t i = d->place[who];
	struct entry last;

	if (i-- == 0)
		return;
	d->place[who] = 0;
	last = d->heap[--d->len];
	if (i == d->len)
		return;
	put(d, i, last);
	sift_up(d, i);
	sift_down(d, d->place[last.who] - 1);
}

void
due_set(struct due *d, size_t who, uint64_t at_us)
{
	assert(who < d->n);
	due_clear(d, who);
	put(d, d->len, (struct entry){at_us, who});
	d->len++;
	sift_up(d, d->len - 1);
}

uint64_t
due_next_us(const struct due *d)
{
	return d->len > 0 ? d->heap[0].at_us : DUE_NEVER;
}

size_t
due_take(struct due *d, uint64_t now_us)
{
	size_t who;

	if (d->len == 0 || d->heap[0].at_us > now_us)
		return SIZE_MAX;
	who = d->heap[0].who;
	due_clear(d, who);
	return who;
}

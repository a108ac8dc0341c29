/* SPDX-License-Identifier: MIT */
/*
 * The newest frames.  Two circles: an area of bytes with the texts, one behind
 * the other, and an array of slots that say where each text is.  A text is
 * never split, so that it can be handed out as a span: one that does not fit
 * before the end of the area begins at its start, and the rest stays unused.
 *
 *	area   |dddd|eeeeee|ff|......|aaaaa|bbbbbbb|cc|-----|
 *	                       ^tail  ^oldest         unused
 *
 * The text of an event is its frame, its envelope (or nothing), its channel
 * and its type, in this order; a slot has their lengths.  Entries are numbered
 * without end, and number % n_slots is where the slot of one stands; so a
 * number that somebody kept tells by itself whether its entry has left.
 *
 * Invariant: tail is where the newest text ends, or 0 with no entries.  Pure.
 */
#include "ring.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "frame.h"

#define BYTES_PER_SLOT 256 /* of text, for sizing the array of slots */
#define SLOTS_MIN      64

struct ring_slot {
	int64_t id;
	int64_t commit_us;
	size_t at;    /* of the texts in the area */
	uint32_t len; /* all of them together */
	uint32_t frame_len;
	uint32_t envelope_len;
	uint8_t channel_len, event_len;
};

struct ring {
	char *area;
	size_t area_bytes;
	size_t tail; /* where the next text goes */
	size_t used; /* texts in the area, bytes */
	struct ring_slot *slots;
	size_t n_slots;
	uint64_t first, end; /* numbers of the oldest entry, and past newest */
	int64_t base, head, envelope_base;
	struct buf scratch;
};

enum status
ring_new(struct ring **out, size_t max_bytes)
{
	struct ring *r = calloc(1, sizeof(*r));
	size_t unit = BYTES_PER_SLOT + sizeof(struct ring_slot);

	if (r == NULL)
		return ST_NOMEM;
	r->n_slots = max_bytes / unit;
	if (r->n_slots < SLOTS_MIN)
		r->n_slots = SLOTS_MIN;
	r->area_bytes = r->n_slots * BYTES_PER_SLOT;
	/* Untouched pages cost nothing: both grow with what is kept. */
	r->area = malloc(r->area_bytes);
	r->slots = calloc(r->n_slots, sizeof(struct ring_slot));
	if (r->area == NULL || r->slots == NULL) {
		ring_free(&r);
		return ST_NOMEM;
	}
	buf_init(&r->scratch, r->area_bytes / 4);
	*out = r;
	return ST_OK;
}

void
ring_free(struct ring **r)
{
	if (*r == NULL)
		return;
	buf_fini(&(*r)->scratch);
	free((*r)->area);
	free((*r)->slots);
	free(*r);
	*r = NULL;
}

static struct ring_slot *
slot_of(const struct ring *r, uint64_t number)
{
	return &r->slots[number % r->n_slots];
}

/* All entries leave; their numbers are not given out again. */
static void
empty(struct ring *r, int64_t base)
{
	r->first = r->end;
	r->tail = 0;
	r->used = 0;
	r->base = base;
	if (r->envelope_base < base)
		r->envelope_base = base;
}

void
ring_reset(struct ring *r, int64_t base)
{
	empty(r, base);
	r->head = base;
	r->envelope_base = base;
}

/* The oldest entry leaves, and its id becomes the base. */
static void
evict(struct ring *r)
{
	const struct ring_slot *s = slot_of(r, r->first);

	r->base = s->id;
	r->used -= s->len;
	r->first++;
	if (r->envelope_base < r->base)
		r->envelope_base = r->base;
	if (r->first == r->end)
		r->tail = 0;
}

/*
 * Is there room for a text of `len` bytes without touching one that is still
 * there?  *at is where.  Two cases:
 *
 *	oldest < tail   free are the end of the area, and the start of it up to
 *	                the oldest: the text goes into one of them as a whole
 *	tail <= oldest  the texts go round the end: free is what is between;
 *	                nothing at all when they are equal
 */
static bool
ring_has_room(const struct ring *r, size_t len, size_t *at)
{
	size_t oldest;

	if (r->end - r->first >= r->n_slots)
		return false;
	*at = r->tail;
	if (r->first == r->end)
		return true;
	oldest = slot_of(r, r->first)->at;
	if (r->tail > oldest) {
		if (len <= r->area_bytes - r->tail)
			return true;
		*at = 0;
		return len <= oldest;
	}
	return r->tail < oldest && len <= oldest - r->tail;
}

/* SQL with checks turned off could have stored a name of any length. */
static struct span
clip(struct span name)
{
	return span_of(name.p, name.len < UINT8_MAX ? name.len : UINT8_MAX);
}

static enum status
encode(struct ring *r, const struct event *e, bool with_envelope,
    struct ring_slot *s)
{
	struct buf *b = &r->scratch;
	struct span channel = clip(e->channel), event = clip(e->event);
	enum status st;

	buf_clear(b);
	st = frame_event(b, e);
	s->frame_len = (uint32_t)b->len;
	if (st == ST_OK && with_envelope)
		st = frame_envelope(b, e);
	s->envelope_len = (uint32_t)(b->len - s->frame_len);
	if (st == ST_OK)
		st = buf_append(b, channel);
	if (st == ST_OK)
		st = buf_append(b, event);
	s->channel_len = (uint8_t)channel.len;
	s->event_len = (uint8_t)event.len;
	s->id = e->id;
	s->len = (uint32_t)b->len;
	return st;
}

enum status
ring_push(struct ring *r, const struct event *e, bool with_envelope,
    int64_t commit_us)
{
	struct ring_slot s = {.commit_us = commit_us};
	enum status st = encode(r, e, with_envelope, &s);

	assert(e->id > r->head);
	r->head = e->id;
	if (st != ST_OK) {
		/* The ring must hold every event above its base. */
		empty(r, e->id);
		buf_shrink(&r->scratch, 64 * 1024);
		return st;
	}
	while (!ring_has_room(r, s.len, &s.at))
		evict(r);
	memcpy(r->area + s.at, r->scratch.base + r->scratch.start, s.len);
	r->tail = s.at + s.len;
	r->used += s.len;
	*slot_of(r, r->end) = s;
	r->end++;
	/* From here back, what wants envelopes has to read the store. */
	if (!with_envelope)
		r->envelope_base = e->id;
	return ST_OK;
}

int64_t
ring_base(const struct ring *r)
{
	return r->base;
}

int64_t
ring_head(const struct ring *r)
{
	return r->head;
}

int64_t
ring_envelope_base(const struct ring *r)
{
	return r->envelope_base;
}

uint64_t
ring_seek(const struct ring *r, int64_t after_id)
{
	uint64_t lo = r->first, hi = r->end;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (slot_of(r, mid)->id > after_id)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

uint64_t
ring_first(const struct ring *r)
{
	return r->first;
}

uint64_t
ring_end(const struct ring *r)
{
	return r->end;
}

void
ring_get(const struct ring *r, uint64_t number, struct ring_entry *out)
{
	const struct ring_slot *s = slot_of(r, number);
	const char *p = r->area + s->at;

	assert(number >= r->first && number < r->end);
	out->id = s->id;
	out->commit_us = s->commit_us;
	out->frame = span_of(p, s->frame_len);
	p += s->frame_len;
	out->envelope = s->envelope_len == 0 ? SPAN_NONE
					     : span_of(p, s->envelope_len);
	p += s->envelope_len;
	out->channel = span_of(p, s->channel_len);
	out->event = span_of(p + s->channel_len, s->event_len);
}

size_t
ring_count(const struct ring *r)
{
	return (size_t)(r->end - r->first);
}

size_t
ring_bytes(const struct ring *r)
{
	return r->used + ring_count(r) * sizeof(struct ring_slot);
}

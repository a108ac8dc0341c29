/* SPDX-License-Identifier: MIT */
/*
 * The fan-out: the log's side of the hub.  Owns the ring, the subscriptions
 * and the matches of the batch under way.
 *
 * To take an event walks no list of streams, and allocates nothing once the
 * ring's scratch buffer has grown: a match is 16 bytes of an array that was
 * made at the start, and only subscriptions with live streams get one.  A batch
 * is bounded, and hub_take says when it is to be dispatched; for what exceeds
 * the bounds nothing is kept, its streams fall behind and read the ring each by
 * itself.  So a bound that is met costs time, and never an event.
 */
#include "hub_private.h"

#include <assert.h>
#include <stdlib.h>

#include "clock.h"
#include "random.h"
#include "revocation.h"

#define MATCHES_MAX   (1u << 18) /* pairs of event and subscription, a batch */
#define NO_MATCH      UINT32_MAX
#define TAKE_OVERHEAD 512 /* what an event needs beside its data */
#define CLOCK_WRITES  8   /* a few us: the clock is read once in them */

struct match {
	uint64_t entry; /* number in the ring */
	uint32_t next;  /* of the same subscription; or NO_MATCH */
};

/* ---- making ------------------------------------------------------------ */

enum status
hub_new(struct hub **out, struct loop *l, const struct hub_options *o)
{
	struct hub *h = calloc(1, sizeof(*h));
	enum status st;

	if (h == NULL)
		return ST_NOMEM;
	h->loop = l;
	h->o = *o;
	h->counters.out.timed = o->timed;
	h->random = random_seed();
	STAILQ_INIT(&h->dirty);
	buf_init(&h->text, 8192);
	buf_init(&h->revocation, 16 * REVOCATION_MAX_VALUE);
	h->match = calloc(MATCHES_MAX, sizeof(*h->match));
	st = hub_begin_life(h);
	if (st == ST_OK)
		st = ring_new(&h->ring, o->ring_bytes);
	if (st == ST_OK)
		st = subs_new(&h->subs);
	if (st != ST_OK || h->match == NULL) {
		hub_free(&h);
		return ST_NOMEM;
	}
	*out = h;
	return ST_OK;
}

void
hub_free(struct hub **hp)
{
	struct hub *h = *hp;

	if (h == NULL)
		return;
	hub_end_life(h);
	subs_free(&h->subs);
	ring_free(&h->ring);
	buf_fini(&h->text);
	buf_fini(&h->revocation);
	free(h->traced);
	free(h->match);
	free(h);
	*hp = NULL;
}

/* ---- the log ----------------------------------------------------------- */

void
hub_set_bounds(struct hub *h, const struct store_bounds *b)
{
	h->bounds = *b;
}

const struct store_bounds *
hub_bounds(const struct hub *h)
{
	return &h->bounds;
}

int64_t
hub_head(const struct hub *h)
{
	return ring_head(h->ring);
}

static void
tell_unseen(struct hub *h)
{
	if (h->o.revoked != NULL)
		h->o.revoked(h->o.arg, NULL);
}

void
hub_reset(struct hub *h, const struct store_bounds *b, int64_t head)
{
	assert(STAILQ_EMPTY(&h->dirty));
	h->bounds = *b;
	h->head = head;
	ring_reset(h->ring, head);
}

void
hub_new_epoch(struct hub *h, const struct store_bounds *b,
    enum frame_gap_code code)
{
	hub_dispatch(h);
	hub_all_fall_behind(h);
	h->epoch++;
	h->epoch_code = code;
	hub_reset(h, b, b->oldest - 1);
	/*
	 * Those that wait for a page of the old log have to be told.  A blocked
	 * one is told when it has room; replay.c relies on this loop for there
	 * being nobody of an older epoch among those that wait.
	 */
	while (hub_first_paging(h) != NULL)
		hub_move(h, hub_first_paging(h), STREAM_READY);
	tell_unseen(h);
}

void
hub_skip(struct hub *h, int64_t base)
{
	hub_dispatch(h);
	hub_all_fall_behind(h);
	h->head = base;
	ring_reset(h->ring, base);
	tell_unseen(h);
}

/* ---- when events were committed ---------------------------------------- */

void
hub_woken(struct hub *h, int64_t head, const int64_t *at_us)
{
	commit_clock_told(&h->commit_clock, head, at_us);
}

/*
 * Unix time less monotonic time.  Rows have Unix time, and pubd's wakes
 * monotonic time; the clocks are compared once a turn, since one of them may
 * be set.
 */
static int64_t
wall_us(struct hub *h)
{
	if (h->wall_at_us != loop_now_us(h->loop)) {
		h->wall_at_us = loop_now_us(h->loop);
		h->wall_us = clock_real_ms() * 1000 - (int64_t)clock_mono_us();
	}
	return h->wall_us;
}

static uint64_t
unix_us(struct hub *h)
{
	return (uint64_t)(wall_us(h) + (int64_t)clock_mono_us());
}

int64_t
hub_commit_us(struct hub *h, const struct event *e)
{
	if (!h->o.timed)
		return 0;
	return commit_clock_time(&h->commit_clock, e->id,
	    e->ts_ms * 1000 - wall_us(h));
}

/* ---- taking events ----------------------------------------------------- */

/* Its live streams go on by themselves from `cursor`, each at its own pace. */
static void
sub_falls_behind(struct hub *h, struct sub *sub, int64_t cursor)
{
	struct stream *s;

	while ((s = TAILQ_FIRST(&sub->live)) != NULL)
		hub_fall_behind(h, s, cursor, STREAM_READY);
}

/*
 * Called for each subscription that wants the event at hand.  Matches of one
 * subscription are a list in the order of their events.
 */
static void
note_match(void *arg, struct sub *sub)
{
	struct hub *h = arg;
	uint32_t at = h->n_matches;

	if (sub->n_live == 0)
		return;
	h->n_wanting += sub->n_live;
	if (at == MATCHES_MAX) {
		/* UNTESTED: more subscriptions want one event than a batch
		 * has matches for */
		sub_falls_behind(h, sub, h->head);
		return;
	}
	h->match[at] = (struct match){ring_end(h->ring) - 1, NO_MATCH};
	h->n_matches++;
	if (!sub->dirty) {
		sub->dirty = true;
		sub->first_match = at;
		STAILQ_INSERT_TAIL(&h->dirty, sub, dirty_link);
	} else {
		h->match[sub->last_match].next = at;
	}
	sub->last_match = at;
}

/*
 * Everybody who wants an event that the ring cannot hold falls behind the
 * ring, whose base that event is now, and reads it out of a page.
 */
static void
send_by_page(void *arg, struct sub *sub)
{
	struct hub *h = arg;

	sub_falls_behind(h, sub, h->head);
}

/*
 * A revocation is nobody's event: it only takes its place in the ring.  It ends
 * the batch, and is told behind what was before it.
 */
static void
take_revocation(struct hub *h, const struct event *e)
{
	buf_clear(&h->revocation);
	h->revocation_id = e->id;
	if (buf_append(&h->revocation, e->data) != ST_OK)
		buf_clear(&h->revocation); /* told as one that went unseen */
}

static void
tell_revocation(struct hub *h)
{
	struct event e = {.id = h->revocation_id,
	    .channel = SPAN(REVOCATION_CHANNEL),
	    .event = SPAN(REVOCATION_EVENT)};

	h->revocation_id = 0;
	if (h->o.revoked == NULL)
		return;
	if (h->revocation.len > 0)
		e.data = buf_span(&h->revocation);
	h->o.revoked(h->o.arg, h->revocation.len > 0 ? &e : NULL);
}

bool
hub_take(struct hub *h, const struct event *e)
{
	bool ends = span_eq(e->channel, SPAN(REVOCATION_CHANNEL));

	if (ends)
		take_revocation(h, e);
	else
		h->counters.n_events_in++;
	h->n_wanting = 0;
	h->taken_bytes += e->data.len + TAKE_OVERHEAD;
	if (ring_push(h->ring, e, subs_envelopes(h->subs),
		hub_commit_us(h, e)) != ST_OK) {
		subs_find(h->subs, e->channel, e->event, send_by_page, h);
		return false;
	}
	subs_find(h->subs, e->channel, e->event, note_match, h);
	if (e->trace.len > 0 && h->tracing)
		traced_add(h->traced, e, h->n_wanting, unix_us(h));
	return !ends && h->n_matches < MATCHES_MAX / 2 &&
	    h->taken_bytes < h->o.ring_bytes / 4;
}

/* ---- dispatch ---------------------------------------------------------- */

/*
 * Writes one chunk to all live streams of a subscription.  They have no place
 * of their own: each is given `from` for the write, and what it has become
 * counts only where the write was cut.
 */
static void
write_chunk(struct hub *h, struct sub *sub, int64_t from)
{
	struct stream_counters *out = &h->counters.out;
	struct stream *s, *next;
	struct chunk_place start = {.cursor = from};
	unsigned i = 0;

	out->keep_now = true;
	for (s = TAILQ_FIRST(&sub->live); s != NULL; s = next) {
		enum status st;

		next = TAILQ_NEXT(s, link);
		if (i++ % CLOCK_WRITES == 0)
			out->now_us = 0;
		s->place = start;
		st = stream_send_chunk(s, &h->chunk, out);
		if (st == ST_OK) {
			s->last_write_us = loop_now_us(h->loop);
			continue;
		}
		if (st == ST_AGAIN) {
			struct chunk_place place = s->place;

			/* which hub_fall_behind would set to `from` */
			hub_fall_behind(h, s, from, STREAM_BLOCKED);
			s->place = place;
			hub_ask_out(h, s, true);
		} else {
			hub_end_left(h, s);
		}
	}
	out->keep_now = false;
	out->now_us = 0;
}

/*
 * Sends all matches of a subscription to its live streams, in chunks as large
 * as they may be.  `from` is the place between two chunks: all streams that
 * are still live stand there.
 */
static void
dispatch_sub(struct hub *h, struct sub *sub)
{
	uint32_t m = sub->first_match;
	int64_t from = h->head;

	while (m != NO_MATCH && sub->n_live > 0) {
		struct chunk_place start = {.cursor = from};
		struct ring_entry e;

		chunk_begin(&h->chunk, &start, CHUNK_CONTENT_BYTES, false);
		for (; m != NO_MATCH; m = h->match[m].next) {
			if (h->match[m].entry < ring_first(h->ring)) {
				/* It left the ring before it was sent. */
				sub_falls_behind(h, sub, from);
				return;
			}
			ring_get(h->ring, h->match[m].entry, &e);
			if (!chunk_add(&h->chunk, e.id, hub_text_of(sub, &e),
				e.commit_us))
				break;
		}
		if (h->chunk.part_id != 0) { /* longer than one write */
			sub_falls_behind(h, sub, from);
			return;
		}
		write_chunk(h, sub, from);
		from = h->chunk.scanned_id;
	}
}

static void
tell_traced(struct hub *h)
{
	uint64_t now_us;
	size_t i;

	if (h->traced->n == 0)
		return;
	now_us = unix_us(h);
	for (i = 0; i < h->traced->n; i++)
		h->o.dispatched(h->o.arg, &h->traced->item[i].event, now_us);
	h->traced->n = 0;
}

void
hub_dispatch(struct hub *h)
{
	struct sub *sub;

	while ((sub = STAILQ_FIRST(&h->dirty)) != NULL) {
		STAILQ_REMOVE_HEAD(&h->dirty, dirty_link);
		sub->dirty = false;
		dispatch_sub(h, sub);
	}
	h->n_matches = 0;
	h->taken_bytes = 0;
	h->head = ring_head(h->ring);
	if (h->tracing)
		tell_traced(h);
	if (h->revocation_id != 0)
		tell_revocation(h);
}

/* ---- what others may look at ------------------------------------------- */

size_t
hub_n_streams(const struct hub *h)
{
	return h->n_streams;
}

uint32_t
hub_epoch(const struct hub *h)
{
	return h->epoch;
}

void
hub_set_tracing(struct hub *h, bool on)
{
	if (h->o.dispatched == NULL)
		return;
	if (on && h->traced == NULL)
		h->traced = calloc(1, sizeof(*h->traced));
	h->tracing = on && h->traced != NULL;
}

void
hub_count(const struct hub *h, struct hub_counters *out)
{
	*out = h->counters;
}

void
hub_count_gap(struct hub *h, enum frame_gap_code code)
{
	h->counters.n_gaps[code]++;
}

/* ---- subscriptions ------------------------------------------------------ */

enum status
hub_subscribe(struct hub *h, const struct sub_spec *spec, struct sub **out)
{
	return subs_ref(h->subs, spec, out);
}

void
hub_unsubscribe(struct hub *h, struct sub **sub)
{
	subs_unref(h->subs, sub);
}

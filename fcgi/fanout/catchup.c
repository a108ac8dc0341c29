/* SPDX-License-Identifier: MIT */
/*
 * Streams that are behind: just opened, or with a socket that was full.  Each
 * is served alone from its place: out of the ring where the ring reaches, else
 * out of a page that replay.c gives it, and is live again when it has all up to
 * the hub's head at the end of a record.
 *
 * Work in one turn is bounded by streams, bytes written and entries looked at,
 * since the live ones wait meanwhile; who has had its part goes to the end of
 * the list.  Nothing here blocks.
 */
#include "hub_private.h"

#include <assert.h>

#include "fmt.h"
#include "stream_log.h"

#define SERVE_STREAMS 256        /* streams served in one turn */
#define SERVE_CHUNKS  8          /* chunks for one stream in one turn */
#define RING_SCAN     8192       /* entries looked at for one chunk */
#define SERVE_BYTES   (1u << 20) /* written by one hub_serve */
#define SERVE_SCAN    (1u << 15) /* entries looked at by one hub_serve */
#define NEWEST_SCAN   65536      /* entries looked at for the newest n */
#define LAGGING_US    5000000    /* behind for so long is worth a line */
#define LOOK_US       1000000    /* how often they are looked for */

/* Does the ring hold everything after this place, as this stream wants it? */
static bool
ring_reaches(const struct hub *h, const struct stream *s)
{
	int64_t base = s->sub->envelope ? ring_envelope_base(h->ring)
					: ring_base(h->ring);

	return s->place.cursor >= base;
}

/*
 * Puts together what follows the stream's place.  A subscription that wants
 * one event in a million makes this look at many entries: it stops after
 * RING_SCAN, and the chunk, though empty, has brought the stream further.
 */
static void
fill_from_ring(struct hub *h, struct stream *s)
{
	uint64_t n = ring_seek(h->ring, s->place.cursor);
	uint64_t end_n = ring_end(h->ring), stop = n + RING_SCAN;
	struct ring_entry e;

	for (; n < end_n && n < stop; n++) {
		h->n_scanned++;
		ring_get(h->ring, n, &e);
		if (!subs_match(s->sub, e.channel, e.event)) {
			chunk_scanned(&h->chunk, e.id);
			continue;
		}
		if (!chunk_add(&h->chunk, e.id, hub_text_of(s->sub, &e),
			e.commit_us))
			return;
	}
	if (n == end_n)
		chunk_scanned(&h->chunk, ring_head(h->ring));
}

/* A record that was promised is filled exactly; see chunk.h. */
static size_t
chunk_limit(const struct stream *s, bool *exact)
{
	*exact = s->rec_left > 0;
	return *exact ? s->rec_left : CHUNK_CONTENT_BYTES;
}

/* ---- what is not there any more ---------------------------------------- */

/*
 * Its place is in a log that is no more.  Half an event of that log cannot be
 * completed: then the stream is cut, and its client told when it comes back.
 */
static void
tell_epoch(struct hub *h, struct stream *s)
{
	char requested[FMT_INT64_MAX];
	struct frame_gap g = {
	    .code = h->epoch_code,
	    .position = h->bounds.oldest - 1,
	    .oldest = h->bounds.oldest,
	    .newest = h->bounds.head,
	    .lost = h->bounds.oldest - 1,
	};

	if (!stream_at_border(s)) {
		hub_break(h, s);
		return;
	}
	g.requested = span_of(requested, fmt_int64(requested, s->place.cursor));
	s->epoch = h->epoch;
	s->born_id = h->bounds.head;
	hub_give_gap(h, s, &g);
}

void
hub_give_gap(struct hub *h, struct stream *s, const struct frame_gap *g)
{
	enum status st;

	if (!stream_at_border(s)) {
		hub_break(h, s);
		return;
	}
	h->counters.n_gaps[g->code]++;
	stream_log_gap(s->id, g, loop_now_us(h->loop));
	stream_move(s, g->position);
	buf_clear(&h->text);
	st = frame_gap(&h->text, g);
	if (st == ST_OK)
		st = stream_send_text(s, buf_span(&h->text), &h->counters.out);
	if (hub_wrote(h, s, st) && s->state != STREAM_READY)
		hub_move(h, s, STREAM_READY);
}

/*
 * Nothing is there to fill the record or the frame under way: its event was
 * deleted, or all has been looked at and the promised bytes are not there.
 */
static bool
cannot_go_on(const struct hub *h, const struct chunk *r)
{
	return r->broken ||
	    (r->exact && r->len == 0 && r->scanned_id >= ring_head(h->ring));
}

/* ---- serving ----------------------------------------------------------- */

/*
 * Has it got everything?  Then it is live.  This is the only way into that
 * state, and the seam between what it read by itself and what it shares: no
 * event may be taken and not dispatched now, or it would never get that one.
 */
static bool
caught_up(struct hub *h, struct stream *s)
{
	assert(h->head == ring_head(h->ring));
	if (!stream_at_border(s) || s->place.cursor < h->head)
		return false;
	hub_ask_out(h, s, false);
	hub_move(h, s, STREAM_LIVE);
	return true;
}

/*
 * One step of a stream that has room: control text that waits first, then the
 * word that the log is another one, then events.  False when it can take no
 * more in this turn.
 */
static bool
serve_run(struct hub *h, struct stream *s)
{
	size_t limit;
	bool exact;

	if (s->pend != NULL &&
	    !hub_wrote(h, s, stream_flush(s, &h->counters.out)))
		return false;
	if (s->epoch != h->epoch) {
		tell_epoch(h, s);
		return s->state == STREAM_READY;
	}
	if (caught_up(h, s))
		return false;
	if (!ring_reaches(h, s)) {
		hub_ask_out(h, s, false);
		hub_move(h, s, STREAM_PAGING);
		return false;
	}
	limit = chunk_limit(s, &exact);
	chunk_begin(&h->chunk, &s->place, limit, exact);
	fill_from_ring(h, s);
	if (cannot_go_on(h, &h->chunk)) {
		hub_break(h, s);
		return false;
	}
	return hub_wrote(h, s,
	    stream_send_chunk(s, &h->chunk, &h->counters.out));
}

/* A stream's part of a turn. */
static void
serve(struct hub *h, struct stream *s)
{
	uint64_t scan_upto = h->n_scanned + RING_SCAN;
	int i;

	for (i = 0; i < SERVE_CHUNKS && h->n_scanned < scan_upto; i++)
		if (!serve_run(h, s))
			return;
	/* Enough for this turn: the others first. */
	TAILQ_REMOVE(&h->ready, s, link);
	TAILQ_INSERT_TAIL(&h->ready, s, link);
}

void
hub_serve(struct hub *h)
{
	uint64_t upto = h->counters.out.n_bytes + SERVE_BYTES;
	uint64_t scan_upto = h->n_scanned + SERVE_SCAN;
	int i;

	for (i = 0; i < SERVE_STREAMS && !TAILQ_EMPTY(&h->ready) &&
	     h->counters.out.n_bytes < upto && h->n_scanned < scan_upto;
	     i++)
		serve(h, TAILQ_FIRST(&h->ready));
}

bool
hub_busy(const struct hub *h)
{
	return !TAILQ_EMPTY(&h->ready);
}

/* ---- pages of the store ------------------------------------------------ */

/* Of the queue whose turn it is; `leave` (lifecycle.c) passes the turn on. */
struct stream *
hub_first_paging(const struct hub *h)
{
	unsigned i;

	for (i = 0; i < HUB_QUEUES; i++) {
		unsigned at = (h->paging_at + i) % HUB_QUEUES;

		if (!TAILQ_EMPTY(&h->paging[at]))
			return TAILQ_FIRST(&h->paging[at]);
	}
	return NULL;
}

void
hub_later(struct hub *h, struct stream *s)
{
	assert(s->state == STREAM_PAGING);
	hub_move(h, s, STREAM_PAGING);
}

void
hub_send_page(struct hub *h, struct stream *s,
    void (*fill)(const void *page, int64_t cursor, struct chunk *r),
    const void *page)
{
	uint64_t before = h->counters.out.n_events;
	enum status st;
	size_t limit;
	bool exact;

	/* A new epoch takes all streams out of the queues to be told. */
	assert(s->state == STREAM_PAGING && s->epoch == h->epoch);
	limit = chunk_limit(s, &exact);
	chunk_begin(&h->chunk, &s->place, limit, exact);
	fill(page, s->place.cursor, &h->chunk);
	if (cannot_go_on(h, &h->chunk)) {
		hub_break(h, s);
		return;
	}
	st = stream_send_chunk(s, &h->chunk, &h->counters.out);
	h->counters.n_replayed += h->counters.out.n_events - before;
	if (hub_wrote(h, s, st))
		hub_move(h, s, STREAM_READY);
}

/* ---- the newest ones ---------------------------------------------------- */

void
hub_find_newest(const struct hub *h, const struct sub *sub, int n,
    struct hub_newest *out)
{
	uint64_t number = ring_end(h->ring), first = ring_first(h->ring);
	size_t count = ring_count(h->ring);
	struct ring_entry e;

	*out = (struct hub_newest){.position = hub_head(h)};
	if (count > NEWEST_SCAN)
		first = number - NEWEST_SCAN;
	while (out->n_found < n && number > first) {
		ring_get(h->ring, --number, &e);
		if (!subs_match(sub, e.channel, e.event))
			continue;
		out->position = e.id - 1;
		out->n_found++;
	}
	if (out->n_found < n && count < NEWEST_SCAN)
		out->older = count == 0 ? hub_head(h) : ring_base(h->ring);
}

/* ---- how far they are behind ------------------------------------------- */

/* In ids.  A place in an older log lacks all that this one has. */
static int64_t
lag_of(const struct hub *h, const struct stream *s)
{
	return s->epoch == h->epoch ? h->head - s->place.cursor
				    : h->head - h->bounds.oldest + 1;
}

static void
tell_lagging(struct hub *h, struct stream_list *list, uint64_t now_us)
{
	struct stream *s;

	TAILQ_FOREACH (s, list, link) {
		if (s->told_lagging || lag_of(h, s) <= 0 ||
		    now_us - s->behind_since_us < LAGGING_US)
			continue;
		s->told_lagging = true;
		stream_log_lagging(s->id, lag_of(h, s),
		    now_us - s->behind_since_us, now_us);
	}
}

void
hub_tell_lagging(struct hub *h, uint64_t now_us)
{
	size_t i;

	if (now_us < h->look_us)
		return;
	h->look_us = now_us + LOOK_US;
	tell_lagging(h, &h->ready, now_us);
	for (i = 0; i < HUB_QUEUES; i++)
		tell_lagging(h, &h->paging[i], now_us);
	tell_lagging(h, &h->blocked, now_us);
}

static void
look_at(const struct hub *h, const struct stream *s, struct hub_survey *out)
{
	int64_t lag = lag_of(h, s);

	out->pending_bytes += s->pend == NULL ? 0 : s->pend->len;
	if (lag <= 0)
		return;
	out->n_lagging++;
	if (lag > out->max_lag)
		out->max_lag = lag;
	if (ring_reaches(h, s))
		return;
	out->n_replaying++;
	if (lag > out->replay_depth)
		out->replay_depth = lag;
}

static void
look_at_all(const struct hub *h, const struct stream_list *list,
    struct hub_survey *out)
{
	const struct stream *s;

	TAILQ_FOREACH (s, list, link)
		look_at(h, s, out);
}

void
hub_survey(const struct hub *h, struct hub_survey *out)
{
	size_t i;

	*out = (struct hub_survey){
	    .n_streams = h->n_streams,
	    .ring_bytes = ring_bytes(h->ring),
	    .ring_events = ring_count(h->ring),
	    .ring_oldest = ring_base(h->ring) + 1,
	    .n_untraced = h->traced == NULL ? 0 : h->traced->n_left_out,
	};
	look_at_all(h, &h->ready, out);
	look_at_all(h, &h->blocked, out);
	for (i = 0; i < HUB_QUEUES; i++)
		look_at_all(h, &h->paging[i], out);
}

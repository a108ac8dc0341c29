/* SPDX-License-Identifier: MIT */
/*
 * The fan-out.  Owns the ring, the subscriptions and every stream.
 *
 * One turn: events are taken (hub_take), which finds the subscriptions that
 * want them; hub_dispatch puts the text together once for each subscription
 * and writes it to its live streams; hub_serve does the same alone for each
 * stream that is behind.  Nothing here blocks.
 */
#include "hub.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fmt.h"
#include "log.h"
#include "random.h"
#include "record.h"

#define WHEEL_SLOTS   64
#define MATCHES_MAX   (1u << 18) /* of events with subscriptions, a batch */
#define NO_MATCH      UINT32_MAX
#define SERVE_STREAMS 1024       /* streams served in one turn */
#define SERVE_RUNS    8          /* runs for one stream in one turn */
#define RING_SCAN     8192       /* entries looked at for one run */
#define SERVE_BYTES   (4u << 20) /* written by one hub_serve */
#define SERVE_SCAN    (1u << 20) /* entries looked at by one hub_serve */
#define TAKE_OVERHEAD 512        /* what an event needs beside its data */
#define INPUT_SCRATCH 512

struct match {
	uint64_t entry; /* number in the ring */
	uint32_t next;  /* of the same subscription; or NO_MATCH */
};

STAILQ_HEAD(sub_list, sub);

struct hub {
	struct loop *loop;
	struct hub_options o;
	struct ring *ring;
	struct subs *subs;
	struct store_bounds bounds;
	int64_t head; /* live streams have everything up to here */
	uint32_t epoch;
	enum frame_gap_code epoch_code; /* how this epoch began */
	struct sub_list dirty;
	struct match *match;
	uint32_t n_matches;
	size_t taken_bytes; /* since the last dispatch */
	uint64_t n_scanned; /* entries looked at for streams behind */
	struct stream_list ready, paging, blocked, dead;
	struct stream_list wheel[WHEEL_SLOTS];
	struct timer tick;
	uint64_t tick_us;
	unsigned wheel_at;
	size_t n_streams;
	uint64_t random;
	struct hub_counters counters;
	struct buf text;
	struct run run;
};

static void on_stream(struct watch *w, uint32_t events);
static void on_tick(struct timer *t, uint64_t now_us);

/* ---- lists ----------------------------------------------------------------
 */

static struct stream_list *
list_of(struct hub *h, struct stream *s)
{
	switch ((enum stream_state)s->state) {
	case STREAM_LIVE:
		return &s->sub->live;
	case STREAM_READY:
		return &h->ready;
	case STREAM_BLOCKED:
		return &h->blocked;
	case STREAM_PAGING:
		return &h->paging;
	case STREAM_DEAD:
		break;
	}
	return &h->dead;
}

static void
enter(struct hub *h, struct stream *s, enum stream_state state)
{
	s->state = (uint8_t)state;
	TAILQ_INSERT_TAIL(list_of(h, s), s, link);
	if (state == STREAM_LIVE) {
		s->sub->n_live++;
		s->behind_since_us = 0;
	}
}

static void
leave(struct hub *h, struct stream *s)
{
	if (s->state == STREAM_LIVE)
		s->sub->n_live--;
	TAILQ_REMOVE(list_of(h, s), s, link);
}

static void
move(struct hub *h, struct stream *s, enum stream_state state)
{
	leave(h, s);
	enter(h, s, state);
}

/* A live stream gets a place of its own. */
static void
fall_behind(struct hub *h, struct stream *s, int64_t cursor,
    enum stream_state state)
{
	assert(s->state == STREAM_LIVE);
	s->place = (struct run_place){.cursor = cursor};
	s->behind_since_us = loop_now_us(h->loop);
	move(h, s, state);
}

/* ---- ending ----------------------------------------------------------------
 */

static void
end(struct hub *h, struct stream *s)
{
	int fd = s->watch.fd;

	assert(s->state != STREAM_DEAD);
	loop_del(h->loop, &s->watch);
	(void)close(fd);
	TAILQ_REMOVE(&h->wheel[s->wheel_slot], s, wheel);
	move(h, s, STREAM_DEAD);
	h->n_streams--;
	h->o.ended(h->o.arg, s);
}

static void
end_left(struct hub *h, struct stream *s)
{
	if (!s->ending) /* it was counted */
		h->counters.n_closed_left++;
	end(h, s);
}

void
hub_break(struct hub *h, struct stream *s)
{
	if (!s->ending)
		h->counters.n_closed_broken++;
	end(h, s);
}

/* Asks for EPOLLOUT, or stops asking. */
static void
ask_out(struct hub *h, struct stream *s, bool want)
{
	uint32_t in = s->request_id == 0 ? 0 : EPOLLIN | EPOLLRDHUP;

	if (s->wants_out == want)
		return;
	s->wants_out = want;
	if (loop_mod(h->loop, &s->watch, want ? in | EPOLLOUT : in) != ST_OK)
		log_warn("epoll_ctl on a stream");
}

static void
block(struct hub *h, struct stream *s)
{
	ask_out(h, s, true);
	if (s->state != STREAM_BLOCKED)
		move(h, s, STREAM_BLOCKED);
}

/*
 * Goes on after a write: false when the stream is blocked or gone.
 */
static bool
wrote(struct hub *h, struct stream *s, enum status st)
{
	if (st == ST_OK) {
		s->last_write_us = loop_now_us(h->loop);
		if (s->pend == NULL && s->ending) {
			end(h, s);
			return false;
		}
		return true;
	}
	if (st == ST_AGAIN) {
		if (s->state == STREAM_LIVE)
			fall_behind(h, s, h->head, STREAM_BLOCKED);
		block(h, s);
	} else if (st == ST_END) {
		end_left(h, s);
	} else {
		hub_break(h, s); /* no memory: it resumes by id */
	}
	return false;
}

/* control.close, the empty STDOUT, END_REQUEST, close. */
static void
close_stream(struct hub *h, struct stream *s, enum frame_reason reason)
{
	char tail[RECORD_END_BYTES];
	enum status st;

	h->counters.n_closed[reason]++;
	if (s->state != STREAM_LIVE && s->pend == NULL &&
	    !stream_at_border(s)) {
		end(h, s); /* inside a record nothing can be said */
		return;
	}
	/* A peer that does not read does not keep it. */
	s->ending = true;
	s->end_us = loop_now_us(h->loop) + h->o.heartbeat_us;
	buf_clear(&h->text);
	st = frame_close(&h->text, reason,
	    (int64_t)random_jitter(&h->random, (uint64_t)h->o.retry_ms));
	if (st == ST_OK)
		st = stream_send_text(s, buf_span(&h->text), &h->counters.out);
	if ((st == ST_OK || st == ST_AGAIN) && s->request_id != 0) {
		record_end(tail, s->request_id, 0);
		st = stream_send_raw(s, span_of(tail, sizeof(tail)),
		    &h->counters.out);
	}
	(void)wrote(h, s, st);
}

/* ---- making ---------------------------------------------------------------
 */

enum status
hub_new(struct hub **out, struct loop *l, const struct hub_options *o)
{
	struct hub *h = calloc(1, sizeof(*h));
	enum status st;
	int i;

	if (h == NULL)
		return ST_NOMEM;
	h->loop = l;
	h->o = *o;
	h->random = random_seed();
	STAILQ_INIT(&h->dirty);
	TAILQ_INIT(&h->ready);
	TAILQ_INIT(&h->paging);
	TAILQ_INIT(&h->blocked);
	TAILQ_INIT(&h->dead);
	for (i = 0; i < WHEEL_SLOTS; i++)
		TAILQ_INIT(&h->wheel[i]);
	buf_init(&h->text, 8192);
	h->tick.fn = on_tick;
	/* The wheel must reach past one heartbeat. */
	h->tick_us = o->heartbeat_us / 16;
	if (h->tick_us > 1000000)
		h->tick_us = 1000000;
	if (h->tick_us < 5000)
		h->tick_us = 5000;
	h->match = calloc(MATCHES_MAX, sizeof(*h->match));
	st = h->match == NULL ? ST_NOMEM : ring_new(&h->ring, o->ring_bytes);
	if (st == ST_OK)
		st = subs_new(&h->subs);
	if (st == ST_OK)
		st = timer_set(l, &h->tick, loop_now_us(l) + h->tick_us);
	if (st != ST_OK) {
		hub_free(&h);
		return st;
	}
	*out = h;
	return ST_OK;
}

static void
end_list(struct hub *h, struct stream_list *list)
{
	while (!TAILQ_EMPTY(list))
		end(h, TAILQ_FIRST(list));
}

void
hub_free(struct hub **hp)
{
	struct hub *h = *hp;
	struct stream *s;
	int i;

	if (h == NULL)
		return;
	for (i = 0; i < WHEEL_SLOTS; i++)
		while ((s = TAILQ_FIRST(&h->wheel[i])) != NULL)
			end(h, s);
	end_list(h, &h->ready);
	hub_reap(h);
	timer_cancel(h->loop, &h->tick);
	subs_free(&h->subs);
	ring_free(&h->ring);
	buf_fini(&h->text);
	free(h->match);
	free(h);
	*hp = NULL;
}

void
hub_reap(struct hub *h)
{
	struct stream *s;

	while ((s = TAILQ_FIRST(&h->dead)) != NULL) {
		TAILQ_REMOVE(&h->dead, s, link);
		subs_unref(h->subs, &s->sub);
		free(s->pend);
		free(s);
	}
}

/* ---- taking events ---------------------------------------------------------
 */

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

void
hub_reset(struct hub *h, const struct store_bounds *b, int64_t head)
{
	assert(STAILQ_EMPTY(&h->dirty));
	h->bounds = *b;
	h->head = head;
	ring_reset(h->ring, head);
}

/* All live streams, whatever their subscription, fall behind. */
static void
all_fall_behind(struct hub *h)
{
	struct stream *s;
	int i;

	for (i = 0; i < WHEEL_SLOTS; i++) {
		TAILQ_FOREACH (s, &h->wheel[i], wheel)
			if (s->state == STREAM_LIVE)
				fall_behind(h, s, h->head, STREAM_READY);
	}
}

void
hub_new_epoch(struct hub *h, const struct store_bounds *b,
    enum frame_gap_code code)
{
	hub_dispatch(h);
	all_fall_behind(h);
	h->epoch++;
	h->epoch_code = code;
	hub_reset(h, b, b->oldest - 1);
	/* Those that wait for a page of the old log have to be told. */
	while (!TAILQ_EMPTY(&h->paging))
		move(h, TAILQ_FIRST(&h->paging), STREAM_READY);
}

void
hub_skip(struct hub *h, int64_t base)
{
	hub_dispatch(h);
	all_fall_behind(h);
	h->head = base;
	ring_reset(h->ring, base);
}

/* Its live streams go on by themselves, each at its own pace. */
static void
sub_falls_behind(struct hub *h, struct sub *sub, int64_t cursor)
{
	struct stream *s;

	while ((s = TAILQ_FIRST(&sub->live)) != NULL)
		fall_behind(h, s, cursor, STREAM_READY);
}

static void
note_match(void *arg, struct sub *sub)
{
	struct hub *h = arg;
	uint32_t at = h->n_matches;

	if (sub->n_live == 0)
		return;
	if (at == MATCHES_MAX) {
		/* UNTESTED: more wishes than a batch holds for one event */
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

/* Everybody who wants an event that the ring cannot hold reads a page. */
static void
send_by_page(void *arg, struct sub *sub)
{
	struct hub *h = arg;

	sub_falls_behind(h, sub, h->head);
}

bool
hub_take(struct hub *h, const struct store_event *e)
{
	h->counters.n_events_in++;
	h->taken_bytes += e->data.len + TAKE_OVERHEAD;
	if (ring_push(h->ring, e, subs_envelopes(h->subs)) != ST_OK) {
		subs_find(h->subs, e->channel, e->event, send_by_page, h);
		return false;
	}
	subs_find(h->subs, e->channel, e->event, note_match, h);
	return h->n_matches < MATCHES_MAX / 2 &&
	    h->taken_bytes < h->o.ring_bytes / 4;
}

int64_t
hub_head(const struct hub *h)
{
	return ring_head(h->ring);
}

/* ---- dispatch ---------------------------------------------------------------
 */

static struct span
text_for(const struct sub *sub, const struct ring_entry *e)
{
	return sub->envelope ? e->envelope : e->frame;
}

/* Writes one run to all live streams of a subscription. */
static void
write_run(struct hub *h, struct sub *sub, int64_t from)
{
	struct stream *s, *next;
	struct run_place start = {.cursor = from};

	for (s = TAILQ_FIRST(&sub->live); s != NULL; s = next) {
		enum status st;

		next = TAILQ_NEXT(s, link);
		s->place = start;
		st = stream_send_run(s, &h->run, &h->counters.out);
		if (st == ST_OK) {
			s->last_write_us = loop_now_us(h->loop);
			continue;
		}
		if (st == ST_AGAIN) {
			struct run_place place = s->place;

			fall_behind(h, s, from, STREAM_BLOCKED);
			s->place = place;
			ask_out(h, s, true);
		} else {
			end_left(h, s);
		}
	}
}

/* Sends all matches of a subscription to its live streams. */
static void
dispatch_sub(struct hub *h, struct sub *sub)
{
	uint32_t m = sub->first_match;
	int64_t from = h->head;

	while (m != NO_MATCH && sub->n_live > 0) {
		struct run_place start = {.cursor = from};
		struct ring_entry e;

		run_begin(&h->run, &start, RUN_CONTENT_BYTES, false);
		for (; m != NO_MATCH; m = h->match[m].next) {
			if (h->match[m].entry < ring_first(h->ring)) {
				/* It left the ring before it was sent. */
				sub_falls_behind(h, sub, from);
				return;
			}
			ring_get(h->ring, h->match[m].entry, &e);
			if (!run_add(&h->run, e.id, text_for(sub, &e)))
				break;
		}
		if (h->run.part_id != 0) { /* longer than one write */
			sub_falls_behind(h, sub, from);
			return;
		}
		write_run(h, sub, from);
		from = h->run.scanned_id;
	}
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
}

/* ---- streams that are behind ------------------------------------------------
 */

/* Does the ring hold everything after this place, as this stream wants it? */
static bool
ring_reaches(const struct hub *h, const struct stream *s)
{
	int64_t base = s->sub->envelope ? ring_envelope_base(h->ring)
					: ring_base(h->ring);

	return s->place.cursor >= base;
}

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
			run_scanned(&h->run, e.id);
			continue;
		}
		if (!run_add(&h->run, e.id, text_for(s->sub, &e)))
			return;
	}
	if (n == end_n)
		run_scanned(&h->run, ring_head(h->ring));
}

static size_t
run_limit(const struct stream *s, bool *exact)
{
	*exact = s->rec_left > 0;
	return *exact ? s->rec_left : RUN_CONTENT_BYTES;
}

/* Its place is in a log that is no more. */
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
	s->place = (struct run_place){.cursor = g->position};
	buf_clear(&h->text);
	st = frame_gap(&h->text, g);
	if (st == ST_OK)
		st = stream_send_text(s, buf_span(&h->text), &h->counters.out);
	if (wrote(h, s, st) && s->state != STREAM_READY)
		move(h, s, STREAM_READY);
}

/* Has it got everything?  Then it is live. */
static bool
caught_up(struct hub *h, struct stream *s)
{
	assert(h->head == ring_head(h->ring));
	if (!stream_at_border(s) || s->place.cursor < h->head)
		return false;
	ask_out(h, s, false);
	move(h, s, STREAM_LIVE);
	return true;
}

/* Nothing is there to fill the record or the frame under way. */
static bool
cannot_go_on(const struct hub *h, const struct run *r)
{
	return r->broken ||
	    (r->exact && r->len == 0 && r->scanned_id >= ring_head(h->ring));
}

/* One run; false when it can take no more in this turn. */
static bool
serve_run(struct hub *h, struct stream *s)
{
	size_t limit;
	bool exact;

	if (s->pend != NULL && !wrote(h, s, stream_flush(s, &h->counters.out)))
		return false;
	if (s->epoch != h->epoch) {
		tell_epoch(h, s);
		return s->state == STREAM_READY;
	}
	if (caught_up(h, s))
		return false;
	if (!ring_reaches(h, s)) {
		ask_out(h, s, false);
		move(h, s, STREAM_PAGING);
		return false;
	}
	limit = run_limit(s, &exact);
	run_begin(&h->run, &s->place, limit, exact);
	fill_from_ring(h, s);
	if (cannot_go_on(h, &h->run)) {
		hub_break(h, s);
		return false;
	}
	return wrote(h, s, stream_send_run(s, &h->run, &h->counters.out));
}

static void
serve(struct hub *h, struct stream *s)
{
	int i;

	for (i = 0; i < SERVE_RUNS; i++)
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

struct stream *
hub_first_paging(const struct hub *h)
{
	return TAILQ_FIRST(&h->paging);
}

void
hub_later(struct hub *h, struct stream *s)
{
	assert(s->state == STREAM_PAGING);
	TAILQ_REMOVE(&h->paging, s, link);
	TAILQ_INSERT_TAIL(&h->paging, s, link);
}

void
hub_give_page(struct hub *h, struct stream *s, struct run *r)
{
	enum status st;

	assert(s->state == STREAM_PAGING);
	if (cannot_go_on(h, r)) {
		hub_break(h, s);
		return;
	}
	h->counters.n_replayed += r->n_marks;
	st = stream_send_run(s, r, &h->counters.out);
	if (wrote(h, s, st))
		move(h, s, STREAM_READY);
}

/* ---- a stream's descriptor
 * --------------------------------------------------- */

/* What a web server sends on a running request: an abort, or it leaves. */
static void
on_input(struct hub *h, struct stream *s)
{
	char scratch[INPUT_SCRATCH];
	char tail[RECORD_END_BYTES];
	ssize_t n = read(s->watch.fd, scratch, sizeof(scratch));

	if (n < 0)
		return;
	if (n >= RECORD_HEADER_BYTES &&
	    record_decode(span_of(scratch, (size_t)n)).type ==
		RECORD_ABORT_REQUEST &&
	    stream_at_border(s)) {
		record_end(tail, s->request_id, 0);
		status_ignore(stream_send_raw(s, span_of(tail, sizeof(tail)),
		    &h->counters.out));
	}
	end_left(h, s);
}

static void
on_stream(struct watch *w, uint32_t events)
{
	struct stream *s = OWNER_OF(w, struct stream, watch);
	struct hub *h = s->hub;

	if ((events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0) {
		end_left(h, s);
		return;
	}
	if ((events & EPOLLIN) != 0) {
		on_input(h, s);
		return;
	}
	if ((events & EPOLLOUT) != 0 && s->state == STREAM_BLOCKED)
		move(h, s, STREAM_READY);
}

/* ---- heartbeats, age, lag
 * ----------------------------------------------------- */

static void
wheel_insert(struct hub *h, struct stream *s, uint64_t due_us)
{
	uint64_t now = loop_now_us(h->loop);
	uint64_t ticks = due_us > now ? (due_us - now) / h->tick_us + 1 : 1;

	if (ticks > WHEEL_SLOTS - 1)
		ticks = WHEEL_SLOTS - 1;
	s->wheel_slot = (uint16_t)((h->wheel_at + ticks) % WHEEL_SLOTS);
	TAILQ_INSERT_TAIL(&h->wheel[s->wheel_slot], s, wheel);
}

static uint64_t
next_check(const struct hub *h, const struct stream *s, uint64_t now_us)
{
	uint64_t due = s->last_write_us + h->o.heartbeat_us;

	if (due <= now_us)
		due = now_us + h->o.heartbeat_us;
	if (s->end_us != 0 && s->end_us < due)
		due = s->end_us;
	if (h->o.max_lag_us != 0 && s->behind_since_us != 0 &&
	    s->behind_since_us + h->o.max_lag_us < due)
		due = s->behind_since_us + h->o.max_lag_us;
	return due;
}

static void
send_heartbeat(struct hub *h, struct stream *s, int64_t position)
{
	enum status st;

	buf_clear(&h->text);
	if (s->heartbeat_events)
		st = frame_heartbeat_event(&h->text, position, h->head,
		    clock_real_ms());
	else
		st = frame_heartbeat(&h->text, position);
	if (st == ST_OK)
		st = stream_send_text(s, buf_span(&h->text), &h->counters.out);
	h->counters.n_heartbeats++;
	(void)wrote(h, s, st);
}

static bool
lags_too_far(const struct hub *h, const struct stream *s, uint64_t now_us)
{
	if (s->state == STREAM_LIVE || s->behind_since_us == 0)
		return false;
	if (h->o.max_lag_us != 0 &&
	    now_us - s->behind_since_us >= h->o.max_lag_us)
		return true;
	return h->o.max_lag_events != 0 && s->epoch == h->epoch &&
	    h->head - s->place.cursor > h->o.max_lag_events;
}

static void
check_stream(struct hub *h, struct stream *s, uint64_t now_us)
{
	if (s->ending) {
		if (now_us >= s->end_us)
			end(h, s);
		return;
	}
	if (s->end_us != 0 && now_us >= s->end_us) {
		close_stream(h, s, CLOSE_MAX_AGE);
		return;
	}
	if (lags_too_far(h, s, now_us)) {
		close_stream(h, s, CLOSE_LAGGING);
		return;
	}
	if (now_us - s->last_write_us < h->o.heartbeat_us)
		return;
	if (s->state == STREAM_LIVE)
		send_heartbeat(h, s, h->head);
	else if (s->state == STREAM_PAGING && stream_at_border(s))
		send_heartbeat(h, s, s->place.cursor);
}

static void
on_tick(struct timer *t, uint64_t now_us)
{
	struct hub *h = OWNER_OF(t, struct hub, tick);
	struct stream_list due;
	struct stream *s;

	h->wheel_at = (h->wheel_at + 1) % WHEEL_SLOTS;
	TAILQ_INIT(&due);
	TAILQ_CONCAT(&due, &h->wheel[h->wheel_at], wheel);
	while ((s = TAILQ_FIRST(&due)) != NULL) {
		TAILQ_REMOVE(&due, s, wheel);
		wheel_insert(h, s, next_check(h, s, now_us));
		check_stream(h, s, now_us);
	}
	status_ignore(timer_set(h->loop, &h->tick, now_us + h->tick_us));
}

/* ---- joining and leaving
 * -------------------------------------------------------- */

enum status
hub_add(struct hub *h, struct stream *s)
{
	uint64_t now = loop_now_us(h->loop);
	enum status st;
	uint32_t in = s->request_id == 0 ? 0 : EPOLLIN | EPOLLRDHUP;

	s->hub = h;
	s->watch.fn = on_stream;
	s->wants_out = s->pend != NULL;
	st = loop_add(h->loop, &s->watch, s->wants_out ? in | EPOLLOUT : in);
	if (st != ST_OK)
		return st;
	s->last_write_us = now;
	s->behind_since_us = now;
	h->counters.n_opened++;
	h->n_streams++;
	wheel_insert(h, s, next_check(h, s, now));
	enter(h, s, s->pend != NULL ? STREAM_BLOCKED : STREAM_READY);
	return ST_OK;
}

size_t
hub_drain(struct hub *h, size_t max_streams)
{
	size_t n = 0;
	unsigned i;

	for (i = 0; i < WHEEL_SLOTS && n < max_streams; i++) {
		struct stream *s, *next;

		for (s = TAILQ_FIRST(&h->wheel[i]);
		     s != NULL && n < max_streams; s = next) {
			next = TAILQ_NEXT(s, wheel);
			if (s->ending)
				continue;
			close_stream(h, s, CLOSE_DRAIN);
			n++;
		}
	}
	return n;
}

size_t
hub_n_streams(const struct hub *h)
{
	return h->n_streams;
}

struct subs *
hub_subs(struct hub *h)
{
	return h->subs;
}

struct ring *
hub_ring(struct hub *h)
{
	return h->ring;
}

struct run *
hub_run(struct hub *h)
{
	return &h->run;
}

uint32_t
hub_epoch(const struct hub *h)
{
	return h->epoch;
}

struct hub_counters *
hub_counters(struct hub *h)
{
	return &h->counters;
}

uint64_t *
hub_random(struct hub *h)
{
	return &h->random;
}

static int64_t
list_lag(const struct hub *h, const struct stream_list *list)
{
	const struct stream *s;
	int64_t max = 0;

	TAILQ_FOREACH (s, list, link)
		if (s->epoch == h->epoch && h->head - s->place.cursor > max)
			max = h->head - s->place.cursor;
	return max;
}

int64_t
hub_max_lag(const struct hub *h)
{
	int64_t a = list_lag(h, &h->blocked), b = list_lag(h, &h->paging);

	return a > b ? a : b;
}

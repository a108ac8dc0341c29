/* SPDX-License-Identifier: MIT */
/*
 * A stream's life in the hub: which list it is in, when it is checked, how it
 * ends.  Owns the lists, the wheel and the streams' descriptors.  All changes
 * of state go through `enter` and `leave`, which keep list and count in step.
 *
 * A stream stands in the wheel's slot of its next check, or in the farthest
 * one when that is too far: what is not due when its slot comes is put in
 * again.  So a tick costs what is in one slot, and an idle stream one check in
 * a heartbeat.  Nothing here blocks.
 */
#include "hub_private.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "random.h"
#include "record.h"
#include "stream_log.h"

#define INPUT_SCRATCH 512
#define TICK_US_MIN   5000
#define TICK_US_MAX   200000
/* Most clients that leave do so early: a young stream is probed more often. */
#define YOUNG_US 3000000
#define PROBE_US 450000

/* ---- lists ------------------------------------------------------------- */

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
		return &h->paging[s->queue];
	case STREAM_DEAD:
		break;
	}
	return &h->dead;
}

static void
lifecycle_enter(struct hub *h, struct stream *s, enum stream_state state)
{
	s->state = (uint8_t)state;
	TAILQ_INSERT_TAIL(list_of(h, s), s, link);
	if (state == STREAM_LIVE) {
		s->sub->n_live++;
		s->behind_since_us = 0;
		s->told_lagging = false;
	}
}

static void
leave(struct hub *h, struct stream *s)
{
	if (s->state == STREAM_LIVE)
		s->sub->n_live--;
	if (s->state == STREAM_PAGING)
		h->paging_at = (s->queue + 1u) % HUB_QUEUES;
	TAILQ_REMOVE(list_of(h, s), s, link);
}

void
hub_move(struct hub *h, struct stream *s, enum stream_state state)
{
	leave(h, s);
	lifecycle_enter(h, s, state);
}

/*
 * A live stream gets a place of its own, right behind `cursor`: the hub's
 * head, or where the batch that it did not get began.
 */
void
hub_fall_behind(struct hub *h, struct stream *s, int64_t cursor,
    enum stream_state state)
{
	assert(s->state == STREAM_LIVE);
	s->place = (struct chunk_place){.cursor = cursor};
	s->behind_since_us = loop_now_us(h->loop);
	hub_move(h, s, state);
}

/* All live streams, whatever their subscription, fall behind. */
void
hub_all_fall_behind(struct hub *h)
{
	struct stream *s;
	int i;

	for (i = 0; i < WHEEL_SLOTS; i++) {
		TAILQ_FOREACH (s, &h->wheel[i], wheel)
			if (s->state == STREAM_LIVE)
				hub_fall_behind(h, s, h->head, STREAM_READY);
	}
}

/* ---- ending ------------------------------------------------------------ */

/* The last event that it has as a whole. */
static int64_t
lifecycle_position_of(const struct hub *h, const struct stream *s)
{
	return s->state == STREAM_LIVE ? h->head : s->place.cursor;
}

/* Why it ends is counted once, at the first reason. */
static void
decide(struct hub *h, struct stream *s, unsigned why)
{
	if (s->ending != 0)
		return;
	s->ending = (uint8_t)(1 + why);
	h->counters.n_closed[why]++;
	h->counters.n_front_closed[s->front]++;
}

static void
lifecycle_end(struct hub *h, struct stream *s)
{
	int fd = s->watch.fd;

	assert(s->state != STREAM_DEAD && s->ending != 0);
	stream_log_close(s, (enum stream_end)(s->ending - 1),
	    lifecycle_position_of(h, s), loop_now_us(h->loop));
	loop_del(h->loop, &s->watch);
	(void)close(fd);
	TAILQ_REMOVE(&h->wheel[s->wheel_slot], s, wheel);
	hub_move(h, s, STREAM_DEAD);
	h->n_streams--;
	h->o.ended(h->o.arg, s);
}

void
hub_end_left(struct hub *h, struct stream *s)
{
	decide(h, s, STREAM_LEFT);
	lifecycle_end(h, s);
}

void
hub_break(struct hub *h, struct stream *s)
{
	decide(h, s, STREAM_BROKEN);
	lifecycle_end(h, s);
}

/* Asks for EPOLLOUT, or stops asking. */
void
hub_ask_out(struct hub *h, struct stream *s, bool want)
{
	uint32_t in = s->request_id == 0 ? 0 : EPOLLIN | EPOLLRDHUP;

	if (s->wants_out == want)
		return;
	if (loop_mod(h->loop, &s->watch, want ? in | EPOLLOUT : in) == ST_OK)
		s->wants_out = want;
	else
		log_warn("epoll_ctl on a stream");
}

/* Until the socket has room, there is nothing to be done for it. */
static void
block(struct hub *h, struct stream *s)
{
	hub_ask_out(h, s, true);
	if (s->state != STREAM_BLOCKED)
		hub_move(h, s, STREAM_BLOCKED);
}

/*
 * Goes on after a write: false when the stream is blocked or gone.
 */
bool
hub_wrote(struct hub *h, struct stream *s, enum status st)
{
	if (st == ST_OK) {
		s->last_write_us = loop_now_us(h->loop);
		if (s->pend == NULL && s->ending != 0) {
			lifecycle_end(h, s);
			return false;
		}
		return true;
	}
	if (st == ST_AGAIN) {
		if (s->state == STREAM_LIVE)
			hub_fall_behind(h, s, h->head, STREAM_BLOCKED);
		block(h, s);
	} else if (st == ST_END) {
		hub_end_left(h, s);
	} else {
		hub_break(h, s); /* no memory: it resumes by id */
	}
	return false;
}

/* What ends the response, behind what waits. */
static enum status
send_end(struct hub *h, struct stream *s)
{
	char last[RECORD_END_BYTES];

	record_end(last, s->request_id, 0);
	return stream_send_raw(s, span_of(last, sizeof(last)),
	    &h->counters.out);
}

/*
 * Ends a stream in order: control.close with the reason and when to come back,
 * the empty STDOUT record, END_REQUEST.  The descriptor is closed when all of
 * it is out, which hub_wrote sees by `ending`.
 */
static void
close_stream(struct hub *h, struct stream *s, enum frame_reason reason)
{
	enum status st;

	decide(h, s, reason);
	if (s->state != STREAM_LIVE && s->pend == NULL &&
	    !stream_at_border(s)) {
		lifecycle_end(h, s); /* inside a record nothing can be said */
		return;
	}
	/* A peer that does not read does not keep it. */
	s->end_us = loop_now_us(h->loop) + h->o.heartbeat_us;
	buf_clear(&h->text);
	st = frame_close(&h->text, reason,
	    (int64_t)random_jitter(&h->random, (uint64_t)h->o.retry_ms));
	if (st == ST_OK)
		st = stream_send_text(s, buf_span(&h->text), &h->counters.out);
	if ((st == ST_OK || st == ST_AGAIN) && s->request_id != 0)
		st = send_end(h, s);
	(void)hub_wrote(h, s, st);
}

/* ---- its descriptor ---------------------------------------------------- */

/* What a web server sends on a running request: an abort, or it leaves. */
static void
on_input(struct hub *h, struct stream *s)
{
	char scratch[INPUT_SCRATCH];
	ssize_t n = read(s->watch.fd, scratch, sizeof(scratch));

	if (n < 0)
		return;
	if (n >= RECORD_HEADER_BYTES &&
	    record_decode(span_of(scratch, (size_t)n)).type ==
		RECORD_ABORT_REQUEST &&
	    stream_at_border(s))
		status_ignore(send_end(h, s));
	hub_end_left(h, s);
}

static void
on_stream(struct watch *w, uint32_t events)
{
	struct stream *s = OWNER_OF(w, struct stream, watch);
	struct hub *h = s->hub;

	if ((events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0) {
		hub_end_left(h, s);
		return;
	}
	if ((events & EPOLLIN) != 0) {
		on_input(h, s);
		return;
	}
	if ((events & EPOLLOUT) != 0 && s->state == STREAM_BLOCKED)
		hub_move(h, s, STREAM_READY);
}

/* ---- heartbeats, age, lag ---------------------------------------------- */

static void
wheel_insert(struct hub *h, struct stream *s, uint64_t due_us)
{
	uint64_t now = loop_now_us(h->loop);
	uint64_t ticks = due_us > now ? (due_us - now) / h->tick_us + 1 : 1;

	if (ticks > WHEEL_SLOTS - 1)
		ticks = WHEEL_SLOTS - 1;
	s->wheel_slot = (uint8_t)((h->wheel_at + ticks) % WHEEL_SLOTS);
	TAILQ_INSERT_TAIL(&h->wheel[s->wheel_slot], s, wheel);
}

/*
 * How long nothing may be written.  Only a write finds that a client has left
 * (behind Apache the second one), and until then it holds a slot: so those
 * that hold one are probed often while they are young.
 */
static uint64_t
silence_us(const struct hub *h, const struct stream *s, uint64_t now_us)
{
	uint32_t age_ms = (uint32_t)(now_us / 1000) - s->opened_ms;

	if (s->slot < 0 || age_ms >= YOUNG_US / 1000 ||
	    h->o.heartbeat_us < PROBE_US)
		return h->o.heartbeat_us;
	return PROBE_US;
}

static uint64_t
next_check(const struct hub *h, const struct stream *s, uint64_t now_us)
{
	uint64_t silence = silence_us(h, s, now_us);
	uint64_t due = s->last_write_us + silence;

	if (due <= now_us)
		due = now_us + silence;
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
	/* A probe before it is due is nothing that a page has asked for. */
	if (s->heartbeat_events &&
	    loop_now_us(h->loop) - s->last_write_us >= h->o.heartbeat_us)
		st = frame_heartbeat_event(&h->text, position, h->head,
		    clock_real_ms());
	else
		st = frame_heartbeat(&h->text, position);
	if (st == ST_OK)
		st = stream_send_text(s, buf_span(&h->text), &h->counters.out);
	if (st == ST_OK || st == ST_AGAIN)
		h->counters.n_heartbeats++;
	else
		h->counters.n_heartbeats_failed++;
	(void)hub_wrote(h, s, st);
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
	if (s->ending != 0) {
		if (now_us >= s->end_us)
			lifecycle_end(h, s);
		return;
	}
	if (s->end_us != 0 && now_us >= s->end_us &&
	    (h->o.due == NULL || !h->o.due(h->o.arg, s, now_us))) {
		close_stream(h, s, (enum frame_reason)s->end_why);
		return;
	}
	if (lags_too_far(h, s, now_us)) {
		close_stream(h, s, CLOSE_LAGGING);
		return;
	}
	if (now_us - s->last_write_us < silence_us(h, s, now_us))
		return;
	if (s->state == STREAM_LIVE)
		send_heartbeat(h, s, h->head);
	else if (s->state == STREAM_PAGING && stream_at_border(s))
		send_heartbeat(h, s, s->place.cursor);
	else if (s->state == STREAM_BLOCKED)
		/* Does nothing, unless epoll_ctl failed when it blocked. */
		hub_ask_out(h, s, true);
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
	hub_tell_lagging(h, now_us);
	status_ignore(timer_set(h->loop, &h->tick, now_us + h->tick_us));
}

/* ---- the beginning and the end ------------------------------------------ */

enum status
hub_begin_life(struct hub *h)
{
	int i;

	TAILQ_INIT(&h->ready);
	TAILQ_INIT(&h->blocked);
	TAILQ_INIT(&h->dead);
	for (i = 0; i < HUB_QUEUES; i++)
		TAILQ_INIT(&h->paging[i]);
	for (i = 0; i < WHEEL_SLOTS; i++)
		TAILQ_INIT(&h->wheel[i]);
	h->tick.fn = on_tick;
	/* Fine enough for heartbeats to be on time, and no finer. */
	h->tick_us = h->o.heartbeat_us / 16;
	if (h->tick_us > TICK_US_MAX)
		h->tick_us = TICK_US_MAX;
	if (h->tick_us < TICK_US_MIN)
		h->tick_us = TICK_US_MIN;
	return timer_set(h->loop, &h->tick, loop_now_us(h->loop) + h->tick_us);
}

void
hub_end_life(struct hub *h)
{
	hub_cut(h);
	hub_reap(h);
	timer_cancel(h->loop, &h->tick);
}

/* ---- joining and leaving ----------------------------------------------- */

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
	s->opened_ms = (uint32_t)(now / 1000);
	s->sent_id = s->place.cursor;
	s->born_id = h->head > h->bounds.head ? h->head : h->bounds.head;
	h->counters.n_opened++;
	h->counters.n_front_opened[s->front]++;
	h->n_streams++;
	wheel_insert(h, s, next_check(h, s, now));
	lifecycle_enter(h, s, s->pend != NULL ? STREAM_BLOCKED : STREAM_READY);
	return ST_OK;
}

enum status
hub_open(struct hub *h, struct stream *s, struct span first)
{
	enum status st = stream_send_text(s, first, &h->counters.out);

	s->epoch = h->epoch;
	return st == ST_OK || st == ST_AGAIN ? hub_add(h, s) : st;
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
			if (s->ending != 0)
				continue;
			close_stream(h, s, CLOSE_DRAIN);
			n++;
		}
	}
	return n;
}

size_t
hub_end_where(struct hub *h, enum frame_reason why,
    bool (*ends)(void *arg, struct stream *s), void *arg)
{
	struct stream *s, *next;
	size_t n = 0;
	int i;

	for (i = 0; i < WHEEL_SLOTS; i++) {
		for (s = TAILQ_FIRST(&h->wheel[i]); s != NULL; s = next) {
			next = TAILQ_NEXT(s, wheel);
			if (s->ending != 0 || !ends(arg, s))
				continue;
			close_stream(h, s, why);
			n++;
		}
	}
	return n;
}

void
hub_cut(struct hub *h)
{
	struct stream *s;
	int i;

	for (i = 0; i < WHEEL_SLOTS; i++) {
		while ((s = TAILQ_FIRST(&h->wheel[i])) != NULL) {
			decide(h, s, CLOSE_DRAIN);
			lifecycle_end(h, s);
		}
	}
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

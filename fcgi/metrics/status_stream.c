/* SPDX-License-Identifier: MIT */
/*
 * Streams of system.status.  Invariant: while a stream lives the timer is
 * set; a stream that is not dead has its descriptor in the loop.  SIGPIPE
 * must be ignored: for plain CGI a descriptor may be a pipe.
 */
#include "status_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "http.h"
#include "random.h"
#include "record.h"

#define STALL_US 60000000   /* without taking a byte: it is gone */
#define TICK_MAX (4u << 20) /* bytes of one tick */
#define OUT_MAX  (TICK_MAX + 65536)

struct status_stream {
	struct watch watch;
	struct status_streams *set;
	struct status_stream *next;
	struct buf out;
	uint64_t moved_us; /* when it last took something */
	uint16_t request_id;
	bool ending, dead;
};

struct status_streams {
	struct loop *loop;
	struct status_stream_options options;
	struct timer timer;
	struct status_stream *first; /* dead ones among them */
	size_t n_live;
	uint64_t random;
	struct buf tick; /* the newest, as the stream's text */
	struct frame_open open;
	uint64_t looked_us; /* 0: never */
	bool draining;
};

static void on_status_tick(struct timer *t, uint64_t now_us);

static uint64_t
interval_us(const struct status_streams *ss)
{
	return (uint64_t)ss->options.interval_ms * 1000;
}

enum status
status_streams_new(struct status_streams **out, struct loop *l,
    const struct status_stream_options *o)
{
	struct status_streams *ss = calloc(1, sizeof(*ss));

	if (ss == NULL)
		return ST_NOMEM;
	ss->loop = l;
	ss->options = *o;
	ss->timer.fn = on_status_tick;
	ss->random = random_seed();
	buf_init(&ss->tick, TICK_MAX);
	*out = ss;
	return ST_OK;
}

static void
status_stream_end(struct status_stream *s)
{
	int fd = s->watch.fd;

	if (s->dead)
		return;
	loop_del(s->set->loop, &s->watch);
	(void)close(fd);
	s->dead = true;
	s->set->n_live--;
	if (s->set->n_live == 0)
		timer_cancel(s->set->loop, &s->set->timer);
}

static void
status_stream_release(struct status_stream *s)
{
	buf_fini(&s->out);
	free(s);
}

void
status_streams_free(struct status_streams **ss)
{
	struct status_stream *s, *next;

	if (*ss == NULL)
		return;
	for (s = (*ss)->first; s != NULL; s = next) {
		next = s->next;
		status_stream_end(s);
		status_stream_release(s);
	}
	timer_cancel((*ss)->loop, &(*ss)->timer);
	buf_fini(&(*ss)->tick);
	free(*ss);
	*ss = NULL;
}

size_t
status_streams_count(const struct status_streams *ss)
{
	return ss->n_live;
}

void
status_streams_reap(struct status_streams *ss)
{
	struct status_stream **at = &ss->first, *s;

	while ((s = *at) != NULL) {
		if (!s->dead) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		status_stream_release(s);
	}
}

/* ---- writing ------------------------------------------------------------ */

/* Puts text behind what waits; all of it or nothing. */
static enum status
status_stream_put(struct status_stream *s, struct span text)
{
	return s->request_id == 0 ? buf_append(&s->out, text)
				  : record_put(&s->out, s->request_id, text);
}

/* The same for the last that the stream says. */
static enum status
status_stream_put_last(struct status_stream *s, struct span text)
{
	return s->request_id == 0
	    ? buf_append(&s->out, text)
	    : record_put_last(&s->out, s->request_id, text);
}

/* ST_OK: all is out; ST_END: the peer has left. */
static enum status
status_stream_flush(struct status_stream *s)
{
	while (s->out.len > 0) {
		struct span rest = buf_span(&s->out);
		ssize_t n = write(s->watch.fd, rest.p, rest.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return ST_AGAIN;
		if (n <= 0)
			return ST_END;
		s->moved_us = loop_now_us(s->set->loop);
		buf_consume(&s->out, (size_t)n);
	}
	return ST_OK;
}

/* A pipe of CGI is only written; a socket also tells that it was closed. */
static uint32_t
events_of(const struct status_stream *s, bool waits)
{
	uint32_t events = s->request_id == 0 ? 0 : EPOLLRDHUP;

	return waits ? events | EPOLLOUT : events;
}

/* Writes what it can, and waits for the rest. */
static void
status_stream_advance(struct status_stream *s)
{
	enum status st = status_stream_flush(s);
	bool done = st == ST_OK;

	if ((done && !s->ending) || st == ST_AGAIN)
		st = loop_mod(s->set->loop, &s->watch, events_of(s, !done));
	else
		st = ST_END;
	if (st != ST_OK)
		status_stream_end(s);
}

static void
on_peer(struct watch *w, uint32_t events)
{
	struct status_stream *s = OWNER_OF(w, struct status_stream, watch);

	if ((events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0)
		status_stream_end(s);
	else
		status_stream_advance(s);
}

/* ---- ticks -------------------------------------------------------------- */

/* Looks at the metrics unless that was just done. */
static enum status
status_streams_look(struct status_streams *ss, uint64_t now_us)
{
	enum status st;

	if (ss->looked_us != 0 && now_us - ss->looked_us < interval_us(ss) / 2)
		return ST_OK;
	buf_clear(&ss->tick);
	ss->looked_us = 0;
	buf_add(&ss->tick, SPAN("event: system.status\ndata: "));
	buf_note(&ss->tick,
	    ss->options.look(ss->options.arg, &ss->tick, &ss->open));
	buf_add(&ss->tick, SPAN("\n\n"));
	st = buf_finish(&ss->tick, 0);
	if (st == ST_OK)
		ss->looked_us = now_us;
	return st;
}

static void
status_stream_tick(struct status_stream *s, uint64_t now_us)
{
	if (s->dead || s->ending)
		return;
	if (s->out.len > 0) {
		if (now_us - s->moved_us > STALL_US)
			status_stream_end(s);
		return; /* it has this one to take first */
	}
	if (status_stream_put(s, buf_span(&s->set->tick)) == ST_OK)
		status_stream_advance(s);
}

static void
on_status_tick(struct timer *t, uint64_t now_us)
{
	struct status_streams *ss = OWNER_OF(t, struct status_streams, timer);
	enum status st = status_streams_look(ss, now_us);
	struct status_stream *s;

	status_ignore(timer_set(ss->loop, t, now_us + interval_us(ss)));
	/* Without memory this second is left out. */
	for (s = ss->first; st == ST_OK && s != NULL; s = s->next)
		status_stream_tick(s, now_us);
}

/* ---- beginning and end -------------------------------------------------- */

/* Head, control.open and the newest tick, in one record. */
static enum status
put_opening(struct status_stream *s)
{
	struct status_streams *ss = s->set;
	struct frame_open open = ss->open;
	char id[17];
	struct buf text;
	enum status st;

	(void)snprintf(id, sizeof(id), "%016llx",
	    (unsigned long long)random_next(&ss->random));
	open.stream = span_str(id);
	open.position = open.resumed_from = -1;
	open.heartbeat_ms = ss->options.interval_ms;
	open.retry_ms = (int64_t)random_jitter(&ss->random,
	    (uint64_t)ss->options.retry_ms);
	buf_init(&text, OUT_MAX);
	buf_note(&text, http_stream_head(&text, open.stream, SPAN_NONE));
	buf_note(&text, frame_open(&text, &open));
	buf_add(&text, buf_span(&ss->tick));
	st = buf_finish(&text, 0);
	if (st == ST_OK)
		st = status_stream_put(s, buf_span(&text));
	buf_fini(&text);
	return st;
}

static enum status
status_stream_start(struct status_stream *s, int fd)
{
	struct status_streams *ss = s->set;
	uint64_t now_us = loop_now_us(ss->loop);
	enum status st = status_streams_look(ss, now_us);

	if (st == ST_OK)
		st = put_opening(s);
	if (st == ST_OK && ss->timer.slot == 0)
		st = timer_set(ss->loop, &ss->timer, now_us + interval_us(ss));
	if (st != ST_OK)
		return st;
	s->moved_us = now_us;
	s->watch.fd = fd;
	st = loop_add(ss->loop, &s->watch, events_of(s, true));
	if (st != ST_OK)
		s->watch.fd = -1;
	return st;
}

enum status
status_streams_open(struct status_streams *ss, int fd, uint16_t request_id)
{
	struct status_stream *s;
	enum status st;

	if (ss->n_live >= STATUS_STREAM_MAX || ss->draining)
		return ST_FULL;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return ST_NOMEM;
	s->watch = (struct watch){.fd = -1, .fn = on_peer};
	s->set = ss;
	s->request_id = request_id;
	buf_init(&s->out, 2 * OUT_MAX);
	st = status_stream_start(s, fd);
	if (st != ST_OK) {
		if (ss->n_live == 0)
			timer_cancel(ss->loop, &ss->timer);
		status_stream_release(s);
		return st;
	}
	if (request_id == 0)
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	s->next = ss->first;
	ss->first = s;
	ss->n_live++;
	status_stream_advance(s);
	return ST_OK;
}

void
status_streams_drain(struct status_streams *ss)
{
	struct status_stream *s;
	struct buf text;
	enum status st;

	ss->draining = true;
	buf_init(&text, 1024);
	for (s = ss->first; s != NULL; s = s->next) {
		if (s->dead || s->ending)
			continue;
		s->ending = true;
		buf_clear(&text);
		st = frame_close(&text, CLOSE_DRAIN,
		    (int64_t)random_jitter(&ss->random,
			(uint64_t)ss->options.retry_ms));
		if (st == ST_OK)
			st = status_stream_put_last(s, buf_span(&text));
		if (st == ST_OK)
			status_stream_advance(s);
		else
			status_stream_end(s);
	}
	buf_fini(&text);
}

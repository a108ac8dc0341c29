/* SPDX-License-Identifier: MIT */
/*
 * Short responses on their way out.  Invariant: a reply that is not dead has
 * its deadline set and either bytes left to write or input left to throw
 * away.  Never blocks on a non-blocking descriptor; for plain CGI fd may be a
 * pipe or a file, so write(2) is used there, and SIGPIPE must be ignored.
 *
 * Closing a socket with unread input resets it, and a reset can overtake the
 * response: input that is still coming is thrown away first.
 */
#include "reply.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "record.h"
#include "sock.h"

#define TIMEOUT_US   10000000
#define DRAIN_ROUNDS 16 /* reads for each call */
#define RESPONSE_MAX (16u << 20)

struct reply {
	struct watch watch;
	struct timer deadline;
	struct reply_set *set;
	struct reply *next;
	struct buf out;
	int fd;
	bool raw;
	bool lingering; /* all is written; the peer still sends */
	bool dead;
};

struct reply_set {
	struct loop *loop;
	struct reply *first; /* dead ones among them */
	size_t n_live;
};

enum status
reply_set_new(struct reply_set **out, struct loop *l)
{
	struct reply_set *rs = calloc(1, sizeof(*rs));

	if (rs == NULL)
		return ST_NOMEM;
	rs->loop = l;
	*out = rs;
	return ST_OK;
}

static void
reply_end(struct reply *r)
{
	if (r->dead)
		return;
	loop_del(r->set->loop, &r->watch);
	timer_cancel(r->set->loop, &r->deadline);
	(void)close(r->fd);
	r->fd = -1;
	r->dead = true;
	r->set->n_live--;
}

static void
reply_release(struct reply *r)
{
	buf_fini(&r->out);
	free(r);
}

void
reply_set_free(struct reply_set **rs)
{
	struct reply *r, *next;

	if (*rs == NULL)
		return;
	for (r = (*rs)->first; r != NULL; r = next) {
		next = r->next;
		reply_end(r);
		reply_release(r);
	}
	free(*rs);
	*rs = NULL;
}

size_t
reply_set_count(const struct reply_set *rs)
{
	return rs->n_live;
}

void
reply_set_reap(struct reply_set *rs)
{
	struct reply **at = &rs->first, *r;

	while ((r = *at) != NULL) {
		if (!r->dead) {
			at = &r->next;
			continue;
		}
		*at = r->next;
		reply_release(r);
	}
}

static enum status
write_raw(int fd, struct span s, size_t *n)
{
	ssize_t put;

	do
		put = write(fd, s.p, s.len);
	while (put < 0 && errno == EINTR);
	if (put <= 0)
		return put < 0 && errno == EAGAIN ? ST_AGAIN : ST_END;
	*n = (size_t)put;
	return ST_OK;
}

/* ST_OK: all is out. */
static enum status
reply_flush(struct reply *r)
{
	enum status st = ST_OK;
	size_t n;

	while (st == ST_OK && r->out.len > 0) {
		st = r->raw ? write_raw(r->fd, buf_span(&r->out), &n)
			    : sock_write(r->fd, buf_span(&r->out), &n);
		if (st == ST_OK)
			buf_consume(&r->out, n);
	}
	return st;
}

/*
 * Throws input away.
 * Returns  ST_OK     nothing was there: it may be closed
 *          ST_AGAIN  something was; more may come
 *          else      the peer has closed
 */
static enum status
reply_drain_input(struct reply *r)
{
	char sink[8192];
	enum status st;
	size_t n;
	int round;

	for (round = 0; round < DRAIN_ROUNDS; round++) {
		st = sock_read(r->fd, sink, sizeof(sink), &n);
		if (st == ST_AGAIN && round == 0 && !r->lingering)
			return ST_OK;
		if (st != ST_OK)
			return st;
	}
	return ST_AGAIN;
}

/* Goes as far as it can.  ST_AGAIN: wait for the events in *events. */
static enum status
reply_advance(struct reply *r, uint32_t *events)
{
	enum status st;

	*events = EPOLLOUT;
	st = reply_flush(r);
	if (st != ST_OK || r->raw)
		return st;
	*events = EPOLLIN;
	st = reply_drain_input(r);
	if (st == ST_AGAIN && !r->lingering) {
		r->lingering = true;
		(void)shutdown(r->fd, SHUT_WR);
	}
	return st;
}

static void
ready(struct watch *w, uint32_t events)
{
	struct reply *r = (struct reply *)w;
	enum status st;
	uint32_t want;

	(void)events;
	st = reply_advance(r, &want);
	if (st == ST_AGAIN)
		st = loop_mod(r->set->loop, &r->watch, want);
	else
		st = ST_END;
	if (st != ST_OK)
		reply_end(r);
}

static void
expired(struct timer *t, uint64_t now_us)
{
	struct reply *r = (struct reply *)((char *)t -
	    offsetof(struct reply, deadline));

	(void)now_us;
	reply_end(r);
}

static enum status
wait_for(struct reply *r, uint32_t events)
{
	struct loop *l = r->set->loop;
	enum status st;

	r->watch.fd = r->fd;
	st = loop_add(l, &r->watch, events);
	if (st != ST_OK) {
		r->watch.fd = -1;
		return st;
	}
	return timer_set(l, &r->deadline, loop_now_us(l) + TIMEOUT_US);
}

void
reply_send(struct reply_set *rs, int fd, uint16_t request_id,
    struct span response)
{
	struct reply *r = calloc(1, sizeof(*r));
	enum status st;
	uint32_t events = 0;

	if (r == NULL) {
		(void)close(fd);
		return;
	}
	r->watch = (struct watch){.fd = -1, .fn = ready};
	r->deadline.fn = expired;
	r->deadline.is_of_peer = true;
	r->set = rs;
	r->fd = fd;
	r->raw = request_id == REPLY_RAW;
	buf_init(&r->out, RESPONSE_MAX);
	rs->n_live++;
	st = r->raw ? buf_append(&r->out, response)
		    : record_put_last(&r->out, request_id, response);
	if (st == ST_OK)
		st = reply_advance(r, &events);
	if (st == ST_AGAIN && wait_for(r, events) == ST_OK) {
		r->next = rs->first;
		rs->first = r;
		return;
	}
	reply_end(r);
	reply_release(r);
}

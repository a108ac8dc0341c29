/* SPDX-License-Identifier: MIT */
/* A hub with clients on socket pairs. */
#include "rig.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hub_private.h"
#include "log.h"

#define DEFAULT_RING (1u << 20)
#define LONG_US      3600000000u

ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);

static struct rig *the_rig;

static struct rig_client *
client_of(int server_fd)
{
	size_t i;

	for (i = 0; the_rig != NULL && i < the_rig->n_clients; i++)
		if (the_rig->client[i]->server_fd == server_fd)
			return the_rig->client[i];
	return NULL;
}

ssize_t
__wrap_write(int fd, const void *p, size_t n)
{
	struct rig_client *c = client_of(fd);
	ssize_t took;

	if (c != NULL && c->hook != NULL) {
		void (*hook)(void *arg) = c->hook;

		c->hook = NULL;
		hook(c->hook_arg);
	}
	if (c == NULL || c->budget < 0)
		return __real_write(fd, p, n);
	if (c->budget == 0) {
		errno = EAGAIN;
		return -1;
	}
	if (n > (size_t)c->budget)
		n = (size_t)c->budget;
	took = __real_write(fd, p, n);
	if (took > 0)
		c->budget -= took;
	return took;
}

static void
on_ended(void *arg, const struct stream *s)
{
	struct rig *r = arg;
	size_t i;

	r->n_ended++;
	for (i = 0; i < r->n_clients; i++) {
		if (r->client[i]->s == s) {
			r->client[i]->s = NULL;
			r->client[i]->server_fd = -1;
		}
	}
}

void
rig_init(struct rig *r, const struct hub_options *o)
{
	enum status st;

	(void)signal(SIGPIPE, SIG_IGN);
	log_init("rig", LOG_TEXT, LOG_ERROR_);
	memset(r, 0, sizeof(*r));
	r->options = *o;
	if (r->options.ring_bytes == 0)
		r->options.ring_bytes = DEFAULT_RING;
	if (r->options.heartbeat_us == 0)
		r->options.heartbeat_us = LONG_US;
	if (r->options.retry_ms == 0)
		r->options.retry_ms = 3000;
	r->options.ended = on_ended;
	r->options.arg = r;
	st = loop_new(&r->loop);
	assert(st == ST_OK);
	st = hub_new(&r->hub, r->loop, &r->options);
	assert(st == ST_OK);
	the_rig = r;
}

void
rig_fini(struct rig *r)
{
	size_t i;

	hub_free(&r->hub);
	loop_free(&r->loop);
	for (i = 0; i < r->n_clients; i++) {
		rig_leave(r->client[i]);
		buf_fini(&r->client[i]->text);
	}
	the_rig = NULL;
}

static size_t
cut_list(const char *list, struct span *out, size_t max)
{
	struct span rest = span_str(list);
	size_t n = 0;

	while (n < max && span_cut(&rest, ',', &out[n]))
		n++;
	return n;
}

struct sub *
rig_sub(struct subs *subs, const struct rig_wish *w)
{
	struct span channel[64], event[64];
	struct sub_spec spec = {.channel = channel,
	    .event = event,
	    .envelope = w->envelope};
	struct sub *sub = NULL;
	enum status st;

	spec.n_channels = cut_list(w->channels, channel, 64);
	spec.n_events = cut_list(w->events, event, 64);
	st = subs_ref(subs, &spec, &sub);
	assert(st == ST_OK);
	return sub;
}

void
rig_join(struct rig *r, struct rig_client *c, const struct rig_wish *w)
{
	struct stream *s = calloc(1, sizeof(*s));
	enum status st;
	int fds[2], rc;

	assert(s != NULL && r->n_clients < RIG_CLIENTS);
	rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds);
	assert(rc == 0);
	*c = (struct rig_client){.fd = fds[0],
	    .server_fd = fds[1],
	    .s = s,
	    .budget = RIG_NO_LIMIT,
	    .cgi = w->cgi};
	buf_init(&c->text, SIZE_MAX / 4);
	r->client[r->n_clients++] = c;
	s->watch.fd = fds[1];
	s->request_id = w->cgi ? 0 : 1;
	s->slot = s->address_slot = -1;
	s->sub = rig_sub(r->hub->subs, w);
	s->heartbeat_events = w->heartbeat_events;
	s->place.cursor = w->cursor;
	s->epoch = hub_epoch(r->hub);
	s->end_us = w->end_us;
	s->end_why = CLOSE_MAX_AGE;
	s->front = (uint8_t)w->front;
	st = hub_add(r->hub, s);
	assert(st == ST_OK);
	(void)rc;
}

void
rig_leave(struct rig_client *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
}

static void
take_text(struct rig_client *c, const char *p, size_t n)
{
	enum status st = buf_append(&c->text, span_of(p, n));

	assert(st == ST_OK);
	(void)st;
}

/* A header is complete: is it one that we may send? */
static void
take_header(struct rig_client *c)
{
	const unsigned char *h = c->head;

	c->n_head = 0;
	c->n_records++;
	assert(!c->end_request);
	assert(h[0] == 1 && h[2] == 0 && h[3] == 1 && h[6] == 0);
	c->left = (size_t)(h[4] << 8 | h[5]);
	if (h[1] == RECORD_END_REQUEST) {
		assert(c->empty_stdout && c->left == 8);
		c->end_request = true;
		return;
	}
	assert(h[1] == RECORD_STDOUT && !c->empty_stdout);
	c->empty_stdout = c->left == 0;
}

static void
take_bytes(struct rig_client *c, const char *p, size_t n)
{
	if (c->cgi) {
		take_text(c, p, n);
		return;
	}
	while (n > 0) {
		size_t part = n < c->left ? n : c->left;

		if (part == 0) {
			c->head[c->n_head++] = (unsigned char)*p;
			p++;
			n--;
			if (c->n_head == RECORD_HEADER_BYTES)
				take_header(c);
			continue;
		}
		if (!c->end_request)
			take_text(c, p, part);
		c->left -= part;
		p += part;
		n -= part;
	}
}

void
rig_read(struct rig_client *c)
{
	char bytes[65536];
	ssize_t n = -1;

	while (c->fd >= 0 && (n = read(c->fd, bytes, sizeof(bytes))) > 0)
		take_bytes(c, bytes, (size_t)n);
	if (c->fd >= 0 && n == 0)
		c->at_eof = true;
}

struct span
rig_text(struct rig_client *c)
{
	rig_read(c);
	return buf_span(&c->text);
}

void
rig_forget(struct rig_client *c)
{
	rig_read(c);
	buf_clear(&c->text);
}

void
rig_turn(struct rig *r)
{
	enum status st = loop_turn(r->loop, 0);

	assert(st == ST_OK);
	(void)st;
	hub_serve(r->hub);
	hub_reap(r->hub);
}

void
rig_settle(struct rig *r, int max)
{
	size_t i;

	do {
		rig_turn(r);
		for (i = 0; i < r->n_clients; i++)
			rig_read(r->client[i]);
	} while (hub_busy(r->hub) && --max > 0);
	rig_turn(r);
}

struct event
rig_event(int64_t id, const char *channel, struct span data)
{
	return (struct event){
	    .id = id,
	    .channel = span_str(channel),
	    .event = SPAN("message"),
	    .kind = EVENT_DATA_TEXT,
	    .data = data,
	};
}

void
rig_push(struct rig *r, int64_t id, const char *channel, struct span data)
{
	struct event e = rig_event(id, channel, data);

	(void)hub_take(r->hub, &e);
	hub_dispatch(r->hub);
}

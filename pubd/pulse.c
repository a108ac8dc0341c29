/* SPDX-License-Identifier: MIT */
/* Pings to ourselves.  One is out at a time.  Nothing here waits. */
#include "pulse.h"

#include <string.h>
#include <unistd.h>

#include "sock.h"
#include "span.h"

#define ANSWER_BYTES 512 /* of which the first few tell */

static void
hang_up(struct pulse *p)
{
	int fd = p->watch.fd;

	if (fd < 0)
		return;
	loop_del(p->loop, &p->watch);
	(void)close(fd);
	p->watch.fd = -1;
}

static void
fail(struct pulse *p, const char *why)
{
	hang_up(p);
	if (log_state(&p->told_us, loop_now_us(p->loop)))
		log_warnx("a ping of our own, sent as publishers send: %s: "
			  "publishers cannot reach pubd either",
		    why);
}

static void
on_answer(struct watch *w, uint32_t events)
{
	struct pulse *p = OWNER_OF(w, struct pulse, watch);
	char text[ANSWER_BYTES];
	enum status st;
	size_t n = 0;

	(void)events;
	st = sock_read(w->fd, text, sizeof(text), &n);
	if (st == ST_AGAIN)
		return;
	if (st != ST_OK) {
		/* Closed for want of descriptors: a restart is no help. */
		p->answered_us = loop_now_us(p->loop);
		fail(p, "the connection was closed without an answer");
		return;
	}
	hang_up(p);
	p->answered_us = loop_now_us(p->loop);
	/* Anything else is an error, which its own words are logged for. */
	if (!span_starts(span_of(text, n), SPAN("{\"ok\":true")))
		return;
	p->good_us = p->answered_us;
	p->told_us = 0;
}

static void
ask(struct pulse *p)
{
	const struct span ping = SPAN("{\"op\":\"ping\"}\n");
	struct errmsg err = {""};
	size_t n = 0;

	if (sock_connect_unix(p->socket, &p->watch.fd, &err) != ST_OK) {
		p->watch.fd = -1;
		fail(p, err.text);
		return;
	}
	if (sock_write(p->watch.fd, ping, &n) != ST_OK || n != ping.len ||
	    loop_add(p->loop, &p->watch, EPOLLIN) != ST_OK)
		fail(p, "it could not be sent");
}

void
pulse_ask(struct pulse *p, uint64_t now_us)
{
	if (p->stopped)
		return;
	if (p->watch.fd >= 0) {
		if (now_us - p->asked_us < PULSE_GIVE_UP_US)
			return;
		fail(p, "there was no answer in time");
	}
	p->asked_us = now_us;
	ask(p);
}

void
pulse_init(struct pulse *p, struct loop *l, const char *socket, uint64_t now_us)
{
	*p = (struct pulse){.loop = l,
	    .socket = socket,
	    .watch = {.fd = -1, .fn = on_answer},
	    .answered_us = now_us,
	    .good_us = now_us};
}

void
pulse_fini(struct pulse *p)
{
	p->stopped = true;
	if (p->loop != NULL)
		hang_up(p);
}

/* SPDX-License-Identifier: MIT */
/* Pings to ourselves.  One is out at a time.  Nothing here waits. */
#include "pulse.h"

#include "span.h"
#include "wire.h"

#define ANSWER_BYTES 2048 /* of which the first few tell */
#define PING_BYTES   64

static void
pulse_hang_up(struct pulse *p)
{
	if (p->watch.fd >= 0)
		loop_del(p->loop, &p->watch);
	sock_client_close(&p->client);
}

static void
pulse_fail(struct pulse *p, const char *why)
{
	pulse_hang_up(p);
	if (log_state(&p->fails, 0, loop_now_us(p->loop)))
		log_warnx("a ping of our own, sent as publishers send: %s: "
			  "publishers cannot reach pubd either",
		    why);
}

static void
pulse_on_answer(struct watch *w, uint32_t events)
{
	struct pulse *p = OWNER_OF(w, struct pulse, watch);
	enum status st = sock_client_receive(&p->client);
	struct span line;

	(void)events;
	if (st == ST_AGAIN ||
	    (st == ST_OK && sock_client_line(&p->client, &line) != ST_OK))
		return;
	p->answered_us = loop_now_us(p->loop);
	if (st != ST_OK) {
		/* Closed for want of descriptors: a restart is no help. */
		pulse_fail(p, "the connection was closed without an answer");
		return;
	}
	/* Anything else is an error, which its own words are logged for. */
	if (wire_says_ok(line)) {
		p->good_us = p->answered_us;
		log_state_over(&p->fails);
	}
	pulse_hang_up(p);
}

static void
pulse_send(struct pulse *p)
{
	struct errmsg err = {""};
	enum status st = sock_client_open(&p->client, p->socket, PING_BYTES,
	    ANSWER_BYTES, &err);

	if (st != ST_OK) {
		pulse_fail(p, err.text);
		return;
	}
	p->watch.fd = p->client.fd;
	if (sock_client_put(&p->client, WIRE_PING) != ST_OK ||
	    sock_client_flush(&p->client) != ST_OK ||
	    loop_add(p->loop, &p->watch, EPOLLIN) != ST_OK)
		pulse_fail(p, "it could not be sent");
}

void
pulse_ask(struct pulse *p, uint64_t now_us)
{
	if (p->stopped)
		return;
	if (p->watch.fd >= 0) {
		if (now_us - p->asked_us < PULSE_GIVE_UP_US)
			return;
		pulse_fail(p, "there was no answer in time");
	}
	p->asked_us = now_us;
	pulse_send(p);
}

void
pulse_init(struct pulse *p, struct loop *l, const char *socket, uint64_t now_us)
{
	*p = (struct pulse){.loop = l,
	    .socket = socket,
	    .client = SOCK_CLIENT_NONE,
	    .watch = {.fd = -1, .fn = pulse_on_answer},
	    .answered_us = now_us,
	    .good_us = now_us};
}

void
pulse_fini(struct pulse *p)
{
	p->stopped = true;
	if (p->loop != NULL)
		pulse_hang_up(p);
}

/* SPDX-License-Identifier: MIT */
/*
 * The watch connection.  Owns its socket; connects again with back-off.
 * Never blocks, but for pubd_link_send_last.
 *
 * pubd may refuse our user the role of a worker.  Then we only watch, as
 * anybody may, report nothing, and ask again from time to time, since its
 * configuration may have been corrected.
 */
#include "pubd_link.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "backoff.h"
#include "buf.h"
#include "clock.h"
#include "clock.h"
#include "log.h"
#include "random.h"
#include "sock_client.h"
#include "value.h"
#include "wire.h"

#define RETRY_MIN_US  100000
#define RETRY_MAX_US  2000000
#define IN_BYTES_MAX  65536
#define OUT_BYTES_MAX 65536

struct pubd_link {
	struct watch watch;
	struct timer retry;
	struct loop *loop;
	struct pubd_link_options o;
	struct sock_client client;
	struct values values; /* of the line at hand */
	struct backoff backoff;
	uint64_t random;
	bool told;    /* that pubd is not there */
	bool tracing; /* it wants spans */
	bool asked;   /* to watch as what we are, and not answered */
	bool refused; /* that */
};

static void link_connect(struct pubd_link *l);

/* What goes on without pubd. */
static const char *
link_meanwhile(const struct pubd_link *l)
{
	return l->o.woken == NULL ? "metrics are reported when it is back"
				  : "events are found by polling";
}

static void
link_set_tracing(struct pubd_link *l, bool on)
{
	if (l->tracing != on && l->o.tracing != NULL)
		l->o.tracing(l->o.arg, on);
	l->tracing = on;
}

static void
link_hang_up(struct pubd_link *l)
{
	link_set_tracing(l, false);
	l->asked = false;
	if (l->watch.fd >= 0)
		loop_del(l->loop, &l->watch);
	sock_client_close(&l->client);
	status_ignore(timer_set(l->loop, &l->retry,
	    loop_now_us(l->loop) +
		random_jitter(&l->random, backoff_next_us(&l->backoff))));
}

/* False: the connection is gone. */
static bool
link_flush(struct pubd_link *l)
{
	enum status st = sock_client_flush(&l->client);

	return st == ST_OK || st == ST_AGAIN;
}

static enum status
link_add_watch(struct pubd_link *l, const struct wire_watch *w)
{
	struct buf *out = &l->client.out;
	size_t start = out->len;

	buf_note(out, wire_put_watch(out, w));
	buf_add(out, SPAN("\n"));
	return buf_finish(out, start);
}

static enum status
link_ask_to_watch(struct pubd_link *l)
{
	const struct wire_watch w = {.role = span_str(l->o.role),
	    .timing = l->o.timing,
	    .wake = l->o.woken != NULL};

	l->asked = true;
	return link_add_watch(l, &w);
}

/* Our user may not watch in our role. */
static void
link_take_refusal(struct pubd_link *l, struct span message)
{
	const struct wire_watch anybody = {.wake = true};
	int n = (int)(message.len > 300 ? 300 : message.len);

	if (!l->refused)
		log_warnx("pubd takes no reports of this process, its metrics "
			  "are missing: \"%.*s\"",
		    n, message.p == NULL ? "" : message.p);
	l->asked = false;
	l->refused = true;
	link_set_tracing(l, false);
	/* When there is no room for it the tail polls. */
	if (l->o.woken != NULL)
		status_ignore(link_add_watch(l, &anybody));
	status_ignore(timer_set(l->loop, &l->retry,
	    loop_now_us(l->loop) + (uint64_t)WIRE_ASK_AGAIN_MS * 1000));
}

static void
link_take_answer(struct pubd_link *l, const struct wire_answer *a)
{
	if (a->ok == WIRE_FAILED) {
		if (span_eq(a->error, SPAN("forbidden")))
			link_take_refusal(l, a->message);
		return;
	}
	if (l->refused)
		log_info("pubd takes reports of this process again");
	l->asked = l->refused = false;
}

/* A line that is no answer of pubd's is ignored: the tail polls anyway. */
static void
link_take_line(struct pubd_link *l, struct span line)
{
	struct wire_answer a;

	if (wire_get_answer(&l->values, line, &a) != ST_OK)
		return;
	if (l->asked && a.ok != WIRE_NEWS)
		link_take_answer(l, &a);
	if (a.head < 0)
		return;
	if (a.trace >= 0)
		link_set_tracing(l, a.trace > 0);
	if (l->o.woken != NULL)
		l->o.woken(l->o.arg, a.head, a.at_us < 0 ? NULL : &a.at_us);
}

static void
link_take_lines(struct pubd_link *l)
{
	struct span line;

	while (sock_client_line(&l->client, &line) == ST_OK)
		link_take_line(l, line);
}

static void
link_on_pubd(struct watch *w, uint32_t events)
{
	struct pubd_link *l = OWNER_OF(w, struct pubd_link, watch);
	enum status st;

	(void)events;
	do {
		st = sock_client_receive(&l->client);
		if (st == ST_OK)
			link_take_lines(l);
	} while (st == ST_OK);
	if (st != ST_AGAIN || !link_flush(l)) {
		if (!l->told)
			log_warnx("pubd hung up: %s", link_meanwhile(l));
		l->told = true;
		link_hang_up(l);
	}
}

static void
link_on_retry(struct timer *t, uint64_t now_us)
{
	struct pubd_link *l = OWNER_OF(t, struct pubd_link, retry);

	(void)now_us;
	if (l->watch.fd < 0)
		link_connect(l);
	else if (link_ask_to_watch(l) != ST_OK || !link_flush(l))
		link_hang_up(l);
}

static void
link_connect(struct pubd_link *l)
{
	struct errmsg err = {"the connection to pubd failed"};
	enum status st = sock_client_open(&l->client, l->o.socket,
	    OUT_BYTES_MAX, IN_BYTES_MAX, &err);

	if (st == ST_OK) {
		l->watch.fd = l->client.fd;
		st = loop_add(l->loop, &l->watch, EPOLLIN);
		if (st != ST_OK)
			l->watch.fd = -1;
	}
	if (st == ST_OK)
		st = link_ask_to_watch(l);
	if (st != ST_OK || !link_flush(l)) {
		if (!l->told)
			log_info("%s: %s", err.text, link_meanwhile(l));
		l->told = true;
		link_hang_up(l);
		return;
	}
	l->told = false;
	backoff_reset(&l->backoff);
}

enum status
pubd_link_new(struct pubd_link **out, struct loop *loop,
    const struct pubd_link_options *o)
{
	struct pubd_link *l = calloc(1, sizeof(*l));

	if (l == NULL || values_init(&l->values) != ST_OK) {
		free(l);
		return ST_NOMEM;
	}
	l->watch = (struct watch){.fd = -1, .fn = link_on_pubd};
	l->retry.fn = link_on_retry;
	l->loop = loop;
	l->o = *o;
	l->random = random_seed();
	l->backoff = (struct backoff){.min_us = RETRY_MIN_US,
	    .max_us = RETRY_MAX_US};
	l->client = SOCK_CLIENT_NONE;
	link_connect(l);
	*out = l;
	return ST_OK;
}

void
pubd_link_free(struct pubd_link **lp)
{
	struct pubd_link *l = *lp;

	if (l == NULL)
		return;
	link_hang_up(l);
	timer_cancel(l->loop, &l->retry);
	values_fini(&l->values);
	free(l);
	*lp = NULL;
}

bool
pubd_link_connected(const struct pubd_link *l)
{
	return l->watch.fd >= 0;
}

bool
pubd_link_send(struct pubd_link *l, struct span line)
{
	bool taken;

	if (l->watch.fd < 0 || l->refused)
		return false;
	taken = sock_client_put(&l->client, line) == ST_OK;
	if (!link_flush(l)) {
		link_hang_up(l);
		return false;
	}
	return taken;
}

static void
link_send_all(struct pubd_link *l, uint64_t until_us)
{
	while (l->client.out.len > 0 &&
	    sock_client_wait(&l->client, POLLOUT, until_us))
		if (!link_flush(l))
			link_hang_up(l);
}

/* Reads until pubd has hung up: then it has read all that we sent. */
static void
link_see_off(struct pubd_link *l, uint64_t until_us)
{
	enum status st;
	struct span line;

	if (l->watch.fd < 0 || l->client.out.len > 0 ||
	    shutdown(l->watch.fd, SHUT_WR) != 0)
		return;
	while (sock_client_wait(&l->client, POLLIN, until_us)) {
		while ((st = sock_client_receive(&l->client)) == ST_OK)
			while (sock_client_line(&l->client, &line) == ST_OK)
				continue;
		if (st != ST_AGAIN)
			link_hang_up(l);
	}
}

void
pubd_link_send_last(struct pubd_link *l, struct span line, int max_wait_ms)
{
	uint64_t until_us = clock_mono_us() + (uint64_t)max_wait_ms * 1000;

	if (l->watch.fd < 0)
		link_connect(l);
	link_send_all(l, until_us); /* what waits must not take its room */
	(void)pubd_link_send(l, line);
	link_send_all(l, until_us);
	link_see_off(l, until_us);
}

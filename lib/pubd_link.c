/* SPDX-License-Identifier: MIT */
/*
 * The watch connection.  Owns its socket; connects again with back-off.
 * Never blocks, but for pubd_link_send_last.
 *
 * pubd may say that our user may not speak as a worker.  Then we listen as
 * anybody may, report nothing, and ask again from time to time, for its
 * configuration may have been mended.
 */
#include "pubd_link.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "linesplit.h"
#include "log.h"
#include "random.h"
#include "sock.h"
#include "value.h"
#include "wire.h"

#define RETRY_MIN_US  100000
#define RETRY_MAX_US  2000000
#define ASK_AGAIN_US  60000000 /* pubd/requests.c knows of it */
#define IN_BYTES_MAX  65536
#define OUT_BYTES_MAX 65536

struct pubd_link {
	struct watch watch;
	struct timer retry;
	struct loop *loop;
	struct pubd_link_options o;
	struct buf in, out;
	struct linesplit lines; /* of `in` */
	struct values values;   /* of the line at hand */
	uint64_t back_off_us;
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
	return l->o.woken == NULL ? "figures are reported when it is back"
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
	int fd = l->watch.fd;

	link_set_tracing(l, false);
	l->asked = false;
	if (fd >= 0) {
		loop_del(l->loop, &l->watch);
		(void)close(fd);
	}
	buf_clear(&l->in);
	l->lines = (struct linesplit){0};
	buf_clear(&l->out);
	status_ignore(timer_set(l->loop, &l->retry,
	    loop_now_us(l->loop) + random_jitter(&l->random, l->back_off_us)));
	l->back_off_us *= 2;
	if (l->back_off_us > RETRY_MAX_US)
		l->back_off_us = RETRY_MAX_US;
}

static bool
link_flush(struct pubd_link *l)
{
	enum status st = ST_OK;
	size_t n;

	while (st == ST_OK && l->out.len > 0) {
		st = sock_write(l->watch.fd, buf_span(&l->out), &n);
		if (st == ST_OK)
			buf_consume(&l->out, n);
	}
	return st == ST_OK || st == ST_AGAIN;
}

static enum status
link_add_watch(struct pubd_link *l, const struct wire_watch *w)
{
	size_t start = l->out.len;

	buf_note(&l->out, wire_put_watch(&l->out, w));
	buf_add(&l->out, SPAN("\n"));
	return buf_finish(&l->out, start);
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

/* Our user may not watch as what we are. */
static void
link_take_refusal(struct pubd_link *l, struct span message)
{
	const struct wire_watch anybody = {.wake = true};
	int n = (int)(message.len > 300 ? 300 : message.len);

	if (!l->refused)
		log_warnx("pubd takes no reports of this process, its figures "
			  "are missing: \"%.*s\"",
		    n, message.p == NULL ? "" : message.p);
	l->asked = false;
	l->refused = true;
	link_set_tracing(l, false);
	/* When there is no room for it the tail polls. */
	if (l->o.woken != NULL)
		status_ignore(link_add_watch(l, &anybody));
	status_ignore(
	    timer_set(l->loop, &l->retry, loop_now_us(l->loop) + ASK_AGAIN_US));
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

/* What is no answer of pubd's is passed over: the tail polls. */
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

	while (linesplit_next(&l->lines, &l->in, &line) == ST_OK)
		link_take_line(l, line);
}

static void
link_on_pubd(struct watch *w, uint32_t events)
{
	struct pubd_link *l = OWNER_OF(w, struct pubd_link, watch);
	enum status st;
	size_t n;

	(void)events;
	do {
		st = buf_reserve(&l->in, 4096);
		if (st == ST_OK)
			st = sock_read(w->fd, buf_tail(&l->in),
			    buf_room(&l->in), &n);
		if (st == ST_OK) {
			buf_grew(&l->in, n);
			link_take_lines(l);
		}
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
	enum status st = sock_connect_unix(l->o.socket, &l->watch.fd, &err);

	if (st == ST_OK) {
		st = loop_add(l->loop, &l->watch, EPOLLIN);
		if (st != ST_OK) {
			(void)close(l->watch.fd);
			l->watch.fd = -1;
		}
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
	l->back_off_us = RETRY_MIN_US;
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
	l->back_off_us = RETRY_MIN_US;
	buf_init(&l->in, IN_BYTES_MAX);
	buf_init(&l->out, OUT_BYTES_MAX);
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
	buf_fini(&l->in);
	buf_fini(&l->out);
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
	size_t start = l->out.len;
	bool taken;

	if (l->watch.fd < 0 || l->refused)
		return false;
	buf_add(&l->out, line);
	buf_add(&l->out, SPAN("\n"));
	taken = buf_finish(&l->out, start) == ST_OK; /* those before stay */
	if (!link_flush(l)) {
		link_hang_up(l);
		return false;
	}
	return taken;
}

/* False: time is up, or the connection is gone. */
static bool
link_wait_for(const struct pubd_link *l, short events, uint64_t until_us)
{
	struct pollfd p = {.fd = l->watch.fd, .events = events};
	uint64_t now_us = clock_mono_us();

	if (l->watch.fd < 0 || now_us >= until_us)
		return false;
	(void)poll(&p, 1, (int)((until_us - now_us) / 1000) + 1);
	return true;
}

static void
link_send_all(struct pubd_link *l, uint64_t until_us)
{
	while (l->out.len > 0 && link_wait_for(l, POLLOUT, until_us))
		if (!link_flush(l))
			link_hang_up(l);
}

/* Reads until pubd has hung up: then it has read all that we sent. */
static void
link_see_off(struct pubd_link *l, uint64_t until_us)
{
	char scratch[4096];
	enum status st;
	size_t n;

	if (l->watch.fd < 0 || l->out.len > 0 ||
	    shutdown(l->watch.fd, SHUT_WR) != 0)
		return;
	while (link_wait_for(l, POLLIN, until_us)) {
		do
			st = sock_read(l->watch.fd, scratch, sizeof(scratch),
			    &n);
		while (st == ST_OK);
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

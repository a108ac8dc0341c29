/* SPDX-License-Identifier: MIT */
/*
 * The watch connection.  Owns its socket; connects again with back-off.
 * Never blocks, but for bell_last_report.
 *
 * pubd may say that our user may not speak as a worker.  Then we listen as
 * anybody may, report nothing, and ask again from time to time, for its
 * configuration may have been mended.
 */
#include "bell.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "jsontext.h"
#include "linesplit.h"
#include "log.h"
#include "random.h"
#include "sock.h"

#define RETRY_MIN_US  100000
#define RETRY_MAX_US  2000000
#define ASK_AGAIN_US  60000000 /* pubd/requests.c knows of it */
#define IN_BYTES_MAX  65536
#define OUT_BYTES_MAX 65536

struct bell {
	struct watch watch;
	struct timer retry;
	struct loop *loop;
	struct bell_options o;
	struct buf in, out;
	struct linesplit lines; /* of `in` */
	uint64_t back_off_us;
	uint64_t random;
	bool told;    /* that pubd is not there */
	bool tracing; /* it wants spans */
	bool asked;   /* to watch as what we are, and not answered */
	bool refused; /* that */
};

static void connect_to_pubd(struct bell *b);

/* What goes on without pubd. */
static const char *
meanwhile(const struct bell *b)
{
	return b->o.ring == NULL ? "figures are reported when it is back"
				 : "events are found by polling";
}

static void
set_tracing(struct bell *b, bool on)
{
	if (b->tracing != on && b->o.tracing != NULL)
		b->o.tracing(b->o.arg, on);
	b->tracing = on;
}

static void
hang_up(struct bell *b)
{
	int fd = b->watch.fd;

	set_tracing(b, false);
	b->asked = false;
	if (fd >= 0) {
		loop_del(b->loop, &b->watch);
		(void)close(fd);
	}
	buf_clear(&b->in);
	b->lines = (struct linesplit){0};
	buf_clear(&b->out);
	status_ignore(timer_set(b->loop, &b->retry,
	    loop_now_us(b->loop) + random_jitter(&b->random, b->back_off_us)));
	b->back_off_us *= 2;
	if (b->back_off_us > RETRY_MAX_US)
		b->back_off_us = RETRY_MAX_US;
}

static bool
flush(struct bell *b)
{
	enum status st = ST_OK;
	size_t n;

	while (st == ST_OK && b->out.len > 0) {
		st = sock_write(b->watch.fd, buf_span(&b->out), &n);
		if (st == ST_OK)
			buf_consume(&b->out, n);
	}
	return st == ST_OK || st == ST_AGAIN;
}

static bool
get_number(struct span line, struct span name, int64_t *out)
{
	struct span value;

	return jsontext_member(line, name, &value) == ST_OK &&
	    span_to_int64(value, out);
}

static bool
is_member(struct span line, struct span name, struct span value)
{
	struct span raw;

	return jsontext_member(line, name, &raw) == ST_OK &&
	    span_eq(raw, value);
}

static enum status
ask_to_watch(struct bell *b)
{
	b->asked = true;
	return buf_printf(&b->out, "{\"op\":\"watch\",\"role\":\"%s\"%s%s}\n",
	    b->o.role, b->o.timing ? ",\"timing\":true" : "",
	    b->o.ring == NULL ? ",\"wake\":false" : "");
}

/* Our user may not watch as what we are. */
static void
take_refusal(struct bell *b, struct span line)
{
	struct span message = SPAN("\"\"");

	if (!b->refused) {
		status_ignore(jsontext_member(line, SPAN("message"), &message));
		log_warnx("pubd takes no reports of this process, its figures "
			  "are missing: %.*s",
		    (int)(message.len > 300 ? 300 : message.len), message.p);
	}
	b->asked = false;
	b->refused = true;
	set_tracing(b, false);
	/* When there is no room for it the tail polls. */
	if (b->o.ring != NULL)
		status_ignore(
		    buf_append(&b->out, SPAN("{\"op\":\"watch\"}\n")));
	status_ignore(
	    timer_set(b->loop, &b->retry, loop_now_us(b->loop) + ASK_AGAIN_US));
}

static void
take_answer(struct bell *b, struct span line)
{
	if (is_member(line, SPAN("ok"), SPAN("false"))) {
		if (is_member(line, SPAN("error"), SPAN("\"forbidden\"")))
			take_refusal(b, line);
		return;
	}
	if (b->refused)
		log_info("pubd takes reports of this process again");
	b->asked = b->refused = false;
}

static void
take_line(struct bell *b, struct span line)
{
	struct span value;
	int64_t head, at_us;
	size_t at;

	if (jsontext_check(line, &at) != ST_OK || line.len == 0 ||
	    line.p[0] != '{')
		return;
	if (b->asked && jsontext_member(line, SPAN("ok"), &value) == ST_OK)
		take_answer(b, line);
	if (!get_number(line, SPAN("head"), &head))
		return;
	if (jsontext_member(line, SPAN("trace"), &value) == ST_OK)
		set_tracing(b, span_eq(value, SPAN("true")));
	if (b->o.ring != NULL)
		b->o.ring(b->o.arg, head,
		    get_number(line, SPAN("at_us"), &at_us) ? &at_us : NULL);
}

static void
take_lines(struct bell *b)
{
	struct span line;

	while (linesplit_next(&b->lines, &b->in, &line) == ST_OK)
		take_line(b, line);
}

static void
on_pubd(struct watch *w, uint32_t events)
{
	struct bell *b = OWNER_OF(w, struct bell, watch);
	enum status st;
	size_t n;

	(void)events;
	do {
		st = buf_reserve(&b->in, 4096);
		if (st == ST_OK)
			st = sock_read(w->fd, buf_tail(&b->in),
			    buf_room(&b->in), &n);
		if (st == ST_OK) {
			buf_grew(&b->in, n);
			take_lines(b);
		}
	} while (st == ST_OK);
	if (st != ST_AGAIN || !flush(b)) {
		if (!b->told)
			log_warnx("pubd hung up: %s", meanwhile(b));
		b->told = true;
		hang_up(b);
	}
}

static void
on_retry(struct timer *t, uint64_t now_us)
{
	struct bell *b = OWNER_OF(t, struct bell, retry);

	(void)now_us;
	if (b->watch.fd < 0)
		connect_to_pubd(b);
	else if (ask_to_watch(b) != ST_OK || !flush(b))
		hang_up(b);
}

static void
connect_to_pubd(struct bell *b)
{
	struct errmsg err = {"the connection to pubd failed"};
	enum status st = sock_connect_unix(b->o.socket, &b->watch.fd, &err);

	if (st == ST_OK) {
		st = loop_add(b->loop, &b->watch, EPOLLIN);
		if (st != ST_OK) {
			(void)close(b->watch.fd);
			b->watch.fd = -1;
		}
	}
	if (st == ST_OK)
		st = ask_to_watch(b);
	if (st != ST_OK || !flush(b)) {
		if (!b->told)
			log_info("%s: %s", err.text, meanwhile(b));
		b->told = true;
		hang_up(b);
		return;
	}
	b->told = false;
	b->back_off_us = RETRY_MIN_US;
}

enum status
bell_new(struct bell **out, struct loop *l, const struct bell_options *o)
{
	struct bell *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return ST_NOMEM;
	b->watch = (struct watch){.fd = -1, .fn = on_pubd};
	b->retry.fn = on_retry;
	b->loop = l;
	b->o = *o;
	b->random = random_seed();
	b->back_off_us = RETRY_MIN_US;
	buf_init(&b->in, IN_BYTES_MAX);
	buf_init(&b->out, OUT_BYTES_MAX);
	connect_to_pubd(b);
	*out = b;
	return ST_OK;
}

void
bell_free(struct bell **bp)
{
	struct bell *b = *bp;

	if (b == NULL)
		return;
	hang_up(b);
	timer_cancel(b->loop, &b->retry);
	buf_fini(&b->in);
	buf_fini(&b->out);
	free(b);
	*bp = NULL;
}

bool
bell_connected(const struct bell *b)
{
	return b->watch.fd >= 0;
}

bool
bell_report(struct bell *b, struct span line)
{
	size_t before = b->out.len;
	bool taken;

	if (b->watch.fd < 0 || b->refused)
		return false;
	taken = buf_append(&b->out, line) == ST_OK &&
	    buf_append(&b->out, SPAN("\n")) == ST_OK;
	if (!taken)
		buf_truncate(&b->out, before); /* those before still wait */
	if (!flush(b)) {
		hang_up(b);
		return false;
	}
	return taken;
}

/* False: time is up, or the connection is gone. */
static bool
wait_for(const struct bell *b, short events, uint64_t until_us)
{
	struct pollfd p = {.fd = b->watch.fd, .events = events};
	uint64_t now_us = clock_mono_us();

	if (b->watch.fd < 0 || now_us >= until_us)
		return false;
	(void)poll(&p, 1, (int)((until_us - now_us) / 1000) + 1);
	return true;
}

static void
send_all(struct bell *b, uint64_t until_us)
{
	while (b->out.len > 0 && wait_for(b, POLLOUT, until_us))
		if (!flush(b))
			hang_up(b);
}

/* Reads until pubd has hung up: then it has read all that we sent. */
static void
see_off(struct bell *b, uint64_t until_us)
{
	char scratch[4096];
	enum status st;
	size_t n;

	if (b->watch.fd < 0 || b->out.len > 0 ||
	    shutdown(b->watch.fd, SHUT_WR) != 0)
		return;
	while (wait_for(b, POLLIN, until_us)) {
		do
			st = sock_read(b->watch.fd, scratch, sizeof(scratch),
			    &n);
		while (st == ST_OK);
		if (st != ST_AGAIN)
			hang_up(b);
	}
}

void
bell_last_report(struct bell *b, struct span line, int max_wait_ms)
{
	uint64_t until_us = clock_mono_us() + (uint64_t)max_wait_ms * 1000;

	if (b->watch.fd < 0)
		connect_to_pubd(b);
	send_all(b, until_us); /* what waits must not take its room */
	(void)bell_report(b, line);
	send_all(b, until_us);
	see_off(b, until_us);
}

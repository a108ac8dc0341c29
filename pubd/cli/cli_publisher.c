/* SPDX-License-Identifier: MIT */
/* A publisher's conversation with pubd.  Blocks in poll(2). */
#include "cli_publisher.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli_common.h"
#include "clock.h"

#define WINDOW_BYTES 1048576 /* on their way, unless one alone is larger */
#define REOPEN_US    500000  /* not sooner than that after another */

/* For printf's %.*s: what pubd says, cut. */
#define SAID(s) (int)((s).len > 255 ? 255 : (s).len), (s).p == NULL ? "" : (s).p

/* ---- requests ---------------------------------------------------------- */

void
cli_publisher_fail(struct cli_publisher *p, uint64_t line, const char *fmt, ...)
{
	char why[640];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	p->n_failed++;
	if (p->lines)
		cli_say("line %" PRIu64 ": %s", line, why);
	else
		cli_say("not published: %s", why);
}

static enum status
note_sent(struct cli_publisher *p, uint64_t line, struct span request)
{
	if (p->sent.n == 0)
		p->deadline_us = clock_mono_us() + p->timeout_us;
	return cli_queue_put(&p->sent, line, request);
}

void
cli_publisher_submit(struct cli_publisher *p, uint64_t line, struct span data)
{
	size_t before = p->link.out.len;
	struct errmsg err = {""};
	bool json;
	enum status st;

	if (cli_request_judge(&p->request, data, &json, &err) != ST_OK) {
		cli_publisher_fail(p, line, "%s", err.text);
		return;
	}
	st = cli_request_put(&p->request, &p->link.out, data, json);
	if (st == ST_OK)
		st = note_sent(p, line,
		    span_skip(buf_span(&p->link.out), before));
	if (st != ST_OK) {
		buf_truncate(&p->link.out, before);
		cli_publisher_fail(p, line, "cannot make the request: %s",
		    status_name(st));
	}
}

/* ---- answers ----------------------------------------------------------- */

static size_t
n_put_off(const struct cli_publisher *p)
{
	return p->refused.n + p->again.n;
}

static void
event_stored(struct cli_publisher *p, int64_t id)
{
	p->n_acked++;
	p->n_stored++;
	if (p->limit < CLI_QUEUE_MAX)
		p->limit++;
	p->give_up_us = 0;
	(void)printf("%" PRId64 "\n", id);
}

/*
 * The oldest request was refused for now: is it to be sent again later?  Not
 * when none was stored for the whole time-out.
 */
static bool
publish_later(struct cli_publisher *p, int64_t retry_ms)
{
	uint64_t now_us = clock_mono_us();

	if (retry_ms < 1)
		return false;
	if (p->give_up_us == 0)
		p->give_up_us = now_us + p->timeout_us;
	if (now_us >= p->give_up_us ||
	    (uint64_t)retry_ms > (p->give_up_us - now_us) / 1000)
		return false;
	if (p->refused.n == 0) {
		p->pause_us = (uint64_t)retry_ms * 1000;
		p->limit = p->n_stored > 0 ? p->n_stored : 1;
		if (p->limit > CLI_QUEUE_MAX)
			p->limit = CLI_QUEUE_MAX;
	}
	return cli_queue_put(&p->refused, cli_queue_line(&p->sent),
		   cli_queue_text(&p->sent)) == ST_OK;
}

/* Takes the answer to the oldest request.  ST_INVALID: it makes no sense. */
static enum status
publish_take_answer(struct cli_publisher *p, struct span line)
{
	struct wire_answer a;
	enum status st;

	if (p->sent.n == 0)
		return ST_INVALID;
	st = wire_get_answer(&p->values, line, &a);
	if (st != ST_OK)
		return st;
	if (a.ok == WIRE_OK && a.id >= 0)
		event_stored(p, a.id);
	else if (a.ok == WIRE_OK)
		st = ST_INVALID;
	else if (!publish_later(p, a.retry_ms))
		cli_publisher_fail(p, cli_queue_line(&p->sent), "%.*s: %.*s",
		    SAID(a.error), SAID(a.message));
	cli_queue_drop(&p->sent);
	p->deadline_us = clock_mono_us() + p->timeout_us;
	return st;
}

static enum status
publish_take_answers(struct cli_publisher *p)
{
	struct span line;
	enum status st = sock_client_receive(&p->link);

	if (st != ST_OK)
		return st == ST_AGAIN ? ST_OK : st;
	while (st == ST_OK && sock_client_line(&p->link, &line) == ST_OK)
		st = publish_take_answer(p, line);
	return st;
}

/* ---- the flow --------------------------------------------------------- */

static bool
window_has_room(const struct cli_publisher *p)
{
	return p->sent.n < p->limit && p->sent.text.len < WINDOW_BYTES;
}

/*
 * Nothing is on its way: what was refused is sent again.  No more at once than
 * were stored the last time, and one more for each that is, so that pubd is not
 * kept busy refusing.
 */
static enum status
send_again(struct cli_publisher *p)
{
	struct cli_queue *q = &p->again;
	enum status st = cli_queue_put_before(&p->refused, q);

	if (p->pause_us > 0)
		cli_pause_us(p->pause_us);
	p->pause_us = 0;
	p->n_stored = 0;
	while (st == ST_OK && q->n > 0 && window_has_room(p)) {
		st = buf_append(&p->link.out, cli_queue_text(q));
		if (st == ST_OK)
			st = note_sent(p, cli_queue_line(q), cli_queue_text(q));
		cli_queue_drop(q);
	}
	return st;
}

/* Makes requests of the lines that are there, as long as there is room. */
static void
submit_lines(struct cli_publisher *p, struct cli_lines *in, bool *more)
{
	struct span line;
	enum status st = ST_OK;

	while (window_has_room(p)) {
		st = cli_lines_next(in, &line);
		if (st == ST_OK)
			cli_publisher_submit(p, in->number, line);
		else if (st == ST_TOOLARGE)
			cli_publisher_fail(p, in->number,
			    "too_large: the line is longer than "
			    "max_line_bytes");
		else
			break;
	}
	*more = st != ST_END;
}

/*
 * Waits until pubd or standard input can go on, and lets it.
 *
 * in       NULL when there is nothing more to read
 * Returns  ST_OK; ST_AGAIN: pubd took too long; else the connection or
 *          standard input failed
 */
static enum status
publish_turn(struct cli_publisher *p, struct cli_lines *in)
{
	struct pollfd fds[2] = {
	    {.fd = p->link.fd, .events = POLLIN},
	    {.fd = in != NULL && window_has_room(p) ? in->fd : -1,
		.events = POLLIN},
	};
	enum status st = sock_client_flush(&p->link);
	int wait_ms = -1;

	if (st == ST_AGAIN)
		fds[0].events |= POLLOUT;
	else if (st != ST_OK)
		return st;
	if (p->sent.n > 0)
		wait_ms = sock_client_poll_ms(p->deadline_us);
	/* Nobody may be reading the ids any more; the events still go out. */
	status_ignore(cli_write(SPAN_NONE));
	if (poll(fds, 2, wait_ms) < 0)
		return errno == EINTR ? ST_OK : ST_IO;
	if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
		st = publish_take_answers(p);
	else if (p->sent.n > 0 && clock_mono_us() >= p->deadline_us)
		return ST_AGAIN;
	else
		st = ST_OK;
	if (st == ST_OK && fds[1].revents != 0)
		st = cli_lines_read(in);
	return st;
}

/*
 * When input comes late, pubd may have closed a connection that was silent
 * since it opened: nothing is lost, and it is no fault.
 */
static enum status
publish_reopen(struct cli_publisher *p)
{
	size_t max_out = p->link.out.max;
	struct errmsg err = {""};
	uint64_t now_us = clock_mono_us();

	if (p->sent.n > 0 || n_put_off(p) > 0 || p->link.out.len > 0 ||
	    now_us - p->opened_us < REOPEN_US)
		return ST_END;
	sock_client_close(&p->link);
	p->opened_us = now_us;
	return cli_link_open(&p->link, p->socket, max_out,
		   now_us + p->timeout_us, &err) == ST_OK
	    ? ST_OK
	    : ST_END;
}

enum status
cli_publisher_run(struct cli_publisher *p, struct cli_lines *in)
{
	enum status st = ST_OK;
	bool more = in != NULL;

	for (;;) {
		if (p->sent.n == 0 && n_put_off(p) > 0)
			st = send_again(p);
		else if (more && n_put_off(p) == 0)
			submit_lines(p, in, &more);
		if (!more && p->sent.n == 0 && n_put_off(p) == 0)
			return ST_OK;
		if (st == ST_OK)
			st = publish_turn(p,
			    more && !in->end && n_put_off(p) == 0 ? in : NULL);
		if (st == ST_END)
			st = publish_reopen(p);
		if (st != ST_OK)
			return st;
	}
}

void
cli_publisher_broke_off(struct cli_publisher *p, enum status st)
{
	const char *why = status_name(st);

	if (st == ST_AGAIN)
		why = "pubd did not answer in time: look at its log, or "
		      "raise --timeout";
	else if (st == ST_END)
		why = "pubd closed the connection: look at its log";
	else if (st == ST_INVALID || st == ST_FULL)
		why = "the answer is not pubd's: check `socket`";
	else if (st == ST_IO)
		why = strerror(errno);
	cli_say("%s", why);
	p->n_failed += n_put_off(p); /* refused, and not sent again */
	if (p->lines && p->sent.n > 0)
		cli_say("%" PRIu64 " events are stored; line %" PRIu64
			" and what follows may be stored or not",
		    p->n_acked, cli_queue_line(&p->sent));
	else if (p->sent.n > 0)
		cli_say("the event may be stored or not: publish it with a "
			"key (-k) to be able to repeat it");
}

/* ---- its life ---------------------------------------------------------- */

enum status
cli_publisher_open(struct cli_publisher *p, size_t max_data, struct errmsg *err)
{
	/* Each byte of data takes six at most ("\u0001"). */
	size_t max_request = WINDOW_BYTES + 8192 + 6 * max_data;
	enum status st;

	cli_queue_init(&p->sent, max_request);
	cli_queue_init(&p->refused, max_request);
	cli_queue_init(&p->again, max_request);
	p->limit = CLI_QUEUE_MAX;
	p->opened_us = clock_mono_us();
	st = cli_link_open(&p->link, p->socket, max_request,
	    p->opened_us + p->timeout_us, err);
	return st == ST_OK ? values_init(&p->values) : st;
}

void
cli_publisher_close(struct cli_publisher *p)
{
	values_fini(&p->values);
	cli_queue_fini(&p->sent);
	cli_queue_fini(&p->refused);
	cli_queue_fini(&p->again);
	sock_client_close(&p->link);
}

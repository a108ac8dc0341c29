/* SPDX-License-Identifier: MIT */
/* A connection to pubd.  The socket is non-blocking; poll(2) waits. */
#include "cli_link.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "cli_common.h"
#include "clock.h"
#include "json.h"
#include "sock.h"

#define READ_BYTES   65536
#define IN_BYTES     (4 * READ_BYTES) /* many times the longest answer */
#define RETRY_US     10000
#define MAX_QUESTION 1024

enum status
cli_link_open(struct cli_link *l, const char *path, size_t max_out,
    uint64_t deadline_us, struct errmsg *err)
{
	enum status st;

	l->fd = -1;
	l->lines = (struct linesplit){0};
	buf_init(&l->out, max_out);
	buf_init(&l->in, IN_BYTES);
	while ((st = sock_connect_unix(path, &l->fd, err)) == ST_BUSY &&
	    clock_mono_us() < deadline_us)
		cli_pause_us(RETRY_US);
	return st;
}

void
cli_link_close(struct cli_link *l)
{
	if (l->fd >= 0)
		(void)close(l->fd);
	l->fd = -1;
	l->lines = (struct linesplit){0};
	buf_fini(&l->out);
	buf_fini(&l->in);
}

enum status
cli_link_flush(struct cli_link *l)
{
	size_t n;
	enum status st;

	while (l->out.len > 0) {
		st = sock_write(l->fd, buf_span(&l->out), &n);
		if (st != ST_OK)
			return st;
		buf_consume(&l->out, n);
	}
	return ST_OK;
}

enum status
cli_link_receive(struct cli_link *l)
{
	enum status st;
	size_t n;

	linesplit_settle(&l->lines, &l->in);
	st = buf_reserve(&l->in, READ_BYTES);
	if (st != ST_OK)
		return st;
	st = sock_read(l->fd, buf_tail(&l->in), READ_BYTES, &n);
	if (st == ST_OK)
		buf_grew(&l->in, n);
	else if (st == ST_IO && errno == ECONNRESET)
		st = ST_END;
	return st;
}

enum status
cli_link_line(struct cli_link *l, struct span *line)
{
	return linesplit_next(&l->lines, &l->in, line);
}

int
cli_link_poll_ms(uint64_t deadline_us)
{
	uint64_t now = clock_mono_us();

	if (deadline_us <= now)
		return 0;
	if (deadline_us - now > (uint64_t)INT_MAX * 1000 - 999)
		return INT_MAX;
	return (int)((deadline_us - now + 999) / 1000);
}

/* Waits for the socket and moves bytes once.  ST_OK: look at them. */
static enum status
link_turn(struct cli_link *l, uint64_t deadline_us)
{
	struct pollfd p = {.fd = l->fd, .events = POLLIN};
	enum status st;

	st = cli_link_flush(l);
	if (st == ST_AGAIN)
		p.events |= POLLOUT;
	else if (st != ST_OK)
		return st;
	if (poll(&p, 1, cli_link_poll_ms(deadline_us)) < 0 && errno != EINTR)
		return ST_IO;
	if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
		st = cli_link_receive(l);
		return st == ST_AGAIN ? ST_OK : st;
	}
	return clock_mono_us() < deadline_us ? ST_OK : ST_AGAIN;
}

/* Sends a request and waits for the answer: a line, valid while l is open. */
static enum status
link_call(struct cli_link *l, struct span request, uint64_t deadline_us,
    struct span *answer, struct errmsg *err)
{
	size_t start = l->out.len;
	enum status st;

	buf_add(&l->out, request);
	buf_add(&l->out, SPAN("\n"));
	st = buf_finish(&l->out, start);
	while (st == ST_OK && cli_link_line(l, answer) != ST_OK)
		st = link_turn(l, deadline_us);
	if (st == ST_AGAIN)
		errmsg_set(err,
		    "pubd took the connection and does not answer: "
		    "look at its log, and whether it runs");
	else if (st == ST_END)
		errmsg_set(err, "pubd closed the connection: look at its log");
	else if (st != ST_OK)
		errmsg_set(err, "the connection to pubd failed: %s",
		    st == ST_IO ? strerror(errno) : status_name(st));
	return st;
}

enum status
cli_link_ask(const char *path, struct span request, uint64_t timeout_us,
    struct json **answer, struct errmsg *err)
{
	uint64_t deadline_us = clock_mono_us() + timeout_us;
	struct cli_link link = {.fd = -1};
	struct json_parser *parser = NULL;
	struct span line;
	enum status st;

	*err = (struct errmsg){""};
	st = cli_link_open(&link, path, MAX_QUESTION, deadline_us, err);
	if (st == ST_OK)
		st = link_call(&link, request, deadline_us, &line, err);
	if (st == ST_OK)
		st = json_parser_new(&parser);
	if (st == ST_OK)
		st = json_parse(parser, line, answer, err);
	if (st != ST_OK && err->text[0] == '\0')
		errmsg_set(err, "%s", status_name(st));
	json_parser_free(&parser);
	cli_link_close(&link);
	return st;
}

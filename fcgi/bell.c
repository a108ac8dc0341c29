/* SPDX-License-Identifier: MIT */
/*
 * The watch connection.  Owns its socket; connects again with back-off.
 * Never blocks.
 */
#include "bell.h"

#include <stdlib.h>
#include <unistd.h>

#include "buf.h"
#include "jsontext.h"
#include "log.h"
#include "random.h"
#include "sock.h"

#define RETRY_MIN_US  100000
#define RETRY_MAX_US  2000000
#define IN_BYTES_MAX  65536
#define OUT_BYTES_MAX 65536

struct bell {
	struct watch watch;
	struct timer retry;
	struct loop *loop;
	const char *socket;
	void (*ring)(void *arg, int64_t head);
	void *arg;
	struct buf in, out;
	uint64_t back_off_us;
	uint64_t random;
	bool told; /* that pubd is not there */
};

static void connect_to_pubd(struct bell *b);

static void
hang_up(struct bell *b)
{
	int fd = b->watch.fd;

	if (fd >= 0) {
		loop_del(b->loop, &b->watch);
		(void)close(fd);
	}
	buf_clear(&b->in);
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

static void
take_line(struct bell *b, struct span line)
{
	struct span value;
	int64_t head;
	size_t at;

	if (jsontext_check(line, &at) == ST_OK && line.len > 0 &&
	    line.p[0] == '{' &&
	    jsontext_member(line, SPAN("head"), &value) == ST_OK &&
	    span_to_int64(value, &head))
		b->ring(b->arg, head);
}

static void
take_lines(struct bell *b)
{
	const char *end;

	while ((end = span_find(buf_span(&b->in), '\n')) != NULL) {
		size_t len = (size_t)(end - buf_span(&b->in).p);

		take_line(b, span_of(buf_span(&b->in).p, len));
		buf_consume(&b->in, len + 1);
	}
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
	if (st != ST_AGAIN) {
		if (!b->told)
			log_warnx("pubd hung up: events are found by polling");
		b->told = true;
		hang_up(b);
	}
}

static void
on_retry(struct timer *t, uint64_t now_us)
{
	(void)now_us;
	connect_to_pubd(OWNER_OF(t, struct bell, retry));
}

static void
connect_to_pubd(struct bell *b)
{
	struct errmsg err = {""};
	enum status st = sock_connect_unix(b->socket, &b->watch.fd, &err);

	if (st == ST_OK) {
		st = loop_add(b->loop, &b->watch, EPOLLIN);
		if (st != ST_OK) {
			(void)close(b->watch.fd);
			b->watch.fd = -1;
		}
	}
	if (st == ST_OK)
		st = buf_append(&b->out,
		    SPAN("{\"op\":\"watch\",\"role\":\"worker\"}\n"));
	if (st != ST_OK || !flush(b)) {
		if (!b->told)
			log_info("%s: events are found by polling", err.text);
		b->told = true;
		hang_up(b);
		return;
	}
	b->told = false;
	b->back_off_us = RETRY_MIN_US;
}

enum status
bell_new(struct bell **out, struct loop *l, const char *socket,
    void (*ring)(void *arg, int64_t head), void *arg)
{
	struct bell *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return ST_NOMEM;
	b->watch = (struct watch){.fd = -1, .fn = on_pubd};
	b->retry.fn = on_retry;
	b->loop = l;
	b->socket = socket;
	b->ring = ring;
	b->arg = arg;
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

void
bell_report(struct bell *b, struct span line)
{
	size_t before = b->out.len;

	if (b->watch.fd < 0)
		return;
	if (buf_append(&b->out, line) != ST_OK ||
	    buf_append(&b->out, SPAN("\n")) != ST_OK)
		buf_truncate(&b->out, before); /* the last one still waits */
	if (!flush(b))
		hang_up(b);
}

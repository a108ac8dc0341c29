/* SPDX-License-Identifier: MIT */
/* Who connects.  The socket is non-blocking. */
#include "sock_client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include "clock.h"
#include "sock.h"

#define READS_IN_MAX 4 /* max_in is room for so many reads */

enum status
sock_client_open(struct sock_client *c, const char *path, size_t max_out,
    size_t max_in, struct errmsg *err)
{
	*c = SOCK_CLIENT_NONE;
	buf_init(&c->out, max_out);
	buf_init(&c->in, max_in);
	return sock_connect_unix(path, &c->fd, err);
}

void
sock_client_close(struct sock_client *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	buf_fini(&c->out);
	buf_fini(&c->in);
	*c = SOCK_CLIENT_NONE;
}

enum status
sock_client_put(struct sock_client *c, struct span line)
{
	size_t start = c->out.len;

	buf_add(&c->out, line);
	buf_add(&c->out, SPAN("\n"));
	return buf_finish(&c->out, start);
}

enum status
sock_client_flush(struct sock_client *c)
{
	enum status st;
	size_t n;

	while (c->out.len > 0) {
		st = sock_write(c->fd, buf_span(&c->out), &n);
		if (st != ST_OK)
			return st;
		buf_consume(&c->out, n);
	}
	return ST_OK;
}

enum status
sock_client_receive(struct sock_client *c)
{
	size_t n, room = c->in.max / READS_IN_MAX;
	enum status st;

	if (c->fd < 0)
		return ST_END;
	linesplit_settle(&c->lines, &c->in);
	st = buf_reserve(&c->in, room);
	if (st != ST_OK)
		return st;
	st = sock_read(c->fd, buf_tail(&c->in), room, &n);
	if (st == ST_OK)
		buf_grew(&c->in, n);
	else if (st == ST_IO && errno == ECONNRESET)
		st = ST_END;
	return st;
}

enum status
sock_client_line(struct sock_client *c, struct span *line)
{
	return linesplit_next(&c->lines, &c->in, line);
}

int
sock_client_poll_ms(uint64_t until_us)
{
	uint64_t now = clock_mono_us();

	if (until_us <= now)
		return 0;
	if (until_us - now > (uint64_t)INT_MAX * 1000 - 999)
		return INT_MAX;
	return (int)((until_us - now + 999) / 1000);
}

bool
sock_client_wait(const struct sock_client *c, short events, uint64_t until_us)
{
	struct pollfd p = {.fd = c->fd, .events = events};

	if (c->fd < 0 || clock_mono_us() >= until_us)
		return false;
	(void)poll(&p, 1, sock_client_poll_ms(until_us));
	return true;
}

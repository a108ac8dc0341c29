/* SPDX-License-Identifier: MIT */
/*
 * fcgiread: one stream read from the worker's own socket, without a web
 * server between: what bare_read is compared with.  Sends one FastCGI
 * request with a Last-Event-ID, takes the records apart, and checks that the
 * ids go up by one until the last one asked for.
 *
 * Exit status: 0 all came, in order; 1 not; 2 usage or set-up.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "../load/order.h"
#include "../load/ssewire.h"
#include "../load/tool.h"

#define IN_BYTES ((size_t)256 * 1024)

enum { REC_BEGIN = 1, REC_END = 3, REC_PARAMS = 4, REC_STDIN = 5, REC_OUT = 6 };

struct reader {
	const char *socket;
	const char *query;
	const char *last_id;
	uint64_t until;
	double max_s;
	int fd;
	struct wire wire;
	struct order order;
	uint64_t faults;
	uint64_t bytes;
	uint64_t records;
	char req[8192];
	size_t req_len;
	unsigned char head[8]; /* of the record under way */
	size_t head_len;
	size_t left; /* content of it still to come */
	size_t padding;
	bool ended;
};

enum { OPT_SOCKET = 1, OPT_QUERY, OPT_LAST_ID, OPT_UNTIL, OPT_MAX_TIME };

static const struct tool_opt opts[] = {
    {OPT_SOCKET, "socket", "PATH", "the worker's Unix socket"},
    {OPT_QUERY, "query", "TEXT", "query string (default channel=c0)"},
    {OPT_LAST_ID, "last-id", "ID", "Last-Event-ID (default 0)"},
    {OPT_UNTIL, "until-id", "ID", "the last event to wait for"},
    {OPT_MAX_TIME, "max-time", "S", "hard stop (default 120)"},
    {0, NULL, NULL, NULL},
};

static void
on_block(void *arg, const struct wire_block *b)
{
	struct reader *r = arg;
	uint64_t id;
	size_t used;

	if (!b->has_data || !b->has_id || b->event.len > 0)
		return;
	id = tool_digits(b->id.p, b->id.len, &used);
	if (order_event(&r->order, id) != FAULT_NONE)
		r->faults++;
}

/* --- the request --- */

static void
put_record(struct reader *r, int type, const char *p, size_t len)
{
	unsigned char head[8] = {1, (unsigned char)type, 0, 1,
	    (unsigned char)(len >> 8), (unsigned char)len, 0, 0};

	memcpy(r->req + r->req_len, head, 8);
	if (len > 0)
		memcpy(r->req + r->req_len + 8, p, len);
	r->req_len += 8 + len;
}

static size_t
put_param(char *p, const char *name, const char *value)
{
	size_t n = strlen(name), v = strlen(value);

	if (n > 127 || v > 127)
		tool_die("%s: too long for this client", name);
	p[0] = (char)n;
	p[1] = (char)v;
	memcpy(p + 2, name, n);
	memcpy(p + 2 + n, value, v);
	return 2 + n + v;
}

static void
build(struct reader *r)
{
	static const char begin[8] = {0, 1, 0, 0, 0, 0, 0, 0}; /* responder */
	char params[2048], uri[160];
	size_t n = 0;

	snprintf(uri, sizeof(uri), "/sse.fcgi?%s", r->query);
	n += put_param(params + n, "REQUEST_METHOD", "GET");
	n += put_param(params + n, "SCRIPT_NAME", "/sse.fcgi");
	n += put_param(params + n, "REQUEST_URI", uri);
	n += put_param(params + n, "QUERY_STRING", r->query);
	n += put_param(params + n, "SERVER_PROTOCOL", "HTTP/1.1");
	n += put_param(params + n, "REMOTE_ADDR", "127.0.0.1");
	n += put_param(params + n, "HTTP_ACCEPT", "text/event-stream");
	n += put_param(params + n, "HTTP_LAST_EVENT_ID", r->last_id);
	put_record(r, REC_BEGIN, begin, sizeof(begin));
	put_record(r, REC_PARAMS, params, n);
	put_record(r, REC_PARAMS, NULL, 0);
	put_record(r, REC_STDIN, NULL, 0);
}

static void
open_stream(struct reader *r)
{
	static const char head[] = "HTTP/1.1 200 OK\r\n";
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = (time_t)r->max_s};

	if (strlen(r->socket) >= sizeof(a.sun_path))
		tool_die("%s: path too long", r->socket);
	strcpy(a.sun_path, r->socket);
	r->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (r->fd < 0 || connect(r->fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		tool_die("%s: %s", r->socket, strerror(errno));
	setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	build(r);
	if (write(r->fd, r->req, r->req_len) != (ssize_t)r->req_len)
		tool_die("write: %s", strerror(errno));
	wire_init(&r->wire, on_block, r);
	/* what the web server would make of the worker's headers */
	if (wire_feed(&r->wire, head, sizeof(head) - 1) != WIRE_OK)
		tool_die("no memory");
}

/* --- the answer --- */

static void
take_content(struct reader *r, const char *p, size_t len)
{
	if (r->head[1] == REC_END)
		r->ended = true;
	if (r->head[1] != REC_OUT)
		return;
	r->bytes += len;
	if (wire_feed(&r->wire, p, len) != WIRE_OK)
		tool_die("not a 200 event stream (status %u)", r->wire.status);
}

static void
record_begins(struct reader *r)
{
	r->left = (size_t)r->head[4] << 8 | r->head[5];
	r->padding = r->head[6];
	r->records++;
}

static void
take_bytes(struct reader *r, const char *p, size_t len)
{
	size_t n;

	while (len > 0) {
		if (r->head_len < 8) {
			r->head[r->head_len++] = (unsigned char)*p++;
			len--;
			if (r->head_len == 8)
				record_begins(r);
		} else if (r->left > 0) {
			n = r->left < len ? r->left : len;
			take_content(r, p, n);
			p += n;
			len -= n;
			r->left -= n;
		} else {
			n = r->padding < len ? r->padding : len;
			p += n;
			len -= n;
			r->padding -= n;
		}
		if (r->head_len == 8 && r->left == 0 && r->padding == 0)
			r->head_len = 0;
	}
}

static void
parse(struct reader *r, char **argv)
{
	const char *arg;
	int id, at = 1;

	r->query = "channel=c0";
	r->last_id = "0";
	r->max_s = 120;
	while ((id = tool_next_opt("fcgiread", opts, argv, &at, &arg)) != 0) {
		if (id == OPT_SOCKET)
			r->socket = arg;
		else if (id == OPT_QUERY)
			r->query = arg;
		else if (id == OPT_LAST_ID)
			r->last_id = arg;
		else if (id == OPT_UNTIL)
			r->until = tool_u64("--until-id", arg);
		else
			r->max_s = tool_double("--max-time", arg);
	}
	if (r->socket == NULL || r->until == 0)
		tool_die("fcgiread: --socket and --until-id are needed");
}

int
main(int argc, char **argv)
{
	static struct reader r;
	static char buf[IN_BYTES];
	uint64_t begin_us, end_us;
	ssize_t n = 1;
	double s;
	bool ok;

	(void)argc;
	parse(&r, argv);
	order_init(&r.order, true);
	begin_us = tool_now_us();
	end_us = begin_us + (uint64_t)(r.max_s * 1e6);
	open_stream(&r);
	while (r.order.last < r.until && n > 0 && !r.ended &&
	    tool_now_us() < end_us) {
		n = read(r.fd, buf, sizeof(buf));
		if (n > 0)
			take_bytes(&r, buf, (size_t)n);
	}
	s = (double)(tool_now_us() - begin_us) / 1e6;
	ok = r.order.last >= r.until && r.faults == 0;
	printf("{\"complete\":%s,\"events\":%llu,\"faults\":%llu,"
	       "\"records\":%llu,\"bytes\":%llu,\"seconds\":%.3f,"
	       "\"rows_per_s\":%.0f,\"cpu_s\":%.3f}\n",
	    ok ? "true" : "false", (unsigned long long)r.order.n_events,
	    (unsigned long long)r.faults, (unsigned long long)r.records,
	    (unsigned long long)r.bytes, s,
	    s > 0 ? (double)r.order.n_events / s : 0, tool_cpu_s());
	close(r.fd);
	wire_fini(&r.wire);
	return ok ? 0 : 1;
}

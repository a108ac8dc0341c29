/* SPDX-License-Identifier: MIT */
/*
 * pubload: publishes to pubd's socket, pipelined over several connections,
 * and checks every answer: in order, the right ref, ids that increase.
 *
 * Request r of C connections belongs to connection r modulo C and is never
 * overtaken there.  With --keys an event whose answer was lost with the
 * connection is sent again with the same key until it is answered; without,
 * it stays unknown.  Blocks only in epoll_wait().
 *
 * Exit status: 0 every event was acked; 1 not; 2 usage or set-up.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hist.h"
#include "pubwire.h"
#include "tool.h"

#define READ_BYTES    ((size_t)64 * 1024)
#define OUT_BYTES     ((size_t)128 * 1024) /* filled up to here, then sent */
#define MAX_CODES     16
#define MAX_SHOWN     10
#define BACKOFF_MIN   5000U
#define BACKOFF_MAX   200000U
#define ERROR_WAIT_US 50000U /* before an event refused is tried again */

struct opts {
	const char *socket;
	const char *acked_file;
	uint64_t n_events;
	uint64_t n_connections;
	uint64_t pipeline;
	uint64_t array;
	double rate; /* events per second; 0: as fast as acked */
	double max_s;
	bool retry_errors;
	struct pub_shape shape;
};

/* A queue of at most `cap` requests, in a ring. */
struct queue {
	struct pub_request *ring;
	size_t cap;
	size_t head;
	size_t len;
};

struct conn {
	int fd;
	bool want_out;
	uint64_t next;        /* number of the next new request */
	uint64_t retry_at_us; /* connect, or try again what was refused */
	uint32_t backoff_us;
	uint64_t last_id;
	struct queue sent;  /* waiting for answers, oldest first */
	struct queue again; /* to be sent once more */
	char *out;
	size_t out_len;
	size_t out_at;
	char *in;
	size_t in_len;
	size_t in_cap;
};

struct code_count {
	char code[PUBWIRE_MAX_CODE];
	uint64_t n;
};

struct pub {
	struct opts o;
	struct conn *conns;
	FILE *acked;
	int epoll;
	int signals;
	bool stopped;
	uint64_t now_us;
	uint64_t start_us;
	uint64_t n_requests;
	uint64_t settled; /* events with a final fate */
	uint64_t n_acked;
	uint64_t duplicates;
	uint64_t refused; /* events given up after an error */
	uint64_t unknown; /* events whose answer was lost, without a key */
	uint64_t retried;
	uint64_t nonsense;
	uint64_t disorder; /* ids that did not increase */
	uint64_t connects;
	uint64_t losses;
	uint64_t first_id;
	uint64_t last_id;
	uint64_t last_ack_us;
	struct code_count codes[MAX_CODES];
	struct hist hist;
};

static void
queue_push(struct queue *q, const struct pub_request *r)
{
	q->ring[(q->head + q->len++) % q->cap] = *r;
}

static struct pub_request
queue_take(struct queue *q)
{
	struct pub_request r = q->ring[q->head];

	q->head = (q->head + 1) % q->cap;
	q->len--;
	return r;
}

static void
complain(struct pub *p, const char *what, const char *line, size_t len)
{
	if (p->nonsense + p->disorder > MAX_SHOWN)
		return;
	fprintf(stderr, "pubload: %s: %.*s\n", what,
	    (int)(len < 200 ? len : 200), line);
}

/* --- connections --- */

static void
watch(struct pub *p, struct conn *c, int op, bool out)
{
	struct epoll_event ev = {.data.ptr = c};

	ev.events = EPOLLIN | (out ? EPOLLOUT : 0U);
	if (epoll_ctl(p->epoll, op, c->fd, &ev) != 0)
		tool_die("epoll_ctl: %s", strerror(errno));
	c->want_out = out;
}

static void
lost(struct pub *p, struct conn *c)
{
	size_t n = c->sent.len + c->again.len;
	struct pub_request r;

	close(c->fd);
	c->fd = -1;
	c->out_len = c->out_at = c->in_len = 0;
	p->losses++;
	c->retry_at_us = p->now_us + c->backoff_us;
	/* in the order in which they were first sent */
	while (c->again.len > 0) {
		r = queue_take(&c->again);
		queue_push(&c->sent, &r);
	}
	while (n-- > 0) {
		r = queue_take(&c->sent);
		if (p->o.shape.keys != NULL) {
			queue_push(&c->again, &r);
			continue;
		}
		p->unknown += r.count;
		p->settled += r.count;
	}
}

static void
back_off(struct pub *p, struct conn *c)
{
	c->backoff_us *= 2;
	if (c->backoff_us > BACKOFF_MAX)
		c->backoff_us = BACKOFF_MAX;
	c->retry_at_us = p->now_us + c->backoff_us;
}

static void
open_conn(struct pub *p, struct conn *c)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	if (strlen(p->o.socket) >= sizeof(a.sun_path))
		tool_die("%s: path too long", p->o.socket);
	strcpy(a.sun_path, p->o.socket);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		tool_die("socket: %s", strerror(errno));
	if (connect(c->fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		close(c->fd);
		c->fd = -1;
		back_off(p, c);
		return;
	}
	p->connects++;
	c->retry_at_us = 0;
	watch(p, c, EPOLL_CTL_ADD, false);
}

/* --- sending --- */

static uint64_t
due_us(const struct pub *p, uint64_t request)
{
	if (p->o.rate <= 0)
		return 0;
	return p->start_us +
	    (uint64_t)((double)(request * p->o.array) / p->o.rate * 1e6);
}

static bool
next_request(struct pub *p, struct conn *c, struct pub_request *r)
{
	uint64_t left;

	if (c->again.len > 0) {
		if (c->retry_at_us > p->now_us)
			return false;
		*r = queue_take(&c->again);
		p->retried += r->count;
		return true;
	}
	if (c->next >= p->n_requests || due_us(p, c->next) > p->now_us)
		return false;
	r->first = c->next * p->o.array;
	left = p->o.n_events - r->first;
	r->count = (uint32_t)(left < p->o.array ? left : p->o.array);
	r->t_us = p->now_us;
	c->next += p->o.n_connections;
	return true;
}

static void
fill(struct pub *p, struct conn *c)
{
	struct pub_request r;

	/* `again` is counted too, so that neither queue can overflow */
	while (c->out_len < OUT_BYTES && c->sent.len < p->o.pipeline &&
	    (c->again.len > 0 || c->sent.len + c->again.len < p->o.pipeline) &&
	    next_request(p, c, &r)) {
		r.sent_us = p->now_us;
		queue_push(&c->sent, &r);
		c->out_len += pubwire_request(&p->o.shape, &r,
		    c->out + c->out_len);
	}
}

static void
flush(struct pub *p, struct conn *c)
{
	ssize_t n;

	while (c->out_at < c->out_len) {
		n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at,
		    MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			lost(p, c);
			return;
		}
		c->out_at += (size_t)n;
	}
	if (c->out_at == c->out_len)
		c->out_at = c->out_len = 0;
	if (c->want_out != (c->out_len > 0))
		watch(p, c, EPOLL_CTL_MOD, c->out_len > 0);
}

static void
push(struct pub *p, struct conn *c)
{
	if (c->fd < 0 && c->retry_at_us <= p->now_us)
		open_conn(p, c);
	if (c->fd < 0 || c->out_len > 0)
		return;
	fill(p, c);
	if (c->out_len > 0)
		flush(p, c);
}

/* --- answers --- */

static void
count_code(struct pub *p, const char *code, uint64_t n)
{
	size_t i;

	for (i = 0; i < MAX_CODES - 1 && p->codes[i].n > 0; i++) {
		if (strcmp(p->codes[i].code, code) == 0)
			break;
	}
	strcpy(p->codes[i].code, code);
	p->codes[i].n += n;
}

static void
note_ack(struct pub *p, uint64_t n, uint64_t id)
{
	if (p->first_id == 0 || id < p->first_id)
		p->first_id = id;
	if (id > p->last_id)
		p->last_id = id;
	if (p->acked == NULL)
		return;
	if (p->o.shape.keys != NULL)
		fprintf(p->acked, "%llu %s-%llu\n", (unsigned long long)id,
		    p->o.shape.keys, (unsigned long long)n);
	else
		fprintf(p->acked, "%llu #%llu\n", (unsigned long long)id,
		    (unsigned long long)n);
}

static void
answer_ok(struct pub *p, struct conn *c, const struct pub_request *r,
    struct pub_answer *a)
{
	const char *line = a->ids;
	size_t len = a->ids_len;
	uint64_t id = 0;
	uint32_t i;

	for (i = 0; i < r->count; i++) {
		if (!pubwire_next_id(a, &id)) {
			p->nonsense++;
			complain(p, "ids are missing", line, len);
			break;
		}
		if (!a->duplicate && id <= c->last_id) {
			p->disorder++;
			complain(p, "id does not increase", line, len);
		}
		if (!a->duplicate)
			c->last_id = id;
		note_ack(p, r->first + i, id);
	}
	p->n_acked += i;
	p->settled += r->count;
	if (a->duplicate)
		p->duplicates += r->count;
	hist_add(&p->hist, p->now_us - r->sent_us);
	p->last_ack_us = p->now_us;
	c->backoff_us = BACKOFF_MIN;
}

static void
answer_line(struct pub *p, struct conn *c, const char *line, size_t len)
{
	struct pub_answer a;
	struct pub_request r;

	if (c->sent.len == 0) {
		p->nonsense++;
		complain(p, "an answer to nothing", line, len);
		return;
	}
	r = queue_take(&c->sent);
	switch (pubwire_answer(&p->o.shape, &r, line, len, &a)) {
	case PUB_OK:
		answer_ok(p, c, &r, &a);
		return;
	case PUB_ERROR:
		count_code(p, a.code, r.count);
		if (p->o.retry_errors) {
			c->retry_at_us = p->now_us + ERROR_WAIT_US;
			queue_push(&c->again, &r);
			return;
		}
		p->refused += r.count;
		break;
	case PUB_NONSENSE:
		p->nonsense++;
		complain(p, "answer does not fit", line, len);
		break;
	}
	p->settled += r.count;
}

static void
read_answers(struct pub *p, struct conn *c)
{
	char *line, *end, *lf, *grown;
	ssize_t n;

	if (c->in_cap - c->in_len < READ_BYTES) {
		grown = realloc(c->in, c->in_len + 2 * READ_BYTES);
		if (grown == NULL || c->in_len > (size_t)64 << 20)
			tool_die("an answer without end");
		c->in = grown;
		c->in_cap = c->in_len + 2 * READ_BYTES;
	}
	n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lost(p, c);
		return;
	}
	c->in_len += (size_t)n;
	p->now_us = tool_now_us();
	end = c->in + c->in_len;
	for (line = c->in;
	     (lf = memchr(line, '\n', (size_t)(end - line))) != NULL;
	     line = lf + 1)
		answer_line(p, c, line, (size_t)(lf - line));
	c->in_len = (size_t)(end - line);
	memmove(c->in, line, c->in_len);
}

/* --- the loop --- */

/* Milliseconds until a connection has something to do by the clock. */
static int
wait_ms(const struct pub *p)
{
	uint64_t at = p->now_us + 50000, t;
	size_t i;

	for (i = 0; i < p->o.n_connections; i++) {
		const struct conn *c = &p->conns[i];

		if (c->fd < 0 || (c->again.len > 0 && c->out_len == 0))
			t = c->retry_at_us;
		else if (c->next < p->n_requests &&
		    c->sent.len < p->o.pipeline && c->out_len == 0)
			t = due_us(p, c->next);
		else
			continue;
		at = t < at ? t : at;
	}
	return at > p->now_us ? (int)((at - p->now_us + 999) / 1000) : 0;
}

static void
turn(struct pub *p)
{
	struct epoll_event ready[64];
	struct conn *c;
	int i, n;
	size_t k;

	p->now_us = tool_now_us();
	for (k = 0; k < p->o.n_connections; k++)
		push(p, &p->conns[k]);
	n = epoll_wait(p->epoll, ready, 64, wait_ms(p));
	p->now_us = tool_now_us();
	for (i = 0; i < n; i++) {
		c = ready[i].data.ptr;
		if (c == NULL) {
			p->stopped = true;
			continue;
		}
		if (c->fd >= 0 && (ready[i].events & EPOLLOUT) != 0)
			flush(p, c);
		if (c->fd >= 0 && (ready[i].events & ~(uint32_t)EPOLLOUT) != 0)
			read_answers(p, c);
	}
}

/* --- set-up and report --- */

enum {
	OPT_SOCKET = 1,
	OPT_CHANNEL,
	OPT_CHANNELS,
	OPT_EVENTS,
	OPT_SIZE,
	OPT_RATE,
	OPT_CONNECTIONS,
	OPT_PIPELINE,
	OPT_ARRAY,
	OPT_KEYS,
	OPT_STAMP,
	OPT_RETRY_ERRORS,
	OPT_ACKED,
	OPT_MAX_TIME,
};

static const struct tool_opt opts[] = {
    {OPT_SOCKET, "socket", "PATH", "pubd's Unix socket"},
    {OPT_CHANNEL, "channel", "NAME", "publish to this channel"},
    {OPT_CHANNELS, "channels", "K", "or to c0 ... c<K-1> in turn"},
    {OPT_EVENTS, "events", "N", "how many (default 1000)"},
    {OPT_SIZE, "size", "BYTES", "of data in each (default 200)"},
    {OPT_RATE, "rate", "R", "events per second (0: as fast as acked)"},
    {OPT_CONNECTIONS, "connections", "C", "default 1"},
    {OPT_PIPELINE, "pipeline", "P",
	"requests without answer on each connection (default 1)"},
    {OPT_ARRAY, "array", "A", "events in a request, as an array"},
    {OPT_KEYS, "keys", "PREFIX",
	"idempotency keys PREFIX-<n>; what was not answered is resent"},
    {OPT_STAMP, "stamp", NULL,
	"data is {\"t\":microseconds,\"s\":number,\"p\":padding}"},
    {OPT_RETRY_ERRORS, "retry-errors", NULL,
	"send again what was answered with an error"},
    {OPT_ACKED, "acked-file", "FILE", "a line \"id key\" for each ack"},
    {OPT_MAX_TIME, "max-time", "S", "hard stop (default 120)"},
    {0, NULL, NULL, NULL},
};

static void
parse_one(struct opts *o, int id, const char *arg)
{
	switch (id) {
	case OPT_SOCKET:
		o->socket = arg;
		break;
	case OPT_CHANNEL:
		o->shape.channel = arg;
		break;
	case OPT_CHANNELS:
		o->shape.n_channels = tool_u64("--channels", arg);
		break;
	case OPT_EVENTS:
		o->n_events = tool_u64("--events", arg);
		break;
	case OPT_SIZE:
		o->shape.data_bytes = tool_u64("--size", arg);
		break;
	case OPT_RATE:
		o->rate = tool_double("--rate", arg);
		break;
	case OPT_CONNECTIONS:
		o->n_connections = tool_u64("--connections", arg);
		break;
	case OPT_PIPELINE:
		o->pipeline = tool_u64("--pipeline", arg);
		break;
	case OPT_ARRAY:
		o->array = tool_u64("--array", arg);
		o->shape.array = true;
		break;
	case OPT_KEYS:
		o->shape.keys = arg;
		break;
	case OPT_STAMP:
		o->shape.stamp = true;
		break;
	case OPT_RETRY_ERRORS:
		o->retry_errors = true;
		break;
	case OPT_ACKED:
		o->acked_file = arg;
		break;
	default:
		o->max_s = tool_double("--max-time", arg);
		break;
	}
}

static void
parse(struct opts *o, char **argv)
{
	const char *arg;
	char *pad;
	int id, at = 1;
	size_t i;

	*o = (struct opts){.n_events = 1000,
	    .n_connections = 1,
	    .pipeline = 1,
	    .array = 1,
	    .max_s = 120};
	o->shape.n_channels = 1;
	o->shape.data_bytes = 200;
	while ((id = tool_next_opt("pubload", opts, argv, &at, &arg)) != 0)
		parse_one(o, id, arg);
	if (o->socket == NULL)
		tool_die("pubload: --socket is needed");
	if (o->n_connections == 0 || o->pipeline == 0 || o->array == 0 ||
	    o->shape.n_channels == 0 || o->n_connections > 10000 ||
	    o->pipeline > 1000000 || o->array > 100000 ||
	    o->shape.data_bytes > (size_t)16 << 20 || o->max_s > 86400)
		tool_die("pubload: a number is out of range");
	pad = tool_alloc(1, o->shape.data_bytes + 1);
	for (i = 0; i < o->shape.data_bytes; i++)
		pad[i] = (char)('a' + i % 26);
	o->shape.pad = pad;
}

static void
init_conn(struct pub *p, size_t i)
{
	struct conn *c = &p->conns[i];
	const struct opts *o = &p->o;

	c->fd = -1;
	c->next = i;
	c->backoff_us = BACKOFF_MIN;
	c->sent.cap = c->again.cap = o->pipeline;
	c->sent.ring = tool_alloc(o->pipeline, sizeof(*c->sent.ring));
	c->again.ring = tool_alloc(o->pipeline, sizeof(*c->again.ring));
	c->out = tool_alloc(1,
	    OUT_BYTES + pubwire_event_max(&o->shape) * o->array + 2);
}

static void
init(struct pub *p)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
	sigset_t set;
	size_t i;

	tool_need_fds(p->o.n_connections + 16, 0);
	p->n_requests = (p->o.n_events + p->o.array - 1) / p->o.array;
	p->conns = tool_alloc(p->o.n_connections, sizeof(*p->conns));
	for (i = 0; i < p->o.n_connections; i++)
		init_conn(p, i);
	if (p->o.acked_file != NULL) {
		p->acked = fopen(p->o.acked_file, "w");
		if (p->acked == NULL)
			tool_die("%s: %s", p->o.acked_file, strerror(errno));
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	p->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (p->epoll < 0 || p->signals < 0 ||
	    epoll_ctl(p->epoll, EPOLL_CTL_ADD, p->signals, &ev) != 0)
		tool_die("epoll: %s", strerror(errno));
}

#define PUT(name, value)                                                       \
	printf(",\"" name "\":%llu", (unsigned long long)(value))

static int
report(struct pub *p)
{
	uint64_t end_us = p->last_ack_us > 0 ? p->last_ack_us : p->now_us;
	double s = (double)(end_us - p->start_us) / 1e6;
	bool ok = p->n_acked == p->o.n_events && p->nonsense == 0 &&
	    p->disorder == 0;
	size_t i;

	printf("{\"complete\":%s", ok ? "true" : "false");
	PUT("events", p->o.n_events);
	PUT("acked", p->n_acked);
	PUT("duplicates", p->duplicates);
	PUT("refused", p->refused);
	PUT("unknown", p->unknown);
	PUT("retried", p->retried);
	PUT("nonsense", p->nonsense);
	PUT("disorder", p->disorder);
	PUT("connects", p->connects);
	PUT("losses", p->losses);
	PUT("first_id", p->first_id);
	PUT("last_id", p->last_id);
	printf(",\"errors\":{");
	for (i = 0; i < MAX_CODES && p->codes[i].n > 0; i++)
		printf("%s\"%s\":%llu", i > 0 ? "," : "", p->codes[i].code,
		    (unsigned long long)p->codes[i].n);
	printf("},\"ack_us\":");
	hist_print(&p->hist, stdout);
	printf(",\"elapsed_s\":%.3f,\"acks_per_s\":%.0f,\"cpu_s\":%.3f}\n", s,
	    s > 0 ? (double)p->n_acked / s : 0, tool_cpu_s());
	return ok ? 0 : 1;
}

static void
fini(struct pub *p)
{
	size_t i;

	for (i = 0; i < p->o.n_connections; i++) {
		struct conn *c = &p->conns[i];

		if (c->fd >= 0)
			close(c->fd);
		free(c->sent.ring);
		free(c->again.ring);
		free(c->out);
		free(c->in);
	}
	free(p->conns);
	if (p->acked != NULL && fclose(p->acked) != 0)
		tool_die("%s: %s", p->o.acked_file, strerror(errno));
	close(p->epoll);
	close(p->signals);
}

int
main(int argc, char **argv)
{
	static struct pub p;
	uint64_t max_us;
	int rc;

	(void)argc;
	parse(&p.o, argv);
	init(&p);
	p.start_us = p.now_us = tool_now_us();
	max_us = (uint64_t)(p.o.max_s * 1e6);
	while (p.settled < p.o.n_events && !p.stopped &&
	    p.now_us - p.start_us < max_us)
		turn(&p);
	rc = report(&p);
	fini(&p);
	return rc;
}

/* SPDX-License-Identifier: MIT */
/*
 * sseload: many EventSource streams over HTTP/1.1, in one thread, that check
 * what they get and measure when they got it.
 *
 * Each stream is what a browser's EventSource would be: it keeps its last
 * event id, reconnects with it after the server's retry, and takes a status
 * other than 200 or another type as final.  One turn of the loop: connect
 * what may, wait, read what is ready, run timers, drop what --churn says,
 * see whether all is done.  Blocks only in epoll_wait().
 *
 * Exit status: 0 all complete and no violation; 1 not; 2 usage or set-up.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "due.h"
#include "sseload.h"
#include "tool.h"

#define MAX_REQUEST   8192
#define MAX_EVENTS    1024
#define MAX_IN_FLIGHT 256  /* connections being opened, without a rate */
#define DEFAULT_RETRY 3000 /* ms, until the server says */
#define MAX_READS     16   /* of one stream in a turn */
#define CHURN_TICK_US 10000
#define SPARE_FDS     32

struct loop {
	struct load *load;
	struct due *due;
	char *buf;
	int epoll;
	int signals;
	bool stopped;      /* by a signal */
	size_t n_started;  /* streams whose first connect was tried */
	size_t in_flight;  /* connecting, or waiting for the head */
	uint64_t churn_us; /* up to here churn is settled */
	double churn_owed;
	uint64_t rng;
	uint64_t read_us; /* last turn's reading, for --coalesce-ms */
	uint64_t done_us; /* when all were done; 0: not yet */
};

static uint64_t
next_random(struct loop *lp)
{
	lp->rng ^= lp->rng << 13;
	lp->rng ^= lp->rng >> 7;
	lp->rng ^= lp->rng << 17;
	return lp->rng;
}

static void
watch(struct loop *lp, struct stream *s, int op, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = s};

	if (epoll_ctl(lp->epoll, op, s->fd, &ev) != 0)
		tool_die("epoll_ctl: %s", strerror(errno));
}

static bool
has_until(const struct conf *c)
{
	return c->until_id > 0 || c->until_events > 0 || c->until_position > 0;
}

/* --- the end of a connection --- */

static void
close_connection(struct loop *lp, struct stream *s)
{
	if (s->fd < 0)
		return;
	if (s->state == STREAM_CONNECTING ||
	    (s->state == STREAM_READING && s->wire.status == 0))
		lp->in_flight--;
	close(s->fd);
	s->fd = -1;
	s->state = STREAM_IDLE;
	s->is_open = false;
	wire_reset(&s->wire);
}

static void
make_final(struct loop *lp, struct stream *s)
{
	close_connection(lp, s);
	s->state = STREAM_FINAL;
	if (!s->done && !has_until(&lp->load->conf) && s->was_open &&
	    !lp->load->conf.reconnect)
		check_done(s); /* one connection was all that was asked */
	if (!s->done)
		lp->load->n_final++;
}

/* The server or the network ended it: come back as an EventSource does. */
static void
come_back(struct loop *lp, struct stream *s)
{
	const struct conf *c = &lp->load->conf;
	uint64_t ms = c->retry_ms != UINT64_MAX ? c->retry_ms : s->retry_ms;

	close_connection(lp, s);
	if (!c->reconnect || (s->done && c->close_done)) {
		make_final(lp, s);
		return;
	}
	due_set(lp->due, s->number, tool_now_us() + ms * 1000);
}

/* --- opening --- */

static size_t
build_request(const struct stream *s, const struct url *u, char *p, size_t size)
{
	const struct conf *c = &s->load->conf;
	size_t i, n;

	n = (size_t)snprintf(p, size,
	    "GET %s HTTP/1.1\r\nHost: %.*s\r\nAccept: text/event-stream\r\n"
	    "Cache-Control: no-cache\r\n",
	    u->path, u->host_len, u->host);
	for (i = 0; i < c->n_headers && n < size; i++)
		n += (size_t)snprintf(p + n, size - n, "%s\r\n", c->headers[i]);
	if (n < size && s->last_id_len > 0)
		n += (size_t)snprintf(p + n, size - n,
		    "Last-Event-ID: %.*s\r\n", (int)s->last_id_len, s->last_id);
	else if (n < size && s->order.has_pos)
		n += (size_t)snprintf(p + n, size - n,
		    "Last-Event-ID: %llu\r\n",
		    (unsigned long long)s->order.pos);
	if (n < size)
		n += (size_t)snprintf(p + n, size - n, "\r\n");
	if (n >= size)
		tool_die("request longer than %zu bytes", size);
	return n;
}

static void
bind_source(int fd, unsigned which)
{
	struct sockaddr_in from = {.sin_family = AF_INET};
	int on = 1;

	from.sin_addr.s_addr = htonl(0x7f000001U + which);
	/* the port is chosen at connect, by the whole four-tuple */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0)
		tool_die("bind: %s", strerror(errno));
}

static int
open_socket(const struct stream *s, const struct url *u)
{
	const struct conf *c = &s->load->conf;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct linger rst = {.l_onoff = 1, .l_linger = 0};

	if (fd < 0)
		tool_die("socket: %s", strerror(errno));
	if (c->n_sources > 0)
		bind_source(fd, (unsigned)(s->number % c->n_sources));
	if (c->rcvbuf > 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &c->rcvbuf,
		    sizeof(c->rcvbuf));
	if (c->churn_rst)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
	if (connect(fd, (const struct sockaddr *)&u->addr, sizeof(u->addr)) !=
		0 &&
	    errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

static void
start_connect(struct loop *lp, struct stream *s)
{
	struct load *l = lp->load;
	const struct url *u = &l->conf.urls[s->number % l->conf.n_urls];

	l->worker_metrics.connects++;
	if (s->n_connects++ > 0)
		l->worker_metrics.reconnects++;
	s->fd = open_socket(s, u);
	if (s->fd < 0) {
		l->worker_metrics.connect_errors++;
		come_back(lp, s);
		return;
	}
	s->state = STREAM_CONNECTING;
	lp->in_flight++;
	watch(lp, s, EPOLL_CTL_ADD, EPOLLOUT);
}

/* The connection stands, or failed. */
static void
send_request(struct loop *lp, struct stream *s)
{
	struct load *l = lp->load;
	const struct url *u = &l->conf.urls[s->number % l->conf.n_urls];
	char request[MAX_REQUEST];
	size_t len = build_request(s, u, request, sizeof(request));

	/* a fresh socket takes it whole; an error is that of connect() */
	if (send(s->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len) {
		l->worker_metrics.connect_errors++;
		come_back(lp, s);
		return;
	}
	s->state = STREAM_READING;
	watch(lp, s, EPOLL_CTL_MOD, EPOLLIN);
}

/* --- reading --- */

static void
stall_if_due(struct loop *lp, struct stream *s)
{
	const struct conf *c = &lp->load->conf;

	if (!s->slow || s->has_stalled || s->order.n_events < c->stall_after)
		return;
	s->has_stalled = true;
	s->state = STREAM_STALLED;
	/* out of the set: a hang-up would be told again and again */
	epoll_ctl(lp->epoll, EPOLL_CTL_DEL, s->fd, NULL);
	due_set(lp->due, s->number,
	    tool_now_us() + (uint64_t)(c->stall_s * 1e6));
}

static void
head_refused(struct loop *lp, struct stream *s)
{
	struct load *l = lp->load;

	if (s->wire.status == 200)
		l->worker_metrics.bad_type++;
	if (l->conf.retry_errors)
		come_back(lp, s);
	else
		make_final(lp, s);
}

static void
stream_ended(struct loop *lp, struct stream *s)
{
	struct worker_metrics *t = &lp->load->worker_metrics;

	if (s->wire.ended || (s->wire.status != 0 && !s->wire.chunked))
		t->ends_clean++;
	else
		t->ends_cut++;
	come_back(lp, s);
}

static void
took_bytes(struct loop *lp, struct stream *s, size_t len)
{
	struct load *l = lp->load;
	bool had_head = s->wire.status != 0;
	enum wire_status rc = wire_feed(&s->wire, lp->buf, len);

	if (!had_head && s->wire.status != 0) {
		lp->in_flight--;
		l->worker_metrics.http[s->wire.status % LOAD_MAX_STATUS]++;
		if (rc != WIRE_HEAD && l->conf.open_on_head)
			check_opened(s);
	}
	if (rc == WIRE_HEAD) {
		head_refused(lp, s);
	} else if (rc != WIRE_OK) {
		check_fault(s, FAULT_FRAMING, UINT64_MAX,
		    rc == WIRE_BAD_CHUNK ? "bad chunk" : "bad response");
		stream_ended(lp, s);
	} else if (s->must_close) {
		make_final(lp, s);
	} else if (s->wire.ended) {
		stream_ended(lp, s);
	} else {
		stall_if_due(lp, s);
	}
}

static void
read_once(struct loop *lp, struct stream *s, ssize_t *n)
{
	*n = recv(s->fd, lp->buf, lp->load->conf.read_bytes, 0);
	lp->load->now_us = tool_now_us();
	if (*n > 0) {
		lp->load->worker_metrics.bytes += (uint64_t)*n;
		took_bytes(lp, s, (size_t)*n);
	} else if (*n == 0 || (errno != EAGAIN && errno != EINTR)) {
		stream_ended(lp, s);
	}
}

static void
read_stream(struct loop *lp, struct stream *s)
{
	const struct conf *c = &lp->load->conf;
	ssize_t n;
	int i;

	/* the next turn is far off with --coalesce-ms: read what has come */
	for (i = 0; i < (c->coalesce_ms > 0 ? MAX_READS : 1); i++) {
		read_once(lp, s, &n);
		if (s->state != STREAM_READING || n < (ssize_t)c->read_bytes)
			break;
	}
}

static void
stream_ready(struct loop *lp, struct stream *s)
{
	if (s->state == STREAM_CONNECTING)
		send_request(lp, s);
	else if (s->state == STREAM_READING)
		read_stream(lp, s);
}

/* --- the stages of a turn --- */

static void
start_new(struct loop *lp, uint64_t now_us)
{
	struct load *l = lp->load;
	const struct conf *c = &l->conf;
	size_t may = c->n_streams;

	if (c->connects_per_s > 0) {
		double owed = (double)(now_us - l->start_us) / 1e6 *
			c->connects_per_s +
		    1;

		may = owed < (double)may ? (size_t)owed : may;
	}
	while (lp->n_started < may &&
	    (c->connects_per_s > 0 || lp->in_flight < MAX_IN_FLIGHT))
		start_connect(lp, &l->streams[lp->n_started++]);
}

static void
run_timers(struct loop *lp, uint64_t now_us)
{
	size_t who;

	while ((who = due_take(lp->due, now_us)) != SIZE_MAX) {
		struct stream *s = &lp->load->streams[who];

		if (s->state == STREAM_STALLED) {
			s->state = STREAM_READING;
			watch(lp, s, EPOLL_CTL_ADD, EPOLLIN);
		} else if (s->state == STREAM_IDLE) {
			start_connect(lp, s);
		}
	}
}

static bool
may_churn(const struct stream *s)
{
	return s->state == STREAM_READING && s->is_open && !s->done;
}

static void
churn(struct loop *lp, uint64_t now_us)
{
	struct load *l = lp->load;
	size_t n = l->conf.n_streams, tries;
	struct stream *s;

	if (l->conf.churn_pct <= 0 || l->ready_us == 0)
		return;
	if (lp->churn_us == 0)
		lp->churn_us = now_us;
	lp->churn_owed += (double)(now_us - lp->churn_us) / 1e6 *
	    l->conf.churn_pct / 100 * (double)n;
	lp->churn_us = now_us;
	while (lp->churn_owed >= 1) {
		lp->churn_owed--;
		for (tries = 0; tries < 8; tries++) {
			s = &l->streams[next_random(lp) % n];
			if (!may_churn(s))
				continue;
			l->worker_metrics.churned++;
			close_connection(lp, s);
			start_connect(lp, s);
			break;
		}
	}
}

static void
note_ready(struct loop *lp, uint64_t now_us)
{
	struct load *l = lp->load;
	char text[128];

	if (l->ready_us != 0 || l->n_open < l->conf.ready_streams)
		return;
	l->ready_us = now_us;
	if (l->conf.ready_file == NULL)
		return;
	snprintf(text, sizeof(text), "{\"pid\":%ld,\"open\":%zu}\n",
	    (long)getpid(), l->n_open);
	tool_write_file(l->conf.ready_file, text);
}

static bool
is_over(struct loop *lp, uint64_t now_us)
{
	struct load *l = lp->load;
	const struct conf *c = &l->conf;

	if (lp->stopped || now_us - l->start_us >= (uint64_t)(c->max_s * 1e6))
		return true;
	if (c->seconds > 0 && l->ready_us > 0 &&
	    now_us - l->ready_us >= (uint64_t)(c->seconds * 1e6))
		return true;
	if (l->n_done + l->n_final < c->n_streams)
		return false;
	if (lp->done_us == 0)
		lp->done_us = now_us;
	return now_us - lp->done_us >= (uint64_t)(c->linger_s * 1e6);
}

/* Milliseconds until something other than a socket needs a turn. */
static int
wait_ms(const struct loop *lp, uint64_t now_us)
{
	const struct conf *c = &lp->load->conf;
	uint64_t at = due_next_us(lp->due), most = now_us + 50000;

	if (c->churn_pct > 0)
		most = now_us + CHURN_TICK_US;
	if (lp->n_started < c->n_streams && c->connects_per_s > 0)
		most = now_us + 1000;
	at = at < most ? at : most;
	return at > now_us ? (int)((at - now_us + 999) / 1000) : 0;
}

/*
 * Lets bytes gather: the client shares the machine with the server, and a
 * system call for each event would be the client's cost, not the server's.
 */
static void
let_gather(struct loop *lp)
{
	double ms = lp->load->conf.coalesce_ms;
	uint64_t now_us = tool_now_us(), next_us;
	struct timespec nap = {0, 0};

	next_us = lp->read_us + (uint64_t)(ms * 1000);
	if (ms > 0 && lp->load->ready_us > 0 && now_us < next_us) {
		nap.tv_nsec = (long)(next_us - now_us) * 1000;
		nanosleep(&nap, NULL);
	}
	lp->read_us = tool_now_us();
}

static void
turn(struct loop *lp)
{
	struct epoll_event ready[MAX_EVENTS];
	uint64_t now_us = tool_now_us();
	int i, n;

	start_new(lp, now_us);
	let_gather(lp);
	n = epoll_wait(lp->epoll, ready, MAX_EVENTS, wait_ms(lp, now_us));
	if (n < 0 && errno != EINTR)
		tool_die("epoll_wait: %s", strerror(errno));
	for (i = 0; i < n; i++) {
		if (ready[i].data.ptr == lp)
			lp->stopped = true;
		else
			stream_ready(lp, ready[i].data.ptr);
	}
	now_us = tool_now_us();
	note_ready(lp, now_us);
	run_timers(lp, now_us);
	churn(lp, now_us);
}

/* --- set-up --- */

static void
init_stream(struct load *l, size_t i)
{
	struct stream *s = &l->streams[i];
	const struct conf *c = &l->conf;
	size_t used, len;

	s->load = l;
	s->number = i;
	s->fd = -1;
	s->slow = i < c->n_stalled;
	s->retry_ms = DEFAULT_RETRY;
	order_init(&s->order, c->dense);
	wire_init(&s->wire, check_block, s);
	s->wire.keep_data = c->dump_file != NULL;
	if (c->last_id == NULL)
		return;
	len = strlen(c->last_id);
	if (len > sizeof(s->last_id))
		tool_die("--last-id: too long");
	s->last_id_len = len;
	memcpy(s->last_id, c->last_id, len);
	if (c->ids) {
		uint64_t v = tool_digits(c->last_id, len, &used);

		if (used == len && used > 0)
			order_start_at(&s->order, v);
	}
}

static void
init_loop(struct loop *lp, struct load *l)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = lp};
	sigset_t set;

	memset(lp, 0, sizeof(*lp));
	lp->load = l;
	lp->due = due_new(l->conf.n_streams);
	lp->buf = tool_alloc(1, l->conf.read_bytes);
	lp->rng = l->conf.seed * 2654435761U + 1;
	lp->epoll = epoll_create1(EPOLL_CLOEXEC);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	lp->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (lp->epoll < 0 || lp->signals < 0 ||
	    epoll_ctl(lp->epoll, EPOLL_CTL_ADD, lp->signals, &ev) != 0)
		tool_die("epoll: %s", strerror(errno));
}

static void
init_load(struct load *l)
{
	size_t i, n = l->conf.n_streams;

	tool_need_fds(n + SPARE_FDS, l->conf.max_fds);
	l->streams = tool_alloc(n, sizeof(*l->streams));
	if (l->conf.dump_file != NULL) {
		l->dump = fopen(l->conf.dump_file, "w");
		if (l->dump == NULL)
			tool_die("%s: %s", l->conf.dump_file, strerror(errno));
	}
	for (i = 0; i < n; i++)
		init_stream(l, i);
}

static void
wait_for_start(const struct conf *c, uint64_t since_us)
{
	struct timespec nap = {0, 2000000};

	if (c->start_file == NULL)
		return;
	while (access(c->start_file, F_OK) != 0) {
		if (tool_now_us() - since_us > (uint64_t)(c->max_s * 1e6))
			tool_die("%s did not appear", c->start_file);
		nanosleep(&nap, NULL);
	}
}

static void
fini(struct loop *lp, struct load *l)
{
	size_t i;

	for (i = 0; i < l->conf.n_streams; i++) {
		if (l->streams[i].fd >= 0)
			close(l->streams[i].fd);
		wire_fini(&l->streams[i].wire);
	}
	if (l->dump != NULL)
		fclose(l->dump);
	free(l->streams);
	free(lp->buf);
	due_free(&lp->due);
	close(lp->signals);
	close(lp->epoll);
}

static bool
is_complete(const struct loop *lp)
{
	const struct load *l = lp->load;

	if (has_until(&l->conf) || l->n_done == l->conf.n_streams)
		return l->n_done == l->conf.n_streams;
	if (l->conf.seconds <= 0 && !lp->stopped)
		return false;
	return l->n_final == 0 && l->ready_us > 0;
}

int
main(int argc, char **argv)
{
	static struct load l;
	struct loop lp;
	int rc;

	(void)argc;
	conf_parse(&l.conf, argv);
	init_load(&l);
	init_loop(&lp, &l);
	wait_for_start(&l.conf, tool_now_us());
	l.start_us = tool_now_us();
	do
		turn(&lp);
	while (!is_over(&lp, tool_now_us()));
	rc = report_print(&l, is_complete(&lp), stdout);
	fini(&lp, &l);
	return rc;
}

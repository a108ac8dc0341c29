/* SPDX-License-Identifier: MIT */
/*
 * From a listening socket to a request.  Owns the connections whose request
 * is not whole.  Never blocks.
 */
#include "acceptor.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buf.h"
#include "fcgx.h"
#include "http.h"
#include "log.h"
#include "record.h"
#include "sock.h"

#define ACCEPTS_PER_TURN 256
#define PAUSE_US         100000    /* after running out of descriptors */
#define REFUSED_MAX      (1 << 20) /* read away of a request, bytes */
#define REFUSAL_MAX      4096      /* its answer */

struct arrival {
	struct watch watch;
	struct timer deadline;
	struct acceptor *acceptor;
	TAILQ_ENTRY(arrival) link; /* among those that wait, or the dead */
	struct buf in;      /* what came, where it did not come at once */
	bool refused;       /* it has its answer */
	size_t n_discarded; /* since then */
};

TAILQ_HEAD(arrival_list, arrival);

struct acceptor {
	struct watch watch;
	struct timer pause;
	struct loop *loop;
	struct acceptor_options o;
	struct arrival_list waiting, dead;
	struct params params;
	unsigned n_waiting;
	bool stopped;
	struct log_gate gate;
	struct log_state paused;
	struct acceptor_counters counters;
	char peek[RECORD_REQUEST_MAX];
};

/* Takes the connection out; its descriptor is the caller's. */
static int
acceptor_release(struct arrival *a)
{
	int fd = a->watch.fd;

	loop_del(a->acceptor->loop, &a->watch);
	timer_cancel(a->acceptor->loop, &a->deadline);
	TAILQ_REMOVE(&a->acceptor->waiting, a, link);
	TAILQ_INSERT_TAIL(&a->acceptor->dead, a, link);
	a->acceptor->n_waiting--;
	return fd;
}

static void
note_refusal(struct acceptor *in, enum acceptor_refusal why, const char *reason)
{
	in->counters.n_refused[why]++;
	if (log_gate(&in->gate, loop_now_us(in->loop)))
		log_warnx("request refused: %s", reason);
}

static void
acceptor_refuse(struct arrival *a, enum acceptor_refusal why,
    const char *reason)
{
	note_refusal(a->acceptor, why, reason);
	(void)close(acceptor_release(a));
}

/* Gives libfcgi a request that was read in pieces. */
static enum status
read_pieces(struct arrival *a)
{
	enum status st;
	size_t n = 0;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		pair) < 0)
		return ST_IO;
	st = sock_write(pair[1], buf_span(&a->in), &n);
	if (st == ST_OK && n != a->in.len)
		st = ST_IO;
	(void)close(pair[1]);
	if (st == ST_OK)
		st = fcgx_read(pair[0], &a->acceptor->params);
	(void)close(pair[0]);
	return st;
}

static void
hand_over(struct arrival *a, const struct record_scan *scan)
{
	struct acceptor *in = a->acceptor;
	enum status st;
	int fd;

	if (scan->aborted) {
		(void)close(acceptor_release(a));
		return;
	}
	params_init(&in->params);
	params_keep_body(&in->params, in->o.body_bytes);
	st = a->in.len > 0 ? read_pieces(a)
			   : fcgx_read(a->watch.fd, &in->params);
	if (st == ST_FULL) {
		acceptor_refuse(a, ACCEPTOR_FIELDS, "too many parameters");
	} else if (st == ST_NOMEM) {
		acceptor_refuse(a, ACCEPTOR_MEMORY, "no memory for it");
	} else if (st != ST_OK) {
		acceptor_refuse(a, ACCEPTOR_MALFORMED,
		    "libfcgi does not accept it");
	} else {
		fd = acceptor_release(a);
		in->o.ready(in->o.arg, fd, scan->request_id, &in->params);
	}
	params_fini(&in->params);
}

/* Discards input until the peer closes, its deadline or the bound is met. */
static void
discard(struct arrival *a)
{
	enum status st = ST_OK;
	size_t n;

	while (st == ST_OK && a->n_discarded < REFUSED_MAX) {
		st = sock_read(a->watch.fd, a->acceptor->peek,
		    sizeof(a->acceptor->peek), &n);
		if (st == ST_OK)
			a->n_discarded += n;
	}
	if (st != ST_AGAIN)
		(void)close(acceptor_release(a));
}

/* The CGI response to a request that is too large. */
static enum status
put_refusal(struct buf *out, bool in_params)
{
	struct http_error e = {.status = 413,
	    .detail = SPAN("The request is larger than 64 KiB: send less.")};

	if (in_params) {
		e.status = 431;
		e.detail = http_too_many_fields;
	}
	return http_error(out, &e, SPAN_NONE, false);
}

/* The same as records, with what ends a response. */
static enum status
put_refusal_records(struct buf *out, const struct record_scan *scan)
{
	struct buf text;
	enum status st;

	buf_init(&text, REFUSAL_MAX);
	st = put_refusal(&text, scan->in_params);
	if (st == ST_OK)
		st = record_put_last(out, scan->request_id, buf_span(&text));
	buf_fini(&text);
	return st;
}

/* A request that is too large gets an answer that any front end passes on. */
static void
refuse_size(struct arrival *a, const struct record_scan *scan)
{
	enum acceptor_refusal why = scan->in_params ? ACCEPTOR_FIELDS
						    : ACCEPTOR_SIZE;
	struct buf out;
	size_t n;

	if (scan->request_id == 0) {
		acceptor_refuse(a, why,
		    scan->reason); /* nothing to answer to */
		return;
	}
	buf_init(&out, 2 * REFUSAL_MAX);
	/* There is nothing to be done for a peer that does not take it. */
	if (put_refusal_records(&out, scan) == ST_OK)
		status_ignore(sock_write(a->watch.fd, buf_span(&out), &n));
	buf_fini(&out);
	(void)shutdown(a->watch.fd, SHUT_WR);
	note_refusal(a->acceptor, why, scan->reason);
	a->refused = true;
	buf_fini(&a->in);
	discard(a);
}

static void
judge(struct arrival *a, struct span got, struct record_scan *scan)
{
	switch (record_scan(got, scan)) {
	case ST_OK:
		hand_over(a, scan);
		break;
	case ST_AGAIN:
		break;
	case ST_TOOLARGE:
		refuse_size(a, scan);
		break;
	default:
		acceptor_refuse(a, ACCEPTOR_MALFORMED, scan->reason);
		break;
	}
}

/* Takes what is there out of the socket. */
static enum status
read_on(struct arrival *a)
{
	enum status st = buf_reserve(&a->in, RECORD_REQUEST_MAX - a->in.len);
	size_t n;

	while (st == ST_OK && a->in.len < RECORD_REQUEST_MAX) {
		st = sock_read(a->watch.fd, buf_tail(&a->in), buf_room(&a->in),
		    &n);
		if (st == ST_OK)
			buf_grew(&a->in, n);
	}
	return st == ST_AGAIN ? ST_OK : st;
}

/*
 * Most requests arrive whole and stay in the socket for libfcgi.  One that
 * arrives in pieces is copied out: many small pieces fill a socket's buffer
 * before the request is whole.
 */
static void
on_arrival(struct watch *w, uint32_t events)
{
	struct arrival *a = OWNER_OF(w, struct arrival, watch);
	struct acceptor *in = a->acceptor;
	struct record_scan scan;
	enum status st;
	ssize_t n;

	(void)events;
	if (a->refused) {
		discard(a);
		return;
	}
	if (a->in.len == 0) {
		n = recv(w->fd, in->peek, sizeof(in->peek),
		    MSG_PEEK | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			(void)close(acceptor_release(a));
			return;
		}
		st = record_scan(span_of(in->peek, (size_t)n), &scan);
		if (st != ST_AGAIN) {
			judge(a, span_of(in->peek, (size_t)n), &scan);
			return;
		}
	}
	st = read_on(a);
	if (st == ST_OK)
		judge(a, buf_span(&a->in), &scan);
	else if (st == ST_NOMEM)
		acceptor_refuse(a, ACCEPTOR_MEMORY, "no memory for it");
	else
		(void)close(acceptor_release(a)); /* it left */
}

static void
on_deadline(struct timer *t, uint64_t now_us)
{
	struct arrival *a = OWNER_OF(t, struct arrival, deadline);

	(void)now_us;
	if (!a->refused) /* it has had its answer */
		a->acceptor->counters.n_timeouts++;
	(void)close(acceptor_release(a));
}

static void
arrive(struct acceptor *in, int fd)
{
	struct arrival *a = calloc(1, sizeof(*a));

	if (a == NULL) {
		note_refusal(in, ACCEPTOR_MEMORY, "no memory for it");
		(void)close(fd);
		return;
	}
	in->counters.n_accepted++;
	in->n_waiting++;
	TAILQ_INSERT_TAIL(&in->waiting, a, link);
	a->acceptor = in;
	buf_init(&a->in, RECORD_REQUEST_MAX);
	a->watch = (struct watch){.fd = fd, .fn = on_arrival};
	a->deadline.fn = on_deadline;
	a->deadline.is_of_peer = true;
	if (timer_set(in->loop, &a->deadline,
		loop_now_us(in->loop) + in->o.timeout_us) != ST_OK ||
	    loop_add(in->loop, &a->watch, EPOLLIN | EPOLLRDHUP | EPOLLET) !=
		ST_OK)
		(void)close(acceptor_release(a));
}

/* Stops accepting for a while: spinning on EMFILE would help nobody. */
static void
pause_accept(struct acceptor *in, const char *why)
{
	in->counters.n_paused++;
	if (log_state(&in->paused, 0, loop_now_us(in->loop)))
		log_warnx("accept paused: %s", why);
	loop_del(in->loop, &in->watch);
	status_ignore(timer_set(in->loop, &in->pause,
	    loop_now_us(in->loop) + PAUSE_US)); /* our own: it finds room */
}

static void
on_listener(struct watch *w, uint32_t events)
{
	struct acceptor *in = OWNER_OF(w, struct acceptor, watch);
	int i, fd;

	(void)events;
	for (i = 0; i < ACCEPTS_PER_TURN; i++) {
		if (in->n_waiting >= in->o.max_waiting) {
			pause_accept(in,
			    "too many connections without a "
			    "whole request");
			return;
		}
		switch (sock_accept(w->fd, &fd)) {
		case ST_OK:
			arrive(in, fd);
			break;
		case ST_AGAIN:
			return;
		default:
			pause_accept(in,
			    "no more descriptors or memory: "
			    "raise the limit on open files");
			return;
		}
	}
}

static enum status
listen_again(struct acceptor *in)
{
	in->watch.fd = in->o.listener;
	/* Several processes may share the listener: wake one, not all. */
	return loop_add(in->loop, &in->watch, EPOLLIN | EPOLLEXCLUSIVE);
}

static void
on_pause_end(struct timer *t, uint64_t now_us)
{
	struct acceptor *in = OWNER_OF(t, struct acceptor, pause);

	(void)now_us;
	if (!in->stopped && listen_again(in) != ST_OK)
		pause_accept(in, "the listener cannot be watched");
}

enum status
acceptor_new(struct acceptor **out, struct loop *l,
    const struct acceptor_options *o)
{
	struct acceptor *in = calloc(1, sizeof(*in));
	enum status st;

	if (in == NULL)
		return ST_NOMEM;
	in->loop = l;
	in->o = *o;
	TAILQ_INIT(&in->waiting);
	TAILQ_INIT(&in->dead);
	in->watch.fn = on_listener;
	in->pause.fn = on_pause_end;
	st = listen_again(in);
	if (st != ST_OK) {
		free(in);
		return st;
	}
	*out = in;
	return ST_OK;
}

void
acceptor_stop(struct acceptor *in)
{
	in->stopped = true;
	timer_cancel(in->loop, &in->pause);
	loop_del(in->loop, &in->watch);
}

void
acceptor_free(struct acceptor **in)
{
	if (*in == NULL)
		return;
	acceptor_stop(*in);
	while (!TAILQ_EMPTY(&(*in)->waiting))
		(void)close(acceptor_release(TAILQ_FIRST(&(*in)->waiting)));
	acceptor_reap(*in);
	free(*in);
	*in = NULL;
}

unsigned
acceptor_waiting(const struct acceptor *in)
{
	return in->n_waiting;
}

const struct acceptor_counters *
acceptor_counters(const struct acceptor *in)
{
	return &in->counters;
}

void
acceptor_reap(struct acceptor *in)
{
	struct arrival *a;

	while ((a = TAILQ_FIRST(&in->dead)) != NULL) {
		TAILQ_REMOVE(&in->dead, a, link);
		buf_fini(&a->in);
		free(a);
	}
}

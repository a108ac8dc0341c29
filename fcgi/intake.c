/* SPDX-License-Identifier: MIT */
/*
 * From a listening socket to a request.  Owns the connections whose request
 * is not whole.  Never blocks.
 */
#include "intake.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgx.h"
#include "log.h"
#include "record.h"
#include "sock.h"

#define ACCEPTS_PER_TURN 256
#define PAUSE_US         100000 /* after running out of descriptors */
#define PEEK_BYTES_MAX   (16u << 20) /* looked at again and again */

struct arrival {
	struct watch watch;
	struct timer deadline;
	struct intake *in;
	struct arrival *next; /* in the list of dead ones */
	size_t peeked; /* bytes, over all looks */
};

struct intake {
	struct watch watch;
	struct timer pause;
	struct loop *loop;
	struct intake_options o;
	struct arrival *dead;
	struct params params;
	unsigned n_waiting;
	bool stopped;
	struct log_gate gate;
	struct intake_counters counters;
	char peek[RECORD_REQUEST_MAX];
};

/* Takes the connection out; its descriptor is the caller's. */
static int
release(struct arrival *a)
{
	int fd = a->watch.fd;

	loop_del(a->in->loop, &a->watch);
	timer_cancel(a->in->loop, &a->deadline);
	a->next = a->in->dead;
	a->in->dead = a;
	a->in->n_waiting--;
	return fd;
}

static void
refuse(struct arrival *a, const char *reason)
{
	struct intake *in = a->in;

	in->counters.n_refused++;
	if (log_gate(&in->gate, loop_now_us(in->loop)))
		log_warnx("request refused: %s", reason);
	(void)close(release(a));
}

static void
hand_over(struct arrival *a, const struct record_scan *scan)
{
	struct intake *in = a->in;
	enum status st;
	int fd;

	if (scan->aborted) {
		(void)close(release(a));
		return;
	}
	params_init(&in->params);
	st = fcgx_read(a->watch.fd, &in->params);
	if (st != ST_OK) {
		refuse(a, st == ST_FULL ? "too many parameters"
					: "libfcgi does not accept it");
	} else {
		fd = release(a);
		in->o.ready(in->o.arg, fd, scan->request_id, &in->params);
	}
	params_fini(&in->params);
}

/* A request that is too large gets an answer that any front end passes on. */
static void
refuse_size(struct arrival *a, const struct record_scan *scan)
{
	static const char text[] = "Status: 413 Content Too Large\r\n"
				   "Content-Type: text/plain\r\n\r\n"
				   "The request is larger than 64 KiB.\n";
	char out[RECORD_HEADER_BYTES + sizeof(text) + RECORD_END_BYTES];
	size_t len = sizeof(text) - 1, n;

	record_encode(out, RECORD_STDOUT, scan->request_id, len);
	memcpy(out + RECORD_HEADER_BYTES, text, len);
	record_end(out + RECORD_HEADER_BYTES + len, scan->request_id, 0);
	if (scan->request_id != 0)
		status_ignore(sock_write(a->watch.fd,
		    span_of(out, RECORD_HEADER_BYTES + len + RECORD_END_BYTES),
		    &n));
	refuse(a, scan->reason);
}

static void
on_arrival(struct watch *w, uint32_t events)
{
	struct arrival *a = OWNER_OF(w, struct arrival, watch);
	struct intake *in = a->in;
	struct record_scan scan;
	ssize_t n;

	(void)events;
	n = recv(w->fd, in->peek, sizeof(in->peek), MSG_PEEK | MSG_DONTWAIT);
	if (n <= 0) {
		if (n == 0 || (events & (EPOLLHUP | EPOLLERR)) != 0)
			(void)close(release(a));
		return;
	}
	a->peeked += (size_t)n;
	if (a->peeked > PEEK_BYTES_MAX) {
		refuse(a, "it comes in too many pieces");
		return;
	}
	switch (record_scan(span_of(in->peek, (size_t)n), &scan)) {
	case ST_OK:
		hand_over(a, &scan);
		break;
	case ST_AGAIN:
		if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0)
			(void)close(release(a));
		break;
	case ST_TOOLARGE:
		refuse_size(a, &scan);
		break;
	default:
		refuse(a, scan.reason);
		break;
	}
}

static void
on_deadline(struct timer *t, uint64_t now_us)
{
	struct arrival *a = OWNER_OF(t, struct arrival, deadline);

	(void)now_us;
	a->in->counters.n_timeouts++;
	(void)close(release(a));
}

static void
arrive(struct intake *in, int fd)
{
	struct arrival *a = calloc(1, sizeof(*a));

	if (a == NULL) {
		(void)close(fd);
		return;
	}
	in->counters.n_accepted++;
	in->n_waiting++;
	a->in = in;
	a->watch = (struct watch){.fd = fd, .fn = on_arrival};
	a->deadline.fn = on_deadline;
	if (timer_set(in->loop, &a->deadline,
		loop_now_us(in->loop) + in->o.timeout_us) != ST_OK ||
	    loop_add(in->loop, &a->watch,
		EPOLLIN | EPOLLRDHUP | EPOLLET) != ST_OK)
		(void)close(release(a));
}

/* Stops accepting for a while: spinning on EMFILE would help nobody. */
static void
pause_accept(struct intake *in)
{
	in->counters.n_paused++;
	if (log_gate(&in->gate, loop_now_us(in->loop)))
		log_warn("accept paused: raise the limit on open files");
	loop_del(in->loop, &in->watch);
	if (timer_set(in->loop, &in->pause,
		loop_now_us(in->loop) + PAUSE_US) != ST_OK)
		log_error("no memory for a timer: no more connections");
}

static void
on_listener(struct watch *w, uint32_t events)
{
	struct intake *in = OWNER_OF(w, struct intake, watch);
	int i, fd;

	(void)events;
	for (i = 0; i < ACCEPTS_PER_TURN; i++) {
		if (in->n_waiting >= in->o.max_waiting) {
			pause_accept(in);
			return;
		}
		switch (sock_accept(w->fd, &fd)) {
		case ST_OK:
			arrive(in, fd);
			break;
		case ST_AGAIN:
			return;
		default:
			pause_accept(in);
			return;
		}
	}
}

static enum status
listen_again(struct intake *in)
{
	in->watch.fd = in->o.listener;
	/* Several processes may share the listener: wake one, not all. */
	return loop_add(in->loop, &in->watch, EPOLLIN | EPOLLEXCLUSIVE);
}

static void
on_pause_end(struct timer *t, uint64_t now_us)
{
	struct intake *in = OWNER_OF(t, struct intake, pause);

	(void)now_us;
	if (!in->stopped && listen_again(in) != ST_OK)
		pause_accept(in);
}

enum status
intake_new(struct intake **out, struct loop *l, const struct intake_options *o)
{
	struct intake *in = calloc(1, sizeof(*in));
	enum status st;

	if (in == NULL)
		return ST_NOMEM;
	in->loop = l;
	in->o = *o;
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
intake_stop(struct intake *in)
{
	in->stopped = true;
	timer_cancel(in->loop, &in->pause);
	loop_del(in->loop, &in->watch);
}

void
intake_free(struct intake **in)
{
	if (*in == NULL)
		return;
	intake_stop(*in);
	intake_reap(*in);
	free(*in);
	*in = NULL;
}

unsigned
intake_waiting(const struct intake *in)
{
	return in->n_waiting;
}

const struct intake_counters *
intake_counters(const struct intake *in)
{
	return &in->counters;
}

void
intake_reap(struct intake *in)
{
	while (in->dead != NULL) {
		struct arrival *a = in->dead;

		in->dead = a->next;
		free(a);
	}
}

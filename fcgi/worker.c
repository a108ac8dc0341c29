/* SPDX-License-Identifier: MIT */
/*
 * One worker process.  Owns the loop and the order of its turn:
 *
 *   1. sockets and timers: requests arrive, clients leave, heartbeats
 *   2. what is new in the log goes to the streams that are up to date
 *   3. streams that are behind get a part each, from the ring
 *   4. and from the store
 *   5. what ended is freed
 *
 * Work in each is bounded; with more to do the next turn does not wait.
 * Blocks in epoll_wait, and on the disk for one page at a time.
 */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "admit.h"
#include "bell.h"
#include "cgi.h"
#include "clock.h"
#include "fcgx.h"
#include "hub.h"
#include "intake.h"
#include "log.h"
#include "loop.h"
#include "reply.h"
#include "slots.h"
#include "sock.h"
#include "tail.h"

#define REPORT_US      1000000
#define DRAIN_STEP_US  50000
#define DRAIN_GRACE_US 1000000 /* for what is still being written */
#define CGI_RING_BYTES (1 << 20)
#define MAX_WAITING    4096 /* connections whose request is not whole */
#define COUNTERS_MAX   4096

struct worker {
	const struct conf *conf;
	struct loop *loop;
	struct hub *hub;
	struct tail *tail;
	struct bell *bell;
	struct intake *intake; /* NULL: plain CGI */
	struct reply_set *replies;
	struct slots *slots;
	struct admit admit;
	struct watch signals;
	struct timer report, drain;
	uint64_t drain_end_us;
	int64_t started_ms;
	unsigned long fd_limit;
	uint64_t n_closed;
	bool stopping, stop;
};

/* ---- stopping
 * ----------------------------------------------------------------- */

static bool
all_done(const struct worker *w)
{
	return hub_n_streams(w->hub) == 0 && reply_set_count(w->replies) == 0 &&
	    (w->intake == NULL || intake_waiting(w->intake) == 0);
}

/* How many streams to end now so that all have ended when time is up. */
static size_t
drain_share(const struct worker *w, uint64_t now_us)
{
	size_t n = hub_n_streams(w->hub);
	uint64_t left;

	if (now_us >= w->drain_end_us)
		return n;
	left = (w->drain_end_us - now_us) / DRAIN_STEP_US + 1;
	return n / left + 1;
}

static void
on_drain(struct timer *t, uint64_t now_us)
{
	struct worker *w = OWNER_OF(t, struct worker, drain);

	(void)hub_drain(w->hub, drain_share(w, now_us));
	if (now_us >= w->drain_end_us + DRAIN_GRACE_US)
		w->stop = true;
	status_ignore(timer_set(w->loop, t, now_us + DRAIN_STEP_US));
}

static void
begin_drain(struct worker *w)
{
	uint64_t now = loop_now_us(w->loop);

	w->stopping = true;
	w->admit.draining = true;
	w->drain_end_us = now + (uint64_t)w->conf->drain_ms * 1000;
	log_info("stopping: %zu streams end within %lld ms",
	    hub_n_streams(w->hub), (long long)w->conf->drain_ms);
	if (w->intake != NULL)
		intake_stop(w->intake);
	on_drain(&w->drain, now);
}

static void
on_signal(struct watch *watch, uint32_t events)
{
	struct worker *w = OWNER_OF(watch, struct worker, signals);
	struct signalfd_siginfo si;

	(void)events;
	while (read(watch->fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGHUP)
			log_info("configuration is read at start: restart to "
				 "change it");
		else if (w->stopping)
			w->stop = true; /* told twice */
		else
			begin_drain(w);
	}
}

static void
our_signals(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGINT);
	(void)sigaddset(set, SIGUSR1); /* FastCGI: finish and go */
	(void)sigaddset(set, SIGHUP);
}

/*
 * Before libfcgi puts its handlers in place, one of which swallows SIGTERM:
 * what comes from now on waits for watch_signals.
 */
static enum status
block_signals(void)
{
	sigset_t set;

	our_signals(&set);
	return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? ST_IO : ST_OK;
}

static enum status
watch_signals(struct worker *w)
{
	sigset_t set;

	our_signals(&set);
	/* libfcgi has put a handler on SIGPIPE: ours comes after it. */
	(void)signal(SIGPIPE, SIG_IGN);
	w->signals.fn = on_signal;
	w->signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (w->signals.fd < 0)
		return ST_IO;
	return loop_add(w->loop, &w->signals, EPOLLIN);
}

/* ---- reports
 * ------------------------------------------------------------------- */

static unsigned long
fds_used(const struct worker *w)
{
	/* epoll, signals, shared memory, log, wal, shm, standard ones */
	return 12 + hub_n_streams(w->hub) + reply_set_count(w->replies) +
	    (w->intake == NULL ? 0 : intake_waiting(w->intake));
}

static enum status
put_counter(struct buf *b, const char *name, uint64_t v)
{
	return buf_printf(b, "\"%s\":%llu,", name, (unsigned long long)v);
}

static uint64_t
closed(const struct hub_counters *c)
{
	uint64_t n = c->n_closed_left + c->n_closed_broken;
	int i;

	for (i = 0; i <= CLOSE_REVOKED; i++)
		n += c->n_closed[i];
	return n;
}

static enum status
put_counters(const struct worker *w, struct buf *b)
{
	const struct hub_counters *c = hub_counters(w->hub);
	const struct admit *a = &w->admit;
	const struct ring *ring = hub_ring(w->hub);
	const struct {
		const char *name;
		uint64_t value;
	} row[] = {
	    {"streams_opened", c->n_opened},
	    {"streams_closed", closed(c)},
	    {"streams_rejected",
		a->n_rejected_overload + a->n_rejected_address +
		    a->n_rejected_drain},
	    {"requests_refused", a->n_refused},
	    {"events_sent", c->out.n_events},
	    {"bytes_sent", c->out.n_bytes},
	    {"writes", c->out.n_writes},
	    {"short_writes", c->out.n_short_writes},
	    {"heartbeats_sent", c->n_heartbeats},
	    {"resumes_ok", a->n_resumes_ok},
	    {"resumes_gap", a->n_resumes_gap},
	    {"replay_events", c->n_replayed},
	    {"gaps_expired", c->n_gaps[GAP_EXPIRED]},
	    {"gaps_ahead", c->n_gaps[GAP_AHEAD]},
	    {"gaps_generation", c->n_gaps[GAP_GENERATION]},
	    {"gaps_invalid", c->n_gaps[GAP_INVALID]},
	    {"store_errors", tail_n_errors(w->tail)},
	    {"ring_bytes", ring_bytes(ring)},
	    {"ring_events", ring_count(ring)},
	    {"ring_oldest", (uint64_t)ring_base(ring) + 1},
	    {"lag_events_max", (uint64_t)hub_max_lag(w->hub)},
	    {"fds_used", fds_used(w)},
	    {"fds_limit", w->fd_limit},
	};
	enum status st = ST_OK;
	size_t i;

	for (i = 0; st == ST_OK && i < sizeof(row) / sizeof(row[0]); i++)
		st = put_counter(b, row[i].name, row[i].value);
	return st;
}

static void
on_report(struct timer *t, uint64_t now_us)
{
	struct worker *w = OWNER_OF(t, struct worker, report);
	const char *role = w->intake == NULL ? "cgi" : "worker";
	struct buf b;
	enum status st;

	status_ignore(timer_set(w->loop, t, now_us + REPORT_US));
	buf_init(&b, COUNTERS_MAX);
	st = buf_printf(&b,
	    "{\"op\":\"report\",\"name\":\"%s-%ld-%lld\",\"role\":\"%s\","
	    "\"pid\":%ld,\"version\":\"" WALCAST_VERSION "\","
	    "\"started_ms\":%lld,\"head\":%lld,\"cursor\":%lld,"
	    "\"streams\":%zu,\"counters\":{",
	    role, (long)getpid(), (long long)w->started_ms, role,
	    (long)getpid(), (long long)w->started_ms,
	    (long long)hub_bounds(w->hub)->head, (long long)hub_head(w->hub),
	    hub_n_streams(w->hub));
	if (st == ST_OK)
		st = put_counters(w, &b);
	if (st == ST_OK) {
		buf_truncate(&b, b.len - 1); /* the last comma */
		st = buf_append(&b, SPAN("}}"));
	}
	if (st == ST_OK)
		bell_report(w->bell, buf_span(&b));
	buf_fini(&b);
}

/* ---- making
 * --------------------------------------------------------------------- */

static void
on_ring(void *arg, int64_t head)
{
	struct worker *w = arg;

	if (head > hub_head(w->hub))
		tail_wake(w->tail);
}

static void
on_request(void *arg, int fd, uint16_t request_id, const struct params *params)
{
	struct worker *w = arg;

	admit_request(&w->admit, fd, request_id, params);
}

static void
on_ended(void *arg, const struct stream *s)
{
	struct worker *w = arg;

	admit_release(&w->admit, s);
}

static enum status
new_hub(struct worker *w, bool cgi)
{
	const struct conf *c = w->conf;
	struct hub_options o = {
	    .ring_bytes = (size_t)c->ring_bytes,
	    .heartbeat_us = (uint64_t)c->heartbeat_ms * 1000,
	    .retry_ms = c->retry_ms,
	    .max_lag_us = (uint64_t)c->max_lag_s * 1000000,
	    .max_lag_events = c->max_lag_events,
	    .ended = on_ended,
	    .arg = w,
	};

	/* A process for one stream shares its ring with nobody. */
	if (cgi && o.ring_bytes > CGI_RING_BYTES)
		o.ring_bytes = CGI_RING_BYTES;
	return hub_new(&w->hub, w->loop, &o);
}

static enum status
new_intake(struct worker *w, int listener)
{
	struct intake_options o = {
	    .listener = listener,
	    .timeout_us = (uint64_t)w->conf->request_timeout_ms * 1000,
	    .max_waiting = MAX_WAITING,
	    .ready = on_request,
	    .arg = w,
	};

	return intake_new(&w->intake, w->loop, &o);
}

static enum status
set_up(struct worker *w, int listener, struct errmsg *err)
{
	enum status st;

	errmsg_set(err, "not enough memory or descriptors to start");
	st = loop_new(&w->loop);
	if (st == ST_OK)
		st = watch_signals(w);
	if (st == ST_OK)
		st = new_hub(w, listener < 0);
	if (st == ST_OK)
		st = reply_set_new(&w->replies, w->loop);
	if (st == ST_OK)
		st = slots_open(&w->slots, w->conf->database, err);
	if (st == ST_OK)
		st = tail_new(&w->tail, w->loop, w->hub, w->conf, listener >= 0,
		    err);
	if (st == ST_OK)
		st = bell_new(&w->bell, w->loop, w->conf->socket, on_ring, w);
	if (st == ST_OK)
		st = timer_set(w->loop, &w->report, loop_now_us(w->loop));
	if (st == ST_OK && listener >= 0)
		st = new_intake(w, listener);
	return st;
}

enum status
worker_new(struct worker **out, const struct conf *conf, int listener,
    struct errmsg *err)
{
	struct worker *w = calloc(1, sizeof(*w));
	enum status st;

	if (w == NULL)
		return ST_NOMEM;
	w->conf = conf;
	w->signals.fd = -1;
	w->report.fn = on_report;
	w->drain.fn = on_drain;
	w->started_ms = clock_real_ms();
	w->fd_limit = sock_raise_fd_limit();
	st = block_signals();
	if (st == ST_OK)
		st = fcgx_init();
	if (st == ST_OK)
		st = set_up(w, listener, err);
	if (st != ST_OK) {
		worker_free(&w);
		return st;
	}
	w->admit = (struct admit){.conf = conf,
	    .loop = w->loop,
	    .hub = w->hub,
	    .tail = w->tail,
	    .replies = w->replies,
	    .slots = w->slots};
	*out = w;
	return ST_OK;
}

void
worker_free(struct worker **wp)
{
	struct worker *w = *wp;
	int fd;

	if (w == NULL)
		return;
	intake_free(&w->intake);
	bell_free(&w->bell);
	tail_free(&w->tail);
	hub_free(&w->hub);
	reply_set_free(&w->replies);
	slots_close(&w->slots);
	fd = w->signals.fd;
	if (w->loop != NULL)
		loop_del(w->loop, &w->signals);
	if (fd >= 0)
		(void)close(fd);
	loop_free(&w->loop);
	free(w);
	*wp = NULL;
}

/* ---- running
 * --------------------------------------------------------------------- */

static enum status
turn(struct worker *w, bool more)
{
	enum status st = loop_turn(w->loop, more ? 0 : LOOP_FOREVER);

	if (w->intake != NULL)
		intake_reap(w->intake);
	reply_set_reap(w->replies);
	return st;
}

/* Plain CGI: the environment is the request, fd 1 the connection. */
static enum status
read_environment(struct worker *w)
{
	struct params *p = calloc(1, sizeof(*p));
	int flags = fcntl(STDOUT_FILENO, F_GETFL);
	enum status st;

	if (p == NULL)
		return ST_NOMEM;
	params_init(p);
	st = cgi_read(p);
	if (st == ST_OK) {
		(void)fcntl(STDOUT_FILENO, F_SETFL, flags | O_NONBLOCK);
		admit_request(&w->admit, STDOUT_FILENO, 0, p);
	}
	params_fini(p);
	free(p);
	return st;
}

enum status
worker_run(struct worker *w)
{
	enum status st = ST_OK;
	bool more = false;

	if (w->intake == NULL)
		st = read_environment(w);
	while (st == ST_OK && !w->stop) {
		more = tail_turn(w->tail);
		hub_reap(w->hub);
		if ((w->stopping || w->intake == NULL) && all_done(w))
			break;
		st = turn(w, more);
	}
	return st;
}

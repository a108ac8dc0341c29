/* SPDX-License-Identifier: MIT */
/*
 * One worker process.  Owns the loop and the order of its turn, which is
 * worker_turn and nothing else.  Blocks in epoll_wait, and on the disk for one
 * page at a time.
 */
#include "worker.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "acceptor.h"
#include "admit.h"
#include "authorizer.h"
#include "authz.h"
#include "cgi.h"
#include "clock.h"
#include "hub.h"
#include "log.h"
#include "log_reader.h"
#include "loop.h"
#include "program.h"
#include "pubd_link.h"
#include "random.h"
#include "rejudge.h"
#include "replay.h"
#include "reply.h"
#include "signals.h"
#include "slots.h"
#include "sock.h"
#include "stream_log.h"
#include "tail.h"
#include "traceparent.h"
#include "wire.h"
#include "worker_metrics.h"

#define REPORT_US      1000000
#define DRAIN_STEP_US  50000
#define DRAIN_GRACE_US 1000000 /* for what is still being written */
#define CGI_RING_BYTES (1 << 20)
#define MAX_WAITING    4096 /* connections whose request is not whole */

#define LAST_REPORT_MS 200 /* to see the last one off */
#define SPANS_A_SECOND 100
#define SPAN_BYTES_MAX 4096

struct worker {
	struct program *program;
	const struct conf *conf; /* the program's */
	const char *role;
	struct loop *loop;
	struct hub *hub;
	struct log_reader *log;
	struct tail *tail;
	struct replay *replay;
	struct pubd_link *pubd;
	struct acceptor *acceptor; /* NULL: plain CGI */
	struct reply_set *replies;
	struct slots *slots;
	struct authz *authz;
	struct authorizer *authorizer;
	struct rejudge *rejudge;
	struct admit *admit;
	struct watch signals;
	struct timer report, drain;
	uint64_t drain_end_us;
	struct worker_metrics *metrics;
	unsigned n_spans; /* since the last report */
	bool sends_spans;
	bool more; /* the next turn does not wait */
	bool stopping, stop;
};

/* ---- stopping ---------------------------------------------------------- */

static bool
all_done(const struct worker *w)
{
	return hub_n_streams(w->hub) == 0 && reply_set_count(w->replies) == 0 &&
	    admit_n_waiting(w->admit) == 0 &&
	    (w->acceptor == NULL || acceptor_waiting(w->acceptor) == 0);
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
	admit_drain(w->admit);
	w->drain_end_us = now + (uint64_t)w->conf->drain_ms * 1000;
	LOG_EVENT(LOG_INFO_, "worker.drain",
	    LOG_INT("streams", hub_n_streams(w->hub)),
	    LOG_INT("within_ms", w->conf->drain_ms));
	if (w->acceptor != NULL)
		acceptor_stop(w->acceptor);
	on_drain(&w->drain, now);
}

/* What may change is read in *conf each time; only tracing is kept apart. */
static void
worker_reload(struct worker *w)
{
	if (program_reload(w->program))
		hub_set_tracing(w->hub,
		    w->sends_spans || log_wants(LOG_DEBUG_));
	if (authz_reload(w->authz))
		rejudge_all(w->rejudge, false);
}

static void
on_signal(struct watch *watch, uint32_t events)
{
	struct worker *w = OWNER_OF(watch, struct worker, signals);
	enum signals_request asked;

	(void)events;
	while ((asked = signals_next(watch)) != SIGNALS_NONE) {
		if (asked == SIGNALS_RELOAD)
			worker_reload(w);
		else if (w->stopping)
			w->stop = true; /* told twice */
		else
			begin_drain(w);
	}
}

/* ---- reports ----------------------------------------------------------- */

static struct worker_metrics_parts
parts_of(struct worker *w)
{
	return (struct worker_metrics_parts){
	    .hub = w->hub,
	    .log = w->log,
	    .tail = w->tail,
	    .replay = w->replay,
	    .admit = w->admit,
	    .authz = w->authz,
	    .authorizer = w->authorizer,
	    .acceptor = w->acceptor == NULL ? NULL
					    : acceptor_counters(w->acceptor),
	    .n_fds = reply_set_count(w->replies) +
		(w->acceptor == NULL ? 0 : acceptor_waiting(w->acceptor)) +
		(pubd_link_connected(w->pubd) ? 1 : 0),
	};
}

static void
worker_report(struct worker *w, bool last)
{
	struct worker_metrics_parts p = parts_of(w);
	struct buf b;

	buf_init(&b, WIRE_MAX_REPORT);
	if (worker_metrics_report(w->metrics, &p, &b) != ST_OK)
		log_warnx("no memory for a report to pubd: its metrics stay "
			  "as they were");
	else if (last)
		pubd_link_send_last(w->pubd, buf_span(&b), LAST_REPORT_MS);
	else
		pubd_link_send(w->pubd, buf_span(&b));
	buf_fini(&b);
}

static void
on_report(struct timer *t, uint64_t now_us)
{
	struct worker *w = OWNER_OF(t, struct worker, report);
	struct worker_metrics_parts p = parts_of(w);

	status_ignore(timer_set(w->loop, t, now_us + REPORT_US));
	w->n_spans = 0;
	worker_metrics_tick(w->metrics, &p);
	worker_report(w, false);
}

/* ---- traced events ----------------------------------------------------- */

static void
send_span(struct worker *w, const struct traced *t, uint64_t end_us)
{
	struct traceparent parent;
	struct buf b;

	if (traceparent_parse(t->trace, &parent) != ST_OK ||
	    !traceparent_sampled(&parent))
		return;
	buf_init(&b, SPAN_BYTES_MAX);
	if (w->n_spans++ >= SPANS_A_SECOND ||
	    traced_line(t, end_us, &b) != ST_OK)
		worker_metrics_lost_span(w->metrics);
	else
		pubd_link_send(w->pubd, buf_span(&b));
	buf_fini(&b);
}

static void
on_dispatched(void *arg, const struct traced *t, uint64_t end_us)
{
	struct worker *w = arg;

	stream_log_dispatch(t, loop_now_us(w->loop));
	if (w->sends_spans)
		send_span(w, t, end_us);
}

/* Reports a traced event to pubd, in the log, or both. */
static void
on_tracing(void *arg, bool on)
{
	struct worker *w = arg;

	w->sends_spans = on;
	hub_set_tracing(w->hub, on || log_wants(LOG_DEBUG_));
}

/* ---- making ------------------------------------------------------------ */

static void
on_woken(void *arg, int64_t head, const int64_t *at_us)
{
	struct worker *w = arg;
	uint64_t now_us;

	if (w->conf->metrics == CONF_ON && at_us != NULL) {
		now_us = clock_mono_us();
		worker_metrics_woken(w->metrics,
		    now_us > (uint64_t)*at_us ? now_us - (uint64_t)*at_us : 0);
	}
	hub_woken(w->hub, head, at_us);
	if (head > hub_head(w->hub))
		tail_wake(w->tail);
}

static void
on_request(void *arg, int fd, uint16_t request_id, const struct params *params)
{
	struct worker *w = arg;

	admit_request(w->admit, fd, request_id, params);
}

static void
on_ended(void *arg, const struct stream *s)
{
	struct worker *w = arg;

	admit_release(w->admit, s);
}

static bool
on_due(void *arg, struct stream *s, uint64_t now_us)
{
	struct worker *w = arg;

	return rejudge_due(w->rejudge, s, now_us);
}

/* The tail reads from the start on; then there are no streams. */
static void
on_revoked(void *arg, const struct event *e)
{
	struct worker *w = arg;

	if (w->admit != NULL)
		admit_revoked(w->admit, e);
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
	    .timed = c->metrics == CONF_ON,
	    .ended = on_ended,
	    .due = on_due,
	    .revoked = on_revoked,
	    .dispatched = on_dispatched,
	    .arg = w,
	};

	/* A process for one stream shares its ring with nobody. */
	if (cgi && o.ring_bytes > CGI_RING_BYTES)
		o.ring_bytes = CGI_RING_BYTES;
	return hub_new(&w->hub, w->loop, &o);
}

static enum status
new_acceptor(struct worker *w, int listener)
{
	struct acceptor_options o = {
	    .listener = listener,
	    .timeout_us = (uint64_t)w->conf->request_timeout_ms * 1000,
	    .max_waiting = MAX_WAITING,
	    .ready = on_request,
	    .arg = w,
	};

	return acceptor_new(&w->acceptor, w->loop, &o);
}

static enum status
new_pubd_link(struct worker *w)
{
	struct pubd_link_options o = {
	    .socket = w->conf->socket,
	    .role = w->role,
	    .timing = w->conf->metrics == CONF_ON,
	    .woken = on_woken,
	    .tracing = on_tracing,
	    .arg = w,
	};

	return pubd_link_new(&w->pubd, w->loop, &o);
}

/* Without a file to share, the caps still hold: in this process. */
static enum status
new_slots(struct worker *w)
{
	const struct slots_place place = {.database = w->conf->database,
	    .runtime = getenv("RUNTIME_DIRECTORY"),
	    .socket = w->conf->socket,
	    .shared = "/dev/shm"};
	struct errmsg note = {""};
	enum status st = slots_open(&w->slots, &place, &note);

	if (st == ST_OK && note.text[0] != '\0')
		log_warnx("%s", note.text);
	return st;
}

static enum status
set_up(struct worker *w, int listener, struct errmsg *err)
{
	enum status st;

	errmsg_set(err, "not enough memory or descriptors to start");
	st = loop_new(&w->loop);
	if (st == ST_OK)
		st = signals_watch(w->loop, &w->signals);
	if (st == ST_OK)
		st = new_hub(w, listener < 0);
	if (st == ST_OK)
		st = reply_set_new(&w->replies, w->loop);
	if (st == ST_OK)
		st = new_slots(w);
	if (st == ST_OK)
		st = log_reader_new(&w->log, w->loop, w->conf);
	if (st == ST_OK)
		st = replay_new(&w->replay, w->hub, w->log);
	if (st == ST_OK)
		st = tail_new(&w->tail, w->hub, w->log, listener >= 0, err);
	if (st == ST_OK)
		st = new_pubd_link(w);
	if (st == ST_OK && w->conf->metrics == CONF_ON)
		st = timer_set(w->loop, &w->report, loop_now_us(w->loop));
	if (st == ST_OK && listener >= 0)
		st = new_acceptor(w, listener);
	return st;
}

/* Who may read. */
static enum status
set_up_access(struct worker *w, struct errmsg *err)
{
	struct rejudge_options o = {.conf = w->conf,
	    .loop = w->loop,
	    .hub = w->hub};
	enum status st = authz_new(&w->authz, w->conf, w->log, err);

	if (st == ST_OK)
		st = authorizer_check(span_str(w->conf->authorizer), err);
	if (st == ST_OK && authz_may_ask(w->authz))
		st = authorizer_new(&w->authorizer, w->loop, w->conf);
	o.authz = w->authz;
	o.authorizer = w->authorizer;
	return st == ST_OK ? rejudge_new(&w->rejudge, &o) : st;
}

/* What admits streams, and what counts all that happens. */
static enum status
set_up_rest(struct worker *w, unsigned long fd_limit)
{
	const struct admit_options o = {.conf = w->conf,
	    .loop = w->loop,
	    .hub = w->hub,
	    .tail = w->tail,
	    .replay = w->replay,
	    .replies = w->replies,
	    .slots = w->slots,
	    .authz = w->authz,
	    .authorizer = w->authorizer,
	    .rejudge = w->rejudge};
	enum status st = admit_new(&w->admit, &o);
	struct worker_metrics_parts p;

	if (st != ST_OK)
		return st;
	hub_set_tracing(w->hub, w->sends_spans || log_wants(LOG_DEBUG_));
	p = parts_of(w);
	return worker_metrics_new(&w->metrics, w->role, clock_real_ms(),
	    fd_limit, &p);
}

enum status
worker_new(struct worker **out, struct program *p, int listener,
    struct errmsg *err)
{
	struct worker *w = calloc(1, sizeof(*w));
	unsigned long fd_limit;
	enum status st;

	if (w == NULL)
		return ST_NOMEM;
	w->program = p;
	w->conf = &p->conf;
	w->role = listener < 0 ? "cgi" : "worker";
	w->signals = (struct watch){.fd = -1, .fn = on_signal};
	w->report.fn = on_report;
	w->drain.fn = on_drain;
	fd_limit = sock_raise_fd_limit();
	st = set_up(w, listener, err);
	if (st == ST_OK)
		st = set_up_access(w, err);
	if (st == ST_OK)
		st = set_up_rest(w, fd_limit);
	if (st != ST_OK) {
		worker_free(&w);
		return st;
	}
	*out = w;
	return ST_OK;
}

void
worker_free(struct worker **wp)
{
	struct worker *w = *wp;

	if (w == NULL)
		return;
	acceptor_free(&w->acceptor);
	pubd_link_free(&w->pubd);
	tail_free(&w->tail);
	replay_free(&w->replay);
	log_reader_free(&w->log);
	hub_free(&w->hub);
	admit_free(&w->admit);
	rejudge_free(&w->rejudge);
	authz_free(&w->authz);
	authorizer_free(&w->authorizer);
	worker_metrics_free(&w->metrics);
	reply_set_free(&w->replies);
	slots_close(&w->slots);
	signals_unwatch(w->loop, &w->signals);
	loop_free(&w->loop);
	free(w);
	*wp = NULL;
}

/* ---- running ----------------------------------------------------------- */

static void
worker_reap(struct worker *w)
{
	hub_reap(w->hub);
	if (w->acceptor != NULL)
		acceptor_reap(w->acceptor);
	reply_set_reap(w->replies);
}

/*
 * One turn.  New events go before old ones (2 before 3 and 4), since streams
 * that are up to date wait for nothing else; and nothing is freed before 5, so
 * that a stream that ends in any step stays valid in all of them.  Each step
 * does a bounded part; with more to do the next turn does not wait.
 */
static enum status
worker_turn(struct worker *w)
{
	bool more_rows, more_pages;
	enum status st;

	/* 1. Sockets and timers: requests, clients that leave, heartbeats. */
	st = loop_turn(w->loop, w->more ? 0 : LOOP_FOREVER);

	/* 2. New rows go into the ring, and to the streams that are live. */
	more_rows = tail_turn(w->tail);

	/* 3. Streams that are behind get a part each, out of the ring. */
	hub_serve(w->hub);

	/* 4. And out of the store; log_reader reports failures itself. */
	status_ignore(replay_turn(w->replay, &more_pages));

	/* 5. What ended is freed. */
	worker_reap(w);

	w->more = more_rows || more_pages || hub_busy(w->hub);
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
		admit_request(w->admit, STDOUT_FILENO, 0, p);
	}
	params_fini(p);
	free(p);
	return st;
}

static void
say_started(const struct worker *w, const char *listen)
{
	if (w->acceptor == NULL) /* its stream's line says all */
		return;
	authz_say(w->authz);
	LOG_EVENT(LOG_INFO_, "worker.start",
	    LOG_STR("listen", span_str(listen)),
	    LOG_INT("head", hub_head(w->hub)),
	    LOG_STR("generation", span_str(hub_bounds(w->hub)->generation)));
}

/* The end is in the metrics, too. */
static void
say_stopped(struct worker *w)
{
	hub_cut(w->hub);
	hub_reap(w->hub);
	if (w->conf->metrics == CONF_ON)
		worker_report(w, true);
	if (w->acceptor != NULL)
		LOG_EVENT(LOG_INFO_, "worker.stop",
		    LOG_INT("head", hub_head(w->hub)));
}

enum status
worker_run(struct worker *w, const char *listen)
{
	enum status st = ST_OK;

	say_started(w, listen);
	if (w->acceptor == NULL)
		st = read_environment(w);
	w->more = true; /* the first turn does not wait */
	while (st == ST_OK && !w->stop) {
		st = worker_turn(w);
		if ((w->stopping || w->acceptor == NULL) && all_done(w))
			break;
	}
	say_stopped(w);
	return st;
}

/* SPDX-License-Identifier: MIT */
/*
 * Owns the loop of sse-metrics.fcgi and all that it drives.  In each turn
 *
 *   1. requests arrive and are answered; streams get their look at the metrics
 *   2. responses that are out are freed,
 *   3. streams whose reader has left,
 *   4. and connections that became a request, or never will
 */
#include "metrics_server.h"

#include <stdlib.h>
#include <unistd.h>

#include "acceptor.h"
#include "acceptor_metrics.h"
#include "cgi.h"
#include "log.h"
#include "loop.h"
#include "metrics_http.h"
#include "own_metrics.h"
#include "params.h"
#include "program.h"
#include "random.h"
#include "reply.h"
#include "signals.h"
#include "status_stream.h"

#define MAX_WAITING    256
#define LOOK_MS        1000    /* for the streams of the status page */
#define FINISH_US      2000000 /* for what is being written when told to end */
#define FINISH_STEP_US 100000  /* and how often it looks meanwhile */

struct metrics_server {
	struct program *program;
	const struct conf *conf; /* the program's */
	struct loop *loop;
	struct reply_set *replies;
	struct acceptor *acceptor; /* NULL: plain CGI */
	struct status_streams *streams;
	struct own_metrics *self; /* NULL: plain CGI */
	struct metrics_http http;
	struct watch signals;
	uint64_t end_us; /* 0: runs */
};

/* ---- requests ----------------------------------------------------------- */

/* Begins a stream on fd, or appends why not; true when it took fd. */
static bool
metrics_open_stream(struct metrics_server *ms, int fd, uint16_t request_id,
    struct buf *out, enum status *st)
{
	*st = status_streams_open(ms->streams, fd, request_id);
	if (*st == ST_OK)
		return true;
	if (*st == ST_FULL)
		*st = metrics_http_error(out, 503,
		    SPAN("As many watch already as one process lets; fetch "
			 "format=json instead."),
		    false);
	return false;
}

/* Takes fd. */
static void
metrics_respond(struct metrics_server *ms, int fd, uint16_t request_id,
    const struct params *p)
{
	struct buf out;
	bool stream;
	enum status st;

	buf_init(&out, METRICS_HTTP_MAX + 4096);
	st = metrics_http_put(&ms->http, p, &out, &stream);
	if (st == ST_OK && stream &&
	    metrics_open_stream(ms, fd, request_id, &out, &st)) {
		buf_fini(&out);
		return;
	}
	if (st != ST_OK) {
		log_warnx("a request could not be answered: %s",
		    status_name(st));
		buf_clear(&out);
		st = metrics_http_error(&out, 503,
		    SPAN("There is not enough memory to answer."), false);
	}
	if (st == ST_OK)
		reply_send(ms->replies, fd, request_id, buf_span(&out));
	else
		(void)close(fd);
	buf_fini(&out);
}

static void
metrics_on_request(void *arg, int fd, uint16_t request_id,
    const struct params *p)
{
	metrics_respond(arg, fd, request_id, p);
}

/* Plain CGI. */
static enum status
metrics_answer_environment(struct metrics_server *ms)
{
	struct params p;
	enum status st;

	params_init(&p);
	params_keep_body(&p, BEACONS_BODY_BYTES);
	st = cgi_read(&p);
	if (st == ST_OK)
		metrics_respond(ms, STDOUT_FILENO, REPLY_RAW, &p);
	params_fini(&p);
	return st;
}

/* ---- what its parts ask for --------------------------------------------- */

static enum status
metrics_on_look(void *arg, struct buf *json, struct frame_open *open)
{
	struct metrics_server *ms = arg;

	return metrics_http_look(&ms->http, json, open);
}

static void
metrics_on_report(void *arg, struct metrics *f)
{
	const struct metrics_server *ms = arg;

	metrics_set(f, METRIC_SCRAPES, ms->http.n_scrapes);
	beacons_report(ms->http.beacons, f);
	acceptor_metrics_set(f, acceptor_counters(ms->acceptor),
	    METRIC_ACCEPT_PAUSES_METRICS);
}

static void
metrics_begin_end(struct metrics_server *ms)
{
	if (ms->end_us != 0)
		return;
	ms->end_us = loop_now_us(ms->loop) + FINISH_US;
	if (ms->acceptor != NULL)
		acceptor_stop(ms->acceptor);
	status_streams_drain(ms->streams);
}

static void
metrics_on_signal(struct watch *w, uint32_t events)
{
	struct metrics_server *ms = OWNER_OF(w, struct metrics_server, signals);
	enum signals_request asked;

	(void)events;
	while ((asked = signals_next(w)) != SIGNALS_NONE)
		if (asked == SIGNALS_RELOAD)
			(void)program_reload(ms->program); /* no copies here */
		else
			metrics_begin_end(ms);
}

/* ---- running ------------------------------------------------------------ */

static enum status
metrics_turn(struct metrics_server *ms)
{
	uint64_t max_wait_us = ms->end_us == 0 ? LOOP_FOREVER : FINISH_STEP_US;

	/* 1. Sockets, timers and signals. */
	enum status st = loop_turn(ms->loop, max_wait_us);

	/* 2. Responses, */
	reply_set_reap(ms->replies);
	/* 3. streams */
	status_streams_reap(ms->streams);
	/* 4. and connections that have ended. */
	if (ms->acceptor != NULL)
		acceptor_reap(ms->acceptor);
	return st;
}

/* Is all out, or the time up that a signal left for it? */
static bool
metrics_is_over(const struct metrics_server *ms)
{
	if (ms->acceptor != NULL && ms->end_us == 0)
		return false;
	if (ms->end_us != 0 && loop_now_us(ms->loop) >= ms->end_us)
		return true;
	return reply_set_count(ms->replies) == 0 &&
	    status_streams_count(ms->streams) == 0;
}

enum status
metrics_server_run(struct metrics_server *ms)
{
	enum status st = ST_OK;

	if (ms->acceptor == NULL)
		st = metrics_answer_environment(ms);
	while (st == ST_OK && !metrics_is_over(ms))
		st = metrics_turn(ms);
	return st;
}

/* ---- start and end ------------------------------------------------------ */

/* What plain CGI has not: it takes no beacons and does not report itself. */
static enum status
metrics_set_up_fastcgi(struct metrics_server *ms, int listener)
{
	const struct acceptor_options o = {.listener = listener,
	    .timeout_us = (uint64_t)ms->conf->request_timeout_ms * 1000,
	    .max_waiting = MAX_WAITING,
	    .body_bytes = BEACONS_BODY_BYTES,
	    .ready = metrics_on_request,
	    .arg = ms};
	const struct own_metrics_options self = {.role = "metrics",
	    .socket = ms->conf->socket,
	    .fill = metrics_on_report,
	    .arg = ms};
	enum status st = beacons_new(&ms->http.beacons, random_seed());

	if (st == ST_OK)
		st = acceptor_new(&ms->acceptor, ms->loop, &o);
	if (st == ST_OK && ms->conf->metrics == CONF_ON)
		st = own_metrics_new(&ms->self, ms->loop, &self);
	return st;
}

static enum status
metrics_set_up(struct metrics_server *ms, int listener)
{
	const struct status_stream_options streams = {.interval_ms = LOOK_MS,
	    .retry_ms = ms->conf->retry_ms,
	    .look = metrics_on_look,
	    .arg = ms};
	enum status st = loop_new(&ms->loop);

	if (st == ST_OK)
		st = signals_watch(ms->loop, &ms->signals);
	if (st == ST_OK)
		st = reply_set_new(&ms->replies, ms->loop);
	if (st == ST_OK)
		st = status_streams_new(&ms->streams, ms->loop, &streams);
	if (st == ST_OK && listener >= 0)
		st = metrics_set_up_fastcgi(ms, listener);
	return st;
}

enum status
metrics_server_new(struct metrics_server **out, struct program *p, int listener,
    struct errmsg *err)
{
	struct metrics_server *ms;
	enum status st;

	if (listener < 0 && getenv("REQUEST_METHOD") == NULL) {
		errmsg_set(err,
		    "neither a listening socket on fd 0 nor a CGI request: "
		    "start it from a web server, or with --listen");
		return ST_INVALID;
	}
	ms = calloc(1, sizeof(*ms));
	if (ms == NULL)
		return ST_NOMEM;
	ms->program = p;
	ms->conf = ms->http.conf = &p->conf;
	ms->signals = (struct watch){.fd = -1, .fn = metrics_on_signal};
	st = metrics_set_up(ms, listener);
	if (st != ST_OK) {
		metrics_server_free(&ms);
		return st;
	}
	*out = ms;
	return ST_OK;
}

void
metrics_server_free(struct metrics_server **msp)
{
	struct metrics_server *ms = *msp;

	if (ms == NULL)
		return;
	own_metrics_free(&ms->self);
	acceptor_free(&ms->acceptor);
	beacons_free(&ms->http.beacons);
	status_streams_free(&ms->streams);
	reply_set_free(&ms->replies);
	signals_unwatch(ms->loop, &ms->signals);
	loop_free(&ms->loop);
	free(ms);
	*msp = NULL;
}

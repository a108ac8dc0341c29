/* SPDX-License-Identifier: MIT */
/*
 * How pubd starts, takes a new configuration, stops and ends.  Invariant: two
 * daemons never have the log open at once, since each listens on the socket
 * before it opens the log.
 */
#include "server_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "codec_ndjson.h"
#include "notify.h"
#include "proc.h"
#include "program.h"
#include "random.h"
#include "signals.h"
#include "sock.h"

#define SPARE_FDS_MIN   12 /* to open files anew, to ask, to notify */
#define SPARE_FDS_MAX   48
#define LEAST_CONNS     8
#define STOP_US         5000000 /* for peers to take their last answers */
#define BATCH_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define RETRY_MIN_US    1000 /* for the log's lock */
#define RETRY_MAX_US    10000

/* ---- the configuration -------------------------------------------------- */

static void
apply_conf(struct server *s)
{
	const struct conf *c = s->conf;
	struct protocol_limits limits = {
	    .max_data_bytes = (size_t)c->max_data_bytes};

	if (counted_name(&s->status_writer.channels,
		span_str(c->metrics_channels)) != ST_OK)
		log_warnx("metrics_channels: more than %d channels were named "
			  "since pubd started: restart it to count the others",
		    COUNTED_MAX);
	protocol_limit(s->protocol, limits);
	s->conns.max_line_bytes = (size_t)c->max_line_bytes;
	s->conns.max_idle_us = (uint64_t)c->idle_timeout_s * 1000000;
	s->requests.max_line_bytes = (size_t)c->max_line_bytes;
	s->retain.due_us = 0;
}

/*
 * Who may listen no more hears no more.  A process that reports is told so at
 * its next report; nobody would tell the others.
 */
static void
end_listeners(struct server *s)
{
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&s->conns.all); c != NULL; c = next) {
		next = TAILQ_NEXT(c, all);
		if (c->watcher == NULL ||
		    rights_listen(&s->rights, c->identity))
			continue;
		if (watchers_last_name(&s->watchers, c).len > 0)
			watchers_drop(&s->watchers, c);
		else
			conn_kill(c);
	}
}

static void
reload(struct server *s)
{
	if (program_reload(s->program))
		apply_conf(s);
	rights_reload(&s->rights);
	end_listeners(s);
}

/* ---- signals ------------------------------------------------------------ */

static void
server_stop(struct server *s)
{
	if (s->stopping)
		return;
	LOG_EVENT(LOG_INFO_, "pubd.stop", LOG_INT("connections", s->conns.n),
	    LOG_INT("head", log_writer_seen(s->log_writer)->head));
	notify_send("STOPPING=1");
	s->stopping = true;
	s->stop_by_us = loop_now_us(s->loop) + STOP_US +
	    (uint64_t)s->conf->lock_timeout_ms * 1000;
	/*
	 * Those who have already connected and sent something are served, too.
	 */
	listeners_stop(&s->listeners);
	pulse_fini(&s->pulse);
	conns_stop(&s->conns);
}

static void
server_on_signal(struct watch *w, uint32_t events)
{
	struct server *s = OWNER_OF(w, struct server, signals);
	enum signals_request asked;

	(void)events;
	while ((asked = signals_next(w)) != SIGNALS_NONE)
		if (asked == SIGNALS_RELOAD)
			reload(s);
		else
			server_stop(s);
}

/* ---- start -------------------------------------------------------------- */

static enum status
make_parts(struct server *s)
{
	const struct batch_limits limits = {.max_events = PROTOCOL_MAX_EVENTS,
	    .max_bytes = BATCH_MAX_BYTES,
	    .retry_min_us = RETRY_MIN_US,
	    .retry_max_us = RETRY_MAX_US};
	const struct store_options log = {.path = s->conf->database,
	    .synchronous_full = s->conf->synchronous == CONF_SYNC_FULL,
	    .syncs = s->conf->metrics == CONF_ON ? &s->status_writer.sync
						 : NULL};
	enum status st = loop_new(&s->loop);

	if (st == ST_OK)
		st = batch_new(&s->batch, &limits);
	if (st == ST_OK)
		st = protocol_new(&s->protocol, (struct protocol_limits){0});
	if (st == ST_OK)
		st = log_writer_new(&s->log_writer, &log);
	return st;
}

/* Tells each part of those that it works with. */
static void
join_parts(struct server *s)
{
	conns_init(&s->conns, s->loop);
	s->conns.identities.with_groups = s->rights.access.is_set;
	listeners_init(&s->listeners, s->loop, &s->conns);
	watchers_init(&s->watchers);
	s->commit = (struct commit){.log_writer = s->log_writer,
	    .batch = s->batch};
	s->requests = (struct requests){.protocol = s->protocol,
	    .batch = s->batch,
	    .log_writer = s->log_writer,
	    .watchers = &s->watchers,
	    .status_writer = &s->status_writer,
	    .after_commit = &s->after_commit,
	    .rights = &s->rights,
	    .timing = s->conf->metrics == CONF_ON};
	s->after_commit = (struct after_commit){
	    .status_writer = &s->status_writer,
	    .exporter = s->exporter,
	    .random = random_seed()};
	s->conns.line = requests_line;
	s->conns.refuse = requests_refuse;
	s->conns.gone = requests_gone;
	s->conns.arg = &s->requests;
}

static enum status
start_parts(struct server *s, struct errmsg *err)
{
	enum status st = ST_OK;

	status_writer_init(&s->status_writer, s->conf->database,
	    (int64_t)getpid(), clock_real_ms());
	if (s->conf->otlp_endpoint[0] != '\0')
		st = exporter_new(&s->exporter, s->conf->otlp_endpoint, err);
	if (st == ST_OK)
		st = rights_open(&s->rights, s->conf, err);
	if (st != ST_OK)
		return st;
	st = make_parts(s);
	if (st == ST_OK) {
		join_parts(s);
		apply_conf(s);
		st = signals_watch(s->loop, &s->signals);
	}
	if (st != ST_OK)
		errmsg_set(err, "cannot start: %s: %s", status_name(st),
		    strerror(errno));
	return st;
}

/* What is left of the descriptors when our own are open. */
static void
limit_conns(struct server *s)
{
	uint64_t limit = proc_fds_limit(), spare = limit / 16, own;

	if (spare > SPARE_FDS_MAX)
		spare = SPARE_FDS_MAX;
	if (spare < SPARE_FDS_MIN)
		spare = SPARE_FDS_MIN;
	own = proc_count_fds() + spare;
	s->conns.max_conns = limit > own + LEAST_CONNS ? (size_t)(limit - own)
						       : LEAST_CONNS;
}

static void
tell_start(struct server *s)
{
	LOG_EVENT(LOG_INFO_, "pubd.start",
	    LOG_STR("socket", span_str(s->conf->socket)),
	    LOG_STR("database", span_str(s->conf->database)),
	    LOG_INT("head", log_writer_seen(s->log_writer)->head),
	    LOG_STR("generation",
		span_str(log_writer_seen(s->log_writer)->generation)),
	    LOG_STR("version", SPAN(WALCAST_VERSION)));
}

static enum status
server_start(struct server *s, struct errmsg *err)
{
	enum status st = start_parts(s, err);
	struct store_bounds known;
	uint64_t now_us;

	if (st != ST_OK)
		return st;
	/* The socket first: two daemons never have the log open at once. */
	st = listeners_add(&s->listeners, s->conf->socket,
	    (unsigned)s->conf->socket_mode, &codec_ndjson, err);
	if (st == ST_OK)
		st = log_writer_open(s->log_writer, clock_mono_us(), err);
	if (st != ST_OK)
		return st;
	now_us = clock_mono_us();
	status_writer_last_log(&s->status_writer, now_us, clock_real_ms(),
	    &known);
	log_writer_expect(s->log_writer, &known, now_us);
	limit_conns(s);
	pulse_init(&s->pulse, s->loop, s->conf->socket, now_us);
	server_start_timers(s);
	tell_start(s);
	rights_tell(&s->rights);
	notify_send("READY=1");
	return ST_OK;
}

enum status
server_new(struct server **out, struct program *p, struct errmsg *err)
{
	struct server *s = calloc(1, sizeof(*s));
	enum status st;

	if (s == NULL) {
		errmsg_set(err, "out of memory");
		return ST_NOMEM;
	}
	s->program = p;
	s->conf = &p->conf;
	s->signals = (struct watch){.fd = -1, .fn = server_on_signal};
	(void)sock_raise_fd_limit();
	st = server_start(s, err);
	if (st != ST_OK) {
		server_free(&s);
		return st;
	}
	*out = s;
	return ST_OK;
}

/* ---- the end ------------------------------------------------------------ */

void
server_free(struct server **sp)
{
	struct server *s = *sp;

	if (s == NULL)
		return;
	listeners_fini(&s->listeners);
	pulse_fini(&s->pulse);
	if (s->conns.loop != NULL)
		conns_fini(&s->conns);
	exporter_free(&s->exporter);
	rights_close(&s->rights);
	if (s->status_writer.db != NULL)
		server_take_metrics(s);
	status_writer_fini(&s->status_writer, clock_mono_us(), clock_real_ms());
	log_writer_free(&s->log_writer);
	batch_free(&s->batch);
	protocol_free(&s->protocol);
	signals_unwatch(s->loop, &s->signals);
	loop_free(&s->loop);
	free(s);
	*sp = NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * The daemon's loop.  Owns everything below it.
 *
 * Invariant: an answer that says ok is appended to an output only in stage 3,
 * after the commit of stage 2 has returned.
 */
#include "server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "batch.h"
#include "beat.h"
#include "clock.h"
#include "codec_ndjson.h"
#include "commit.h"
#include "conn.h"
#include "exporter.h"
#include "gauges.h"
#include "keeper.h"
#include "listeners.h"
#include "log.h"
#include "loop.h"
#include "notify.h"
#include "proc.h"
#include "program.h"
#include "protocol.h"
#include "pulse.h"
#include "random.h"
#include "requests.h"
#include "retain.h"
#include "signals.h"
#include "sock.h"
#include "trail.h"
#include "watchers.h"

#define SPARE_FDS_MIN   12 /* to open files anew, to ask, to notify */
#define SPARE_FDS_MAX   48
#define LEAST_CONNS     8
#define LOOK_US         15000 /* for SQL writers, while somebody watches */
#define LOOK_IDLE_US    250000
#define STOP_US         5000000 /* for peers to take their last answers */
#define LINGER_US       250000  /* and to see that this was the last */
#define BATCH_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define RETRY_MIN_US    1000 /* for the log's lock */
#define RETRY_MAX_US    10000
#define SLOW_US         1000000 /* a commit that takes longer is logged */

struct server {
	struct program *program;
	const struct conf *conf; /* the program's */
	struct loop *loop;
	struct watch signals;
	struct timer look, beat_timer, watchdog;
	uint64_t watchdog_us; /* 0: none */
	struct listeners listeners;
	struct conns conns;
	struct keeper *keeper;
	struct commit commit;
	struct batch *batch;
	struct protocol *protocol;
	struct watchers watchers;
	struct requests requests;
	struct retain retain;
	struct beat beat;
	struct pulse pulse;
	struct trail trail;
	struct exporter *exporter; /* NULL: no otlp_endpoint */
	struct watchers_news news; /* of the last ring */
	size_t n_own_fds;          /* besides the connections */
	struct log_gate slow_gate;
	bool again; /* lines are left: do not wait for others */
	bool stopping;
	bool lingering; /* all is answered */
	uint64_t stop_by_us;
};

/* A watch or timer to the server that embeds it. */
#define SERVER_OF(p, member)                                                   \
	((struct server *)(void *)((char *)(p)-offsetof(struct server, member)))

/* A program's own timers can always be set. */
static void
arm(struct server *s, struct timer *t, uint64_t due_us)
{
	status_ignore(timer_set(s->loop, t, due_us));
}

/* ---- signals ------------------------------------------------------------ */

static void
stop(struct server *s)
{
	if (s->stopping)
		return;
	LOG_EVENT(LOG_INFO_, "pubd.stop", LOG_INT("connections", s->conns.n),
	    LOG_INT("head", keeper_seen(s->keeper)->head));
	notify_send("STOPPING=1");
	s->stopping = true;
	s->stop_by_us = loop_now_us(s->loop) + STOP_US +
	    (uint64_t)s->conf->lock_timeout_ms * 1000;
	/* Who has connected and sent already is served, too. */
	listeners_stop(&s->listeners);
	pulse_fini(&s->pulse);
	conns_stop(&s->conns);
}

static void
apply_conf(struct server *s)
{
	const struct conf *c = s->conf;
	struct protocol_limits limits = {
	    .max_data_bytes = (size_t)c->max_data_bytes};

	if (counted_name(&s->beat.channels, span_str(c->metrics_channels)) !=
	    ST_OK)
		log_warnx("metrics_channels: more than %d channels were named "
			  "since pubd started: restart it to count the others",
		    COUNTED_MAX);
	trust_name(&s->requests.trust, span_str(c->report_users));
	protocol_limit(s->protocol, limits);
	s->conns.max_line_bytes = (size_t)c->max_line_bytes;
	s->conns.max_idle_us = (uint64_t)c->idle_timeout_s * 1000000;
	s->requests.max_line_bytes = (size_t)c->max_line_bytes;
	s->retain.due_us = 0;
}

/* The same for all, until there are rules for some. */
static struct rates_rule
rate_of(const void *arg, int64_t uid)
{
	const struct conf *c = arg;
	int64_t burst = c->publish_burst > 0 ? c->publish_burst
					     : c->publish_rate;

	(void)uid;
	return (struct rates_rule){.per_s = (uint64_t)c->publish_rate,
	    .burst = (uint64_t)burst};
}

static void
reload(struct server *s)
{
	if (program_reload(s->program))
		apply_conf(s);
}

static void
server_on_signal(struct watch *w, uint32_t events)
{
	struct server *s = SERVER_OF(w, signals);
	enum signals_request asked;

	(void)events;
	while ((asked = signals_next(w)) != SIGNALS_NONE)
		if (asked == SIGNALS_RELOAD)
			reload(s);
		else
			stop(s);
}

/* ---- timers ------------------------------------------------------------- */

static void
on_look(struct timer *t, uint64_t now_us)
{
	struct server *s = SERVER_OF(t, look);

	keeper_look(s->keeper, now_us);
	arm(s, t, now_us + (s->watchers.n > 0 ? LOOK_US : LOOK_IDLE_US));
}

/* Somebody has begun to watch: look more often from now on. */
static void
look_sooner(struct server *s)
{
	uint64_t due_us = loop_now_us(s->loop) + LOOK_US;

	if (s->watchers.n > 0 && s->look.due_us > due_us)
		arm(s, &s->look, due_us);
}

static void
take_figures(struct server *s)
{
	struct gauges g = {.conf = s->conf,
	    .conns = &s->conns,
	    .keeper = s->keeper,
	    .retain = &s->retain,
	    .watchers = &s->watchers,
	    .exporter = s->exporter};

	/* Once all files are open, and once only: it takes its time. */
	if (s->n_own_fds == 0 && s->beat.db != NULL)
		s->n_own_fds = proc_count_fds() - s->conns.n;
	g.n_own_fds = s->n_own_fds;
	gauges_take(&g, &s->beat.figures);
	requests_gauges(&s->requests, &s->beat.figures);
	figures_set(&s->beat.figures, FIG_PING_AGE,
	    (loop_now_us(s->loop) - s->pulse.good_us) / 1000);
	s->beat.log = *keeper_seen(s->keeper);
}

static void
on_beat(struct timer *t, uint64_t now_us)
{
	struct server *s = SERVER_OF(t, beat_timer);

	trust_look(&s->requests.trust, s->conf->database);
	take_figures(s);
	beat_write(&s->beat, now_us, clock_real_ms());
	exporter_tell(s->exporter, now_us);
	pulse_ask(&s->pulse, now_us);
	arm(s, t, now_us + BEAT_US);
}

static void
on_watchdog(struct timer *t, uint64_t now_us)
{
	struct server *s = SERVER_OF(t, watchdog);
	uint64_t max_us = s->watchdog_us < PULSE_LEAST_US ? PULSE_LEAST_US
							  : s->watchdog_us;

	/* That this timer runs proves nothing: publishers must be heard. */
	if (now_us - s->pulse.answered_us > max_us) {
		arm(s, t, now_us + BEAT_US);
		return;
	}
	notify_send("WATCHDOG=1");
	arm(s, t, now_us + s->watchdog_us);
}

/* ---- one turn ----------------------------------------------------------- */

static void
on_gone(void *arg, struct conn *c)
{
	struct requests *rq = arg;
	struct span name = watchers_last_name(rq->watchers, c);

	/* When we end, the workers go on: their leases speak for them. */
	if (name.len > 0 && !c->set->stopping)
		beat_gone(rq->beat, name, rq->now_us, rq->now_ms);
	watchers_drop(rq->watchers, c);
}

static uint64_t
wait_us(const struct server *s)
{
	uint64_t now_us = clock_mono_us(), due_us = batch_due_us(s->batch);

	if (retain_due_us(&s->retain) < due_us && !keeper_is_away(s->keeper))
		due_us = retain_due_us(&s->retain);
	if (s->stopping && s->stop_by_us < due_us)
		due_us = s->stop_by_us;
	if (s->again)
		return 0;
	if (due_us == BATCH_NEVER)
		return LOOP_FOREVER;
	return due_us > now_us ? due_us - now_us : 0;
}

/* What the commit of n_events has come to. */
static void
note_commit(struct server *s, const struct commit_result *result,
    size_t n_events, const struct commit_time *t, uint64_t end_us)
{
	uint64_t took_us = end_us - t->now_us;
	struct beat *b = &s->beat;

	if (result->fate == COMMIT_FAILED)
		beat_add(b, FIG_COMMIT_FAILURES, 1);
	if (result->fate == COMMIT_WAITS && result->waits_first)
		beat_add(b, FIG_COMMIT_WAITS, 1);
	if (result->fate != COMMIT_DONE)
		return;
	beat_add(b, FIG_COMMITS, 1);
	hist_add(&b->batch, HIST_SIZE, n_events, 1);
	if (n_events > b->figures.cell[FIG_BATCH_MAX])
		figures_set(&b->figures, FIG_BATCH_MAX, n_events);
	if (s->requests.timing)
		hist_add(&b->commit, HIST_TIME, took_us, 1);
	trail_commit(&s->trail, t->now_us, end_us, clock_real_ms());
	if (took_us > SLOW_US && log_gate(&s->slow_gate, end_us))
		/* UNTESTED: no disk is that slow when it is asked to be. */
		LOG_EVENT(LOG_WARN_, "commit.slow",
		    LOG_INT("ms", took_us / 1000), LOG_INT("events", n_events));
}

/*
 * The time of a commit is told only when it is that of all events since the
 * last ring: others may have been stored by SQL before.
 */
static void
note_news(struct server *s, size_t n_stored, uint64_t at_us)
{
	const struct keeper *k = s->keeper;
	int64_t head = keeper_seen(k)->head;
	bool alone = keeper_opening(k) == s->news.opening &&
	    head - s->news.head == (int64_t)n_stored;

	s->news = (struct watchers_news){.head = head,
	    .opening = keeper_opening(k),
	    .at_us = alone ? at_us : 0};
}

/* Stages 2 and 3.  Returns how many events were stored. */
static size_t
commit_and_answer(struct server *s)
{
	struct commit_result result = {.fate = COMMIT_NONE};
	size_t n_events = batch_events(s->batch);
	uint64_t end_us, now_us = clock_mono_us();
	struct commit_time t = {.now_us = now_us,
	    .ts_ms = clock_real_ms(),
	    .timeout_us = (uint64_t)s->conf->lock_timeout_ms * 1000};
	bool answers = batch_due_us(s->batch) <= now_us &&
	    commit_run(&s->commit, &t, &result) == ST_OK;

	end_us = clock_mono_us();
	note_commit(s, &result, n_events, &t, end_us);
	note_news(s, result.n_stored, end_us);
	if (!answers)
		return 0;
	requests_answer(&s->requests);
	s->conns.round++;
	return result.n_stored;
}

static enum status
server_turn(struct server *s)
{
	size_t n_stored;
	bool ringing;

	/* 1. Collect: read sockets; users take turns, lines fill the batch. */
	enum status st = loop_turn(s->loop, wait_us(s));

	s->requests.now_us = loop_now_us(s->loop);
	s->requests.now_ms = clock_real_ms();
	if (st != ST_OK)
		return st;
	conns_take_lines(&s->conns);
	/* 2. Commit the batch, in one transaction.  3. Answer all of it. */
	n_stored = commit_and_answer(s);
	/* 4. Ring those who watch; then write, answers first. */
	ringing = watchers_ring(&s->watchers, &s->news);
	conns_flush(&s->conns);
	requests_flushed(&s->requests, clock_mono_us());
	look_sooner(s);
	/* 5. House-keeping: retention and checkpoints. */
	retain_run(&s->retain, s->keeper, s->conf, n_stored,
	    loop_now_us(s->loop), s->requests.now_ms);
	/* 6. Lines that were held back come first in the next batch. */
	conns_relieve(&s->conns, loop_now_us(s->loop));
	s->again = conns_resume(&s->conns) || ringing;
	/* 7. What was answered without a commit; then reap the dead. */
	conns_flush(&s->conns);
	conns_reap(&s->conns);
	return ST_OK;
}

/* Has everybody been answered and seen the end, or had the time for it? */
static bool
is_over(struct server *s)
{
	uint64_t now_us = clock_mono_us();

	if (batch_count(s->batch) > 0 || s->conns.n > s->conns.n_lingering) {
		if (now_us < s->stop_by_us)
			return false;
		log_warnx("%zu connections have not taken their answers",
		    s->conns.n - s->conns.n_lingering);
		return true;
	}
	if (!s->lingering) {
		s->lingering = true;
		s->stop_by_us = now_us + LINGER_US;
	}
	return s->conns.n == 0 || now_us >= s->stop_by_us;
}

enum status
server_run(struct server *s)
{
	enum status st = ST_OK;

	while (st == ST_OK && !(s->stopping && is_over(s)))
		st = server_turn(s);
	return st;
}

/* ---- start and end ------------------------------------------------------ */

static enum status
make_parts(struct server *s)
{
	const struct batch_limits limits = {.max_events = PROTOCOL_MAX_EVENTS,
	    .max_bytes = BATCH_MAX_BYTES,
	    .retry_min_us = RETRY_MIN_US,
	    .retry_max_us = RETRY_MAX_US};
	const struct store_options log = {.path = s->conf->database,
	    .synchronous_full = s->conf->synchronous == CONF_SYNC_FULL,
	    .syncs = s->conf->metrics == CONF_ON ? &s->beat.sync : NULL};
	enum status st = loop_new(&s->loop);

	if (st == ST_OK)
		st = batch_new(&s->batch, &limits);
	if (st == ST_OK)
		st = protocol_new(&s->protocol, (struct protocol_limits){0});
	if (st == ST_OK)
		st = keeper_new(&s->keeper, &log);
	return st;
}

/* Tells each part of those that it works with. */
static void
join_parts(struct server *s)
{
	conns_init(&s->conns, s->loop);
	listeners_init(&s->listeners, s->loop, &s->conns);
	watchers_init(&s->watchers);
	s->commit = (struct commit){.keeper = s->keeper, .batch = s->batch};
	s->requests = (struct requests){.protocol = s->protocol,
	    .batch = s->batch,
	    .keeper = s->keeper,
	    .watchers = &s->watchers,
	    .beat = &s->beat,
	    .trail = &s->trail,
	    .timing = s->conf->metrics == CONF_ON};
	s->requests.trust.owner = -1;
	trust_look(&s->requests.trust, s->conf->database);
	rates_init(&s->requests.rates, rate_of, s->conf);
	s->trail = (struct trail){.beat = &s->beat,
	    .exporter = s->exporter,
	    .random = random_seed()};
	s->conns.line = requests_line;
	s->conns.refuse = requests_refuse;
	s->conns.gone = on_gone;
	s->conns.arg = &s->requests;
}

static void
start_timers(struct server *s)
{
	uint64_t now_us = clock_mono_us();

	s->look.fn = on_look;
	s->beat_timer.fn = on_beat;
	s->watchdog.fn = on_watchdog;
	arm(s, &s->look, now_us + LOOK_US);
	arm(s, &s->beat_timer, now_us);
	s->watchdog_us = notify_watchdog_us();
	if (s->watchdog_us > 0)
		arm(s, &s->watchdog, now_us + s->watchdog_us);
}

static enum status
start_parts(struct server *s, struct errmsg *err)
{
	enum status st = ST_OK;

	beat_init(&s->beat, s->conf->database, (int64_t)getpid(),
	    clock_real_ms());
	if (s->conf->otlp_endpoint[0] != '\0')
		st = exporter_new(&s->exporter, s->conf->otlp_endpoint, err);
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
	    LOG_INT("head", keeper_seen(s->keeper)->head),
	    LOG_STR("generation", span_str(keeper_seen(s->keeper)->generation)),
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
		st = keeper_open(s->keeper, clock_mono_us(), err);
	if (st != ST_OK)
		return st;
	now_us = clock_mono_us();
	beat_last_log(&s->beat, now_us, clock_real_ms(), &known);
	keeper_expect(s->keeper, &known, now_us);
	limit_conns(s);
	pulse_init(&s->pulse, s->loop, s->conf->socket, now_us);
	start_timers(s);
	tell_start(s);
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
	if (s->beat.db != NULL)
		take_figures(s);
	beat_fini(&s->beat, clock_mono_us(), clock_real_ms());
	keeper_free(&s->keeper);
	batch_free(&s->batch);
	protocol_free(&s->protocol);
	signals_unwatch(s->loop, &s->signals);
	loop_free(&s->loop);
	free(s);
	*sp = NULL;
}

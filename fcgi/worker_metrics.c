/* SPDX-License-Identifier: MIT */
/* A worker's metrics.  Reads /proc and asks for locks; never blocks. */
#include "worker_metrics.h"

#include <stdlib.h>

#include "acceptor_metrics.h"
#include "admit.h"
#include "authorizer.h"
#include "authz.h"
#include "clock.h"
#include "hist.h"
#include "hub.h"
#include "log_reader.h"
#include "metrics.h"
#include "proc.h"
#include "replay.h"
#include "tail.h"
#include "wire.h"

#define SHORT_SECONDS          5
#define SLOTS_US               1000 /* of one report to count slots */
#define WORKER_METRICS_SECONDS 60

/* Counters as they stood at one tick. */
struct worker_metrics_second {
	uint64_t n_opened, n_asked, n_frames, n_writes, n_duplicates;
};

struct worker_metrics {
	const char *role;
	int64_t started_ms;
	uint64_t fds_limit;
	size_t fds_base;  /* descriptors that are not counted one by one */
	struct hist wake; /* from a commit to the wake, microseconds */
	uint64_t n_spans_dropped;
	struct worker_metrics_second
	    second[WORKER_METRICS_SECONDS + 1]; /* a circle */
	uint64_t n_ticks;
	struct metrics metrics;
};

/*
 * The cell of each member of a list, by its name: a member without a cell does
 * not compile.
 */
#define CLOSED(member, word)         METRIC_CLOSED_##member,
#define REJECTED(member, word)       METRIC_REJECTED_##member,
#define REFUSED(member, status)      METRIC_REFUSED_##member,
#define GAP_TOLD(member, word)       METRIC_GAPS_##member,
#define MISMATCHED(member, word)     METRIC_MISMATCH_##member,
#define FRONT_NOW(member, word)      METRIC_FRONT_OPEN_##member,
#define FRONT_OPENED(member, word)   METRIC_FRONT_OPENED_##member,
#define FRONT_CLOSED(member, word)   METRIC_FRONT_CLOSED_##member,
#define FRONT_REJECTED(member, word) METRIC_FRONT_REJECTED_##member,

#define TOKENS_CAME(member, word) METRIC_TOKENS_##member,
#define APP_ASKED(member, word)   METRIC_AUTHORIZER_##member,

static const enum metric_cell token_cells[TOKEN_FAULT_COUNT] = {
    TOKEN_FAULTS(TOKENS_CAME)};
static const enum metric_cell authorizer_cells[AUTHORIZER_RESULT_COUNT] = {
    AUTHORIZER_RESULTS(APP_ASKED)};
static const enum metric_cell closed_cells[STREAM_ENDS] = {
    STREAM_END_LIST(CLOSED)};
static const enum metric_cell rejected_cells[ADMIT_REJECTS] = {
    ADMIT_REJECT_LIST(REJECTED)};
static const enum metric_cell refused_cells[ADMIT_REFUSES] = {
    ADMIT_REFUSE_LIST(REFUSED)};
static const enum metric_cell gap_cells[GAP_CODES] = {FRAME_GAPS(GAP_TOLD)};
static const enum metric_cell mismatch_cells[GAP_CODES] = {
    FRAME_GAPS(MISMATCHED)};
static const enum metric_cell front_open_cells[FRONTS] = {FRONTENDS(FRONT_NOW)};
static const enum metric_cell front_opened_cells[FRONTS] = {
    FRONTENDS(FRONT_OPENED)};
static const enum metric_cell front_closed_cells[FRONTS] = {
    FRONTENDS(FRONT_CLOSED)};
static const enum metric_cell front_rejected_cells[FRONTS] = {
    FRONTENDS(FRONT_REJECTED)};

static void
set_each(struct metrics *f, const enum metric_cell *cells, const uint64_t *n,
    size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		metrics_set(f, cells[i], n[i]);
}

/* ---- the parts ----------------------------------------------------------- */

static void
set_streams(struct metrics *f, const struct hub_counters *h,
    const struct admit_counters *a)
{
	unsigned i;

	metrics_set(f, METRIC_STREAMS_OPENED, h->n_opened);
	set_each(f, closed_cells, h->n_closed, STREAM_ENDS);
	set_each(f, rejected_cells, a->n_rejected, ADMIT_REJECTS);
	set_each(f, refused_cells, a->n_refused, ADMIT_REFUSES);
	for (i = 0; i < FRONTS; i++)
		metrics_set(f, front_open_cells[i],
		    h->n_front_opened[i] - h->n_front_closed[i]);
	set_each(f, front_opened_cells, h->n_front_opened, FRONTS);
	set_each(f, front_closed_cells, h->n_front_closed, FRONTS);
	set_each(f, front_rejected_cells, a->n_front_rejected, FRONTS);
}

static void
set_access_of(struct metrics *f, const struct authz *authz)
{
	const struct authz_counters *a = authz_counters(authz);

	metrics_set(f, METRIC_ACCESS_RULES, a->n_refused[0]);
	metrics_set(f, METRIC_ACCESS_APP, a->n_refused[1]);
	set_each(f, token_cells, a->n_tokens, TOKEN_FAULT_COUNT);
	metrics_set(f, METRIC_VISITORS, authz_n_visitors(authz));
}

static void
set_authorizer_of(struct metrics *f, const struct authorizer *authorizer,
    const struct admit *admit)
{
	const struct authorizer_counters *c;

	metrics_set(f, METRIC_AUTHORIZER_WAITING, admit_n_waiting(admit));
	if (authorizer == NULL)
		return;
	c = authorizer_counters(authorizer);
	set_each(f, authorizer_cells, c->n_results, AUTHORIZER_RESULT_COUNT);
	metrics_set(f, METRIC_AUTHORIZER_CACHED, c->n_cached);
	metrics_set(f, METRIC_AUTHORIZER_SHARED, c->n_shared);
	metrics_set_hist(f, METRIC_AUTHORIZER_TIME, &c->latency);
}

static void
set_resumes(struct metrics *f, const struct hub_counters *h,
    const struct worker_metrics_parts *p)
{
	const struct admit_counters *a = admit_counters(p->admit);

	metrics_set(f, METRIC_RECONNECTS, a->n_came_back);
	metrics_set(f, METRIC_RESUMES_OK, a->n_resumes_ok);
	metrics_set(f, METRIC_RESUMES_GAP, a->n_resumes_gap);
	metrics_set(f, METRIC_RESUMES_FAILED, a->n_resumes_failed);
	set_each(f, mismatch_cells, a->n_mismatch, GAP_CODES);
	set_each(f, gap_cells, h->n_gaps, GAP_CODES);
	metrics_set(f, METRIC_ID_GAPS, tail_n_missing(p->tail));
	metrics_set(f, METRIC_REPLAY_EVENTS, h->n_replayed);
	metrics_set(f, METRIC_REPLAY_PAGES, replay_n_pages(p->replay));
	metrics_set(f, METRIC_STORE_ERRORS, log_reader_n_errors(p->log));
}

static void
set_delivery(struct metrics *f, const struct hub_counters *h)
{
	const struct stream_counters *out = &h->out;

	metrics_set(f, METRIC_EVENTS_SENT, out->n_events);
	metrics_set(f, METRIC_BYTES_SENT, out->n_bytes);
	metrics_set(f, METRIC_WRITES, out->n_writes);
	metrics_set(f, METRIC_SHORT_WRITES, out->n_short_writes);
	metrics_set(f, METRIC_DUPLICATES, out->n_duplicates);
	metrics_set(f, METRIC_HEARTBEATS, h->n_heartbeats);
	metrics_set(f, METRIC_HEARTBEATS_FAILED, h->n_heartbeats_failed);
	if (out->timed)
		metrics_set_hist(f, METRIC_DELIVERY, &out->delivery);
}

static void
set_survey(struct worker_metrics *t, const struct hub *hub)
{
	struct metrics *f = &t->metrics;
	struct hub_survey s;

	hub_survey(hub, &s);
	metrics_set(f, METRIC_LAGGING, s.n_lagging);
	metrics_set(f, METRIC_LAG_MAX, (uint64_t)s.max_lag);
	metrics_set(f, METRIC_REPLAYING, s.n_replaying);
	metrics_set(f, METRIC_REPLAY_DEPTH, (uint64_t)s.replay_depth);
	metrics_set(f, METRIC_STREAM_BYTES,
	    s.n_streams * sizeof(struct stream) + s.pending_bytes);
	metrics_set(f, METRIC_STREAMS_HELD, s.n_streams);
	metrics_set(f, METRIC_RING_BYTES, s.ring_bytes);
	metrics_set(f, METRIC_RING_EVENTS, s.ring_events);
	metrics_set(f, METRIC_RING_OLDEST, (uint64_t)s.ring_oldest);
	metrics_set(f, METRIC_SPANS_DROPPED, t->n_spans_dropped + s.n_untraced);
}

static void
set_slots(struct metrics *f, struct admit *admit)
{
	int64_t room, cap;

	if (!admit_least_room(admit, clock_mono_us() + SLOTS_US, &room, &cap))
		return;
	metrics_set(f, METRIC_FRONT_SLOTS_FREE, (uint64_t)room);
	metrics_set(f, METRIC_FRONT_SLOTS_LIMIT, (uint64_t)cap);
}

static void
set_process(struct worker_metrics *t, const struct worker_metrics_parts *p)
{
	size_t used = t->fds_base + p->n_fds + hub_n_streams(p->hub);
	struct metrics *f = &t->metrics;

	proc_metrics(f, used, t->fds_limit);
	if (p->acceptor != NULL)
		acceptor_metrics_set(f, p->acceptor,
		    METRIC_ACCEPT_PAUSES_WORKER);
	metrics_set_hist(f, METRIC_WAKE, &t->wake);
}

/* ---- windows ------------------------------------------------------------- */

static struct worker_metrics_second
worker_metrics_now_of(const struct worker_metrics_parts *p)
{
	struct hub_counters h;

	hub_count(p->hub, &h);
	return (struct worker_metrics_second){
	    .n_opened = h.n_opened,
	    .n_asked = admit_counters(p->admit)->n_asked,
	    .n_frames = h.out.n_events,
	    .n_writes = h.out.n_writes,
	    .n_duplicates = h.out.n_duplicates,
	};
}

void
worker_metrics_tick(struct worker_metrics *t,
    const struct worker_metrics_parts *p)
{
	t->second[t->n_ticks++ % (WORKER_METRICS_SECONDS + 1)] =
	    worker_metrics_now_of(p);
}

/* As it stood so many ticks ago; at the start before that. */
static struct worker_metrics_second
ago(const struct worker_metrics *t, uint64_t n)
{
	if (n >= t->n_ticks)
		return (struct worker_metrics_second){0};
	return t->second[(t->n_ticks - 1 - n) % (WORKER_METRICS_SECONDS + 1)];
}

static void
set_windows(struct worker_metrics *t, const struct worker_metrics_parts *p)
{
	struct worker_metrics_second now = worker_metrics_now_of(p),
				     minute = ago(t, WORKER_METRICS_SECONDS),
				     recent = ago(t, SHORT_SECONDS);
	struct metrics *f = &t->metrics;

	metrics_set(f, METRIC_OPENED_60S, now.n_opened - minute.n_opened);
	metrics_set(f, METRIC_ASKED_60S, now.n_asked - minute.n_asked);
	metrics_set(f, METRIC_FRAMES_5S, now.n_frames - recent.n_frames);
	metrics_set(f, METRIC_WRITES_5S, now.n_writes - recent.n_writes);
	metrics_set(f, METRIC_DUPLICATES_5S,
	    now.n_duplicates - recent.n_duplicates);
}

/* ---- the report ---------------------------------------------------------- */

enum status
worker_metrics_new(struct worker_metrics **out, const char *role,
    int64_t started_ms, uint64_t fds_limit,
    const struct worker_metrics_parts *p)
{
	size_t n = proc_count_fds(), apart = p->n_fds + hub_n_streams(p->hub);
	struct worker_metrics *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return ST_NOMEM;
	t->role = role;
	t->started_ms = started_ms;
	t->fds_limit = fds_limit;
	t->fds_base = n > apart ? n - apart : 0;
	*out = t;
	return ST_OK;
}

void
worker_metrics_free(struct worker_metrics **t)
{
	free(*t);
	*t = NULL;
}

void
worker_metrics_woken(struct worker_metrics *t, uint64_t after_us)
{
	hist_add(&t->wake, HIST_TIME, after_us, 1);
}

void
worker_metrics_lost_span(struct worker_metrics *t)
{
	t->n_spans_dropped++;
}

enum status
worker_metrics_report(struct worker_metrics *t,
    const struct worker_metrics_parts *p, struct buf *out)
{
	struct metrics *f = &t->metrics;
	struct hub_counters h;
	struct wire_report r = {
	    .role = span_str(t->role),
	    .started_ms = t->started_ms,
	    .head = hub_bounds(p->hub)->head,
	    .cursor = hub_head(p->hub),
	    .streams = (int64_t)hub_n_streams(p->hub),
	    .metrics = f,
	};

	hub_count(p->hub, &h);
	*f = (struct metrics){.cell = {0}};
	set_streams(f, &h, admit_counters(p->admit));
	set_access_of(f, p->authz);
	set_authorizer_of(f, p->authorizer, p->admit);
	set_resumes(f, &h, p);
	set_delivery(f, &h);
	set_survey(t, p->hub);
	set_slots(f, p->admit);
	set_process(t, p);
	set_windows(t, p);
	proc_report(&r);
	return wire_put_report(out, &r);
}

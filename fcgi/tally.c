/* SPDX-License-Identifier: MIT */
/* A worker's figures.  Reads /proc and asks for locks; never blocks. */
#include "tally.h"

#include <stdlib.h>

#include "acceptor_metrics.h"
#include "admit.h"
#include "clock.h"
#include "figures.h"
#include "hist.h"
#include "hub.h"
#include "log_reader.h"
#include "proc.h"
#include "replay.h"
#include "tail.h"
#include "wire.h"

#define SHORT_SECONDS 5
#define SLOTS_US      1000 /* of one report to count slots */
#define TALLY_SECONDS 60

/* Counters as they stood at one tick. */
struct tally_second {
	uint64_t n_opened, n_asked, n_frames, n_writes, n_duplicates;
};

struct tally {
	const char *role;
	int64_t started_ms;
	uint64_t fds_limit;
	size_t fds_base;  /* descriptors that are not counted one by one */
	struct hist wake; /* from a commit to the wake, microseconds */
	uint64_t n_spans_dropped;
	struct tally_second second[TALLY_SECONDS + 1]; /* a circle */
	uint64_t n_ticks;
	struct figures figures;
};

/*
 * The cell of each member of a list, by its name: a member without a cell does
 * not compile.
 */
#define CLOSED(member, word)         FIG_CLOSED_##member,
#define REJECTED(member, word)       FIG_REJECTED_##member,
#define REFUSED(member, status)      FIG_REFUSED_##member,
#define GAP_TOLD(member, word)       FIG_GAPS_##member,
#define MISMATCHED(member, word)     FIG_MISMATCH_##member,
#define FRONT_NOW(member, word)      FIG_FRONT_OPEN_##member,
#define FRONT_OPENED(member, word)   FIG_FRONT_OPENED_##member,
#define FRONT_CLOSED(member, word)   FIG_FRONT_CLOSED_##member,
#define FRONT_REJECTED(member, word) FIG_FRONT_REJECTED_##member,

static const enum figure_cell closed_cells[STREAM_ENDS] = {
    STREAM_END_LIST(CLOSED)};
static const enum figure_cell rejected_cells[ADMIT_REJECTS] = {
    ADMIT_REJECT_LIST(REJECTED)};
static const enum figure_cell refused_cells[ADMIT_REFUSES] = {
    ADMIT_REFUSE_LIST(REFUSED)};
static const enum figure_cell gap_cells[GAP_CODES] = {FRAME_GAPS(GAP_TOLD)};
static const enum figure_cell mismatch_cells[GAP_CODES] = {
    FRAME_GAPS(MISMATCHED)};
static const enum figure_cell front_open_cells[FRONTS] = {FRONTENDS(FRONT_NOW)};
static const enum figure_cell front_opened_cells[FRONTS] = {
    FRONTENDS(FRONT_OPENED)};
static const enum figure_cell front_closed_cells[FRONTS] = {
    FRONTENDS(FRONT_CLOSED)};
static const enum figure_cell front_rejected_cells[FRONTS] = {
    FRONTENDS(FRONT_REJECTED)};

static void
set_each(struct figures *f, const enum figure_cell *cells, const uint64_t *n,
    size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		figures_set(f, cells[i], n[i]);
}

/* ---- the parts ----------------------------------------------------------- */

static void
set_streams(struct figures *f, const struct hub_counters *h,
    const struct admit_counters *a)
{
	unsigned i;

	figures_set(f, FIG_STREAMS_OPENED, h->n_opened);
	set_each(f, closed_cells, h->n_closed, STREAM_ENDS);
	set_each(f, rejected_cells, a->n_rejected, ADMIT_REJECTS);
	set_each(f, refused_cells, a->n_refused, ADMIT_REFUSES);
	for (i = 0; i < FRONTS; i++)
		figures_set(f, front_open_cells[i],
		    h->n_front_opened[i] - h->n_front_closed[i]);
	set_each(f, front_opened_cells, h->n_front_opened, FRONTS);
	set_each(f, front_closed_cells, h->n_front_closed, FRONTS);
	set_each(f, front_rejected_cells, a->n_front_rejected, FRONTS);
}

static void
set_resumes(struct figures *f, const struct hub_counters *h,
    const struct tally_parts *p)
{
	const struct admit_counters *a = admit_counters(p->admit);

	figures_set(f, FIG_RECONNECTS, a->n_came_back);
	figures_set(f, FIG_RESUMES_OK, a->n_resumes_ok);
	figures_set(f, FIG_RESUMES_GAP, a->n_resumes_gap);
	figures_set(f, FIG_RESUMES_FAILED, a->n_resumes_failed);
	set_each(f, mismatch_cells, a->n_mismatch, GAP_CODES);
	set_each(f, gap_cells, h->n_gaps, GAP_CODES);
	figures_set(f, FIG_ID_GAPS, tail_n_missing(p->tail));
	figures_set(f, FIG_REPLAY_EVENTS, h->n_replayed);
	figures_set(f, FIG_REPLAY_PAGES, replay_n_pages(p->replay));
	figures_set(f, FIG_STORE_ERRORS, log_reader_n_errors(p->log));
}

static void
set_delivery(struct figures *f, const struct hub_counters *h)
{
	const struct stream_counters *out = &h->out;

	figures_set(f, FIG_EVENTS_SENT, out->n_events);
	figures_set(f, FIG_BYTES_SENT, out->n_bytes);
	figures_set(f, FIG_WRITES, out->n_writes);
	figures_set(f, FIG_SHORT_WRITES, out->n_short_writes);
	figures_set(f, FIG_DUPLICATES, out->n_duplicates);
	figures_set(f, FIG_HEARTBEATS, h->n_heartbeats);
	figures_set(f, FIG_HEARTBEATS_FAILED, h->n_heartbeats_failed);
	if (out->timed)
		figures_set_hist(f, FIG_DELIVERY, &out->delivery);
}

static void
set_survey(struct tally *t, const struct hub *hub)
{
	struct figures *f = &t->figures;
	struct hub_survey s;

	hub_survey(hub, &s);
	figures_set(f, FIG_LAGGING, s.n_lagging);
	figures_set(f, FIG_LAG_MAX, (uint64_t)s.max_lag);
	figures_set(f, FIG_REPLAYING, s.n_replaying);
	figures_set(f, FIG_REPLAY_DEPTH, (uint64_t)s.replay_depth);
	figures_set(f, FIG_STREAM_BYTES,
	    s.n_streams * sizeof(struct stream) + s.pending_bytes);
	figures_set(f, FIG_STREAMS_HELD, s.n_streams);
	figures_set(f, FIG_RING_BYTES, s.ring_bytes);
	figures_set(f, FIG_RING_EVENTS, s.ring_events);
	figures_set(f, FIG_RING_OLDEST, (uint64_t)s.ring_oldest);
	figures_set(f, FIG_SPANS_DROPPED, t->n_spans_dropped + s.n_untraced);
}

static void
set_slots(struct figures *f, struct admit *admit)
{
	int64_t room, cap;

	if (!admit_least_room(admit, clock_mono_us() + SLOTS_US, &room, &cap))
		return;
	figures_set(f, FIG_FRONT_SLOTS_FREE, (uint64_t)room);
	figures_set(f, FIG_FRONT_SLOTS_LIMIT, (uint64_t)cap);
}

static void
set_process(struct tally *t, const struct tally_parts *p)
{
	size_t used = t->fds_base + p->n_fds + hub_n_streams(p->hub);
	struct figures *f = &t->figures;

	proc_figures(f, used, t->fds_limit);
	if (p->acceptor != NULL)
		acceptor_metrics_set(f, p->acceptor, FIG_ACCEPT_PAUSES_WORKER);
	figures_set_hist(f, FIG_WAKE, &t->wake);
}

/* ---- windows ------------------------------------------------------------- */

static struct tally_second
now_of(const struct tally_parts *p)
{
	struct hub_counters h;

	hub_count(p->hub, &h);
	return (struct tally_second){
	    .n_opened = h.n_opened,
	    .n_asked = admit_counters(p->admit)->n_asked,
	    .n_frames = h.out.n_events,
	    .n_writes = h.out.n_writes,
	    .n_duplicates = h.out.n_duplicates,
	};
}

void
tally_tick(struct tally *t, const struct tally_parts *p)
{
	t->second[t->n_ticks++ % (TALLY_SECONDS + 1)] = now_of(p);
}

/* As it stood so many ticks ago; at the start before that. */
static struct tally_second
ago(const struct tally *t, uint64_t n)
{
	if (n >= t->n_ticks)
		return (struct tally_second){0};
	return t->second[(t->n_ticks - 1 - n) % (TALLY_SECONDS + 1)];
}

static void
set_windows(struct tally *t, const struct tally_parts *p)
{
	struct tally_second now = now_of(p), minute = ago(t, TALLY_SECONDS),
			    recent = ago(t, SHORT_SECONDS);
	struct figures *f = &t->figures;

	figures_set(f, FIG_OPENED_60S, now.n_opened - minute.n_opened);
	figures_set(f, FIG_ASKED_60S, now.n_asked - minute.n_asked);
	figures_set(f, FIG_FRAMES_5S, now.n_frames - recent.n_frames);
	figures_set(f, FIG_WRITES_5S, now.n_writes - recent.n_writes);
	figures_set(f, FIG_DUPLICATES_5S,
	    now.n_duplicates - recent.n_duplicates);
}

/* ---- the report ---------------------------------------------------------- */

enum status
tally_new(struct tally **out, const char *role, int64_t started_ms,
    uint64_t fds_limit, const struct tally_parts *p)
{
	size_t n = proc_count_fds(), apart = p->n_fds + hub_n_streams(p->hub);
	struct tally *t = calloc(1, sizeof(*t));

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
tally_free(struct tally **t)
{
	free(*t);
	*t = NULL;
}

void
tally_woken(struct tally *t, uint64_t after_us)
{
	hist_add(&t->wake, HIST_TIME, after_us, 1);
}

void
tally_lost_span(struct tally *t)
{
	t->n_spans_dropped++;
}

enum status
tally_report(struct tally *t, const struct tally_parts *p, struct buf *out)
{
	struct figures *f = &t->figures;
	struct hub_counters h;
	struct wire_report r = {
	    .role = span_str(t->role),
	    .started_ms = t->started_ms,
	    .head = hub_bounds(p->hub)->head,
	    .cursor = hub_head(p->hub),
	    .streams = (int64_t)hub_n_streams(p->hub),
	    .figures = f,
	};

	hub_count(p->hub, &h);
	*f = (struct figures){.cell = {0}};
	set_streams(f, &h, admit_counters(p->admit));
	set_resumes(f, &h, p);
	set_delivery(f, &h);
	set_survey(t, p->hub);
	set_slots(f, p->admit);
	set_process(t, p);
	set_windows(t, p);
	proc_report(&r);
	return wire_put_report(out, &r);
}

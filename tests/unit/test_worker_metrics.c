/* SPDX-License-Identifier: MIT */
/* A worker's metrics: every number of its parts reaches its own cell. */
#include "worker_metrics.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admit_private.h"
#include "authz.h"
#include "conf.h"
#include "fault.h"
#include "metrics.h"
#include "hub_private.h"
#include "acceptor.h"
#include "json.h"
#include "jsontext.h"
#include "log.h"
#include "log_reader.h"
#include "replay.h"
#include "slots.h"
#include "stream_log.h"
#include "tail.h"
#include "rig/rig.h"
#include "rig/riglog.h"
#include "unit.h"

#define STARTED_MS 1700000000000

struct fixture {
	struct rig rig;
	struct rig_log log;
	struct rig_client c[3];
	struct conf conf;
	struct log_reader *reader;
	struct tail *tail;
	struct replay *replay;
	struct slots *slots;
	struct authz *authz;
	struct admit *admit;
	struct worker_metrics *worker_metrics;
	struct worker_metrics_parts parts;
	struct buf line;
	struct metrics got; /* what the last report said */
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct hub_options o = {.ring_bytes = 65536, .timed = true};
	struct errmsg err = {""};
	/* No directory of ours there: counted in this process. */
	const struct slots_place place = {.database = "/nowhere",
	    .shared = "/nowhere"};

	if (f == NULL)
		return -1;
	rig_log_init(&f->log);
	rig_init(&f->rig, &o);
	(void)snprintf(f->conf.database, sizeof(f->conf.database), "%s",
	    f->log.path);
	f->conf.tail_poll_ms = 1000;
	if (log_reader_new(&f->reader, f->rig.loop, &f->conf) != ST_OK ||
	    tail_new(&f->tail, f->rig.hub, f->reader, true, &err) != ST_OK ||
	    replay_new(&f->replay, f->rig.hub, f->reader) != ST_OK ||
	    slots_open(&f->slots, &place, &err) != ST_OK ||
	    authz_new(&f->authz, &f->conf, f->reader, &err) != ST_OK ||
	    admit_new(&f->admit,
		&(struct admit_options){.conf = &f->conf, .slots = f->slots}) !=
		ST_OK)
		return -1;
	buf_init(&f->line, 65536);
	f->parts = (struct worker_metrics_parts){.hub = f->rig.hub,
	    .log = f->reader,
	    .tail = f->tail,
	    .replay = f->replay,
	    .admit = f->admit,
	    .authz = f->authz,
	    .n_fds = 2};
	if (worker_metrics_new(&f->worker_metrics, "worker", STARTED_MS, 20000,
		&f->parts) != ST_OK)
		return -1;
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	worker_metrics_free(&f->worker_metrics);
	admit_free(&f->admit);
	authz_free(&f->authz);
	slots_close(&f->slots);
	tail_free(&f->tail);
	replay_free(&f->replay);
	log_reader_free(&f->reader);
	rig_fini(&f->rig);
	rig_log_fini(&f->log);
	buf_fini(&f->line);
	free(f);
	return 0;
}

static struct span
member(struct fixture *f, const char *name)
{
	struct span value = SPAN_NONE;

	if (jsontext_member(buf_span(&f->line), span_str(name), &value) !=
	    ST_OK)
		fail_msg("no %s in the report", name);
	return value;
}

/* A report, read as pubd reads it. */
static void
report(struct fixture *f)
{
	unsigned n_unknown = 0;
	size_t at;

	buf_clear(&f->line);
	memset(&f->got, 0, sizeof(f->got));
	assert_status(
	    worker_metrics_report(f->worker_metrics, &f->parts, &f->line),
	    ST_OK);
	assert_status(jsontext_check(buf_span(&f->line), &at), ST_OK);
	assert_status(metrics_read(&f->got, METRICS_COUNTERS,
			  member(f, "counters"), &n_unknown),
	    ST_OK);
	assert_status(metrics_read(&f->got, METRICS_GAUGES, member(f, "gauges"),
			  &n_unknown),
	    ST_OK);
	assert_int_equal(n_unknown, 0);
}

#define ASSERT_CELL(f, id, want)                                               \
	assert_int_equal((f)->got.cell[METRIC_##id], (uint64_t)(want))

/* What was reported for the series of this family with this label's value. */
static void
assert_series(const struct fixture *f, const char *family, const char *label,
    uint64_t want)
{
	bool inside = false;
	size_t i;

	for (i = 0; i < metrics_catalogue_n; i++) {
		const struct metric *row = &metrics_catalogue[i];

		if (row->source == METRIC_FAMILY)
			inside = strcmp(row->name, family) == 0;
		else if (inside && strcmp(row->value, label) == 0) {
			assert_int_equal(f->got.cell[row->cell], want);
			return;
		}
	}
	fail_msg("%s has no series %s", family, label);
}

static void
the_line_says_who_reports(void **state)
{
	struct fixture *f = *state;
	char name[64];

	rig_join(&f->rig, &f->c[0], &(struct rig_wish){.channels = "a"});
	rig_log_add(&f->log, "a", SPAN("x"), 3);
	tail_wake(f->tail);
	(void)tail_turn(f->tail);
	report(f);
	(void)snprintf(name, sizeof(name), "\"worker-%ld-%lld\"",
	    (long)getpid(), (long long)STARTED_MS);
	assert_span(member(f, "op"), SPAN("\"report\""));
	assert_span(member(f, "name"), span_str(name));
	assert_span(member(f, "role"), SPAN("\"worker\""));
	assert_span(member(f, "version"), SPAN("\"" WALCAST_VERSION "\""));
	assert_span(member(f, "started_ms"), SPAN("1700000000000"));
	assert_span(member(f, "head"), SPAN("3"));
	assert_span(member(f, "cursor"), SPAN("3"));
	assert_span(member(f, "streams"), SPAN("1"));
}

/* Fills what the parts count with numbers of which no two are the same. */
static void
fill(uint64_t *n, size_t bytes, uint64_t *next)
{
	size_t i;

	for (i = 0; i < bytes / sizeof(*n); i++)
		n[i] = (*next)++;
}

static void
every_counter_has_its_cell(void **state)
{
	struct fixture *f = *state;
	struct hub_counters *h = &f->rig.hub->counters;
	struct admit_counters *a = &f->admit->counters;
	struct authz_counters *who = (void *)(uintptr_t)authz_counters(
	    f->authz);
	uint64_t next = 1000;
	unsigned i;

	fill((uint64_t *)a, sizeof(*a), &next);
	fill((uint64_t *)who, sizeof(*who), &next);
	fill(h->n_closed, sizeof(h->n_closed), &next);
	fill(h->n_gaps, sizeof(h->n_gaps), &next);
	h->n_opened = next++;
	h->n_heartbeats = next++;
	h->n_heartbeats_failed = next++;
	h->n_replayed = next++;
	h->out.n_writes = next++;
	h->out.n_bytes = next++;
	h->out.n_short_writes = next++;
	h->out.n_events = next++;
	h->out.n_duplicates = next++;
	for (i = 0; i < FRONTS; i++) {
		h->n_front_opened[i] = 500 + i * 10;
		h->n_front_closed[i] = 300 + i;
	}
	worker_metrics_lost_span(f->worker_metrics);
	worker_metrics_lost_span(f->worker_metrics);
	report(f);
	for (i = 0; i < ADMIT_REJECTS; i++)
		assert_series(f, "sse_streams_rejected_total",
		    admit_reject_name((enum admit_reject)i), a->n_rejected[i]);
	assert_series(f, "sse_requests_refused_total", "400",
	    a->n_refused[ADMIT_400]);
	assert_series(f, "sse_requests_refused_total", "406",
	    a->n_refused[ADMIT_406]);
	assert_series(f, "sse_requests_refused_total", "other",
	    a->n_refused[ADMIT_OTHER]);
	for (i = 0; i < TOKEN_FAULT_COUNT; i++)
		assert_series(f, "sse_tokens_total",
		    i == TOKEN_NONE ? "good"
				    : token_fault_name((enum token_fault)i),
		    who->n_tokens[i]);
	assert_series(f, "sse_access_refused_total", "rules",
	    who->n_refused[0]);
	assert_series(f, "sse_access_refused_total", "application",
	    who->n_refused[1]);
	for (i = 0; i < GAP_CODES; i++) {
		const char *code = frame_gap_name((enum frame_gap_code)i);

		assert_series(f, "sse_last_event_id_mismatch_total", code,
		    a->n_mismatch[i]);
		assert_series(f, "sse_gaps_total", code, h->n_gaps[i]);
	}
	for (i = 0; i < STREAM_ENDS; i++)
		assert_series(f, "sse_streams_closed_total",
		    stream_log_end_name((enum stream_end)i), h->n_closed[i]);
	for (i = 0; i < FRONTS; i++) {
		const char *front = frontend_name((enum front)i);

		assert_series(f, "sse_front_streams_rejected_total", front,
		    a->n_front_rejected[i]);
		assert_series(f, "sse_front_streams_opened_total", front,
		    500 + i * 10);
		assert_series(f, "sse_front_streams_closed_total", front,
		    300 + i);
		assert_series(f, "sse_front_streams_open", front, 200 + i * 9);
	}
	ASSERT_CELL(f, RECONNECTS, a->n_came_back);
	ASSERT_CELL(f, RESUMES_OK, a->n_resumes_ok);
	ASSERT_CELL(f, RESUMES_GAP, a->n_resumes_gap);
	ASSERT_CELL(f, RESUMES_FAILED, a->n_resumes_failed);
	ASSERT_CELL(f, STREAMS_OPENED, h->n_opened);
	ASSERT_CELL(f, HEARTBEATS, h->n_heartbeats);
	ASSERT_CELL(f, HEARTBEATS_FAILED, h->n_heartbeats_failed);
	ASSERT_CELL(f, REPLAY_EVENTS, h->n_replayed);
	ASSERT_CELL(f, WRITES, h->out.n_writes);
	ASSERT_CELL(f, BYTES_SENT, h->out.n_bytes);
	ASSERT_CELL(f, SHORT_WRITES, h->out.n_short_writes);
	ASSERT_CELL(f, EVENTS_SENT, h->out.n_events);
	ASSERT_CELL(f, DUPLICATES, h->out.n_duplicates);
	ASSERT_CELL(f, SPANS_DROPPED, 2);
}

/* Plain CGI has no acceptor, and tells of none. */
static void
what_the_acceptor_counts_is_reported(void **state)
{
#define X(member, word) word,
	static const char *const words[] = {ACCEPTOR_REFUSAL_LIST(X)};
#undef X
	struct fixture *f = *state;
	struct acceptor_counters n = {.n_timeouts = 7, .n_paused = 8};
	uint64_t next = 2000;
	unsigned i;

	report(f);
	assert_false(f->got.known[METRIC_ACCEPT_PAUSES_WORKER]);
	fill(n.n_refused, sizeof(n.n_refused), &next);
	f->parts.acceptor = &n;
	report(f);
	for (i = 0; i < ACCEPTOR_REFUSALS; i++)
		assert_series(f, "sse_requests_unread_total", words[i],
		    n.n_refused[i]);
	ASSERT_CELL(f, REQUEST_TIMEOUTS, 7);
	assert_series(f, "sse_accept_pauses_total", "worker", 8);
}

static void
histograms_are_reported_bucket_by_bucket(void **state)
{
	struct fixture *f = *state;
	struct hub_counters *h = &f->rig.hub->counters;
	struct hist got;

	hist_add(&h->out.delivery, HIST_TIME, 70, 3);
	worker_metrics_woken(f->worker_metrics, 99999999);
	worker_metrics_woken(f->worker_metrics, 99999999);
	report(f);
	metrics_get_hist(&f->got, METRIC_DELIVERY, &got);
	assert_int_equal(got.n[1], 3);
	assert_int_equal(got.sum, 210);
	metrics_get_hist(&f->got, METRIC_WAKE, &got);
	assert_int_equal(got.n[HIST_BOUNDS], 2);
	assert_int_equal(got.sum, 2 * 99999999u);
}

static void
pubd_metrics_tell_of_now(void **state)
{
	struct fixture *f = *state;
	uint64_t fds;
	int i;

	report(f);
	fds = f->got.cell[METRIC_FDS_USED];
	assert_true(fds > 3);
	ASSERT_CELL(f, FDS_LIMIT, 20000);
	ASSERT_CELL(f, FDS_PERMILLE, fds * 1000 / 20000);
	assert_true(f->got.cell[METRIC_RSS] > 1000000);
	for (i = 0; i < 3; i++)
		rig_join(&f->rig, &f->c[i],
		    &(struct rig_wish){.channels = "a"});
	rig_turn(&f->rig);
	rig_push(&f->rig, 1, "a", SPAN("x"));
	rig_push(&f->rig, 2, "a", SPAN("x"));
	f->parts.n_fds = 7;
	report(f);
	ASSERT_CELL(f, FDS_USED, fds + 3 + 5);
	ASSERT_CELL(f, STREAMS_HELD, 3);
	ASSERT_CELL(f, STREAM_BYTES, 3 * sizeof(struct stream));
	ASSERT_CELL(f, RING_EVENTS, 2);
	ASSERT_CELL(f, RING_OLDEST, 1);
	assert_true(f->got.cell[METRIC_RING_BYTES] > 0);
	ASSERT_CELL(f, LAGGING, 0);
	f->c[0].budget = 0;
	rig_push(&f->rig, 3, "a", SPAN("x"));
	rig_push(&f->rig, 4, "a", SPAN("x"));
	report(f);
	ASSERT_CELL(f, LAGGING, 1);
	ASSERT_CELL(f, LAG_MAX, 2);
	ASSERT_CELL(f, REPLAYING, 0);
	ASSERT_CELL(f, REPLAY_DEPTH, 0);
}

static void
windows_reach_back_so_far_and_no_further(void **state)
{
	struct fixture *f = *state;
	struct hub_counters *h = &f->rig.hub->counters;
	int i;

	/* Each second 1 opened, 2 asked, 3 frames, 5 writes, 7 twice. */
	for (i = 0; i < 100; i++) {
		h->n_opened += 1;
		f->admit->counters.n_asked += 2;
		h->out.n_events += 3;
		h->out.n_writes += 5;
		h->out.n_duplicates += 7;
		worker_metrics_tick(f->worker_metrics, &f->parts);
		report(f);
		ASSERT_CELL(f, OPENED_60S, i < 60 ? i + 1 : 60);
		ASSERT_CELL(f, ASKED_60S, i < 60 ? 2 * i + 2 : 120);
		ASSERT_CELL(f, FRAMES_5S, i < 5 ? 3 * i + 3 : 15);
		ASSERT_CELL(f, WRITES_5S, i < 5 ? 5 * i + 5 : 25);
		ASSERT_CELL(f, DUPLICATES_5S, i < 5 ? 7 * i + 7 : 35);
	}
}

static void
slots_are_those_of_the_tightest_location(void **state)
{
	struct fixture *f = *state;
	int32_t slot;
	int i;

	report(f);
	assert_false(f->got.known[METRIC_FRONT_SLOTS_FREE]);
	assert_false(f->got.known[METRIC_FRONT_SLOTS_LIMIT]);
	f->admit->pool[0] = slots_count_begin(1, 10);
	f->admit->pool[1] = slots_count_begin(2, 20);
	f->admit->n_pools = 2;
	report(f);
	ASSERT_CELL(f, FRONT_SLOTS_FREE, 10);
	ASSERT_CELL(f, FRONT_SLOTS_LIMIT, 10);
	for (i = 0; i < 15; i++)
		assert_status(slots_take(f->slots, 2, 20, &slot), ST_OK);
	report(f);
	ASSERT_CELL(f, FRONT_SLOTS_FREE, 5);
	ASSERT_CELL(f, FRONT_SLOTS_LIMIT, 20);
}

static void
the_last_error_goes_with_it(void **state)
{
	struct fixture *f = *state;
	struct span value;

	report(f);
	assert_status(
	    jsontext_member(buf_span(&f->line), SPAN("error"), &value),
	    ST_NOTFOUND);
	log_error("it \"broke\"");
	report(f);
	assert_span(member(f, "error"), SPAN("\"it \\\"broke\\\"\""));
	assert_true(member(f, "error_ms").len == 13);
}

static void
without_memory_there_is_no_report(void **state)
{
	struct fixture *f = *state;
	struct buf small;
	size_t max;

	fault_alloc_at(1);
	assert_status(
	    worker_metrics_report(f->worker_metrics, &f->parts, &f->line),
	    ST_NOMEM);
	assert_true(fault_hit());
	for (max = 0; max < 400; max += 20) {
		buf_init(&small, max);
		assert_status(
		    worker_metrics_report(f->worker_metrics, &f->parts, &small),
		    ST_FULL);
		buf_fini(&small);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(the_line_says_who_reports),
	    TEST(every_counter_has_its_cell),
	    TEST(what_the_acceptor_counts_is_reported),
	    TEST(histograms_are_reported_bucket_by_bucket),
	    TEST(pubd_metrics_tell_of_now),
	    TEST(windows_reach_back_so_far_and_no_further),
	    TEST(slots_are_those_of_the_tightest_location),
	    TEST(the_last_error_goes_with_it),
	    TEST(without_memory_there_is_no_report),
	};

	return RUN(tests);
}

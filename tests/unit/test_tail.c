/* SPDX-License-Identifier: MIT */
/* The tail: what is in the log reaches the streams once, whatever happens to
 * the log. */
#include "tail.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "hub_private.h"
#include "log.h"
#include "replay.h"
#include "rig/rig.h"
#include "rig/riglog.h"
#include "unit.h"

struct fixture {
	struct rig rig;
	struct rig_log log;
	struct conf conf;
	struct log_reader *reader;
	struct replay *replay;
	struct tail *tail;
	struct rig_client a, b, c;
	struct buf want;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct hub_options o = {.ring_bytes = 65536};

	if (f == NULL)
		return -1;
	log_init("test", LOG_TEXT, LOG_ERROR_);
	rig_log_init(&f->log);
	rig_init(&f->rig, &o);
	buf_init(&f->want, SIZE_MAX / 4);
	(void)snprintf(f->conf.database, sizeof(f->conf.database), "%s",
	    f->log.path);
	f->conf.tail_poll_ms = 5;
	*state = f;
	return 0;
}

static void
close_log(struct fixture *f)
{
	tail_free(&f->tail);
	replay_free(&f->replay);
	log_reader_free(&f->reader);
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	close_log(f);
	rig_fini(&f->rig);
	rig_log_fini(&f->log);
	buf_fini(&f->want);
	free(f);
	return 0;
}

/* As the worker: the reader, and both that read by it. */
static enum status
open_log(struct fixture *f, bool prefill, struct errmsg *err)
{
	enum status st = log_reader_new(&f->reader, f->rig.loop, &f->conf);

	if (st == ST_OK)
		st = replay_new(&f->replay, f->rig.hub, f->reader);
	if (st == ST_OK)
		st = tail_new(&f->tail, f->rig.hub, f->reader, prefill, err);
	if (st != ST_OK) {
		assert_null(f->tail);
		close_log(f);
	}
	return st;
}

static void
start(struct fixture *f, bool prefill)
{
	struct errmsg err = {""};

	if (open_log(f, prefill, &err) != ST_OK)
		fail_msg("%s", err.text);
}

/* Steps 2 to 4 of the worker's turn; true: there is more to do at once. */
static bool
turn_of_log(struct fixture *f)
{
	bool more_rows = tail_turn(f->tail), more_pages;

	hub_serve(f->rig.hub);
	status_ignore(replay_turn(f->replay, &more_pages));
	return more_rows || more_pages || hub_busy(f->rig.hub);
}

/* Did any bytes come? */
static bool
read_clients(struct fixture *f)
{
	size_t i, before = 0, after = 0;

	for (i = 0; i < f->rig.n_clients; i++) {
		before += f->rig.client[i]->text.len;
		rig_read(f->rig.client[i]);
		after += f->rig.client[i]->text.len;
	}
	return after > before;
}

/*
 * The worker's turns until nothing is left to do.  A stream whose socket was
 * full is no work until it is read; how much fits is the kernel's affair.
 */
static void
settle(struct fixture *f)
{
	int i;

	tail_wake(f->tail);
	for (i = 0; i < 5000; i++) {
		bool more;

		assert_status(loop_turn(f->rig.loop, 0), ST_OK);
		more = turn_of_log(f);
		hub_reap(f->rig.hub);
		if (!read_clients(f) && !more)
			return;
	}
	fail_msg("it does not come to rest");
}

/* Turns, without being told, until the hub's head is `id`. */
static void
wait_for_head(struct fixture *f, int64_t id)
{
	uint64_t end = loop_now_us(f->rig.loop) + 10000000;

	while (hub_head(f->rig.hub) != id) {
		assert_true(loop_now_us(f->rig.loop) < end);
		assert_status(loop_turn(f->rig.loop, 10000), ST_OK);
		(void)turn_of_log(f);
	}
	settle(f);
}

static void
join(struct fixture *f, struct rig_client *c, const char *channels,
    int64_t cursor)
{
	rig_join(&f->rig, c,
	    &(struct rig_wish){.channels = channels, .cursor = cursor});
}

static void
want_events(struct fixture *f, int64_t from, int64_t to)
{
	for (; from <= to; from++) {
		struct event e = rig_event(from, "a", SPAN("x"));

		assert_status(frame_event(&f->want, &e), ST_OK);
	}
}

static void
want_gap(struct fixture *f, enum frame_gap_code code, int64_t requested,
    const struct store_bounds *b, int64_t lost)
{
	char text[32];
	struct frame_gap g = {.code = code,
	    .requested = span_of(text, 0),
	    .position = b->oldest - 1,
	    .oldest = b->oldest,
	    .newest = b->head,
	    .lost = lost};

	g.requested.len = (size_t)snprintf(text, sizeof(text), "%lld",
	    (long long)requested);
	assert_status(frame_gap(&f->want, &g), ST_OK);
}

static void
assert_wanted(struct fixture *f, struct rig_client *c)
{
	assert_int_equal(rig_text(c).len, f->want.len);
	assert_span(rig_text(c), buf_span(&f->want));
	buf_clear(&f->want);
	rig_forget(c);
}

/* The number behind "requested": in a text. */
static int64_t
requested_in(struct span text)
{
	static const char name[] = "\"requested\":";
	const char *at = memmem(text.p, text.len, name, sizeof(name) - 1);

	assert_non_null(at);
	return strtoll(at + sizeof(name) - 1, NULL, 10);
}

/* ---- at the start ------------------------------------------------------- */

static void
an_empty_log_is_a_log(void **state)
{
	struct fixture *f = *state;

	start(f, true);
	assert_int_equal(hub_head(f->rig.hub), 0);
	join(f, &f->a, "a", 0);
	settle(f);
	assert_int_equal(f->a.s->state, STREAM_LIVE);
	rig_log_add(&f->log, "a", SPAN("x"), 1);
	settle(f);
	want_events(f, 1, 1);
	assert_wanted(f, &f->a);
}

static void
the_ring_is_filled_at_the_start_when_asked(void **state)
{
	struct fixture *f = *state;

	rig_log_add(&f->log, "a", SPAN("x"), 100);
	rig_log_trim(&f->log, 60);
	start(f, true);
	assert_int_equal(hub_head(f->rig.hub), 100);
	assert_int_equal(ring_base(f->rig.hub->ring), 40);
	assert_int_equal(ring_count(f->rig.hub->ring), 60);
	close_log(f);
	start(f, false);
	assert_int_equal(hub_head(f->rig.hub), 100);
	assert_int_equal(ring_count(f->rig.hub->ring), 0);
}

static void
a_log_that_is_not_there_is_named(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};

	(void)strcpy(f->conf.database, "/nowhere/at/all.db");
	assert_status(open_log(f, true, &err), ST_NOTFOUND);
	assert_non_null(strstr(err.text, "/nowhere"));
	assert_null(f->tail);
}

static void
starting_fails_cleanly_without_memory(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	unsigned n;
	bool hit;

	rig_log_add(&f->log, "a", SPAN("x"), 3);
	for (n = 1, hit = true; hit; n++) {
		enum status st;

		fault_alloc_at(n);
		st = open_log(f, true, &err);
		hit = fault_hit();
		if (st == ST_OK && hit)
			close_log(f);
		else if (hit)
			assert_null(f->tail);
	}
	assert_int_equal(hub_head(f->rig.hub), 3);
}

/* ---- new events --------------------------------------------------------- */

static void
events_of_another_process_are_found_by_polling(void **state)
{
	struct fixture *f = *state;

	start(f, true);
	join(f, &f->a, "a", 0);
	settle(f);
	rig_log_add(&f->log, "a", SPAN("x"), 2000);
	wait_for_head(f, 2000);
	want_events(f, 1, 2000);
	assert_wanted(f, &f->a);
}

static void
a_burst_larger_than_the_ring_comes_whole(void **state)
{
	struct fixture *f = *state;

	start(f, true);
	join(f, &f->a, "a", 0);
	join(f, &f->b, "*", 0);
	settle(f);
	rig_log_add(&f->log, "a", SPAN("x"), 30000);
	settle(f);
	want_events(f, 1, 30000);
	assert_wanted(f, &f->a);
	want_events(f, 1, 30000);
	assert_wanted(f, &f->b);
}

static void
an_event_larger_than_the_ring_comes_in_its_place(void **state)
{
	struct fixture *f = *state;
	struct event e;
	char *data = malloc(3u << 20);

	assert_non_null(data);
	memset(data, '\n', 3u << 20);
	start(f, true);
	join(f, &f->a, "a", 0);
	settle(f);
	rig_log_add(&f->log, "a", SPAN("x"), 2);
	rig_log_add(&f->log, "a", span_of(data, 3u << 20), 1);
	rig_log_add(&f->log, "a", SPAN("x"), 2);
	settle(f);
	want_events(f, 1, 2);
	e = rig_event(3, "a", span_of(data, 3u << 20));
	assert_status(frame_event(&f->want, &e), ST_OK);
	want_events(f, 4, 5);
	assert_wanted(f, &f->a);
	assert_int_equal(f->a.s->state, STREAM_LIVE);
	free(data);
}

static void
an_event_no_frame_can_hold_stops_nobody(void **state)
{
	struct fixture *f = *state;
	struct store_bounds b = {.head = 4, .oldest = 4};

	if (unit_under_valgrind())
		skip(); /* 45 MB, byte by byte: it would take an hour */
	start(f, true);
	join(f, &f->a, "a", 0);
	join(f, &f->b, "b", 0);
	settle(f);
	rig_log_add(&f->log, "a", SPAN("x"), 2);
	rig_log_sql(&f->log,
	    "INSERT INTO events (channel, event, prev, data) VALUES "
	    "('a', 'message', 0, CAST(zeroblob(45000000) AS TEXT))");
	rig_log_add(&f->log, "a", SPAN("x"), 1);
	settle(f);
	want_events(f, 1, 2);
	want_gap(f, GAP_EXPIRED, 2, &b, 1);
	want_events(f, 4, 4);
	assert_int_equal(rig_text(&f->a).len, f->want.len);
	assert_int_equal(f->a.s->state, STREAM_LIVE);
	assert_int_equal(f->b.s->state, STREAM_LIVE);
	assert_int_equal(log_reader_n_errors(f->reader), 0);
}

/* ---- holes and retention ------------------------------------------------ */

static void
ids_that_were_never_used_are_no_gap(void **state)
{
	struct fixture *f = *state;

	start(f, true);
	join(f, &f->a, "a", 0);
	settle(f);
	rig_log_add(&f->log, "a", SPAN("x"), 10);
	rig_log_sql(&f->log, "DELETE FROM events WHERE id IN (2, 3, 7, 9)");
	settle(f);
	want_events(f, 1, 1);
	want_events(f, 4, 6);
	want_events(f, 8, 8);
	want_events(f, 10, 10);
	assert_wanted(f, &f->a);
	assert_int_equal(f->rig.hub->counters.n_gaps[GAP_EXPIRED], 0);
}

static void
ids_that_go_missing_while_it_runs_are_counted(void **state)
{
	struct fixture *f = *state;

	rig_log_add(&f->log, "a", SPAN("x"), 10);
	rig_log_sql(&f->log, "DELETE FROM events WHERE id IN (2, 3)");
	start(f, true);
	assert_int_equal(tail_n_missing(f->tail), 0);
	rig_log_add(&f->log, "a", SPAN("x"), 10);
	rig_log_sql(&f->log, "DELETE FROM events WHERE id IN (11, 14, 15)");
	settle(f);
	assert_int_equal(tail_n_missing(f->tail), 3);
	rig_log_add(&f->log, "a", SPAN("x"), 2);
	rig_log_sql(&f->log, "DELETE FROM events WHERE id = 22");
	settle(f);
	assert_int_equal(tail_n_missing(f->tail), 3);
	rig_log_add(&f->log, "a", SPAN("x"), 1);
	settle(f);
	assert_int_equal(tail_n_missing(f->tail), 4);
	/* What retention took is told by gaps and is not missing. */
	rig_log_add(&f->log, "a", SPAN("x"), 10);
	rig_log_trim(&f->log, 3);
	settle(f);
	assert_int_equal(hub_head(f->rig.hub), 33);
	assert_int_equal(tail_n_missing(f->tail), 4);
}

static void
retention_that_passes_live_streams_is_told(void **state)
{
	struct fixture *f = *state;
	struct store_bounds b = {.head = 22, .oldest = 18};

	rig_log_add(&f->log, "a", SPAN("x"), 2);
	start(f, true);
	join(f, &f->a, "a", 2);
	join(f, &f->b, "a", 2);
	settle(f);
	rig_log_add(&f->log, "a", SPAN("x"), 20);
	rig_log_trim(&f->log, 5);
	settle(f);
	want_gap(f, GAP_EXPIRED, 2, &b, 15);
	want_events(f, 18, 22);
	assert_wanted(f, &f->a);
	want_gap(f, GAP_EXPIRED, 2, &b, 15);
	want_events(f, 18, 22);
	assert_wanted(f, &f->b);
}

static void
trim_to_100(void *arg)
{
	struct fixture *f = arg;

	rig_log_trim(&f->log, 100);
}

static void
retention_that_passes_the_tail_between_two_pages_is_told(void **state)
{
	struct fixture *f = *state;
	struct store_bounds b = {.head = 2000, .oldest = 1901};
	int64_t upto;

	start(f, true);
	join(f, &f->a, "a", 0);
	settle(f);
	rig_log_add(&f->log, "a", SPAN("x"), 2000);
	f->a.hook = trim_to_100;
	f->a.hook_arg = f;
	settle(f);
	upto = requested_in(rig_text(&f->a));
	assert_true(upto > 0 && upto < 1900);
	want_events(f, 1, upto);
	want_gap(f, GAP_EXPIRED, upto, &b, 1900 - upto);
	want_events(f, 1901, 2000);
	assert_wanted(f, &f->a);
}

static void
a_log_that_was_emptied_past_live_streams_is_told(void **state)
{
	struct fixture *f = *state;
	struct store_bounds b = {.head = 12, .oldest = 13};

	rig_log_add(&f->log, "a", SPAN("x"), 2);
	start(f, true);
	join(f, &f->a, "a", 2);
	settle(f);
	rig_log_add(&f->log, "a", SPAN("x"), 10);
	rig_log_sql(&f->log, "DELETE FROM events");
	settle(f);
	want_gap(f, GAP_EXPIRED, 2, &b, 10);
	assert_wanted(f, &f->a);
	assert_int_equal(f->a.s->state, STREAM_LIVE);
	rig_log_add(&f->log, "a", SPAN("x"), 1);
	settle(f);
	want_events(f, 13, 13);
	assert_wanted(f, &f->a);
}

static void
retention_passes_a_lagging_stream_in_the_middle_of_its_events(void **state)
{
	struct fixture *f = *state;
	struct store_bounds b = {.head = 5010, .oldest = 4911};
	struct rig_client *c[] = {&f->a, &f->b};
	int i;

	start(f, true);
	join(f, &f->a, "a", 0);
	join(f, &f->b, "a", 0);
	settle(f);
	f->a.budget = f->b.budget = 8 + 10 * 15;
	rig_log_add(&f->log, "a", SPAN("x"), 5);
	settle(f);
	rig_log_add(&f->log, "a", SPAN("x"), 5);
	f->a.budget = f->b.budget = 5 * 15 + 8 + 1;
	settle(f);
	f->a.budget = f->b.budget = 0;
	rig_log_add(&f->log, "a", SPAN("x"), 5000);
	settle(f);
	rig_log_trim(&f->log, 100);
	f->a.budget = f->b.budget = RIG_NO_LIMIT;
	settle(f);
	for (i = 0; i < 2; i++) {
		/* What was read while they lagged is still theirs. */
		int64_t upto = requested_in(rig_text(c[i]));

		assert_true(upto >= 10 && upto < 4910);
		want_events(f, 1, upto);
		want_gap(f, GAP_EXPIRED, upto, &b, 4910 - upto);
		want_events(f, 4911, 5010);
		assert_wanted(f, c[i]);
	}
}

/* ---- another log -------------------------------------------------------- */

static void
a_log_that_took_its_place_is_told_and_read_from_its_start(void **state)
{
	struct fixture *f = *state;
	struct store_bounds b = {.head = 3, .oldest = 1};

	rig_log_add(&f->log, "a", SPAN("x"), 20);
	start(f, true);
	join(f, &f->a, "a", 20);
	join(f, &f->b, "a", 20);
	settle(f);
	f->b.budget = 8 + 3;
	rig_log_add(&f->log, "a", SPAN("x"), 1);
	settle(f);
	rig_forget(&f->a);
	rig_log_replace(&f->log);
	rig_log_add(&f->log, "a", SPAN("x"), 3);
	wait_for_head(f, 3);
	f->b.budget = RIG_NO_LIMIT;
	assert_status(loop_turn(f->rig.loop, 0), ST_OK);
	settle(f);
	want_gap(f, GAP_GENERATION, 21, &b, 0);
	want_events(f, 1, 3);
	assert_wanted(f, &f->a);
	assert_null(f->b.s); /* inside a record of the old log */
}

static void
pages_of_the_old_log_are_not_given_for_the_new_one(void **state)
{
	struct fixture *f = *state;
	struct store_bounds b = {.head = 3000, .oldest = 1};
	int64_t id;

	rig_log_add(&f->log, "a", SPAN("x"), 3000);
	start(f, true);
	join(f, &f->a, "a", 0);
	settle(f);
	rig_forget(&f->a);
	rig_log_replace(&f->log);
	rig_log_add(&f->log, "a", SPAN("new"), 3000);
	tail_wake(f->tail);
	while (!log_reader_is_open(f->reader) ||
	    f->rig.hub->counters.n_gaps[GAP_GENERATION] == 0) {
		assert_status(loop_turn(f->rig.loop, 10000), ST_OK);
		(void)turn_of_log(f);
	}
	settle(f);
	want_gap(f, GAP_GENERATION, 3000, &b, 0);
	for (id = 1; id <= 3000; id++) {
		struct event e = rig_event(id, "a", SPAN("new"));

		assert_status(frame_event(&f->want, &e), ST_OK);
	}
	assert_wanted(f, &f->a);
}

static void
a_log_that_went_back_is_told(void **state)
{
	struct fixture *f = *state;
	struct store_bounds b = {.head = 5, .oldest = 1};

	rig_log_add(&f->log, "a", SPAN("x"), 9);
	start(f, true);
	join(f, &f->a, "a", 9);
	settle(f);
	/* As a restored backup would look. */
	rig_log_sql(&f->log,
	    "DELETE FROM events WHERE id > 5;"
	    "UPDATE sqlite_sequence SET seq = 5 WHERE name = 'events'");
	settle(f);
	want_gap(f, GAP_AHEAD, 9, &b, 0);
	want_events(f, 1, 5);
	assert_wanted(f, &f->a);
	rig_log_add(&f->log, "a", SPAN("x"), 1);
	settle(f);
	want_events(f, 6, 6);
	assert_wanted(f, &f->a);
}

static void
streams_stay_open_while_the_log_is_away(void **state)
{
	struct fixture *f = *state;
	char away[300];
	uint64_t end;

	rig_log_add(&f->log, "a", SPAN("x"), 3000);
	start(f, true);
	join(f, &f->a, "a", 3000);
	join(f, &f->b, "a", 0);
	settle(f);
	rig_forget(&f->b);
	(void)snprintf(away, sizeof(away), "%s.away", f->log.path);
	assert_int_equal(rename(f->log.path, away), 0);
	end = loop_now_us(f->rig.loop) + 5000000;
	while (log_reader_is_open(f->reader)) {
		assert_true(loop_now_us(f->rig.loop) < end);
		assert_status(loop_turn(f->rig.loop, 10000), ST_OK);
		(void)turn_of_log(f);
	}
	join(f, &f->c, "a", 0);
	settle(f);
	assert_int_equal(f->c.s->state, STREAM_PAGING);
	assert_int_equal(f->a.s->state, STREAM_LIVE);
	assert_int_equal(rename(away, f->log.path), 0);
	rig_log_add(&f->log, "a", SPAN("x"), 1);
	wait_for_head(f, 3001);
	want_events(f, 3001, 3001);
	assert_wanted(f, &f->a);
	want_events(f, 1, 3001);
	assert_wanted(f, &f->c);
}

static void
positions_are_judged_by_what_the_log_has_now(void **state)
{
	struct fixture *f = *state;

	start(f, true);
	rig_log_add(&f->log, "a", SPAN("x"), 10000);
	assert_status(tail_refresh(f->tail), ST_OK);
	assert_int_equal(hub_bounds(f->rig.hub)->head, 10000);
	assert_int_equal(hub_head(f->rig.hub), 0);
	tail_catch_up(f->tail, 10000);
	assert_int_equal(hub_head(f->rig.hub), 10000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_empty_log_is_a_log),
	    TEST(the_ring_is_filled_at_the_start_when_asked),
	    TEST(a_log_that_is_not_there_is_named),
	    TEST(starting_fails_cleanly_without_memory),
	    TEST(events_of_another_process_are_found_by_polling),
	    TEST(a_burst_larger_than_the_ring_comes_whole),
	    TEST(an_event_larger_than_the_ring_comes_in_its_place),
	    TEST(an_event_no_frame_can_hold_stops_nobody),
	    TEST(ids_that_were_never_used_are_no_gap),
	    TEST(ids_that_go_missing_while_it_runs_are_counted),
	    TEST(retention_that_passes_live_streams_is_told),
	    TEST(retention_that_passes_the_tail_between_two_pages_is_told),
	    TEST(a_log_that_was_emptied_past_live_streams_is_told),
	    TEST(retention_passes_a_lagging_stream_in_the_middle_of_its_events),
	    TEST(a_log_that_took_its_place_is_told_and_read_from_its_start),
	    TEST(pages_of_the_old_log_are_not_given_for_the_new_one),
	    TEST(a_log_that_went_back_is_told),
	    TEST(streams_stay_open_while_the_log_is_away),
	    TEST(positions_are_judged_by_what_the_log_has_now),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
/* Pages of the store: who is behind the ring gets all that is retained, and
 * hears of what is not. */
#include "replay.h"

#include "hub_private.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "frame.h"
#include "rig/rig.h"
#include "rig/riglog.h"
#include "unit.h"

#define MIB (1u << 20)

struct fixture {
	struct rig rig;
	struct rig_log log;
	struct conf conf;
	struct log_reader *reader;
	struct replay *replay;
	struct buf want;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct hub_options o = {.ring_bytes = 65536};
	struct errmsg err = {""};
	struct store_bounds b;

	if (f == NULL)
		return -1;
	rig_log_init(&f->log);
	rig_init(&f->rig, &o);
	buf_init(&f->want, SIZE_MAX / 4);
	(void)snprintf(f->conf.database, sizeof(f->conf.database), "%s",
	    f->log.path);
	f->conf.tail_poll_ms = 1000;
	*state = f;
	if (log_reader_new(&f->reader, f->rig.loop, &f->conf) != ST_OK ||
	    log_reader_open(f->reader, &b, &err) != ST_OK)
		return -1;
	return replay_new(&f->replay, f->rig.hub, f->reader) == ST_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	replay_free(&f->replay);
	log_reader_free(&f->reader);
	rig_fini(&f->rig);
	rig_log_fini(&f->log);
	buf_fini(&f->want);
	free(f);
	return 0;
}

/* The hub stands at the log's head, its ring empty. */
static void
stand_at_head(struct fixture *f)
{
	struct store_bounds b;

	assert_status(store_reader_bounds(f->log.r, &b), ST_OK);
	hub_reset(f->rig.hub, &b, b.head);
}

static enum status
take_into_hub(void *arg, const struct event *e)
{
	if (!hub_take(arg, e))
		hub_dispatch(arg);
	return ST_OK;
}

/* The ring holds what comes after this id. */
static void
fill_ring_from(struct fixture *f, int64_t base)
{
	struct store_page p = {.after_id = base,
	    .max_rows = 1000,
	    .take = take_into_hub,
	    .arg = f->rig.hub};
	struct store_bounds b;

	assert_status(store_reader_bounds(f->log.r, &b), ST_OK);
	hub_reset(f->rig.hub, &b, base);
	assert_status(store_read(f->log.r, &p), ST_OK);
	hub_dispatch(f->rig.hub);
	assert_int_equal(hub_head(f->rig.hub), b.head);
}

/* Turns until nobody waits; false when that does not come. */
static bool
settle(struct fixture *f)
{
	bool more;
	int i;
	size_t c;

	for (i = 0; i < 5000; i++) {
		rig_turn(&f->rig);
		assert_status(replay_turn(f->replay, &more), ST_OK);
		for (c = 0; c < f->rig.n_clients; c++)
			rig_read(f->rig.client[c]);
		if (!more && !hub_busy(f->rig.hub))
			return true;
	}
	return false;
}

static void
want_event(struct fixture *f, int64_t id, const char *channel, struct span data)
{
	struct event e = rig_event(id, channel, data);

	assert_status(frame_event(&f->want, &e), ST_OK);
}

static void
want_gap(struct fixture *f, const char *requested, int64_t oldest,
    int64_t newest, int64_t position, int64_t lost)
{
	struct frame_gap g = {.code = GAP_EXPIRED,
	    .requested = span_str(requested),
	    .position = position,
	    .oldest = oldest,
	    .newest = newest,
	    .lost = lost};

	assert_status(frame_gap(&f->want, &g), ST_OK);
}

static void
assert_wanted(struct fixture *f, struct rig_client *c)
{
	assert_int_equal(rig_text(c).len, f->want.len);
	assert_span(rig_text(c), buf_span(&f->want));
	buf_clear(&f->want);
}

static void
join_at(struct fixture *f, struct rig_client *c, const char *channels,
    int64_t cursor)
{
	rig_join(&f->rig, c,
	    &(struct rig_wish){.channels = channels, .cursor = cursor});
}

/* ---- all of it, once ---------------------------------------------------- */

static void
a_stream_from_the_beginning_gets_the_whole_log(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c;
	int64_t id;

	rig_log_add(&f->log, "a", SPAN("some text"), 20000);
	stand_at_head(f);
	join_at(f, &c, "a", 0);
	assert_true(settle(f));
	for (id = 1; id <= 20000; id++)
		want_event(f, id, "a", SPAN("some text"));
	assert_wanted(f, &c);
	assert_int_equal(c.s->state, STREAM_LIVE);
	assert_int_equal(f->rig.hub->counters.n_replayed, 20000);
}

static void
rare_events_are_found_over_many_pages(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c;
	int i;

	for (i = 0; i < 5; i++) {
		rig_log_add(&f->log, "b", SPAN("x"), 4095 + i);
		rig_log_add(&f->log, "rare", SPAN("r"), 1);
	}
	stand_at_head(f);
	join_at(f, &c, "rare", 0);
	assert_true(settle(f));
	want_event(f, 4096, "rare", SPAN("r"));
	want_event(f, 4096 + 4097, "rare", SPAN("r"));
	want_event(f, 4096 + 4097 + 4098, "rare", SPAN("r"));
	want_event(f, 4096 + 4097 + 4098 + 4099, "rare", SPAN("r"));
	want_event(f, 4096 + 4097 + 4098 + 4099 + 4100, "rare", SPAN("r"));
	assert_wanted(f, &c);
	assert_int_equal(c.s->state, STREAM_LIVE);
}

static void
a_stream_at_any_place_of_a_page_gets_what_follows(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c[40];
	int64_t id, i;

	rig_log_add(&f->log, "a", SPAN("x"), 20);
	rig_log_add(&f->log, "b", SPAN("x"), 20);
	stand_at_head(f);
	for (i = 0; i < 40; i++)
		join_at(f, &c[i], "a", i);
	assert_true(settle(f));
	for (i = 0; i < 40; i++) {
		for (id = i + 1; id <= 20; id++)
			want_event(f, id, "a", SPAN("x"));
		assert_wanted(f, &c[i]);
		assert_int_equal(c[i].s->state, STREAM_LIVE);
	}
	assert_int_equal(replay_n_pages(f->replay), 1);
}

static void
page_and_ring_meet_without_a_seam(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c[6];
	int64_t base, id;
	int i;

	rig_log_add(&f->log, "a", SPAN("x"), 3000);
	hub_reset(f->rig.hub, hub_bounds(f->rig.hub), 0);
	for (id = 1; id <= 3000; id++)
		rig_push(&f->rig, id, "a", SPAN("x"));
	base = ring_base(f->rig.hub->ring);
	for (i = 0; i < 6; i++)
		join_at(f, &c[i], "a", i == 5 ? 0 : base - 2 + i);
	assert_true(settle(f));
	for (i = 0; i < 6; i++) {
		for (id = i == 5 ? 1 : base - 1 + i; id <= 3000; id++)
			want_event(f, id, "a", SPAN("x"));
		assert_wanted(f, &c[i]);
	}
}

static void
a_big_event_comes_whole_in_any_pieces(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c, slow;
	char *data = malloc(3 * MIB);
	int i;

	assert_non_null(data);
	memset(data, 'd', 3 * MIB);
	data[MIB] = '\n';
	rig_log_add(&f->log, "a", SPAN("x"), 3);
	rig_log_add(&f->log, "a", span_of(data, 3 * MIB), 1);
	rig_log_add(&f->log, "a", SPAN("x"), 3);
	stand_at_head(f);
	join_at(f, &c, "a", 0);
	join_at(f, &slow, "a", 2);
	slow.budget = 1;
	for (i = 0; i < 3000 && slow.budget >= 0; i++) {
		slow.budget = i * 7919 % 100003;
		rig_turn(&f->rig);
		{
			bool more;

			assert_status(replay_turn(f->replay, &more), ST_OK);
		}
		rig_read(&slow);
		rig_read(&c);
	}
	slow.budget = RIG_NO_LIMIT;
	assert_true(settle(f));
	want_event(f, 3, "a", SPAN("x"));
	want_event(f, 4, "a", span_of(data, 3 * MIB));
	for (i = 5; i <= 7; i++)
		want_event(f, i, "a", SPAN("x"));
	assert_wanted(f, &slow);
	assert_int_equal(rig_text(&c).len, slow.text.len + 30);
	free(data);
}

static void
an_envelope_stream_gets_envelopes_from_the_store(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c;

	rig_log_add(&f->log, "a", SPAN("x"), 2);
	stand_at_head(f);
	rig_join(&f->rig, &c,
	    &(struct rig_wish){.channels = "a", .envelope = true, .cursor = 1});
	assert_true(settle(f));
	assert_span(rig_text(&c),
	    SPAN("id: 2\ndata: {\"id\":2,\"channel\":\"a\",\"event\":"
		 "\"message\",\"ts\":1000,\"trace\":null,\"prev\":1,"
		 "\"data\":\"x\"}\n\n"));
}

static void
a_crowd_at_one_place_reads_the_log_once(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c[80];
	int i;

	rig_log_add(&f->log, "a", SPAN("x"), 4000);
	stand_at_head(f);
	for (i = 0; i < 80; i++)
		join_at(f, &c[i], "a", 10);
	assert_true(settle(f));
	assert_true(replay_n_pages(f->replay) <= 2);
	for (i = 0; i < 80; i++)
		assert_int_equal(rig_text(&c[i]).len, rig_text(&c[0]).len);
}

static void
many_wishes_share_the_turns(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c[40];
	char name[40][16];
	bool more;
	int i;

	for (i = 0; i < 40; i++) {
		(void)snprintf(name[i], sizeof(name[i]), "c%d", i);
		rig_log_add(&f->log, name[i], SPAN("x"), 1);
	}
	stand_at_head(f);
	for (i = 0; i < 40; i++)
		join_at(f, &c[i], name[i], 0);
	rig_turn(&f->rig);
	assert_status(replay_turn(f->replay, &more), ST_OK);
	assert_true(more);
	assert_true(replay_n_pages(f->replay) < 40);
	assert_true(settle(f));
	for (i = 0; i < 40; i++) {
		want_event(f, i + 1, name[i], SPAN("x"));
		assert_wanted(f, &c[i]);
	}
}

/* ---- gaps --------------------------------------------------------------- */

static void
retention_that_passes_a_stream_is_told_with_numbers(void **state)
{
	struct fixture *f = *state;
	static struct rig_client at, before, past;

	rig_log_add(&f->log, "a", SPAN("x"), 100);
	rig_log_trim(&f->log, 10);
	stand_at_head(f);
	join_at(f, &past, "a", 91);
	join_at(f, &at, "a", 90);
	join_at(f, &before, "a", 89);
	assert_true(settle(f));
	assert_int_equal(rig_text(&at).len, 10 * 16 + 1);
	assert_int_equal(rig_text(&past).len, 9 * 16 + 1);
	want_gap(f, "89", 91, 100, 90, 1);
	assert_status(buf_append(&f->want, rig_text(&at)), ST_OK);
	assert_wanted(f, &before);
	assert_int_equal(f->rig.hub->counters.n_gaps[GAP_EXPIRED], 1);
}

static void
each_of_many_passed_streams_hears_of_its_own_gap(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c[20];
	char requested[16];
	int64_t id;
	int i;

	rig_log_add(&f->log, "a", SPAN("x"), 100);
	rig_log_trim(&f->log, 3);
	stand_at_head(f);
	for (i = 0; i < 20; i++)
		join_at(f, &c[i], "a", 10 + i / 2);
	assert_true(settle(f));
	for (i = 0; i < 20; i++) {
		(void)snprintf(requested, sizeof(requested), "%d", 10 + i / 2);
		want_gap(f, requested, 98, 100, 97, 87 - i / 2);
		for (id = 98; id <= 100; id++)
			want_event(f, id, "a", SPAN("x"));
		assert_wanted(f, &c[i]);
	}
}

static void
a_log_that_was_emptied_is_a_gap_up_to_its_head(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c;

	rig_log_add(&f->log, "a", SPAN("x"), 10);
	rig_log_sql(&f->log, "DELETE FROM events");
	stand_at_head(f);
	join_at(f, &c, "a", 4);
	assert_true(settle(f));
	want_gap(f, "4", 11, 10, 10, 6);
	assert_wanted(f, &c);
	assert_int_equal(c.s->state, STREAM_LIVE);
}

static void
retention_that_passed_the_tail_waits_for_it(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c;
	bool more;

	rig_log_add(&f->log, "a", SPAN("x"), 10);
	stand_at_head(f);
	rig_log_add(&f->log, "a", SPAN("x"), 10);
	rig_log_trim(&f->log, 5);
	join_at(f, &c, "a", 4);
	rig_turn(&f->rig);
	assert_status(replay_turn(f->replay, &more), ST_OK);
	assert_false(more);
	assert_int_equal(c.s->state, STREAM_PAGING);
	assert_span(rig_text(&c), SPAN(""));
	stand_at_head(f);
	assert_true(settle(f));
	want_gap(f, "4", 16, 20, 15, 11);
	assert_memory_equal(rig_text(&c).p, buf_span(&f->want).p, f->want.len);
}

static void
a_hole_in_the_middle_is_no_gap(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c, inside;

	rig_log_add(&f->log, "a", SPAN("x"), 10);
	rig_log_sql(&f->log, "DELETE FROM events WHERE id BETWEEN 3 AND 8");
	stand_at_head(f);
	join_at(f, &c, "a", 1);
	join_at(f, &inside, "a", 5);
	assert_true(settle(f));
	want_event(f, 2, "a", SPAN("x"));
	want_event(f, 9, "a", SPAN("x"));
	want_event(f, 10, "a", SPAN("x"));
	assert_wanted(f, &c);
	want_event(f, 9, "a", SPAN("x"));
	want_event(f, 10, "a", SPAN("x"));
	assert_wanted(f, &inside);
}

static void
a_hole_up_to_the_head_is_passed(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c, live;
	bool more;
	int i;

	rig_log_add(&f->log, "a", SPAN("x"), 10);
	stand_at_head(f);
	rig_log_add(&f->log, "a", SPAN("x"), 1);
	rig_log_sql(&f->log, "DELETE FROM events WHERE id BETWEEN 5 AND 10");
	join_at(f, &c, "a", 5);
	join_at(f, &live, "a", 3);
	for (i = 0; i < 4; i++) {
		rig_turn(&f->rig);
		assert_status(replay_turn(f->replay, &more), ST_OK);
	}
	assert_false(more);
	assert_false(hub_busy(f->rig.hub));
	assert_int_equal(c.s->state, STREAM_LIVE);
	rig_push(&f->rig, 11, "a", SPAN("x"));
	want_event(f, 11, "a", SPAN("x"));
	assert_wanted(f, &c);
	want_event(f, 4, "a", SPAN("x"));
	want_event(f, 11, "a", SPAN("x"));
	assert_wanted(f, &live);
}

static void
a_deleted_event_that_is_under_way_cuts_the_stream(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c;
	char *data = malloc(MIB);

	assert_non_null(data);
	memset(data, 'd', MIB);
	rig_log_add(&f->log, "a", SPAN("x"), 1);
	rig_log_add(&f->log, "a", span_of(data, MIB), 1);
	stand_at_head(f);
	join_at(f, &c, "a", 1);
	c.budget = 1000;
	rig_turn(&f->rig);
	{
		bool more;

		assert_status(replay_turn(f->replay, &more), ST_OK);
	}
	assert_int_equal(c.s->state, STREAM_BLOCKED);
	rig_log_sql(&f->log, "DELETE FROM events WHERE id = 2");
	replay_reset(f->replay); /* its page has made room for others */
	c.budget = RIG_NO_LIMIT;
	assert_true(settle(f));
	assert_null(c.s);
	assert_false(c.end_request);
	free(data);
}

/* ---- strange rows ------------------------------------------------------- */

static void
an_event_that_no_frame_can_hold_is_told_and_passed(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c, other;

	if (unit_under_valgrind())
		skip(); /* 45 MB, byte by byte: it would take an hour */
	rig_log_add(&f->log, "a", SPAN("x"), 2);
	rig_log_sql(&f->log,
	    "INSERT INTO events (channel, event, prev, data) VALUES "
	    "('a', 'message', 0, CAST(zeroblob(45000000) AS TEXT))");
	rig_log_add(&f->log, "a", SPAN("x"), 1);
	rig_log_add(&f->log, "b", SPAN("x"), 1);
	stand_at_head(f);
	join_at(f, &c, "a", 1);
	join_at(f, &other, "b", 1);
	assert_true(settle(f));
	want_event(f, 2, "a", SPAN("x"));
	want_gap(f, "2", 1, 5, 3, 1);
	want_event(f, 4, "a", SPAN("x"));
	assert_wanted(f, &c);
	want_event(f, 5, "b", SPAN("x"));
	assert_wanted(f, &other);
}

static void
odd_names_and_ids_do_no_harm(void **state)
{
	struct fixture *f = *state;
	static struct rig_client all, a;

	rig_log_sql(&f->log,
	    "INSERT INTO events (ts, channel, event, prev, json, data) "
	    "VALUES (0, '', '', 0, 1, 'no json'), "
	    "(0, hex(zeroblob(150)), hex(zeroblob(150)), 0, 1, char(10)), "
	    "(0, 'a', 'control.close', 0, 1, '\"a' || char(10) || 'id: 9'), "
	    "(0, 'a', 'x' || char(10) || 'data: y', 0, 7, char(13))");
	rig_log_sql(&f->log,
	    "INSERT INTO events (ts, id, channel, prev, data) VALUES "
	    "(0, 4611686018427387904, 'a', 0, 'far')");
	stand_at_head(f);
	rig_join(&f->rig, &all,
	    &(struct rig_wish){.channels = "*", .envelope = true});
	join_at(f, &a, "a", 0);
	assert_true(settle(f));
	assert_span(rig_text(&a),
	    SPAN("id: 3\ndata: \"a\ndata: id: 9\n\n"
		 "id: 4\ndata: \ndata: \n\n"
		 "id: 4611686018427387904\ndata: far\n\n"));
	assert_span(rig_text(&all),
	    SPAN("id: 1\ndata: {\"id\":1,\"channel\":\"\",\"event\":\"\","
		 "\"ts\":0,\"trace\":null,\"prev\":0,"
		 "\"data\":\"no json\"}\n\n"
		 "id: 3\ndata: {\"id\":3,\"channel\":\"a\",\"event\":"
		 "\"control.close\",\"ts\":0,\"trace\":null,\"prev\":0,"
		 "\"data\":\"\\\"a\\nid: 9\"}\n\n"
		 "id: 4\ndata: {\"id\":4,\"channel\":\"a\",\"event\":"
		 "\"x\\ndata: y\",\"ts\":0,\"trace\":null,\"prev\":0,"
		 "\"data\":\"\\r\"}\n\n"
		 "id: 4611686018427387904\ndata: "
		 "{\"id\":4611686018427387904,\"channel\":\"a\",\"event\":"
		 "\"message\",\"ts\":0,\"trace\":null,\"prev\":0,"
		 "\"data\":\"far\"}\n\n"));
}

/* ---- last=N ------------------------------------------------------------- */

static void
the_newest_n_are_counted_among_the_wanted(void **state)
{
	struct fixture *f = *state;
	struct sub *sub = rig_sub(f->rig.hub->subs,
	    &(struct rig_wish){.channels = "a"});
	int64_t at = -1;

	assert_status(replay_newest(f->replay, sub, 3, &at), ST_OK);
	assert_int_equal(at, 0);
	rig_log_add(&f->log, "a", SPAN("x"), 10);
	/* The hub has not seen them yet: the stream will get them live. */
	assert_status(replay_newest(f->replay, sub, 3, &at), ST_OK);
	assert_int_equal(at, 0);
	rig_log_add(&f->log, "b", SPAN("x"), 10);
	stand_at_head(f);
	assert_status(replay_newest(f->replay, sub, 3, &at), ST_OK);
	assert_int_equal(at, 7);
	assert_status(replay_newest(f->replay, sub, 100, &at), ST_OK);
	assert_int_equal(at, 0);
	rig_log_add(&f->log, "a", SPAN("x"), 10);
	assert_status(replay_newest(f->replay, sub, 1, &at), ST_OK);
	assert_int_equal(at, 9);
	subs_unref(f->rig.hub->subs, &sub);
}

/* ---- failures ----------------------------------------------------------- */

static void
without_memory_a_page_comes_later(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c;
	unsigned n;
	bool more;

	rig_log_add(&f->log, "a", SPAN("x"), 2000);
	stand_at_head(f);
	for (n = 1; n < 20; n++) {
		replay_reset(f->replay);
		join_at(f, &c, "a", 0);
		rig_turn(&f->rig);
		fault_alloc_at(n);
		status_ignore(replay_turn(f->replay, &more));
		(void)fault_hit();
		assert_true(settle(f));
		if (c.s != NULL) {
			int64_t id;

			for (id = 1; id <= 2000; id++)
				want_event(f, id, "a", SPAN("x"));
			assert_wanted(f, &c);
			rig_leave(&c);
		}
		rig_turn(&f->rig);
		buf_fini(&c.text);
		f->rig.n_clients = 0;
	}
}

static void
one_whose_page_fails_lets_the_others_go_first(void **state)
{
	struct fixture *f = *state;
	static struct rig_client c, other;
	bool more;

	rig_log_add(&f->log, "a", SPAN("x"), 2);
	rig_log_add(&f->log, "b", SPAN("x"), 2);
	stand_at_head(f);
	join_at(f, &c, "a", 0);
	join_at(f, &other, "b", 0);
	rig_turn(&f->rig);
	fault_alloc_at(1);
	assert_status(replay_turn(f->replay, &more), ST_NOMEM);
	assert_true(fault_hit());
	assert_ptr_equal(hub_first_paging(f->rig.hub), other.s);
	assert_true(settle(f));
	assert_int_equal(c.s->state, STREAM_LIVE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* The ring has the last of them, the store the others: as without a ring. */
static void
the_newest_are_found_in_the_ring_and_behind_it(void **state)
{
	static const char *const wishes[] = {"a", "b", "a,b", "a*", "*", "z*"};
	struct fixture *f = *state;
	size_t wish;
	int n;

	for (n = 0; n < 30; n++)
		rig_log_add(&f->log, n % 7 == 0 ? "a" : "b", SPAN("x"), 1);
	for (wish = 0; wish < sizeof(wishes) / sizeof(wishes[0]); wish++) {
		struct sub *sub = rig_sub(f->rig.hub->subs,
		    &(struct rig_wish){.channels = wishes[wish]});

		for (n = 1; n < 32; n += 3) {
			int64_t in_store = -1, in_both = -1;

			stand_at_head(f);
			assert_status(
			    replay_newest(f->replay, sub, n, &in_store), ST_OK);
			fill_ring_from(f, 17);
			assert_status(
			    replay_newest(f->replay, sub, n, &in_both), ST_OK);
			assert_int_equal(in_both, in_store);
		}
		subs_unref(f->rig.hub->subs, &sub);
	}
}

/* ---- whose turn it is ---------------------------------------------------- */

static void
stand_in_queue(struct fixture *f, struct rig_client *c, uint8_t queue)
{
	hub_move(f->rig.hub, c->s, STREAM_READY);
	c->s->queue = queue;
	hub_move(f->rig.hub, c->s, STREAM_PAGING);
}

/* Four streams of one address cost another one what one of them does. */
static void
addresses_take_turns(void **state)
{
	struct fixture *f = *state;
	static struct rig_client many[4], one;
	size_t i, n_others = 0;

	rig_log_add(&f->log, "a", SPAN("some text"), 20000);
	rig_log_add(&f->log, "b", SPAN("some text"), 1);
	stand_at_head(f);
	for (i = 0; i < 4; i++) {
		join_at(f, &many[i], "a", 0);
		stand_in_queue(f, &many[i], 3);
	}
	join_at(f, &one, "b", 20000);
	stand_in_queue(f, &one, 40);
	while (one.s->state == STREAM_PAGING) {
		struct stream *s = hub_first_paging(f->rig.hub);

		n_others += s != one.s;
		hub_later(f->rig.hub, s);
		if (s == one.s)
			break;
	}
	assert_true(n_others <= 1);
	for (i = 0; i < 20; i++) { /* and so it goes on */
		struct stream *s = hub_first_paging(f->rig.hub);

		assert_int_equal(s == one.s, i % 2 == 1);
		hub_later(f->rig.hub, s);
	}
	assert_true(settle(f));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_stream_from_the_beginning_gets_the_whole_log),
	    TEST(rare_events_are_found_over_many_pages),
	    TEST(a_stream_at_any_place_of_a_page_gets_what_follows),
	    TEST(page_and_ring_meet_without_a_seam),
	    TEST(a_big_event_comes_whole_in_any_pieces),
	    TEST(an_envelope_stream_gets_envelopes_from_the_store),
	    TEST(a_crowd_at_one_place_reads_the_log_once),
	    TEST(many_wishes_share_the_turns),
	    TEST(retention_that_passes_a_stream_is_told_with_numbers),
	    TEST(each_of_many_passed_streams_hears_of_its_own_gap),
	    TEST(a_log_that_was_emptied_is_a_gap_up_to_its_head),
	    TEST(retention_that_passed_the_tail_waits_for_it),
	    TEST(a_hole_in_the_middle_is_no_gap),
	    TEST(a_hole_up_to_the_head_is_passed),
	    TEST(a_deleted_event_that_is_under_way_cuts_the_stream),
	    TEST(an_event_that_no_frame_can_hold_is_told_and_passed),
	    TEST(odd_names_and_ids_do_no_harm),
	    TEST(the_newest_n_are_counted_among_the_wanted),
	    TEST(the_newest_are_found_in_the_ring_and_behind_it),
	    TEST(addresses_take_turns),
	    TEST(without_memory_a_page_comes_later),
	    TEST(one_whose_page_fails_lets_the_others_go_first),
	};

	return RUN(tests);
}

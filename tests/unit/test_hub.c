/* SPDX-License-Identifier: MIT */
/* The fan-out: every stream gets what it wants once, whatever the kernel
 * takes of each write. */
#include "hub_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capture.h"
#include "clock.h"
#include "fault.h"
#include "log.h"
#include "rig/rig.h"
#include "unit.h"

#define BIG_BYTES (100u * 1000)

static char big[BIG_BYTES];

static void
open_rig(struct rig *r, size_t ring_bytes)
{
	struct hub_options o = {.ring_bytes = ring_bytes};
	struct store_bounds b = {.oldest = 1, .generation = "g"};

	memset(big, 'b', sizeof(big));
	rig_init(r, &o);
	hub_reset(r->hub, &b, 0);
}

static void
join(struct rig *r, struct rig_client *c, const char *channels)
{
	rig_join(r, c,
	    &(struct rig_wish){.channels = channels,
		.cursor = hub_head(r->hub)});
	rig_turn(r);
	assert_int_equal(c->s->state, STREAM_LIVE);
}

/* Text of events `from` to `to` on a channel. */
static void
expect(struct buf *want, int64_t from, int64_t to, struct span data)
{
	for (; from <= to; from++) {
		struct event e = rig_event(from, "a", data);

		assert_status(frame_event(want, &e), ST_OK);
	}
}

static void
assert_text(struct rig_client *c, int64_t from, int64_t to, struct span data)
{
	struct buf want;

	buf_init(&want, SIZE_MAX / 4);
	expect(&want, from, to, data);
	assert_int_equal(rig_text(c).len, want.len);
	assert_span(rig_text(c), buf_span(&want));
	buf_fini(&want);
}

static void
push_many(struct rig *r, int64_t from, int64_t to)
{
	for (; from <= to; from++)
		rig_push(r, from, "a", SPAN("x"));
}

/* ---- live --------------------------------------------------------------- */

static void
live_streams_get_what_they_want(void **state)
{
	struct rig r;
	struct rig_client a, all, prefix, typed, cgi;
	struct event e = rig_event(4, "a", SPAN("x"));

	(void)state;
	open_rig(&r, 0);
	join(&r, &a, "a");
	join(&r, &all, "*");
	join(&r, &prefix, "b*");
	rig_join(&r, &typed,
	    &(struct rig_wish){.channels = "a", .events = "t"});
	rig_join(&r, &cgi, &(struct rig_wish){.channels = "a", .cgi = true});
	rig_turn(&r);
	rig_push(&r, 1, "a", SPAN("1"));
	rig_push(&r, 2, "b", SPAN("2"));
	rig_push(&r, 3, "bc", SPAN("3"));
	e.event = SPAN("t");
	(void)hub_take(r.hub, &e);
	hub_dispatch(r.hub);
	assert_span(rig_text(&a),
	    SPAN("id: 1\ndata: 1\n\n"
		 "id: 4\nevent: t\ndata: x\n\n"));
	assert_span(rig_text(&cgi),
	    SPAN("id: 1\ndata: 1\n\n"
		 "id: 4\nevent: t\ndata: x\n\n"));
	assert_span(rig_text(&prefix),
	    SPAN("id: 2\ndata: 2\n\nid: 3\ndata: 3\n\n"));
	assert_span(rig_text(&typed), SPAN("id: 4\nevent: t\ndata: x\n\n"));
	assert_int_equal(rig_text(&all).len, 15 * 3 + 24);
	assert_int_equal(r.hub->counters.out.n_events, 2 + 2 + 2 + 1 + 4);
	rig_fini(&r);
}

static void
what_is_taken_together_goes_out_as_one_record(void **state)
{
	struct rig r;
	struct rig_client c;
	int64_t id;

	(void)state;
	open_rig(&r, 0);
	join(&r, &c, "a");
	for (id = 1; id <= 40; id++) {
		struct event e = rig_event(id, "a", SPAN("x"));

		assert_true(hub_take(r.hub, &e));
	}
	hub_dispatch(r.hub);
	assert_text(&c, 1, 40, SPAN("x"));
	assert_int_equal(c.n_records, 1);
	assert_int_equal(r.hub->counters.out.n_writes, 1);
	rig_fini(&r);
}

static void
an_event_that_two_patterns_of_a_stream_match_comes_once(void **state)
{
	struct rig r;
	struct rig_client c;

	(void)state;
	open_rig(&r, 0);
	join(&r, &c, "a,a*,*");
	push_many(&r, 1, 3);
	assert_text(&c, 1, 3, SPAN("x"));
	rig_fini(&r);
}

static void
a_stream_that_dies_in_a_dispatch_leaves_the_others_alone(void **state)
{
	struct rig r;
	struct rig_client c[5];
	int i;

	(void)state;
	open_rig(&r, 0);
	for (i = 0; i < 5; i++)
		join(&r, &c[i], "a");
	rig_leave(&c[0]);
	rig_leave(&c[2]);
	rig_leave(&c[4]);
	push_many(&r, 1, 2);
	hub_reap(r.hub);
	assert_text(&c[1], 1, 2, SPAN("x"));
	assert_text(&c[3], 1, 2, SPAN("x"));
	assert_int_equal(hub_n_streams(r.hub), 2);
	assert_int_equal(r.n_ended, 3);
	rig_leave(&c[1]);
	rig_leave(&c[3]);
	rig_turn(&r);
	assert_int_equal(hub_n_streams(r.hub), 0);
	assert_int_equal(subs_count(r.hub->subs), 0);
	rig_fini(&r);
}

/* ---- short writes ------------------------------------------------------- */

/* Three events, of which the first write takes `budget` bytes. */
static void
cut_after(int64_t budget, struct span data, bool cgi)
{
	struct rig r;
	struct rig_client c;
	int64_t id;

	open_rig(&r, 4u << 20);
	rig_join(&r, &c, &(struct rig_wish){.channels = "a", .cgi = cgi});
	rig_turn(&r);
	c.budget = budget;
	for (id = 1; id <= 3; id++) {
		struct event e = rig_event(id, "a", data);

		(void)hub_take(r.hub, &e);
	}
	hub_dispatch(r.hub);
	rig_turn(&r);
	rig_push(&r, 4, "a", data);
	rig_read(&c);
	c.budget = RIG_NO_LIMIT;
	rig_settle(&r, 1000);
	assert_text(&c, 1, 4, data);
	assert_int_equal(c.left + c.n_head, 0);
	assert_int_equal(c.s->state, STREAM_LIVE);
	rig_push(&r, 5, "a", data);
	rig_settle(&r, 1000);
	assert_text(&c, 1, 5, data);
	assert_int_equal(r.hub->counters.out.n_events, 5);
	rig_fini(&r);
}

static void
a_write_cut_at_any_byte_is_continued_there(void **state)
{
	int64_t budget;

	(void)state;
	/* header 8, three frames of 15 */
	for (budget = 0; budget <= 8 + 3 * 15 + 8 + 15; budget++) {
		cut_after(budget, SPAN("x"), false);
		cut_after(budget, SPAN("x"), true);
	}
}

static void
an_event_longer_than_a_record_is_continued(void **state)
{
	static const int64_t budgets[] = {0, 1, 7, 8, 9, 32767, 32768, 32775,
	    32776, 32777, 65535, 65536, 65551, 65552, 65553, 70000, 100500,
	    230000, 300500};
	size_t i;

	(void)state;
	memset(big, 'b', sizeof(big));
	for (i = 0; i < sizeof(budgets) / sizeof(budgets[0]); i++) {
		cut_after(budgets[i], span_of(big, sizeof(big)), false);
		cut_after(budgets[i], span_of(big, sizeof(big)), true);
	}
}

static void
a_stream_blocked_between_two_records_loses_nothing(void **state)
{
	struct rig r;
	struct rig_client c;
	int64_t id, budget, record = 8 + 13 + 20000 + 1;

	(void)state;
	for (budget = record - 2; budget <= record + 2; budget++) {
		open_rig(&r, 0);
		join(&r, &c, "a");
		c.budget = budget;
		for (id = 1; id <= 4; id++) {
			struct event e = rig_event(id, "a",
			    span_of(big, 20000));

			assert_true(hub_take(r.hub, &e));
		}
		hub_dispatch(r.hub);
		rig_read(&c);
		c.budget = RIG_NO_LIMIT;
		rig_settle(&r, 10);
		assert_text(&c, 1, 4, span_of(big, 20000));
		rig_fini(&r);
	}
}

static void
a_blocked_stream_costs_no_turns(void **state)
{
	struct rig r;
	struct rig_client c;

	(void)state;
	open_rig(&r, 0);
	join(&r, &c, "a");
	c.budget = 3;
	push_many(&r, 1, 1);
	assert_int_equal(c.s->state, STREAM_BLOCKED);
	assert_false(hub_busy(r.hub));
	assert_true(c.s->wants_out);
	c.budget = RIG_NO_LIMIT;
	rig_settle(&r, 10);
	assert_false(c.s->wants_out);
	assert_false(hub_busy(r.hub));
	assert_text(&c, 1, 1, SPAN("x"));
	rig_fini(&r);
}

static void
a_slow_stream_does_not_hold_up_the_others(void **state)
{
	struct rig r;
	struct rig_client slow, fast;

	(void)state;
	open_rig(&r, 0);
	join(&r, &slow, "a");
	join(&r, &fast, "a");
	slow.budget = 0;
	push_many(&r, 1, 100);
	assert_text(&fast, 1, 100, SPAN("x"));
	slow.budget = RIG_NO_LIMIT;
	rig_settle(&r, 100);
	assert_text(&slow, 1, 100, SPAN("x"));
	assert_null(slow.s->pend);
	rig_fini(&r);
}

/* ---- the ring's edge ---------------------------------------------------- */

static void
a_stream_at_the_rings_base_reads_from_the_ring(void **state)
{
	struct rig r;
	struct rig_client c[3];
	int64_t base;

	(void)state;
	open_rig(&r, 65536);
	push_many(&r, 1, 3000);
	base = ring_base(r.hub->ring);
	assert_true(base > 1 && base < 2999);
	rig_join(&r, &c[0],
	    &(struct rig_wish){.channels = "a", .cursor = base - 1});
	rig_join(&r, &c[1],
	    &(struct rig_wish){.channels = "a", .cursor = base});
	rig_join(&r, &c[2],
	    &(struct rig_wish){.channels = "a", .cursor = base + 1});
	rig_settle(&r, 100);
	assert_int_equal(c[0].s->state, STREAM_PAGING);
	assert_int_equal(rig_text(&c[0]).len, 0);
	assert_text(&c[1], base + 1, 3000, SPAN("x"));
	assert_text(&c[2], base + 2, 3000, SPAN("x"));
	rig_fini(&r);
}

static void
an_event_too_large_for_the_ring_is_left_to_pages(void **state)
{
	struct rig r;
	struct rig_client wants, other;

	(void)state;
	open_rig(&r, 65536);
	join(&r, &wants, "a");
	join(&r, &other, "b");
	{
		struct event one = rig_event(1, "a", SPAN("x"));
		struct event two = rig_event(2, "a", span_of(big, sizeof(big)));

		assert_true(hub_take(r.hub, &one));
		assert_false(hub_take(r.hub, &two));
		hub_dispatch(r.hub);
	}
	rig_push(&r, 3, "b", SPAN("y"));
	rig_settle(&r, 10);
	assert_int_equal(wants.s->state, STREAM_PAGING);
	assert_int_equal(wants.s->place.cursor, 0);
	assert_span(rig_text(&wants), SPAN(""));
	assert_int_equal(other.s->state, STREAM_LIVE);
	assert_span(rig_text(&other), SPAN("id: 3\ndata: y\n\n"));
	rig_fini(&r);
}

static void
events_that_left_the_ring_undispatched_come_by_page(void **state)
{
	struct rig r;
	struct rig_client c, other;
	int64_t id;

	(void)state;
	open_rig(&r, 65536);
	join(&r, &c, "a");
	join(&r, &other, "b");
	for (id = 1; id <= 1000; id++) {
		struct event e = rig_event(id, id == 999 ? "b" : "a",
		    SPAN("x"));

		(void)hub_take(r.hub, &e);
	}
	hub_dispatch(r.hub);
	rig_settle(&r, 10);
	assert_int_equal(c.s->state, STREAM_PAGING);
	assert_int_equal(c.s->place.cursor, 0);
	assert_span(rig_text(&other), SPAN("id: 999\ndata: x\n\n"));
	rig_fini(&r);
}

static void
the_last_event_to_leave_the_ring_undispatched_is_not_missed(void **state)
{
	struct rig r;
	struct rig_client c;
	size_t n_paged = 0, n_sent = 0;
	int64_t n, id;

	(void)state;
	for (n = 190; n < 240; n++) {
		struct event e = rig_event(1, "b", SPAN("x"));

		open_rig(&r, 65536);
		join(&r, &c, "b");
		(void)hub_take(r.hub, &e);
		for (id = 2; id <= n; id++) {
			e = rig_event(id, "a", SPAN("x"));
			(void)hub_take(r.hub, &e);
		}
		hub_dispatch(r.hub);
		rig_settle(&r, 10);
		if (c.s->state == STREAM_PAGING) {
			assert_int_equal(c.s->place.cursor, 0);
			n_paged++;
		} else {
			assert_span(rig_text(&c), SPAN("id: 1\ndata: x\n\n"));
			n_sent++;
		}
		rig_fini(&r);
	}
	assert_true(n_paged > 0 && n_sent > 0);
}

static void
an_envelope_stream_gets_older_events_by_page(void **state)
{
	struct rig r;
	struct rig_client early, late;

	(void)state;
	open_rig(&r, 0);
	push_many(&r, 1, 5);
	rig_join(&r, &early,
	    &(struct rig_wish){.channels = "a", .envelope = true, .cursor = 4});
	rig_join(&r, &late,
	    &(struct rig_wish){.channels = "a", .envelope = true, .cursor = 5});
	rig_settle(&r, 10);
	assert_int_equal(early.s->state, STREAM_PAGING);
	assert_int_equal(late.s->state, STREAM_LIVE);
	push_many(&r, 6, 6);
	assert_span(rig_text(&late),
	    SPAN("id: 6\ndata: {\"id\":6,\"channel\":\"a\",\"event\":"
		 "\"message\",\"ts\":0,\"trace\":null,\"prev\":0,"
		 "\"data\":\"x\"}\n\n"));
	rig_fini(&r);
}

static void
a_search_through_the_ring_for_a_rare_channel_is_bounded(void **state)
{
	struct rig r;
	struct rig_client c[RIG_CLIENTS];
	struct event e = rig_event(1, "rare", SPAN("x"));
	int64_t id, i;

	(void)state;
	open_rig(&r, 32u << 20);
	(void)hub_take(r.hub, &e);
	hub_dispatch(r.hub);
	for (id = 2; id <= 100000; id++)
		rig_push(&r, id, "a", SPAN("x"));
	for (i = 0; i < 64; i++)
		rig_join(&r, &c[i], &(struct rig_wish){.channels = "rare"});
	hub_serve(r.hub);
	/* 64 streams over 100,000 entries are not for one turn. */
	assert_true(hub_busy(r.hub));
	rig_settle(&r, 1000);
	for (i = 0; i < 64; i++) {
		assert_span(rig_text(&c[i]), SPAN("id: 1\ndata: x\n\n"));
		assert_int_equal(c[i].s->state, STREAM_LIVE);
	}
	rig_fini(&r);
}

/* ---- pages -------------------------------------------------------------- */

/* Events "x" of channel a. */
struct page_of_x {
	int64_t to, scanned;
};

static void
fill_with_x(const void *page, int64_t cursor, struct chunk *chunk)
{
	const struct page_of_x *p = page;
	int64_t id;
	struct buf text;

	buf_init(&text, 1u << 20);
	for (id = cursor + 1; id <= p->to; id++) {
		struct event e = rig_event(id, "a", SPAN("x"));

		buf_clear(&text);
		assert_status(frame_event(&text, &e), ST_OK);
		if (!chunk_add(chunk, id, buf_span(&text), 0))
			break;
	}
	if (id > p->to)
		chunk_scanned(chunk, p->scanned);
	buf_fini(&text);
}

/* Gives a paging stream a page as replay does. */
static void
give_page(struct rig *r, struct stream *s, int64_t to, int64_t scanned)
{
	const struct page_of_x p = {to, scanned};

	hub_send_page(r->hub, s, fill_with_x, &p);
}

static void
page_and_ring_meet_without_a_seam(void **state)
{
	struct rig r;
	struct rig_client c;
	int64_t base, end;

	(void)state;
	for (end = -1; end <= 1; end++) {
		open_rig(&r, 65536);
		push_many(&r, 1, 3000);
		base = ring_base(r.hub->ring);
		rig_join(&r, &c, &(struct rig_wish){.channels = "a"});
		rig_settle(&r, 10);
		while (c.s->state == STREAM_PAGING) {
			give_page(&r, c.s, base + end, base + end);
			rig_settle(&r, 10);
			if (end < 0 && c.s->place.cursor == base - 1) {
				assert_int_equal(c.s->state, STREAM_PAGING);
				give_page(&r, c.s, base, base);
				rig_settle(&r, 10);
			}
		}
		assert_text(&c, 1, 3000, SPAN("x"));
		assert_int_equal(c.s->state, STREAM_LIVE);
		rig_fini(&r);
	}
}

/* A stream that is cut inside its record, and then left by the ring. */
static void
cut_and_left_behind(struct rig *r, struct rig_client *c, int64_t budget,
    bool cgi)
{
	int64_t id;

	open_rig(r, 65536);
	rig_join(r, c, &(struct rig_wish){.channels = "a", .cgi = cgi});
	rig_turn(r);
	c->budget = budget;
	for (id = 1; id <= 3; id++) {
		struct event e = rig_event(id, "a", SPAN("x"));

		(void)hub_take(r->hub, &e);
	}
	hub_dispatch(r->hub);
	for (id = 4; id <= 3000; id++)
		rig_push(r, id, "b", SPAN("x"));
	c->budget = RIG_NO_LIMIT;
	rig_settle(r, 10);
}

static void
a_record_begun_from_the_ring_is_ended_from_a_page(void **state)
{
	struct rig r;
	struct rig_client c;
	int64_t budget;

	(void)state;
	for (budget = 0; budget < 8 + 3 * 15; budget++) {
		cut_and_left_behind(&r, &c, budget, false);
		assert_int_equal(c.s->state, STREAM_PAGING);
		give_page(&r, c.s, 3, 3000);
		rig_settle(&r, 10);
		assert_text(&c, 1, 3, SPAN("x"));
		assert_int_equal(c.left + c.n_head, 0);
		assert_int_equal(c.s->state, STREAM_LIVE);
		rig_fini(&r);
	}
}

static void
a_page_before_the_event_under_way_moves_the_stream_on(void **state)
{
	struct rig r;
	struct rig_client c;

	(void)state;
	/* Event 1 went out in part; its page holds nothing up to it. */
	open_rig(&r, 65536);
	hub_reset(r.hub, hub_bounds(r.hub), 100);
	join(&r, &c, "a");
	c.budget = 8 + 5;
	{
		struct event e = rig_event(101, "a", SPAN("x"));

		(void)hub_take(r.hub, &e);
		hub_dispatch(r.hub);
	}
	c.s->place.cursor = 0; /* as if found 100 rows further on */
	rig_settle(&r, 10);
	c.budget = RIG_NO_LIMIT;
	rig_settle(&r, 10);
	assert_int_equal(c.s->state, STREAM_PAGING);
	give_page(&r, c.s, 0, 100);
	assert_int_equal(c.s->place.cursor, 100);
	rig_settle(&r, 10);
	assert_text(&c, 101, 101, SPAN("x"));
	rig_fini(&r);
}

static void
a_stream_whose_event_is_gone_is_cut(void **state)
{
	struct rig r;
	struct rig_client c;
	int64_t budget;

	(void)state;
	/* Inside a frame, and between two of the same record. */
	for (budget = 1; budget < 8 + 3 * 15; budget++) {
		cut_and_left_behind(&r, &c, budget, false);
		give_page(&r, c.s, 0, 3000);
		rig_settle(&r, 10);
		assert_null(c.s);
		assert_false(hub_busy(r.hub));
		assert_false(c.end_request);
		rig_read(&c);
		assert_true(c.at_eof);
		assert_int_equal(r.hub->counters.n_closed[STREAM_BROKEN], 1);
		rig_fini(&r);
	}
}

static void
a_plain_cgi_stream_whose_event_is_gone_is_cut(void **state)
{
	struct rig r;
	struct rig_client c;
	int64_t budget;

	(void)state;
	for (budget = 0; budget <= 15; budget++) {
		cut_and_left_behind(&r, &c, budget, true);
		give_page(&r, c.s, 0, 3000);
		rig_settle(&r, 10);
		/* Between two frames it can go on. */
		assert_true((c.s == NULL) == (budget % 15 != 0));
		assert_false(hub_busy(r.hub));
		rig_fini(&r);
	}
}

/* ---- gaps and epochs ---------------------------------------------------- */

static void
streams_fall_behind_what_the_log_has_lost(void **state)
{
	struct rig r;
	struct rig_client c;

	(void)state;
	open_rig(&r, 0);
	join(&r, &c, "a");
	push_many(&r, 1, 2);
	hub_skip(r.hub, 10);
	assert_int_equal(hub_head(r.hub), 10);
	push_many(&r, 11, 11);
	rig_settle(&r, 10);
	assert_int_equal(c.s->state, STREAM_PAGING);
	assert_int_equal(c.s->place.cursor, 2);
	hub_give_gap(r.hub, c.s,
	    &(struct frame_gap){.code = GAP_EXPIRED,
		.requested = SPAN("2"),
		.position = 10,
		.oldest = 11,
		.newest = 11,
		.lost = 8});
	rig_forget(&c);
	rig_settle(&r, 10);
	assert_text(&c, 11, 11, SPAN("x"));
	rig_fini(&r);
}

#define GAP_TEXT                                                               \
	"id: 4\nevent: control.gap\ndata: {\"requested\":2,\"oldest\":5,"      \
	"\"newest\":9,\"lost\":4,\"code\":\"generation\"}\n\n"

static void
begin_epoch(struct rig *r)
{
	struct store_bounds b = {.head = 9, .oldest = 5, .generation = "h"};

	hub_new_epoch(r->hub, &b, GAP_GENERATION);
}

static void
a_new_log_is_told_to_live_blocked_and_paging_streams(void **state)
{
	struct rig r;
	struct rig_client live, blocked, paging;

	(void)state;
	open_rig(&r, 0);
	hub_reset(r.hub, hub_bounds(r.hub), 1);
	rig_join(&r, &paging, &(struct rig_wish){.channels = "a"});
	join(&r, &live, "a");
	join(&r, &blocked, "a");
	push_many(&r, 2, 2);
	blocked.budget = 0;
	push_many(&r, 3, 3);
	rig_forget(&live);
	rig_forget(&blocked);
	assert_int_equal(paging.s->state, STREAM_PAGING);
	assert_int_equal(blocked.s->state, STREAM_BLOCKED);
	begin_epoch(&r);
	blocked.budget = RIG_NO_LIMIT;
	push_many(&r, 5, 5);
	rig_settle(&r, 10);
	assert_true(span_starts(rig_text(&blocked), SPAN(GAP_TEXT)));
	assert_memory_equal(rig_text(&live).p +
		strlen("id: 4\nevent: "
		       "control.gap\ndata: {\"requested\":"),
	    "3,", 2);
	assert_memory_equal(rig_text(&paging).p +
		strlen("id: 4\nevent: "
		       "control.gap\ndata: {\"requested\":"),
	    "0,", 2);
	assert_int_equal(r.hub->counters.n_gaps[GAP_GENERATION], 3);
	assert_span(span_skip(rig_text(&blocked), strlen(GAP_TEXT)),
	    SPAN("id: 5\ndata: x\n\n"));
	assert_int_equal(rig_text(&live).len, rig_text(&paging).len);
	assert_int_equal(live.s->state, STREAM_LIVE);
	assert_int_equal(paging.s->state, STREAM_LIVE);
	rig_fini(&r);
}

static void
a_stream_inside_a_record_of_the_old_log_is_cut(void **state)
{
	struct rig r;
	struct rig_client c;

	(void)state;
	open_rig(&r, 0);
	join(&r, &c, "a");
	c.budget = 8 + 3;
	push_many(&r, 1, 1);
	begin_epoch(&r);
	c.budget = RIG_NO_LIMIT;
	rig_settle(&r, 10);
	assert_null(c.s);
	assert_int_equal(rig_text(&c).len, 3);
	rig_fini(&r);
}

static void
a_gap_that_does_not_fit_the_socket_comes_later_and_whole(void **state)
{
	struct rig r;
	struct rig_client c;
	int64_t budget;

	(void)state;
	for (budget = 0; budget <= (int64_t)strlen(GAP_TEXT) + 8; budget++) {
		open_rig(&r, 0);
		join(&r, &c, "a");
		push_many(&r, 1, 2);
		rig_forget(&c);
		c.budget = budget;
		begin_epoch(&r);
		rig_turn(&r);
		push_many(&r, 5, 6);
		rig_turn(&r);
		c.budget = RIG_NO_LIMIT;
		rig_settle(&r, 10);
		assert_true(span_starts(rig_text(&c), SPAN(GAP_TEXT)));
		assert_span(span_skip(rig_text(&c), strlen(GAP_TEXT)),
		    SPAN("id: 5\ndata: x\n\nid: 6\ndata: x\n\n"));
		rig_fini(&r);
	}
}

/* ---- heartbeats, age, lag, drain ---------------------------------------- */

static void
open_ticking(struct rig *r, struct hub_options *o)
{
	struct store_bounds b = {.oldest = 1, .generation = "g"};

	o->heartbeat_us = o->heartbeat_us == 0 ? 100000 : o->heartbeat_us;
	rig_init(r, o);
	hub_reset(r->hub, &b, 0);
}

/* Turns until something came or the stream has ended; false: never. */
static bool
wait_for_text(struct rig *r, struct rig_client *c, size_t len)
{
	uint64_t end = loop_now_us(r->loop) + 10000000;

	while (loop_now_us(r->loop) < end) {
		if (rig_text(c).len >= len || c->at_eof)
			return true;
		assert_status(loop_turn(r->loop, 5000), ST_OK);
		hub_serve(r->hub);
		hub_reap(r->hub);
	}
	return false;
}

static void
a_quiet_stream_gets_its_position_as_heartbeat(void **state)
{
	struct hub_options o = {.heartbeat_us = 50000};
	struct rig r;
	struct rig_client c, page, paging;

	(void)state;
	open_ticking(&r, &o);
	hub_reset(r.hub, hub_bounds(r.hub), 5);
	rig_join(&r, &paging, &(struct rig_wish){.channels = "a", .cursor = 3});
	join(&r, &c, "a");
	rig_join(&r, &page,
	    &(struct rig_wish){.channels = "a",
		.cursor = 5,
		.heartbeat_events = true});
	rig_push(&r, 6, "b", SPAN("x"));
	assert_true(wait_for_text(&r, &c, 1));
	assert_span(rig_text(&c), SPAN(": hb\nid: 6\n\n"));
	assert_true(wait_for_text(&r, &page, 1));
	assert_true(span_starts(rig_text(&page),
	    SPAN("id: 6\nevent: system.heartbeat\ndata: {\"head\":6,")));
	assert_true(wait_for_text(&r, &paging, 1));
	assert_true(span_starts(rig_text(&paging), SPAN(": hb\nid: 3\n\n")));
	rig_forget(&c);
	push_many(&r, 7, 7);
	assert_text(&c, 7, 7, SPAN("x"));
	rig_fini(&r);
}

static void
a_heartbeat_cut_short_is_ended_before_the_next_event(void **state)
{
	struct hub_options o = {.heartbeat_us = 20000};
	struct rig r;
	struct rig_client c;
	int64_t budget;

	(void)state;
	for (budget = 0; budget < 8 + 12; budget += 3) {
		open_ticking(&r, &o);
		join(&r, &c, "a");
		c.budget = budget;
		while (c.s->pend == NULL)
			assert_status(loop_turn(r.loop, 5000), ST_OK);
		push_many(&r, 1, 2);
		c.budget = RIG_NO_LIMIT;
		rig_settle(&r, 10);
		assert_span(rig_text(&c),
		    SPAN(": hb\nid: 0\n\nid: 1\ndata: x\n\n"
			 "id: 2\ndata: x\n\n"));
		rig_fini(&r);
	}
}

static void
no_heartbeat_comes_inside_a_record(void **state)
{
	struct hub_options o = {.heartbeat_us = 20000};
	struct rig r;
	struct rig_client c;
	uint64_t end;

	(void)state;
	open_ticking(&r, &o);
	join(&r, &c, "a");
	c.budget = 8 + 5;
	push_many(&r, 1, 1);
	for (end = loop_now_us(r.loop) + 60000; loop_now_us(r.loop) < end;)
		assert_status(loop_turn(r.loop, 5000), ST_OK);
	c.budget = RIG_NO_LIMIT;
	rig_settle(&r, 10);
	assert_int_equal(r.hub->counters.n_heartbeats, 0);
	assert_text(&c, 1, 1, SPAN("x"));
	rig_fini(&r);
}

static void
no_heartbeat_comes_inside_a_record_that_waits_for_a_page(void **state)
{
	struct hub_options o = {.heartbeat_us = 20000, .ring_bytes = 65536};
	struct rig r;
	struct rig_client c;
	uint64_t end;
	int64_t id;

	(void)state;
	open_ticking(&r, &o);
	join(&r, &c, "a");
	c.budget = 8 + 5;
	push_many(&r, 1, 1);
	for (id = 2; id <= 1000; id++)
		rig_push(&r, id, "b", SPAN("x"));
	c.budget = RIG_NO_LIMIT;
	rig_settle(&r, 10);
	assert_int_equal(c.s->state, STREAM_PAGING);
	for (end = loop_now_us(r.loop) + 60000; loop_now_us(r.loop) < end;)
		assert_status(loop_turn(r.loop, 5000), ST_OK);
	assert_int_equal(r.hub->counters.n_heartbeats, 0);
	give_page(&r, c.s, 1, 1000);
	assert_text(&c, 1, 1, SPAN("x"));
	rig_fini(&r);
}

static void
assert_closed(struct rig_client *c, const char *reason)
{
	char text[128];

	(void)snprintf(text, sizeof(text),
	    "\nevent: control.close\ndata: {\"reason\":\"%s\",", reason);
	rig_read(c);
	assert_null(c->s);
	assert_true(c->at_eof);
	assert_true(c->cgi || c->end_request);
	assert_true(span_starts(rig_text(c), SPAN("retry: ")));
	assert_non_null(
	    memmem(rig_text(c).p, rig_text(c).len, text, strlen(text)));
}

static void
a_stream_ends_at_its_age(void **state)
{
	struct hub_options o = {.heartbeat_us = 1000000};
	struct rig r;
	struct rig_client c, young;

	(void)state;
	open_ticking(&r, &o);
	rig_join(&r, &young, &(struct rig_wish){.channels = "a"});
	rig_join(&r, &c,
	    &(struct rig_wish){.channels = "a",
		.end_us = loop_now_us(r.loop) + 10000});
	while (c.s != NULL)
		(void)wait_for_text(&r, &c, SIZE_MAX);
	assert_closed(&c, "max_age");
	assert_non_null(young.s);
	assert_int_equal(r.hub->counters.n_closed[CLOSE_MAX_AGE], 1);
	assert_int_equal(r.hub->counters.n_closed[STREAM_LEFT], 0);
	rig_fini(&r);
}

static struct postponed {
	int n;
	uint64_t by_us;
} postponed;

/* Once it goes on, the second time it ends. */
static bool
postpone_once(void *arg, struct stream *s, uint64_t now_us)
{
	(void)arg;
	if (++postponed.n > 1)
		return false;
	s->end_us = now_us + postponed.by_us;
	return true;
}

static void
who_is_asked_at_its_end_may_move_it(void **state)
{
	struct hub_options o = {.heartbeat_us = 1000000, .due = postpone_once};
	struct rig r;
	struct rig_client c;
	uint64_t first_us;

	(void)state;
	postponed = (struct postponed){.by_us = 20000};
	open_ticking(&r, &o);
	first_us = loop_now_us(r.loop) + 10000;
	rig_join(&r, &c,
	    &(struct rig_wish){.channels = "a", .end_us = first_us});
	c.s->end_why = CLOSE_AUTH_EXPIRED;
	while (c.s != NULL)
		(void)wait_for_text(&r, &c, SIZE_MAX);
	assert_closed(&c, "auth_expired");
	assert_int_equal(postponed.n, 2);
	assert_true(loop_now_us(r.loop) >= first_us + postponed.by_us);
	rig_fini(&r);
}

static bool
is_picked(void *arg, struct stream *s)
{
	struct sub **sub = arg;

	return s->sub == *sub;
}

static void
only_the_streams_that_are_picked_end(void **state)
{
	struct hub_options o = {.heartbeat_us = 1000000};
	struct rig r;
	struct rig_client live, new, other, ending;
	struct sub *picked;

	(void)state;
	open_ticking(&r, &o);
	join(&r, &live, "a");
	join(&r, &other, "b");
	join(&r, &ending, "a");
	rig_settle(&r, 10);
	join(&r, &new, "a");
	picked = live.s->sub;
	ending.s->ending = 1 + CLOSE_MAX_AGE;
	assert_int_equal(
	    hub_end_where(r.hub, CLOSE_REVOKED, is_picked, &picked), 2);
	rig_settle(&r, 10);
	assert_closed(&live, "revoked");
	assert_closed(&new, "revoked");
	assert_non_null(other.s);
	assert_int_equal(r.hub->counters.n_closed[CLOSE_REVOKED], 2);
	rig_fini(&r);
}

static void
a_stream_that_lags_too_long_is_told_or_cut(void **state)
{
	struct hub_options o = {.heartbeat_us = 50000, .max_lag_us = 20000};
	struct rig r;
	struct rig_client border, inside, fine;

	(void)state;
	open_ticking(&r, &o);
	join(&r, &border, "a");
	join(&r, &inside, "a");
	join(&r, &fine, "a");
	border.budget = 0;
	inside.budget = 8 + 3;
	push_many(&r, 1, 1);
	rig_read(&inside);
	while (inside.s != NULL)
		(void)wait_for_text(&r, &inside, SIZE_MAX);
	assert_false(inside.end_request);
	while (border.s != NULL && !border.s->ending)
		assert_status(loop_turn(r.loop, 5000), ST_OK);
	border.budget = RIG_NO_LIMIT;
	rig_settle(&r, 10);
	assert_closed(&border, "lagging");
	assert_non_null(fine.s);
	assert_int_equal(r.hub->counters.n_closed[CLOSE_LAGGING], 2);
	rig_fini(&r);
}

static void
a_stream_that_lags_by_too_many_events_is_closed(void **state)
{
	struct hub_options o = {.heartbeat_us = 20000, .max_lag_events = 10};
	struct rig r;
	struct rig_client at, past;

	(void)state;
	open_ticking(&r, &o);
	join(&r, &past, "a");
	past.budget = 0;
	push_many(&r, 1, 1);
	join(&r, &at, "a");
	at.budget = 0;
	push_many(&r, 2, 11);
	while (past.s != NULL && !past.s->ending)
		assert_status(loop_turn(r.loop, 5000), ST_OK);
	assert_non_null(at.s);
	assert_false(at.s->ending);
	past.budget = at.budget = RIG_NO_LIMIT;
	rig_settle(&r, 10);
	assert_closed(&past, "lagging");
	assert_text(&at, 2, 11, SPAN("x"));
	rig_fini(&r);
}

static void
a_peer_that_does_not_read_its_close_is_cut_in_the_end(void **state)
{
	struct hub_options o = {.heartbeat_us = 20000};
	struct rig r;
	struct rig_client c;

	(void)state;
	open_ticking(&r, &o);
	join(&r, &c, "a");
	c.budget = 0;
	assert_int_equal(hub_drain(r.hub, 1), 1);
	assert_int_equal(hub_drain(r.hub, 1), 0);
	assert_true(wait_for_text(&r, &c, SIZE_MAX));
	assert_null(c.s);
	assert_int_equal(r.hub->counters.n_closed[CLOSE_DRAIN], 1);
	assert_int_equal(r.hub->counters.n_closed[STREAM_LEFT], 0);
	rig_fini(&r);
}

static void
draining_ends_every_stream_with_a_word(void **state)
{
	struct rig r;
	struct rig_client live, cgi, blocked, paging;

	(void)state;
	open_rig(&r, 0);
	hub_reset(r.hub, hub_bounds(r.hub), 1);
	rig_join(&r, &paging, &(struct rig_wish){.channels = "a"});
	rig_join(&r, &cgi,
	    &(struct rig_wish){.channels = "a", .cgi = true, .cursor = 1});
	join(&r, &live, "a");
	join(&r, &blocked, "a");
	blocked.budget = 0;
	push_many(&r, 2, 2);
	rig_forget(&live);
	rig_forget(&cgi);
	assert_int_equal(hub_drain(r.hub, 3), 3);
	assert_int_equal(hub_drain(r.hub, 3), 1);
	blocked.budget = RIG_NO_LIMIT;
	rig_settle(&r, 10);
	assert_closed(&live, "drain");
	assert_closed(&cgi, "drain");
	assert_closed(&blocked, "drain");
	assert_closed(&paging, "drain");
	assert_int_equal(hub_n_streams(r.hub), 0);
	assert_int_equal(r.n_ended, 4);
	rig_fini(&r);
}

static void
a_peer_that_left_is_counted_once(void **state)
{
	struct rig r;
	struct rig_client c;

	(void)state;
	open_rig(&r, 0);
	join(&r, &c, "a");
	rig_leave(&c);
	(void)hub_drain(r.hub, 1);
	rig_settle(&r, 10);
	assert_int_equal(r.hub->counters.n_closed[STREAM_LEFT] +
		r.hub->counters.n_closed[CLOSE_DRAIN],
	    1);
	rig_fini(&r);
}

/* ---- what a web server sends on a running request ----------------------- */

static void
an_abort_is_answered_and_ends_the_stream(void **state)
{
	char abort_record[RECORD_HEADER_BYTES];
	struct rig r;
	struct rig_client c;

	(void)state;
	open_rig(&r, 0);
	join(&r, &c, "a");
	record_encode(abort_record, RECORD_ABORT_REQUEST, 1, 0);
	assert_int_equal(send(c.fd, abort_record, sizeof(abort_record), 0),
	    (int)sizeof(abort_record));
	rig_turn(&r);
	rig_read(&c);
	assert_null(c.s);
	assert_true(c.end_request);
	assert_true(c.at_eof);
	rig_fini(&r);
}

static void
a_half_closed_peer_ends_the_stream(void **state)
{
	struct rig r;
	struct rig_client c;

	(void)state;
	open_rig(&r, 0);
	join(&r, &c, "a");
	assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
	rig_turn(&r);
	assert_null(c.s);
	assert_int_equal(r.hub->counters.n_closed[STREAM_LEFT], 1);
	rig_fini(&r);
}

/* ---- memory ------------------------------------------------------------- */

static void
making_a_hub_fails_cleanly_without_memory(void **state)
{
	struct hub_options o = {.ring_bytes = 65536, .heartbeat_us = 1000000};
	struct hub *h = NULL;
	struct loop *l;
	unsigned n;

	(void)state;
	for (n = 1;; n++) {
		enum status st;

		assert_status(loop_new(&l), ST_OK);
		fault_alloc_at(n);
		st = hub_new(&h, l, &o);
		if (!fault_hit()) {
			assert_status(st, ST_OK);
			hub_free(&h);
			loop_free(&l);
			break;
		}
		assert_status(st, ST_NOMEM);
		assert_null(h);
		loop_free(&l);
	}
	assert_true(n > 4);
}

static void
without_memory_for_its_close_a_stream_is_cut(void **state)
{
	struct rig r;
	struct rig_client c;

	(void)state;
	open_rig(&r, 0);
	join(&r, &c, "a");
	c.budget = 0;
	fault_alloc_at(2); /* the text's buffer, then what has to wait */
	(void)hub_drain(r.hub, 1);
	assert_true(fault_hit());
	rig_settle(&r, 10);
	assert_null(c.s);
	assert_int_equal(r.n_ended, 1);
	rig_fini(&r);
}

static void
without_memory_for_a_frame_streams_read_it_from_a_page(void **state)
{
	struct rig r;
	struct rig_client c;
	struct event e = rig_event(1, "a", span_of(big, 5000));

	(void)state;
	open_rig(&r, 0);
	join(&r, &c, "a");
	fault_alloc_at(1);
	assert_false(hub_take(r.hub, &e));
	assert_true(fault_hit());
	hub_dispatch(r.hub);
	rig_settle(&r, 10);
	assert_int_equal(c.s->state, STREAM_PAGING);
	assert_int_equal(c.s->place.cursor, 0);
	rig_fini(&r);
}

/* ---- metrics ------------------------------------------------------------- */

static void
open_timed(struct rig *r)
{
	struct hub_options o = {.ring_bytes = 65536, .timed = true};
	struct store_bounds b = {.oldest = 1, .generation = "g"};

	rig_init(r, &o);
	hub_reset(r->hub, &b, 0);
}

static void
a_place_that_was_set_back_shows_as_duplicates(void **state)
{
	struct rig r;
	struct rig_client c;

	(void)state;
	open_rig(&r, 0);
	join(&r, &c, "a");
	push_many(&r, 1, 5);
	c.budget = 0;
	push_many(&r, 6, 6);
	assert_int_equal(r.hub->counters.out.n_duplicates, 0);
	c.s->place.cursor = 2;
	c.budget = RIG_NO_LIMIT;
	rig_settle(&r, 10);
	assert_int_equal(r.hub->counters.out.n_duplicates, 3);
	assert_int_equal(r.hub->counters.out.n_events, 5 + 4);
	rig_fini(&r);
}

static void
a_gap_that_goes_back_makes_no_duplicates(void **state)
{
	struct rig r;
	struct rig_client c;

	(void)state;
	open_rig(&r, 0);
	join(&r, &c, "a");
	push_many(&r, 1, 20);
	begin_epoch(&r);
	push_many(&r, 5, 9);
	rig_settle(&r, 10);
	assert_int_equal(r.hub->counters.out.n_events, 20 + 5);
	assert_int_equal(r.hub->counters.out.n_duplicates, 0);
	rig_fini(&r);
}

/* How many deliveries were timed when the first write takes so much. */
static uint64_t
timed_after(int64_t budget)
{
	struct rig r;
	struct rig_client live, late;
	const struct hub_counters *n;
	uint64_t count;
	int64_t id;

	open_timed(&r);
	join(&r, &live, "a");
	push_many(&r, 1, 3);
	rig_join(&r, &late, &(struct rig_wish){.channels = "a"});
	late.budget = budget;
	for (id = 4; id <= 6; id++) {
		struct event e = rig_event(id, "a", SPAN("x"));

		(void)hub_take(r.hub, &e);
	}
	hub_dispatch(r.hub);
	rig_turn(&r);
	late.budget = RIG_NO_LIMIT;
	rig_settle(&r, 10);
	assert_text(&late, 1, 6, SPAN("x"));
	n = &r.hub->counters;
	assert_int_equal(n->out.n_events, 12);
	count = hist_count(&n->out.delivery);
	rig_fini(&r);
	return count;
}

static void
events_newer_than_their_stream_are_timed_each_once(void **state)
{
	int64_t budget;

	(void)state;
	for (budget = 0; budget <= 8 + 6 * 15; budget++)
		assert_int_equal(timed_after(budget), 6 + 3);
}

static void
events_of_a_page_are_timed_like_others(void **state)
{
	struct rig r;
	struct rig_client c;

	(void)state;
	open_timed(&r);
	join(&r, &c, "a");
	c.budget = 0;
	push_many(&r, 1, 3000);
	c.budget = RIG_NO_LIMIT;
	rig_settle(&r, 100);
	assert_int_equal(c.s->state, STREAM_PAGING);
	give_page(&r, c.s, 1000, 1000);
	assert_int_equal(hist_count(&r.hub->counters.out.delivery), 1000);
	assert_int_equal(r.hub->counters.n_replayed, 1000);
	rig_fini(&r);
}

static void
a_page_that_does_not_go_out_is_not_counted(void **state)
{
	struct rig r;
	struct rig_client c;

	(void)state;
	open_timed(&r);
	join(&r, &c, "a");
	c.budget = 0;
	push_many(&r, 1, 3000);
	c.budget = 8 + 15 * 10 + 7;
	rig_turn(&r);
	give_page(&r, c.s, 1000, 1000);
	assert_int_equal(r.hub->counters.n_replayed, 10);
	rig_fini(&r);
}

static void
the_time_counts_from_the_commit_that_the_wake_told(void **state)
{
	const int64_t long_ago = -3600000000, to_come = INT64_MAX;
	struct rig r;
	struct rig_client c;
	const struct hist *took;

	(void)state;
	open_timed(&r);
	took = &r.hub->counters.out.delivery;
	join(&r, &c, "a");
	hub_woken(r.hub, 0, NULL);
	hub_woken(r.hub, 2, &long_ago);
	hub_woken(r.hub, 3, &to_come);
	push_many(&r, 1, 3);
	assert_int_equal(took->n[HIST_BOUNDS], 2);
	assert_int_equal(took->n[0], 1);
	rig_fini(&r);
}

static void
without_a_wake_the_rows_time_counts(void **state)
{
	struct rig r;
	struct rig_client c;
	struct event e = rig_event(1, "a", SPAN("x"));
	const struct hist *took;

	(void)state;
	open_timed(&r);
	took = &r.hub->counters.out.delivery;
	join(&r, &c, "a");
	e.ts_ms = clock_real_ms() - 15000;
	(void)hub_take(r.hub, &e);
	hub_dispatch(r.hub);
	assert_int_equal(hist_quantile(took, HIST_TIME, 1000) / 1000000, 20);
	e.id = 2;
	e.ts_ms = clock_real_ms() + 3600000; /* a clock that is wrong */
	(void)hub_take(r.hub, &e);
	hub_dispatch(r.hub);
	assert_int_equal(took->n[0], 1);
	assert_int_equal(hist_count(took), 2);
	rig_fini(&r);
}

static void
what_was_in_a_new_log_already_is_not_timed(void **state)
{
	struct rig r;
	struct rig_client c;

	(void)state;
	open_timed(&r);
	join(&r, &c, "a");
	begin_epoch(&r); /* its head is 9 */
	push_many(&r, 5, 11);
	rig_settle(&r, 10);
	assert_int_equal(r.hub->counters.out.n_events, 7);
	assert_int_equal(hist_count(&r.hub->counters.out.delivery), 2);
	rig_fini(&r);
}

static void
a_look_finds_who_is_behind_and_how_far(void **state)
{
	struct rig r;
	struct rig_client fine, blocked, paging, idle;
	struct hub_survey s;

	(void)state;
	open_rig(&r, 65536);
	join(&r, &fine, "b");
	join(&r, &paging, "a");
	rig_join(&r, &idle, &(struct rig_wish){.channels = "c"});
	hub_survey(r.hub, &s);
	assert_int_equal(s.n_lagging, 0); /* new, and there is nothing */
	assert_int_equal(s.max_lag, 0);
	rig_turn(&r);
	paging.budget = 0;
	push_many(&r, 1, 2995);
	join(&r, &blocked, "a");
	blocked.budget = 0;
	push_many(&r, 2996, 3000);
	rig_turn(&r);
	hub_survey(r.hub, &s);
	assert_int_equal(s.n_lagging, 2);
	assert_int_equal(s.max_lag, 3000);
	assert_int_equal(s.n_replaying, 1);
	assert_int_equal(s.replay_depth, 3000);
	assert_int_equal(s.pending_bytes, 0);
	(void)hub_drain(r.hub, 4);
	hub_survey(r.hub, &s);
	assert_true(s.pending_bytes > 100);
	rig_fini(&r);
}

/* What is logged when the streams are looked at so much later. */
static struct span
lines_after(struct rig *r, uint64_t since_us, uint64_t later_us)
{
	capture_begin();
	hub_tell_lagging(r->hub, since_us + later_us);
	return capture_end();
}

static void
a_stream_that_is_slow_for_long_is_told_of_once(void **state)
{
	struct rig r;
	struct rig_client slow, idle;
	uint64_t since_us;
	struct span line;

	(void)state;
	open_rig(&r, 0);
	log_init("test", LOG_TEXT, LOG_INFO_);
	join(&r, &slow, "a");
	join(&r, &idle, "b");
	slow.budget = 0;
	push_many(&r, 1, 1);
	since_us = slow.s->behind_since_us;
	assert_int_not_equal(since_us, 0);
	assert_int_equal(lines_after(&r, since_us, 4999999).len, 0);
	/* Not each time: it would cost too much. */
	assert_int_equal(lines_after(&r, since_us, 5000001).len, 0);
	line = lines_after(&r, since_us, 6000000);
	assert_non_null(strstr(line.p, "stream.lagging"));
	assert_non_null(strstr(line.p, " lag=1 behind_ms=6000\n"));
	assert_int_equal(lines_after(&r, since_us, 8000000).len, 0);
	assert_false(idle.s->told_lagging);
	/* When it falls behind again that is news. */
	slow.budget = RIG_NO_LIMIT;
	rig_settle(&r, 10);
	assert_int_equal(slow.s->state, STREAM_LIVE);
	slow.budget = 0;
	push_many(&r, 2, 2);
	since_us = slow.s->behind_since_us;
	assert_true(lines_after(&r, since_us, 30000000).len > 0);
	log_init("test", LOG_TEXT, LOG_ERROR_);
	rig_fini(&r);
}

static void
a_stream_that_lacks_a_heartbeat_only_does_not_lag(void **state)
{
	struct rig r;
	struct rig_client idle;

	(void)state;
	open_rig(&r, 0);
	join(&r, &idle, "b");
	idle.budget = 0;
	hub_fall_behind(r.hub, idle.s, hub_head(r.hub), STREAM_READY);
	hub_tell_lagging(r.hub, idle.s->behind_since_us + 60000000);
	assert_false(idle.s->told_lagging);
	rig_fini(&r);
}

static void
streams_are_counted_by_their_front(void **state)
{
	struct rig r;
	struct rig_client a[2];
	const struct hub_counters *n;

	(void)state;
	open_rig(&r, 0);
	n = &r.hub->counters;
	rig_join(&r, &a[0],
	    &(struct rig_wish){.channels = "a", .front = FRONT_NGINX});
	rig_join(&r, &a[1],
	    &(struct rig_wish){.channels = "a", .front = FRONT_OTHER});
	rig_turn(&r);
	rig_leave(&a[0]);
	rig_turn(&r);
	assert_int_equal(n->n_front_opened[FRONT_NGINX], 1);
	assert_int_equal(n->n_front_opened[FRONT_OTHER], 1);
	assert_int_equal(n->n_front_closed[FRONT_NGINX], 1);
	assert_int_equal(n->n_front_closed[FRONT_OTHER], 0);
	hub_cut(r.hub);
	assert_int_equal(n->n_front_closed[FRONT_OTHER], 1);
	assert_int_equal(n->n_closed[STREAM_LEFT], 1);
	assert_int_equal(n->n_closed[CLOSE_DRAIN], 1);
	rig_fini(&r);
}

static struct {
	int n;
	int64_t id;
	size_t n_streams, n_bytes;
	bool in_time;
} seen;

static void
on_traced(void *arg, const struct traced *t, uint64_t end_us)
{
	uint64_t now_us = (uint64_t)clock_real_ms() * 1000;

	(void)arg;
	seen.n++;
	seen.id = t->id;
	seen.n_streams = t->n_streams;
	seen.n_bytes = t->n_bytes;
	seen.in_time = t->start_us <= end_us && end_us < now_us + 60000000 &&
	    t->start_us > now_us - 60000000;
}

static void
events_with_a_trace_are_told_of_when_asked_for(void **state)
{
	struct hub_options o = {.dispatched = on_traced};
	struct event e = rig_event(1, "a", SPAN("abc"));
	struct store_bounds b = {.oldest = 1, .generation = "g"};
	struct rig r;
	struct rig_client a, all, other;
	struct hub_survey now;

	(void)state;
	rig_init(&r, &o);
	hub_reset(r.hub, &b, 0);
	join(&r, &a, "a");
	join(&r, &all, "*");
	join(&r, &other, "b");
	memset(&seen, 0, sizeof(seen));
	e.trace = SPAN("00-4bf92f3577b34da6a3ce929d0e0e4736-"
		       "00f067aa0ba902b7-01");
	(void)hub_take(r.hub, &e);
	hub_dispatch(r.hub);
	assert_int_equal(seen.n, 0);
	hub_set_tracing(r.hub, true);
	e.id = 2;
	(void)hub_take(r.hub, &e);
	push_many(&r, 3, 3); /* without a trace */
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.id, 2);
	assert_int_equal(seen.n_streams, 2);
	assert_int_equal(seen.n_bytes, 3);
	assert_true(seen.in_time);
	hub_set_tracing(r.hub, false);
	e.id = 4;
	(void)hub_take(r.hub, &e);
	hub_dispatch(r.hub);
	assert_int_equal(seen.n, 1);
	hub_survey(r.hub, &now);
	assert_int_equal(now.n_untraced, 0);
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(live_streams_get_what_they_want),
	    cmocka_unit_test(what_is_taken_together_goes_out_as_one_record),
	    cmocka_unit_test(
		an_event_that_two_patterns_of_a_stream_match_comes_once),
	    cmocka_unit_test(
		a_stream_that_dies_in_a_dispatch_leaves_the_others_alone),
	    cmocka_unit_test(a_write_cut_at_any_byte_is_continued_there),
	    cmocka_unit_test(an_event_longer_than_a_record_is_continued),
	    cmocka_unit_test(
		a_stream_blocked_between_two_records_loses_nothing),
	    cmocka_unit_test(a_blocked_stream_costs_no_turns),
	    cmocka_unit_test(a_slow_stream_does_not_hold_up_the_others),
	    cmocka_unit_test(a_stream_at_the_rings_base_reads_from_the_ring),
	    cmocka_unit_test(an_event_too_large_for_the_ring_is_left_to_pages),
	    cmocka_unit_test(
		events_that_left_the_ring_undispatched_come_by_page),
	    cmocka_unit_test(
		the_last_event_to_leave_the_ring_undispatched_is_not_missed),
	    cmocka_unit_test(an_envelope_stream_gets_older_events_by_page),
	    cmocka_unit_test(
		a_search_through_the_ring_for_a_rare_channel_is_bounded),
	    cmocka_unit_test(page_and_ring_meet_without_a_seam),
	    cmocka_unit_test(a_record_begun_from_the_ring_is_ended_from_a_page),
	    cmocka_unit_test(
		a_page_before_the_event_under_way_moves_the_stream_on),
	    cmocka_unit_test(a_stream_whose_event_is_gone_is_cut),
	    cmocka_unit_test(a_plain_cgi_stream_whose_event_is_gone_is_cut),
	    cmocka_unit_test(streams_fall_behind_what_the_log_has_lost),
	    cmocka_unit_test(
		a_new_log_is_told_to_live_blocked_and_paging_streams),
	    cmocka_unit_test(a_stream_inside_a_record_of_the_old_log_is_cut),
	    cmocka_unit_test(
		a_gap_that_does_not_fit_the_socket_comes_later_and_whole),
	    cmocka_unit_test(a_quiet_stream_gets_its_position_as_heartbeat),
	    cmocka_unit_test(
		a_heartbeat_cut_short_is_ended_before_the_next_event),
	    cmocka_unit_test(no_heartbeat_comes_inside_a_record),
	    cmocka_unit_test(
		no_heartbeat_comes_inside_a_record_that_waits_for_a_page),
	    cmocka_unit_test(a_stream_ends_at_its_age),
	    cmocka_unit_test(who_is_asked_at_its_end_may_move_it),
	    cmocka_unit_test(only_the_streams_that_are_picked_end),
	    cmocka_unit_test(a_stream_that_lags_too_long_is_told_or_cut),
	    cmocka_unit_test(a_stream_that_lags_by_too_many_events_is_closed),
	    cmocka_unit_test(
		a_peer_that_does_not_read_its_close_is_cut_in_the_end),
	    cmocka_unit_test(draining_ends_every_stream_with_a_word),
	    cmocka_unit_test(a_peer_that_left_is_counted_once),
	    cmocka_unit_test(an_abort_is_answered_and_ends_the_stream),
	    cmocka_unit_test(a_half_closed_peer_ends_the_stream),
	    cmocka_unit_test(making_a_hub_fails_cleanly_without_memory),
	    cmocka_unit_test(without_memory_for_its_close_a_stream_is_cut),
	    cmocka_unit_test(
		without_memory_for_a_frame_streams_read_it_from_a_page),
	    cmocka_unit_test(a_place_that_was_set_back_shows_as_duplicates),
	    cmocka_unit_test(a_gap_that_goes_back_makes_no_duplicates),
	    cmocka_unit_test(
		events_newer_than_their_stream_are_timed_each_once),
	    cmocka_unit_test(events_of_a_page_are_timed_like_others),
	    cmocka_unit_test(a_page_that_does_not_go_out_is_not_counted),
	    cmocka_unit_test(
		the_time_counts_from_the_commit_that_the_wake_told),
	    cmocka_unit_test(without_a_wake_the_rows_time_counts),
	    cmocka_unit_test(what_was_in_a_new_log_already_is_not_timed),
	    cmocka_unit_test(a_look_finds_who_is_behind_and_how_far),
	    cmocka_unit_test(a_stream_that_is_slow_for_long_is_told_of_once),
	    cmocka_unit_test(a_stream_that_lacks_a_heartbeat_only_does_not_lag),
	    cmocka_unit_test(streams_are_counted_by_their_front),
	    cmocka_unit_test(events_with_a_trace_are_told_of_when_asked_for),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
/* The newest frames: what is above the base is there, and nothing else. */
#include "ring.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "frame.h"
#include "unit.h"

#define SMALL 65536

static char big[SMALL];

static int
setup(void **state)
{
	struct ring *r = NULL;

	memset(big, 'b', sizeof(big));
	if (ring_new(&r, SMALL) != ST_OK)
		return -1;
	ring_reset(r, 0);
	*state = r;
	return 0;
}

static int
teardown(void **state)
{
	struct ring *r = *state;

	ring_free(&r);
	return r == NULL ? 0 : -1;
}

static struct event
event(int64_t id, size_t data_bytes)
{
	return (struct event){.id = id,
	    .channel = SPAN("chan"),
	    .event = SPAN("message"),
	    .kind = EVENT_DATA_TEXT,
	    .data = span_of(big, data_bytes)};
}

static enum status
push(struct ring *r, int64_t id, size_t data_bytes, bool envelope)
{
	struct event e = event(id, data_bytes);

	return ring_push(r, &e, envelope, 0);
}

/* Every entry is what was pushed, dense from base + 1 to head. */
static void
check(struct ring *r, size_t (*bytes_of)(int64_t id))
{
	struct ring_entry e;
	struct buf want;
	uint64_t n;
	int64_t id = ring_base(r);

	buf_init(&want, 4 * SMALL);
	for (n = ring_first(r); n < ring_end(r); n++) {
		struct event ev = event(id + 1, bytes_of(id + 1));

		id++;
		ring_get(r, n, &e);
		assert_int_equal(e.id, id);
		buf_clear(&want);
		assert_status(frame_event(&want, &ev), ST_OK);
		assert_span(e.frame, buf_span(&want));
		assert_span(e.channel, SPAN("chan"));
		assert_span(e.event, SPAN("message"));
		if (id <= ring_envelope_base(r))
			continue;
		buf_clear(&want);
		assert_status(frame_envelope(&want, &ev), ST_OK);
		assert_span(e.envelope, buf_span(&want));
	}
	assert_int_equal(id, ring_head(r));
	assert_true(ring_bytes(r) <= SMALL);
	buf_fini(&want);
}

static size_t
small_of(int64_t id)
{
	return (size_t)id % 7;
}

static size_t
mixed_of(int64_t id)
{
	return (size_t)(id * 7919 % 9000);
}

static void
holds_what_is_between_base_and_head(void **state)
{
	struct ring *r = *state;
	int64_t id;

	assert_int_equal(ring_base(r), 0);
	assert_int_equal(ring_head(r), 0);
	for (id = 1; id <= 1000; id++) {
		assert_status(push(r, id, small_of(id), true), ST_OK);
		assert_int_equal(ring_head(r), id);
		check(r, small_of);
	}
	/* Slots ran out, not bytes. */
	assert_true(ring_base(r) > 0);
	assert_int_equal(ring_count(r), (size_t)(1000 - ring_base(r)));
}

static void
texts_of_all_sizes_wrap_around(void **state)
{
	struct ring *r = *state;
	int64_t id;

	for (id = 1; id <= 2000; id++) {
		assert_status(push(r, id, mixed_of(id), false), ST_OK);
		check(r, mixed_of);
	}
}

static void
envelopes_of_all_sizes_wrap_around(void **state)
{
	struct ring *r = *state;
	int64_t id;

	for (id = 1; id <= 2000; id++) {
		assert_status(push(r, id, small_of(id) * 900, id % 50 > 10),
		    ST_OK);
		if (id % 50 <= 10)
			assert_int_equal(ring_envelope_base(r), id);
		assert_true(ring_envelope_base(r) >= ring_base(r));
	}
}

static void
every_alignment_of_the_edge_is_sound(void **state)
{
	struct ring *r = *state;
	int64_t id;
	size_t bytes;

	for (bytes = 300; bytes < 420; bytes++) {
		ring_reset(r, 0);
		for (id = 1; id <= 700; id++) {
			struct event e = event(id, bytes);
			struct ring_entry first;

			assert_status(ring_push(r, &e, false, 0), ST_OK);
			ring_get(r, ring_first(r), &first);
			assert_int_equal(first.id, ring_base(r) + 1);
			assert_int_equal(first.frame.p[0], 'i');
			assert_int_equal(first.frame.p[first.frame.len - 1],
			    '\n');
			assert_int_equal(first.frame.p[first.frame.len - 3],
			    'b');
		}
	}
}

static void
no_text_takes_a_byte_of_another(void **state)
{
	struct ring *r = *state;
	uint32_t random = 1;
	int64_t id;

	/* Enough for each fit at the wrap, to the byte, to come up. */
	for (id = 1; id <= 200000; id++) {
		struct event e;
		struct ring_entry first;

		random = random * 1664525u + 1013904223u;
		e = event(id, 1 + (random >> 16) % 900);
		assert_status(ring_push(r, &e, false, 0), ST_OK);
		ring_get(r, ring_first(r), &first);
		if (first.frame.p[0] != 'i' || first.event.p[6] != 'e')
			fail_msg("the oldest is damaged at %lld",
			    (long long)id);
	}
}

static void
seeking_finds_the_first_above(void **state)
{
	struct ring *r = *state;
	struct ring_entry e;
	int64_t id;

	for (id = 10; id <= 3000; id += 10)
		assert_status(push(r, id, 1, false), ST_OK);
	for (id = ring_base(r); id < ring_head(r); id++) {
		ring_get(r, ring_seek(r, id), &e);
		assert_int_equal(e.id, id / 10 * 10 + 10);
	}
	assert_true(ring_seek(r, ring_head(r)) == ring_end(r));
	assert_true(ring_seek(r, INT64_MAX) == ring_end(r));
	assert_true(ring_seek(r, ring_base(r)) == ring_first(r));
	assert_true(ring_seek(r, 0) == ring_first(r));
}

static void
one_that_is_too_large_becomes_the_base(void **state)
{
	struct ring *r = *state;

	assert_status(push(r, 1, 10, true), ST_OK);
	assert_status(push(r, 2, SMALL - 100, true), ST_FULL);
	assert_int_equal(ring_base(r), 2);
	assert_int_equal(ring_head(r), 2);
	assert_int_equal(ring_envelope_base(r), 2);
	assert_int_equal(ring_count(r), 0);
	assert_true(ring_first(r) == ring_end(r));
	assert_status(push(r, 3, 10, true), ST_OK);
	assert_int_equal(ring_base(r), 2);
	assert_int_equal(ring_envelope_base(r), 2);
	assert_true(ring_seek(r, 2) == ring_first(r));
	assert_true(ring_seek(r, 3) == ring_end(r));
}

static void
without_memory_the_event_becomes_the_base(void **state)
{
	struct ring *r = *state;

	fault_alloc_at(1);
	assert_status(push(r, 1, 10, false), ST_NOMEM);
	assert_true(fault_hit());
	assert_int_equal(ring_base(r), 1);
	assert_int_equal(ring_head(r), 1);
	assert_status(push(r, 2, 10, false), ST_OK);
}

static void
ids_may_leave_gaps(void **state)
{
	struct ring *r = *state;

	ring_reset(r, 40);
	assert_status(push(r, 51, 1, true), ST_OK);
	assert_status(push(r, INT64_MAX, 1, true), ST_OK);
	assert_true(ring_seek(r, INT64_MAX - 1) == ring_end(r) - 1);
	assert_true(ring_seek(r, INT64_MAX) == ring_end(r));
}

static void
names_of_any_length_are_kept_apart(void **state)
{
	struct ring *r = *state;
	struct event e = event(1, 1);
	struct ring_entry got;
	size_t len;

	for (len = 0; len < 700; len++, e.id++) {
		e.channel = span_of(big, len);
		e.event = span_of(big, 700 - len);
		assert_status(ring_push(r, &e, false, 0), ST_OK);
		ring_get(r, ring_end(r) - 1, &got);
		assert_int_equal(got.channel.len, len < 255 ? len : 255);
		assert_int_equal(got.event.len,
		    700 - len < 255 ? 700 - len : 255);
		assert_true(span_starts(e.channel, got.channel));
		assert_true(span_starts(e.event, got.event));
	}
}

static void
a_reset_forgets_all(void **state)
{
	struct ring *r = *state;

	assert_status(push(r, 100, 10, false), ST_OK);
	ring_reset(r, 5);
	assert_int_equal(ring_base(r), 5);
	assert_int_equal(ring_head(r), 5);
	assert_int_equal(ring_envelope_base(r), 5);
	assert_int_equal(ring_bytes(r), 0);
	assert_status(push(r, 6, 10, true), ST_OK);
}

static void
making_one_fails_cleanly_without_memory(void **state)
{
	struct ring *r = NULL;
	unsigned n;

	(void)state;
	for (n = 1; n <= 3; n++) {
		fault_alloc_at(n);
		assert_status(ring_new(&r, SMALL), ST_NOMEM);
		assert_true(fault_hit());
		assert_null(r);
	}
	ring_free(&r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(holds_what_is_between_base_and_head),
	    TEST(texts_of_all_sizes_wrap_around),
	    TEST(envelopes_of_all_sizes_wrap_around),
	    TEST(every_alignment_of_the_edge_is_sound),
	    TEST(no_text_takes_a_byte_of_another),
	    TEST(seeking_finds_the_first_above),
	    TEST(one_that_is_too_large_becomes_the_base),
	    TEST(without_memory_the_event_becomes_the_base),
	    TEST(ids_may_leave_gaps),
	    TEST(names_of_any_length_are_kept_apart),
	    TEST(a_reset_forgets_all),
	    cmocka_unit_test(making_one_fails_cleanly_without_memory),
	};

	return RUN(tests);
}

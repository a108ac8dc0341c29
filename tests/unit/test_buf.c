/* SPDX-License-Identifier: MIT */
#include "buf.h"

#include <stdlib.h>

#include "fault.h"
#include "unit.h"

static int
setup(void **state)
{
	struct buf *b = malloc(sizeof(*b));

	if (b == NULL)
		return -1;
	buf_init(b, 1000);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	buf_fini(*state);
	free(*state);
	return 0;
}

static void
bytes_come_out_as_they_went_in(void **state)
{
	struct buf *b = *state;

	assert_status(buf_append(b, SPAN("ab\0c")), ST_OK);
	assert_status(buf_append(b, SPAN_NONE), ST_OK);
	assert_status(buf_append(b, SPAN("d")), ST_OK);
	assert_span(buf_span(b), SPAN("ab\0cd"));
	buf_consume(b, 2);
	assert_span(buf_span(b), SPAN("\0cd"));
	buf_truncate(b, 2);
	assert_span(buf_span(b), SPAN("\0c"));
	buf_consume(b, 2);
	assert_int_equal(buf_span(b).len, 0);
}

static void
an_empty_buffer_has_an_empty_span(void **state)
{
	struct buf *b = *state;

	assert_int_equal(buf_span(b).len, 0);
	assert_null(buf_span(b).p);
	assert_int_equal(buf_room(b), 0);
}

static void
refuses_bytes_past_its_bound_and_stays_as_it_was(void **state)
{
	struct buf *b = *state;
	char big[1001] = {0};

	assert_status(buf_append(b, span_of(big, 1001)), ST_FULL);
	assert_status(buf_append(b, span_of(big, 999)), ST_OK);
	assert_status(buf_append(b, SPAN("xy")), ST_FULL);
	assert_int_equal(b->len, 999);
	assert_status(buf_append(b, SPAN("x")), ST_OK);
	assert_status(buf_append(b, SPAN("y")), ST_FULL);
	assert_status(buf_reserve(b, SIZE_MAX), ST_FULL);
	assert_int_equal(b->len, 1000);
	assert_true(b->cap <= 1000);
}

static void
consumed_room_is_used_again(void **state)
{
	struct buf *b = *state;
	char byte = 0, expected = 0;
	int i;

	for (i = 0; i < 10000; i++, byte++) {
		assert_status(buf_append(b, span_of(&byte, 1)), ST_OK);
		if (b->len == 700) {
			assert_int_equal(buf_span(b).p[0], expected);
			buf_consume(b, 699);
			expected = (char)(expected + 699);
		}
	}
	assert_true(b->cap <= 1000);
}

static void
room_after_reserve_may_be_written_and_no_more(void **state)
{
	struct buf *b = *state;

	assert_status(buf_append(b, SPAN("12345")), ST_OK);
	buf_consume(b, 3);
	assert_status(buf_reserve(b, 998), ST_OK);
	assert_int_equal(buf_room(b), 998);
	memset(buf_tail(b), 'x', 998);
	buf_grew(b, 998);
	assert_int_equal(b->len, 1000);
	assert_int_equal(buf_room(b), 0);
	assert_span(span_of(buf_span(b).p, 3), SPAN("45x"));
}

static void
what_comes_after_a_consume_follows_the_rest(void **state)
{
	struct buf *b = *state;
	char *base;

	assert_status(buf_append(b, SPAN("0123456789")), ST_OK);
	base = b->base;
	buf_consume(b, 4);
	assert_int_equal(buf_room(b), b->cap - 10);
	assert_status(buf_append(b, SPAN("ab")), ST_OK);
	assert_ptr_equal(b->base, base); /* there was room */
	assert_span(buf_span(b), SPAN("456789ab"));
	/* Exactly what is left at the end, then one more: moved, not grown. */
	assert_status(buf_reserve(b, b->cap - 12), ST_OK);
	assert_int_equal(b->start, 4);
	assert_status(buf_reserve(b, b->cap - 11), ST_OK);
	assert_int_equal(b->start, 0);
	assert_ptr_equal(b->base, base);
	assert_span(buf_span(b), SPAN("456789ab"));
	buf_consume(b, 8);
	assert_int_equal(b->start, 0);
}

static void
room_is_within_the_bound(void **state)
{
	struct buf *b = *state;

	assert_status(buf_append(b, SPAN("0123456789")), ST_OK);
	b->max = 30;
	assert_int_equal(buf_room(b), 20);
	b->max = 10;
	assert_int_equal(buf_room(b), 0);
}

static void
is_unchanged_when_allocation_fails(void **state)
{
	struct buf *b = *state;
	char big[600] = {0};

	fault_alloc_at(1);
	assert_status(buf_append(b, SPAN("a")), ST_NOMEM);
	assert_true(fault_hit());
	assert_int_equal(b->len, 0);
	assert_status(buf_append(b, SPAN("a")), ST_OK);
	fault_alloc_at(1);
	assert_status(buf_append(b, span_of(big, sizeof(big))), ST_NOMEM);
	assert_true(fault_hit());
	assert_span(buf_span(b), SPAN("a"));
}

static void
prints_text_of_any_length(void **state)
{
	struct buf *b = *state;
	char big[901];
	size_t i;

	memset(big, 'x', 900);
	big[900] = '\0';
	assert_status(buf_printf(b, "%s", ""), ST_OK);
	assert_int_equal(b->len, 0);
	assert_status(buf_printf(b, "%d-%s", 7, "y"), ST_OK);
	assert_span(buf_span(b), SPAN("7-y"));
	buf_clear(b);
	b->max = 5000;
	assert_status(buf_printf(b, "%s%s<%d>", big, big, 1), ST_OK);
	assert_int_equal(b->len, 1803);
	for (i = 0; i < 1800; i++)
		assert_int_equal(buf_span(b).p[i], 'x');
	assert_span(span_skip(buf_span(b), 1800), SPAN("<1>"));
}

static void
printing_past_the_bound_adds_nothing(void **state)
{
	struct buf *b = *state;
	char big[1002];

	memset(big, 'x', 1001);
	big[1001] = '\0';
	assert_status(buf_append(b, SPAN("a")), ST_OK);
	assert_status(buf_printf(b, "%s", big), ST_FULL);
	assert_span(buf_span(b), SPAN("a"));
}

static void
puts_integers(void **state)
{
	struct buf *b = *state;

	assert_status(buf_put_int64(b, INT64_MIN), ST_OK);
	assert_status(buf_put_int64(b, 12), ST_OK);
	assert_span(buf_span(b), SPAN("-922337203685477580812"));
}

static void
shrinking_gives_back_what_is_beyond(void **state)
{
	struct buf *b = *state;
	char big[900] = {0};

	assert_status(buf_append(b, span_of(big, sizeof(big))), ST_OK);
	buf_shrink(b, 10000);
	assert_int_equal(b->len, 0);
	assert_true(b->cap >= 900);
	buf_shrink(b, 100);
	assert_int_equal(b->cap, 0);
	assert_status(buf_append(b, SPAN("again")), ST_OK);
	assert_span(buf_span(b), SPAN("again"));
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(bytes_come_out_as_they_went_in),
	    T(an_empty_buffer_has_an_empty_span),
	    T(refuses_bytes_past_its_bound_and_stays_as_it_was),
	    T(consumed_room_is_used_again),
	    T(room_after_reserve_may_be_written_and_no_more),
	    T(what_comes_after_a_consume_follows_the_rest),
	    T(room_is_within_the_bound),
	    T(is_unchanged_when_allocation_fails),
	    T(prints_text_of_any_length),
	    T(printing_past_the_bound_adds_nothing),
	    T(puts_integers),
	    T(shrinking_gives_back_what_is_beyond),
	};

	return RUN(tests);
}

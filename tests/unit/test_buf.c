/* SPDX-License-Identifier: MIT */
#include "buf.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

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
	buf_addf(b, "%s", "");
	assert_status(buf_status(b), ST_OK);
	assert_int_equal(b->len, 0);
	buf_addf(b, "%d-%s", 7, "y");
	assert_status(buf_status(b), ST_OK);
	assert_span(buf_span(b), SPAN("7-y"));
	buf_clear(b);
	b->max = 5000;
	buf_addf(b, "%s%s<%d>", big, big, 1);
	assert_status(buf_status(b), ST_OK);
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
	buf_addf(b, "%s", big);
	assert_status(buf_finish(b, 1), ST_FULL);
	assert_span(buf_span(b), SPAN("a"));
}

static void
puts_integers(void **state)
{
	struct buf *b = *state;

	buf_add_int64(b, INT64_MIN);
	buf_add_int64(b, 12);
	assert_status(buf_status(b), ST_OK);
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

static void
a_text_is_added_in_pieces(void **state)
{
	struct buf *b = *state, other;

	buf_init(&other, 10);
	buf_add(&other, SPAN("end"));
	buf_add(b, SPAN("a\0b"));
	buf_addf(b, "<%s>", "x");
	buf_add_int64(b, -7);
	buf_note(b, ST_OK);
	buf_add_buf(b, &other);
	assert_status(buf_status(b), ST_OK);
	assert_span(buf_span(b), SPAN("a\0b<x>-7end"));
	assert_status(buf_finish(b, 0), ST_OK);
	assert_span(buf_span(b), SPAN("a\0b<x>-7end"));
	buf_fini(&other);
}

static void
the_first_failure_sticks_and_nothing_follows_it(void **state)
{
	struct buf *b = *state;
	char big[1001] = {0};

	buf_add(b, SPAN("a"));
	buf_add(b, span_of(big, sizeof(big)));
	buf_note(b, ST_INVALID);
	buf_add(b, SPAN("b"));
	buf_addf(b, "%d", 1);
	buf_add_int64(b, 2);
	assert_int_equal(b->len, 1);
	assert_status(buf_append(b, SPAN("c")), ST_FULL);
	assert_status(buf_reserve(b, 1), ST_FULL);
	assert_int_equal(b->len, 1);
	assert_status(buf_status(b), ST_FULL);
}

/* What waited before it is still to be had, and more can be added. */
static void
a_text_that_failed_is_taken_back_as_a_whole(void **state)
{
	struct buf *b = *state;
	char big[999] = {0};

	assert_status(buf_append(b, SPAN("wait")), ST_OK);
	buf_add(b, SPAN("text"));
	buf_add(b, span_of(big, sizeof(big)));
	assert_status(buf_finish(b, 4), ST_FULL);
	assert_status(buf_status(b), ST_OK);
	assert_span(buf_span(b), SPAN("wait"));
	buf_add(b, SPAN("more"));
	assert_status(buf_finish(b, 4), ST_OK);
	assert_span(buf_span(b), SPAN("waitmore"));
}

/* A part that ends on its own must not make the whole look well. */
static void
a_part_passes_its_failure_on(void **state)
{
	struct buf *b = *state, part;
	size_t middle;

	buf_add(b, SPAN("whole"));
	middle = b->len;
	buf_note(b, ST_NOMEM);
	buf_add(b, SPAN("part"));
	buf_note(b, buf_finish(b, middle));
	assert_status(buf_status(b), ST_NOMEM);
	assert_status(buf_finish(b, 0), ST_NOMEM);
	buf_init(&part, 1);
	buf_add(&part, SPAN("xy"));
	buf_add_buf(b, &part);
	buf_fini(&part);
	assert_status(buf_finish(b, 0), ST_FULL);
}

static void
memory_that_is_missing_sticks_too(void **state)
{
	struct buf *b = *state;
	char big[1100];

	fault_alloc_at(1);
	buf_add_int64(b, 1);
	assert_true(fault_hit());
	buf_add(b, SPAN("b"));
	assert_int_equal(b->len, 0);
	assert_status(buf_finish(b, 0), ST_NOMEM);
	b->max = 5000;
	memset(big, 'x', sizeof(big));
	fault_alloc_at(1); /* the text of a long format */
	buf_addf(b, "%.*s", (int)sizeof(big), big);
	assert_true(fault_hit());
	buf_add(b, SPAN("b"));
	assert_status(buf_finish(b, 0), ST_NOMEM);
	buf_addf(b, "%.*s", (int)sizeof(big), big);
	assert_status(buf_finish(b, 0), ST_OK);
	assert_int_equal(b->len, sizeof(big));
}

static void
clearing_forgets_a_failure(void **state)
{
	struct buf *b = *state;

	buf_note(b, ST_FULL);
	buf_clear(b);
	assert_status(buf_append(b, SPAN("a")), ST_OK);
	buf_note(b, ST_FULL);
	buf_shrink(b, 0);
	assert_status(buf_append(b, SPAN("a")), ST_OK);
}

static void
look(struct buf *b)
{
	(void)buf_span(b);
}

static void
consume(struct buf *b)
{
	buf_consume(b, 1);
}

static void
truncate_it(struct buf *b)
{
	buf_truncate(b, 1);
}

static bool
aborts(void (*fn)(struct buf *b), struct buf *b)
{
	pid_t pid = fork();
	int how;

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(STDERR_FILENO); /* what assert says */
		fn(b);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &how, 0), pid);
	return WIFSIGNALED(how) && WTERMSIG(how) == SIGABRT;
}

/* Who forgets to look at the status does not send half a text. */
static void
half_a_text_cannot_be_had(void **state)
{
	struct buf *b = *state;

	buf_add(b, SPAN("half"));
	assert_false(aborts(look, b));
	buf_note(b, ST_FULL);
	assert_true(aborts(look, b));
	assert_true(aborts(consume, b));
	assert_true(aborts(truncate_it, b));
	assert_status(buf_finish(b, 0), ST_FULL);
	assert_false(aborts(look, b));
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
	    T(a_text_is_added_in_pieces),
	    T(the_first_failure_sticks_and_nothing_follows_it),
	    T(a_text_that_failed_is_taken_back_as_a_whole),
	    T(a_part_passes_its_failure_on),
	    T(memory_that_is_missing_sticks_too),
	    T(clearing_forgets_a_failure),
	    T(half_a_text_cannot_be_had),
	};

	return RUN(tests);
}

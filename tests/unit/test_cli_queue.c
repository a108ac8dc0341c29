/* SPDX-License-Identifier: MIT */
/* The requests of `walcast publish` that pubd has not answered. */
#include "cli_queue.h"

#include "fault.h"
#include "unit.h"

static struct cli_queue a, b; /* large */

static int
begin(void **state)
{
	(void)state;
	cli_queue_init(&a, 1 << 20);
	cli_queue_init(&b, 1 << 20);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	cli_queue_fini(&a);
	cli_queue_fini(&b);
	return 0;
}

static void
put(struct cli_queue *q, uint64_t line, struct span text)
{
	assert_status(cli_queue_put(q, line, text), ST_OK);
}

/* The oldest is this one; it goes. */
static void
want(struct cli_queue *q, uint64_t line, struct span text)
{
	assert_true(q->n > 0);
	assert_int_equal(cli_queue_line(q), line);
	assert_span(cli_queue_text(q), text);
	cli_queue_drop(q);
}

static void
requests_come_out_in_their_order(void **state)
{
	uint64_t i;

	(void)state;
	for (i = 0; i < 3 * CLI_QUEUE_MAX; i++) { /* round the ring */
		put(&a, 2 * i, SPAN("first"));
		put(&a, 2 * i + 1, SPAN("second"));
		want(&a, 2 * i, SPAN("first"));
		want(&a, 2 * i + 1, SPAN("second"));
	}
	assert_int_equal(a.n, 0);
}

static void
what_was_refused_goes_before_the_rest(void **state)
{
	(void)state;
	put(&a, 1, SPAN("one"));
	put(&a, 2, SPAN("two"));
	put(&b, 9, SPAN("gone"));
	put(&b, 3, SPAN("three"));
	cli_queue_drop(&b);
	assert_status(cli_queue_put_before(&a, &b), ST_OK);
	assert_int_equal(a.n, 0);
	want(&b, 1, SPAN("one"));
	want(&b, 2, SPAN("two"));
	want(&b, 3, SPAN("three"));
	put(&a, 4, SPAN("four")); /* and can be used again */
	want(&a, 4, SPAN("four"));
}

static void
a_full_queue_takes_nothing_and_keeps_what_it_has(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < CLI_QUEUE_MAX; i++)
		put(&a, i, SPAN("x"));
	assert_status(cli_queue_put(&a, i, SPAN("y")), ST_FULL);
	put(&b, 7, SPAN("z"));
	assert_status(cli_queue_put_before(&a, &b), ST_FULL);
	assert_int_equal(a.n, CLI_QUEUE_MAX);
	assert_int_equal(a.text.len, CLI_QUEUE_MAX);
	want(&b, 7, SPAN("z"));
}

static void
without_memory_both_queues_are_unchanged(void **state)
{
	char text[256] = "";

	(void)state;
	put(&a, 1, SPAN("one"));
	put(&b, 2, span_of(text, sizeof(text)));
	fault_alloc_at(1);
	assert_status(cli_queue_put_before(&a, &b), ST_NOMEM);
	assert_true(fault_hit());
	want(&a, 1, SPAN("one"));
	want(&b, 2, span_of(text, sizeof(text)));
}

#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(requests_come_out_in_their_order),
	    T(what_was_refused_goes_before_the_rest),
	    T(a_full_queue_takes_nothing_and_keeps_what_it_has),
	    T(without_memory_both_queues_are_unchanged),
	};

	return RUN(tests);
}

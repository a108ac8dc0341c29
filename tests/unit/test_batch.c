/* SPDX-License-Identifier: MIT */
/* What waits for a commit: order, bounds, when it is due. */
#include "batch.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "unit.h"

#define MIN_US 1000
#define MAX_US 10000

static int
setup(void **state)
{
	const struct batch_limits limits = {.max_events = PROTOCOL_MAX_EVENTS,
	    .max_bytes = 4 << 20,
	    .retry_min_us = MIN_US,
	    .retry_max_us = MAX_US};
	struct batch *b = NULL;

	assert_status(batch_new(&b, &limits), ST_OK);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	struct batch *b = *state;

	fault_alloc_at(0);
	batch_free(&b);
	assert_null(b);
	batch_free(&b);
	return 0;
}

/* An event whose spans die with the caller's frame. */
struct sample {
	char text[64];
	struct protocol_event event;
	struct protocol_request r;
};

static struct protocol_request *
publish(struct sample *s, const char *data)
{
	(void)snprintf(s->text, sizeof(s->text), "%s", data);
	s->event = (struct protocol_event){.e = {.channel = SPAN("orders"),
					       .event = SPAN("message"),
					       .key = SPAN_NONE,
					       .kind = EVENT_DATA_TEXT,
					       .data = span_str(s->text)}};
	s->r = (struct protocol_request){.op = OP_PUBLISH,
	    .ref = span_str(s->text),
	    .events = &s->event,
	    .n_events = 1};
	return &s->r;
}

static void
add(struct batch *b, size_t waiter, const char *data)
{
	struct sample s;

	assert_status(batch_add(b, (void *)waiter, publish(&s, data)), ST_OK);
	memset(&s, 'x', sizeof(s));
}

/* A request of n events with `bytes` of data each. */
static struct protocol_request
many(struct protocol_event *events, size_t n, const char *data, size_t bytes)
{
	size_t i;

	for (i = 0; i < n; i++)
		events[i] = (struct protocol_event){
		    .e = {.channel = SPAN("c"),
			.event = SPAN("e"),
			.data = span_of(data, bytes)}};
	return (struct protocol_request){.op = OP_ARRAY,
	    .events = events,
	    .n_events = n};
}

static void
batch_keeps_copies_in_the_order_of_arrival(void **state)
{
	struct batch *b = *state;
	char text[16];
	size_t i;

	for (i = 0; i < 1000; i++) {
		(void)snprintf(text, sizeof(text), "d%zu", i);
		add(b, i, text);
	}
	assert_int_equal(batch_count(b), 1000);
	assert_int_equal(batch_events(b), 1000);
	for (i = 0; i < 1000; i++) {
		struct batch_op *op = batch_at(b, i);

		(void)snprintf(text, sizeof(text), "d%zu", i);
		assert_ptr_equal(op->waiter, (void *)i);
		assert_span(op->request.events[0].e.data, span_str(text));
		assert_span(op->request.events[0].e.channel, SPAN("orders"));
		assert_span(op->request.ref, span_str(text));
	}
}

static void
batch_tells_no_key_from_an_empty_one(void **state)
{
	struct batch *b = *state;
	struct sample s;

	add(b, 1, "");
	assert_null(batch_at(b, 0)->request.events[0].e.key.p);
	publish(&s, "x");
	s.event.e.key = SPAN("k");
	assert_status(batch_add(b, NULL, &s.r), ST_OK);
	assert_span(batch_at(b, 1)->request.events[0].e.key, SPAN("k"));
}

/* Should the commit fail, its lines in the log name the channel. */
static void
batch_keeps_the_channel_for_a_failure_that_comes(void **state)
{
	struct batch *b = *state;
	struct sample s;

	publish(&s, "a");
	s.r.failure.channel = span_str(s.text); /* of the line, which goes */
	s.r.read_us = 77;
	assert_status(batch_add(b, NULL, &s.r), ST_OK);
	memset(&s, 'x', sizeof(s));
	assert_span(batch_at(b, 0)->request.failure.channel, SPAN("orders"));
	assert_int_equal(batch_at(b, 0)->request.read_us, 77);
}

static void
batch_keeps_errors_with_their_message(void **state)
{
	struct batch *b = *state;
	char text[] = "why", channel[] = "orders";
	struct protocol_request r = {.op = OP_ERROR, .n_events = 7};

	protocol_fail(&r, PROTOCOL_BAD_JSON, span_str(text));
	r.failure.channel = span_str(channel);
	assert_status(batch_add(b, NULL, &r), ST_OK);
	text[0] = channel[0] = 'x';
	assert_span(batch_at(b, 0)->request.failure.message, SPAN("why"));
	assert_span(batch_at(b, 0)->request.failure.channel, SPAN("orders"));
	assert_int_equal(batch_events(b), 0);
	assert_int_equal(batch_at(b, 0)->request.n_events, 0);
}

static void
batch_refuses_events_past_its_bound(void **state)
{
	static struct protocol_event events[PROTOCOL_MAX_EVENTS];
	struct batch *b = *state;
	struct protocol_request r = many(events, PROTOCOL_MAX_EVENTS - 1, "",
	    0);
	struct sample s;
	size_t bytes;

	assert_status(batch_add(b, NULL, &r), ST_OK);
	add(b, 1, "x");
	bytes = batch_bytes(b);
	assert_status(batch_add(b, NULL, publish(&s, "y")), ST_FULL);
	assert_int_equal(batch_count(b), 2);
	assert_int_equal(batch_bytes(b), bytes);
	batch_clear(b);
	assert_status(batch_add(b, NULL, publish(&s, "y")), ST_OK);
}

static void
batch_refuses_bytes_past_its_bound(void **state)
{
	struct batch *b = *state;
	static char data[2500000];
	struct protocol_event e[1];
	struct protocol_request r = many(e, 1, data, sizeof(data));

	assert_status(batch_add(b, NULL, &r), ST_OK);
	assert_status(batch_add(b, NULL, &r), ST_FULL);
	assert_int_equal(batch_count(b), 1);
	assert_int_equal(batch_events(b), 1);
}

static void
batch_takes_any_request_when_it_is_empty(void **state)
{
	static struct protocol_event events[PROTOCOL_MAX_EVENTS];
	static char data[4096];
	struct batch *b = *state;
	struct protocol_request r = many(events, PROTOCOL_MAX_EVENTS, data,
	    sizeof(data));

	/* 40 MB where 4 MB is the bound. */
	assert_status(batch_add(b, NULL, &r), ST_OK);
	assert_int_equal(batch_events(b), PROTOCOL_MAX_EVENTS);
	assert_int_equal(batch_at(b, 0)->request.events[9999].e.data.len, 4096);
}

static void
batch_is_due_at_once_when_something_waits(void **state)
{
	struct batch *b = *state;

	assert_true(batch_due_us(b) == BATCH_NEVER);
	add(b, 1, "x");
	assert_int_equal(batch_due_us(b), 0);
	batch_clear(b);
	assert_true(batch_due_us(b) == BATCH_NEVER);
}

static void
batch_waits_longer_for_a_lock_each_time_up_to_a_bound(void **state)
{
	const uint64_t waits[] = {1000, 2000, 4000, 8000, 10000, 10000};
	struct batch *b = *state;
	uint64_t now_us = 5000000;
	size_t i;

	add(b, 1, "x");
	assert_int_equal(batch_waited_us(b, now_us), 0);
	for (i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		batch_defer(b, now_us);
		assert_int_equal(batch_due_us(b), now_us + waits[i]);
		now_us = batch_due_us(b);
		assert_int_equal(batch_waited_us(b, now_us), now_us - 5000000);
	}
}

static void
batch_takes_more_while_it_is_deferred(void **state)
{
	struct batch *b = *state;

	add(b, 1, "x");
	batch_defer(b, 100);
	add(b, 2, "y");
	assert_int_equal(batch_due_us(b), 100 + MIN_US);
	assert_int_equal(batch_count(b), 2);
}

static void
batch_forgets_everything_when_cleared(void **state)
{
	struct batch *b = *state;
	size_t i;

	for (i = 0; i < 40000; i++) {
		struct sample s;

		if (batch_add(b, NULL, publish(&s, "data")) != ST_OK)
			break;
	}
	batch_defer(b, 1);
	batch_clear(b);
	assert_int_equal(batch_count(b), 0);
	assert_int_equal(batch_events(b), 0);
	assert_int_equal(batch_bytes(b), 0);
	assert_int_equal(batch_waited_us(b, 99), 0);
	add(b, 3, "again");
	assert_int_equal(batch_due_us(b), 0);
	assert_span(batch_at(b, 0)->request.ref, SPAN("again"));
}

static void
batch_is_unchanged_when_allocation_fails(void **state)
{
	struct batch *b = *state;
	struct sample s;
	unsigned n;

	for (n = 1;; n++) {
		enum status st;

		fault_alloc_at(n);
		st = batch_add(b, NULL, publish(&s, "a"));
		if (!fault_hit()) {
			assert_status(st, ST_OK);
			break;
		}
		assert_status(st, ST_NOMEM);
		assert_int_equal(batch_count(b), 0);
		assert_int_equal(batch_bytes(b), 0);
		assert_true(batch_due_us(b) == BATCH_NEVER);
	}
	assert_true(n > 1);
	assert_int_equal(batch_count(b), 1);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(batch_keeps_copies_in_the_order_of_arrival),
	    TEST(batch_tells_no_key_from_an_empty_one),
	    TEST(batch_keeps_the_channel_for_a_failure_that_comes),
	    TEST(batch_keeps_errors_with_their_message),
	    TEST(batch_refuses_events_past_its_bound),
	    TEST(batch_refuses_bytes_past_its_bound),
	    TEST(batch_takes_any_request_when_it_is_empty),
	    TEST(batch_is_due_at_once_when_something_waits),
	    TEST(batch_waits_longer_for_a_lock_each_time_up_to_a_bound),
	    TEST(batch_takes_more_while_it_is_deferred),
	    TEST(batch_forgets_everything_when_cleared),
	    TEST(batch_is_unchanged_when_allocation_fails),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
/* Events that carry a trace. */
#include "traced.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "unit.h"

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static struct traced_set set;

static struct event
event(int64_t id)
{
	return (struct event){
	    .id = id,
	    .channel = SPAN("orders"),
	    .event = SPAN("say \"it\""),
	    .trace = SPAN(TRACE),
	    .data = SPAN("12345"),
	};
}

static void
an_event_is_kept_and_told_in_one_line(void **state)
{
	struct event e = event(7);
	struct buf line;

	(void)state;
	memset(&set, 0, sizeof(set));
	traced_add(&set, &e, 3, 1000);
	buf_init(&line, 4096);
	assert_status(traced_line(&set.item[0].event, 1500, &line), ST_OK);
	assert_span(buf_span(&line),
	    SPAN("{\"op\":\"span\",\"name\":\"dispatch\",\"trace\":\"" TRACE
		 "\",\"channel\":\"orders\",\"type\":\"say \\\"it\\\"\","
		 "\"start_us\":1000,\"end_us\":1500,\"id\":7,"
		 "\"bytes\":5,\"streams\":3}"));
	buf_fini(&line);
}

static void
what_is_longer_than_its_rule_is_cut(void **state)
{
	struct event e = event(1);
	char name[300];

	(void)state;
	memset(&set, 0, sizeof(set));
	memset(name, 'n', sizeof(name));
	e.channel = e.event = e.trace = span_of(name, sizeof(name));
	traced_add(&set, &e, 0, 0);
	assert_int_equal(set.item[0].event.channel.len, NAME_MAX_BYTES);
	assert_int_equal(set.item[0].event.type.len, NAME_MAX_BYTES);
	assert_int_equal(set.item[0].event.trace.len, TRACEPARENT_BYTES);
}

static void
what_has_no_room_is_counted(void **state)
{
	int64_t id;

	(void)state;
	memset(&set, 0, sizeof(set));
	for (id = 1; id <= TRACED_MAX + 3; id++) {
		struct event e = event(id);

		traced_add(&set, &e, 0, 0);
	}
	assert_int_equal(set.n, TRACED_MAX);
	assert_int_equal(set.n_left_out, 3);
	assert_int_equal(set.item[TRACED_MAX - 1].event.id, TRACED_MAX);
}

static void
without_memory_there_is_no_line(void **state)
{
	struct event e = event(1);
	struct buf line;
	size_t max;

	(void)state;
	memset(&set, 0, sizeof(set));
	traced_add(&set, &e, 0, 0);
	buf_init(&line, 4096);
	fault_alloc_at(1);
	assert_status(traced_line(&set.item[0].event, 0, &line), ST_NOMEM);
	assert_true(fault_hit());
	buf_fini(&line);
	for (max = 0; max < 150; max += 10) {
		buf_init(&line, max);
		assert_status(traced_line(&set.item[0].event, 0, &line),
		    ST_FULL);
		buf_fini(&line);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_event_is_kept_and_told_in_one_line),
	    cmocka_unit_test(what_is_longer_than_its_rule_is_cut),
	    cmocka_unit_test(what_has_no_room_is_counted),
	    cmocka_unit_test(without_memory_there_is_no_line),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
/*
 * Both ends of our programs' talk: the text that is written, byte by byte, and
 * that it is read as what it was written from, each field at its bounds.
 */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "jsontext.h"
#include "name.h"
#include "unit.h"
#include "value.h"

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

struct fixture {
	struct values v;
	struct buf line;
	struct metrics metrics;
	char long_name[NAME_MAX_BYTES];
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL || values_init(&f->v) != ST_OK)
		return -1;
	buf_init(&f->line, WIRE_MAX_REPORT);
	memset(f->long_name, 'n', sizeof(f->long_name));
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	values_fini(&f->v);
	buf_fini(&f->line);
	free(f);
	return 0;
}

/* What was written, as a decoder takes it. */
static struct span
written(struct fixture *f)
{
	struct span line = buf_span(&f->line);
	size_t at;

	assert_status(jsontext_check(line, &at), ST_OK);
	assert_null(span_find(line, '\n'));
	assert_status(values_begin(&f->v, line.len), ST_OK);
	return line;
}

/* ---- watch -------------------------------------------------------------- */

static void
want_watch(struct fixture *f, const struct wire_watch *w, const char *text)
{
	struct wire_watch got;

	buf_clear(&f->line);
	assert_status(wire_put_watch(&f->line, w), ST_OK);
	assert_span(written(f), span_str(text));
	wire_get_watch(buf_span(&f->line), &got);
	assert_span(got.role, w->role);
	assert_int_equal(got.timing, w->timing);
	assert_int_equal(got.wake, w->wake);
}

static void
a_watch_comes_through(void **state)
{
	struct fixture *f = *state;
	const struct wire_watch anybody = {.wake = true};
	const struct wire_watch worker = {.role = SPAN("worker"),
	    .timing = true,
	    .wake = true};
	const struct wire_watch metrics = {.role = SPAN("metrics")};

	want_watch(f, &anybody, "{\"op\":\"watch\"}");
	want_watch(f, &worker,
	    "{\"op\":\"watch\",\"role\":\"worker\",\"timing\":true}");
	want_watch(f, &metrics,
	    "{\"op\":\"watch\",\"role\":\"metrics\",\"wake\":false}");
}

static void
a_role_that_is_no_plain_string_is_none(void **state)
{
	struct wire_watch w;

	(void)state;
	wire_get_watch(SPAN("{\"role\":7}"), &w);
	assert_int_equal(w.role.len, 0);
	wire_get_watch(SPAN("{\"role\":[\"cgi\"]}"), &w);
	assert_int_equal(w.role.len, 0);
	wire_get_watch(SPAN("{\"role\":\"\\u0063gi\"}"), &w);
	assert_int_equal(w.role.len, 0);
	wire_get_watch(SPAN("{\"role\":\"cgi\"}"), &w);
	assert_span(w.role, SPAN("cgi"));
}

static void
pubd_itself_does_not_report(void **state)
{
	(void)state;
	assert_true(wire_role_ok(SPAN("worker")));
	assert_true(wire_role_ok(SPAN("cgi")));
	assert_true(wire_role_ok(SPAN("metrics")));
	assert_false(wire_role_ok(SPAN("pubd")));
	assert_false(wire_role_ok(SPAN("totals")));
	assert_false(wire_role_ok(SPAN_NONE));
}

/* ---- reports ------------------------------------------------------------ */

static struct wire_report
small_report(struct fixture *f)
{
	return (struct wire_report){.role = SPAN("worker"),
	    .version = SPAN("1.2"),
	    .pid = 7,
	    .started_ms = 9,
	    .head = 4,
	    .cursor = 3,
	    .streams = 5,
	    .metrics = &f->metrics};
}

static struct status_row
report_through(struct fixture *f, const struct wire_report *r)
{
	struct wire_reported got;
	struct errmsg why = {""};

	buf_clear(&f->line);
	assert_status(wire_put_report(&f->line, r), ST_OK);
	if (wire_get_report(&f->v, written(f), &got, &why) != ST_OK)
		fail_msg("%s", why.text);
	assert_int_equal(got.n_unknown, 0);
	assert_span(got.row.role, r->role);
	assert_span(got.row.version, r->version);
	assert_int_equal(got.row.pid, r->pid);
	assert_int_equal(got.row.started_ms, r->started_ms);
	assert_int_equal(got.row.head, r->head);
	assert_int_equal(got.row.cursor, r->cursor);
	assert_int_equal(got.row.streams, r->streams);
	assert_int_equal(got.row.error_ms, r->error_ms);
	return got.row;
}

static void
a_report_comes_through(void **state)
{
	struct fixture *f = *state;
	struct wire_report r = small_report(f);
	struct status_row row;

	metrics_set(&f->metrics, METRIC_EVENTS_SENT, 1);
	metrics_set(&f->metrics, METRIC_RSS, 2);
	row = report_through(f, &r);
	assert_span(buf_span(&f->line),
	    SPAN("{\"op\":\"report\",\"name\":\"worker-7-9\","
		 "\"role\":\"worker\",\"pid\":7,\"version\":\"1.2\","
		 "\"started_ms\":9,\"head\":4,\"cursor\":3,\"streams\":5,"
		 "\"counters\":{\"events_sent\":1},"
		 "\"gauges\":{\"rss_bytes\":2}}"));
	assert_span(row.name, SPAN("worker-7-9"));
	assert_null(row.error.p);
	r.error_ms = 8;
	r.error = SPAN("it is \"broken\"");
	row = report_through(f, &r);
	assert_span(row.error, SPAN("it is \"broken\""));
	assert_non_null(memmem(f->line.base, f->line.len,
	    ",\"error_ms\":8,\"error\":\"it is \\\"broken\\\"\"}", 41));
}

/* Nothing of ours may be refused for being large. */
static void
a_report_comes_through_with_every_field_at_its_bound(void **state)
{
	struct fixture *f = *state;
	struct wire_report r = small_report(f);
	struct metrics got = {.cell = {0}};
	char error[WIRE_MAX_ERROR];
	unsigned i, n_unknown = 0;
	struct status_row row;

	for (i = 0; i < METRICS_N_CELLS; i++)
		metrics_set(&f->metrics, i, WIRE_MAX_METRIC);
	memset(error, '"', sizeof(error));
	r.role = SPAN("metrics");
	r.version = span_of(f->long_name, sizeof(f->long_name));
	r.pid = r.started_ms = r.head = r.cursor = r.streams = INT64_MAX;
	r.error_ms = INT64_MAX;
	r.error = span_of(error, sizeof(error));
	row = report_through(f, &r);
	assert_span(row.error, r.error);
	assert_true(row.counters.len <= WIRE_MAX_METRICS);
	assert_true(row.gauges.len <= WIRE_MAX_METRICS);
	assert_status(
	    metrics_read(&got, METRICS_COUNTERS, row.counters, &n_unknown),
	    ST_OK);
	assert_status(
	    metrics_read(&got, METRICS_GAUGES, row.gauges, &n_unknown), ST_OK);
	assert_int_equal(n_unknown, 0);
	for (i = 0; i < METRICS_N_CELLS; i++)
		assert_int_equal(got.cell[i], WIRE_MAX_METRIC);
}

static void
a_metric_beyond_its_bound_is_refused(void **state)
{
	struct fixture *f = *state;
	struct wire_report r = small_report(f);
	struct wire_reported got;
	struct errmsg why;

	metrics_set(&f->metrics, METRIC_EVENTS_SENT, WIRE_MAX_METRIC + 1);
	assert_status(wire_put_report(&f->line, &r), ST_OK);
	assert_status(wire_get_report(&f->v, written(f), &got, &why),
	    ST_INVALID);
}

static void
a_report_without_room_leaves_the_buffer_as_it_was(void **state)
{
	struct fixture *f = *state;
	struct wire_report r = small_report(f);
	size_t max;

	for (max = 0; max < 150; max += 10) {
		struct buf small;

		buf_init(&small, max + 1);
		assert_status(buf_append(&small, SPAN("x")), ST_OK);
		assert_status(wire_put_report(&small, &r), ST_FULL);
		assert_span(buf_span(&small), SPAN("x"));
		buf_fini(&small);
	}
	fault_alloc_at(1);
	assert_status(wire_put_report(&f->line, &r), ST_NOMEM);
	assert_true(fault_hit());
	assert_int_equal(f->line.len, 0);
}

/* ---- spans -------------------------------------------------------------- */

static void
span_through(struct fixture *f, const struct wire_span *s)
{
	struct errmsg why = {""};
	struct wire_span got;

	buf_clear(&f->line);
	assert_status(wire_put_span(&f->line, s), ST_OK);
	if (wire_get_span(&f->v, written(f), &got, &why) != ST_OK)
		fail_msg("%s", why.text);
	assert_span(got.trace, s->trace);
	assert_span(got.channel, s->channel);
	assert_span(got.type, s->type);
	assert_int_equal(got.start_us, s->start_us);
	assert_int_equal(got.end_us, s->end_us);
	assert_int_equal(got.id, s->id);
	assert_int_equal(got.bytes, s->bytes);
	assert_int_equal(got.streams, s->streams);
}

static void
a_span_comes_through_with_every_field_at_its_bound(void **state)
{
	struct fixture *f = *state;
	struct wire_span s = {.trace = SPAN(TRACE),
	    .channel = SPAN("orders"),
	    .type = SPAN("say \"it\""),
	    .start_us = 1000,
	    .end_us = 1500,
	    .id = 7,
	    .bytes = 5,
	    .streams = 3};

	span_through(f, &s);
	assert_span(buf_span(&f->line),
	    SPAN("{\"op\":\"span\",\"name\":\"dispatch\",\"trace\":\"" TRACE
		 "\",\"channel\":\"orders\",\"type\":\"say \\\"it\\\"\","
		 "\"start_us\":1000,\"end_us\":1500,\"id\":7,"
		 "\"bytes\":5,\"streams\":3}"));
	s.channel = s.type = span_of(f->long_name, sizeof(f->long_name));
	s.start_us = s.end_us = s.id = s.bytes = s.streams = INT64_MAX;
	span_through(f, &s);
	s.start_us = s.end_us = s.id = s.bytes = s.streams = 0;
	span_through(f, &s);
}

/* ---- answers ------------------------------------------------------------ */

static void
want_answer(struct fixture *f, const struct wire_answer *a, const char *text)
{
	struct wire_answer got;

	buf_clear(&f->line);
	assert_status(wire_put_answer(&f->line, a), ST_OK);
	assert_span(written(f), span_str(text));
	assert_status(wire_get_answer(&f->v, buf_span(&f->line), &got), ST_OK);
	assert_int_equal(got.ok, a->ok);
	assert_int_equal(got.id, a->id);
	assert_int_equal(got.duplicate, a->duplicate);
	assert_span(got.error, a->error);
	assert_span(got.message, a->message);
	assert_int_equal(got.index, a->index);
	assert_int_equal(got.retry_ms, a->retry_ms);
	assert_int_equal(got.head, a->head);
	assert_int_equal(got.oldest, a->oldest);
	assert_span(got.generation, a->generation);
	assert_int_equal(got.at_us, a->at_us);
	assert_int_equal(got.trace, a->trace);
	assert_span(got.ref, a->ref);
	assert_int_equal(wire_says_ok(buf_span(&f->line)), a->ok == WIRE_OK);
}

static void
news_of_a_head_come_through(void **state)
{
	struct fixture *f = *state;
	struct wire_answer a = WIRE_ANSWER_NONE;

	a.head = 12;
	want_answer(f, &a, "{\"head\":12}");
	a.at_us = 345;
	want_answer(f, &a, "{\"head\":12,\"at_us\":345}");
	a.head = a.at_us = INT64_MAX;
	want_answer(f, &a,
	    "{\"head\":9223372036854775807,\"at_us\":9223372036854775807}");
	a.head = a.at_us = 0;
	want_answer(f, &a, "{\"head\":0,\"at_us\":0}");
}

static void
metrics_http_come_through(void **state)
{
	struct fixture *f = *state;
	struct wire_answer a = WIRE_ANSWER_NONE;

	a.ok = WIRE_OK;
	want_answer(f, &a, "{\"ok\":true}");
	a.head = 46;
	a.trace = 1;
	a.ref = SPAN("7");
	want_answer(f, &a,
	    "{\"ok\":true,\"head\":46,\"trace\":true,\"ref\":7}");
	a.trace = 0;
	a.oldest = 1;
	a.generation = SPAN("0123");
	a.ref = SPAN_NONE;
	want_answer(f, &a,
	    "{\"ok\":true,\"head\":46,\"oldest\":1,\"generation\":\"0123\","
	    "\"trace\":false}");
	a = WIRE_ANSWER_NONE;
	a.ok = WIRE_OK;
	a.id = 44;
	a.duplicate = true;
	a.ref = SPAN("\"a\"");
	want_answer(f, &a,
	    "{\"ok\":true,\"id\":44,\"duplicate\":true,\"ref\":\"a\"}");
}

static void
failures_come_through(void **state)
{
	struct fixture *f = *state;
	struct wire_answer a = WIRE_ANSWER_NONE;

	a.ok = WIRE_FAILED;
	a.error = SPAN("busy");
	a.message = SPAN("");
	want_answer(f, &a,
	    "{\"ok\":false,\"error\":\"busy\",\"message\":\"\"}");
	a.message = SPAN("a \"b\"\n\\");
	a.index = 0;
	a.retry_ms = INT64_MAX;
	want_answer(f, &a,
	    "{\"ok\":false,\"error\":\"busy\",\"message\":\"a "
	    "\\\"b\\\"\\n\\\\\","
	    "\"index\":0,\"retry_ms\":9223372036854775807}");
}

static void
what_is_malformed_in_an_answer_is_not_there(void **state)
{
	struct fixture *f = *state;
	struct wire_answer a;

	assert_status(wire_get_answer(&f->v,
			  SPAN("{\"head\":\"49\",\"at_us\":-5,\"id\":1.5,"
			       "\"error\":7,\"retry_ms\":null,\"head2\":1}"),
			  &a),
	    ST_OK);
	assert_int_equal(a.ok, WIRE_NEWS);
	assert_int_equal(a.head, -1);
	assert_int_equal(a.at_us, -1);
	assert_int_equal(a.id, -1);
	assert_int_equal(a.retry_ms, -1);
	assert_null(a.error.p);
	assert_status(
	    wire_get_answer(&f->v, SPAN("{\"head\":1,\"head\":2}"), &a), ST_OK);
	assert_int_equal(a.head, 2);
	assert_status(wire_get_answer(&f->v, SPAN(""), &a), ST_INVALID);
	assert_status(wire_get_answer(&f->v, SPAN("[]"), &a), ST_INVALID);
	assert_status(wire_get_answer(&f->v, SPAN("{\"head\":1"), &a),
	    ST_INVALID);
}

static void
an_answer_without_memory_is_told(void **state)
{
	struct fixture *f = *state;
	struct wire_answer a;

	fault_alloc_at(1);
	assert_status(wire_get_answer(&f->v, SPAN("{\"head\":1}"), &a),
	    ST_NOMEM);
	assert_true(fault_hit());
	assert_status(wire_get_answer(&f->v, SPAN("{\"head\":1}"), &a), ST_OK);
	assert_int_equal(a.head, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_watch_comes_through),
	    TEST(a_role_that_is_no_plain_string_is_none),
	    TEST(pubd_itself_does_not_report),
	    TEST(a_report_comes_through),
	    TEST(a_report_comes_through_with_every_field_at_its_bound),
	    TEST(a_metric_beyond_its_bound_is_refused),
	    TEST(a_report_without_room_leaves_the_buffer_as_it_was),
	    TEST(a_span_comes_through_with_every_field_at_its_bound),
	    TEST(news_of_a_head_come_through),
	    TEST(metrics_http_come_through),
	    TEST(failures_come_through),
	    TEST(what_is_malformed_in_an_answer_is_not_there),
	    TEST(an_answer_without_memory_is_told),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
/* Metrics as JSON: read back, member by member. */
#include "metrics_json.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "json.h"
#include "unit.h"

#define NOW 1000000

struct fixture {
	struct aggregate *m;
	struct buf out;
	struct json_parser *parser;
	struct json *root;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	buf_init(&f->out, 1 << 20);
	assert_status(json_parser_new(&f->parser), ST_OK);
	*state = f;
	return aggregate_new(&f->m, NOW) == ST_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	if (f->root != NULL)
		json_free(&f->root);
	json_parser_free(&f->parser);
	aggregate_free(&f->m);
	buf_fini(&f->out);
	free(f);
	return 0;
}

static void
add(struct fixture *f, const char *role, int64_t age_ms, const char *counters,
    const char *gauges)
{
	const struct status_row row = {.name = span_str(role),
	    .role = span_str(role),
	    .seen_ms = NOW - age_ms,
	    .lease_ms = 10000,
	    .counters = span_str(counters),
	    .gauges = span_str(gauges)};

	assert_status(aggregate_add_row(f->m, &row), ST_OK);
}

/* Writes it, and reads it back; it must be one line. */
static const struct json *
parse(struct fixture *f, const struct metrics_json_lists *lists)
{
	struct errmsg err;

	buf_clear(&f->out);
	assert_status(metrics_json_put(f->m, lists, &f->out), ST_OK);
	assert_null(span_find(buf_span(&f->out), '\n'));
	if (json_parse(f->parser, buf_span(&f->out), &f->root, &err) != ST_OK)
		fail_msg("%s", err.text);
	return f->root;
}

/* The first series of a family. */
static const struct json *
series(const struct json *root, const char *name)
{
	const struct json *metrics = json_get(root, "metrics");
	size_t i;

	for (i = 0; i < json_count(metrics); i++) {
		const struct json *m = json_at(metrics, i);

		if (span_eq(json_text(json_get(m, "name")), span_str(name)))
			return json_at(json_get(m, "series"), 0);
	}
	return NULL;
}

static const struct metrics_json_lists none;

static void
without_rows_it_is_stale_and_has_no_age(void **state)
{
	const struct json *root = parse(*state, &none), *pubd;
	int64_t v;

	assert_true(json_int(json_get(root, "generated_ms"), &v));
	assert_int_equal(v, NOW);
	assert_true(json_true(json_get(root, "stale")));
	pubd = json_get(root, "pubd");
	assert_false(json_true(json_get(pubd, "alive")));
	assert_int_equal(json_type(json_get(pubd, "age_ms")), JSON_NULL);
	assert_true(json_int(
	    json_get(series(root, "sse_streams_opened_total"), "value"), &v));
	assert_int_equal(v, 0);
	assert_null(series(root, "sse_streams_open"));
}

static void
a_living_pubd_makes_it_fresh_and_a_dead_one_stale(void **state)
{
	struct fixture *f = *state;
	const struct json *root;
	int64_t v;

	add(f, "pubd", 60007, "{}", "{}");
	root = parse(f, &none);
	assert_true(json_true(json_get(root, "stale")));
	assert_true(json_int(json_get(json_get(root, "pubd"), "age_ms"), &v));
	assert_int_equal(v, 60007);
	json_free(&f->root);
	add(f, "pubd", 12, "{}", "{}");
	root = parse(f, &none);
	assert_false(json_true(json_get(root, "stale")));
	assert_true(json_true(json_get(json_get(root, "pubd"), "alive")));
}

static void
numbers_are_those_of_the_text(void **state)
{
	struct fixture *f = *state;

	add(f, "pubd", 1500, "{\"retention_us\":1500000}",
	    "{\"asked_60s\":3,\"opened_60s\":1}");
	(void)parse(f, &none);
	assert_status(buf_append(&f->out, span_of("", 1)), ST_OK);
	assert_non_null(strstr(buf_span(&f->out).p,
	    "{\"labels\":{\"role\":\"pubd\"},\"value\":1}"));
	assert_non_null(strstr(buf_span(&f->out).p,
	    "\"name\":\"sse_retention_seconds_total\",\"type\":\"counter\","
	    "\"unit\":\"seconds\",\"help\":\"Time that retention took.\","
	    "\"series\":[{\"labels\":{},\"value\":1.500000}]"));
	assert_non_null(strstr(buf_span(&f->out).p, "\"value\":0.333333333}"));
	assert_non_null(strstr(buf_span(&f->out).p, "\"value\":1.500}"));
}

static void
a_histogram_has_percentiles_and_cumulative_buckets(void **state)
{
	struct fixture *f = *state;
	const struct json *h, *buckets;
	int64_t v;

	h = series(parse(f, &none), "sse_delivery_latency_seconds");
	assert_int_equal(json_type(json_get(h, "p99")), JSON_NULL);
	json_free(&f->root);
	add(f, "worker", 0, "{\"delivery.1\":90,\"delivery.20\":10}", "{}");
	h = series(parse(f, &none), "sse_delivery_latency_seconds");
	assert_true(json_int(json_get(h, "count"), &v));
	assert_int_equal(v, 100);
	buckets = json_get(h, "buckets");
	assert_int_equal(json_count(buckets), HIST_BOUNDS + 1);
	assert_true(json_int(json_at(json_at(buckets, 0), 1), &v));
	assert_int_equal(v, 0);
	assert_true(json_int(json_at(json_at(buckets, 19), 1), &v));
	assert_int_equal(v, 90);
	assert_span(json_text(json_at(json_at(buckets, 20), 0)), SPAN("+Inf"));
	assert_true(json_int(json_at(json_at(buckets, 20), 1), &v));
	assert_int_equal(v, 100);
	assert_status(buf_append(&f->out, span_of("", 1)), ST_OK);
	assert_non_null(strstr(buf_span(&f->out).p,
	    "\"p50\":0.000077,\"p95\":60.000000,\"p99\":60.000000"));
}

static void
lists_hold_what_processes_say_as_text(void **state)
{
	struct fixture *f = *state;
	const struct status_row row = {.name = SPAN("w\"1"),
	    .role = SPAN("worker"),
	    .pid = 7,
	    .version = SPAN("<b>"),
	    .seen_ms = 3};
	const struct statusdb_error error = {.ts_ms = 5,
	    .name = SPAN("w"),
	    .text = SPAN("a\nb\xff")};
	struct buf processes, errors;
	const struct json *root, *p;
	struct metrics_json_lists lists;

	buf_init(&processes, 1000);
	buf_init(&errors, 1000);
	assert_status(metrics_json_process(&processes, &row, true), ST_OK);
	assert_status(metrics_json_process(&processes, &row, false), ST_OK);
	assert_status(metrics_json_error(&errors, &error), ST_OK);
	assert_status(metrics_json_error(&errors, &error), ST_OK);
	lists = (struct metrics_json_lists){.processes = buf_span(&processes),
	    .errors = buf_span(&errors),
	    .reasons = SPAN("{\"part\":\"store\"}")};
	root = parse(f, &lists);
	p = json_get(root, "processes");
	assert_int_equal(json_count(p), 2);
	assert_span(json_text(json_get(json_at(p, 0), "name")), SPAN("w\"1"));
	assert_span(json_text(json_get(json_at(p, 0), "version")), SPAN("<b>"));
	assert_true(json_true(json_get(json_at(p, 0), "alive")));
	assert_false(json_true(json_get(json_at(p, 1), "alive")));
	p = json_get(root, "errors");
	assert_int_equal(json_count(p), 2);
	assert_span(json_text(json_get(json_at(p, 1), "text")),
	    SPAN("a\nb\xef\xbf\xbd"));
	assert_int_equal(json_count(json_get(root, "reasons")), 1);
	buf_fini(&processes);
	buf_fini(&errors);
}

static void
an_allocation_that_fails_is_told(void **state)
{
	struct fixture *f = *state;

	fault_alloc_at(1);
	assert_status(metrics_json_put(f->m, &none, &f->out), ST_NOMEM);
	assert_true(fault_hit());
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(without_rows_it_is_stale_and_has_no_age),
	    TEST(a_living_pubd_makes_it_fresh_and_a_dead_one_stale),
	    TEST(numbers_are_those_of_the_text),
	    TEST(a_histogram_has_percentiles_and_cumulative_buckets),
	    TEST(lists_hold_what_processes_say_as_text),
	    TEST(an_allocation_that_fails_is_told),
	};

	return RUN(tests);
}

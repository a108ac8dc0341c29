/* SPDX-License-Identifier: MIT */
/* The catalogue's rules, and metrics as JSON and back. */
#include "metrics.h"

#include <ctype.h>
#include <string.h>

#include "fault.h"
#include "jsontext.h"
#include "unit.h"

#define BOUND ((size_t)1 << 16)

/* ---- helpers ------------------------------------------------------------ */

static bool
is_reported(const struct metric *e)
{
	return e->source == METRIC_CELL || e->source == METRIC_HIST ||
	    e->source == METRIC_HIDDEN;
}

static enum status
read_text(struct metrics *f, enum metrics_part part, const char *text,
    unsigned *n_unknown)
{
	size_t at;

	*n_unknown = 0;
	assert_status(jsontext_check(span_str(text), &at), ST_OK);
	return metrics_read(f, part, span_str(text), n_unknown);
}

static void
assert_written(const struct metrics *f, enum metrics_part part,
    const char *text)
{
	struct buf out;

	buf_init(&out, BOUND);
	assert_status(metrics_write(f, part, &out), ST_OK);
	assert_span(buf_span(&out), span_str(text));
	buf_fini(&out);
}

/* Every cell has a value of its own. */
static void
fill(struct metrics *f)
{
	unsigned i;

	for (i = 0; i < METRICS_N_CELLS; i++)
		metrics_set(f, i, 1000 + i);
}

/* ---- the catalogue ------------------------------------------------------ */

static bool
ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

static void
families_are_named_as_prometheus_asks(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < metrics_catalogue_n; i++) {
		const struct metric *e = &metrics_catalogue[i];
		bool counter = e->type == METRIC_COUNTER;

		if (e->source != METRIC_FAMILY)
			continue;
		assert_true(span_starts(span_str(e->name), SPAN("sse_")));
		for (k = 0; e->name[k] != '\0'; k++)
			assert_true(islower((unsigned char)e->name[k]) ||
			    isdigit((unsigned char)e->name[k]) ||
			    e->name[k] == '_');
		assert_int_equal(ends_with(e->name, "_total"), counter);
		assert_true(ends_with(e->sentence, "."));
		assert_true(strlen(e->sentence) > 20);
		assert_null(strpbrk(e->sentence, "\n\"\\"));
		if (strcmp(e->unit, "seconds") == 0 ||
		    strcmp(e->unit, "bytes") == 0 ||
		    strcmp(e->unit, "ratio") == 0)
			assert_non_null(strstr(e->name, e->unit));
		if (e->label != NULL)
			assert_true(islower((unsigned char)e->label[0]));
	}
}

static void
no_family_stands_twice(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < metrics_catalogue_n; i++)
		for (k = 0; k < i; k++)
			if (metrics_catalogue[i].source == METRIC_FAMILY &&
			    metrics_catalogue[k].source == METRIC_FAMILY)
				assert_string_not_equal(
				    metrics_catalogue[i].name,
				    metrics_catalogue[k].name);
}

/* What a series of this source may be of. */
static void
check_series(const struct metric *family, const struct metric *e)
{
	bool counter = family->type == METRIC_COUNTER;

	if (e->source == METRIC_HIDDEN)
		return;
	assert_int_equal(e->source == METRIC_HIST,
	    family->type == METRIC_HISTOGRAM);
	if (e->source == METRIC_CELL)
		assert_int_equal(e->part == METRICS_COUNTERS, counter);
	/* The label's value stands in the table, or somebody tells it. */
	if (e->source != METRIC_NAMED && e->source != METRIC_INFO)
		assert_int_equal(e->value != NULL, family->label != NULL);
	else
		assert_non_null(family->label);
	if (e->source == METRIC_HIST)
		assert_int_equal(e->scale == HIST_TIME,
		    strcmp(family->unit, "seconds") == 0);
	assert_true(e->per > 0);
}

static void
series_fit_their_family(void **state)
{
	const struct metric *family = NULL;
	size_t i, n = 1;

	(void)state;
	for (i = 0; i < metrics_catalogue_n; i++) {
		const struct metric *e = &metrics_catalogue[i];

		if (e->source == METRIC_FAMILY) {
			assert_true(n > 0); /* the one before has series */
			family = e;
			n = 0;
			continue;
		}
		assert_non_null(family);
		check_series(family, e);
		n += e->source != METRIC_HIDDEN;
	}
	assert_true(n > 0);
}

/* No member may be read as two things, nor as a bucket of another. */
static void
members_are_unique_in_their_part(void **state)
{
	size_t i, k;

	(void)state;
	for (i = 0; i < metrics_catalogue_n; i++)
		for (k = 0; k < metrics_catalogue_n; k++) {
			const struct metric *a = &metrics_catalogue[i],
					    *b = &metrics_catalogue[k];

			if (i == k || !is_reported(a) || !is_reported(b) ||
			    a->part != b->part)
				continue;
			assert_string_not_equal(a->member, b->member);
		}
	for (i = 0; i < metrics_catalogue_n; i++)
		if (is_reported(&metrics_catalogue[i]))
			assert_null(
			    strpbrk(metrics_catalogue[i].member, ".:\"\\"));
}

static void
every_cell_has_one_member(void **state)
{
	unsigned seen[METRICS_N_CELLS] = {0}, i, k;
	size_t at;

	(void)state;
	for (at = 0; at < metrics_catalogue_n; at++) {
		const struct metric *e = &metrics_catalogue[at];

		if (is_reported(e))
			for (k = 0;
			     k < (e->source == METRIC_HIST ? HIST_CELLS : 1U);
			     k++)
				seen[e->cell + k]++;
	}
	for (i = 0; i < METRICS_N_CELLS; i++)
		assert_int_equal(seen[i], 1);
}

static void
types_have_the_names_of_the_exposition(void **state)
{
	(void)state;
	assert_string_equal(metrics_type_name(METRIC_GAUGE), "gauge");
	assert_string_equal(metrics_type_name(METRIC_COUNTER), "counter");
	assert_string_equal(metrics_type_name(METRIC_HISTOGRAM), "histogram");
}

/* ---- writing ------------------------------------------------------------ */

static void
what_was_never_set_is_not_written(void **state)
{
	struct metrics f = {{0}, {false}};

	(void)state;
	assert_written(&f, METRICS_COUNTERS, "{}");
	assert_written(&f, METRICS_GAUGES, "{}");
}

static void
members_are_written_in_the_order_of_the_catalogue(void **state)
{
	struct metrics f = {{0}, {false}};

	(void)state;
	metrics_set(&f, METRIC_SCRAPES, 3);
	metrics_set(&f, METRIC_STREAMS_OPENED, 7);
	metrics_set(&f, METRIC_FDS_USED, 12);
	metrics_set(&f, METRIC_RSS, 4096);
	assert_written(&f, METRICS_COUNTERS,
	    "{\"streams_opened\":7,\"scrapes\":3}");
	assert_written(&f, METRICS_GAUGES,
	    "{\"rss_bytes\":4096,\"fds_used\":12}");
}

/* A gauge that is 0 says something; a counter that is 0 adds nothing. */
static void
only_gauges_are_written_when_0(void **state)
{
	struct metrics f = {{0}, {false}};

	(void)state;
	metrics_set(&f, METRIC_STREAMS_OPENED, 0);
	metrics_set(&f, METRIC_LAGGING, 0);
	assert_written(&f, METRICS_COUNTERS, "{}");
	assert_written(&f, METRICS_GAUGES, "{\"lagging\":0}");
}

static void
a_histogram_is_counters_of_its_buckets(void **state)
{
	struct metrics f = {{0}, {false}};
	struct hist h = {.sum = 0}, again;

	(void)state;
	hist_add(&h, HIST_TIME, 10, 2);
	hist_add(&h, HIST_TIME, 70000000, 1);
	metrics_set_hist(&f, METRIC_WAKE, &h);
	assert_written(&f, METRICS_COUNTERS,
	    "{\"wake.0\":2,\"wake.20\":1,\"wake.sum\":70000020}");
	assert_written(&f, METRICS_GAUGES, "{}");
	metrics_get_hist(&f, METRIC_WAKE, &again);
	assert_memory_equal(&h, &again, sizeof(h));
}

static void
writing_appends_all_or_nothing(void **state)
{
	struct metrics f = {{0}, {false}};
	struct buf out;
	size_t max;
	enum status st;

	(void)state;
	fill(&f);
	for (max = 1; max < 200; max++) {
		buf_init(&out, max);
		assert_status(buf_append(&out, SPAN("x")), ST_OK);
		st = metrics_write(&f, METRICS_GAUGES, &out);
		assert_status(st, ST_FULL);
		assert_span(buf_span(&out), SPAN("x"));
		buf_fini(&out);
	}
	buf_init(&out, BOUND);
	fault_alloc_at(1);
	assert_status(metrics_write(&f, METRICS_GAUGES, &out), ST_NOMEM);
	assert_true(fault_hit());
	assert_int_equal(out.len, 0);
	assert_status(buf_append(&out, SPAN("{")), ST_OK);
	f = (struct metrics){{0}, {false}};
	metrics_set(&f, METRIC_LAGGING, 1);
	assert_status(metrics_write(&f, METRICS_GAUGES, &out), ST_OK);
	assert_span(buf_span(&out), SPAN("{{\"lagging\":1}"));
	buf_fini(&out);
}

/* ---- reading ------------------------------------------------------------ */

static void
what_is_written_reads_back(void **state)
{
	struct metrics f = {{0}, {false}}, again = {{0}, {false}};
	unsigned unknown = 0;
	struct buf out;
	int part;

	(void)state;
	fill(&f);
	f.cell[METRIC_BYTES_SENT] = INT64_MAX;
	for (part = METRICS_COUNTERS; part <= METRICS_GAUGES; part++) {
		size_t at;

		buf_init(&out, BOUND);
		assert_status(metrics_write(&f, (enum metrics_part)part, &out),
		    ST_OK);
		assert_status(jsontext_check(buf_span(&out), &at), ST_OK);
		assert_status(metrics_read(&again, (enum metrics_part)part,
				  buf_span(&out), &unknown),
		    ST_OK);
		buf_fini(&out);
	}
	assert_int_equal(unknown, 0);
	assert_memory_equal(&f, &again, sizeof(f));
}

static void
members_are_found_in_any_order(void **state)
{
	struct metrics f = {{0}, {false}};
	unsigned unknown;

	(void)state;
	assert_status(read_text(&f, METRICS_COUNTERS,
			  " { \"scrapes\" : 1, \"wake.sum\":5,\n\"wake.0\":2,"
			  "\"streams_opened\":3,\"wake.20\":4 } ",
			  &unknown),
	    ST_OK);
	assert_int_equal(unknown, 0);
	assert_int_equal(f.cell[METRIC_SCRAPES], 1);
	assert_int_equal(f.cell[METRIC_WAKE], 2);
	assert_int_equal(f.cell[METRIC_WAKE + HIST_BOUNDS], 4);
	assert_int_equal(f.cell[METRIC_WAKE_LAST], 5);
	assert_int_equal(f.cell[METRIC_STREAMS_OPENED], 3);
	assert_true(f.known[METRIC_SCRAPES]);
	assert_false(f.known[METRIC_WRITES]);
}

static void
what_the_part_does_not_have_is_counted_and_left_out(void **state)
{
	const char *const names[] = {"", "no_such", "streams_openedx",
	    "streams_opene", "wake", "wake.", "wake.21", "wake.05", "wake.00",
	    "wake.-1", "wake.sumx", "wake.99999999999999999999", "wakex0",
	    "lagging", "channel:a", "sse_streams_opened_total",
	    "streams_opened.0"};
	struct metrics f = {{0}, {false}}, none = f;
	char text[128];
	unsigned unknown;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(text, sizeof(text), "{\"%s\":1}", names[i]);
		assert_status(read_text(&f, METRICS_COUNTERS, text, &unknown),
		    ST_OK);
		assert_int_equal(unknown, 1);
	}
	assert_memory_equal(&f, &none, sizeof(f));
	assert_status(read_text(&f, METRICS_GAUGES,
			  "{\"streams_opened\":1,\"lagging\":2}", &unknown),
	    ST_OK);
	assert_int_equal(unknown, 1);
	assert_true(f.known[METRIC_LAGGING]);
	assert_false(f.known[METRIC_STREAMS_OPENED]);
}

static void
only_whole_numbers_are_values(void **state)
{
	const char *const bad[] = {"-1", "-0", "1.0", "1e3", "\"1\"", "null",
	    "true", "[1]", "{}", "9223372036854775808",
	    "99999999999999999999999"};
	struct metrics f = {{0}, {false}};
	char text[128];
	unsigned unknown;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(text, sizeof(text), "{\"streams_opened\":%s}",
		    bad[i]);
		assert_status(read_text(&f, METRICS_COUNTERS, text, &unknown),
		    ST_INVALID);
		/* Not even of a member that nobody knows. */
		(void)snprintf(text, sizeof(text), "{\"x\":%s}", bad[i]);
		assert_status(read_text(&f, METRICS_COUNTERS, text, &unknown),
		    ST_INVALID);
	}
	assert_false(f.known[METRIC_STREAMS_OPENED]);
	assert_status(read_text(&f, METRICS_COUNTERS,
			  "{\"streams_opened\":9223372036854775807}", &unknown),
	    ST_OK);
	assert_int_equal(f.cell[METRIC_STREAMS_OPENED], INT64_MAX);
}

static void
only_an_object_is_a_part(void **state)
{
	const char *const bad[] = {"[]", "1", "\"{}\"", "null", "[{}]"};
	struct metrics f = {{0}, {false}};
	unsigned unknown = 0;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_status(read_text(&f, METRICS_GAUGES, bad[i], &unknown),
		    ST_INVALID);
	assert_status(metrics_read(&f, METRICS_GAUGES, SPAN_NONE, &unknown),
	    ST_INVALID);
	assert_status(read_text(&f, METRICS_GAUGES, " {} ", &unknown), ST_OK);
}

/* A peer cannot make us search the catalogue as often as it likes. */
static void
members_are_bounded(void **state)
{
	struct metrics f = {{0}, {false}};
	unsigned unknown = 0, i;
	struct buf text;

	(void)state;
	buf_init(&text, BOUND);
	assert_status(buf_append(&text, SPAN("{\"x\":1")), ST_OK);
	for (i = 1; i < METRICS_MAX_MEMBERS; i++)
		assert_status(buf_append(&text, SPAN(",\"x\":1")), ST_OK);
	assert_status(buf_append(&text, SPAN("}")), ST_OK);
	assert_status(
	    metrics_read(&f, METRICS_COUNTERS, buf_span(&text), &unknown),
	    ST_OK);
	assert_int_equal(unknown, METRICS_MAX_MEMBERS);
	buf_truncate(&text, text.len - 1);
	assert_status(buf_append(&text, SPAN(",\"x\":1}")), ST_OK);
	assert_status(
	    metrics_read(&f, METRICS_COUNTERS, buf_span(&text), &unknown),
	    ST_INVALID);
	buf_fini(&text);
}

/* ---- what is possible --------------------------------------------------- */

static const char *
after(struct metrics *before, unsigned cell, uint64_t step, uint64_t ms)
{
	struct metrics now = *before;

	now.cell[cell] += step;
	return metrics_implausible(before, &now, ms);
}

static void
a_counter_grows_no_faster_than_machines_work(void **state)
{
	struct metrics f = {{0}, {false}};
	uint64_t most = (uint64_t)1 << 53;

	(void)state;
	fill(&f);
	assert_null(after(&f, METRIC_EVENTS_SENT, 7000000, 1000));
	assert_null(after(&f, METRIC_EVENTS_SENT, 100000000, 1000));
	assert_string_equal(after(&f, METRIC_EVENTS_SENT, 100000001, 1000),
	    "events_sent");
	assert_null(after(&f, METRIC_BYTES_SENT, 2000000000, 1000));
	assert_string_equal(after(&f, METRIC_BYTES_SENT, most, 86402000),
	    "bytes_sent");
	assert_string_equal(after(&f, METRIC_EVENTS_SENT, most, 86402000),
	    "events_sent");
	assert_string_equal(after(&f, METRIC_RETENTION_TIME, most, 3000),
	    "retention_us");
	assert_null(after(&f, METRIC_RETENTION_TIME, 3000000, 3000));
	/* Gauges are of the moment, and less is somebody else. */
	assert_null(after(&f, METRIC_DISK_FREE, most, 1));
	assert_null(after(&f, METRIC_EVENTS_SENT, (uint64_t)-5, 1));
}

static void
a_histogram_grows_no_faster_and_its_sum_as_its_buckets_do(void **state)
{
	struct metrics f = {{0}, {false}}, g;
	unsigned sum = METRIC_DELIVERY + HIST_BOUNDS + 1;
	uint64_t most = (uint64_t)1 << 53;

	(void)state;
	assert_string_equal(after(&f, METRIC_DELIVERY, 200000001, 2000),
	    "delivery");
	assert_string_equal(after(&f, sum, most, 2000), "delivery");
	g = f;
	/* A backlog of an hour that goes out in a second. */
	g.cell[METRIC_DELIVERY + HIST_BOUNDS] = 5000000;
	g.cell[sum] = UINT64_C(5000000) * 3600000000;
	assert_null(metrics_implausible(&f, &g, 1000));
	g.cell[METRIC_DELIVERY + HIST_BOUNDS] = 1;
	assert_string_equal(metrics_implausible(&f, &g, 1000), "delivery");
	assert_string_equal(after(&f, sum, most, 86402000), "delivery");
	/* A clock set a year on makes an event late: believed soon. */
	g.cell[sum] = UINT64_C(31536000000000);
	assert_null(metrics_implausible(&f, &g, 600000));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(families_are_named_as_prometheus_asks),
	    cmocka_unit_test(no_family_stands_twice),
	    cmocka_unit_test(series_fit_their_family),
	    cmocka_unit_test(members_are_unique_in_their_part),
	    cmocka_unit_test(every_cell_has_one_member),
	    cmocka_unit_test(types_have_the_names_of_the_exposition),
	    cmocka_unit_test(what_was_never_set_is_not_written),
	    cmocka_unit_test(members_are_written_in_the_order_of_the_catalogue),
	    cmocka_unit_test(only_gauges_are_written_when_0),
	    cmocka_unit_test(a_histogram_is_counters_of_its_buckets),
	    cmocka_unit_test(writing_appends_all_or_nothing),
	    cmocka_unit_test(what_is_written_reads_back),
	    cmocka_unit_test(members_are_found_in_any_order),
	    cmocka_unit_test(
		what_the_part_does_not_have_is_counted_and_left_out),
	    cmocka_unit_test(only_whole_numbers_are_values),
	    cmocka_unit_test(only_an_object_is_a_part),
	    cmocka_unit_test(members_are_bounded),
	    cmocka_unit_test(a_counter_grows_no_faster_than_machines_work),
	    cmocka_unit_test(
		a_histogram_grows_no_faster_and_its_sum_as_its_buckets_do),
	};

	return RUN(tests);
}

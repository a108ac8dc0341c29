/* SPDX-License-Identifier: MIT */
/* Status rows to figures, and the catalogue itself. */
#include "metrics.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "unit.h"

#define NOW 1000000

struct fixture {
	struct metrics *m;
	struct buf out;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	buf_init(&f->out, 1 << 20);
	*state = f;
	return metrics_new(&f->m, NOW) == ST_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	metrics_free(&f->m);
	buf_fini(&f->out);
	free(f);
	return 0;
}

/* A process seen age_ms ago, with a lease of ten seconds. */
static struct statusdb_row
row_of(const char *role, int64_t age_ms, const char *counters)
{
	return (struct statusdb_row){.name = span_str(role),
	    .role = span_str(role),
	    .pid = 42,
	    .version = SPAN("0.1"),
	    .started_ms = 1,
	    .seen_ms = NOW - age_ms,
	    .lease_ms = 10000,
	    .counters = span_str(counters)};
}

static void
add(struct fixture *f, const char *role, int64_t age_ms, const char *counters)
{
	struct statusdb_row row = row_of(role, age_ms, counters);

	assert_status(metrics_add_row(f->m, &row), ST_OK);
}

/* Is this line in the text?  Without a line break: does a line begin so? */
static bool
says(struct fixture *f, const char *line)
{
	char want[256];
	int n = snprintf(want, sizeof(want), "\n%s", line);
	struct span s;

	buf_clear(&f->out);
	assert_status(buf_append(&f->out, SPAN("\n")), ST_OK);
	assert_status(metrics_text(f->m, &f->out), ST_OK);
	s = buf_span(&f->out);
	return memmem(s.p, s.len, want, (size_t)n) != NULL;
}

#define assert_says(f, line)     assert_true(says((f), line "\n"))
#define assert_silent(f, prefix) assert_false(says((f), prefix))

static void
no_process_gives_zero_counters_and_no_gauges(void **state)
{
	struct fixture *f = *state;

	assert_says(f, "sse_process_up{role=\"pubd\"} 0");
	assert_says(f, "sse_process_up{role=\"worker\"} 0");
	assert_says(f, "sse_streams_opened_total 0");
	assert_says(f, "sse_gaps_total{code=\"invalid\"} 0");
	assert_silent(f, "sse_streams_open ");
	assert_silent(f, "sse_log_head");
	assert_silent(f, "sse_heartbeat_age_seconds");
	assert_silent(f, "# HELP sse_heartbeat_age_seconds");
	assert_int_equal(metrics_pubd(f->m).age_ms, -1);
	assert_false(metrics_pubd(f->m).alive);
}

static void
counters_are_summed_over_the_living_the_dead_and_the_totals(void **state)
{
	struct fixture *f = *state;

	add(f, "worker", 0, "{\"streams_opened\":1,\"gaps_ahead\":2}");
	add(f, "worker", 99999, "{\"streams_opened\":10}");
	add(f, STATUSDB_TOTALS, 0, "{\"streams_opened\":100,\"gaps_ahead\":5}");
	assert_says(f, "sse_streams_opened_total 111");
	assert_says(f, "sse_gaps_total{code=\"ahead\"} 7");
	assert_says(f, "sse_process_up{role=\"worker\"} 1");
}

static void
gauges_are_of_the_living_only(void **state)
{
	struct fixture *f = *state;
	struct statusdb_row row;

	add(f, "pubd", 1500, "{\"log_bytes\":4096,\"connections\":3}");
	row = row_of("worker", 10000,
	    "{\"ring_bytes\":7,\"fds_limit\":100,\"lag_events_max\":5}");
	row.streams = 4;
	assert_status(metrics_add_row(f->m, &row), ST_OK);
	row = row_of("worker", 10001,
	    "{\"ring_bytes\":1000,\"fds_limit\":1,\"lag_events_max\":50}");
	row.streams = 1000;
	assert_status(metrics_add_row(f->m, &row), ST_OK);
	row = row_of("worker", 0,
	    "{\"ring_bytes\":5,\"fds_limit\":200,\"lag_events_max\":9}");
	row.streams = 3;
	assert_status(metrics_add_row(f->m, &row), ST_OK);
	row = row_of(STATUSDB_TOTALS, 0, "{\"ring_bytes\":1000000}");
	assert_status(metrics_add_row(f->m, &row), ST_OK);
	assert_says(f, "sse_streams_open 7");
	assert_says(f, "sse_ring_bytes 12");
	assert_says(f, "sse_fds_limit 100");
	assert_says(f, "sse_lag_events_max 9");
	assert_says(f, "sse_log_bytes 4096");
	assert_says(f, "sse_publisher_connections 3");
	assert_says(f, "sse_process_up{role=\"pubd\"} 1");
	assert_says(f, "sse_process_up{role=\"worker\"} 2");
	assert_says(f, "sse_heartbeat_age_seconds 1.500");
	assert_true(metrics_pubd(f->m).alive);
}

static void
sums_are_zero_when_pubd_knows_that_there_is_nobody(void **state)
{
	struct fixture *f = *state;

	add(f, "pubd", 0, "{}");
	assert_says(f, "sse_streams_open 0");
	assert_says(f, "sse_ring_bytes 0");
	assert_silent(f, "sse_fds_limit");
	assert_silent(f, "sse_log_bytes");
}

static void
a_silent_pubd_is_told_with_its_age(void **state)
{
	struct fixture *f = *state;
	struct metrics_pubd pubd;

	add(f, "pubd", 60007, "{\"log_bytes\":4096}");
	pubd = metrics_pubd(f->m);
	assert_false(pubd.alive);
	assert_int_equal(pubd.age_ms, 60007);
	assert_int_equal(pubd.lease_ms, 10000);
	assert_says(f, "sse_heartbeat_age_seconds 60.007");
	assert_says(f, "sse_process_up{role=\"pubd\"} 0");
	assert_silent(f, "sse_log_bytes");
	add(f, "pubd", 3, "{}");
	assert_true(metrics_pubd(f->m).alive);
	assert_int_equal(metrics_pubd(f->m).age_ms, 3);
	assert_says(f, "sse_heartbeat_age_seconds 0.003");
}

static void
a_clock_that_was_set_back_does_not_kill_anybody(void **state)
{
	struct fixture *f = *state;

	add(f, "pubd", -500000, "{}");
	assert_true(metrics_pubd(f->m).alive);
	assert_int_equal(metrics_pubd(f->m).age_ms, 0);
}

static void
counters_that_are_no_numbers_count_as_none(void **state)
{
	static const char *const bad[] = {"", "nonsense", "[1]", "17", "null",
	    "{\"streams_opened\":\"7\"}", "{\"streams_opened\":-7}",
	    "{\"streams_opened\":null}", "{\"streams_opened\":1e99}",
	    "{\"streams_opened\":{}}", "{\"streams_opened\":1", "\377"};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		add(f, "worker", 0, bad[i]);
	assert_says(f, "sse_streams_opened_total 0");
	assert_says(f, "sse_process_up{role=\"worker\"} 12");
}

static void
a_sum_stops_at_the_largest_number(void **state)
{
	struct fixture *f = *state;
	const char *most = "{\"bytes_sent\":9223372036854775807}";

	add(f, "worker", 0, most);
	add(f, "worker", 0, most);
	assert_says(f, "sse_bytes_sent_total 9223372036854775807");
}

static void
what_is_told_is_said(void **state)
{
	struct fixture *f = *state;

	metrics_tell(f->m, "sse_log_head", 46);
	metrics_tell(f->m, "sse_store_up", 0);
	assert_says(f, "sse_log_head 46");
	assert_says(f, "sse_store_up 0");
	assert_silent(f, "sse_log_oldest");
}

static void
the_catalogue_is_fit_for_prometheus(void **state)
{
	const struct metrics_entry *e, *first = NULL;

	(void)state;
	for (e = metrics_catalogue; e->name != NULL; e++) {
		size_t n = strlen(e->name);
		bool total = n > 6 && strcmp(e->name + n - 6, "_total") == 0;

		assert_int_equal(strncmp(e->name, "sse_", 4), 0);
		assert_int_equal(strspn(e->name, "abcdefghijklmnopqrstuvwxyz_"),
		    n);
		assert_int_equal(total, e->type == METRICS_COUNTER);
		assert_int_equal(e->label == NULL, e->value == NULL);
		assert_int_equal(e->source == METRICS_MEMBER,
		    e->member != NULL);
		assert_non_null(e->unit);
		if (e->sentence != NULL) {
			const struct metrics_entry *other;

			first = e;
			for (other = metrics_catalogue; other != e; other++)
				assert_string_not_equal(other->name, e->name);
			assert_int_equal(e->sentence[strlen(e->sentence) - 1],
			    '.');
			assert_null(strpbrk(e->sentence, "\\\n"));
		}
		assert_non_null(first);
		assert_string_equal(e->name, first->name);
		assert_int_equal(e->type, first->type);
	}
}

static void
every_entry_can_be_seen(void **state)
{
	struct fixture *f = *state;
	const struct metrics_entry *e;
	struct buf counters;

	buf_init(&counters, 1 << 16);
	assert_status(buf_append(&counters, SPAN("{\"x\":1")), ST_OK);
	for (e = metrics_catalogue; e->name != NULL; e++) {
		if (e->source == METRICS_TOLD)
			metrics_tell(f->m, e->name, 1);
		if (e->member != NULL)
			assert_status(
			    buf_printf(&counters, ",\"%s\":1", e->member),
			    ST_OK);
	}
	assert_status(buf_append(&counters, span_of("}\0", 2)), ST_OK);
	add(f, "pubd", 0, counters.base);
	for (e = metrics_catalogue; e->name != NULL; e++) {
		char line[256];

		(void)snprintf(line, sizeof(line), "# TYPE %s ", e->name);
		assert_true(says(f, line));
		if (e->label != NULL)
			(void)snprintf(line, sizeof(line), "%s{%s=\"%s\"} ",
			    e->name, e->label, e->value);
		else
			(void)snprintf(line, sizeof(line), "%s ", e->name);
		assert_true(says(f, line));
	}
	buf_fini(&counters);
}

static void
the_text_is_headed_by_help_and_type(void **state)
{
	static const char want[] =
	    "# HELP sse_process_up Processes of this role whose heartbeat is "
	    "fresh.\n"
	    "# TYPE sse_process_up gauge\n"
	    "sse_process_up{role=\"pubd\"} 0\n"
	    "sse_process_up{role=\"worker\"} 0\n"
	    "sse_process_up{role=\"cgi\"} 0\n"
	    "# HELP ";
	struct fixture *f = *state;

	assert_status(metrics_text(f->m, &f->out), ST_OK);
	assert_true(span_starts(buf_span(&f->out), span_str(want)));
}

static void
the_json_has_the_same_figures_and_the_processes(void **state)
{
	struct fixture *f = *state;
	struct json_parser *parser;
	struct json *root;
	const struct json *metrics, *first, *process;
	struct errmsg err;
	int64_t v;

	add(f, "pubd", 0, "{}");
	add(f, "wor\"ker", 99999, "{}");
	add(f, STATUSDB_TOTALS, 0, "{}");
	assert_status(metrics_json(f->m, &f->out), ST_OK);
	assert_status(json_parser_new(&parser), ST_OK);
	assert_status(json_parse(parser, buf_span(&f->out), &root, &err),
	    ST_OK);
	assert_true(json_int(json_get(root, "generated_ms"), &v));
	assert_int_equal(v, NOW);
	metrics = json_get(root, "metrics");
	first = json_at(metrics, 0);
	assert_span(json_text(json_get(first, "name")), SPAN("sse_process_up"));
	assert_int_equal(json_count(json_get(first, "series")), 3);
	assert_true(json_int(
	    json_get(json_at(json_get(first, "series"), 0), "value"), &v));
	assert_int_equal(v, 1);
	assert_int_equal(json_count(json_get(root, "processes")), 2);
	process = json_at(json_get(root, "processes"), 1);
	assert_span(json_text(json_get(process, "role")), SPAN("wor\"ker"));
	assert_false(json_true(json_get(process, "alive")));
	json_free(&root);
	json_parser_free(&parser);
}

static void
a_thousand_processes_cut_the_list_and_not_the_sums(void **state)
{
	struct fixture *f = *state;
	struct statusdb_row row = row_of("worker", 0, "{\"writes\":1}");
	static char name[4000];
	struct buf out;
	int i;

	memset(name, 'n', sizeof(name));
	row.name = span_of(name, sizeof(name));
	for (i = 0; i < 1000; i++)
		assert_status(metrics_add_row(f->m, &row), ST_OK);
	assert_says(f, "sse_writes_total 1000");
	buf_init(&out, 4u << 20);
	assert_status(metrics_json(f->m, &out), ST_OK);
	assert_true(out.len < (1u << 20) + 65536);
	buf_fini(&out);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(no_process_gives_zero_counters_and_no_gauges),
	    TEST(counters_are_summed_over_the_living_the_dead_and_the_totals),
	    TEST(gauges_are_of_the_living_only),
	    TEST(sums_are_zero_when_pubd_knows_that_there_is_nobody),
	    TEST(a_silent_pubd_is_told_with_its_age),
	    TEST(a_clock_that_was_set_back_does_not_kill_anybody),
	    TEST(counters_that_are_no_numbers_count_as_none),
	    TEST(a_sum_stops_at_the_largest_number),
	    TEST(what_is_told_is_said),
	    TEST(the_catalogue_is_fit_for_prometheus),
	    TEST(every_entry_can_be_seen),
	    TEST(the_text_is_headed_by_help_and_type),
	    TEST(the_json_has_the_same_figures_and_the_processes),
	    TEST(a_thousand_processes_cut_the_list_and_not_the_sums),
	};

	return RUN(tests);
}

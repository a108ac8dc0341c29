/* SPDX-License-Identifier: MIT */
/* Status rows to metrics, as the text shows them. */
#include "aggregate.h"

#include <stdlib.h>
#include <string.h>

#include "exposition.h"
#include "fault.h"
#include "scraped.h"
#include "unit.h"

/* A process seen age_ms ago, with a lease of ten seconds. */
static struct status_row
row_of(const char *role, int64_t age_ms, const char *counters,
    const char *gauges)
{
	return (struct status_row){.name = span_str(role),
	    .role = span_str(role),
	    .pid = 42,
	    .version = SPAN("0.1"),
	    .started_ms = 1,
	    .seen_ms = NOW - age_ms,
	    .lease_ms = 10000,
	    .counters = span_str(counters),
	    .gauges = span_str(gauges)};
}

static void
add_both(struct fixture *f, const char *role, int64_t age_ms,
    const char *counters, const char *gauges)
{
	struct status_row row = row_of(role, age_ms, counters, gauges);

	assert_status(aggregate_add_row(f->m, &row), ST_OK);
}

static void
add(struct fixture *f, const char *role, int64_t age_ms, const char *counters)
{
	add_both(f, role, age_ms, counters, "{}");
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
	assert_status(exposition_put(f->m, EXPOSITION_TEXT, &f->out), ST_OK);
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
	assert_int_equal(aggregate_pubd(f->m).age_ms, -1);
	assert_false(aggregate_pubd(f->m).alive);
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
add_worker(struct fixture *f, int64_t age_ms, int64_t streams,
    const char *gauges)
{
	struct status_row row = row_of("worker", age_ms, "{}", gauges);

	row.streams = streams;
	row.started_ms = 2000 + streams;
	assert_status(aggregate_add_row(f->m, &row), ST_OK);
}

static void
pubd_metrics_are_of_the_living_only(void **state)
{
	struct fixture *f = *state;

	add_both(f, "pubd", 1500, "{}",
	    "{\"log_bytes\":4096,\"connections\":3,\"rss_bytes\":7}");
	add_worker(f, 10000, 4,
	    "{\"ring_bytes\":7,\"fds_limit\":100,\"lag_events_max\":5,"
	    "\"rss_bytes\":30}");
	add_worker(f, 10001, 1000,
	    "{\"ring_bytes\":1000,\"fds_limit\":1,\"lag_events_max\":50,"
	    "\"rss_bytes\":1000}");
	add_worker(f, 0, 3,
	    "{\"ring_bytes\":5,\"fds_limit\":200,\"lag_events_max\":9,"
	    "\"rss_bytes\":12}");
	add_both(f, STATUSDB_TOTALS, 0, "{}", "{\"ring_bytes\":1000000}");
	assert_says(f, "sse_streams_open 7");
	assert_says(f, "sse_ring_bytes 12");
	assert_says(f, "sse_fds_limit 100");
	assert_says(f, "sse_lag_events_max 9");
	assert_says(f, "sse_log_bytes 4096");
	assert_says(f, "sse_publisher_connections 3");
	assert_says(f, "sse_process_up{role=\"pubd\"} 1");
	assert_says(f, "sse_process_up{role=\"worker\"} 2");
	assert_says(f, "sse_process_start_time_seconds{role=\"worker\"} 2.004");
	assert_silent(f, "sse_process_start_time_seconds{role=\"cgi\"}");
	assert_says(f, "sse_resident_memory_bytes{role=\"pubd\"} 7");
	assert_says(f, "sse_resident_memory_bytes{role=\"worker\"} 42");
	assert_says(f, "sse_resident_memory_bytes{role=\"cgi\"} 0");
	assert_says(f, "sse_heartbeat_age_seconds 1.500");
	assert_true(aggregate_pubd(f->m).alive);
}

static void
a_quotient_is_of_the_sums_and_absent_without_a_divisor(void **state)
{
	struct fixture *f = *state;

	add_worker(f, 0, 0, "{\"opened_60s\":3,\"asked_60s\":0}");
	assert_silent(f, "sse_connection_success_ratio");
	assert_silent(f, "# HELP sse_connection_success_ratio");
	add_worker(f, 0, 0, "{\"opened_60s\":1,\"asked_60s\":4}");
	add_worker(f, 0, 0, "{\"opened_60s\":2,\"asked_60s\":4}");
	add_worker(f, 10001, 0, "{\"opened_60s\":9,\"asked_60s\":900}");
	assert_says(f, "sse_connection_success_ratio 0.75");
}

static void
what_is_reported_in_parts_is_shown_in_whole_units(void **state)
{
	struct fixture *f = *state;

	add_both(f, "pubd", 0, "{\"retention_us\":1500000}",
	    "{\"duplicates_5s\":1,\"fds_permille\":805}");
	assert_says(f, "sse_retention_seconds_total 1.500000");
	assert_says(f, "sse_duplicate_delivery_rate 0.2");
	assert_says(f, "sse_fds_used_ratio 0.805");
}

static void
histograms_add_up_and_are_there_from_the_start(void **state)
{
	struct fixture *f = *state;

	assert_says(f, "sse_delivery_latency_seconds_bucket{le=\"+Inf\"} 0");
	assert_says(f, "sse_delivery_latency_seconds_count 0");
	add(f, "worker", 0,
	    "{\"delivery.0\":1,\"delivery.2\":2,\"delivery.20\":1,"
	    "\"delivery.sum\":1000}");
	add(f, "worker", 99999, "{\"delivery.2\":4,\"delivery.sum\":500}");
	assert_says(f, "sse_delivery_latency_seconds_bucket{le=\"5e-05\"} 1");
	assert_says(f, "sse_delivery_latency_seconds_bucket{le=\"0.0001\"} 1");
	assert_says(f, "sse_delivery_latency_seconds_bucket{le=\"0.00025\"} 7");
	assert_says(f, "sse_delivery_latency_seconds_bucket{le=\"1.0\"} 7");
	assert_says(f, "sse_delivery_latency_seconds_bucket{le=\"60.0\"} 7");
	assert_says(f, "sse_delivery_latency_seconds_bucket{le=\"+Inf\"} 8");
	assert_says(f, "sse_delivery_latency_seconds_sum 0.001500");
	assert_says(f, "sse_delivery_latency_seconds_count 8");
	assert_says(f, "sse_batch_events_bucket{le=\"524288.0\"} 0");
}

static void
channels_are_of_pubd_and_the_totals_and_add_up(void **state)
{
	struct fixture *f = *state;

	assert_silent(f, "# HELP sse_channel_events_published_total");
	add(f, "pubd", 0, "{\"channel:orders\":3,\"channel:a.b\":1}");
	add(f, "pubd", 99999, "{\"channel:orders\":10}");
	add(f, STATUSDB_TOTALS, 0, "{\"channel:orders\":100}");
	add(f, "worker", 0, "{\"channel:orders\":1000,\"channel:forged\":1}");
	add(f, "pubd", 0, "{\"channel:\\u0041\":5,\"channel:\":6}");
	assert_says(f,
	    "sse_channel_events_published_total{channel=\"orders\"} 113");
	assert_says(f, "sse_channel_events_published_total{channel=\"a.b\"} 1");
	assert_silent(f, "sse_channel_events_published_total{channel=\"forged");
	assert_silent(f, "sse_channel_events_published_total{channel=\"\\");
	assert_silent(f, "sse_channel_events_published_total{channel=\"\"");
}

static void
more_channels_than_the_bound_are_left_out(void **state)
{
	struct fixture *f = *state;
	struct buf counters;
	int i;

	buf_init(&counters, 1 << 16);
	assert_status(buf_append(&counters, SPAN("{\"events_published\":7")),
	    ST_OK);
	for (i = 0; i < 1100; i++)
		buf_addf(&counters, ",\"channel:c%d\":1", i);
	assert_status(buf_append(&counters, span_of("}\0", 2)), ST_OK);
	add(f, "pubd", 0, buf_span(&counters).p);
	assert_says(f,
	    "sse_channel_events_published_total{channel=\"c1023\"} 1");
	assert_silent(f, "sse_channel_events_published_total{channel=\"c1024");
	assert_says(f, "sse_events_published_total 7");
	buf_fini(&counters);
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
	struct aggregate_pubd pubd;

	add_both(f, "pubd", 60007, "{}", "{\"log_bytes\":4096}");
	pubd = aggregate_pubd(f->m);
	assert_false(pubd.alive);
	assert_int_equal(pubd.age_ms, 60007);
	assert_int_equal(pubd.lease_ms, 10000);
	assert_says(f, "sse_heartbeat_age_seconds 60.007");
	assert_says(f, "sse_process_up{role=\"pubd\"} 0");
	assert_silent(f, "sse_log_bytes");
	add(f, "pubd", 3, "{}");
	assert_true(aggregate_pubd(f->m).alive);
	assert_int_equal(aggregate_pubd(f->m).age_ms, 3);
	assert_says(f, "sse_heartbeat_age_seconds 0.003");
}

static void
counters_that_are_no_numbers_count_as_none(void **state)
{
	static const char *const bad[] = {"", "nonsense", "[1]", "17", "null",
	    "{\"streams_opened\":\"7\"}", "{\"streams_opened\":-7}",
	    "{\"streams_opened\":null}", "{\"streams_opened\":1e99}",
	    "{\"streams_opened\":9223372036854775808}",
	    "{\"streams_opened\":{}}", "{\"streams_opened\":1", "\377"};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		add_both(f, "worker", 0, bad[i], bad[i]);
	assert_says(f, "sse_streams_opened_total 0");
	assert_says(f, "sse_process_up{role=\"worker\"} 13");
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

	aggregate_tell(f->m, "sse_log_head", 46);
	aggregate_tell(f->m, "sse_store_up", 0);
	assert_says(f, "sse_log_head 46");
	assert_says(f, "sse_store_up 0");
	assert_silent(f, "sse_log_oldest");
}

static void
what_is_told_below_zero_is_zero(void **state)
{
	struct fixture *f = *state;

	aggregate_tell(f->m, "sse_log_events", -1);
	assert_says(f, "sse_log_events 0");
}

static void
a_pubd_from_before_the_clock_went_back_is_not_alive(void **state)
{
	struct fixture *f = *state;
	struct status_row row = row_of("pubd", -3600000, "{}", "{}");

	assert_status(aggregate_add_row(f->m, &row), ST_OK);
	assert_false(aggregate_pubd(f->m).alive);
	assert_says(f, "sse_process_up{role=\"pubd\"} 0");
	/* It lives: its next heartbeat, at most a second later, says so. */
	row = row_of("pubd", -10, "{}", "{}");
	assert_status(aggregate_add_row(f->m, &row), ST_OK);
	assert_true(aggregate_pubd(f->m).alive);
	assert_int_equal(aggregate_pubd(f->m).age_ms, 10);
}

static void
rows_that_lie_about_time_and_streams_do_no_harm(void **state)
{
	struct fixture *f = *state;
	struct status_row row = row_of("worker", 0, "{}", "{}");

	row.started_ms = row.seen_ms = INT64_MIN;
	row.streams = -5;
	assert_status(aggregate_add_row(f->m, &row), ST_OK);
	row.seen_ms = row.lease_ms = row.streams = INT64_MAX;
	assert_status(aggregate_add_row(f->m, &row), ST_OK);
	assert_status(aggregate_add_row(f->m, &row), ST_OK);
	assert_says(f, "sse_streams_open 9223372036854775807");
	assert_says(f, "sse_process_start_time_seconds{role=\"worker\"} 0.000");
}

static void
an_allocation_that_fails_is_told(void **state)
{
	struct fixture *f = *state;
	const struct status_row row = row_of("pubd", 0, "{\"channel:a\":1}",
	    "{}");
	struct aggregate *m = NULL;

	fault_alloc_at(1);
	assert_status(aggregate_new(&m, NOW), ST_NOMEM);
	assert_true(fault_hit());
	fault_alloc_at(1);
	assert_status(aggregate_add_row(f->m, &row), ST_NOMEM);
	assert_true(fault_hit());
}

int
main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, scraped_setup, scraped_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(no_process_gives_zero_counters_and_no_gauges),
	    TEST(counters_are_summed_over_the_living_the_dead_and_the_totals),
	    TEST(pubd_metrics_are_of_the_living_only),
	    TEST(a_pubd_from_before_the_clock_went_back_is_not_alive),
	    TEST(a_quotient_is_of_the_sums_and_absent_without_a_divisor),
	    TEST(what_is_reported_in_parts_is_shown_in_whole_units),
	    TEST(histograms_add_up_and_are_there_from_the_start),
	    TEST(channels_are_of_pubd_and_the_totals_and_add_up),
	    TEST(more_channels_than_the_bound_are_left_out),
	    TEST(sums_are_zero_when_pubd_knows_that_there_is_nobody),
	    TEST(a_silent_pubd_is_told_with_its_age),
	    TEST(counters_that_are_no_numbers_count_as_none),
	    TEST(a_sum_stops_at_the_largest_number),
	    TEST(what_is_told_is_said),
	    TEST(what_is_told_below_zero_is_zero),
	    TEST(rows_that_lie_about_time_and_streams_do_no_harm),
	    TEST(an_allocation_that_fails_is_told),
	};

	return RUN(tests);
}

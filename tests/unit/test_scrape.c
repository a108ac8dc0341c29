/* SPDX-License-Identifier: MIT */
/* Status and log as files that come, go and break. */
#include "scrape.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "exposition.h"
#include "fault.h"
#include "statusdb.h"
#include "store.h"
#include "tmpdir.h"
#include "unit.h"

#define NOW 1000000

static const char *
log_path(void **state)
{
	return tmpdir_path(tmpdir_path(*state, "var"), "events.db");
}

static void
make_log(void **state)
{
	struct errmsg err;

	if (store_create(log_path(state), STORE_STRICT, NULL, &err) != ST_OK)
		fail_msg("%s", err.text);
}

/* A row of pubd that was seen age_ms ago, with these gauges. */
static void
put_gauges(void **state, int64_t age_ms, struct span gauges)
{
	const struct status_row row = {.name = SPAN("pubd-1-1"),
	    .role = SPAN("pubd"),
	    .version = SPAN("0.1"),
	    .seen_ms = NOW - age_ms,
	    .lease_ms = 10000,
	    .counters = SPAN("{\"events_published\":3}"),
	    .gauges = gauges,
	    .error_ms = 7,
	    .error = SPAN("it was so")};
	struct statusdb *db;
	struct errmsg err;

	if (statusdb_open(&db, log_path(state), true, &err) != ST_OK)
		fail_msg("%s", err.text);
	assert_status(statusdb_put(db, &row, 1), ST_OK);
	statusdb_close(&db);
}

static void
put_pubd(void **state, int64_t age_ms)
{
	put_gauges(state, age_ms, SPAN("{}"));
}

/* Scrapes; the answer must be `ready`, and say `part` if it is not NULL. */
static void
want(void **state, bool ready, const char *part)
{
	struct scrape s;
	struct buf out;
	struct span text;

	assert_status(scrape_read(&s, log_path(state), NOW), ST_OK);
	buf_init(&out, 1 << 16);
	assert_status(scrape_ready_json(&s, &out), ST_OK);
	text = buf_span(&out);
	if (scrape_ready(&s) != ready ||
	    (part != NULL &&
		memmem(text.p, text.len, part, strlen(part)) == NULL))
		fail_msg("%.*s (expected %s, \"%s\")", (int)text.len, text.p,
		    ready ? "ready" : "not ready", part);
	assert_true(span_starts(text,
	    ready ? SPAN("{\"ready\":true,\"reasons\":[]}")
		  : SPAN("{\"ready\":false,\"reasons\":[{\"part\":\"")));
	buf_fini(&out);
	scrape_fini(&s);
}

static void
nothing_at_all_is_not_ready_and_says_so_twice(void **state)
{
	want(state, false, "\"part\":\"store\"");
	want(state, false, "\"part\":\"pubd\"");
	want(state, false, "walcast init");
}

static void
a_log_without_pubd_is_not_ready(void **state)
{
	make_log(state);
	want(state, false, "\"part\":\"pubd\"");
}

static void
a_log_and_a_fresh_heartbeat_are_ready(void **state)
{
	make_log(state);
	put_pubd(state, 10000);
	want(state, true, NULL);
}

static void
an_old_heartbeat_is_not_ready_and_says_how_old(void **state)
{
	make_log(state);
	put_pubd(state, 10001);
	want(state, false, "10.001 s old");
}

static void
a_pubd_that_beats_and_hears_nobody_is_not_ready(void **state)
{
	make_log(state);
	put_gauges(state, 500, SPAN("{\"ping_age_ms\":9500}"));
	want(state, true, NULL);
	put_gauges(state, 500, SPAN("{\"ping_age_ms\":9501}"));
	want(state, false, "does not answer on its socket");
	want(state, false, "10.001 s old");
}

static void
a_log_that_went_away_and_came_back_is_noticed(void **state)
{
	char *away = strdup(tmpdir_path(*state, "away"));
	const char *var;

	make_log(state);
	put_pubd(state, 0);
	want(state, true, NULL);
	var = tmpdir_path(*state, "var");
	assert_int_equal(rename(var, away), 0);
	want(state, false, "\"part\":\"store\"");
	var = tmpdir_path(*state, "var");
	assert_int_equal(rename(away, var), 0);
	want(state, true, NULL);
	free(away);
}

static void
damaged_files_are_reasons_and_no_crash(void **state)
{
	static char junk[8192];
	const char *status, *var;

	memset(junk, 'j', sizeof(junk));
	make_log(state);
	put_pubd(state, 0);
	status = tmpdir_path(tmpdir_path(*state, "var"), "status.db");
	tmpdir_write(status, junk, sizeof(junk));
	want(state, false, "\"part\":\"pubd\"");
	/* What is in the -wal would hide the damage. */
	var = tmpdir_path(*state, "var");
	assert_int_equal(unlink(tmpdir_path(var, "events.db-wal")), 0);
	tmpdir_write(log_path(state), junk, sizeof(junk));
	want(state, false, "\"part\":\"store\"");
}

/* Is `text` in the answer for Prometheus? */
static bool
tells(void **state, const char *text)
{
	struct scrape s;
	struct buf out;
	bool found;

	assert_status(scrape_read(&s, log_path(state), NOW), ST_OK);
	buf_init(&out, 1 << 16);
	assert_status(exposition_put(s.metrics, EXPOSITION_TEXT, &out), ST_OK);
	found = memmem(buf_span(&out).p, out.len, text, strlen(text)) != NULL;
	buf_fini(&out);
	scrape_fini(&s);
	return found;
}

/* A counter of 0 would say that its process has begun anew. */
static void
counters_are_left_out_while_the_status_table_cannot_be_read(void **state)
{
	static char junk[8192];
	const char *status;

	memset(junk, 'j', sizeof(junk));
	make_log(state);
	put_pubd(state, 0);
	assert_true(tells(state, "\nsse_events_published_total 3\n"));
	assert_true(tells(state, "\nsse_delivery_latency_seconds_count "));
	status = tmpdir_path(tmpdir_path(*state, "var"), "status.db");
	tmpdir_write(status, junk, sizeof(junk));
	assert_false(tells(state, "\nsse_events_published_total"));
	assert_false(tells(state, "\nsse_delivery_latency_seconds_count"));
	assert_true(tells(state, "\nsse_store_up 1\n"));
}

static void
the_bounds_of_the_log_are_told(void **state)
{
	struct scrape s;
	struct buf out;
	struct span text;

	make_log(state);
	put_pubd(state, 0);
	assert_status(scrape_read(&s, log_path(state), NOW), ST_OK);
	buf_init(&out, 1 << 16);
	assert_status(exposition_put(s.metrics, EXPOSITION_TEXT, &out), ST_OK);
	assert_status(buf_append(&out, SPAN("\0")), ST_OK);
	text = buf_span(&out);
	assert_non_null(strstr(text.p, "\nsse_log_head 0\n"));
	assert_non_null(strstr(text.p, "\nsse_log_oldest 1\n"));
	assert_non_null(strstr(text.p, "\nsse_log_events 0\n"));
	assert_non_null(strstr(text.p, "\nsse_store_up 1\n"));
	assert_non_null(strstr(text.p, "\nsse_events_published_total 3\n"));
	buf_fini(&out);
	scrape_fini(&s);
}

/* SQLite's syncs come here and not to the C library. */
static unsigned n_syncs;

int
fsync(int fd)
{
	n_syncs++;
	return (int)syscall(SYS_fsync, fd);
}

int
fdatasync(int fd)
{
	n_syncs++;
	return (int)syscall(SYS_fdatasync, fd);
}

/* Nobody who is shown the bounds of the log relies on their being durable. */
static void
looking_never_syncs_a_file(void **state)
{
	struct store_options o = {.path = log_path(state)};
	struct store_reader *r;
	struct errmsg err;
	unsigned n;

	make_log(state);
	put_pubd(state, 0);
	n = n_syncs;
	assert_status(store_reader_open(&r, &o, &err), ST_OK);
	store_reader_close(&r);
	assert_true(n_syncs > n); /* they do come here */
	n = n_syncs;
	want(state, true, NULL);
	want(state, true, NULL);
	assert_int_equal(n_syncs - n, 0);
}

static void
the_json_has_processes_errors_and_reasons(void **state)
{
	struct scrape s;
	struct buf out;
	struct span text;

	make_log(state);
	put_pubd(state, 10001);
	assert_status(scrape_read(&s, log_path(state), NOW), ST_OK);
	buf_init(&out, 1 << 20);
	assert_status(scrape_json(&s, &out), ST_OK);
	assert_status(buf_append(&out, SPAN("\0")), ST_OK);
	text = buf_span(&out);
	assert_non_null(
	    strstr(text.p, "\"processes\":[{\"name\":\"pubd-1-1\""));
	assert_null(strstr(text.p, "{\"name\":\"totals\""));
	assert_non_null(strstr(text.p,
	    "\"errors\":[{\"ts_ms\":7,\"name\":\"pubd-1-1\",\"text\":\"it was "
	    "so\"}]}"));
	assert_non_null(
	    strstr(text.p, "\"reasons\":[{\"part\":\"pubd\",\"reason\":\""));
	assert_non_null(strstr(text.p, "\"sse_log_info\""));
	buf_fini(&out);
	scrape_fini(&s);
}

static void
an_allocation_that_fails_is_told_or_is_a_reason(void **state)
{
	struct scrape s;
	enum status st;
	unsigned n = 0;

	make_log(state);
	put_pubd(state, 0);
	do {
		fault_alloc_at(++n);
		st = scrape_read(&s, log_path(state), NOW);
		if (st == ST_OK)
			scrape_fini(&s);
		else
			assert_status(st, ST_NOMEM);
	} while (fault_hit());
	assert_status(st, ST_OK);
	assert_true(n > 5);
}

int
main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(nothing_at_all_is_not_ready_and_says_so_twice),
	    TEST(a_log_without_pubd_is_not_ready),
	    TEST(a_log_and_a_fresh_heartbeat_are_ready),
	    TEST(an_old_heartbeat_is_not_ready_and_says_how_old),
	    TEST(a_pubd_that_beats_and_hears_nobody_is_not_ready),
	    TEST(a_log_that_went_away_and_came_back_is_noticed),
	    TEST(damaged_files_are_reasons_and_no_crash),
	    TEST(counters_are_left_out_while_the_status_table_cannot_be_read),
	    TEST(the_bounds_of_the_log_are_told),
	    TEST(looking_never_syncs_a_file),
	    TEST(the_json_has_processes_errors_and_reasons),
	    TEST(an_allocation_that_fails_is_told_or_is_a_reason),
	};

	return RUN(tests);
}

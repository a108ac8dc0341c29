/* SPDX-License-Identifier: MIT */
/* pubd's row of the status table, and what becomes of the rows of others. */
#include "status_writer.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "metrics.h"
#include "statusdb.h"
#include "tmpdir.h"
#include "unit.h"

#define SECOND_US 1000000

struct fixture {
	char *dir;
	char log[PATH_BYTES];
	struct status_writer b;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	void *dir = NULL;

	if (f == NULL || tmpdir_setup(&dir) != 0)
		return -1;
	f->dir = dir;
	(void)snprintf(f->log, sizeof(f->log), "%s/events.db", f->dir);
	tmpdir_write(f->log, "", 0);
	status_writer_init(&f->b, f->log, 7, 1000);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	void *dir = f->dir;
	int rc;

	statusdb_close(&f->b.db);
	rc = tmpdir_teardown(&dir);
	free(f);
	return rc;
}

/* All rows together. */
struct census {
	char names[256];
	struct metrics sum;    /* counters of all */
	struct metrics gauges; /* of pubd's row */
	int64_t head, error_ms;
	char counters[8192]; /* of the row that was read last */
};

static void
take_row(void *arg, const struct status_row *row)
{
	struct census *c = arg;
	struct metrics f = {.cell = {0}};
	unsigned i, n_unknown = 0;

	(void)strncat(c->names, row->name.p, row->name.len);
	(void)strcat(c->names, " ");
	assert_status(
	    metrics_read(&f, METRICS_COUNTERS, row->counters, &n_unknown),
	    ST_OK);
	for (i = 0; i < METRICS_N_CELLS; i++)
		c->sum.cell[i] += f.cell[i];
	if (!span_eq(row->role, SPAN("pubd")))
		return;
	assert_status(
	    metrics_read(&c->gauges, METRICS_GAUGES, row->gauges, &n_unknown),
	    ST_OK);
	c->head = row->head;
	(void)snprintf(c->counters, sizeof(c->counters), "%.*s",
	    (int)row->counters.len, row->counters.p);
}

static struct census
taken(struct fixture *f)
{
	struct census c = {.names = ""};
	struct statusdb *db = NULL;
	struct errmsg err = {""};

	assert_status(statusdb_open(&db, f->log, false, &err), ST_OK);
	assert_status(statusdb_each(db, take_row, &c), ST_OK);
	statusdb_close(&db);
	return c;
}

/* Of a process that began at 1000.  The counter that is not believed. */
static const char *
judged(struct fixture *f, const char *name, const char *counters,
    int64_t now_ms)
{
	const struct status_row row = {.name = span_str(name),
	    .role = SPAN("worker"),
	    .version = SPAN("1"),
	    .started_ms = 1000,
	    .counters = span_str(counters),
	    .gauges = SPAN("{}")};
	const char *member = NULL;
	enum status st = status_writer_report(&f->b, &row,
	    (uint64_t)now_ms * 1000, now_ms, &member);

	assert_status(st, member == NULL ? ST_OK : ST_CONSTRAINT);
	return member;
}

static void
report(struct fixture *f, const char *name, const char *counters,
    int64_t now_ms)
{
	assert_null(judged(f, name, counters, now_ms));
}

static void
what_was_counted_is_in_the_row(void **state)
{
	struct fixture *f = *state;
	struct census c;

	status_writer_add(&f->b, METRIC_PUBLISHED, 3);
	status_writer_add(&f->b, METRIC_PUBLISHED, 2);
	hist_add(&f->b.publish, HIST_TIME, 700, 4);
	hist_add(&f->b.batch, HIST_SIZE, 5, 1);
	metrics_set(&f->b.metrics, METRIC_CONNECTIONS, 9);
	f->b.log.head = 46;
	status_writer_write(&f->b, SECOND_US, 2000);
	c = taken(f);
	assert_string_equal(c.names, "pubd-7-1000 totals ");
	assert_int_equal(c.sum.cell[METRIC_PUBLISHED], 5);
	assert_int_equal(c.sum.cell[METRIC_PUBLISH + 4], 4); /* to 1 ms */
	assert_int_equal(c.sum.cell[METRIC_PUBLISH_LAST], 2800);
	assert_int_equal(c.sum.cell[METRIC_BATCH_LAST], 5);
	assert_int_equal(c.gauges.cell[METRIC_CONNECTIONS], 9);
	assert_int_equal(c.head, 46);
}

static void
channels_are_among_its_counters(void **state)
{
	struct fixture *f = *state;

	assert_status(counted_name(&f->b.channels, SPAN("a,b")), ST_OK);
	counted_add(&f->b.channels, SPAN("b"));
	status_writer_write(&f->b, SECOND_US, 2000);
	assert_string_equal(taken(f).counters,
	    "{\"channel:a\":0,\"channel:b\":1}");
	status_writer_add(&f->b, METRIC_COMMITS, 1);
	status_writer_write(&f->b, 2 * SECOND_US, 3000);
	assert_string_equal(taken(f).counters,
	    "{\"commits\":1,\"channel:a\":0,\"channel:b\":1}");
}

static void
at_the_end_the_last_metrics_join_the_totals(void **state)
{
	struct fixture *f = *state;
	struct census c;

	status_writer_add(&f->b, METRIC_COMMITS, 1);
	status_writer_write(&f->b, SECOND_US, 2000);
	status_writer_add(&f->b, METRIC_COMMITS, 1); /* after the last beat */
	status_writer_fini(&f->b, 2 * SECOND_US, 3000);
	c = taken(f);
	assert_string_equal(c.names, "totals ");
	assert_int_equal(c.sum.cell[METRIC_COMMITS], 2);
}

/* As after kill -9: its row is left, with a lease that runs. */
static void
a_killed_pubd_counts_once_for_the_next(void **state)
{
	struct fixture *f = *state;
	struct census c;

	status_writer_add(&f->b, METRIC_COMMITS, 5);
	status_writer_write(&f->b, SECOND_US, 2000);
	statusdb_close(&f->b.db);
	assert_int_equal(taken(f).sum.cell[METRIC_COMMITS], 5);

	status_writer_init(&f->b, f->log, 8, 2500);
	status_writer_add(&f->b, METRIC_COMMITS, 2);
	status_writer_write(&f->b, 2 * SECOND_US, 3000);
	c = taken(f);
	/* and is not up any more, lease or not */
	assert_string_equal(c.names, "pubd-8-2500 totals ");
	assert_int_equal(c.sum.cell[METRIC_COMMITS], 7);
	status_writer_write(&f->b, 60 * SECOND_US, 60000);
	assert_int_equal(taken(f).sum.cell[METRIC_COMMITS], 7);
}

/* Somebody runs two, on different sockets. */
static void
another_pubd_that_lives_comes_back(void **state)
{
	struct fixture *f = *state;
	struct status_writer other;
	struct census c;

	status_writer_init(&other, f->log, 8, 1500);
	status_writer_add(&other, METRIC_COMMITS, 2);
	status_writer_write(&other, SECOND_US, 2000);
	status_writer_add(&f->b, METRIC_COMMITS, 5);
	status_writer_write(&f->b, SECOND_US, 2001);
	assert_int_equal(taken(f).sum.cell[METRIC_COMMITS], 7);
	status_writer_write(&other, 2 * SECOND_US, 3000);
	c = taken(f);
	assert_string_equal(c.names, "pubd-7-1000 pubd-8-1500 totals ");
	assert_int_equal(c.sum.cell[METRIC_COMMITS], 7);
	status_writer_fini(&other, 3 * SECOND_US, 4000);
	assert_int_equal(taken(f).sum.cell[METRIC_COMMITS], 7);
}

static void
a_worker_that_comes_back_counts_once(void **state)
{
	struct fixture *f = *state;

	report(f, "worker-1-1", "{\"events_sent\":4}", 2000);
	status_writer_gone(&f->b, SPAN("worker-1-1"), 2 * SECOND_US, 2500);
	assert_string_equal(taken(f).names, "totals ");
	assert_int_equal(taken(f).sum.cell[METRIC_EVENTS_SENT], 4);
	report(f, "worker-1-1", "{\"events_sent\":6}", 3000);
	assert_int_equal(taken(f).sum.cell[METRIC_EVENTS_SENT], 6);
	/* It is silent until its lease has passed, and comes back again. */
	status_writer_write(&f->b, 20 * SECOND_US, 20000);
	assert_string_equal(taken(f).names, "pubd-7-1000 totals ");
	assert_int_equal(taken(f).sum.cell[METRIC_EVENTS_SENT], 6);
	report(f, "worker-1-1", "{\"events_sent\":7}", 21000);
	assert_int_equal(taken(f).sum.cell[METRIC_EVENTS_SENT], 7);
}

static void
nobody_reports_under_our_name(void **state)
{
	struct fixture *f = *state;
	struct status_row row = {.name = SPAN("pubd-7-1000"),
	    .role = SPAN("pubd"),
	    .counters = SPAN("{}"),
	    .gauges = SPAN("{}")};
	const char *member;

	status_writer_add(&f->b, METRIC_COMMITS, 5);
	status_writer_write(&f->b, SECOND_US, 2000);
	assert_status(
	    status_writer_report(&f->b, &row, 2 * SECOND_US, 3000, &member),
	    ST_EXISTS);
	row.name = SPAN(STATUSDB_TOTALS);
	assert_status(
	    status_writer_report(&f->b, &row, 2 * SECOND_US, 3000, &member),
	    ST_EXISTS);
	assert_int_equal(taken(f).sum.cell[METRIC_COMMITS], 5);
}

/* 10^8 a second are possible, and two seconds more than have passed. */
static void
a_step_that_no_process_can_make_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(
	    judged(f, "a", "{\"events_sent\":9007199254740992}", 2000),
	    "events_sent");
	assert_string_equal(judged(f, "a", "{\"events_sent\":300000001}", 2000),
	    "events_sent");
	report(f, "a", "{\"events_sent\":300000000}", 2000);
	assert_string_equal(judged(f, "a", "{\"events_sent\":700000000}", 3000),
	    "events_sent");
	assert_int_equal(taken(f).sum.cell[METRIC_EVENTS_SENT], 300000000);
	/* Whoever is right is believed when time has passed. */
	report(f, "a", "{\"events_sent\":700000000}", 4000);
	/* Also after he was given up, and whatever the clock does. */
	status_writer_gone(&f->b, SPAN("a"), 5 * SECOND_US, 5000);
	assert_string_equal(
	    judged(f, "a", "{\"events_sent\":1700000000}", 5000),
	    "events_sent");
	report(f, "a", "{\"events_sent\":800000000}", 500);
	assert_int_equal(taken(f).sum.cell[METRIC_EVENTS_SENT], 800000000);
}

static void
who_has_counted_less_begins_anew_with_the_time_that_has_passed(void **state)
{
	struct fixture *f = *state;

	report(f, "a", "{\"events_sent\":500,\"writes\":9}", 90000000);
	assert_string_equal(judged(f, "a",
				"{\"events_sent\":400000000,\"writes\":1}",
				90001000),
	    "events_sent");
	report(f, "a", "{\"events_sent\":7,\"writes\":1}", 90001000);
	assert_int_equal(taken(f).sum.cell[METRIC_EVENTS_SENT], 507);
	/* No age makes more than a day's counting credible. */
	assert_string_equal(
	    judged(f, "b", "{\"events_sent\":8640200000001}", INT64_C(1) << 50),
	    "events_sent");
	report(f, "b", "{\"events_sent\":8640200000000}", INT64_C(1) << 50);
}

static void
a_reset_leaves_what_lives(void **state)
{
	struct fixture *f = *state;

	report(f, "dead", "{\"events_sent\":5}", 2000);
	report(f, "alive", "{\"events_sent\":3}", 2000);
	status_writer_gone(&f->b, SPAN("dead"), 2 * SECOND_US, 2000);
	assert_status(status_writer_reset(&f->b, 2 * SECOND_US, 2000), ST_OK);
	assert_int_equal(taken(f).sum.cell[METRIC_EVENTS_SENT], 3);
	status_writer_gone(&f->b, SPAN("alive"), 2 * SECOND_US, 2000);
	assert_int_equal(taken(f).sum.cell[METRIC_EVENTS_SENT], 3);
}

static void
without_a_log_nothing_is_written_and_nothing_breaks(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(unlink(f->log), 0);
	status_writer_write(&f->b, SECOND_US, 2000);
	assert_null(f->b.db);
	tmpdir_write(f->log, "", 0);
	status_writer_write(&f->b, SECOND_US + 1,
	    2000); /* not tried again yet */
	assert_null(f->b.db);
	status_writer_write(&f->b, 3 * SECOND_US, 4000);
	assert_non_null(f->b.db);
	status_writer_fini(&f->b, 4 * SECOND_US, 5000);
	assert_null(f->b.db);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(what_was_counted_is_in_the_row),
	    T(channels_are_among_its_counters),
	    T(at_the_end_the_last_metrics_join_the_totals),
	    T(a_killed_pubd_counts_once_for_the_next),
	    T(another_pubd_that_lives_comes_back),
	    T(a_worker_that_comes_back_counts_once),
	    T(nobody_reports_under_our_name),
	    T(a_step_that_no_process_can_make_is_refused),
	    T(who_has_counted_less_begins_anew_with_the_time_that_has_passed),
	    T(a_reset_leaves_what_lives),
	    T(without_a_log_nothing_is_written_and_nothing_breaks),
	};

	return RUN(tests);
}

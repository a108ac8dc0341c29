/* SPDX-License-Identifier: MIT */
#include "statusdb.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db.h"
#include "fault.h"
#include "json.h"
#include "store.h"
#include "tmpdir.h"
#include "unit.h"

#define HOUR_MS 3600000

struct fixture {
	char *dir;
	char log[PATH_BYTES];
	char path[PATH_BYTES];
	struct statusdb *db;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct errmsg err = {""};
	void *dir = NULL;

	if (f == NULL || tmpdir_setup(&dir) != 0)
		return -1;
	f->dir = dir;
	(void)snprintf(f->log, sizeof(f->log), "%s/events.db", f->dir);
	(void)snprintf(f->path, sizeof(f->path), "%s/status.db", f->dir);
	tmpdir_write(f->log, "", 0);
	if (chmod(f->log, 0640) != 0)
		return -1;
	*state = f;
	return statusdb_open(&f->db, f->log, true, &err) == ST_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	void *dir = f->dir;
	int rc;

	statusdb_close(&f->db);
	rc = tmpdir_teardown(&dir);
	free(f);
	return rc;
}

static struct status_row
row_of(const char *name, int64_t seen_ms, const char *counters)
{
	return (struct status_row){
	    .name = span_str(name),
	    .role = SPAN("worker"),
	    .pid = 12,
	    .version = SPAN("0.1.0"),
	    .started_ms = 1000,
	    .seen_ms = seen_ms,
	    .lease_ms = 500,
	    .head = 46,
	    .cursor = 45,
	    .streams = 7,
	    .counters = span_str(counters),
	    .gauges = SPAN("{}"),
	};
}

static void
put(struct fixture *f, const char *name, int64_t seen_ms, const char *counters)
{
	struct status_row row = row_of(name, seen_ms, counters);

	assert_status(statusdb_put(f->db, &row, 1), ST_OK);
}

/* What statusdb_each gives: names in a line, and sums over all rows. */
struct census {
	char names[256];
	struct json_parser *parser;
	int64_t sent, lost;     /* sums of these two counters */
	struct status_row last; /* numbers only */
	char gauges[64];        /* of the last */
};

static void
take_row(void *arg, const struct status_row *row)
{
	struct census *c = arg;
	struct json *root = NULL;
	int64_t v;

	(void)strncat(c->names, row->name.p, row->name.len);
	(void)strcat(c->names, " ");
	assert_status(json_parse(c->parser, row->counters, &root, NULL), ST_OK);
	assert_int_equal(json_type(root), JSON_OBJECT);
	if (json_int(json_get(root, "sent"), &v))
		c->sent += v;
	if (json_int(json_get(root, "lost"), &v))
		c->lost += v;
	json_free(&root);
	if (span_eq(row->name, SPAN(STATUSDB_TOTALS)))
		return;
	c->last = *row;
	(void)snprintf(c->gauges, sizeof(c->gauges), "%.*s",
	    (int)row->gauges.len, row->gauges.p);
}

static struct census
taken(struct statusdb *db)
{
	struct census c = {.names = ""};

	assert_status(json_parser_new(&c.parser), ST_OK);
	assert_status(statusdb_each(db, take_row, &c), ST_OK);
	json_parser_free(&c.parser);
	return c;
}

static void
assert_names(struct fixture *f, const char *names)
{
	assert_string_equal(taken(f->db).names, names);
}

static void
a_row_comes_back_as_it_was_put(void **state)
{
	struct fixture *f = *state;
	struct census c;

	put(f, "worker-12-1000", 2000, "{\"sent\":5}");
	c = taken(f->db);
	assert_string_equal(c.names, "totals worker-12-1000 ");
	assert_int_equal(c.last.pid, 12);
	assert_int_equal(c.last.started_ms, 1000);
	assert_int_equal(c.last.seen_ms, 2000);
	assert_int_equal(c.last.lease_ms, 500);
	assert_int_equal(c.last.head, 46);
	assert_int_equal(c.last.cursor, 45);
	assert_int_equal(c.last.streams, 7);
	assert_int_equal(c.sent, 5);
}

static void
check_text(void *arg, const struct status_row *row)
{
	if (span_eq(row->name, SPAN(STATUSDB_TOTALS))) {
		assert_span(row->role, SPAN(STATUSDB_TOTALS));
		return;
	}
	assert_span(row->role, SPAN("cgi"));
	assert_span(row->version, SPAN("9.8.7"));
	assert_span(row->counters, SPAN("{\"sent\":5}"));
	assert_span(row->gauges, SPAN("{\"rss_bytes\":6}"));
	*(bool *)arg = true;
}

static void
text_comes_back_as_it_was_put(void **state)
{
	struct fixture *f = *state;
	struct status_row row = row_of("w", 2000, "{\"sent\":5}");
	bool seen = false;

	row.role = SPAN("cgi");
	row.version = SPAN("9.8.7");
	row.gauges = SPAN("{\"rss_bytes\":6}");
	assert_status(statusdb_put(f->db, &row, 1), ST_OK);
	assert_status(statusdb_each(f->db, check_text, &seen), ST_OK);
	assert_true(seen);
}

static void
a_row_is_replaced_by_the_next_of_its_name(void **state)
{
	struct fixture *f = *state;
	struct status_row rows[2] = {row_of("a", 1, "{\"sent\":1}"),
	    row_of("b", 1, "{\"sent\":10}")};

	assert_status(statusdb_put(f->db, rows, 2), ST_OK);
	rows[0].counters = SPAN("{\"sent\":3}");
	assert_status(statusdb_put(f->db, rows, 1), ST_OK);
	assert_names(f, "a b totals ");
	assert_int_equal(taken(f->db).sent, 13);
	rows[1].streams = 99;
	rows[1].gauges = SPAN("{\"rss_bytes\":6}");
	assert_status(statusdb_put(f->db, rows, 2), ST_OK);
	assert_int_equal(taken(f->db).last.streams, 99);
	assert_string_equal(taken(f->db).gauges, "{\"rss_bytes\":6}");
	assert_status(statusdb_put(f->db, rows, 0), ST_OK);
}

static void
counters_and_gauges_must_be_objects(void **state)
{
	struct fixture *f = *state;
	const char *const bad[] = {"", "{", "[1]", "1", "null", "\"a\""};
	struct status_row rows[2];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rows[0] = row_of("a", 1, "{}");
		rows[1] = row_of("b", 1, bad[i]);
		assert_status(statusdb_put(f->db, rows, 2), ST_CONSTRAINT);
		assert_names(f, "totals "); /* all or none */
		rows[1] = row_of("b", 1, "{}");
		rows[1].gauges = span_str(bad[i]);
		assert_status(statusdb_put(f->db, rows, 2), ST_CONSTRAINT);
		assert_names(f, "totals ");
	}
}

static void
a_row_from_before_the_clock_went_back_joins_the_totals(void **state)
{
	struct fixture *f = *state;

	put(f, "dead", 9000, "{\"sent\":5}");
	put(f, "alive", 9000, "{\"sent\":7}");
	assert_status(statusdb_expire(f->db, 8500), ST_OK);
	assert_names(f, "alive dead totals "); /* written a moment later */
	assert_status(statusdb_expire(f->db, 1000), ST_OK);
	assert_names(f, "totals ");
	assert_int_equal(taken(f->db).sent, 12);
	put(f, "alive", 1001, "{\"sent\":8}");
	assert_names(f, "alive totals ");
	assert_int_equal(taken(f->db).sent, 13);
}

static void
the_age_of_a_row_is_its_distance_from_now(void **state)
{
	struct status_row row = {.seen_ms = 1000, .lease_ms = 500};

	(void)state;
	assert_int_equal(statusdb_age_ms(&row, 1300), 300);
	assert_int_equal(statusdb_age_ms(&row, 700), 300);
	assert_true(statusdb_is_live(&row, 1500));
	assert_false(statusdb_is_live(&row, 1501));
	assert_true(statusdb_is_live(&row, 500));
	assert_false(statusdb_is_live(&row, 499));
	row.seen_ms = INT64_MIN;
	assert_int_equal(statusdb_age_ms(&row, INT64_MAX), INT64_MAX);
	row.seen_ms = INT64_MAX;
	assert_int_equal(statusdb_age_ms(&row, INT64_MIN), INT64_MAX);
}

static void
a_row_whose_lease_has_passed_joins_the_totals(void **state)
{
	struct fixture *f = *state;

	put(f, "a", 1000, "{\"sent\":5,\"lost\":1}");
	put(f, "b", 1200, "{\"sent\":7}");
	assert_status(statusdb_expire(f->db, 1500), ST_OK);
	assert_names(f, "a b totals "); /* the lease's last moment */
	assert_status(statusdb_expire(f->db, 1501), ST_OK);
	assert_names(f, "b totals ");
	assert_int_equal(taken(f->db).sent, 12);
	assert_int_equal(taken(f->db).lost, 1);
	assert_status(statusdb_expire(f->db, 9999), ST_OK);
	assert_names(f, "totals ");
	assert_int_equal(taken(f->db).sent, 12);
	assert_int_equal(taken(f->db).lost, 1);
	/* Nothing is added twice. */
	assert_status(statusdb_expire(f->db, 99999), ST_OK);
	assert_int_equal(taken(f->db).sent, 12);
}

static void
a_row_may_say_goodbye(void **state)
{
	struct fixture *f = *state;

	put(f, "a", 1000, "{\"sent\":5}");
	put(f, "b", 1000, "{\"sent\":7}");
	assert_status(statusdb_remove(f->db, SPAN("a"), 2000), ST_OK);
	assert_names(f, "b totals ");
	assert_int_equal(taken(f->db).sent, 12);
	assert_status(statusdb_remove(f->db, SPAN("a"), 2000), ST_OK);
	assert_status(statusdb_remove(f->db, SPAN("nobody"), 2000), ST_OK);
	assert_int_equal(taken(f->db).sent, 12);
}

static void
a_process_that_comes_back_counts_once(void **state)
{
	struct fixture *f = *state;

	put(f, "a", 1000, "{\"sent\":5}");
	put(f, "b", 1000, "{\"sent\":100}");
	assert_status(statusdb_expire(f->db, 2000), ST_OK);
	assert_int_equal(taken(f->db).sent, 105);
	put(f, "a", 2100, "{\"sent\":6}");
	assert_names(f, "a totals ");
	assert_int_equal(taken(f->db).sent, 106);
	put(f, "a", 2200, "{\"sent\":8}");
	assert_int_equal(taken(f->db).sent, 108);
	assert_status(statusdb_expire(f->db, 9000), ST_OK);
	assert_int_equal(taken(f->db).sent, 108);
}

/* Whoever comes under a name with less than was counted is another one. */
static void
a_name_that_is_taken_over_takes_nothing_back(void **state)
{
	struct fixture *f = *state;

	put(f, "a", 1000, "{\"sent\":5,\"lost\":2}");
	assert_status(statusdb_expire(f->db, 2000), ST_OK);
	put(f, "a", 2000, "{\"sent\":6}");
	assert_int_equal(taken(f->db).sent, 11);
	assert_int_equal(taken(f->db).lost, 2);
	/* While the other one lives, too. */
	put(f, "a", 2100, "{\"sent\":4,\"lost\":1}");
	assert_names(f, "a totals ");
	assert_int_equal(taken(f->db).sent, 15);
	assert_int_equal(taken(f->db).lost, 3);
	put(f, "a", 2200, "{}");
	assert_status(statusdb_expire(f->db, 9000), ST_OK);
	assert_int_equal(taken(f->db).sent, 15);
	assert_int_equal(taken(f->db).lost, 3);
}

static int64_t
raw_int(struct fixture *f, const char *sql)
{
	struct errmsg err = {""};
	struct db *raw = NULL;
	int64_t n = 0;

	assert_status(db_open(&raw, f->path, DB_READ, &err), ST_OK);
	assert_status(db_get_int(raw, sql, &n), ST_OK);
	db_close(&raw);
	return n;
}

static int64_t
n_rows(struct fixture *f)
{
	return raw_int(f, "SELECT count(*) FROM status");
}

static void
the_last_thousand_of_the_gone_are_remembered(void **state)
{
	struct fixture *f = *state;
	char name[16];
	int i;

	for (i = 0; i < 1005; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		put(f, name, i, "{\"sent\":1}");
		assert_status(statusdb_remove(f->db, span_str(name), i), ST_OK);
	}
	assert_status(statusdb_expire(f->db, 2000), ST_OK);
	assert_int_equal(n_rows(f), 1001);
	assert_int_equal(taken(f->db).sent, 1005);
	put(f, "n5", 2000, "{\"sent\":2}");
	assert_int_equal(taken(f->db).sent, 1006);
}

static void
the_gone_are_forgotten_an_hour_after_they_were_given_up(void **state)
{
	struct fixture *f = *state;

	put(f, "a", 1000, "{\"sent\":5}");
	put(f, "cgi", 1000, "{}");
	assert_status(statusdb_expire(f->db, 2000), ST_OK);
	assert_int_equal(n_rows(f), 2); /* the totals, and a */
	assert_status(statusdb_expire(f->db, 2000 + HOUR_MS), ST_OK);
	assert_int_equal(n_rows(f), 2);
	assert_status(statusdb_expire(f->db, 2001 + HOUR_MS), ST_OK);
	assert_int_equal(n_rows(f), 1);
	assert_int_equal(taken(f->db).sent, 5);
}

static void
a_goodbye_is_remembered_from_when_it_was_said(void **state)
{
	struct fixture *f = *state;

	put(f, "a", 1000, "{\"sent\":5}");
	assert_status(statusdb_remove(f->db, SPAN("a"), 5000), ST_OK);
	assert_status(statusdb_expire(f->db, 5000 + HOUR_MS), ST_OK);
	assert_int_equal(n_rows(f), 2);
	/* Its last report came late: it counts once all the same. */
	put(f, "a", 5100, "{\"sent\":6}");
	assert_int_equal(taken(f->db).sent, 6);
	assert_status(statusdb_remove(f->db, SPAN("a"), 5200), ST_OK);
	assert_status(statusdb_expire(f->db, 5201 + HOUR_MS), ST_OK);
	assert_int_equal(n_rows(f), 1);
	assert_int_equal(taken(f->db).sent, 6);
}

/* The lease ran out while nobody was there to see it. */
static void
a_process_that_outlives_a_long_absence_of_pubd_counts_once(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	int64_t now = 1000 + 7 * (int64_t)HOUR_MS;

	put(f, "a", 1000, "{\"sent\":5}");
	put(f, "dead", 1000, "{\"sent\":100}");
	statusdb_close(&f->db);
	assert_status(statusdb_open(&f->db, f->log, true, &err), ST_OK);
	assert_status(statusdb_expire(f->db, now), ST_OK);
	assert_names(f, "totals ");
	assert_int_equal(taken(f->db).sent, 105);
	assert_status(statusdb_expire(f->db, now + 1000), ST_OK);
	put(f, "a", now + 2000, "{\"sent\":8}");
	assert_names(f, "a totals ");
	assert_int_equal(taken(f->db).sent, 108);
}

/* The gauges go with the row, on the way out and on the way back. */
static void
the_log_as_it_was_last_known_is_kept(void **state)
{
	struct fixture *f = *state;
	struct store_bounds b = {.head = 90, .generation = "0123"}, got;

	assert_status(statusdb_log(f->db, &got), ST_NOTFOUND);
	assert_status(statusdb_put_log(f->db, &b), ST_OK);
	b.head = 70;
	(void)strcpy(b.generation, "4567");
	assert_status(statusdb_put_log(f->db, &b), ST_OK);
	assert_status(statusdb_log(f->db, &got), ST_OK);
	assert_int_equal(got.head, 70);
	assert_string_equal(got.generation, "4567");
}

static void
pubd_metrics_are_not_added_up(void **state)
{
	struct fixture *f = *state;
	struct status_row row = row_of("a", 1, "{\"lost\":1}");

	row.gauges = SPAN("{\"sent\":7}");
	assert_status(statusdb_put(f->db, &row, 1), ST_OK);
	assert_status(statusdb_remove(f->db, SPAN("a"), 2000), ST_OK);
	assert_int_equal(taken(f->db).sent, 0);
	assert_int_equal(taken(f->db).lost, 1);
}

static void
only_numbers_are_added_up(void **state)
{
	struct fixture *f = *state;

	put(f, "a", 1, "{\"sent\":5,\"x\":\"y\",\"z\":[1],\"lost\":2.0}");
	put(f, "b", 1, "{\"sent\":\"7\",\"lost\":null}");
	assert_status(statusdb_remove(f->db, SPAN("a"), 2000), ST_OK);
	assert_status(statusdb_remove(f->db, SPAN("b"), 2000), ST_OK);
	assert_int_equal(taken(f->db).sent, 5);
	assert_int_equal(taken(f->db).lost, 2);
}

/* A double would lose the last bits from 2^53 on. */
static void
counters_are_exact(void **state)
{
	struct fixture *f = *state;

	put(f, "a", 1, "{\"sent\":9007199254740993,\"lost\":4294967295}");
	put(f, "b", 1, "{\"sent\":9007199254740994,\"lost\":4294967295}");
	put(f, "c", 1, "{\"sent\":4611686018427387905,\"lost\":1}");
	assert_status(statusdb_expire(f->db, 2000), ST_OK);
	assert_int_equal(taken(f->db).sent, 4629700416936869892);
	assert_int_equal(taken(f->db).lost, 8589934591);
	put(f, "c", 2000, "{\"sent\":4611686018427387906,\"lost\":2}");
	assert_int_equal(taken(f->db).sent, 4629700416936869893);
	assert_int_equal(taken(f->db).lost, 8589934592);
}

static void
nonsense_of_one_process_stops_no_other(void **state)
{
	struct fixture *f = *state;

	put(f, "a", 1, "{\"sent\":9223372036854775807}");
	put(f, "b", 1, "{\"sent\":9223372036854775807}");
	put(f, "c", 1, "{\"sent\":1e300}");
	put(f, "d", 1, "{\"sent\":99999999999999999999}");
	put(f, "e", 1, "{\"sent\":1,\"lost\":3}");
	assert_status(statusdb_expire(f->db, 2000), ST_OK);
	assert_names(f, "totals ");
	assert_true(taken(f->db).sent > INT64_MAX / 2);
	assert_int_equal(taken(f->db).lost, 3);
	/* Taking more out than is in leaves 0. */
	put(f, "a", 2000, "{\"sent\":9223372036854775807,\"lost\":1}");
	put(f, "b", 2000, "{\"sent\":9223372036854775807,\"lost\":3}");
	assert_int_equal(raw_int(f,
			     "SELECT json_extract(counters, '$.sent') "
			     "FROM status WHERE name = 'totals'"),
	    0);
	assert_int_equal(raw_int(f,
			     "SELECT sum(json_extract(counters, '$.lost')) "
			     "FROM status WHERE folded_ms IS NULL"),
	    7);
}

/* ---- errors ------------------------------------------------------------- */

struct errors {
	char text[2048]; /* "TS NAME TEXT;" of each */
	int n;
};

static void
take_error(void *arg, const struct statusdb_error *e)
{
	struct errors *all = arg;
	size_t n = strlen(all->text);

	(void)snprintf(all->text + n, sizeof(all->text) - n, "%lld %.*s %.*s;",
	    (long long)e->ts_ms, (int)e->name.len, e->name.p, (int)e->text.len,
	    e->text.p);
	all->n++;
}

static struct errors
errors_of(struct statusdb *db)
{
	struct errors all = {"", 0};

	assert_status(statusdb_each_error(db, take_error, &all), ST_OK);
	return all;
}

static void
put_error(struct fixture *f, const char *name, int64_t ts_ms, const char *text)
{
	struct status_row row = row_of(name, 1000, "{}");

	row.error_ms = ts_ms;
	row.error = span_str(text);
	assert_status(statusdb_put(f->db, &row, 1), ST_OK);
}

static void
errors_are_listed_newest_first_and_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(errors_of(f->db).n, 0);
	put_error(f, "a", 0, "none");
	put_error(f, "a", 30, "three");
	put_error(f, "b", 50, "five");
	put_error(f, "a", 40, "four");
	put_error(f, "a", 40, "four"); /* the next report, nothing new */
	put_error(f, "c", 40, "too");
	assert_string_equal(errors_of(f->db).text,
	    "50 b five;40 a four;40 c too;30 a three;");
}

static void
errors_outlive_their_process_and_a_restart(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct statusdb *r = NULL;

	put_error(f, "a", 30, "last words");
	assert_status(statusdb_expire(f->db, 9000), ST_OK);
	statusdb_close(&f->db);
	assert_status(statusdb_open(&f->db, f->log, true, &err), ST_OK);
	assert_status(statusdb_open(&r, f->log, false, &err), ST_OK);
	assert_string_equal(errors_of(r).text, "30 a last words;");
	statusdb_close(&r);
}

static void
the_newest_errors_are_kept(void **state)
{
	struct fixture *f = *state;
	struct errors all;
	char first[32];
	int i;

	for (i = 1; i <= 2 * STATUSDB_ERRORS; i++)
		put_error(f, "a", i, "e");
	put_error(f, "b", 1, "old news");
	all = errors_of(f->db);
	assert_int_equal(all.n, STATUSDB_ERRORS);
	(void)snprintf(first, sizeof(first), "%d a e;", 2 * STATUSDB_ERRORS);
	assert_memory_equal(all.text, first, strlen(first));
	(void)snprintf(first, sizeof(first), ";%d a e;", STATUSDB_ERRORS + 1);
	assert_string_equal(all.text + strlen(all.text) - strlen(first), first);
}

static void
an_error_of_the_future_is_not_believed(void **state)
{
	struct fixture *f = *state;

	put_error(f, "a", 1001, "tomorrow");
	put_error(f, "b", INT64_MAX, "never");
	put_error(f, "c", -1, "before");
	put_error(f, "d", 1000, "now");
	assert_string_equal(errors_of(f->db).text, "1000 d now;");
}

/* ---- names, files ------------------------------------------------------- */

static void
nobody_can_take_the_name_of_the_totals(void **state)
{
	struct fixture *f = *state;

	put(f, "a", 1, "{\"sent\":5}");
	assert_status(statusdb_remove(f->db, SPAN("a"), 2000), ST_OK);
	put(f, STATUSDB_TOTALS, 1, "{\"sent\":0}");
	assert_status(statusdb_expire(f->db, 9000), ST_OK);
	assert_status(statusdb_remove(f->db, SPAN(STATUSDB_TOTALS), 2000),
	    ST_OK);
	assert_names(f, "totals ");
	assert_int_equal(taken(f->db).sent, 5);
}

static void
what_was_put_is_there_after_a_restart(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};

	put(f, "a", 1, "{\"sent\":5}");
	put(f, "b", 1, "{\"sent\":6}");
	assert_status(statusdb_remove(f->db, SPAN("a"), 2000), ST_OK);
	statusdb_close(&f->db);
	assert_status(statusdb_open(&f->db, f->log, true, &err), ST_OK);
	assert_names(f, "b totals ");
	assert_int_equal(taken(f->db).sent, 11);
}

static void
a_reader_sees_what_the_writer_puts(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct statusdb *r = NULL;

	assert_status(statusdb_open(&r, f->log, false, &err), ST_OK);
	assert_string_equal(taken(r).names, "totals ");
	put(f, "a", 1, "{}");
	assert_string_equal(taken(r).names, "a totals ");
	statusdb_close(&r);
	assert_null(r);
	statusdb_close(&r);
}

static void
a_reader_before_the_first_writer_finds_nothing(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct statusdb *r = NULL;

	statusdb_close(&f->db);
	assert_int_equal(unlink(f->path), 0);
	assert_status(statusdb_open(&r, f->log, false, &err), ST_NOTFOUND);
	assert_non_null(strstr(err.text, f->path));
	assert_null(r);
}

static void
files_have_the_mode_and_the_group_of_the_log(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	const char *const names[] = {"status.db", "status.db-wal",
	    "status.db-shm"};
	bool root = geteuid() == 0;
	mode_t old = umask(0);
	struct stat sb;
	size_t i;

	put(f, "a", 1, "{}");
	for (i = 0; i < 3; i++) {
		assert_int_equal(stat(tmpdir_path(f->dir, names[i]), &sb), 0);
		assert_int_equal(sb.st_mode & 0777, 0640);
	}
	/* The log was opened to its group (and given away) meanwhile. */
	statusdb_close(&f->db);
	assert_int_equal(chmod(f->log, 0660), 0);
	if (root)
		assert_int_equal(chown(f->log, 12345, 54321), 0);
	assert_status(statusdb_open(&f->db, f->log, true, &err), ST_OK);
	assert_int_equal(umask(old), 0); /* given back */
	put(f, "a", 1, "{}");
	for (i = 0; i < 3; i++) {
		assert_int_equal(stat(tmpdir_path(f->dir, names[i]), &sb), 0);
		assert_int_equal(sb.st_mode & 0777, 0660);
		if (root) {
			assert_int_equal(sb.st_uid, 12345);
			assert_int_equal(sb.st_gid, 54321);
		}
	}
}

static void
without_a_log_there_is_no_status(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct statusdb *s = NULL;

	assert_status(
	    statusdb_open(&s, tmpdir_path(f->dir, "none.db"), true, &err),
	    ST_NOTFOUND);
	assert_non_null(strstr(err.text, "none.db"));
	assert_null(s);
}

static void
a_damaged_file_is_made_anew(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct statusdb *r = NULL;
	static char junk[9000];

	statusdb_close(&f->db);
	memset(junk, 'x', sizeof(junk));
	tmpdir_write(f->path, junk, sizeof(junk));
	assert_status(statusdb_open(&r, f->log, false, &err), ST_CORRUPT);
	assert_non_null(strstr(err.text, f->path));
	assert_null(r);
	assert_status(statusdb_open(&f->db, f->log, true, &err), ST_OK);
	put(f, "a", 1, "{}");
	assert_names(f, "a totals ");
}

/* The header is whole, a page of the table is not. */
static void
a_damaged_page_is_found_at_the_opening(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct db *raw = NULL;
	int in_wal, done;
	FILE *file;

	put(f, "a", 1, "{}");
	assert_status(db_open(&raw, f->path, DB_WRITE, &err), ST_OK);
	assert_status(db_checkpoint(raw, &in_wal, &done), ST_OK);
	db_close(&raw);
	statusdb_close(&f->db);
	assert_int_equal(unlink(tmpdir_path(f->dir, "status.db-wal")), 0);
	file = fopen(f->path, "r+b");
	assert_non_null(file);
	assert_int_equal(fseek(file, 4096, SEEK_SET), 0);
	assert_int_equal(fwrite("garbage garbage garbage", 1, 23, file), 23);
	assert_int_equal(fclose(file), 0);
	assert_status(statusdb_open(&f->db, f->log, true, &err), ST_OK);
	assert_names(f, "totals ");
}

static void
check_other_version(struct fixture *f, const char *version)
{
	struct errmsg err = {""};
	struct statusdb *r = NULL;
	struct db *raw = NULL;

	put(f, "a", 1, "{}");
	assert_status(db_open(&raw, f->path, DB_WRITE, &err), ST_OK);
	assert_status(db_exec(raw, version), ST_OK);
	db_close(&raw);
	statusdb_close(&f->db);
	assert_status(statusdb_open(&r, f->log, false, &err), ST_SCHEMA);
	assert_null(r);
	assert_status(statusdb_open(&f->db, f->log, true, &err), ST_OK);
	assert_names(f, "totals ");
}

static void
another_version_is_made_anew_by_a_writer_only(void **state)
{
	check_other_version(*state, "PRAGMA user_version=77");
	check_other_version(*state, "DROP TABLE errors; PRAGMA user_version=1");
}

static void
a_replaced_file_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct status_row row = row_of("a", 1, "{}");
	struct statusdb *r = NULL;
	struct census c = {.names = ""};
	struct errors e = {"", 0};

	assert_status(statusdb_open(&r, f->log, false, &err), ST_OK);
	assert_int_equal(unlink(f->path), 0);
	assert_status(statusdb_put(f->db, &row, 1), ST_MOVED);
	assert_status(statusdb_expire(f->db, 1), ST_MOVED);
	assert_status(statusdb_remove(f->db, SPAN("a"), 2000), ST_MOVED);
	assert_status(statusdb_each(r, take_row, &c), ST_MOVED);
	assert_status(statusdb_each_error(r, take_error, &e), ST_MOVED);
	statusdb_close(&r);
}

static void
a_second_writer_is_busy_at_once(void **state)
{
	struct fixture *f = *state;
	struct status_row row = row_of("a", 1, "{}");
	struct errmsg err = {""};
	struct db *raw = NULL;

	assert_status(db_open(&raw, f->path, DB_WRITE, &err), ST_OK);
	assert_status(db_exec(raw, "BEGIN IMMEDIATE"), ST_OK);
	assert_status(statusdb_put(f->db, &row, 1), ST_BUSY);
	assert_status(statusdb_expire(f->db, 1), ST_BUSY);
	assert_names(f, "totals "); /* reading goes on */
	assert_status(db_exec(raw, "ROLLBACK"), ST_OK);
	assert_status(statusdb_put(f->db, &row, 1), ST_OK);
	db_close(&raw);
}

static void
opening_survives_every_failed_allocation(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct statusdb *s = NULL;
	enum status st;
	unsigned n = 0;

	do {
		fault_alloc_at(++n);
		st = statusdb_open(&s, f->log, true, &err);
		if (st != ST_OK) {
			assert_status(st, ST_NOMEM);
			assert_null(s);
		}
	} while (fault_hit());
	assert_status(st, ST_OK);
	assert_in_range(n, 5, 100);
	statusdb_close(&s);
}

/* ---- by hand ------------------------------------------------------------- */

struct found {
	char counters[64];
	int64_t seen_ms;
};

static void
keep(void *arg, const struct status_row *row)
{
	struct found *found = arg;

	(void)snprintf(found->counters, sizeof(found->counters), "%.*s",
	    (int)row->counters.len, row->counters.p);
	found->seen_ms = row->seen_ms;
}

static void
one_row_is_found_also_when_it_was_given_up(void **state)
{
	struct fixture *f = *state;
	struct found found;

	assert_status(statusdb_find(f->db, SPAN("a"), keep, &found),
	    ST_NOTFOUND);
	put(f, "a", 2000, "{\"sent\":5}");
	assert_status(statusdb_find(f->db, SPAN("a"), keep, &found), ST_OK);
	assert_string_equal(found.counters, "{\"sent\":5}");
	assert_int_equal(found.seen_ms, 2000);
	assert_status(statusdb_remove(f->db, SPAN("a"), 3000), ST_OK);
	assert_status(statusdb_find(f->db, SPAN("a"), keep, &found), ST_OK);
	assert_string_equal(found.counters, "{\"sent\":5}");
}

static void
a_reset_forgets_what_the_dead_had_counted_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct found found;

	put(f, "dead", 2000, "{\"sent\":9007199254740992}");
	put(f, "alive", 2000, "{\"sent\":3}");
	assert_status(statusdb_remove(f->db, SPAN("dead"), 2000), ST_OK);
	assert_status(statusdb_reset(f->db), ST_OK);
	assert_status(statusdb_find(f->db, SPAN(STATUSDB_TOTALS), keep, &found),
	    ST_OK);
	assert_string_equal(found.counters, "{}");
	assert_status(statusdb_find(f->db, SPAN("alive"), keep, &found), ST_OK);
	assert_string_equal(found.counters, "{\"sent\":3}");
	/* It was not as dead as it seemed: it counts, and is not subtracted. */
	put(f, "dead", 2500, "{\"sent\":9}");
	assert_status(statusdb_remove(f->db, SPAN("alive"), 2500), ST_OK);
	assert_status(statusdb_remove(f->db, SPAN("dead"), 2500), ST_OK);
	assert_status(statusdb_find(f->db, SPAN(STATUSDB_TOTALS), keep, &found),
	    ST_OK);
	assert_string_equal(found.counters, "{\"sent\":12}");
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(a_row_comes_back_as_it_was_put),
	    T(text_comes_back_as_it_was_put),
	    T(a_row_is_replaced_by_the_next_of_its_name),
	    T(counters_and_gauges_must_be_objects),
	    T(a_row_whose_lease_has_passed_joins_the_totals),
	    T(a_row_from_before_the_clock_went_back_joins_the_totals),
	    T(the_age_of_a_row_is_its_distance_from_now),
	    T(a_row_may_say_goodbye),
	    T(a_process_that_comes_back_counts_once),
	    T(a_name_that_is_taken_over_takes_nothing_back),
	    T(the_gone_are_forgotten_an_hour_after_they_were_given_up),
	    T(the_last_thousand_of_the_gone_are_remembered),
	    T(a_goodbye_is_remembered_from_when_it_was_said),
	    T(a_process_that_outlives_a_long_absence_of_pubd_counts_once),
	    T(the_log_as_it_was_last_known_is_kept),
	    T(pubd_metrics_are_not_added_up),
	    T(only_numbers_are_added_up),
	    T(counters_are_exact),
	    T(nonsense_of_one_process_stops_no_other),
	    T(errors_are_listed_newest_first_and_once),
	    T(errors_outlive_their_process_and_a_restart),
	    T(the_newest_errors_are_kept),
	    T(an_error_of_the_future_is_not_believed),
	    T(nobody_can_take_the_name_of_the_totals),
	    T(what_was_put_is_there_after_a_restart),
	    T(a_reader_sees_what_the_writer_puts),
	    T(a_reader_before_the_first_writer_finds_nothing),
	    T(files_have_the_mode_and_the_group_of_the_log),
	    T(without_a_log_there_is_no_status),
	    T(a_damaged_file_is_made_anew),
	    T(a_damaged_page_is_found_at_the_opening),
	    T(another_version_is_made_anew_by_a_writer_only),
	    T(a_replaced_file_is_noticed),
	    T(a_second_writer_is_busy_at_once),
	    T(opening_survives_every_failed_allocation),
	    T(one_row_is_found_also_when_it_was_given_up),
	    T(a_reset_forgets_what_the_dead_had_counted_and_nothing_else),
	};

	return RUN(tests);
}

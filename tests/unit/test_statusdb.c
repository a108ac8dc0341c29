/* SPDX-License-Identifier: MIT */
#include "statusdb.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db.h"
#include "fault.h"
#include "json.h"
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

static struct statusdb_row
row_of(const char *name, int64_t seen_ms, const char *counters)
{
	return (struct statusdb_row){
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
	};
}

static void
put(struct fixture *f, const char *name, int64_t seen_ms, const char *counters)
{
	struct statusdb_row row = row_of(name, seen_ms, counters);

	assert_status(statusdb_put(f->db, &row, 1), ST_OK);
}

/* What statusdb_each gives: names in a line, and sums over all rows. */
struct census {
	char names[256];
	struct json_parser *parser;
	int64_t sent, lost;       /* sums of these two counters */
	struct statusdb_row last; /* numbers only */
};

static void
take_row(void *arg, const struct statusdb_row *row)
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
	if (!span_eq(row->name, SPAN(STATUSDB_TOTALS)))
		c->last = *row;
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
check_text(void *arg, const struct statusdb_row *row)
{
	if (span_eq(row->name, SPAN(STATUSDB_TOTALS))) {
		assert_span(row->role, SPAN(STATUSDB_TOTALS));
		return;
	}
	assert_span(row->role, SPAN("cgi"));
	assert_span(row->version, SPAN("9.8.7"));
	assert_span(row->counters, SPAN("{\"sent\":5}"));
	*(bool *)arg = true;
}

static void
text_comes_back_as_it_was_put(void **state)
{
	struct fixture *f = *state;
	struct statusdb_row row = row_of("w", 2000, "{\"sent\":5}");
	bool seen = false;

	row.role = SPAN("cgi");
	row.version = SPAN("9.8.7");
	assert_status(statusdb_put(f->db, &row, 1), ST_OK);
	assert_status(statusdb_each(f->db, check_text, &seen), ST_OK);
	assert_true(seen);
}

static void
a_row_is_replaced_by_the_next_of_its_name(void **state)
{
	struct fixture *f = *state;
	struct statusdb_row rows[2] = {row_of("a", 1, "{\"sent\":1}"),
	    row_of("b", 1, "{\"sent\":10}")};

	assert_status(statusdb_put(f->db, rows, 2), ST_OK);
	rows[0].counters = SPAN("{\"sent\":3}");
	rows[0].streams = 99;
	assert_status(statusdb_put(f->db, rows, 1), ST_OK);
	assert_names(f, "a b totals ");
	assert_int_equal(taken(f->db).sent, 13);
	assert_status(statusdb_put(f->db, rows, 0), ST_OK);
}

static void
counters_must_be_an_object(void **state)
{
	struct fixture *f = *state;
	const char *const bad[] = {"", "{", "[1]", "1", "null", "\"a\""};
	struct statusdb_row rows[2];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		rows[0] = row_of("a", 1, "{}");
		rows[1] = row_of("b", 1, bad[i]);
		assert_status(statusdb_put(f->db, rows, 2), ST_CONSTRAINT);
		assert_names(f, "totals "); /* all or none */
	}
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
	assert_status(statusdb_remove(f->db, SPAN("a")), ST_OK);
	assert_names(f, "b totals ");
	assert_int_equal(taken(f->db).sent, 12);
	assert_status(statusdb_remove(f->db, SPAN("a")), ST_OK);
	assert_status(statusdb_remove(f->db, SPAN("nobody")), ST_OK);
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

static void
the_gone_are_forgotten_after_an_hour(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct db *raw = NULL;
	int64_t n = 0;

	put(f, "a", 1000, "{\"sent\":5}");
	put(f, "cgi", 1000, "{}");
	assert_status(statusdb_expire(f->db, 2000), ST_OK);
	assert_status(db_open(&raw, f->path, DB_READ, &err), ST_OK);
	assert_status(db_get_int(raw, "SELECT count(*) FROM status", &n),
	    ST_OK);
	assert_int_equal(n, 2); /* the totals, and a */
	assert_status(statusdb_expire(f->db, 1001 + HOUR_MS), ST_OK);
	assert_status(db_get_int(raw, "SELECT count(*) FROM status", &n),
	    ST_OK);
	assert_int_equal(n, 1);
	assert_int_equal(taken(f->db).sent, 5);
	db_close(&raw);
}

static void
only_numbers_are_added_up(void **state)
{
	struct fixture *f = *state;

	put(f, "a", 1, "{\"sent\":5,\"x\":\"y\",\"z\":[1],\"lost\":2.0}");
	put(f, "b", 1, "{\"sent\":\"7\",\"lost\":null}");
	put(f, "c", 1, "{\"sent\":9007199254740991}");
	put(f, "d", 1, "{\"sent\":1e300}");
	assert_status(statusdb_remove(f->db, SPAN("a")), ST_OK);
	assert_status(statusdb_remove(f->db, SPAN("b")), ST_OK);
	assert_int_equal(taken(f->db).lost, 2);
	assert_status(statusdb_remove(f->db, SPAN("c")), ST_OK);
	assert_int_equal(taken(f->db).sent, 9007199254740996);
	/* Nonsense from one process stops no other. */
	assert_status(statusdb_remove(f->db, SPAN("d")), ST_OK);
	put(f, "e", 1, "{\"lost\":1}");
	assert_status(statusdb_remove(f->db, SPAN("e")), ST_OK);
	assert_int_equal(taken(f->db).lost, 3);
}

static void
nobody_can_take_the_name_of_the_totals(void **state)
{
	struct fixture *f = *state;

	put(f, "a", 1, "{\"sent\":5}");
	assert_status(statusdb_remove(f->db, SPAN("a")), ST_OK);
	put(f, STATUSDB_TOTALS, 1, "{\"sent\":0}");
	assert_status(statusdb_remove(f->db, SPAN(STATUSDB_TOTALS)), ST_OK);
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
	assert_status(statusdb_remove(f->db, SPAN("a")), ST_OK);
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
another_version_is_made_anew_by_a_writer_only(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct statusdb *r = NULL;
	struct db *raw = NULL;

	put(f, "a", 1, "{}");
	assert_status(db_open(&raw, f->path, DB_WRITE, &err), ST_OK);
	assert_status(db_exec(raw, "PRAGMA user_version=77"), ST_OK);
	db_close(&raw);
	statusdb_close(&f->db);
	assert_status(statusdb_open(&r, f->log, false, &err), ST_SCHEMA);
	assert_null(r);
	assert_status(statusdb_open(&f->db, f->log, true, &err), ST_OK);
	assert_names(f, "totals ");
}

static void
a_replaced_file_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct statusdb_row row = row_of("a", 1, "{}");
	struct statusdb *r = NULL;
	struct census c = {.names = ""};

	assert_status(statusdb_open(&r, f->log, false, &err), ST_OK);
	assert_int_equal(unlink(f->path), 0);
	assert_status(statusdb_put(f->db, &row, 1), ST_MOVED);
	assert_status(statusdb_expire(f->db, 1), ST_MOVED);
	assert_status(statusdb_remove(f->db, SPAN("a")), ST_MOVED);
	assert_status(statusdb_each(r, take_row, &c), ST_MOVED);
	statusdb_close(&r);
}

static void
a_second_writer_is_busy_at_once(void **state)
{
	struct fixture *f = *state;
	struct statusdb_row row = row_of("a", 1, "{}");
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

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(a_row_comes_back_as_it_was_put),
	    T(text_comes_back_as_it_was_put),
	    T(a_row_is_replaced_by_the_next_of_its_name),
	    T(counters_must_be_an_object),
	    T(a_row_whose_lease_has_passed_joins_the_totals),
	    T(a_row_may_say_goodbye),
	    T(a_process_that_comes_back_counts_once),
	    T(the_gone_are_forgotten_after_an_hour),
	    T(only_numbers_are_added_up),
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
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
#include "db.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db_files.h"
#include "fault.h"
#include "hist.h"
#include "tmpdir.h"
#include "unit.h"

static struct db *
opened(const char *path, enum db_mode mode)
{
	struct errmsg err = {""};
	struct db *db = NULL;

	if (db_open(&db, path, mode, &err) != ST_OK)
		fail_msg("%s", err.text);
	return db;
}

static void
must_exec(struct db *db, const char *sql)
{
	if (db_exec(db, sql) != ST_OK)
		fail_msg("%s: %s", sql, db_error(db));
}

static int64_t
get_int(struct db *db, const char *sql)
{
	int64_t v = -1;

	assert_status(db_get_int(db, sql, &v), ST_OK);
	return v;
}

/* A database in WAL mode with the table t (a, b). */
static struct db *
made(const char *path)
{
	struct db *db = opened(path, DB_CREATE);

	must_exec(db, "PRAGMA journal_mode=WAL; CREATE TABLE t (a, b)");
	return db;
}

static void
a_missing_file_is_not_found_unless_it_may_be_made(void **state)
{
	const char *path = tmpdir_path(*state, "x.db");
	struct errmsg err = {""};
	struct db *db = NULL;

	assert_status(db_open(&db, path, DB_READ, &err), ST_NOTFOUND);
	assert_non_null(strstr(err.text, path));
	assert_status(db_open(&db, path, DB_WRITE, &err), ST_NOTFOUND);
	assert_null(db);
	assert_int_equal(access(path, F_OK), -1);
	db = opened(path, DB_CREATE);
	db_close(&db);
	assert_null(db);
	db_close(&db);
	db = opened(path, DB_WRITE);
	db_close(&db);
}

static void
a_file_that_is_no_database_is_corrupt(void **state)
{
	const char *path = tmpdir_path(*state, "x.db");
	struct errmsg err = {""};
	struct db *db = NULL;

	tmpdir_write(path,
	    "This is some other kind of file, and it is long enough to be "
	    "taken for a page of a database if nobody looks at its header.",
	    122);
	assert_status(db_open(&db, path, DB_READ, &err), ST_CORRUPT);
	assert_status(db_open(&db, path, DB_CREATE, &err), ST_CORRUPT);
	assert_null(db);
}

static void
values_come_back_as_they_were_bound(void **state)
{
	struct db *db = made(tmpdir_path(*state, "x.db"));
	struct db_stmt *s = NULL;

	assert_status(db_prepare(db, "INSERT INTO t VALUES (?1, ?2)", &s),
	    ST_OK);
	db_bind_int(s, 1, INT64_MIN);
	db_bind_text(s, 2, SPAN("a\0b"));
	assert_status(db_step(s), ST_END);
	assert_int_equal(db_last_id(db), 1);
	db_bind_null(s, 1);
	db_bind_text(s, 2, SPAN_NONE);
	assert_status(db_step(s), ST_END);
	db_stmt_free(&s);
	assert_null(s);
	db_stmt_free(&s);

	assert_status(db_prepare(db, "SELECT a, b FROM t ORDER BY rowid", &s),
	    ST_OK);
	assert_status(db_step(s), ST_OK);
	assert_true(db_col_int(s, 0) == INT64_MIN);
	assert_span(db_col_text(s, 1), SPAN("a\0b"));
	assert_status(db_step(s), ST_OK);
	assert_true(db_col_null(s, 0));
	assert_null(db_col_text(s, 0).p);
	assert_false(db_col_null(s, 1)); /* an empty text is no null */
	assert_int_equal(db_col_text(s, 1).len, 0);
	assert_status(db_step(s), ST_END);
	/* It is reset: the rows can be read again. */
	assert_status(db_step(s), ST_OK);
	db_reset(s);
	assert_status(db_step(s), ST_OK);
	assert_true(db_col_int(s, 0) == INT64_MIN);
	db_stmt_free(&s);
	db_close(&db);
}

static void
one_integer_can_be_asked_for(void **state)
{
	struct db *db = made(tmpdir_path(*state, "x.db"));
	int64_t v = 42;

	assert_int_equal(get_int(db, "SELECT 7"), 7);
	assert_status(db_get_int(db, "SELECT a FROM t", &v), ST_NOTFOUND);
	assert_status(db_get_int(db, "SELECT nonsense", &v), ST_IO);
	assert_int_equal(v, 42);
	db_close(&db);
}

static void
bad_sql_is_told_in_words(void **state)
{
	struct db *db = made(tmpdir_path(*state, "x.db"));
	struct db_stmt *s = NULL;

	assert_status(db_prepare(db, "SELECT nonsense", &s), ST_IO);
	assert_null(s);
	assert_non_null(strstr(db_error(db), "nonsense"));
	assert_status(db_exec(db, "BOO"), ST_IO);
	db_close(&db);
}

static void
a_locked_database_is_busy_at_once(void **state)
{
	const char *path = tmpdir_path(*state, "x.db");
	struct db *a = made(path), *b = opened(path, DB_WRITE);

	must_exec(a, "BEGIN IMMEDIATE");
	assert_status(db_exec(b, "BEGIN IMMEDIATE"), ST_BUSY);
	assert_status(db_exec(b, "INSERT INTO t VALUES (1, 2)"), ST_BUSY);
	assert_int_equal(get_int(b, "SELECT count(*) FROM t"), 0);
	must_exec(a, "COMMIT");
	assert_status(db_exec(b, "INSERT INTO t VALUES (1, 2)"), ST_OK);
	db_close(&a);
	db_close(&b);
}

static void
a_broken_rule_is_a_constraint(void **state)
{
	struct db *db = made(tmpdir_path(*state, "x.db"));

	must_exec(db, "CREATE TABLE u (a UNIQUE CHECK (a > 0))");
	must_exec(db, "INSERT INTO u VALUES (1)");
	assert_status(db_exec(db, "INSERT INTO u VALUES (1)"), ST_CONSTRAINT);
	assert_status(db_exec(db, "INSERT INTO u VALUES (0)"), ST_CONSTRAINT);
	db_trust_writer(db);
	assert_status(db_exec(db, "INSERT INTO u VALUES (0)"), ST_OK);
	assert_status(db_exec(db, "INSERT INTO u VALUES (1)"), ST_CONSTRAINT);
	db_close(&db);
}

static void
a_trusted_writer_runs_no_triggers(void **state)
{
	const char *path = tmpdir_path(*state, "x.db");
	struct db *a = made(path), *b = opened(path, DB_WRITE);

	must_exec(a,
	    "CREATE TRIGGER g BEFORE INSERT ON t BEGIN "
	    "SELECT RAISE(ABORT, 'no'); END");
	db_trust_writer(a);
	assert_status(db_exec(a, "INSERT INTO t VALUES (1, 1)"), ST_OK);
	assert_status(db_exec(b, "INSERT INTO t VALUES (1, 1)"), ST_CONSTRAINT);
	db_close(&a);
	db_close(&b);
}

static void
a_reader_cannot_write(void **state)
{
	const char *path = tmpdir_path(*state, "x.db");
	struct db *a = made(path), *b = opened(path, DB_READ);

	assert_status(db_exec(b, "INSERT INTO t VALUES (1, 2)"), ST_DENIED);
	assert_int_equal(get_int(b, "SELECT count(*) FROM t"), 0);
	db_close(&a);
	db_close(&b);
}

static void
a_full_quota_is_no_space_and_rolls_back(void **state)
{
	struct db *db = made(tmpdir_path(*state, "x.db"));

	must_exec(db, "PRAGMA max_page_count=8");
	must_exec(db, "BEGIN IMMEDIATE; INSERT INTO t VALUES (1, 1)");
	assert_false(db_autocommit(db));
	assert_status(db_exec(db, "INSERT INTO t VALUES (1, zeroblob(100000))"),
	    ST_NOSPACE);
	if (!db_autocommit(db))
		must_exec(db, "ROLLBACK");
	assert_int_equal(get_int(db, "SELECT count(*) FROM t"), 0);
	must_exec(db, "INSERT INTO t VALUES (1, 1)");
	db_close(&db);
}

static void
a_file_in_its_place_is_noticed(void **state)
{
	const char *path = tmpdir_path(*state, "x.db");
	const char *away = tmpdir_path(*state, "y.db");
	struct db *db = made(path);

	assert_false(db_has_moved(db));
	assert_int_equal(rename(path, away), 0);
	assert_true(db_has_moved(db));
	tmpdir_write(path, "", 0);
	assert_true(db_has_moved(db));
	assert_int_equal(rename(away, path), 0);
	assert_false(db_has_moved(db));
	db_close(&db);
}

static void
assert_noticed_when_deleted(const char *path, const char *suffix)
{
	char name[1024];
	struct db *db = made(path);

	must_exec(db, "PRAGMA journal_mode=WAL; INSERT INTO t VALUES (5, 5)");
	(void)snprintf(name, sizeof(name), "%s%s", path, suffix);
	assert_false(db_has_moved(db));
	assert_int_equal(unlink(name), 0);
	assert_true(db_has_moved(db));
	tmpdir_write(name, "", 0); /* another one */
	assert_true(db_has_moved(db));
	db_close(&db);
}

static void
a_deleted_wal_or_shm_is_noticed(void **state)
{
	assert_noticed_when_deleted(tmpdir_path(*state, "x.db"), "-wal");
	assert_noticed_when_deleted(tmpdir_path(*state, "y.db"), "-shm");
}

static void
the_wal_stays_when_it_is_to_persist(void **state)
{
	const char *path = tmpdir_path(*state, "x.db");
	const char *wal = tmpdir_path(*state, "x.db-wal");
	struct db *db = made(path);

	db_close(&db);
	assert_int_equal(access(wal, F_OK), -1);
	db = opened(path, DB_WRITE);
	db_persist_wal(db);
	must_exec(db, "INSERT INTO t VALUES (1, 2)");
	db_close(&db);
	assert_int_equal(access(wal, F_OK), 0);
}

static void
a_checkpoint_moves_the_wal_unless_a_reader_pins_it(void **state)
{
	const char *path = tmpdir_path(*state, "x.db");
	struct db *a = made(path), *b = opened(path, DB_READ);
	struct db_stmt *s = NULL;
	int in_wal = 0, done = 0;

	must_exec(a, "INSERT INTO t VALUES (1, 2)");
	assert_true(db_wal_pages(a) > 0);
	assert_status(db_checkpoint(a, &in_wal, &done), ST_OK);
	assert_int_equal(in_wal, done);

	assert_status(db_prepare(b, "SELECT a FROM t", &s), ST_OK);
	assert_status(db_step(s), ST_OK);
	must_exec(a, "INSERT INTO t VALUES (3, 4)");
	must_exec(a, "INSERT INTO t VALUES (5, 6)");
	assert_status(db_checkpoint(a, &in_wal, &done), ST_OK);
	assert_true(done < in_wal);
	db_reset(s);
	assert_status(db_checkpoint(a, &in_wal, &done), ST_OK);
	assert_int_equal(in_wal, done);
	db_stmt_free(&s);
	db_close(&a);
	db_close(&b);
}

static void
synchronous_is_set(void **state)
{
	struct db *db = made(tmpdir_path(*state, "x.db"));

	assert_status(db_set_synchronous(db, DB_SYNC_OFF), ST_OK);
	assert_int_equal(get_int(db, "PRAGMA synchronous"), 0);
	assert_status(db_set_synchronous(db, DB_SYNC_NORMAL), ST_OK);
	assert_int_equal(get_int(db, "PRAGMA synchronous"), 1);
	assert_status(db_set_synchronous(db, DB_SYNC_FULL), ST_OK);
	assert_int_equal(get_int(db, "PRAGMA synchronous"), 2);
	db_close(&db);
}

static void
memory_that_lacks_costs_the_call_only(void **state)
{
	const char *path = tmpdir_path(*state, "x.db");
	struct errmsg err = {""};
	struct db *db = NULL;
	struct db_stmt *s = NULL;

	fault_alloc_at(1);
	assert_status(db_open(&db, path, DB_CREATE, &err), ST_NOMEM);
	assert_true(fault_hit());
	assert_null(db);
	db = made(path);
	fault_alloc_at(1);
	assert_status(db_prepare(db, "SELECT 1", &s), ST_NOMEM);
	assert_true(fault_hit());
	assert_null(s);
	db_close(&db);
}

/* Everything but the counting is as without the layer. */
static void
a_timed_connection_counts_its_syncs(void **state)
{
	const char *path = tmpdir_path(*state, "x.db");
	struct hist syncs = {{0}, 0};
	struct db *timed = NULL, *plain = made(path);
	struct errmsg err = {""};
	int in_wal = 0, done = 0;
	uint64_t n;

	must_exec(plain, "INSERT INTO t VALUES (1, 2)");
	assert_status(db_open_timed(&timed, path, DB_WRITE, &syncs, &err),
	    ST_OK);
	assert_status(db_set_synchronous(timed, DB_SYNC_FULL), ST_OK);
	must_exec(timed, "INSERT INTO t VALUES (3, 4)");
	n = hist_count(&syncs);
	assert_in_range(n, 1, 3);
	/* Readers and another writer see each other through WAL and -shm. */
	assert_int_equal(get_int(plain, "SELECT sum(a) FROM t"), 4);
	must_exec(plain, "INSERT INTO t VALUES (5, 6)");
	assert_int_equal(hist_count(&syncs), n); /* not its own */
	assert_int_equal(get_int(timed, "SELECT sum(a) FROM t"), 9);
	must_exec(plain, "BEGIN IMMEDIATE");
	assert_status(db_exec(timed, "BEGIN IMMEDIATE"), ST_BUSY);
	must_exec(plain, "COMMIT");
	assert_status(db_checkpoint(timed, &in_wal, &done), ST_OK);
	assert_true(in_wal > 0 && in_wal == done);
	assert_true(hist_count(&syncs) > n);
	assert_false(db_has_moved(timed));
	assert_int_equal(unlink(path), 0);
	assert_true(db_has_moved(timed));
	db_close(&timed);
	db_close(&plain);
}

static void
a_timed_connection_fails_as_others_do(void **state)
{
	struct errmsg err = {""};
	struct hist syncs = {{0}, 0};
	struct db *db = NULL;

	assert_status(db_open_timed(&db, tmpdir_path(*state, "none.db"),
			  DB_WRITE, &syncs, &err),
	    ST_NOTFOUND);
	assert_null(db);
}

/* A database whose journal is no WAL: the journal's file comes and goes. */
static void
a_timed_connection_also_serves_a_rollback_journal(void **state)
{
	const char *path = tmpdir_path(*state, "x.db");
	struct errmsg err = {""};
	struct hist syncs = {{0}, 0};
	struct db *db = NULL;

	assert_status(db_open_timed(&db, path, DB_CREATE, &syncs, &err), ST_OK);
	must_exec(db, "CREATE TABLE t (a); INSERT INTO t VALUES (1)");
	must_exec(db, "BEGIN; INSERT INTO t VALUES (2); ROLLBACK");
	assert_int_equal(get_int(db, "SELECT sum(a) FROM t"), 1);
	assert_true(hist_count(&syncs) > 0);
	db_close(&db);
}

/* As SQLite makes them; with a name of its own none would be looked after. */
static void
the_files_of_a_database_are_found_by_their_names(void **state)
{
	const char *path = tmpdir_path(*state, "x.db");
	struct db *db = made(path);
	char name[DB_PATH_BYTES];
	int i;

	for (i = 0; i < DB_N_FILES; i++) {
		assert_true(db_file_bytes(path, (enum db_file)i) > 0);
		assert_int_equal(
		    access(db_file_path(name, path, (enum db_file)i), F_OK), 0);
	}
	db_close(&db);
	assert_int_equal(db_file_bytes(path, DB_FILE_WAL), 0);
	assert_int_equal(db_file_bytes(path, DB_FILE_SHM), 0);
}

static void
a_link_in_place_of_any_file_is_refused(void **state)
{
	const char *path = tmpdir_path(*state, "x.db");
	const char *other = tmpdir_path(*state, "y");
	char name[DB_PATH_BYTES];
	struct errmsg err = {""};
	struct db *db;
	int i;

	tmpdir_write(other, "", 0);
	for (i = 0; i < DB_N_FILES; i++) {
		(void)db_file_path(name, path, (enum db_file)i);
		assert_int_equal(symlink(other, name), 0);
		db = NULL;
		assert_status(db_open(&db, path, DB_CREATE, &err), ST_UNSAFE);
		assert_non_null(strstr(err.text, name));
		assert_non_null(strstr(err.text, "is a link"));
		assert_null(db);
		assert_int_equal(unlink(name), 0);
	}
}

static void
a_transaction_ends_as_its_parts_did(void **state)
{
	struct db *db = made(tmpdir_path(*state, "x.db"));

	must_exec(db, "BEGIN; INSERT INTO t VALUES (1, 2)");
	assert_status(db_end(db, ST_OK), ST_OK);
	must_exec(db, "BEGIN; INSERT INTO t VALUES (3, 4)");
	assert_status(db_end(db, ST_CONSTRAINT), ST_CONSTRAINT);
	assert_true(db_autocommit(db));
	assert_int_equal(get_int(db, "SELECT sum(a) FROM t"), 1);
	/* SQLite may have rolled back by itself before. */
	assert_status(db_end(db, ST_NOSPACE), ST_NOSPACE);
	db_close(&db);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
	const struct CMUnitTest tests[] = {
	    T(a_missing_file_is_not_found_unless_it_may_be_made),
	    T(a_file_that_is_no_database_is_corrupt),
	    T(values_come_back_as_they_were_bound),
	    T(one_integer_can_be_asked_for),
	    T(bad_sql_is_told_in_words),
	    T(a_locked_database_is_busy_at_once),
	    T(a_broken_rule_is_a_constraint),
	    T(a_trusted_writer_runs_no_triggers),
	    T(a_reader_cannot_write),
	    T(a_full_quota_is_no_space_and_rolls_back),
	    T(a_file_in_its_place_is_noticed),
	    T(a_deleted_wal_or_shm_is_noticed),
	    T(the_wal_stays_when_it_is_to_persist),
	    T(a_checkpoint_moves_the_wal_unless_a_reader_pins_it),
	    T(synchronous_is_set),
	    T(memory_that_lacks_costs_the_call_only),
	    T(a_timed_connection_counts_its_syncs),
	    T(a_timed_connection_fails_as_others_do),
	    T(a_timed_connection_also_serves_a_rollback_journal),
	    T(the_files_of_a_database_are_found_by_their_names),
	    T(a_link_in_place_of_any_file_is_refused),
	    T(a_transaction_ends_as_its_parts_did),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
/*
 * The status table (sql/status.sql), which says what the columns mean.
 *
 * Invariant: the row `totals` and the rows that are not folded add up to
 * everything that was ever counted.  The database can be done without: a
 * damaged one, or one of another version, is deleted and made anew.  Blocks on
 * the disk's cache only (synchronous OFF), never on a lock.
 */
#include "statusdb.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db.h"
#include "db_files.h"
#include "owner.h"
#include "sql_text.h"
#include "store.h"

#define VERSION     3
#define REMEMBER_MS 3600000 /* for how long a folded process may come back */
#define REMEMBER    1000    /* and how many others may be folded meanwhile */

/* The statements of a reader, and those that a writer has besides. */
#define READER_SQL(X)                                                          \
	X(each, sql_status_each)                                               \
	X(errors, sql_status_errors)

#define WRITER_SQL(X)                                                          \
	X(put, sql_status_put)                                                 \
	X(expired, sql_status_mark_expired)                                    \
	X(gone, sql_status_mark_gone)                                          \
	X(back, sql_status_mark_back)                                          \
	X(sum, sql_status_sum)                                                 \
	X(unmark, sql_status_unmark)                                           \
	X(forget, sql_status_forget)                                           \
	X(less, sql_status_less)                                               \
	X(drop, sql_status_drop)                                               \
	X(error, sql_status_error)                                             \
	X(errors_trim, sql_status_errors_trim)                                 \
	X(log, sql_status_log)                                                 \
	X(log_put, sql_status_log_put)                                         \
	X(find, sql_status_find)                                               \
	X(reset, sql_status_reset)                                             \
	X(reset_gone, sql_status_reset_gone)

struct statusdb {
	struct db *db;
	READER_SQL(DB_STMT_MEMBER)
	WRITER_SQL(DB_STMT_MEMBER)
};

/* ---- the file ----------------------------------------------------------- */

static enum status
status_path(const char *log_path, char *path, size_t size)
{
	char *copy = strdup(log_path);
	int n;

	if (copy == NULL)
		return ST_NOMEM;
	n = snprintf(path, size, "%s/status.db", dirname(copy));
	free(copy);
	return n > 0 && (size_t)n < size ? ST_OK : ST_TOOLARGE;
}

/*
 * Copies group and mode (and owner, when allowed) from the log's file.  Best
 * effort: if the file belongs to somebody else, using it will fail.
 */
static void
follow_access(const char *path, const struct stat *log)
{
	uid_t uid = geteuid() == 0 ? log->st_uid : OWNER_KEEP;
	struct errmsg err;
	char name[DB_PATH_BYTES];
	int i;

	for (i = 0; i < DB_N_FILES; i++)
		status_ignore(
		    owner_set_file(db_file_path(name, path, (enum db_file)i),
			uid, log->st_gid, log->st_mode & 0777, &err));
}

static enum status
statusdb_open_file(struct statusdb *s, const char *path, const char *log_path,
    struct errmsg *err)
{
	struct stat log;
	mode_t old;
	enum status st;

	if (stat(log_path, &log) < 0) {
		errmsg_set(err, "there is no log at %s: run `walcast init`",
		    log_path);
		return ST_NOTFOUND;
	}
	old = umask(0777 & ~log.st_mode);
	st = db_open(&s->db, path, DB_CREATE, err);
	(void)umask(old);
	/*
	 * Before -wal and -shm are made, since SQLite copies the database's
	 * mode.
	 */
	follow_access(path, &log);
	return st;
}

/* ST_CORRUPT when SQLite finds any page damaged. */
static enum status
check_pages(struct db *db)
{
	struct db_stmt *s = NULL;
	enum status st = db_prepare(db, "PRAGMA quick_check(1)", &s);

	if (st != ST_OK)
		return st;
	st = db_step(s);
	if (st == ST_OK && !span_eq(db_col_text(s, 0), SPAN("ok")))
		st = ST_CORRUPT;
	db_stmt_free(&s);
	return st;
}

static enum status
make_schema(struct db *db)
{
	int64_t version = 0;
	enum status st = db_get_int(db, "PRAGMA user_version", &version);

	if (st != ST_OK || version == VERSION)
		return st;
	st = db_exec(db, "BEGIN IMMEDIATE");
	if (st != ST_OK)
		return st;
	return db_end(db, db_exec(db, sql_status));
}

static enum status
open_writable(struct statusdb *s, const char *path, const char *log_path,
    struct errmsg *err)
{
	enum status st = statusdb_open_file(s, path, log_path, err);

	if (st != ST_OK)
		return st;
	db_persist_wal(s->db);
	st = check_pages(s->db);
	if (st == ST_OK)
		st = db_exec(s->db,
		    "PRAGMA journal_mode=WAL;"
		    "PRAGMA wal_autocheckpoint=100;"
		    "PRAGMA journal_size_limit=1048576");
	if (st == ST_OK)
		st = db_set_synchronous(s->db, DB_SYNC_OFF);
	if (st == ST_OK)
		st = make_schema(s->db);
	if (st != ST_OK)
		errmsg_set(err, "cannot use %s: %s", path, db_error(s->db));
	return st;
}

/* The connection is closed: nobody's locks are lost with the files. */
static void
throw_away(struct statusdb *s, const char *path)
{
	char name[DB_PATH_BYTES];
	int i;

	db_close(&s->db);
	for (i = 0; i < DB_N_FILES; i++)
		(void)unlink(db_file_path(name, path, (enum db_file)i));
}

static enum status
open_readable(struct statusdb *s, const char *path, struct errmsg *err)
{
	int64_t version = 0;
	enum status st = db_open(&s->db, path, DB_READ, err);

	if (st == ST_NOTFOUND)
		errmsg_set(err,
		    "there is no status at %s, or this user cannot reach it: "
		    "pubd makes it when it starts",
		    path);
	if (st == ST_OK)
		st = db_get_int(s->db, "PRAGMA user_version", &version);
	if (st == ST_OK && version != VERSION) {
		errmsg_set(err,
		    "%s is of version %lld, this program needs %d: restart "
		    "pubd",
		    path, (long long)version, VERSION);
		st = ST_SCHEMA;
	}
	return st;
}

#define STATUSDB_ROW(name, sql)  {&s->name, (sql)},
#define STATUSDB_FREE(name, sql) db_stmt_free(&s->name);

static enum status
prepare_statements(struct statusdb *s, bool writable)
{
	const struct db_sql reader[] = {READER_SQL(STATUSDB_ROW)};
	const struct db_sql writer[] = {WRITER_SQL(STATUSDB_ROW)};
	enum status st = db_prepare_all(s->db, reader,
	    sizeof(reader) / sizeof(reader[0]));

	if (st != ST_OK || !writable)
		return st;
	return db_prepare_all(s->db, writer,
	    sizeof(writer) / sizeof(writer[0]));
}

enum status
statusdb_open(struct statusdb **out, const char *log_path, bool writable,
    struct errmsg *err)
{
	struct statusdb *s = calloc(1, sizeof(*s));
	char path[PATH_MAX];
	enum status st;

	if (s == NULL)
		return ST_NOMEM;
	st = status_path(log_path, path, sizeof(path));
	if (st == ST_OK && writable) {
		st = open_writable(s, path, log_path, err);
		if (st == ST_CORRUPT) {
			throw_away(s, path);
			st = open_writable(s, path, log_path, err);
		}
	} else if (st == ST_OK) {
		st = open_readable(s, path, err);
	}
	if (st == ST_OK) {
		st = prepare_statements(s, writable);
		if (st != ST_OK)
			errmsg_set(err, "cannot use %s: %s", path,
			    db_error(s->db));
	}
	if (st != ST_OK) {
		statusdb_close(&s);
		return st;
	}
	*out = s;
	return ST_OK;
}

void
statusdb_close(struct statusdb **sp)
{
	struct statusdb *s = *sp;

	if (s == NULL)
		return;
	READER_SQL(STATUSDB_FREE)
	WRITER_SQL(STATUSDB_FREE)
	db_close(&s->db);
	free(s);
	*sp = NULL;
}

/* ---- writing ------------------------------------------------------------ */

static enum status
begin(struct statusdb *s)
{
	if (db_has_moved(s->db))
		return ST_MOVED;
	return db_exec(s->db, "BEGIN IMMEDIATE");
}

/*
 * Runs a statement that marks rows; if it marked any, moves their counters into
 * the totals or out of them.
 */
static enum status
fold(struct statusdb *s, struct db_stmt *mark)
{
	enum status st = db_step(mark);

	if (st == ST_END)
		return ST_OK;
	/* All rows are marked by the first step. */
	db_reset(mark);
	if (st != ST_OK)
		return st;
	st = db_run(s->sum);
	return st == ST_OK ? db_run(s->unmark) : st;
}

/*
 * An error dated in the future would stay the newest for ever: it is left out.
 */
static enum status
put_error(struct statusdb *s, const struct status_row *row)
{
	enum status st;

	if (row->error_ms <= 0 || row->error_ms > row->seen_ms)
		return ST_OK;
	db_bind_int(s->error, 1, row->error_ms);
	db_bind_text(s->error, 2, row->name);
	db_bind_text(s->error, 3, row->error);
	st = db_run(s->error);
	return st == ST_OK ? db_run(s->errors_trim) : st;
}

/*
 * The counters of a process only grow.  One that has counted less than the row
 * of its name says is another process: what the row says stays in the totals
 * for good.
 */
static enum status
part_from_namesake(struct statusdb *s, const struct status_row *row)
{
	enum status st;

	db_bind_text(s->less, 1, row->name);
	db_bind_text(s->less, 2, row->counters);
	st = db_step(s->less);
	db_reset(s->less);
	if (st != ST_OK)
		return st == ST_END ? ST_OK : st;
	db_bind_text(s->gone, 1, row->name);
	db_bind_int(s->gone, 2, row->seen_ms);
	st = fold(s, s->gone);
	if (st != ST_OK)
		return st;
	db_bind_text(s->drop, 1, row->name);
	return db_run(s->drop);
}

static enum status
put_row(struct statusdb *s, const struct status_row *row)
{
	enum status st = part_from_namesake(s, row);

	if (st != ST_OK)
		return st;
	db_bind_text(s->back, 1, row->name);
	st = fold(s, s->back);
	if (st != ST_OK)
		return st;
	db_bind_text(s->put, 1, row->name);
	db_bind_text(s->put, 2, row->role);
	db_bind_int(s->put, 3, row->pid);
	db_bind_text(s->put, 4, row->version);
	db_bind_int(s->put, 5, row->started_ms);
	db_bind_int(s->put, 6, row->seen_ms);
	db_bind_int(s->put, 7, row->lease_ms);
	db_bind_int(s->put, 8, row->head);
	db_bind_int(s->put, 9, row->cursor);
	db_bind_int(s->put, 10, row->streams);
	db_bind_text(s->put, 11, row->counters);
	db_bind_text(s->put, 12, row->gauges);
	st = db_run(s->put);
	return st == ST_OK ? put_error(s, row) : st;
}

enum status
statusdb_put(struct statusdb *s, const struct status_row *rows, int n)
{
	enum status st = begin(s);
	int i;

	if (st != ST_OK)
		return st;
	for (i = 0; st == ST_OK && i < n; i++)
		st = put_row(s, &rows[i]);
	return db_end(s->db, st);
}

enum status
statusdb_expire(struct statusdb *s, int64_t now_ms)
{
	enum status st = begin(s);

	if (st != ST_OK)
		return st;
	db_bind_int(s->expired, 1, now_ms);
	st = fold(s, s->expired);
	if (st == ST_OK) {
		db_bind_int(s->forget, 1, now_ms - REMEMBER_MS);
		db_bind_int(s->forget, 2, REMEMBER);
		st = db_run(s->forget);
	}
	return db_end(s->db, st);
}

enum status
statusdb_remove(struct statusdb *s, struct span name, int64_t now_ms)
{
	enum status st = begin(s);

	if (st != ST_OK)
		return st;
	db_bind_text(s->gone, 1, name);
	db_bind_int(s->gone, 2, now_ms);
	st = fold(s, s->gone);
	return db_end(s->db, st);
}

enum status
statusdb_reset(struct statusdb *s)
{
	enum status st = begin(s);

	if (st != ST_OK)
		return st;
	st = db_run(s->reset);
	if (st == ST_OK)
		st = db_run(s->reset_gone);
	return db_end(s->db, st);
}

/* ---- reading ------------------------------------------------------------ */

static void
read_row(struct db_stmt *stmt, struct status_row *row)
{
	row->name = db_col_text(stmt, 0);
	row->role = db_col_text(stmt, 1);
	row->pid = db_col_int(stmt, 2);
	row->version = db_col_text(stmt, 3);
	row->started_ms = db_col_int(stmt, 4);
	row->seen_ms = db_col_int(stmt, 5);
	row->lease_ms = db_col_int(stmt, 6);
	row->head = db_col_int(stmt, 7);
	row->cursor = db_col_int(stmt, 8);
	row->streams = db_col_int(stmt, 9);
	row->counters = db_col_text(stmt, 10);
	row->gauges = db_col_text(stmt, 11);
	row->error_ms = 0;
	row->error = SPAN_NONE;
}

enum status
statusdb_each(struct statusdb *s,
    void (*fn)(void *arg, const struct status_row *row), void *arg)
{
	struct status_row row;
	enum status st;

	if (db_has_moved(s->db))
		return ST_MOVED;
	while ((st = db_step(s->each)) == ST_OK) {
		read_row(s->each, &row);
		fn(arg, &row);
	}
	return st == ST_END ? ST_OK : st;
}

enum status
statusdb_find(struct statusdb *s, struct span name,
    void (*fn)(void *arg, const struct status_row *row), void *arg)
{
	struct status_row row;
	enum status st;

	if (db_has_moved(s->db))
		return ST_MOVED;
	db_bind_text(s->find, 1, name);
	st = db_step(s->find);
	if (st == ST_OK) {
		read_row(s->find, &row);
		fn(arg, &row);
		db_reset(s->find);
	}
	return st == ST_END ? ST_NOTFOUND : st;
}

enum status
statusdb_put_log(struct statusdb *s, const struct store_bounds *b)
{
	if (db_has_moved(s->db))
		return ST_MOVED;
	db_bind_text(s->log_put, 1, span_str(b->generation));
	db_bind_int(s->log_put, 2, b->head);
	return db_run(s->log_put);
}

enum status
statusdb_log(struct statusdb *s, struct store_bounds *b)
{
	struct span generation;
	enum status st = db_step(s->log);

	if (st != ST_OK)
		return st == ST_END ? ST_NOTFOUND : st;
	generation = db_col_text(s->log, 0);
	if (generation.len >= sizeof(b->generation))
		generation.len = 0;
	memset(b, 0, sizeof(*b));
	memcpy(b->generation, generation.p, generation.len);
	b->head = db_col_int(s->log, 1);
	db_reset(s->log);
	return ST_OK;
}

int64_t
statusdb_age_ms(const struct status_row *row, int64_t now_ms)
{
	uint64_t now = (uint64_t)now_ms, seen = (uint64_t)row->seen_ms;
	uint64_t age = now_ms > row->seen_ms ? now - seen : seen - now;

	return age > INT64_MAX ? INT64_MAX : (int64_t)age;
}

bool
statusdb_is_live(const struct status_row *row, int64_t now_ms)
{
	return statusdb_age_ms(row, now_ms) <= row->lease_ms;
}

enum status
statusdb_each_error(struct statusdb *s,
    void (*fn)(void *arg, const struct statusdb_error *e), void *arg)
{
	enum status st;

	if (db_has_moved(s->db))
		return ST_MOVED;
	while ((st = db_step(s->errors)) == ST_OK) {
		struct statusdb_error e = {.ts_ms = db_col_int(s->errors, 0),
		    .name = db_col_text(s->errors, 1),
		    .text = db_col_text(s->errors, 2)};

		fn(arg, &e);
	}
	return st == ST_END ? ST_OK : st;
}

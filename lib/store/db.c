/* SPDX-License-Identifier: MIT */
/*
 * SQLite, thinly.  Owns connections and statements.  May block on the disk,
 * never on a lock.
 */
#include "db.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "db_files.h"
#include "db_private.h"
#include "db_vfs.h"

#define VALUE_BYTES_MAX (64 << 20) /* no row of ours is a tenth of it */

struct db_stmt {
	sqlite3_stmt *handle;
};

enum status
db_status(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
		return ST_OK;
	case SQLITE_DONE:
		return ST_END;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ST_BUSY;
	case SQLITE_NOMEM:
		return ST_NOMEM;
	case SQLITE_FULL:
		return ST_NOSPACE;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return ST_CORRUPT;
	case SQLITE_PERM:
	case SQLITE_READONLY:
	case SQLITE_AUTH:
		return ST_DENIED;
	case SQLITE_CONSTRAINT:
		return ST_CONSTRAINT;
	case SQLITE_TOOBIG:
		return ST_TOOLARGE;
	case SQLITE_CANTOPEN:
		return ST_NOTFOUND;
	default:
		return ST_IO;
	}
}

static int
open_flags(enum db_mode mode)
{
	int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
	    SQLITE_OPEN_NOFOLLOW;

	if (mode == DB_READ)
		return flags | SQLITE_OPEN_READONLY;
	flags |= SQLITE_OPEN_READWRITE;
	return mode == DB_CREATE ? flags | SQLITE_OPEN_CREATE : flags;
}

static enum status
open_by(const char *vfs, struct db **out, const char *path, enum db_mode mode,
    struct errmsg *err)
{
	struct db *db = NULL;
	char real[PATH_MAX];
	enum status st;
	int rc;

	st = db_find_files(path, real, err);
	if (st != ST_OK)
		return st;
	db = calloc(1, sizeof(*db));
	if (db == NULL)
		return ST_NOMEM;
	rc = sqlite3_open_v2(real, &db->handle, open_flags(mode), vfs);
	if (rc == SQLITE_OK)
		/* Opening is lazy: this reads the first page. */
		rc = sqlite3_exec(db->handle, "PRAGMA schema_version", NULL,
		    NULL, NULL);
	if (rc != SQLITE_OK) {
		errmsg_set(err, "cannot open the database %s: %s", path,
		    db->handle == NULL ? "out of memory"
				       : sqlite3_errmsg(db->handle));
		st = db_status(rc);
		db_close(&db);
		return st;
	}
	(void)sqlite3_extended_result_codes(db->handle, 1);
	/* An index or column that somebody added computes no more than that. */
	(void)sqlite3_limit(db->handle, SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX);
	/* Ours is bounded by the caller; SQLite's own sleeps 100 ms. */
	(void)sqlite3_busy_timeout(db->handle, 0);
	if (mode != DB_READ)
		db_wal_count_pages(db);
	st = db_wal_note_files(db);
	if (st == ST_OK)
		st = db_get_int(db, "PRAGMA page_size", &db->page_bytes);
	if (st == ST_OK)
		*out = db;
	else
		db_close(&db);
	return st;
}

enum status
db_open(struct db **out, const char *path, enum db_mode mode,
    struct errmsg *err)
{
	return open_by(NULL, out, path, mode, err);
}

enum status
db_open_timed(struct db **out, const char *path, enum db_mode mode,
    struct hist *syncs, struct errmsg *err)
{
	return open_by(db_vfs_timing(syncs), out, path, mode, err);
}

void
db_close(struct db **db)
{
	if (*db == NULL)
		return;
	(void)sqlite3_close((*db)->handle);
	db_wal_forget_files(*db);
	free(*db);
	*db = NULL;
}

enum status
db_exec(struct db *db, const char *sql)
{
	return db_status(sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
}

enum status
db_end(struct db *db, enum status st)
{
	if (st == ST_OK)
		st = db_exec(db, "COMMIT");
	/* After some failures SQLite has rolled back by itself. */
	if (st != ST_OK && !db_autocommit(db))
		status_ignore(db_exec(db, "ROLLBACK"));
	return st;
}

enum status
db_get_int(struct db *db, const char *sql, int64_t *v)
{
	struct db_stmt *s = NULL;
	enum status st = db_prepare(db, sql, &s);

	if (st != ST_OK)
		return st;
	assert(s != NULL);
	st = db_step(s);
	if (st == ST_OK)
		*v = db_col_int(s, 0);
	else if (st == ST_END)
		st = ST_NOTFOUND;
	db_stmt_free(&s);
	return st;
}

enum status
db_set_synchronous(struct db *db, enum db_synchronous s)
{
	switch (s) {
	case DB_SYNC_OFF:
		return db_exec(db, "PRAGMA synchronous=OFF");
	case DB_SYNC_NORMAL:
		return db_exec(db, "PRAGMA synchronous=NORMAL");
	case DB_SYNC_FULL:
		break;
	}
	return db_exec(db, "PRAGMA synchronous=FULL");
}

const char *
db_error(struct db *db)
{
	return sqlite3_errmsg(db->handle);
}

enum status
db_prepare(struct db *db, const char *sql, struct db_stmt **out)
{
	struct db_stmt *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return ST_NOMEM;
	rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT,
	    &s->handle, NULL);
	if (rc != SQLITE_OK) {
		free(s);
		return db_status(rc);
	}
	*out = s;
	return ST_OK;
}

void
db_stmt_free(struct db_stmt **s)
{
	if (*s == NULL)
		return;
	(void)sqlite3_finalize((*s)->handle);
	free(*s);
	*s = NULL;
}

enum status
db_prepare_all(struct db *db, const struct db_sql *list, size_t n)
{
	enum status st = ST_OK;
	size_t i;

	for (i = 0; st == ST_OK && i < n; i++)
		st = db_prepare(db, list[i].sql, list[i].stmt);
	return st;
}

/* Binding fails only for an index that is not there or for want of memory
 * with copies; we bind no copies. */
void
db_bind_int(struct db_stmt *s, int i, int64_t v)
{
	int rc = sqlite3_bind_int64(s->handle, i, v);

	assert(rc == SQLITE_OK);
	(void)rc;
}

void
db_bind_text(struct db_stmt *s, int i, struct span v)
{
	int rc = sqlite3_bind_text64(s->handle, i, v.p == NULL ? "" : v.p,
	    v.len, SQLITE_STATIC, SQLITE_UTF8);

	assert(rc == SQLITE_OK);
	(void)rc;
}

void
db_bind_null(struct db_stmt *s, int i)
{
	int rc = sqlite3_bind_null(s->handle, i);

	assert(rc == SQLITE_OK);
	(void)rc;
}

enum status
db_step(struct db_stmt *s)
{
	int rc = sqlite3_step(s->handle);

	if (rc == SQLITE_ROW)
		return ST_OK;
	(void)sqlite3_reset(s->handle);
	return db_status(rc);
}

void
db_reset(struct db_stmt *s)
{
	(void)sqlite3_reset(s->handle);
}

enum status
db_run(struct db_stmt *s)
{
	enum status st = db_step(s);

	return st == ST_END ? ST_OK : st;
}

enum status
db_row(struct db_stmt *s)
{
	enum status st = db_step(s);

	return st == ST_END ? ST_CORRUPT : st;
}

int64_t
db_col_int(struct db_stmt *s, int i)
{
	return sqlite3_column_int64(s->handle, i);
}

struct span
db_col_text(struct db_stmt *s, int i)
{
	const char *p = (const char *)sqlite3_column_text(s->handle, i);

	if (p == NULL)
		return SPAN_NONE;
	return span_of(p, (size_t)sqlite3_column_bytes(s->handle, i));
}

bool
db_col_null(struct db_stmt *s, int i)
{
	return sqlite3_column_type(s->handle, i) == SQLITE_NULL;
}

int64_t
db_last_id(struct db *db)
{
	return sqlite3_last_insert_rowid(db->handle);
}

int
db_changes(struct db *db)
{
	return sqlite3_changes(db->handle);
}

bool
db_autocommit(struct db *db)
{
	return sqlite3_get_autocommit(db->handle) != 0;
}

bool
db_is_read_only(struct db *db)
{
	return sqlite3_db_readonly(db->handle, "main") > 0;
}

bool
db_mount_is_read_only(const char *path)
{
	struct statvfs v;

	return statvfs(path, &v) == 0 && (v.f_flag & ST_RDONLY) != 0;
}

void
db_trust_writer(struct db *db)
{
	(void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0,
	    NULL);
	status_ignore(db_exec(db, "PRAGMA ignore_check_constraints=ON"));
}

/* SPDX-License-Identifier: MIT */
/*
 * SQLite, thinly.  Owns connections and statements.  May block on the disk,
 * never on a lock.
 */
#include "db.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db_vfs.h"

#define PATH_BYTES_MAX 4096

/* sqlite.org/fileformat2.html, 4.1 */
#define WAL_HEADER_BYTES   32
#define WAL_FRAME_BYTES    24 /* before each page */
#define WAL_SALT_BYTES     8
#define WAL_SALT_IN_HEADER 16
#define WAL_SALT_IN_FRAME  8

/* sqlite.org/walformat.html, 2.1 */
#define WAL_INDEX_BYTES    32768 /* of its first part */
#define WAL_INDEX_MX_FRAME 4     /* in words of 32 bits */

enum side { SIDE_WAL, SIDE_SHM, N_SIDES };

static const char *const side_suffixes[N_SIDES] = {"-wal", "-shm"};

/* The file beside the database that this connection has open. */
struct side_file {
	dev_t dev;
	ino_t ino; /* 0: not seen yet */
};

struct db {
	sqlite3 *handle;
	int wal_pages;
	int checked_pages;   /* in the WAL at the last db_check_wal */
	int unchecked_pages; /* as of a commit since; 0: none */
	bool cut_off;        /* the -wal was, by somebody else */
	int64_t page_bytes;
	struct side_file side[N_SIDES];
};

struct db_stmt {
	sqlite3_stmt *handle;
};

/* The primary codes that callers tell apart. */
static enum status
map(int rc)
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
count_wal_pages(void *arg, sqlite3 *handle, const char *name, int pages)
{
	struct db *db = arg;

	(void)handle;
	(void)name;
	db->wal_pages = db->unchecked_pages = pages;
	return SQLITE_OK;
}

/* ---- -wal and -shm --------------------------------------------------------
 */

static void
side_path(const struct db *db, enum side which, char path[PATH_BYTES_MAX])
{
	const char *main = sqlite3_db_filename(db->handle, "main");

	(void)snprintf(path, PATH_BYTES_MAX, "%s%s", main == NULL ? "" : main,
	    side_suffixes[which]);
}

/*
 * Was it deleted, or replaced?  SQLite asks for the database file alone, and
 * neither of these changes while a connection is open.  What we have open
 * keeps its inode, so that no other file can get the number.
 */
static bool
side_has_moved(struct db *db, enum side which)
{
	struct side_file *f = &db->side[which];
	char path[PATH_BYTES_MAX];
	struct stat sb;
	bool there;

	side_path(db, which, path);
	there = stat(path, &sb) == 0;
	if (f->ino != 0)
		return !there || sb.st_ino != f->ino || sb.st_dev != f->dev;
	if (there)
		*f = (struct side_file){sb.st_dev, sb.st_ino};
	return false;
}

static bool
sides_have_moved(struct db *db)
{
	bool wal = side_has_moved(db, SIDE_WAL);

	return side_has_moved(db, SIDE_SHM) || wal;
}

static int
open_flags(enum db_mode mode)
{
	int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;

	if (mode == DB_READ)
		return flags | SQLITE_OPEN_READONLY;
	flags |= SQLITE_OPEN_READWRITE;
	return mode == DB_CREATE ? flags | SQLITE_OPEN_CREATE : flags;
}

static enum status
open_by(const char *vfs, struct db **out, const char *path, enum db_mode mode,
    struct errmsg *err)
{
	struct db *db = calloc(1, sizeof(*db));
	enum status st;
	int rc;

	if (db == NULL)
		return ST_NOMEM;
	rc = sqlite3_open_v2(path, &db->handle, open_flags(mode), vfs);
	if (rc == SQLITE_OK)
		/* Opening is lazy: this reads the first page. */
		rc = sqlite3_exec(db->handle, "PRAGMA schema_version", NULL,
		    NULL, NULL);
	if (rc != SQLITE_OK) {
		errmsg_set(err, "cannot open the database %s: %s", path,
		    db->handle == NULL ? "out of memory"
				       : sqlite3_errmsg(db->handle));
		st = map(rc);
		db_close(&db);
		return st;
	}
	(void)sqlite3_extended_result_codes(db->handle, 1);
	/* Ours is bounded by the caller; SQLite's own sleeps 100 ms. */
	(void)sqlite3_busy_timeout(db->handle, 0);
	if (mode != DB_READ)
		(void)sqlite3_wal_hook(db->handle, count_wal_pages, db);
	(void)sides_have_moved(db); /* notes which they are */
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
	free(*db);
	*db = NULL;
}

enum status
db_exec(struct db *db, const char *sql)
{
	return map(sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
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
		return map(rc);
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
	return map(rc);
}

void
db_reset(struct db_stmt *s)
{
	(void)sqlite3_reset(s->handle);
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

static bool
main_has_moved(struct db *db)
{
	int moved = 0;

	if (sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_HAS_MOVED,
		&moved) != SQLITE_OK)
		return false;
	return moved != 0;
}

bool
db_has_moved(struct db *db)
{
	return db->cut_off || main_has_moved(db) || sides_have_moved(db);
}

/* The closing of this connection shall leave the WAL alone. */
static void
forget_wal(struct db *db)
{
	(void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1,
	    NULL);
}

/* It tells of pages in a -wal that has them no more. */
static void
drop_shm(struct db *db)
{
	char path[PATH_BYTES_MAX];

	side_path(db, SIDE_SHM, path);
	if (!side_has_moved(db, SIDE_SHM))
		(void)unlink(path);
}

enum status
db_salvage(struct db *db)
{
	char path[PATH_BYTES_MAX];
	struct stat sb;
	int in_wal = 0, done = 0;
	enum status st;

	if (main_has_moved(db))
		return ST_MOVED;
	if (db->cut_off)
		return ST_CORRUPT;
	forget_wal(db); /* who opened it since has other locks than ours */
	if (!side_has_moved(db, SIDE_WAL))
		return ST_OK;
	side_path(db, SIDE_WAL, path);
	if (stat(path, &sb) == 0 && sb.st_size > 0)
		return ST_EXISTS; /* somebody went on without our pages */
	st = db_checkpoint(db, &in_wal, &done);
	if (st != ST_OK || in_wal != done)
		return st == ST_OK ? ST_BUSY : st;
	drop_shm(db);
	return ST_OK;
}

bool
db_autocommit(struct db *db)
{
	return sqlite3_get_autocommit(db->handle) != 0;
}

void
db_persist_wal(struct db *db)
{
	int on = 1;

	(void)sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_PERSIST_WAL,
	    &on);
}

void
db_trust_writer(struct db *db)
{
	(void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0,
	    NULL);
	status_ignore(db_exec(db, "PRAGMA ignore_check_constraints=ON"));
}

int
db_wal_pages(struct db *db)
{
	return db->wal_pages;
}

enum status
db_checkpoint(struct db *db, int *wal_pages, int *done_pages)
{
	int rc = sqlite3_wal_checkpoint_v2(db->handle, NULL,
	    SQLITE_CHECKPOINT_PASSIVE, wal_pages, done_pages);

	if (rc == SQLITE_OK && *wal_pages == *done_pages)
		db->wal_pages = 0; /* none that wait, until the next commit */
	return map(rc);
}

/* NULL when it has none open. */
static sqlite3_file *
wal_file(struct db *db)
{
	sqlite3_file *wal = NULL;

	if (sqlite3_file_control(db->handle, "main",
		SQLITE_FCNTL_JOURNAL_POINTER, &wal) != SQLITE_OK)
		return NULL;
	return wal != NULL && wal->pMethods != NULL ? wal : NULL;
}

enum status
db_sync_wal(struct db *db)
{
	sqlite3_file *wal = wal_file(db);

	if (wal == NULL)
		return ST_OK;
	return map(wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL));
}

/* Reads the -wal; what lies behind its end is zero. */
static enum status
read_wal(sqlite3_file *wal, void *p, int n, int64_t at)
{
	int rc = wal->pMethods->xRead(wal, p, n, at);

	return rc == SQLITE_IOERR_SHORT_READ ? ST_OK : map(rc);
}

/*
 * Every frame bears the salt of the header (sqlite.org/fileformat2.html, 4.1).
 * A commit behind the place where a -wal was cut off leaves a hole: the frame
 * that was the last one before lies in it, perhaps the header too.
 *
 * Returns  ST_OK, ST_CORRUPT, or else: it cannot be read, which proves nothing
 */
static enum status
judge_wal(struct db *db, sqlite3_file *wal, int before, int now)
{
	static const unsigned char magic[3] = {0x37, 0x7f, 0x06};
	unsigned char header[WAL_HEADER_BYTES], salt[WAL_SALT_BYTES];
	int64_t frame = WAL_HEADER_BYTES +
	    (int64_t)(before - 1) * (WAL_FRAME_BYTES + db->page_bytes);
	enum status st = read_wal(wal, header, WAL_HEADER_BYTES, 0);

	if (st != ST_OK)
		return st;
	if (memcmp(header, magic, sizeof(magic)) != 0)
		return ST_CORRUPT;
	if (before == 0 || before >= now)
		return ST_OK;
	st = read_wal(wal, salt, WAL_SALT_BYTES, frame + WAL_SALT_IN_FRAME);
	if (st != ST_OK)
		return st;
	return memcmp(salt, header + WAL_SALT_IN_HEADER, WAL_SALT_BYTES) == 0
	    ? ST_OK
	    : ST_CORRUPT;
}

/*
 * What is left of it must not be found by the next opening: it would put old
 * pages over newer ones that were moved into the database since.
 */
static void
give_up_wal(struct db *db)
{
	char path[PATH_BYTES_MAX], aside[PATH_BYTES_MAX + 8];

	db->cut_off = true;
	forget_wal(db);
	side_path(db, SIDE_WAL, path);
	(void)snprintf(aside, sizeof(aside), "%s.cut", path);
	if (!side_has_moved(db, SIDE_WAL))
		(void)rename(path, aside);
	drop_shm(db);
}

enum status
db_check_wal(struct db *db)
{
	sqlite3_file *wal = wal_file(db);
	int before = db->checked_pages, now = db->unchecked_pages;
	enum status st;

	if (now == 0 || wal == NULL)
		return ST_OK;
	st = judge_wal(db, wal, before, now);
	if (st == ST_CORRUPT) {
		give_up_wal(db);
		return st;
	}
	if (st == ST_OK) { /* else it is judged after the next commit */
		db->checked_pages = now;
		db->unchecked_pages = 0;
	}
	return ST_OK;
}

/*
 * How many frames the wal-index says there are (sqlite.org/walformat.html,
 * 2.1, mxFrame).  Whoever empties the -wal in order says so there.  0 when it
 * cannot be asked.
 */
static int64_t
indexed_frames(struct db *db)
{
	volatile void *index = NULL;
	sqlite3_file *file = NULL;
	uint32_t frames;

	if (sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_FILE_POINTER,
		&file) != SQLITE_OK ||
	    file == NULL || file->pMethods == NULL ||
	    file->pMethods->iVersion < 2 ||
	    file->pMethods->xShmMap(file, 0, WAL_INDEX_BYTES, 0, &index) !=
		SQLITE_OK ||
	    index == NULL)
		return 0;
	frames = ((volatile uint32_t *)index)[WAL_INDEX_MX_FRAME];
	return frames;
}

bool
db_wal_is_cut(struct db *db)
{
	sqlite3_file *wal = wal_file(db);
	int64_t frames = indexed_frames(db);
	sqlite3_int64 bytes = 0;

	if (wal == NULL || frames == 0 ||
	    wal->pMethods->xFileSize(wal, &bytes) != SQLITE_OK ||
	    bytes >=
		WAL_HEADER_BYTES + frames * (WAL_FRAME_BYTES + db->page_bytes))
		return false;
	give_up_wal(db);
	return true;
}

const char *
db_library_version(void)
{
	return sqlite3_libversion();
}

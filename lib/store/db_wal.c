/* SPDX-License-Identifier: MIT */
/*
 * SQLite's write-ahead log: its ordinary use, and what to do when others tamper
 * with the files beside the database.
 *
 * SQLite trusts that nobody deletes, replaces or truncates -wal and -shm while
 * a connection is open; it checks the database file alone.  People do it all
 * the same: to "clean up", with a backup that copies files back, with a tool
 * that truncates.  SQLite then goes on without an error.  It acknowledges
 * commits into a deleted -wal, which the next process to open the log will not
 * find.  A -wal that was cut off has a hole where acknowledged commits were,
 * and recovery stops before the hole; if frames from behind it are found later,
 * they put old pages over newer ones.  So two checks follow each commit:
 * db_has_moved compares device and inode of each file with those at its path,
 * and db_check_wal reads the salt of the frame that was the last one before the
 * commit, which a truncation removes.  What only this process still has is put
 * back (db_salvage).  Where that is impossible, what is left of the -wal is put
 * aside, so that nobody recovers from it, and whoever has the log open is told
 * that its end is lost (ST_MOVED), and gives it a new generation.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db_files.h"
#include "db_private.h"

/* sqlite.org/fileformat2.html, 4.1 */
#define WAL_HEADER_BYTES   32
#define WAL_FRAME_BYTES    24 /* before each page */
#define WAL_SALT_BYTES     8
#define WAL_SALT_IN_HEADER 16
#define WAL_SALT_IN_FRAME  8

/* sqlite.org/walformat.html, 2.1 */
#define WAL_INDEX_BYTES    32768 /* of its first part */
#define WAL_INDEX_MX_FRAME 4     /* in words of 32 bits */

/* ---- in ordinary use ---------------------------------------------------- */

static int
count_wal_pages(void *arg, sqlite3 *handle, const char *name, int pages)
{
	struct db *db = arg;

	(void)handle;
	(void)name;
	db->wal_pages = db->unchecked_pages = pages;
	return SQLITE_OK;
}

void
db_wal_count_pages(struct db *db)
{
	(void)sqlite3_wal_hook(db->handle, count_wal_pages, db);
}

enum status
db_has_wal(struct db *db, bool *yes)
{
	struct db_stmt *s = NULL;
	enum status st = db_prepare(db, "PRAGMA journal_mode", &s);

	if (st != ST_OK)
		return st;
	assert(s != NULL);
	st = db_step(s);
	if (st == ST_OK)
		*yes = span_eq(db_col_text(s, 0), SPAN("wal"));
	db_stmt_free(&s);
	return st;
}

enum status
db_use_wal(struct db *db)
{
	bool yes = false;
	enum status st = db_has_wal(db, &yes);

	if (st != ST_OK || yes)
		return st;
	st = db_exec(db, "PRAGMA journal_mode=WAL");
	if (st == ST_OK)
		st = db_has_wal(db, &yes);
	return st == ST_OK && !yes ? ST_BUSY : st;
}

void
db_persist_wal(struct db *db)
{
	int on = 1;

	(void)sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_PERSIST_WAL,
	    &on);
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
	return db_status(rc);
}

/* ---- which they are ------------------------------------------------------ */

/*
 * Was it deleted or replaced?  SQLite checks the database file alone, and these
 * two never change while a connection is open.  A file that we have open keeps
 * its inode, so no other file can get its number.
 */
static bool
side_has_moved(struct side_file *f)
{
	struct stat sb;
	bool there = stat(f->path, &sb) == 0;

	if (f->ino != 0)
		return !there || sb.st_ino != f->ino || sb.st_dev != f->dev;
	if (there) {
		f->dev = sb.st_dev;
		f->ino = sb.st_ino;
	}
	return false;
}

static bool
sides_have_moved(struct db *db)
{
	bool wal = side_has_moved(&db->wal);

	return side_has_moved(&db->shm) || wal;
}

enum status
db_wal_note_files(struct db *db)
{
	const char *main = sqlite3_db_filename(db->handle, "main");
	char path[DB_PATH_BYTES];

	if (main == NULL)
		main = "";
	db->wal.path = strdup(db_file_path(path, main, DB_FILE_WAL));
	db->shm.path = strdup(db_file_path(path, main, DB_FILE_SHM));
	if (db->wal.path == NULL || db->shm.path == NULL)
		return ST_NOMEM;
	(void)sides_have_moved(db);
	return ST_OK;
}

void
db_wal_forget_files(struct db *db)
{
	free(db->wal.path);
	free(db->shm.path);
}

/* ---- moved -------------------------------------------------------------- */

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

/* Makes the closing of this connection leave the WAL alone. */
static void
forget_wal(struct db *db)
{
	(void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1,
	    NULL);
}

/* It lists pages of a -wal that no longer has them. */
static void
drop_shm(struct db *db)
{
	if (!side_has_moved(&db->shm))
		(void)unlink(db->shm.path);
}

enum status
db_salvage(struct db *db)
{
	struct stat sb;
	int in_wal = 0, done = 0;
	enum status st;

	if (main_has_moved(db))
		return ST_MOVED;
	if (db->cut_off)
		return ST_CORRUPT;
	forget_wal(db); /* who opened it since has other locks than ours */
	if (!side_has_moved(&db->wal))
		return ST_OK;
	if (stat(db->wal.path, &sb) == 0 && sb.st_size > 0)
		return ST_EXISTS; /* somebody went on without our pages */
	st = db_checkpoint(db, &in_wal, &done);
	if (st != ST_OK || in_wal != done)
		return st == ST_OK ? ST_BUSY : st;
	drop_shm(db);
	return ST_OK;
}

/* ---- cut off ------------------------------------------------------------- */

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
	return db_status(wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL));
}

/* Reads the -wal; what lies behind its end is zero. */
static enum status
read_wal(sqlite3_file *wal, void *p, int n, int64_t at)
{
	int rc = wal->pMethods->xRead(wal, p, n, at);

	return rc == SQLITE_IOERR_SHORT_READ ? ST_OK : db_status(rc);
}

/*
 * Every frame bears the salt of the header (sqlite.org/fileformat2.html, 4.1).
 * A commit past the place where a -wal was cut off leaves a hole, in which the
 * frame that was the last one before lies, and perhaps the header too.
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
 * The next opening must not find what is left of it, which would put old pages
 * over newer ones that were moved into the database since.
 */
static void
give_up_wal(struct db *db)
{
	const char *path = db->wal.path;
	char aside[DB_PATH_BYTES + 8];

	db->cut_off = true;
	forget_wal(db);
	(void)snprintf(aside, sizeof(aside), "%s.cut", path);
	if (!side_has_moved(&db->wal))
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
 * How many frames the wal-index says there are (sqlite.org/walformat.html, 2.1,
 * mxFrame).  Whoever empties the -wal properly records it there.  0 when it
 * cannot be read.
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

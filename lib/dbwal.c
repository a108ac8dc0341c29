/* SPDX-License-Identifier: MIT */
/*
 * The files beside the database.  SQLite trusts that nobody deletes, replaces
 * or cuts off -wal and -shm beneath it; here is seen whether somebody did, and
 * what can be saved is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dbparts.h"

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

/* ---- which they are ------------------------------------------------------ */

/*
 * Was it deleted, or replaced?  SQLite asks for the database file alone, and
 * neither of these changes while a connection is open.  What we have open
 * keeps its inode, so that no other file can get the number.
 */
static bool
side_has_moved(struct db *db, enum side which)
{
	struct side_file *f = &db->side[which];
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
	bool wal = side_has_moved(db, SIDE_WAL);

	return side_has_moved(db, SIDE_SHM) || wal;
}

enum status
db_sides_init(struct db *db)
{
	static const char *const suffixes[N_SIDES] = {"-wal", "-shm"};
	const char *main = sqlite3_db_filename(db->handle, "main");
	int i;

	for (i = 0; i < N_SIDES; i++)
		if (asprintf(&db->side[i].path, "%s%s",
			main == NULL ? "" : main, suffixes[i]) < 0) {
			db->side[i].path = NULL;
			return ST_NOMEM;
		}
	(void)sides_have_moved(db);
	return ST_OK;
}

void
db_sides_fini(struct db *db)
{
	int i;

	for (i = 0; i < N_SIDES; i++)
		free(db->side[i].path);
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
	if (!side_has_moved(db, SIDE_SHM))
		(void)unlink(db->side[SIDE_SHM].path);
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
	if (!side_has_moved(db, SIDE_WAL))
		return ST_OK;
	if (stat(db->side[SIDE_WAL].path, &sb) == 0 && sb.st_size > 0)
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
	const char *path = db->side[SIDE_WAL].path;
	char aside[PATH_BYTES_MAX];

	db->cut_off = true;
	forget_wal(db);
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

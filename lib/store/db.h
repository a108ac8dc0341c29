/* SPDX-License-Identifier: MIT */
/*
 * SQLite, thinly: connections, prepared statements, and the mapping of its
 * result codes to ours.  The only module that includes sqlite3.h, with its
 * layer db_vfs.c.
 *
 * A connection must never be used across fork(2), and a process that has one
 * must never itself open(2) and close(2) the database file, its -wal or its
 * -shm: the process would lose SQLite's POSIX locks.
 *
 * Nothing here waits for a lock: a locked database is ST_BUSY at once, and
 * the caller decides when to try again.
 */
#ifndef WALCAST_DB_H
#define WALCAST_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"
#include "status.h"

struct db;
struct db_stmt;
struct hist;

enum db_mode {
	DB_READ,  /* read only; the file must be there */
	DB_WRITE, /* read and write; the file must be there */
	DB_CREATE /* read and write; made if it is not there */
};

enum db_synchronous { DB_SYNC_OFF, DB_SYNC_NORMAL, DB_SYNC_FULL };

/*
 * Opens a connection.
 * Nothing is opened through a link, and nothing by root where others could
 * put one (owner.h).
 * Returns  ST_OK, ST_NOTFOUND, ST_DENIED, ST_UNSAFE, ST_CORRUPT, ST_BUSY,
 *          ST_NOMEM, ST_IO
 */
MUST_USE enum status db_open(struct db **out, const char *path,
    enum db_mode mode, struct errmsg *err);

/*
 * The same for the one connection of this process whose syncs are timed.
 *
 * syncs   counts the time of each sync of its files, in microseconds; lives
 *         as long as the connection
 */
MUST_USE enum status db_open_timed(struct db **out, const char *path,
    enum db_mode mode, struct hist *syncs, struct errmsg *err);
void db_close(struct db **db);

/* Runs statements that return no rows. */
MUST_USE enum status db_exec(struct db *db, const char *sql);

/* Runs a statement that returns one integer (a PRAGMA, a count). */
MUST_USE enum status db_get_int(struct db *db, const char *sql, int64_t *v);

MUST_USE enum status db_set_synchronous(struct db *db, enum db_synchronous s);

/* What the last failure on this connection was, in SQLite's words. */
const char *db_error(struct db *db);

/*
 * Ends a transaction: commits if `st` is ST_OK; if it is not, or the commit
 * fails, rolls back.
 */
MUST_USE enum status db_end(struct db *db, enum status st);

/* A prepared statement; freed before its connection. */
MUST_USE enum status db_prepare(struct db *db, const char *sql,
    struct db_stmt **out);
void db_stmt_free(struct db_stmt **s);

/* Prepares several; stops at the first failure. */
struct db_sql {
	struct db_stmt **stmt;
	const char *sql;
};
MUST_USE enum status db_prepare_all(struct db *db, const struct db_sql *list,
    size_t n);

/*
 * A module with many statements keeps one list X(name, sql), from which the
 * members, the list for db_prepare_all and the freeing are made, so that none
 * of the three can miss a statement.
 */
#define DB_STMT_MEMBER(name, sql) struct db_stmt *name;

/* Parameters count from 1.  Text must live until db_reset. */
void db_bind_int(struct db_stmt *s, int i, int64_t v);
void db_bind_text(struct db_stmt *s, int i, struct span v);
void db_bind_null(struct db_stmt *s, int i);

/*
 * Returns  ST_OK   a row is there; read it with db_col_*
 *          ST_END  no more rows; the statement is reset
 *          else    it failed; the statement is reset
 */
MUST_USE enum status db_step(struct db_stmt *s);
void db_reset(struct db_stmt *s);

/* Steps a statement that returns no rows to its end. */
MUST_USE enum status db_run(struct db_stmt *s);

/* Steps to the one row that there must be: ST_CORRUPT when there is none. */
MUST_USE enum status db_row(struct db_stmt *s);

/* Columns count from 0.  Text is valid until the next step or reset. */
int64_t db_col_int(struct db_stmt *s, int i);
struct span db_col_text(struct db_stmt *s, int i);
bool db_col_null(struct db_stmt *s, int i);

int64_t db_last_id(struct db *db);

/* Rows that the last INSERT, UPDATE or DELETE has touched. */
int db_changes(struct db *db);

/*
 * Since it was opened, has the database, its -wal or its -shm been deleted or
 * replaced?
 */
bool db_has_moved(struct db *db);

/*
 * When its -wal was deleted, only this writer still has what is in it: moves
 * that into the database, and removes -shm, so that the next opening makes both
 * anew.  Close it then.
 *
 * Returns  ST_OK     the database and the -wal at its path hold everything
 *          ST_BUSY   a reader is in the way: try again
 *          ST_MOVED  the database itself is another one
 *          else      what is in our -wal alone is lost: ST_EXISTS when
 *                    somebody has written to a new one already
 */
MUST_USE enum status db_salvage(struct db *db);

/*
 * After a commit: does the -wal still hold what was there before?  ST_CORRUPT
 * when somebody has truncated it: the connection then counts as moved, and
 * db_salvage has nothing to salvage.
 */
MUST_USE enum status db_check_wal(struct db *db);

/* After a failure: is the -wal shorter than its index says?  As above. */
bool db_wal_is_cut(struct db *db);

/* Is the connection outside a transaction (also after a forced rollback)? */
bool db_autocommit(struct db *db);

/* Was it opened for writing, but cannot be written to? */
bool db_is_read_only(struct db *db);

/* Does the database keep a write-ahead log, as it should? */
MUST_USE enum status db_has_wal(struct db *db, bool *yes);

/*
 * Switches it to one, permanently.  ST_BUSY when another program that is using
 * it is in the way.
 */
MUST_USE enum status db_use_wal(struct db *db);

/* Is this path on a file system that is mounted read-only? */
bool db_mount_is_read_only(const char *path);

/* Keeps -wal and -shm when the last connection closes (read-only readers). */
void db_persist_wal(struct db *db);

/*
 * Turns triggers and CHECK constraints off for this connection: they guard
 * against writers that do not check their rows, and take half the time of a
 * commit.
 */
void db_trust_writer(struct db *db);

/*
 * Pages in the WAL after the last commit of this connection; 0 when all of
 * them were moved since.
 */
int db_wal_pages(struct db *db);

/*
 * Checkpoints without waiting for anybody.
 * wal_pages  pages in the WAL; done_pages  those now in the database
 */
MUST_USE enum status db_checkpoint(struct db *db, int *wal_pages,
    int *done_pages);

/*
 * When this returns, everything committed so far is on the disk, including what
 * a process wrote that was killed before it could sync: whoever opens the
 * database next takes that for committed.
 */
MUST_USE enum status db_sync_wal(struct db *db);

#endif

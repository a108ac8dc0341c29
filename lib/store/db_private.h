/* SPDX-License-Identifier: MIT */
/* What db.c and db_wal.c share; private to them. */
#ifndef WALCAST_DB_PRIVATE_H
#define WALCAST_DB_PRIVATE_H

#include <sqlite3.h>
#include <sys/types.h>

#include "db.h"

/* The file beside the database that this connection has open. */
struct side_file {
	char *path;
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
	struct side_file wal, shm;
};

/* The status for a result code of SQLite's, extended or primary. */
enum status db_status(int rc);

/* Counts WAL pages for db_wal_pages from now on. */
void db_wal_count_pages(struct db *db);

/* Notes which -wal and -shm are the database's.  Returns ST_OK or ST_NOMEM. */
MUST_USE enum status db_wal_note_files(struct db *db);
void db_wal_forget_files(struct db *db);

#endif

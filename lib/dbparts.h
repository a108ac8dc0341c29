/* SPDX-License-Identifier: MIT */
/* What db.c and dbwal.c share; private to them. */
#ifndef WALCAST_DBPARTS_H
#define WALCAST_DBPARTS_H

#include <sqlite3.h>
#include <sys/types.h>

#include "db.h"

enum side { SIDE_WAL, SIDE_SHM, N_SIDES };

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
	struct side_file side[N_SIDES];
};

/* The status of a result code, of which callers tell the primary ones apart. */
enum status db_status(int rc);

/* Notes which -wal and -shm are the database's.  Returns ST_OK or ST_NOMEM. */
MUST_USE enum status db_sides_init(struct db *db);
void db_sides_fini(struct db *db);

#endif

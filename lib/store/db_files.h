/* SPDX-License-Identifier: MIT */
/*
 * The files that make up a database: their names, and whether they may be
 * opened.  Only this module knows what SQLite calls those beside the database.
 */
#ifndef WALCAST_DB_FILES_H
#define WALCAST_DB_FILES_H

#include <limits.h>
#include <stdint.h>

#include "status.h"

/* X(name, what SQLite appends to the database's path) */
#define DB_FILES(X)                                                            \
	X(MAIN, "")    /* the database */                                      \
	X(WAL, "-wal") /* commits that it does not have yet */                 \
	X(SHM, "-shm") /* the index of the -wal, shared by all processes */

#define DB_FILES_MEMBER(name, suffix) DB_FILE_##name,
enum db_file { DB_FILES(DB_FILES_MEMBER) DB_N_FILES };

#define DB_PATH_BYTES (PATH_MAX + 8)

/* out, with the path of that file; cut when the database's is too long. */
const char *db_file_path(char out[DB_PATH_BYTES], const char *database,
    enum db_file which);

/* Its size; 0: it is not there. */
int64_t db_file_bytes(const char *database, enum db_file which);

/*
 * The real path of a database: links on the way to its directory, which the
 * administrator made, are followed, and no others.  Refuses what others may
 * have put in place of any of the files: a link, or anything but a plain file.
 *
 * Returns  ST_OK, ST_NOTFOUND, ST_TOOLARGE, ST_UNSAFE; err says why
 */
MUST_USE enum status db_find_files(const char *path, char real[PATH_MAX],
    struct errmsg *err);

#endif

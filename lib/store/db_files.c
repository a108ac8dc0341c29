/* SPDX-License-Identifier: MIT */
/* Never opens any of them: see db.h on SQLite's locks. */
#include "db_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "owner.h"

#define DB_FILES_SUFFIX(name, suffix) suffix,
static const char *const suffixes[] = {DB_FILES(DB_FILES_SUFFIX)};

const char *
db_file_path(char out[DB_PATH_BYTES], const char *database, enum db_file which)
{
	(void)snprintf(out, DB_PATH_BYTES, "%s%s", database, suffixes[which]);
	return out;
}

int64_t
db_file_bytes(const char *database, enum db_file which)
{
	char path[DB_PATH_BYTES];
	struct stat sb;

	return stat(db_file_path(path, database, which), &sb) == 0
	    ? (int64_t)sb.st_size
	    : 0;
}

/*
 * Whoever may create files there could create a link, or a FIFO, opening which
 * would block for ever.
 */
static enum status
check_kind(const char *path, const char *real, enum db_file which,
    struct errmsg *err)
{
	char name[DB_PATH_BYTES];
	struct stat sb;

	if (lstat(db_file_path(name, real, which), &sb) < 0 ||
	    S_ISREG(sb.st_mode))
		return ST_OK;
	if (S_ISLNK(sb.st_mode))
		errmsg_set(err,
		    "the database %s%s is a link, which nothing here "
		    "follows: name the file itself",
		    path, suffixes[which]);
	else
		errmsg_set(err,
		    "the database %s%s is no plain file: look who "
		    "has put it there, and remove it",
		    path, suffixes[which]);
	return ST_UNSAFE;
}

enum status
db_find_files(const char *path, char real[PATH_MAX], struct errmsg *err)
{
	enum status st = owner_check(path, err);
	int i;

	if (st != ST_OK)
		return st;
	st = owner_real_path(path, real, PATH_MAX);
	if (st != ST_OK) {
		errmsg_set(err,
		    "cannot open the database %s: its directory cannot be "
		    "found: %s",
		    path, strerror(errno));
		return st;
	}
	for (i = 0; st == ST_OK && i < DB_N_FILES; i++)
		st = check_kind(path, real, (enum db_file)i, err);
	return st;
}

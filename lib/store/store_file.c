/* SPDX-License-Identifier: MIT */
/*
 * The log as a file: creation, migrations, modes.
 *
 * Two sets of modes work; all others fail sooner or later, with an error that
 * points elsewhere.  strict: only pubd's user writes.  open: the group writes
 * too, and then the directory must let it make -wal and -shm, and hand its
 * group on (setgid) so that the others can use them.
 */
#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db_files.h"
#include "log.h"
#include "owner.h"
#include "sql_text.h"
#include "store_private.h"

#define APPLICATION_ID "1463897155" /* "WALC" */

/* Migration i brings a log from version i to i + 1. */
static const char *const migrations[] = {sql_migration_log,
    sql_migration_access};
#define N_TABLES 3 /* of sql_missing */
#define VERSION  ((int64_t)(sizeof(migrations) / sizeof(migrations[0])))

/*
 * 0: the database has no log.  PRAGMA user_version is left to the application
 * whose tables may lie beside ours.
 */
static enum status
read_version(struct db *db, const char *path, int64_t *version,
    struct errmsg *err)
{
	struct db_stmt *s = NULL;
	enum status st = db_prepare(db, sql_missing, &s);

	*version = 0;
	if (st == ST_OK)
		st = db_step(s);
	if (st != ST_OK) {
		errmsg_set(err, "cannot read %s: %s", path, db_error(db));
	} else if (db_col_int(s, 1) == 0) {
		st = db_get_int(db, sql_version, version);
		if (st != ST_OK)
			errmsg_set(err, "cannot read the version of %s: %s",
			    path, db_error(db));
	} else if (db_col_int(s, 1) < N_TABLES) {
		struct span names = db_col_text(s, 0);

		errmsg_set(err,
		    "the log %s has no table %.*s any more: somebody has "
		    "dropped it, or the file is another program's; restore a "
		    "backup, or set `database` to a new path and run `walcast "
		    "init`",
		    path, (int)names.len, names.p);
		st = ST_SCHEMA;
	}
	db_stmt_free(&s);
	return st;
}

enum status
store_file_version(struct db *db, const char *path, bool reads,
    struct errmsg *err)
{
	int64_t version = 0;
	enum status st = read_version(db, path, &version, err);

	/* Readers know the older ones, too: in an upgrade they may be first. */
	if (st != ST_OK || version == VERSION ||
	    (reads && version >= 1 && version < VERSION))
		return st;
	if (version == 0)
		errmsg_set(err,
		    "%s is a database without a log in it: run `walcast init`",
		    path);
	else if (version < VERSION)
		errmsg_set(err,
		    "the log %s is of version %lld, this program needs %lld: "
		    "stop pubd and run `walcast init` to bring it up",
		    path, (long long)version, (long long)VERSION);
	else
		errmsg_set(err,
		    "the log %s is of version %lld, this program knows %lld: "
		    "install the newer Walcast that made it",
		    path, (long long)version, (long long)VERSION);
	return ST_SCHEMA;
}

static enum status
migrate_one(struct db *db, int64_t from)
{
	char set_version[80];
	enum status st = db_exec(db, "BEGIN IMMEDIATE");

	if (st != ST_OK)
		return st;
	(void)snprintf(set_version, sizeof(set_version),
	    "INSERT OR REPLACE INTO meta VALUES ('version', '%lld')",
	    (long long)from + 1);
	st = db_exec(db, migrations[from]);
	if (st == ST_OK)
		st = db_exec(db, set_version);
	return db_end(db, st);
}

/* One by one; err says why it went no further. */
static enum status
migrate_from(struct db *db, const char *path, int64_t version,
    struct errmsg *err)
{
	enum status st = ST_OK;

	for (; st == ST_OK && version < VERSION; version++)
		st = migrate_one(db, version);
	if (st == ST_CONSTRAINT)
		errmsg_set(err,
		    "the log %s cannot be brought to version %lld: another "
		    "program has changed the definition of its tables; restore "
		    "a backup, or move it away and run `walcast init`",
		    path, (long long)VERSION);
	else if (st != ST_OK)
		errmsg_set(err, "cannot bring the log %s to version %lld: %s",
		    path, (long long)VERSION, status_name(st));
	return st;
}

/*
 * A writer brings an older log up: an upgrade must not stop publishers.  This
 * connection reads the changed definitions again.
 */
enum status
store_file_bring_up(struct db *db, const char *path, struct errmsg *err)
{
	int64_t version = 0;
	enum status st = read_version(db, path, &version, err);

	if (st != ST_OK || version == 0 || version >= VERSION)
		return st;
	st = migrate_from(db, path, version, err);
	if (st != ST_OK)
		return st;
	st = db_exec(db, "PRAGMA writable_schema = RESET");
	if (st != ST_OK) {
		errmsg_set(err, "cannot read the log %s again: %s", path,
		    db_error(db));
		return st;
	}
	log_warnx("the log %s was of version %lld and is of version %lld now",
	    path, (long long)version, (long long)VERSION);
	return ST_OK;
}

static enum status
migrate(struct db *db, const char *path, struct errmsg *err)
{
	int64_t version = 0;
	enum status st = read_version(db, path, &version, err);

	if (st == ST_OK && version > VERSION)
		return store_file_version(db, path, false, err);
	if (st != ST_OK)
		return st;
	st = db_exec(db,
	    "PRAGMA journal_mode=WAL; PRAGMA application_id=" APPLICATION_ID);
	if (st != ST_OK) {
		errmsg_set(err, "cannot make the log in %s: %s", path,
		    db_error(db));
		return st;
	}
	return migrate_from(db, path, version, err);
}

static enum status
find_group(const char *group, gid_t *gid, struct errmsg *err)
{
	struct group *gr;

	*gid = (gid_t)-1;
	if (group == NULL)
		return ST_OK;
	gr = getgrnam(group);
	if (gr == NULL) {
		errmsg_set(err,
		    "there is no group \"%s\": make it first (addgroup)",
		    group);
		return ST_INVALID;
	}
	*gid = gr->gr_gid;
	return ST_OK;
}

/* We will set the directory's mode, so it must not be a shared one. */
static enum status
make_directory(const char *dir, mode_t mode, struct errmsg *err)
{
	struct stat sb;

	if (mkdir(dir, mode & 0777) == 0)
		return ST_OK;
	if (errno == EEXIST && stat(dir, &sb) == 0) {
		if (!(sb.st_mode & (S_ISVTX | S_IWOTH)))
			return ST_OK;
		errmsg_set(err,
		    "%s is a directory that others share: give the log one "
		    "of its own",
		    dir);
		return ST_DENIED;
	}
	errmsg_set(err, "cannot make the directory %s: %s: make it by hand",
	    dir, strerror(errno));
	return errno == EACCES ? ST_DENIED : ST_IO;
}

static enum status
set_modes(const char *path, const char *dir, enum store_access access,
    gid_t gid, struct errmsg *err)
{
	mode_t file = access == STORE_OPEN ? 0660 : 0640;
	uid_t uid = OWNER_KEEP;
	struct stat sb;
	char name[DB_PATH_BYTES];
	enum status st;
	int i;

	/* Made by root in a directory of the daemon's: it must own them. */
	if (geteuid() == 0 && stat(dir, &sb) == 0)
		uid = sb.st_uid;
	if (gid == (gid_t)-1 && stat(dir, &sb) == 0)
		gid = sb.st_gid;
	st = owner_set_directory(dir, gid, access == STORE_OPEN ? 02770 : 02750,
	    err);
	for (i = 0; st == ST_OK && i < DB_N_FILES; i++)
		st = owner_set_file(db_file_path(name, path, (enum db_file)i),
		    uid, gid, file, err);
	return st;
}

enum status
store_create(const char *path, enum store_access access, const char *group,
    struct errmsg *err)
{
	struct db *db = NULL;
	char *copy = strdup(path), *dir;
	enum status st;
	gid_t gid;
	mode_t old;

	if (copy == NULL)
		return ST_NOMEM;
	dir = dirname(copy);
	st = find_group(group, &gid, err);
	if (st == ST_OK)
		st = owner_check(path, err);
	if (st == ST_OK)
		st = make_directory(dir, 0770, err);
	old = umask(access == STORE_OPEN ? 0007 : 0027);
	if (st == ST_OK)
		st = db_open(&db, path, DB_CREATE, err);
	if (st == ST_OK) {
		db_persist_wal(db);
		st = migrate(db, path, err);
	}
	if (st == ST_OK)
		st = set_modes(path, dir, access, gid, err);
	db_close(&db);
	(void)umask(old);
	free(copy);
	return st;
}

static enum status
judge_modes(const char *path, const char *dir, mode_t d, mode_t f,
    struct errmsg *err)
{
	if ((d & S_IWGRP) && !(f & S_IWGRP)) {
		errmsg_set(err,
		    "the group may write to %s but not to %s: a reader would "
		    "leave -wal and -shm files that lock pubd out. Run "
		    "`walcast init --mode strict` (or `--mode open`)",
		    dir, path);
		return ST_DENIED;
	}
	if ((f & S_IWGRP) && !(d & S_IWGRP) && (d & S_IXGRP)) {
		errmsg_set(err,
		    "the group may write to %s but not to its directory %s, "
		    "where -wal and -shm are made. Run `walcast init --mode "
		    "open` (or `--mode strict`)",
		    path, dir);
		return ST_DENIED;
	}
	if ((d & S_IWGRP) && !(d & S_ISGID)) {
		errmsg_set(err,
		    "the directory %s lacks the setgid bit: files made by one "
		    "program would not be open to the other. Run `walcast "
		    "init --mode open` or chmod g+s it",
		    dir);
		return ST_DENIED;
	}
	return ST_OK;
}

enum status
store_check_modes(const char *path, struct errmsg *err)
{
	char *copy = strdup(path), *dir;
	struct stat d, f;
	enum status st = owner_check(path, err);

	if (copy == NULL)
		return ST_NOMEM;
	dir = dirname(copy);
	if (st != ST_OK) {
		/* and `err` says why */
	} else if (stat(dir, &d) < 0 || stat(path, &f) < 0) {
		st = errno == EACCES ? ST_DENIED : ST_NOTFOUND;
		errmsg_set(err,
		    st == ST_DENIED
			? "this user may not enter the directory of the log "
			  "%s: add it to the directory's group"
			: "there is no log at %s: make it with `walcast "
			  "init`, or set `database`",
		    path);
	} else {
		st = judge_modes(path, dir, d.st_mode, f.st_mode, err);
	}
	free(copy);
	return st;
}

void
store_file_sizes(const char *path, int64_t *db_bytes, int64_t *wal_bytes)
{
	*db_bytes = db_file_bytes(path, DB_FILE_MAIN);
	*wal_bytes = db_file_bytes(path, DB_FILE_WAL);
}

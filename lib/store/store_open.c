/* SPDX-License-Identifier: MIT */
/*
 * Opening a log, for readers and writers: the error messages, and what has to
 * be on the disk before anybody may read it.
 */
#include <string.h>

#include "store_private.h"

/*
 * The first to open a log after a kill finds commits in the kernel's cache that
 * were never synced.  Readers may acknowledge them (a duplicate key) or pass
 * them on, so they must be synced first.
 */
static enum status
make_durable(struct db *db, const char *path, struct errmsg *err)
{
	enum status st = db_sync_wal(db);

	if (st != ST_OK)
		errmsg_set(err, "cannot sync %s-wal: %s", path,
		    status_name(st));
	return st;
}

enum status
store_open_db(struct db **db, const struct store_options *o, enum db_mode mode,
    struct errmsg *err)
{
	const char *path = o->path;
	enum status st = mode == DB_READ || o->syncs == NULL
	    ? db_open(db, path, mode, err)
	    : db_open_timed(db, path, mode, o->syncs, err);

	if (st == ST_OK && mode != DB_READ && db_is_read_only(*db)) {
		db_close(db);
		st = ST_DENIED;
	}
	if (st != ST_OK && st != ST_UNSAFE && db_mount_is_read_only(path)) {
		errmsg_set(err,
		    "the log %s lies on a file system that is mounted "
		    "read-only: look at the kernel's messages for why, and "
		    "mount it read-write",
		    path);
		return ST_DENIED;
	}
	if (st == ST_NOTFOUND)
		errmsg_set(err,
		    "there is no log at %s, or this user cannot reach it: "
		    "make it with `walcast init`, or set `database`",
		    path);
	if (st == ST_DENIED)
		errmsg_set(err,
		    "this user may not open the log %s: see `walcast doctor`, "
		    "or run `walcast init` as its owner to mend the modes",
		    path);
	if (st != ST_OK)
		return st;
	if (mode == DB_WRITE)
		st = store_file_bring_up(*db, path, err);
	if (st == ST_OK)
		st = store_file_version(*db, path, mode == DB_READ, err);
	if (st == ST_OK && !(mode == DB_READ && o->for_show))
		st = make_durable(*db, path, err);
	if (st != ST_OK)
		db_close(db);
	return st;
}

enum status
store_bounds_read(struct db_stmt *s, struct store_bounds *b)
{
	enum status st = db_row(s);
	struct span generation;

	if (st != ST_OK)
		return st;
	b->head = db_col_int(s, 0);
	b->oldest = db_col_int(s, 1);
	if (b->oldest == 0)
		b->oldest = b->head + 1;
	generation = db_col_text(s, 2);
	if (generation.len >= sizeof(b->generation))
		generation.len = sizeof(b->generation) - 1;
	memcpy(b->generation, generation.p, generation.len);
	b->generation[generation.len] = '\0';
	db_reset(s);
	return ST_OK;
}

enum status
store_version_changed(struct db_stmt *s, int64_t *seen, bool *changed)
{
	enum status st = db_row(s);
	int64_t v;

	if (st != ST_OK)
		return st;
	v = db_col_int(s, 0);
	db_reset(s);
	*changed = v != *seen;
	*seen = v;
	return ST_OK;
}

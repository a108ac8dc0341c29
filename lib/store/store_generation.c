/* SPDX-License-Identifier: MIT */
/*
 * Is the log that the writer has open still the one that it knows?  Notices
 * what others did to it and repairs it: what this process alone still has is
 * put back, and a log that has lost its end gets a new generation.
 */
#include "hashtable.h"
#include "sql_text.h"
#include "store_private.h"

#define RELINK_ROWS 100000

/* ---- looking ------------------------------------------------------------ */

enum status
store_writer_changed(struct store_writer *w, bool *changed)
{
	return store_version_changed(w->version, &w->data_version, changed);
}

enum status
store_writer_mark(struct store_writer *w, int64_t id, uint64_t *mark)
{
	enum status st;
	int i;

	db_bind_int(w->witness, 1, id);
	st = db_step(w->witness);
	if (st != ST_OK)
		return st == ST_END ? ST_NOTFOUND : st;
	*mark = 0;
	for (i = 0; i < 4; i++) {
		struct span v = db_col_text(w->witness, i);

		*mark = *mark * 31 + hashtable_hash(v.p, v.len);
	}
	db_reset(w->witness);
	return ST_OK;
}

enum status
store_writer_check(struct store_writer *w)
{
	return db_has_moved(w->db) ? ST_MOVED : ST_OK;
}

bool
store_writer_was_cut(struct store_writer *w)
{
	return db_wal_is_cut(w->db);
}

enum status
store_writer_salvage(struct store_writer *w)
{
	return db_salvage(w->db);
}

/* ---- setting right ------------------------------------------------------ */

/* A log with more rows keeps its links, since it was put there whole. */
static enum status
relink(struct store_writer *w)
{
	struct db_stmt *s = NULL;
	enum status st = db_prepare(w->db, sql_relink, &s);

	if (st != ST_OK)
		return st;
	db_bind_int(s, 1, RELINK_ROWS);
	st = db_run(s);
	db_stmt_free(&s);
	return st;
}

static enum status
renew_parts(struct store_writer *w)
{
	enum status st = db_exec(w->db, sql_renew);

	if (st == ST_OK)
		st = relink(w);
	if (st == ST_OK)
		st = db_exec(w->db, sql_channels_drop);
	return st == ST_OK ? db_exec(w->db, sql_channels_fill) : st;
}

enum status
store_writer_renew(struct store_writer *w)
{
	int in_wal, done;
	enum status st = db_run(w->begin);

	if (st != ST_OK)
		return st;
	st = db_end(w->db, renew_parts(w));
	/*
	 * Into the database, or the loss of another -wal would bring the old
	 * generation back.
	 */
	if (st == ST_OK)
		status_ignore(db_checkpoint(w->db, &in_wal, &done));
	return st;
}

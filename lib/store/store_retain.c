/* SPDX-License-Identifier: MIT */
/*
 * Retention: deletes old events, and channels that have none left; and
 * checkpoints.  Each call is bounded.
 */
#include <string.h>

#include "db_files.h"
#include "sql_text.h"
#include "store_private.h"

#define SWEEP_NAMES 64 /* channels looked at for forgetting, each trim */

/* ---- what has to go ----------------------------------------------------- */

/*
 * The first id that is not too old.  Times follow the wall clock, which may
 * have jumped, so they need not rise with the ids: everything after an event
 * that has to stay is kept too, however old it claims to be.
 */
static enum status
cut_by_age(struct store_writer *w, const struct store_bounds *b,
    const struct store_retain *r, int64_t *cut)
{
	enum status st;

	db_bind_int(w->cut_by_age, 1, b->oldest);
	db_bind_int(w->cut_by_age, 2, r->min_ts_ms);
	db_bind_int(w->cut_by_age, 3, r->now_ms == 0 ? INT64_MAX : r->now_ms);
	/* One too many, which shows the caller that there are more. */
	db_bind_int(w->cut_by_age, 4, (int64_t)r->max_rows + 1);
	st = db_step(w->cut_by_age);
	if (st != ST_OK)
		return st;
	*cut = db_col_int(w->cut_by_age, 0);
	db_reset(w->cut_by_age);
	return ST_OK;
}

/* How many events the bytes above max_bytes come to, by their mean size. */
static int64_t
rows_above(struct store_writer *w, const struct store_bounds *b,
    int64_t max_bytes)
{
	int64_t n = b->head - b->oldest + 1, db_bytes, wal_bytes, mean;

	store_sizes(w, &db_bytes, &wal_bytes);
	if (db_bytes <= max_bytes)
		return 0;
	mean = db_bytes / n + 1;
	return (db_bytes - max_bytes) / mean + 1;
}

/* Events with an id below *cut have to go. */
static enum status
find_cut(struct store_writer *w, const struct store_retain *r, int64_t *cut)
{
	struct store_bounds b;
	int64_t by_age, newest;
	enum status st = store_bounds_read(w->bounds, &b);

	if (st != ST_OK)
		return st;
	st = db_row(w->newest);
	if (st != ST_OK)
		return st;
	/* Of the rows that exist: somebody may have set the sequence. */
	newest = db_col_int(w->newest, 0);
	db_reset(w->newest);
	*cut = b.oldest;
	if (r->before_id > *cut)
		*cut = r->before_id < b.head + 1 ? r->before_id : b.head + 1;
	if (r->max_events > 0 && newest - r->max_events + 1 > *cut)
		*cut = newest - r->max_events + 1;
	if (r->min_ts_ms > 0) {
		st = cut_by_age(w, &b, r, &by_age);
		if (st != ST_OK)
			return st;
		if (by_age > *cut)
			*cut = by_age;
	}
	if (r->max_bytes > 0 && *cut == b.oldest && b.head >= b.oldest)
		*cut += rows_above(w, &b, r->max_bytes);
	return ST_OK;
}

/* ---- deleting ----------------------------------------------------------- */

/* Forgets channels of which no event is retained, a few names each time. */
static enum status
sweep_channels(struct store_writer *w, int64_t oldest)
{
	struct span from = span_str(w->sweep), last;
	enum status st;

	db_bind_text(w->forget_next, 1, from);
	db_bind_int(w->forget_next, 2, SWEEP_NAMES);
	st = db_step(w->forget_next);
	if (st != ST_OK)
		return st;
	last = db_col_text(w->forget_next, 0);
	if (last.len >= sizeof(w->sweep))
		last.len = 0;
	db_bind_text(w->forget, 1, from);
	db_bind_int(w->forget, 2, oldest);
	db_bind_int(w->forget, 3, SWEEP_NAMES);
	st = db_run(w->forget);
	if (last.len > 0)
		memcpy(w->sweep, last.p, last.len);
	w->sweep[last.len] = '\0';
	db_reset(w->forget_next);
	return st;
}

static enum status
delete_parts(struct store_writer *w, int64_t cut, int *n)
{
	enum status st;

	db_bind_int(w->trim, 1, cut);
	st = db_run(w->trim);
	if (st != ST_OK)
		return st;
	*n = db_changes(w->db);
	return sweep_channels(w, cut);
}

static enum status
delete_before(struct store_writer *w, int64_t cut, int *n_deleted)
{
	int n = 0;
	enum status st = db_run(w->begin);

	if (st != ST_OK)
		return st;
	st = db_end(w->db, delete_parts(w, cut, &n));
	*n_deleted = st == ST_OK ? n : 0;
	return st;
}

enum status
store_trim(struct store_writer *w, const struct store_retain *r, int *n_deleted,
    bool *more)
{
	struct store_bounds b = {0};
	int64_t cut = 0;
	enum status st = find_cut(w, r, &cut);

	*n_deleted = 0;
	*more = false;
	if (st == ST_OK)
		st = store_bounds_read(w->bounds, &b);
	if (st != ST_OK || cut <= b.oldest)
		return st;
	if (cut - b.oldest > r->max_rows) {
		cut = b.oldest + r->max_rows;
		*more = true;
	}
	return delete_before(w, cut, n_deleted);
}

/* ---- the WAL ------------------------------------------------------------ */

enum status
store_checkpoint(struct store_writer *w, int pages, int *left)
{
	int in_wal = 0, done = 0;
	enum status st;

	*left = -1;
	if (db_wal_pages(w->db) <= pages)
		return ST_OK;
	st = db_checkpoint(w->db, &in_wal, &done);
	*left = in_wal - done;
	return st;
}

void
store_sizes(struct store_writer *w, int64_t *db_bytes, int64_t *wal_bytes)
{
	int64_t pages = 0, unused = 0, page_bytes = 0;

	if (db_get_int(w->db, "PRAGMA page_count", &pages) != ST_OK ||
	    db_get_int(w->db, "PRAGMA freelist_count", &unused) != ST_OK ||
	    db_get_int(w->db, "PRAGMA page_size", &page_bytes) != ST_OK)
		pages = unused = 0;
	*db_bytes = (pages - unused) * page_bytes;
	*wal_bytes = db_file_bytes(w->path, DB_FILE_WAL);
}

/* SPDX-License-Identifier: MIT */
/*
 * The log in SQLite (sql/0001-log.sql): writer and reader.
 *
 * Invariants: ids come from AUTOINCREMENT alone; `prev` is read and the
 * newest id of a channel written once for each channel of a transaction; no
 * statement stays open between calls.  May block on the disk, never on a
 * lock.
 */
#include "store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "db.h"
#include "hashtable.h"
#include "name.h"
#include "sql_text.h"
#include "store_file.h"

#define MAX_ID      INT64_C(9007199254740991) /* what JavaScript can count */
#define RELINK_ROWS 100000
#define SWEEP_NAMES 64 /* channels looked at for forgetting, each trim */

/* The newest id of a channel, as this transaction sees it. */
struct tip {
	UT_hash_handle hh;
	int64_t last_id;
	int64_t undo_id;     /* value before the open group */
	uint64_t undo_group; /* the group that undo_id belongs to */
	bool dirty;
	unsigned char len;
	char name[NAME_MAX_BYTES];
};

struct store_writer {
	struct db *db;
	struct db_stmt *append, *key_id, *tip_get, *tip_set;
	struct db_stmt *bounds, *cut_by_age, *trim, *forget, *forget_next;
	struct db_stmt *begin, *commit, *witness, *newest, *version;
	char *path;
	struct tip *tips;
	uint64_t group; /* counts groups; odd while one is open */
	int64_t data_version;
	char sweep[NAME_MAX_BYTES + 1];
};

struct store_reader {
	struct db *db;
	struct db_stmt *page, *newest, *bounds, *channels, *data_version;
	struct db_stmt *tip, *link;
	int64_t seen_version;
};

/* ---- opening ------------------------------------------------------------ */

/*
 * The first to open a log after a kill finds commits in the kernel's cache
 * that were never synced.  Whoever reads them may acknowledge them (a key that
 * is known) or hand them on, so they must be on the disk before.
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

static enum status
open_checked(struct db **db, const struct store_options *o, enum db_mode mode,
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
	st = store_file_version(*db, path, err);
	if (st == ST_OK && !(mode == DB_READ && o->for_show))
		st = make_durable(*db, path, err);
	if (st != ST_OK)
		db_close(db);
	return st;
}

static enum status
prepare_writer(struct store_writer *w)
{
	const struct {
		struct db_stmt **stmt;
		const char *sql;
	} list[] = {
	    {&w->append, sql_append},
	    {&w->key_id, sql_key_id},
	    {&w->tip_get, sql_channel_last},
	    {&w->tip_set, sql_channel_set},
	    {&w->bounds, sql_bounds},
	    {&w->cut_by_age, sql_cut_by_age},
	    {&w->trim, sql_trim},
	    {&w->forget, sql_channels_forget},
	    {&w->forget_next, sql_channels_next},
	    {&w->begin, "BEGIN IMMEDIATE"},
	    {&w->commit, "COMMIT"},
	    {&w->version, "PRAGMA data_version"},
	    {&w->witness, sql_witness},
	    {&w->newest, "SELECT coalesce(max(id), 0) FROM events"},
	};
	size_t i;
	enum status st;

	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		st = db_prepare(w->db, list[i].sql, list[i].stmt);
		if (st != ST_OK)
			return st;
	}
	return ST_OK;
}

static enum status
tune_writer(struct store_writer *w, const struct store_options *o,
    struct errmsg *err)
{
	enum status st;

	db_persist_wal(w->db);
	db_trust_writer(w->db);
	st = db_use_wal(w->db);
	if (st != ST_OK) {
		errmsg_set(err,
		    "the log %s is in journal_mode=DELETE or the like, where "
		    "readers block publishers, and cannot be put back to WAL "
		    "now: end the programs that have it open, or stop their "
		    "setting of it",
		    o->path);
		return st;
	}
	st = db_set_synchronous(w->db,
	    o->synchronous_full ? DB_SYNC_FULL : DB_SYNC_NORMAL);
	if (st == ST_OK)
		/* Debian's default overwrites what it deletes: 12 x slower */
		st = db_exec(w->db,
		    "PRAGMA secure_delete=FAST;"
		    "PRAGMA journal_size_limit=16777216;");
	if (st == ST_OK)
		st = db_get_int(w->db, "PRAGMA data_version", &w->data_version);
	return st;
}

enum status
store_writer_open(struct store_writer **out, const struct store_options *o,
    struct errmsg *err)
{
	struct store_writer *w = calloc(1, sizeof(*w));
	enum status st;

	if (w == NULL)
		return ST_NOMEM;
	w->path = strdup(o->path);
	st = w->path == NULL ? ST_NOMEM
			     : open_checked(&w->db, o, DB_WRITE, err);
	if (st == ST_OK) {
		err->text[0] = '\0';
		st = prepare_writer(w);
		if (st == ST_OK)
			st = tune_writer(w, o, err);
		if (st != ST_OK && err->text[0] == '\0')
			errmsg_set(err, "cannot use the log %s: %s", o->path,
			    db_error(w->db));
	}
	if (st != ST_OK) {
		store_writer_close(&w);
		return st;
	}
	*out = w;
	return ST_OK;
}

static void
tips_clear(struct store_writer *w)
{
	struct tip *t, *tmp;

	HASH_ITER (hh, w->tips, t, tmp) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) freed below */
		HASH_DEL(w->tips, t);
		free(t);
	}
}

void
store_writer_close(struct store_writer **wp)
{
	struct store_writer *w = *wp;

	if (w == NULL)
		return;
	tips_clear(w);
	db_stmt_free(&w->append);
	db_stmt_free(&w->key_id);
	db_stmt_free(&w->tip_get);
	db_stmt_free(&w->tip_set);
	db_stmt_free(&w->bounds);
	db_stmt_free(&w->cut_by_age);
	db_stmt_free(&w->trim);
	db_stmt_free(&w->forget);
	db_stmt_free(&w->forget_next);
	db_stmt_free(&w->begin);
	db_stmt_free(&w->commit);
	db_stmt_free(&w->version);
	db_stmt_free(&w->witness);
	db_stmt_free(&w->newest);
	db_close(&w->db);
	free(w->path);
	free(w);
	*wp = NULL;
}

const char *
store_writer_error(struct store_writer *w)
{
	return db_error(w->db);
}

/* ---- appending ----------------------------------------------------------- */

static enum status
run(struct db_stmt *s)
{
	enum status st = db_step(s);

	return st == ST_END ? ST_OK : st;
}

enum status
store_begin(struct store_writer *w)
{
	assert(w->tips == NULL);
	return run(w->begin);
}

/* The failure st of an append or commit: rolls back unless it may go on. */
static enum status
failed(struct store_writer *w, enum status st)
{
	if (st != ST_CONSTRAINT && st != ST_EXISTS)
		store_rollback(w);
	return st;
}

/* Finds a channel's tip; the first time in a transaction reads it. */
static enum status
tip_find(struct store_writer *w, struct span channel, struct tip **out)
{
	struct tip *t;
	enum status st;

	HASH_FIND(hh, w->tips, channel.p, channel.len, t);
	if (t != NULL) {
		*out = t;
		return ST_OK;
	}
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return ST_NOMEM;
	memcpy(t->name, channel.p, channel.len);
	t->len = (unsigned char)channel.len;
	db_bind_text(w->tip_get, 1, channel);
	st = db_step(w->tip_get);
	if (st == ST_OK) {
		t->last_id = db_col_int(w->tip_get, 0);
		db_reset(w->tip_get);
	} else if (st != ST_END) {
		free(t);
		return st;
	}
	HASH_ADD_KEYPTR(hh, w->tips, t->name, t->len, t);
	if (t->hh.tbl == NULL) { /* uthash found no memory */
		free(t);
		return ST_NOMEM;
	}
	*out = t;
	return ST_OK;
}

static void
tip_move(struct store_writer *w, struct tip *t, int64_t id)
{
	if (t->undo_group != w->group) {
		t->undo_group = w->group;
		t->undo_id = t->last_id;
	}
	t->last_id = id;
	t->dirty = true;
}

/* ST_EXISTS with the first id when the key was used; ST_OK when it is new. */
static enum status
key_lookup(struct store_writer *w, struct store_event *e)
{
	enum status st;

	db_bind_text(w->key_id, 1, e->channel);
	db_bind_text(w->key_id, 2, e->key);
	st = db_step(w->key_id);
	if (st == ST_END)
		return ST_OK;
	if (st != ST_OK)
		return st;
	e->id = db_col_int(w->key_id, 0);
	e->prev = 0;
	db_reset(w->key_id);
	return ST_EXISTS;
}

static void
bind_optional(struct db_stmt *s, int i, struct span v)
{
	if (v.len == 0)
		db_bind_null(s, i);
	else
		db_bind_text(s, i, v);
}

/* SQLite says FULL, too, when it has no id left to give. */
static bool
ids_are_spent(struct store_writer *w)
{
	int64_t seq = 0;

	return db_get_int(w->db, sql_sequence, &seq) == ST_OK && seq >= MAX_ID;
}

static enum status
insert(struct store_writer *w, struct store_event *e, struct tip *t)
{
	enum status st;

	db_bind_int(w->append, 1, e->ts_ms);
	db_bind_text(w->append, 2, e->channel);
	db_bind_text(w->append, 3, e->event);
	bind_optional(w->append, 4, e->key);
	bind_optional(w->append, 5, e->trace);
	db_bind_int(w->append, 6, t->last_id);
	if (e->kind == STORE_DATA_UNKNOWN)
		db_bind_null(w->append, 7);
	else
		db_bind_int(w->append, 7, e->kind == STORE_DATA_JSON);
	db_bind_text(w->append, 8, e->data);
	st = run(w->append);
	if (st == ST_NOSPACE && ids_are_spent(w))
		return ST_SCHEMA;
	if (st != ST_OK)
		return st;
	/*
	 * A column or index that another program added may say ON CONFLICT
	 * IGNORE: then nothing was stored, and an id is gone that only a
	 * rollback gives back.
	 */
	if (db_changes(w->db) != 1 || db_last_id(w->db) > MAX_ID)
		return ST_SCHEMA;
	e->id = db_last_id(w->db);
	e->prev = t->last_id;
	tip_move(w, t, e->id);
	return ST_OK;
}

enum status
store_append(struct store_writer *w, struct store_event *e)
{
	struct tip *t;
	enum status st = ST_OK;

	if (!name_channel_ok(e->channel))
		return ST_CONSTRAINT;
	if (e->key.len > 0)
		st = key_lookup(w, e);
	if (st == ST_OK)
		st = tip_find(w, e->channel, &t);
	if (st == ST_OK)
		st = insert(w, e, t);
	return st == ST_OK ? ST_OK : failed(w, st);
}

enum status
store_group_begin(struct store_writer *w)
{
	enum status st = db_exec(w->db, "SAVEPOINT one");

	if (st != ST_OK)
		return failed(w, st);
	w->group++;
	return ST_OK;
}

enum status
store_group_end(struct store_writer *w)
{
	enum status st = db_exec(w->db, "RELEASE one");

	w->group++;
	return st == ST_OK ? ST_OK : failed(w, st);
}

enum status
store_group_undo(struct store_writer *w)
{
	struct tip *t, *tmp;
	enum status st = db_exec(w->db, "ROLLBACK TO one; RELEASE one");

	HASH_ITER (hh, w->tips, t, tmp) {
		if (t->undo_group == w->group)
			t->last_id = t->undo_id;
	}
	w->group++;
	return st == ST_OK ? ST_OK : failed(w, st);
}

enum status
store_commit(struct store_writer *w)
{
	struct tip *t, *tmp;
	enum status st = ST_OK;

	HASH_ITER (hh, w->tips, t, tmp) {
		if (!t->dirty || st != ST_OK)
			continue;
		db_bind_text(w->tip_set, 1, span_of(t->name, t->len));
		db_bind_int(w->tip_set, 2, t->last_id);
		st = run(w->tip_set);
	}
	if (st == ST_OK)
		st = run(w->commit);
	if (st != ST_OK) {
		store_rollback(w);
		return st;
	}
	tips_clear(w);
	w->group += 2;
	if (!db_has_moved(w->db) && db_check_wal(w->db) == ST_OK)
		return ST_OK;
	/* Into a file that lost its place meanwhile: nobody will read it. */
	return db_salvage(w->db) == ST_OK ? ST_OK : ST_MOVED;
}

void
store_rollback(struct store_writer *w)
{
	/* After some failures SQLite has rolled back by itself. */
	if (!db_autocommit(w->db))
		status_ignore(db_exec(w->db, "ROLLBACK"));
	tips_clear(w);
	w->group += 2;
}

/* ---- what both sides ask --------------------------------------------------
 */

static enum status
read_bounds(struct db_stmt *s, struct store_bounds *b)
{
	enum status st = db_step(s);
	struct span generation;

	if (st != ST_OK)
		return st == ST_END ? ST_CORRUPT : st;
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
store_writer_bounds(struct store_writer *w, struct store_bounds *b)
{
	return read_bounds(w->bounds, b);
}

enum status
store_writer_changed(struct store_writer *w, bool *changed)
{
	enum status st = db_step(w->version);
	int64_t v;

	if (st != ST_OK)
		return st == ST_END ? ST_CORRUPT : st;
	v = db_col_int(w->version, 0);
	db_reset(w->version);
	*changed = v != w->data_version;
	w->data_version = v;
	return ST_OK;
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

/* A log of more rows keeps the links that it has: it was put there whole. */
static enum status
relink(struct store_writer *w)
{
	struct db_stmt *s = NULL;
	enum status st = db_prepare(w->db, sql_relink, &s);

	if (st != ST_OK)
		return st;
	db_bind_int(s, 1, RELINK_ROWS);
	st = run(s);
	db_stmt_free(&s);
	return st;
}

static enum status
renew(struct store_writer *w)
{
	enum status st = run(w->begin);

	if (st != ST_OK)
		return st;
	st = db_exec(w->db, sql_renew);
	if (st == ST_OK)
		st = relink(w);
	if (st == ST_OK)
		st = db_exec(w->db, sql_channels_drop);
	if (st == ST_OK)
		st = db_exec(w->db, sql_channels_fill);
	if (st == ST_OK)
		st = run(w->commit);
	if (st != ST_OK)
		store_rollback(w);
	return st;
}

enum status
store_writer_renew(struct store_writer *w)
{
	int in_wal, done;
	enum status st = renew(w);

	/* Into the file: with the next -wal that is lost, the old one would
	 * be back. */
	if (st == ST_OK)
		status_ignore(db_checkpoint(w->db, &in_wal, &done));
	return st;
}

/* ---- retention and checkpoints --------------------------------------------
 */

/*
 * The id from which on nothing is too old.  Times follow the wall clock, which
 * may have jumped, so they need not rise with the ids: what lies behind an
 * event that has to stay, stays too, however old it claims to be.
 */
static enum status
cut_by_age(struct store_writer *w, const struct store_bounds *b,
    const struct store_retain *r, int64_t *cut)
{
	enum status st;

	db_bind_int(w->cut_by_age, 1, b->oldest);
	db_bind_int(w->cut_by_age, 2, r->min_ts_ms);
	db_bind_int(w->cut_by_age, 3, r->now_ms == 0 ? INT64_MAX : r->now_ms);
	/* One more, so that the caller sees that there are more. */
	db_bind_int(w->cut_by_age, 4, (int64_t)r->max_rows + 1);
	st = db_step(w->cut_by_age);
	if (st != ST_OK)
		return st;
	*cut = db_col_int(w->cut_by_age, 0);
	db_reset(w->cut_by_age);
	return ST_OK;
}

/* How many events take up what is above max_bytes, by their mean size. */
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
	enum status st = read_bounds(w->bounds, &b);

	if (st == ST_OK)
		st = db_step(w->newest);
	if (st != ST_OK)
		return st;
	/* Of those that are there: the sequence may be somebody's own. */
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
	st = run(w->forget);
	if (last.len > 0)
		memcpy(w->sweep, last.p, last.len);
	w->sweep[last.len] = '\0';
	db_reset(w->forget_next);
	return st;
}

static enum status
delete_before(struct store_writer *w, int64_t cut, int *n)
{
	enum status st = run(w->begin);
	int64_t changes = 0;

	*n = 0;
	if (st != ST_OK)
		return st;
	db_bind_int(w->trim, 1, cut);
	st = run(w->trim);
	if (st == ST_OK)
		st = db_get_int(w->db, "SELECT changes()", &changes);
	if (st == ST_OK)
		st = sweep_channels(w, cut);
	if (st == ST_OK)
		st = run(w->commit);
	if (st != ST_OK)
		store_rollback(w);
	else
		*n = (int)changes;
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
		st = read_bounds(w->bounds, &b);
	if (st != ST_OK || cut <= b.oldest)
		return st;
	if (cut - b.oldest > r->max_rows) {
		cut = b.oldest + r->max_rows;
		*more = true;
	}
	return delete_before(w, cut, n_deleted);
}

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
	char wal[4096];
	struct stat sb;

	if (db_get_int(w->db, "PRAGMA page_count", &pages) != ST_OK ||
	    db_get_int(w->db, "PRAGMA freelist_count", &unused) != ST_OK ||
	    db_get_int(w->db, "PRAGMA page_size", &page_bytes) != ST_OK)
		pages = unused = 0;
	*db_bytes = (pages - unused) * page_bytes;
	(void)snprintf(wal, sizeof(wal), "%s-wal", w->path);
	*wal_bytes = stat(wal, &sb) == 0 ? (int64_t)sb.st_size : 0;
}

/* ---- reading --------------------------------------------------------------
 */

static enum status
prepare_reader(struct store_reader *r)
{
	enum status st = db_prepare(r->db, sql_page, &r->page);

	if (st == ST_OK)
		st = db_prepare(r->db, sql_newest, &r->newest);
	if (st == ST_OK)
		st = db_prepare(r->db, sql_bounds, &r->bounds);
	if (st == ST_OK)
		st = db_prepare(r->db, sql_channels, &r->channels);
	if (st == ST_OK)
		st = db_prepare(r->db, sql_channel_last, &r->tip);
	if (st == ST_OK)
		st = db_prepare(r->db, sql_link, &r->link);
	if (st == ST_OK)
		st = db_prepare(r->db, "PRAGMA data_version", &r->data_version);
	return st;
}

enum status
store_reader_open(struct store_reader **out, const struct store_options *o,
    struct errmsg *err)
{
	struct store_reader *r = calloc(1, sizeof(*r));
	enum status st;

	if (r == NULL)
		return ST_NOMEM;
	st = open_checked(&r->db, o, DB_READ, err);
	if (st == ST_OK) {
		st = prepare_reader(r);
		if (st != ST_OK)
			errmsg_set(err, "cannot read the log %s: %s", o->path,
			    db_error(r->db));
	}
	r->seen_version = -1;
	if (st != ST_OK) {
		store_reader_close(&r);
		return st;
	}
	*out = r;
	return ST_OK;
}

void
store_reader_close(struct store_reader **rp)
{
	struct store_reader *r = *rp;

	if (r == NULL)
		return;
	db_stmt_free(&r->page);
	db_stmt_free(&r->newest);
	db_stmt_free(&r->bounds);
	db_stmt_free(&r->channels);
	db_stmt_free(&r->tip);
	db_stmt_free(&r->link);
	db_stmt_free(&r->data_version);
	db_close(&r->db);
	free(r);
	*rp = NULL;
}

const char *
store_reader_error(struct store_reader *r)
{
	return db_error(r->db);
}

enum status
store_reader_bounds(struct store_reader *r, struct store_bounds *b)
{
	return read_bounds(r->bounds, b);
}

static enum status
examine_parts(struct store_reader *r, struct errmsg *err)
{
	struct db_stmt *s = NULL;
	enum status st = db_prepare(r->db, sql_missing_parts, &s);

	if (st == ST_OK)
		st = db_step(s);
	if (st == ST_OK && !db_col_null(s, 0)) {
		struct span names = db_col_text(s, 0);

		errmsg_set(err,
		    "the log lacks %.*s: somebody has dropped what guards and "
		    "links events; restore a backup, or move the log away and "
		    "run `walcast init`",
		    (int)names.len, names.p);
		st = ST_SCHEMA;
	}
	db_stmt_free(&s);
	return st;
}

static enum status
examine_mode(struct store_reader *r, struct errmsg *err)
{
	bool wal = false;
	enum status st = db_has_wal(r->db, &wal);

	if (st != ST_OK || wal)
		return st;
	errmsg_set(err,
	    "another program has set the log's journal_mode, so that readers "
	    "block publishers: restart pubd, which puts WAL back, and stop "
	    "that program's setting of it");
	return ST_SCHEMA;
}

static enum status
examine_ids(struct store_reader *r, struct errmsg *err)
{
	int64_t seq = 0;
	enum status st = db_get_int(r->db, sql_sequence, &seq);

	if (st != ST_OK || seq < MAX_ID)
		return st;
	errmsg_set(err,
	    "somebody has set sqlite_sequence to %" PRId64
	    ", so that there are no ids left. Run: UPDATE sqlite_sequence SET "
	    "seq = (SELECT coalesce(max(id), 0) FROM events) WHERE name = "
	    "'events'",
	    seq);
	return ST_SCHEMA;
}

enum status
store_reader_examine(struct store_reader *r, struct errmsg *err)
{
	enum status st = examine_parts(r, err);

	if (st == ST_OK)
		st = examine_mode(r, err);
	if (st == ST_OK)
		st = examine_ids(r, err);
	if (st != ST_OK && st != ST_SCHEMA)
		errmsg_set(err, "cannot read the log: %s", db_error(r->db));
	return st;
}

enum status
store_reader_changed(struct store_reader *r, bool *changed)
{
	enum status st = db_step(r->data_version);
	int64_t v;

	if (st != ST_OK)
		return st == ST_END ? ST_CORRUPT : st;
	v = db_col_int(r->data_version, 0);
	db_reset(r->data_version);
	*changed = v != r->seen_version;
	r->seen_version = v;
	return ST_OK;
}

enum status
store_reader_check(struct store_reader *r)
{
	return db_has_moved(r->db) ? ST_MOVED : ST_OK;
}

static void
event_head(struct db_stmt *s, struct store_event *e)
{
	memset(e, 0, sizeof(*e));
	e->id = db_col_int(s, 0);
	e->channel = db_col_text(s, 1);
	e->event = db_col_text(s, 2);
}

static void
event_body(struct db_stmt *s, struct store_event *e)
{
	e->ts_ms = db_col_int(s, 3);
	e->prev = db_col_int(s, 4);
	e->key = db_col_text(s, 5);
	e->trace = db_col_text(s, 6);
	if (db_col_null(s, 7))
		e->kind = STORE_DATA_UNKNOWN;
	else if (db_col_int(s, 7) != 0)
		e->kind = STORE_DATA_JSON;
	else
		e->kind = STORE_DATA_TEXT;
	e->data = db_col_text(s, 8);
}

static enum store_verdict
wanted(const struct store_page *p, const struct store_event *e)
{
	if (p->upto_id > 0 && e->id > p->upto_id)
		return STORE_STOP;
	return p->want == NULL ? STORE_TAKE : p->want(p->arg, e);
}

/* One row; false ends the page, with *st saying whether it failed. */
static bool
page_row(struct store_reader *r, struct store_page *p, enum status *st)
{
	struct store_event e;
	enum store_verdict v;

	event_head(r->page, &e);
	if (p->first_id == 0)
		p->first_id = e.id;
	v = wanted(p, &e);
	if (v == STORE_STOP)
		return false;
	if (v == STORE_TAKE) {
		event_body(r->page, &e);
		*st = p->take(p->arg, &e);
		if (*st != ST_OK) {
			if (*st == ST_FULL)
				*st = ST_OK;
			return false;
		}
	}
	p->scanned_id = e.id;
	p->n_rows++;
	return true;
}

enum status
store_read(struct store_reader *r, struct store_page *p)
{
	enum status st;

	p->first_id = 0;
	p->scanned_id = p->after_id;
	p->n_rows = 0;
	p->end = false;
	db_bind_int(r->page, 1, p->after_id);
	db_bind_int(r->page, 2, p->max_rows);
	while ((st = db_step(r->page)) == ST_OK)
		if (!page_row(r, p, &st))
			break;
	db_reset(r->page);
	if (st == ST_END) {
		p->end = p->n_rows < p->max_rows;
		return ST_OK;
	}
	return st;
}

enum status
store_newest(struct store_reader *r, struct store_page *p, int n,
    int64_t *position)
{
	struct store_event e;
	enum status st;
	int64_t at = p->upto_id;

	db_bind_int(r->newest, 1, p->max_rows);
	db_bind_int(r->newest, 2, p->upto_id > 0 ? p->upto_id : INT64_MAX);
	while (n > 0 && (st = db_step(r->newest)) == ST_OK) {
		event_head(r->newest, &e);
		if (p->want != NULL && p->want(p->arg, &e) != STORE_TAKE)
			continue;
		at = e.id - 1;
		n--;
	}
	db_reset(r->newest);
	if (n > 0 && st != ST_END)
		return st;
	*position = at;
	return ST_OK;
}

/* The newest id of a channel; 0: none. */
static enum status
newest_id(struct store_reader *r, struct span channel, int64_t *id)
{
	enum status st;

	db_bind_text(r->tip, 1, channel);
	st = db_step(r->tip);
	*id = st == ST_OK ? db_col_int(r->tip, 0) : 0;
	db_reset(r->tip);
	return st == ST_END ? ST_OK : st;
}

/*
 * Looks at the event *id: is it wanted?  Then *id is the one before it on its
 * channel, or 0: there is none, or retention has passed it.
 */
static enum status
follow_link(struct store_reader *r, const struct store_page *p,
    struct span channel, int64_t *id, bool *wanted)
{
	struct store_event e = {.id = *id, .channel = channel};
	enum status st;

	db_bind_int(r->link, 1, *id);
	st = db_step(r->link);
	*id = 0;
	*wanted = false;
	if (st == ST_OK) {
		int64_t prev = db_col_int(r->link, 1);

		e.event = db_col_text(r->link, 0);
		*wanted = (p->upto_id <= 0 || e.id <= p->upto_id) &&
		    (p->want == NULL || p->want(p->arg, &e) == STORE_TAKE);
		*id = prev < e.id ? prev : 0; /* a damaged one must not loop */
	}
	db_reset(r->link);
	return st == ST_END ? ST_OK : st;
}

static size_t
index_of_greatest(const int64_t *id, size_t n)
{
	size_t i, best = 0;

	for (i = 1; i < n; i++)
		if (id[i] > id[best])
			best = i;
	return best;
}

enum status
store_newest_of(struct store_reader *r, const struct span *name, size_t n_names,
    struct store_page *p, int n, int64_t *position)
{
	int64_t id[STORE_NAMES_MAX] = {0}, seen, at = p->upto_id;
	int rows = p->max_rows;
	enum status st = ST_OK;
	bool wanted;
	size_t i;

	assert(n_names <= STORE_NAMES_MAX);
	for (i = 0; st == ST_OK && i < n_names; i++)
		st = newest_id(r, name[i], &id[i]);
	while (st == ST_OK && n > 0) {
		i = index_of_greatest(id, n_names);
		seen = id[i];
		if (seen == 0)
			break; /* these are all */
		if (rows-- == 0)
			return ST_FULL;
		st = follow_link(r, p, name[i], &id[i], &wanted);
		if (!wanted)
			continue;
		at = seen - 1;
		n--;
	}
	if (st == ST_OK)
		*position = at;
	return st;
}

enum status
store_channels(struct store_reader *r,
    enum status (*fn)(void *arg, struct span name, int64_t last_id), void *arg)
{
	char after[NAME_MAX_BYTES];
	struct span from = SPAN("");
	enum status st;
	int n;

	do {
		db_bind_text(r->channels, 1, from);
		for (n = 0; (st = db_step(r->channels)) == ST_OK; n++) {
			struct span name = db_col_text(r->channels, 0);

			if (name.len > sizeof(after))
				name.len = sizeof(after);
			st = fn(arg, name, db_col_int(r->channels, 1));
			if (st != ST_OK)
				break;
			memcpy(after, name.p, name.len);
			from = span_of(after, name.len);
		}
		db_reset(r->channels);
	} while (st == ST_END && n > 0);
	return st == ST_END ? ST_OK : st;
}

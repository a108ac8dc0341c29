/* SPDX-License-Identifier: MIT */
/*
 * The log's writer: transactions that append.
 *
 * Invariants: ids come from AUTOINCREMENT alone; `prev` is read and the newest
 * id of a channel written once for each channel of a transaction; no statement
 * stays open between calls.  May block on the disk, never on a lock.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "hashtable.h"
#include "sql_text.h"
#include "store_private.h"

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

/* ---- opening ------------------------------------------------------------ */

#define WRITER_ROW(name, sql)  {&w->name, (sql)},
#define WRITER_FREE(name, sql) db_stmt_free(&w->name);

static enum status
prepare_writer(struct store_writer *w)
{
	const struct db_sql list[] = {STORE_WRITER_SQL(WRITER_ROW)};

	return db_prepare_all(w->db, list, sizeof(list) / sizeof(list[0]));
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
			     : store_open_db(&w->db, o, DB_WRITE, err);
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
	STORE_WRITER_SQL(WRITER_FREE)
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

enum status
store_writer_bounds(struct store_writer *w, struct store_bounds *b)
{
	return store_bounds_read(w->bounds, b);
}

/* ---- appending ---------------------------------------------------------- */

enum status
store_begin(struct store_writer *w)
{
	assert(w->tips == NULL);
	return db_run(w->begin);
}

/* The failure st of an append or commit: rolls back unless it may go on. */
static enum status
append_failed(struct store_writer *w, enum status st)
{
	if (st != ST_CONSTRAINT && st != ST_EXISTS)
		store_rollback(w);
	return st;
}

/* Finds a channel's tip; reads it the first time in a transaction. */
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
key_lookup(struct store_writer *w, struct event *e)
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

	return db_get_int(w->db, sql_sequence, &seq) == ST_OK &&
	    seq >= STORE_MAX_ID;
}

static enum status
insert_event(struct store_writer *w, struct event *e, struct tip *t)
{
	enum status st;

	db_bind_int(w->append, 1, e->ts_ms);
	db_bind_text(w->append, 2, e->channel);
	db_bind_text(w->append, 3, e->event);
	bind_optional(w->append, 4, e->key);
	bind_optional(w->append, 5, e->trace);
	db_bind_int(w->append, 6, t->last_id);
	if (e->kind == EVENT_DATA_UNKNOWN)
		db_bind_null(w->append, 7);
	else
		db_bind_int(w->append, 7, e->kind == EVENT_DATA_JSON);
	db_bind_text(w->append, 8, e->data);
	st = db_run(w->append);
	if (st == ST_NOSPACE && ids_are_spent(w))
		return ST_SCHEMA;
	if (st != ST_OK)
		return st;
	/*
	 * A column or index that another program added may say ON CONFLICT
	 * IGNORE: then nothing was stored, and an id was used up that only a
	 * rollback gives back.
	 */
	if (db_changes(w->db) != 1 || db_last_id(w->db) > STORE_MAX_ID)
		return ST_SCHEMA;
	e->id = db_last_id(w->db);
	e->prev = t->last_id;
	tip_move(w, t, e->id);
	return ST_OK;
}

enum status
store_append(struct store_writer *w, struct event *e)
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
		st = insert_event(w, e, t);
	return st == ST_OK ? ST_OK : append_failed(w, st);
}

enum status
store_group_begin(struct store_writer *w)
{
	enum status st = db_exec(w->db, "SAVEPOINT one");

	if (st != ST_OK)
		return append_failed(w, st);
	w->group++;
	return ST_OK;
}

enum status
store_group_end(struct store_writer *w)
{
	enum status st = db_exec(w->db, "RELEASE one");

	w->group++;
	return st == ST_OK ? ST_OK : append_failed(w, st);
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
	return st == ST_OK ? ST_OK : append_failed(w, st);
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
		st = db_run(w->tip_set);
	}
	if (st == ST_OK)
		st = db_run(w->commit);
	if (st != ST_OK) {
		store_rollback(w);
		return st;
	}
	tips_clear(w);
	w->group += 2;
	if (!db_has_moved(w->db) && db_check_wal(w->db) == ST_OK)
		return ST_OK;
	/* It went into a file that nobody will read any more. */
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

/* SPDX-License-Identifier: MIT */
/*
 * The log's reader: pages of events in the order of their ids.  No statement
 * stays open between calls.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sql_text.h"
#include "store_private.h"

#define READER_ROW(name, sql)  {&r->name, (sql)},
#define READER_FREE(name, sql) db_stmt_free(&r->name);

static enum status
prepare_reader(struct store_reader *r)
{
	const struct db_sql list[] = {STORE_READER_SQL(READER_ROW)};

	return db_prepare_all(r->db, list, sizeof(list) / sizeof(list[0]));
}

enum status
store_reader_open(struct store_reader **out, const struct store_options *o,
    struct errmsg *err)
{
	struct store_reader *r = calloc(1, sizeof(*r));
	enum status st;

	if (r == NULL)
		return ST_NOMEM;
	st = store_open_db(&r->db, o, DB_READ, err);
	if (st == ST_OK) {
		st = prepare_reader(r);
		if (st != ST_OK)
			errmsg_set(err, "cannot read the log %s: %s", o->path,
			    db_error(r->db));
	}
	r->data_version = -1;
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
	STORE_READER_SQL(READER_FREE)
	db_stmt_free(&r->revoked);
	db_close(&r->db);
	free(r);
	*rp = NULL;
}

enum status
store_check_reading(const char *path, struct errmsg *err)
{
	const struct store_options o = {.path = path};
	struct store_reader *r = NULL;
	enum status st = store_check_modes(path, err);

	if (st == ST_OK)
		st = store_reader_open(&r, &o, err);
	if (st == ST_OK)
		store_reader_close(&r);
	return st;
}

const char *
store_reader_error(struct store_reader *r)
{
	return db_error(r->db);
}

enum status
store_reader_bounds(struct store_reader *r, struct store_bounds *b)
{
	return store_bounds_read(r->bounds, b);
}

enum status
store_reader_changed(struct store_reader *r, bool *changed)
{
	return store_version_changed(r->version, &r->data_version, changed);
}

enum status
store_reader_check(struct store_reader *r)
{
	return db_has_moved(r->db) ? ST_MOVED : ST_OK;
}

enum status
store_bounds_of(const struct store_options *o, struct store_bounds *b,
    struct errmsg *err)
{
	struct store_reader *r = NULL;
	enum status st = store_reader_open(&r, o, err);

	if (st != ST_OK)
		return st;
	st = store_reader_bounds(r, b);
	if (st != ST_OK)
		errmsg_set(err, "cannot read the log %s: %s", o->path,
		    store_reader_error(r));
	store_reader_close(&r);
	return st;
}

/* ---- examining ---------------------------------------------------------- */

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

	if (st != ST_OK || seq < STORE_MAX_ID)
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

/* ---- pages -------------------------------------------------------------- */

void
event_head(struct db_stmt *s, struct event *e)
{
	memset(e, 0, sizeof(*e));
	e->id = db_col_int(s, 0);
	e->channel = db_col_text(s, 1);
	e->event = db_col_text(s, 2);
}

static void
event_body(struct db_stmt *s, struct event *e)
{
	e->ts_ms = db_col_int(s, 3);
	e->prev = db_col_int(s, 4);
	e->key = db_col_text(s, 5);
	e->trace = db_col_text(s, 6);
	if (db_col_null(s, 7))
		e->kind = EVENT_DATA_UNKNOWN;
	else if (db_col_int(s, 7) != 0)
		e->kind = EVENT_DATA_JSON;
	else
		e->kind = EVENT_DATA_TEXT;
	e->data = db_col_text(s, 8);
}

static enum store_verdict
row_verdict(const struct store_page *p, const struct event *e)
{
	if (p->upto_id > 0 && e->id > p->upto_id)
		return STORE_STOP;
	return p->want == NULL ? STORE_TAKE : p->want(p->arg, e);
}

/* One row; false ends the page, with *st saying whether it failed. */
static bool
page_row(struct store_reader *r, struct store_page *p, enum status *st)
{
	struct event e;
	enum store_verdict v;

	event_head(r->page, &e);
	if (p->first_id == 0)
		p->first_id = e.id;
	v = row_verdict(p, &e);
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

/* ---- channels ----------------------------------------------------------- */

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

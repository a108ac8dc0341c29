/* SPDX-License-Identifier: MIT */
/* Revocations in the log: written with their event, and looked up. */
#include <string.h>

#include "buf.h"
#include "sql_text.h"
#include "store_private.h"

#define DATA_MAX (8 * REVOCATION_MAX_VALUE) /* quoted, each byte escaped */

/* ---- writing ------------------------------------------------------------- */

static enum status
keep_revocation(struct store_writer *w, const struct revocation *r, int64_t id)
{
	enum status st;

	db_bind_text(w->revoke, 1, span_str(revocation_kind_name(r->kind)));
	db_bind_text(w->revoke, 2, r->value);
	db_bind_int(w->revoke, 3, r->at_ms);
	db_bind_int(w->revoke, 4, r->until_ms);
	db_bind_int(w->revoke, 5, id);
	st = db_run(w->revoke);
	if (st != ST_OK)
		return st;
	db_bind_int(w->forget_revoked, 1, r->at_ms);
	return db_run(w->forget_revoked);
}

/* A clock that was set back takes nothing back: the later time stays. */
static enum status
find_later(struct store_writer *w, struct revocation *r)
{
	enum status st;

	db_bind_text(w->revoked_at, 1, span_str(revocation_kind_name(r->kind)));
	db_bind_text(w->revoked_at, 2, r->value);
	st = db_step(w->revoked_at);
	if (st == ST_END)
		return ST_OK;
	if (st != ST_OK)
		return st;
	if (db_col_int(w->revoked_at, 0) > r->at_ms)
		r->at_ms = db_col_int(w->revoked_at, 0);
	db_reset(w->revoked_at);
	return ST_OK;
}

enum status
store_revoke(struct store_writer *w, const struct revocation *asked,
    struct event *e)
{
	struct revocation later = *asked, *r = &later;
	struct buf data;
	enum status st;

	buf_init(&data, DATA_MAX);
	st = find_later(w, r);
	if (st == ST_OK)
		st = revocation_encode(&data, r);
	if (st != ST_OK)
		store_rollback(w);
	if (st == ST_OK) {
		e->channel = SPAN(REVOCATION_CHANNEL);
		e->event = SPAN(REVOCATION_EVENT);
		e->key = SPAN_NONE;
		e->kind = EVENT_DATA_JSON;
		e->data = buf_span(&data);
		st = store_append(w, e);
	}
	if (st == ST_OK) {
		st = keep_revocation(w, r, e->id);
		if (st != ST_OK)
			store_rollback(w);
	}
	e->data = SPAN_NONE;
	buf_fini(&data);
	return st;
}

/* ---- looking up ---------------------------------------------------------- */

/* ST_NOTFOUND: a log of version 1 has no table for them. */
static enum status
prepare_look_up(struct store_reader *r)
{
	int64_t n = 0;
	enum status st;

	if (r->revoked != NULL)
		return ST_OK;
	st = db_get_int(r->db, sql_has_revocations, &n);
	if (st != ST_OK || n == 0)
		return st == ST_OK ? ST_NOTFOUND : st;
	return db_prepare(r->db, sql_revoked, &r->revoked);
}

enum status
store_revoked(struct store_reader *r, enum revocation_kind kind,
    struct span value, int64_t *at_ms)
{
	enum status st = prepare_look_up(r);

	if (st != ST_OK)
		return st;
	db_bind_text(r->revoked, 1, span_str(revocation_kind_name(kind)));
	db_bind_text(r->revoked, 2, value);
	st = db_step(r->revoked);
	if (st == ST_END)
		return ST_NOTFOUND;
	if (st == ST_OK) {
		*at_ms = db_col_int(r->revoked, 0);
		db_reset(r->revoked);
	}
	return st;
}

/* ---- all of them --------------------------------------------------------- */

static bool
kind_named(struct span name, enum revocation_kind *kind)
{
	int k;

	for (k = 0; k < REVOKE_KIND_COUNT; k++)
		if (span_eq(name,
			span_str(
			    revocation_kind_name((enum revocation_kind)k)))) {
			*kind = (enum revocation_kind)k;
			return true;
		}
	return false;
}

struct revoked_place {
	char kind[16], value[REVOCATION_MAX_VALUE];
	size_t kind_len, value_len;
};

static void
move_place(struct revoked_place *p, struct span kind, struct span value)
{
	p->kind_len = kind.len < sizeof(p->kind) ? kind.len : sizeof(p->kind);
	p->value_len = value.len < sizeof(p->value) ? value.len
						    : sizeof(p->value);
	memcpy(p->kind, kind.p, p->kind_len);
	memcpy(p->value, value.p, p->value_len);
}

/* A page behind the place; *n rows. */
static enum status
tell_page(struct db_stmt *s, struct revoked_place *at, int *n,
    enum status (*fn)(void *arg, const struct revocation *v, int64_t id),
    void *arg)
{
	struct revoked_place from = *at;
	enum status st;

	db_bind_text(s, 1, span_of(from.kind, from.kind_len));
	db_bind_text(s, 2, span_of(from.value, from.value_len));
	for (*n = 0; (st = db_step(s)) == ST_OK; (*n)++) {
		struct revocation v = {.value = db_col_text(s, 1),
		    .at_ms = db_col_int(s, 2),
		    .until_ms = db_col_int(s, 3)};

		if (kind_named(db_col_text(s, 0), &v.kind))
			st = fn(arg, &v, db_col_int(s, 4));
		if (st != ST_OK)
			break;
		move_place(at, db_col_text(s, 0), v.value);
	}
	db_reset(s);
	return st;
}

enum status
store_revocations(struct store_reader *r,
    enum status (*fn)(void *arg, const struct revocation *v, int64_t id),
    void *arg)
{
	struct revoked_place at = {.kind_len = 0};
	struct db_stmt *s = NULL;
	enum status st = prepare_look_up(r);
	int n;

	if (st != ST_OK)
		return st == ST_NOTFOUND ? ST_OK : st;
	st = db_prepare(r->db, sql_revocations, &s);
	if (st != ST_OK)
		return st;
	do
		st = tell_page(s, &at, &n, fn, arg);
	while (st == ST_END && n > 0);
	db_stmt_free(&s);
	return st == ST_END ? ST_OK : st;
}

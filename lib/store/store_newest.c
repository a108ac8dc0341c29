/* SPDX-License-Identifier: MIT */
/*
 * Finds the position that the newest n wanted events follow: by reading all
 * rows from the end, or along the links of each channel.
 */
#include <assert.h>

#include "store_private.h"

enum status
store_newest(struct store_reader *r, struct store_page *p, int n,
    int64_t *position)
{
	struct event e;
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
 * Tells whether the event *id is wanted.  Sets *id to the one before it on its
 * channel, or to 0: there is none, or it is not retained.
 */
static enum status
follow_link(struct store_reader *r, const struct store_page *p,
    struct span channel, int64_t *id, bool *wanted)
{
	struct event e = {.id = *id, .channel = channel};
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

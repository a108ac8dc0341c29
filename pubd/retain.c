/* SPDX-License-Identifier: MIT */
/*
 * Retention: looked at after every TRIM_ROWS new events and every second.
 * One transaction deletes somewhat more rows than came in, so that it keeps
 * up with any rate and catches up slowly; when the loop is idle it goes on
 * at once.
 */
#include "retain.h"

#include <stdbool.h>

#include "conf.h"
#include "keeper.h"
#include "store.h"

#define TRIM_ROWS        1000
#define TRIM_ROWS_MAX    10000
#define LOOK_US          1000000
#define GO_ON_US         2000
#define BUSY_US          50000
#define CHECKPOINT_PAGES 1000

static int
rows_for(size_t n_new)
{
	size_t n = n_new + n_new / 4;

	if (n < TRIM_ROWS)
		return TRIM_ROWS;
	return n > TRIM_ROWS_MAX ? TRIM_ROWS_MAX : (int)n;
}

static int
trim(struct retain *r, struct keeper *k, const struct conf *c, uint64_t now_us,
    int64_t now_ms)
{
	struct store_retain rule = {.max_events = c->retain_events,
	    .max_bytes = c->retain_bytes,
	    .max_rows = rows_for(r->n_new)};
	bool more = false;
	int n = 0;
	enum status st;

	if (c->retain_age_s > 0)
		rule.min_ts_ms = now_ms - c->retain_age_s * 1000;
	st = store_trim(k->writer, &rule, &n, &more);
	r->n_new = 0;
	r->no_room = st == ST_NOSPACE || (k->full && n > 0);
	if (st != ST_OK)
		keeper_failed(k, st, now_us);
	if (st == ST_BUSY)
		r->due_us = now_us + BUSY_US;
	else
		r->due_us = now_us + (more ? GO_ON_US : LOOK_US);
	/* By bytes there is no telling how many rows are enough. */
	if (st == ST_OK && n == rule.max_rows)
		r->due_us = now_us + GO_ON_US;
	return n;
}

static void
checkpoint(struct retain *r, struct keeper *k, uint64_t now_us)
{
	/* On a full disk an emptied WAL is the room left to go on in. */
	int pages = r->no_room ? 0 : CHECKPOINT_PAGES + r->left_pages;
	enum status st = store_checkpoint(k->writer, pages, &r->left_pages);

	if (st != ST_OK)
		keeper_failed(k, st, now_us);
}

int
retain_run(struct retain *r, struct keeper *k, const struct conf *c,
    size_t n_new, uint64_t now_us, int64_t now_ms)
{
	int n = 0;

	r->n_new += n_new;
	if (k->writer == NULL)
		return 0;
	if (r->n_new >= TRIM_ROWS || now_us >= r->due_us)
		n = trim(r, k, c, now_us, now_ms);
	if (k->writer != NULL)
		checkpoint(r, k, now_us);
	return n;
}

uint64_t
retain_due_us(const struct retain *r)
{
	return r->due_us;
}

/* SPDX-License-Identifier: MIT */
/*
 * The tail of the log.  Owns the place up to which the hub has it.  Blocks on
 * the disk only, for a bounded page at a time.
 */
#include "tail.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"

#define PAGE_ROWS      512
#define PAGES_A_TURN   16
#define CATCH_UP_TURNS 64
#define PREFILL_EVENTS 16384

struct tail {
	struct hub *hub;
	struct log_reader *log;
	bool awake;       /* look for rows in the next turn */
	bool full;        /* the hub wants to dispatch before more */
	bool locked;      /* not now: look again at the next poll */
	int64_t hole_end; /* the id behind a hole that is no loss; or 0 */
	bool started;     /* what is read from now on is new */
	uint64_t n_missing;
};

/* ---- is it the same log? ----------------------------------------------- */

/*
 * Is this still the log that the hub knows?  If not, its streams begin anew in
 * another epoch, and are told.
 */
static void
compare_log(struct tail *t, const struct store_bounds *b)
{
	const struct store_bounds *old = hub_bounds(t->hub);

	if (strcmp(b->generation, old->generation) != 0) {
		log_warnx("the log has generation %s now, before %s: all "
			  "streams go on from event %lld",
		    b->generation, old->generation, (long long)b->oldest);
		hub_new_epoch(t->hub, b, GAP_GENERATION);
	} else if (b->head < hub_head(t->hub)) {
		log_warnx("the log has gone back to event %lld, before %lld: "
			  "all streams go on from event %lld",
		    (long long)b->head, (long long)hub_head(t->hub),
		    (long long)b->oldest);
		hub_new_epoch(t->hub, b, GAP_AHEAD);
	} else {
		hub_set_bounds(t->hub, b);
	}
}

enum status
tail_refresh(struct tail *t)
{
	struct store_bounds b;
	enum status st = log_reader_bounds(t->log, &b);

	if (st == ST_OK)
		compare_log(t, &b);
	return st;
}

/* ---- what the reader tells --------------------------------------------- */

static void
on_changed(void *arg)
{
	struct tail *t = arg;

	t->awake = true;
}

static void
on_reopened(void *arg, const struct store_bounds *b)
{
	struct tail *t = arg;

	compare_log(t, b);
	t->awake = true;
}

void
tail_wake(struct tail *t)
{
	t->awake = true;
}

/* ---- reading rows ------------------------------------------------------ */

/*
 * Hands one row to the hub; for store_page.  ST_FULL ends the page: the hub
 * wants to dispatch, or ids are missing before this row and somebody has to
 * find out why (look_into_hole) before it is passed.
 */
static enum status
tail_take_row(void *arg, const struct event *e)
{
	struct tail *t = arg;

	if (t->full)
		return ST_FULL;
	if (e->id - 1 != hub_head(t->hub) && e->id != t->hole_end)
		return ST_FULL;
	if (t->started)
		t->n_missing += (uint64_t)(e->id - 1 - hub_head(t->hub));
	t->full = !hub_take(t->hub, e);
	return ST_OK;
}

/*
 * The row after our head, `first_id`, is not the next.  Either retention has
 * passed us, or the ids between were never used.
 */
static enum status
look_into_hole(struct tail *t, int64_t first_id)
{
	struct store_bounds b;
	enum status st = log_reader_bounds(t->log, &b);

	if (st != ST_OK)
		return st;
	if (b.oldest - 1 > hub_head(t->hub))
		hub_skip(t->hub, b.oldest - 1);
	else
		t->hole_end = first_id;
	return ST_OK;
}

/* Something changed: is it still the same log, and is our place in it? */
static enum status
look_at_log(struct tail *t)
{
	enum status st = tail_refresh(t);
	int64_t oldest = hub_bounds(t->hub)->oldest;

	if (st == ST_OK && oldest - 1 > hub_head(t->hub))
		hub_skip(t->hub, oldest - 1);
	return st;
}

/* One page; *more tells that the next may have rows. */
static enum status
tail_read_page(struct tail *t, bool *more)
{
	struct store_page p = {.after_id = hub_head(t->hub),
	    .max_rows = PAGE_ROWS,
	    .take = tail_take_row,
	    .arg = t};
	enum status st;

	t->full = false;
	st = log_reader_read(t->log, &p);
	t->hole_end = 0;
	hub_dispatch(t->hub);
	*more = !p.end;
	if (st != ST_OK || p.n_rows > 0)
		return st;
	return p.first_id != 0 ? look_into_hole(t, p.first_id) : ST_OK;
}

/* True: there is more to read. */
static bool
tail_read_pages(struct tail *t)
{
	bool more = true;
	enum status st = look_at_log(t);
	int i;

	for (i = 0; st == ST_OK && more && i < PAGES_A_TURN; i++)
		st = tail_read_page(t, &more);
	/* UNTESTED: a reader of a WAL is locked out in its recovery only */
	t->locked = st == ST_BUSY || st == ST_NOMEM;
	return t->locked || (st == ST_OK && more);
}

bool
tail_turn(struct tail *t)
{
	if (t->awake && log_reader_is_open(t->log))
		t->awake = tail_read_pages(t);
	return t->awake && !t->locked && log_reader_is_open(t->log);
}

void
tail_catch_up(struct tail *t, int64_t id)
{
	int i;

	for (i = 0; i < CATCH_UP_TURNS && log_reader_is_open(t->log) &&
	     hub_head(t->hub) < id;
	     i++) {
		t->awake = tail_read_pages(t);
		if (!t->awake)
			break;
	}
}

/* ---- the start --------------------------------------------------------- */

static enum status
start_tail(struct tail *t, bool prefill, struct errmsg *err)
{
	struct store_bounds b;
	int64_t base;
	enum status st = log_reader_open(t->log, &b, err);

	if (st != ST_OK)
		return st;
	base = b.head;
	if (prefill)
		base = b.head - b.oldest < PREFILL_EVENTS
		    ? b.oldest - 1
		    : b.head - PREFILL_EVENTS;
	hub_reset(t->hub, &b, base);
	tail_catch_up(t, b.head);
	/* What could not be read is older than every stream. */
	if (hub_head(t->hub) < b.head)
		hub_reset(t->hub, &b, b.head);
	t->started = true;
	return ST_OK;
}

enum status
tail_new(struct tail **out, struct hub *h, struct log_reader *log, bool prefill,
    struct errmsg *err)
{
	struct tail *t = calloc(1, sizeof(*t));
	const struct log_reader_follower follower = {.changed = on_changed,
	    .reopened = on_reopened,
	    .arg = t};
	enum status st;

	if (t == NULL)
		return ST_NOMEM;
	t->hub = h;
	t->log = log;
	st = start_tail(t, prefill, err);
	if (st != ST_OK) {
		free(t);
		return st;
	}
	log_reader_follow(log, &follower);
	*out = t;
	return ST_OK;
}

void
tail_free(struct tail **t)
{
	if (*t == NULL)
		return;
	log_reader_follow((*t)->log, NULL);
	free(*t);
	*t = NULL;
}

uint64_t
tail_n_missing(const struct tail *t)
{
	return t->n_missing;
}

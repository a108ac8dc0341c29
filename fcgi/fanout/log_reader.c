/* SPDX-License-Identifier: MIT */
/*
 * The worker's reader of the log.  Owns the store's reader and the timer that
 * polls it while it is open and tries again while it is not.  Blocks on the
 * disk, for one call at a time; in log_reader_open on the lock, too.
 */
#include "log_reader.h"

#include <stdlib.h>

#include "log.h"
#include "store_keep.h"

#define PATIENCE_US  2000000 /* at the start: there is nothing else to do */
#define RETRY_MIN_US 200000  /* pubd goes first: it may have to mend it */
#define RETRY_MAX_US 2000000

struct log_reader {
	struct loop *loop;
	const struct conf *conf;
	struct store_keep keep;
	struct timer tick;
	struct log_reader_follower follower;
	struct log_gate gate;
	struct log_state away; /* it cannot be opened again */
	uint64_t n_errors;
};

static void
log_reader_tick_at(struct log_reader *r, uint64_t at_us)
{
	/* It was set once, so its place in the heap is kept. */
	status_ignore(timer_set(r->loop, &r->tick, at_us));
}

static uint64_t
next_poll_us(const struct log_reader *r)
{
	return loop_now_us(r->loop) + (uint64_t)r->conf->tail_poll_ms * 1000;
}

/* What every call on the store's reader ends with. */
static enum status
log_reader_judge(struct log_reader *r, enum status st)
{
	uint64_t now_us = loop_now_us(r->loop);
	struct errmsg why = {""};

	if (!store_keep_failed(&r->keep, st, now_us, &why))
		return st;
	r->n_errors++;
	if (log_gate(&r->gate, now_us))
		log_warnx("the log %s cannot be read (%s: %s): streams stay "
			  "open, trying again",
		    r->conf->database, status_name(st), why.text);
	log_reader_tick_at(r, r->keep.retry_us);
	return st;
}

/* ---- the timer --------------------------------------------------------- */

static void
try_again(struct log_reader *r, uint64_t now_us)
{
	struct errmsg err = {""};
	struct store_bounds b;
	enum status st = store_keep_retry(&r->keep, now_us, &b, &err);

	if (st != ST_OK) {
		if (log_state(&r->away, (int)st, now_us))
			log_warnx("still without the log: %s", err.text);
		log_reader_tick_at(r, r->keep.retry_us);
		return;
	}
	log_state_over(&r->away);
	log_info("the log %s is back", r->conf->database);
	log_reader_tick_at(r, next_poll_us(r));
	if (r->follower.reopened != NULL)
		r->follower.reopened(r->follower.arg, &b);
}

static void
poll_log(struct log_reader *r)
{
	bool changed = false;
	enum status st = log_reader_judge(r,
	    store_keep_look(&r->keep, &changed));

	if (log_reader_is_open(r))
		log_reader_tick_at(r, next_poll_us(r));
	if (st == ST_OK && changed && r->follower.changed != NULL)
		r->follower.changed(r->follower.arg);
}

static void
log_reader_tick(struct timer *t, uint64_t now_us)
{
	struct log_reader *r = OWNER_OF(t, struct log_reader, tick);

	if (log_reader_is_open(r))
		poll_log(r);
	else
		try_again(r, now_us);
}

/* ---- its life ---------------------------------------------------------- */

enum status
log_reader_new(struct log_reader **out, struct loop *l, const struct conf *c)
{
	const struct store_options o = {.path = c->database};
	struct log_reader *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return ST_NOMEM;
	r->loop = l;
	r->conf = c;
	r->keep = STORE_KEEP(o, RETRY_MIN_US, RETRY_MAX_US);
	r->keep.check_modes = true;
	r->tick.fn = log_reader_tick;
	*out = r;
	return ST_OK;
}

void
log_reader_free(struct log_reader **rp)
{
	struct log_reader *r = *rp;

	if (r == NULL)
		return;
	timer_cancel(r->loop, &r->tick);
	store_keep_fini(&r->keep);
	free(r);
	*rp = NULL;
}

enum status
log_reader_open(struct log_reader *r, struct store_bounds *b,
    struct errmsg *err)
{
	enum status st = store_keep_start(&r->keep, b, PATIENCE_US, err);

	if (st != ST_OK)
		return st;
	st = timer_set(r->loop, &r->tick, next_poll_us(r));
	if (st != ST_OK)
		store_keep_fini(&r->keep);
	return st;
}

void
log_reader_follow(struct log_reader *r, const struct log_reader_follower *f)
{
	r->follower = (struct log_reader_follower){0};
	if (f != NULL)
		r->follower = *f;
}

bool
log_reader_is_open(const struct log_reader *r)
{
	return r->keep.reader != NULL;
}

uint64_t
log_reader_n_errors(const struct log_reader *r)
{
	return r->n_errors;
}

/* ---- reading ----------------------------------------------------------- */

enum status
log_reader_bounds(struct log_reader *r, struct store_bounds *b)
{
	if (!log_reader_is_open(r))
		return ST_NOTFOUND;
	return log_reader_judge(r, store_reader_bounds(r->keep.reader, b));
}

enum status
log_reader_read(struct log_reader *r, struct store_page *page)
{
	if (!log_reader_is_open(r))
		return ST_NOTFOUND;
	return log_reader_judge(r, store_read(r->keep.reader, page));
}

enum status
log_reader_newest(struct log_reader *r, struct store_page *page, int n,
    int64_t *position)
{
	if (!log_reader_is_open(r))
		return ST_NOTFOUND;
	return log_reader_judge(r,
	    store_newest(r->keep.reader, page, n, position));
}

enum status
log_reader_newest_of(struct log_reader *r, const struct span *name,
    size_t n_names, struct store_page *page, int n, int64_t *position)
{
	enum status st;

	if (!log_reader_is_open(r))
		return ST_NOTFOUND;
	st = store_newest_of(r->keep.reader, name, n_names, page, n, position);
	/* An answer, not a failure: they were not found in so many rows. */
	return st == ST_FULL ? st : log_reader_judge(r, st);
}

enum status
log_reader_revoked(struct log_reader *r, enum revocation_kind kind,
    struct span value, int64_t *at_ms)
{
	enum status st;

	if (!log_reader_is_open(r))
		return ST_IO; /* it is away: nobody knows */
	st = store_revoked(r->keep.reader, kind, value, at_ms);
	if (st == ST_OK || st == ST_NOTFOUND)
		return st;
	st = log_reader_judge(r, st);
	return st == ST_NOTFOUND ? ST_IO : st;
}

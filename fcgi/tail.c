/* SPDX-License-Identifier: MIT */
/*
 * The tail of the log.  Owns the store's reader and opens it again when the
 * store went away; streams stay open meanwhile.  Blocks on the disk only, for
 * a bounded page at a time.
 */
#include "tail.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"

#define PAGE_ROWS      512
#define PAGES_A_TURN   16
#define CATCH_UP_TURNS 64
#define PREFILL_EVENTS 16384
#define START_TRIES    100
#define START_PAUSE_NS 20000000
#define RETRY_MIN_US   200000 /* pubd goes first: it may have to mend it */
#define RETRY_MAX_US   2000000

struct tail {
	struct loop *loop;
	struct hub *hub;
	struct replay *replay;
	const struct conf *conf;
	struct store_reader *store; /* NULL while it is away */
	struct timer tick;
	uint64_t retry_us; /* back-off of opening it again */
	bool awake;        /* look for rows in the next turn */
	bool full;         /* the hub wants to dispatch before more */
	bool locked;       /* not now: look again at the next tick */
	int64_t hole_end;  /* the id behind a hole that is no loss; or 0 */
	bool started;      /* what is read from now on is new */
	uint64_t n_errors, n_missing;
	struct log_gate gate;
};

static uint64_t
poll_us(const struct tail *t)
{
	return (uint64_t)t->conf->tail_poll_ms * 1000;
}

static void
tick_in(struct tail *t, uint64_t us)
{
	status_ignore(timer_set(t->loop, &t->tick,
	    loop_now_us(t->loop) + us)); /* the timer is in the heap */
}

/* The store failed: close it and try again later. */
static void
lose_store(struct tail *t, enum status st)
{
	t->n_errors++;
	if (log_gate(&t->gate, loop_now_us(t->loop)))
		log_warnx("the log %s cannot be read (%s: %s): streams stay "
			  "open, trying again",
		    t->conf->database, status_name(st),
		    st == ST_MOVED ? "a file of it was replaced or deleted"
				   : store_reader_error(t->store));
	store_reader_close(&t->store);
	t->retry_us = RETRY_MIN_US;
	tick_in(t, t->retry_us);
}

/* A failure that may pass by itself is not worth closing for. */
static bool
failed(struct tail *t, enum status st)
{
	if (st == ST_OK)
		return false;
	if (st != ST_BUSY && st != ST_NOMEM)
		lose_store(t, st);
	return true;
}

static enum status
open_store(struct tail *t, struct errmsg *err)
{
	struct store_options o = {.path = t->conf->database};
	enum status st = store_check_modes(t->conf->database, err);

	return st == ST_OK ? store_reader_open(&t->store, &o, err) : st;
}

/*
 * At start: a writer that recovers or sets up the WAL holds the lock for a
 * moment, and this process has nothing else to do.
 */
static enum status
open_patiently(struct tail *t, struct store_bounds *b, struct errmsg *err)
{
	const struct timespec pause = {.tv_nsec = START_PAUSE_NS};
	enum status st = ST_BUSY;
	int i;

	for (i = 0; st == ST_BUSY && i < START_TRIES; i++) {
		if (i > 0)
			(void)nanosleep(&pause, NULL);
		st = t->store == NULL ? open_store(t, err) : ST_OK;
		if (st != ST_OK)
			continue;
		st = store_reader_bounds(t->store, b);
		if (st != ST_OK)
			errmsg_set(err, "cannot read the log %s: %s",
			    t->conf->database, store_reader_error(t->store));
	}
	return st;
}

/* Is the log that was opened, or asked, the one that the hub knows? */
static void
compare_log(struct tail *t, const struct store_bounds *b)
{
	const struct store_bounds *old = hub_bounds(t->hub);

	if (strcmp(b->generation, old->generation) != 0) {
		log_warnx("the log has generation %s now, before %s: all "
			  "streams go on from event %lld",
		    b->generation, old->generation, (long long)b->oldest);
		replay_reset(t->replay);
		hub_new_epoch(t->hub, b, GAP_GENERATION);
	} else if (b->head < hub_head(t->hub)) {
		log_warnx("the log has gone back to event %lld, before %lld: "
			  "all streams go on from event %lld",
		    (long long)b->head, (long long)hub_head(t->hub),
		    (long long)b->oldest);
		replay_reset(t->replay);
		hub_new_epoch(t->hub, b, GAP_AHEAD);
	} else {
		hub_set_bounds(t->hub, b);
	}
}

enum status
tail_refresh(struct tail *t)
{
	struct store_bounds b;
	enum status st;

	if (t->store == NULL)
		return ST_NOTFOUND;
	st = store_reader_bounds(t->store, &b);
	if (failed(t, st))
		return st;
	compare_log(t, &b);
	return ST_OK;
}

/* After the store was away. */
static void
reopen(struct tail *t)
{
	struct errmsg err = {""};
	enum status st = open_store(t, &err);

	if (st == ST_OK && tail_refresh(t) == ST_OK) {
		log_info("the log %s is back", t->conf->database);
		t->awake = true;
		tick_in(t, poll_us(t));
		return;
	}
	if (log_gate(&t->gate, loop_now_us(t->loop)))
		log_warnx("still without the log: %s", err.text);
	t->retry_us *= 2;
	if (t->retry_us > RETRY_MAX_US)
		t->retry_us = RETRY_MAX_US;
	tick_in(t, t->retry_us);
}

static void
on_tick(struct timer *timer, uint64_t now_us)
{
	struct tail *t = OWNER_OF(timer, struct tail, tick);
	bool changed = false;

	(void)now_us;
	if (t->store == NULL) {
		reopen(t);
		return;
	}
	if (failed(t, store_reader_check(t->store)) ||
	    failed(t, store_reader_changed(t->store, &changed))) {
		if (t->store != NULL)
			tick_in(t, poll_us(t));
		return;
	}
	if (changed)
		t->awake = true;
	tick_in(t, poll_us(t));
}

void
tail_wake(struct tail *t)
{
	t->awake = true;
}

static enum status
take(void *arg, const struct store_event *e)
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
	enum status st = store_reader_bounds(t->store, &b);

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
read_page(struct tail *t, bool *more)
{
	struct store_page p = {.after_id = hub_head(t->hub),
	    .max_rows = PAGE_ROWS,
	    .take = take,
	    .arg = t};
	enum status st;

	t->full = false;
	st = store_read(t->store, &p);
	t->hole_end = 0;
	hub_dispatch(t->hub);
	*more = !p.end;
	if (st != ST_OK || p.n_rows > 0)
		return st;
	return p.first_id != 0 ? look_into_hole(t, p.first_id) : ST_OK;
}

static bool
drain(struct tail *t)
{
	bool more = true;
	enum status st = look_at_log(t);
	int i;

	for (i = 0; st == ST_OK && more && i < PAGES_A_TURN; i++)
		st = read_page(t, &more);
	/* UNTESTED: a reader of a WAL is locked out in its recovery only */
	t->locked = st == ST_BUSY || st == ST_NOMEM;
	if (t->locked)
		return true;
	if (t->store == NULL || failed(t, st))
		return false;
	return more;
}

bool
tail_turn(struct tail *t)
{
	bool more_pages = false;

	if (t->awake && t->store != NULL)
		t->awake = drain(t);
	hub_serve(t->hub);
	if (t->store != NULL && hub_first_paging(t->hub) != NULL &&
	    failed(t, replay_turn(t->replay, t->store, &more_pages)))
		more_pages = false;
	return (t->awake && t->store != NULL && !t->locked) || more_pages ||
	    hub_busy(t->hub);
}

void
tail_catch_up(struct tail *t, int64_t id)
{
	int i;

	for (i = 0;
	     i < CATCH_UP_TURNS && t->store != NULL && hub_head(t->hub) < id;
	     i++) {
		t->awake = drain(t);
		if (!t->awake)
			break;
	}
}

enum status
tail_newest(struct tail *t, const struct sub *sub, int n, int64_t *position)
{
	enum status st;

	if (t->store == NULL)
		return ST_NOTFOUND;
	st = replay_newest(t->replay, t->store, sub, n, position);
	return failed(t, st) ? st : ST_OK;
}

static enum status
start(struct tail *t, bool prefill, struct errmsg *err)
{
	struct store_bounds b;
	int64_t base;
	enum status st = open_patiently(t, &b, err);

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
	return timer_set(t->loop, &t->tick, loop_now_us(t->loop) + poll_us(t));
}

enum status
tail_new(struct tail **out, struct loop *l, struct hub *h, const struct conf *c,
    bool prefill, struct errmsg *err)
{
	struct tail *t = calloc(1, sizeof(*t));
	enum status st;

	if (t == NULL)
		return ST_NOMEM;
	t->loop = l;
	t->hub = h;
	t->conf = c;
	t->tick.fn = on_tick;
	t->retry_us = RETRY_MIN_US;
	st = replay_new(&t->replay, h);
	if (st == ST_OK)
		st = start(t, prefill, err);
	if (st != ST_OK) {
		tail_free(&t);
		return st;
	}
	*out = t;
	return ST_OK;
}

void
tail_free(struct tail **tp)
{
	struct tail *t = *tp;

	if (t == NULL)
		return;
	timer_cancel(t->loop, &t->tick);
	replay_free(&t->replay);
	store_reader_close(&t->store);
	free(t);
	*tp = NULL;
}

bool
tail_is_open(const struct tail *t)
{
	return t->store != NULL;
}

uint64_t
tail_n_pages(const struct tail *t)
{
	return replay_n_pages(t->replay);
}

uint64_t
tail_n_missing(const struct tail *t)
{
	return t->n_missing;
}

uint64_t
tail_n_errors(const struct tail *t)
{
	return t->n_errors;
}

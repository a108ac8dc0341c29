/* SPDX-License-Identifier: MIT */
/*
 * Retention runs after every TRIM_ROWS new events and every second.  One
 * transaction deletes somewhat more rows than came in, so that it keeps up with
 * any rate and catches up slowly; when the loop is idle it goes on at once.
 */
#include "retain.h"

#include <stdbool.h>

#include "clock.h"
#include "conf.h"
#include "log.h"
#include "log_writer.h"
#include "store.h"

#define TRIM_ROWS        1000
#define TRIM_ROWS_MAX    10000
#define LOOK_US          1000000
#define GO_ON_US         2000
#define BUSY_US          50000
#define CHECKPOINT_PAGES 1000
#define BLOCKED_PAGES    (10 * CHECKPOINT_PAGES) /* is worth a line */

static int
rows_for(size_t n_new)
{
	size_t n = n_new + n_new / 4;

	if (n < TRIM_ROWS)
		return TRIM_ROWS;
	return n > TRIM_ROWS_MAX ? TRIM_ROWS_MAX : (int)n;
}

static void
retain_trim(struct retain *r, struct log_writer *k, const struct conf *c,
    uint64_t now_us, int64_t now_ms)
{
	struct store_retain rule = {.max_events = c->retain_events,
	    .max_bytes = c->retain_bytes,
	    .max_rows = rows_for(r->n_new),
	    .now_ms = now_ms};
	bool more = false;
	int n = 0;
	enum status st;

	if (c->retain_age_s > 0)
		rule.min_ts_ms = now_ms - c->retain_age_s * 1000;
	st = log_writer_trim(k, &rule, now_us, &n, &more);
	r->n_new = 0;
	r->n_trimmed += (uint64_t)n;
	r->n_untold += (uint64_t)n;
	r->no_room = st == ST_NOSPACE || (log_writer_is_full(k) && n > 0);
	if (st == ST_BUSY)
		r->due_us = now_us + BUSY_US;
	else
		r->due_us = now_us + (more ? GO_ON_US : LOOK_US);
	/* For a limit in bytes nobody knows how many rows are enough. */
	if (st == ST_OK && n == rule.max_rows)
		r->due_us = now_us + GO_ON_US;
}

static void
run_trim(struct retain *r, struct log_writer *k, const struct conf *c,
    uint64_t now_us, int64_t now_ms)
{
	uint64_t from_us = clock_mono_us();

	retain_trim(r, k, c, now_us, now_ms);
	r->n_runs++;
	r->run_us += clock_mono_us() - from_us;
}

static void
tell_trimmed(struct retain *r, struct log_writer *k, uint64_t now_us)
{
	if (r->n_untold == 0 || !log_state(&r->trimmed, 0, now_us))
		return;
	if (log_writer_bounds(k, now_us) != ST_OK) {
		log_state_over(&r->trimmed); /* nothing has been told */
		return;
	}
	LOG_EVENT(LOG_INFO_, "retention.trim", LOG_INT("events", r->n_untold),
	    LOG_INT("oldest", log_writer_seen(k)->oldest));
	r->n_untold = 0;
}

static void
tell_blocked(struct retain *r, uint64_t now_us)
{
	if (r->left_pages <= BLOCKED_PAGES ||
	    !log_state(&r->blocked, 0, now_us))
		return;
	LOG_EVENT(LOG_WARN_, "checkpoint.blocked",
	    LOG_INT("pages", r->left_pages),
	    LOG_STR("message",
		SPAN("a program reads the log in one long transaction, so "
		     "that its -wal file grows: end that one")));
}

static void
checkpoint(struct retain *r, struct log_writer *k, uint64_t now_us)
{
	bool retry = r->left_pages > 0 && now_us >= r->retry_us;
	/* On a full disk, an emptied WAL is the only room left to go on. */
	int left,
	    pages = r->no_room || retry ? 0 : CHECKPOINT_PAGES + r->left_pages;

	if (log_writer_checkpoint(k, pages, now_us, &left) != ST_OK || left < 0)
		return;
	r->left_pages = left;
	r->retry_us = now_us + LOOK_US;
	r->n_checkpoints++;
	r->n_blocked += left > 0 ? 1 : 0;
	tell_blocked(r, now_us);
}

void
retain_run(struct retain *r, struct log_writer *k, const struct conf *c,
    size_t n_new, uint64_t now_us, int64_t now_ms)
{
	r->n_new += n_new;
	if (log_writer_is_away(k))
		return;
	if (r->n_new >= TRIM_ROWS || now_us >= r->due_us)
		run_trim(r, k, c, now_us, now_ms);
	if (!log_writer_is_away(k))
		checkpoint(r, k, now_us);
	if (!log_writer_is_away(k))
		tell_trimmed(r, k, now_us);
}

uint64_t
retain_due_us(const struct retain *r)
{
	return r->due_us;
}

/* SPDX-License-Identifier: MIT */
/*
 * The worker's one connection to the log, which the tail and the replay
 * share.  It looks for changes at each poll, lets go of a log that fails or
 * was replaced, and opens it again with a back-off; streams stay open
 * meanwhile.
 *
 * A call that fails has been dealt with when it returns: the caller gives up
 * what it was about to do and comes back in a later turn.
 */
#ifndef WALCAST_LOG_READER_H
#define WALCAST_LOG_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "conf.h"
#include "loop.h"
#include "revocation.h"
#include "span.h"
#include "status.h"
#include "store.h"

struct log_reader;

/* Who wants to hear of the log; at most one. */
struct log_reader_follower {
	/* Somebody has written to it. */
	void (*changed)(void *arg);
	/* It was away and is back, perhaps as another log: these are its ends.
	 */
	void (*reopened)(void *arg, const struct store_bounds *b);
	void *arg;
};

/* c->database and c->tail_poll_ms are used; it must outlive the reader. */
MUST_USE enum status log_reader_new(struct log_reader **out, struct loop *l,
    const struct conf *c);
void log_reader_free(struct log_reader **r);

/*
 * Opens the log for the first time, and begins to look for changes.  Waits a
 * while for a writer that has it locked.
 *
 * b        its ends
 * Returns  ST_OK, or why it cannot be used: err names the remedy
 */
MUST_USE enum status log_reader_open(struct log_reader *r,
    struct store_bounds *b, struct errmsg *err);

/* The follower is copied; NULL: nobody. */
void log_reader_follow(struct log_reader *r,
    const struct log_reader_follower *f);

/* False while the log is away: every call below returns ST_NOTFOUND then. */
bool log_reader_is_open(const struct log_reader *r);

/* As the calls of store.h that have these names. */
MUST_USE enum status log_reader_bounds(struct log_reader *r,
    struct store_bounds *b);
MUST_USE enum status log_reader_read(struct log_reader *r,
    struct store_page *page);
MUST_USE enum status log_reader_newest(struct log_reader *r,
    struct store_page *page, int n, int64_t *position);
MUST_USE enum status log_reader_newest_of(struct log_reader *r,
    const struct span *name, size_t n_names, struct store_page *page, int n,
    int64_t *position);

/*
 * Was it revoked?  Looks in the log itself, so that it is true also while pubd
 * is away, and of what was acknowledged before this call.
 *
 * at_ms    what was given before that time (Unix) counts no more
 * Returns  ST_OK, ST_NOTFOUND (it was not); else nobody knows
 */
MUST_USE enum status log_reader_revoked(struct log_reader *r,
    enum revocation_kind kind, struct span value, int64_t *at_ms);

/* Calls that failed for another reason than a lock or memory. */
uint64_t log_reader_n_errors(const struct log_reader *r);

#endif

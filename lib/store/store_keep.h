/* SPDX-License-Identifier: MIT */
/*
 * Keeps a log open for reading for as long as a program runs: opens it, notices
 * when its file was replaced or has failed, closes it, and opens it again with
 * a back-off.  Logs nothing itself: the caller knows what its streams or its
 * user have to be told.
 *
 *	struct store_keep k = STORE_KEEP(options, 200000, 2000000);
 *
 *	store_keep_start(&k, ...)      once, and it fails for good
 *	store_keep_look(&k, ...)       at each tick while k.reader is there
 *	store_keep_failed(&k, st, ...) after each call on k.reader
 *	store_keep_retry(&k, ...)      at k.retry_us while it is not
 *
 * Blocks on the disk, and in store_keep_start on the lock.
 */
#ifndef WALCAST_STORE_KEEP_H
#define WALCAST_STORE_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "backoff.h"
#include "status.h"
#include "store.h"

struct store_keep {
	struct store_reader *reader; /* NULL while the log is away */
	struct store_options options;
	bool check_modes; /* before each opening: store_check_modes */
	struct backoff backoff;
	uint64_t retry_us; /* while it is away: when to open it again */
};

/* The path must outlive it.  min_us, max_us: bounds of the back-off. */
#define STORE_KEEP(o, min, max)                                                \
	((struct store_keep){.options = (o),                                   \
	    .backoff = {.min_us = (min), .max_us = (max)}})

/*
 * Opens it for the first time.  A log that is locked, as by a writer that
 * recovers it, is tried again until `patience_us` have passed.
 *
 * b   its ends, as store_reader_bounds; NULL: only open it
 */
MUST_USE enum status store_keep_start(struct store_keep *k,
    struct store_bounds *b, uint64_t patience_us, struct errmsg *err);
void store_keep_fini(struct store_keep *k);

/*
 * While it is away: opens it again if that is due.
 *
 * Returns  ST_OK     it is there; whether it is the same log, *b tells
 *          ST_AGAIN  not before retry_us
 *          else      err says why not; retry_us is set
 */
MUST_USE enum status store_keep_retry(struct store_keep *k, uint64_t now_us,
    struct store_bounds *b, struct errmsg *err);

/*
 * While it is there: is it still the file at its path, and has anybody written
 * to it since the last call?  Returns as the reader's calls do: see
 * store_keep_failed.
 */
MUST_USE enum status store_keep_look(struct store_keep *k, bool *changed);

/*
 * A call on the reader returned `st`.  Nothing happens for ST_BUSY and
 * ST_NOMEM, which may pass by themselves; after any other failure the reader is
 * closed.
 *
 * why   set when it was closed: what has happened, in a few words
 *
 * Returns  whether it was closed
 */
bool store_keep_failed(struct store_keep *k, enum status st, uint64_t now_us,
    struct errmsg *why);

#endif

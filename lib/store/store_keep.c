/* SPDX-License-Identifier: MIT */
/*
 * Invariant: reader is NULL exactly while the log is away, and then retry_us
 * says when it is tried again.
 */
#include "store_keep.h"

#include <time.h>

#define PAUSE_US 20000 /* between tries at the start */

static enum status
keep_open_once(struct store_keep *k, struct store_bounds *b, struct errmsg *err)
{
	const char *path = k->options.path;
	enum status st = ST_OK;

	if (k->check_modes)
		st = store_check_modes(path, err);
	if (st == ST_OK)
		st = store_reader_open(&k->reader, &k->options, err);
	if (st != ST_OK || b == NULL)
		return st;
	st = store_reader_bounds(k->reader, b);
	if (st != ST_OK) {
		errmsg_set(err, "cannot read the log %s: %s", path,
		    store_reader_error(k->reader));
		store_reader_close(&k->reader);
	}
	return st;
}

enum status
store_keep_start(struct store_keep *k, struct store_bounds *b,
    uint64_t patience_us, struct errmsg *err)
{
	const struct timespec pause = {.tv_nsec = PAUSE_US * 1000};
	uint64_t waited_us = 0;
	enum status st = keep_open_once(k, b, err);

	for (; st == ST_BUSY && waited_us < patience_us;
	     waited_us += PAUSE_US) {
		(void)nanosleep(&pause, NULL);
		st = keep_open_once(k, b, err);
	}
	return st;
}

void
store_keep_fini(struct store_keep *k)
{
	store_reader_close(&k->reader);
}

enum status
store_keep_retry(struct store_keep *k, uint64_t now_us, struct store_bounds *b,
    struct errmsg *err)
{
	enum status st;

	if (now_us < k->retry_us)
		return ST_AGAIN;
	st = keep_open_once(k, b, err);
	if (st == ST_OK)
		backoff_reset(&k->backoff);
	else
		k->retry_us = now_us + backoff_next_us(&k->backoff);
	return st;
}

enum status
store_keep_look(struct store_keep *k, bool *changed)
{
	enum status st = store_reader_check(k->reader);

	return st == ST_OK ? store_reader_changed(k->reader, changed) : st;
}

bool
store_keep_failed(struct store_keep *k, enum status st, uint64_t now_us,
    struct errmsg *why)
{
	if (st == ST_OK || st == ST_BUSY || st == ST_NOMEM)
		return false;
	errmsg_set(why, "%s",
	    st == ST_MOVED ? "a file of it was replaced or deleted"
			   : store_reader_error(k->reader));
	store_reader_close(&k->reader);
	backoff_reset(&k->backoff);
	k->retry_us = now_us + backoff_next_us(&k->backoff);
	return true;
}

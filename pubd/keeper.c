/* SPDX-License-Identifier: MIT */
/*
 * The life of the log's writer.  Invariant: writer is NULL exactly while the
 * log is away, and then retry_us says when it is tried again.
 */
#include "keeper.h"

#include <string.h>

#define BACKOFF_MIN_US 100000
#define BACKOFF_MAX_US 2000000

static void
away(struct keeper *k, enum status st, uint64_t now_us)
{
	k->why = st;
	k->backoff_us = k->backoff_us == 0 ? BACKOFF_MIN_US : 2 * k->backoff_us;
	if (k->backoff_us > BACKOFF_MAX_US)
		k->backoff_us = BACKOFF_MAX_US;
	k->retry_us = now_us + k->backoff_us;
}

/*
 * After a failed fsync the kernel may have dropped pages of the WAL that it
 * calls clean: moving all of it into the database makes it durable anew.
 */
static void
heal(struct keeper *k)
{
	int left;

	if (!k->heal)
		return;
	if (store_checkpoint(k->writer, -1, &left) == ST_OK && left == 0)
		k->heal = false;
}

/* ---- what is said of it -------------------------------------------------- */

static void
tell_away(const struct keeper *k, enum status st, const char *message)
{
	LOG_EVENT(LOG_ERROR_, "log.away",
	    LOG_STR("database", span_str(k->options.path)),
	    LOG_STR("why", span_str(status_name(st))),
	    LOG_STR("message", span_str(message)));
}

static void
tell_back(const struct keeper *k, enum log_level level, const char *message)
{
	LOG_EVENT(level, "log.back",
	    LOG_STR("database", span_str(k->options.path)),
	    LOG_INT("head", k->bounds.head),
	    LOG_STR("generation", span_str(k->bounds.generation)),
	    LOG_STR("message", span_str(message)));
}

/* ---- opening ------------------------------------------------------------- */

static enum status
open_once(struct keeper *k, struct errmsg *err)
{
	enum status st = store_writer_open(&k->writer, &k->options, err);

	if (st != ST_OK)
		return st;
	st = store_writer_bounds(k->writer, &k->bounds);
	if (st != ST_OK) {
		errmsg_set(err, "cannot read the log %s: %s", k->options.path,
		    store_writer_error(k->writer));
		store_writer_close(&k->writer);
		return st;
	}
	k->opening++;
	heal(k);
	return ST_OK;
}

enum status
keeper_open(struct keeper *k, const struct store_options *o, uint64_t now_us,
    struct errmsg *err)
{
	enum status st;

	*k = (struct keeper){.options = *o};
	st = open_once(k, err);
	if (st == ST_BUSY) {
		tell_away(k, st, err->text);
		away(k, st, now_us);
		return ST_OK;
	}
	return st;
}

void
keeper_fini(struct keeper *k)
{
	store_writer_close(&k->writer);
}

static enum status
reopen(struct keeper *k, uint64_t now_us)
{
	struct store_bounds before = k->bounds;
	struct errmsg err = {""};
	enum status st = open_once(k, &err);

	if (st != ST_OK) {
		if (st != k->why)
			tell_away(k, st, err.text);
		away(k, st, now_us);
		return st;
	}
	if (strcmp(before.generation, k->bounds.generation) != 0) {
		errmsg_set(&err,
		    "it is another one now: before, its generation was %s and "
		    "its head %lld",
		    before.generation, (long long)before.head);
		tell_back(k, LOG_WARN_, err.text);
	} else {
		tell_back(k, LOG_INFO_, "");
	}
	return ST_OK;
}

enum status
keeper_ready(struct keeper *k, uint64_t now_us)
{
	if (k->writer == NULL)
		return now_us < k->retry_us ? k->why : reopen(k, now_us);
	if (store_writer_check(k->writer) == ST_OK)
		return ST_OK;
	tell_away(k, ST_MOVED,
	    "it was moved away or replaced; opening what is there now");
	store_writer_close(&k->writer);
	k->why = ST_MOVED;
	return reopen(k, now_us);
}

void
keeper_failed(struct keeper *k, enum status st, uint64_t now_us)
{
	if (k->writer == NULL || st == ST_BUSY || st == ST_NOMEM ||
	    st == ST_CONSTRAINT || st == ST_TOOLARGE)
		return;
	if (st == ST_NOSPACE) {
		if (!k->full)
			tell_away(k, st,
			    "there is no space for it; events are refused "
			    "until there is");
		k->full = true;
		return;
	}
	tell_away(k, st, "it failed; closing it and trying again");
	k->heal = k->heal || st == ST_IO;
	store_writer_close(&k->writer);
	away(k, st, now_us);
}

void
keeper_committed(struct keeper *k, int64_t head)
{
	if (head > k->bounds.head)
		k->bounds.head = head;
	k->backoff_us = 0;
	if (k->full)
		tell_back(k, LOG_INFO_, "there is space for it again");
	k->full = false;
}

enum status
keeper_bounds(struct keeper *k, uint64_t now_us)
{
	enum status st = keeper_ready(k, now_us);

	if (st == ST_OK)
		st = store_writer_bounds(k->writer, &k->bounds);
	if (st != ST_OK)
		keeper_failed(k, st, now_us);
	return st;
}

void
keeper_look(struct keeper *k, uint64_t now_us)
{
	bool changed = false;
	enum status st = keeper_ready(k, now_us);

	if (st == ST_OK)
		st = store_writer_changed(k->writer, &changed);
	if (st == ST_OK && changed)
		st = store_writer_bounds(k->writer, &k->bounds);
	if (st != ST_OK)
		keeper_failed(k, st, now_us);
}

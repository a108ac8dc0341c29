/* SPDX-License-Identifier: MIT */
/*
 * The life of the log's writer.  Invariant: writer is NULL exactly while the
 * log is away, and then retry_us says when it is tried again.
 */
#include "log_writer.h"

#include <stdlib.h>
#include <string.h>

#include "backoff.h"
#include "log.h"

#define BACKOFF_MIN_US 100000
#define BACKOFF_MAX_US 2000000

struct log_writer {
	struct store_writer *writer; /* NULL: the log is away */
	struct store_options options;
	struct store_bounds bounds; /* as last seen; kept while away */
	enum status why;            /* it is away, or ST_OK */
	unsigned opening;
	bool full;  /* the disk was, at the last commit */
	bool heal;  /* a checkpoint is due after an I/O error */
	bool doubt; /* somebody wrote, and we have not looked yet */
	struct {
		int64_t id;    /* 0: none */
		uint64_t mark; /* store_writer_mark's; 0: deleted */
	} witness;             /* an event that must stay what it is */
	bool lost;         /* its last events were, by what happened to it */
	uint64_t retry_us; /* when to try again */
	struct backoff backoff;
};

static void
away(struct log_writer *k, enum status st, uint64_t now_us)
{
	k->why = st;
	k->retry_us = now_us + backoff_next_us(&k->backoff);
}

/*
 * After a failed fsync the kernel may have dropped pages of the WAL that it
 * calls clean: moving all of it into the database makes it durable anew.
 */
static void
heal(struct log_writer *k)
{
	int left;

	if (!k->heal)
		return;
	if (store_checkpoint(k->writer, -1, &left) == ST_OK && left == 0)
		k->heal = false;
}

/* ---- what is said of it -------------------------------------------------- */

static void
tell_away(const struct log_writer *k, enum status st, const char *message)
{
	LOG_EVENT(LOG_ERROR_, "log.away",
	    LOG_STR("database", span_str(k->options.path)),
	    LOG_STR("why", span_str(status_name(st))),
	    LOG_STR("message", span_str(message)));
}

static void
tell_back(const struct log_writer *k, enum log_level level, const char *message)
{
	LOG_EVENT(level, "log.back",
	    LOG_STR("database", span_str(k->options.path)),
	    LOG_INT("head", k->bounds.head),
	    LOG_STR("generation", span_str(k->bounds.generation)),
	    LOG_STR("message", span_str(message)));
}

/* ---- opening ------------------------------------------------------------- */

/* Are these of the same log, with the last events of the second lost? */
static bool
is_shorter(const struct store_bounds *now, const struct store_bounds *before)
{
	return strcmp(now->generation, before->generation) == 0 &&
	    now->head < before->head;
}

/*
 * Does another event now have the id of one that we know?  That happens when a
 * program has emptied the log together with its sequence, as ORMs do to
 * truncate, and so many events have been inserted since that the head shows
 * nothing.
 */
static bool
is_replaced(const struct log_writer *k)
{
	uint64_t mark = 0;

	return k->witness.id > 0 &&
	    store_writer_mark(k->writer, k->witness.id, &mark) == ST_OK &&
	    mark != k->witness.mark;
}

/* Ids will be given out a second time: those who saw them must be told. */
static bool
went_back(const struct log_writer *k, const struct store_bounds *b)
{
	return strcmp(k->bounds.generation, b->generation) == 0 &&
	    (b->head < k->bounds.head || k->lost || is_replaced(k));
}

/*
 * The newest event becomes the witness, as long as nobody else wrote; what
 * others did is checked against the witness of before.  If it was deleted
 * before we read it, no event may have its id any more.
 */
static enum status
take_witness(struct log_writer *k, int64_t head)
{
	bool changed = false;
	uint64_t mark = 0;
	enum status marked = ST_OK, st;

	if (head != k->witness.id)
		marked = store_writer_mark(k->writer, head, &mark);
	/* After it was read, so that it is the one that we know of. */
	st = store_writer_changed(k->writer, &changed);
	k->doubt = k->doubt || changed;
	if (st != ST_OK || k->doubt || head == k->witness.id ||
	    (marked != ST_OK && marked != ST_NOTFOUND))
		return st;
	k->witness.id = head;
	k->witness.mark = mark;
	return ST_OK;
}

static enum status
log_writer_read_bounds(struct log_writer *k, struct store_bounds *b)
{
	enum status st = store_writer_bounds(k->writer, b);

	if (st == ST_OK && went_back(k, b)) {
		st = store_writer_renew(k->writer);
		if (st == ST_OK)
			st = store_writer_bounds(k->writer, b);
	}
	if (st != ST_OK)
		return st;
	if (strcmp(k->bounds.generation, b->generation) != 0)
		k->witness.id = 0;
	k->doubt = false;
	return take_witness(k, b->head);
}

/* Brings what is known about an open log up to date. */
static enum status
refresh(struct log_writer *k)
{
	struct store_bounds b, before = k->bounds;
	struct errmsg why = {""};
	enum status st = log_writer_read_bounds(k, &b);

	if (st != ST_OK)
		return st;
	k->bounds = b;
	if (strcmp(before.generation, k->bounds.generation) == 0)
		return ST_OK;
	errmsg_set(&why,
	    "its ids begin anew, as after a program has emptied it with "
	    "sqlite_sequence: before, its generation was %s and its head "
	    "%lld",
	    before.generation, (long long)before.head);
	tell_back(k, LOG_WARN_, why.text);
	return ST_OK;
}

static enum status
open_once(struct log_writer *k, struct errmsg *err)
{
	struct store_bounds b;
	enum status st = store_writer_open(&k->writer, &k->options, err);

	if (st != ST_OK)
		return st;
	st = log_writer_read_bounds(k, &b);
	if (st != ST_OK) {
		errmsg_set(err, "cannot read the log %s: %s", k->options.path,
		    store_writer_error(k->writer));
		store_writer_close(&k->writer);
		return st;
	}
	k->bounds = b;
	k->lost = false;
	k->opening++;
	heal(k);
	return ST_OK;
}

enum status
log_writer_new(struct log_writer **out, const struct store_options *o)
{
	struct log_writer *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return ST_NOMEM;
	k->options = *o;
	k->backoff = (struct backoff){.min_us = BACKOFF_MIN_US,
	    .max_us = BACKOFF_MAX_US};
	*out = k;
	return ST_OK;
}

enum status
log_writer_open(struct log_writer *k, uint64_t now_us, struct errmsg *err)
{
	enum status st = open_once(k, err);

	if (st == ST_BUSY) {
		tell_away(k, st, err->text);
		away(k, st, now_us);
		return ST_OK;
	}
	return st;
}

void
log_writer_free(struct log_writer **kp)
{
	struct log_writer *k = *kp;
	int left;

	if (k == NULL)
		return;
	/*
	 * What is in the database needs no -wal, even if somebody still has it
	 * open.
	 */
	if (k->writer != NULL && store_writer_check(k->writer) == ST_OK)
		status_ignore(store_checkpoint(k->writer, -1, &left));
	store_writer_close(&k->writer);
	free(k);
	*kp = NULL;
}

static enum status
log_writer_reopen(struct log_writer *k, uint64_t now_us)
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

/* Another file is at its path, or at that of its -wal or -shm. */
static enum status
moved(struct log_writer *k, uint64_t now_us)
{
	enum status st = store_writer_salvage(k->writer);

	if (k->why != ST_MOVED)
		tell_away(k, ST_MOVED,
		    "it, or its -wal or -shm, was moved away, deleted or "
		    "replaced; opening what is there now");
	k->why = ST_MOVED;
	if (st == ST_BUSY)
		return ST_MOVED; /* until that reader has ended */
	k->lost = k->lost || (st != ST_OK && st != ST_MOVED);
	store_writer_close(&k->writer);
	return log_writer_reopen(k, now_us);
}

enum status
log_writer_ready(struct log_writer *k, uint64_t now_us)
{
	if (k->writer == NULL)
		return now_us < k->retry_us ? k->why
					    : log_writer_reopen(k, now_us);
	if (store_writer_check(k->writer) != ST_OK)
		return moved(k, now_us);
	k->why = ST_OK;
	return ST_OK;
}

void
log_writer_expect(struct log_writer *k, const struct store_bounds *known,
    uint64_t now_us)
{
	if (k->writer != NULL && !is_shorter(&k->bounds, known))
		return;
	k->bounds = *known;
	if (k->writer == NULL)
		return;
	store_writer_close(&k->writer);
	status_ignore(log_writer_reopen(k, now_us));
}

void
log_writer_failed(struct log_writer *k, enum status st, uint64_t now_us)
{
	if (k->writer == NULL || st == ST_BUSY || st == ST_NOMEM ||
	    st == ST_CONSTRAINT || st == ST_TOOLARGE || st == ST_SCHEMA)
		return;
	if (st == ST_MOVED || store_writer_was_cut(k->writer))
		return; /* log_writer_ready puts back what it can */
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
log_writer_committed(struct log_writer *k, int64_t head)
{
	if (head > k->bounds.head)
		k->bounds.head = head;
	/* An error is met again, by the next look at the log. */
	if (head > 0 && !k->doubt)
		status_ignore(take_witness(k, head));
	backoff_reset(&k->backoff);
	if (k->full)
		tell_back(k, LOG_INFO_, "there is space for it again");
	k->full = false;
}

/* ---- what others may do with it ----------------------------------------- */

struct store_writer *
log_writer_writer(struct log_writer *k)
{
	return k->writer;
}

enum status
log_writer_trim(struct log_writer *k, const struct store_retain *rule,
    uint64_t now_us, int *n_rows, bool *more)
{
	enum status st = store_trim(k->writer, rule, n_rows, more);

	if (st != ST_OK)
		log_writer_failed(k, st, now_us);
	return st;
}

enum status
log_writer_checkpoint(struct log_writer *k, int min_pages, uint64_t now_us,
    int *left_pages)
{
	enum status st = store_checkpoint(k->writer, min_pages, left_pages);

	if (st != ST_OK)
		log_writer_failed(k, st, now_us);
	return st;
}

void
log_writer_sizes(const struct log_writer *k, int64_t *log_bytes,
    int64_t *wal_bytes)
{
	store_sizes(k->writer, log_bytes, wal_bytes);
}

/* ---- what is known of it ------------------------------------------------ */

bool
log_writer_is_away(const struct log_writer *k)
{
	return k->writer == NULL;
}

bool
log_writer_is_full(const struct log_writer *k)
{
	return k->full;
}

const struct store_bounds *
log_writer_seen(const struct log_writer *k)
{
	return &k->bounds;
}

unsigned
log_writer_opening(const struct log_writer *k)
{
	return k->opening;
}

enum status
log_writer_bounds(struct log_writer *k, uint64_t now_us)
{
	enum status st = log_writer_ready(k, now_us);

	if (st == ST_OK)
		st = refresh(k);
	if (st != ST_OK)
		log_writer_failed(k, st, now_us);
	return st;
}

void
log_writer_look(struct log_writer *k, uint64_t now_us)
{
	enum status st = log_writer_ready(k, now_us);

	if (st == ST_OK)
		st = take_witness(k, k->bounds.head);
	if (st == ST_OK && k->doubt)
		st = refresh(k);
	if (st != ST_OK)
		log_writer_failed(k, st, now_us);
}

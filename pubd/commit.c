/* SPDX-License-Identifier: MIT */
/*
 * One transaction for a batch: begin, append all, commit.
 *
 * Invariant: when commit_run returns ST_OK, a publish or an array is either
 * stored by a commit that returned, or an error.  Blocks on the disk; for a
 * lock it waits through batch_defer.
 */
#include "commit.h"

#include <stdbool.h>

#include "batch.h"
#include "log.h"
#include "log_writer.h"
#include "protocol.h"
#include "store.h"

struct transaction {
	struct store_writer *w;
	struct batch *batch;
	int64_t ts_ms;
	int64_t head; /* the last id that was given out; 0: none */
	size_t n_stored;
};

/* ---- failures ---------------------------------------------------------- */

static void
fail_all(struct batch *b, enum protocol_error code, const struct errmsg *why)
{
	size_t i;

	for (i = 0; i < batch_count(b); i++) {
		struct protocol_request *r = &batch_at(b, i)->request;

		if (protocol_stores(r))
			protocol_fail(r, code, span_str(why->text));
	}
}

static void
fail_away(struct batch *b, enum status st, struct errmsg *why)
{
	errmsg_set(why,
	    "the log is not available now (%s), pubd keeps trying: send it "
	    "again later",
	    status_name(st));
	fail_all(b, PROTOCOL_UNAVAILABLE, why);
}

static void
fail_busy(struct batch *b, uint64_t timeout_us, struct errmsg *why)
{
	errmsg_set(why,
	    "another program has had the log locked for %llu ms "
	    "(lock_timeout_ms): send it again later",
	    (unsigned long long)(timeout_us / 1000));
	fail_all(b, PROTOCOL_BUSY, why);
}

static void
fail_storage(struct batch *b, enum status st, struct errmsg *why)
{
	if (st == ST_NOMEM) {
		errmsg_set(why, "pubd is out of memory: send it again later");
		fail_all(b, PROTOCOL_UNAVAILABLE, why);
		return;
	}
	if (st == ST_NOSPACE)
		errmsg_set(why,
		    "the disk or the quota of the log is full: free some "
		    "space, then send it again");
	else if (st == ST_SCHEMA)
		errmsg_set(why,
		    "the log does not store what it is given: another program "
		    "has set sqlite_sequence, or added a column or an index to "
		    "`events` that ignores rows; run `walcast doctor`, and "
		    "undo what was added");
	else
		errmsg_set(why,
		    "the log could not be written (%s): send it again later",
		    status_name(st));
	fail_all(b, PROTOCOL_STORAGE, why);
}

/* ---- appending ---------------------------------------------------------- */

/*
 * A row that the schema refuses although protocol.c let it pass.
 * UNTESTED: the rules of both are the same.
 */
static void
fail_constraint(struct protocol_request *r, int64_t index)
{
	protocol_fail(r, PROTOCOL_BAD_REQUEST,
	    SPAN("the log's schema refuses this event"));
	r->failure.index = index;
}

/* ST_OK: stored or a duplicate. */
static enum status
append_event(struct transaction *tx, struct protocol_event *ev)
{
	enum status st;

	ev->e.ts_ms = tx->ts_ms;
	ev->duplicate = false;
	st = store_append(tx->w, &ev->e);
	if (st == ST_EXISTS) {
		ev->duplicate = true;
		return ST_OK;
	}
	if (st == ST_OK) {
		tx->head = ev->e.id;
		tx->n_stored++;
	}
	return st;
}

static enum status
append_one(struct transaction *tx, struct protocol_request *r)
{
	enum status st = append_event(tx, &r->events[0]);

	if (st != ST_CONSTRAINT)
		return st;
	fail_constraint(r, -1);
	return ST_OK;
}

static enum status
append_array(struct transaction *tx, struct protocol_request *r)
{
	int64_t head = tx->head;
	size_t i = 0, n_stored = tx->n_stored;
	enum status st = store_group_begin(tx->w);

	while (st == ST_OK && i < r->n_events) {
		st = append_event(tx, &r->events[i]);
		if (st == ST_OK)
			i++;
	}
	if (st == ST_OK)
		return store_group_end(tx->w);
	if (st != ST_CONSTRAINT)
		return st;
	fail_constraint(r, (int64_t)i);
	tx->head = head;
	tx->n_stored = n_stored;
	return store_group_undo(tx->w);
}

/* The value stays as it is: after a lock the batch is appended again. */
static enum status
append_revocation(struct transaction *tx, struct protocol_request *r)
{
	struct event *e = &r->events[0].e, stored = {.ts_ms = tx->ts_ms};
	const struct revocation v = {.kind = r->revokes,
	    .value = e->data,
	    .at_ms = tx->ts_ms,
	    .until_ms = r->until_ms};
	enum status st = store_revoke(tx->w, &v, &stored);

	if (st != ST_OK)
		return st;
	e->id = stored.id;
	e->prev = stored.prev;
	tx->head = stored.id;
	tx->n_stored++;
	return ST_OK;
}

static enum status
append_all(struct transaction *tx)
{
	size_t i, n = batch_count(tx->batch);
	enum status st = ST_OK;

	for (i = 0; st == ST_OK && i < n; i++) {
		struct protocol_request *r = &batch_at(tx->batch, i)->request;

		if (r->op == OP_PUBLISH)
			st = append_one(tx, r);
		else if (r->op == OP_ARRAY)
			st = append_array(tx, r);
		else if (r->op == OP_REVOKE)
			st = append_revocation(tx, r);
	}
	return st;
}

static enum status
run_transaction(struct transaction *tx)
{
	enum status st = store_begin(tx->w);

	if (st != ST_OK)
		return st;
	st = append_all(tx);
	/* A failed append has rolled back by itself, but not for these. */
	if (st == ST_OK)
		st = store_commit(tx->w);
	else if (st == ST_EXISTS || st == ST_CONSTRAINT)
		store_rollback(tx->w);
	return st;
}

/* ---- all of it ---------------------------------------------------------- */

static void
log_failed(struct commit *c, const char *why, uint64_t now_us)
{
	if (log_gate(&c->failed_gate, now_us))
		LOG_EVENT(LOG_WARN_, "commit.failed",
		    LOG_STR("why", span_str(why)),
		    LOG_INT("events", batch_events(c->batch)));
}

static enum status
commit_wait_for_lock(struct commit *c, const struct commit_time *t,
    struct commit_result *out)
{
	struct batch *b = c->batch;

	out->fate = COMMIT_WAITS;
	out->waits_first = batch_waited_us(b, t->now_us) == 0;
	if (out->waits_first && log_gate(&c->waits_gate, t->now_us))
		LOG_EVENT(LOG_INFO_, "commit.waits",
		    LOG_STR("why", SPAN("another program has the log locked")),
		    LOG_INT("events", batch_events(b)));
	batch_defer(b, t->now_us);
	return ST_AGAIN;
}

static enum status
settle_failure(struct commit *c, enum status st, const struct commit_time *t,
    struct commit_result *out)
{
	struct batch *b = c->batch;

	if (st == ST_BUSY && batch_waited_us(b, t->now_us) < t->timeout_us)
		return commit_wait_for_lock(c, t, out);
	out->fate = COMMIT_FAILED;
	if (st == ST_BUSY)
		fail_busy(b, t->timeout_us, &out->why);
	else
		fail_storage(b, st, &out->why);
	log_failed(c, status_name(st), t->now_us);
	log_writer_failed(c->log_writer, st, t->now_us);
	return ST_OK;
}

enum status
commit_run(struct commit *c, const struct commit_time *t,
    struct commit_result *out)
{
	struct batch *b = c->batch;
	struct transaction tx = {.batch = b, .ts_ms = t->ts_ms};
	enum status st;

	out->fate = COMMIT_NONE;
	out->waits_first = false;
	out->n_stored = 0;
	if (batch_events(b) == 0)
		return ST_OK;
	st = log_writer_ready(c->log_writer, t->now_us);
	if (st != ST_OK) {
		out->fate = COMMIT_FAILED;
		fail_away(b, st, &out->why);
		log_failed(c, status_name(st), t->now_us);
		return ST_OK;
	}
	tx.w = log_writer_writer(c->log_writer);
	st = run_transaction(&tx);
	if (st != ST_OK)
		return settle_failure(c, st, t, out);
	log_writer_committed(c->log_writer, tx.head);
	out->fate = COMMIT_DONE;
	out->n_stored = tx.n_stored;
	return ST_OK;
}

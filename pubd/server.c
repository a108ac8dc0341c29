/* SPDX-License-Identifier: MIT */
/*
 * One turn of the daemon's loop.  Owns everything below it.
 *
 * Invariant: an answer that says ok is appended to an output only in stage 3,
 * after the commit of stage 2 has returned.
 */
#include "server_private.h"

#include "clock.h"

#define LINGER_US 250000  /* for peers to see that this was the last */
#define SLOW_US   1000000 /* a commit that takes longer is logged */

static uint64_t
wait_us(const struct server *s)
{
	uint64_t now_us = clock_mono_us(), due_us = batch_due_us(s->batch);

	if (retain_due_us(&s->retain) < due_us &&
	    !log_writer_is_away(s->log_writer))
		due_us = retain_due_us(&s->retain);
	if (s->stopping && s->stop_by_us < due_us)
		due_us = s->stop_by_us;
	if (s->again)
		return 0;
	if (due_us == BATCH_NEVER)
		return LOOP_FOREVER;
	return due_us > now_us ? due_us - now_us : 0;
}

/* What the commit of n_events has come to. */
static void
note_commit(struct server *s, const struct commit_result *result,
    size_t n_events, const struct commit_time *t, uint64_t end_us)
{
	uint64_t took_us = end_us - t->now_us;
	struct status_writer *b = &s->status_writer;

	if (result->fate == COMMIT_FAILED)
		status_writer_add(b, METRIC_COMMIT_FAILURES, 1);
	if (result->fate == COMMIT_WAITS && result->waits_first)
		status_writer_add(b, METRIC_COMMIT_WAITS, 1);
	if (result->fate != COMMIT_DONE)
		return;
	status_writer_add(b, METRIC_COMMITS, 1);
	hist_add(&b->batch, HIST_SIZE, n_events, 1);
	if (n_events > b->metrics.cell[METRIC_BATCH_MAX])
		metrics_set(&b->metrics, METRIC_BATCH_MAX, n_events);
	if (s->requests.timing)
		hist_add(&b->commit, HIST_TIME, took_us, 1);
	after_commit_commit(&s->after_commit, t->now_us, end_us,
	    clock_real_ms());
	if (took_us > SLOW_US && log_gate(&s->slow_gate, end_us))
		/* UNTESTED: no disk is that slow when it is asked to be. */
		LOG_EVENT(LOG_WARN_, "commit.slow",
		    LOG_INT("ms", took_us / 1000), LOG_INT("events", n_events));
}

/*
 * Watchers are told the time of a commit only if it stored all events since
 * they were last told: others may have been stored by SQL before.
 */
static void
note_news(struct server *s, size_t n_stored, uint64_t at_us)
{
	const struct log_writer *k = s->log_writer;
	int64_t head = log_writer_seen(k)->head;
	bool alone = log_writer_opening(k) == s->news.opening &&
	    head - s->news.head == (int64_t)n_stored;

	s->news = (struct watchers_news){.head = head,
	    .opening = log_writer_opening(k),
	    .at_us = alone ? at_us : 0};
}

/* Stages 2 and 3.  Returns how many events were stored. */
static size_t
commit_and_answer(struct server *s)
{
	struct commit_result result = {.fate = COMMIT_NONE};
	size_t n_events = batch_events(s->batch);
	uint64_t end_us, now_us = clock_mono_us();
	struct commit_time t = {.now_us = now_us,
	    .ts_ms = clock_real_ms(),
	    .timeout_us = (uint64_t)s->conf->lock_timeout_ms * 1000};
	bool answers = batch_due_us(s->batch) <= now_us &&
	    commit_run(&s->commit, &t, &result) == ST_OK;

	end_us = clock_mono_us();
	note_commit(s, &result, n_events, &t, end_us);
	note_news(s, result.n_stored, end_us);
	if (!answers)
		return 0;
	requests_answer(&s->requests);
	s->conns.round++;
	return result.n_stored;
}

static enum status
server_turn(struct server *s)
{
	size_t n_stored;
	bool ringing;

	/* 1. Collect: read sockets; users take turns, lines fill the batch. */
	enum status st = loop_turn(s->loop, wait_us(s));

	s->requests.now_us = loop_now_us(s->loop);
	s->requests.now_ms = clock_real_ms();
	if (st != ST_OK)
		return st;
	conns_take_lines(&s->conns);
	/* 2. Commit the batch, in one transaction.  3. Answer all of it. */
	n_stored = commit_and_answer(s);
	/* 4. Ring those who watch; then write, answers first. */
	ringing = watchers_ring(&s->watchers, &s->news);
	conns_flush(&s->conns);
	requests_flushed(&s->requests, clock_mono_us());
	server_look_sooner(s);
	/* 5. House-keeping: retention and checkpoints. */
	retain_run(&s->retain, s->log_writer, s->conf, n_stored,
	    loop_now_us(s->loop), s->requests.now_ms);
	/* 6. Lines that were held back come first in the next batch. */
	conns_relieve(&s->conns, loop_now_us(s->loop));
	s->again = conns_resume(&s->conns) || ringing;
	/* 7. What was answered without a commit; then reap the dead. */
	conns_flush(&s->conns);
	conns_reap(&s->conns);
	return ST_OK;
}

/* Has everybody been answered and seen the end, or had the time for it? */
static bool
is_over(struct server *s)
{
	uint64_t now_us = clock_mono_us();

	if (batch_count(s->batch) > 0 || s->conns.n > s->conns.n_lingering) {
		if (now_us < s->stop_by_us)
			return false;
		log_warnx("%zu connections have not taken their answers",
		    s->conns.n - s->conns.n_lingering);
		return true;
	}
	if (!s->lingering) {
		s->lingering = true;
		s->stop_by_us = now_us + LINGER_US;
	}
	return s->conns.n == 0 || now_us >= s->stop_by_us;
}

enum status
server_run(struct server *s)
{
	enum status st = ST_OK;

	while (st == ST_OK && !(s->stopping && is_over(s)))
		st = server_turn(s);
	return st;
}

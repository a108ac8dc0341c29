/* SPDX-License-Identifier: MIT */
/*
 * Lines to the batch, and the batch to answers.  Invariant: c->n_waiting is
 * the number of requests of connection c in the batch.
 */
#include "requests.h"

#include "batch.h"
#include "beat.h"
#include "keeper.h"
#include "protocol.h"
#include "watchers.h"

static bool
is_blank(struct span line)
{
	size_t i;

	for (i = 0; i < line.len; i++)
		if (line.p[i] != ' ' && line.p[i] != '\t' && line.p[i] != '\r')
			return false;
	return true;
}

/* Ping and watch ask for what only the log knows. */
static void
look_up(struct requests *rq, struct request *r)
{
	enum status st = ST_OK;

	if (r->kind == REQUEST_PING)
		st = keeper_bounds(rq->keeper, rq->now_us);
	if (st != ST_OK)
		protocol_fail(r, PROTOCOL_UNAVAILABLE,
		    SPAN("the log is not available now, pubd keeps trying: "
			 "ask again later"));
}

/* Appends the answer to the connection's output. */
static enum status
answer(struct requests *rq, struct conn *c, struct request *r)
{
	struct buf *out = conn_out(c);
	size_t before = out->len;
	enum status st;

	look_up(rq, r);
	if (r->kind == REQUEST_ERROR)
		rq->beat->n.errors[r->failure.code]++;
	if (c->dead || c->deaf)
		return ST_OK;
	st = protocol_answer(out, r, &rq->keeper->bounds);
	conn_wrote(c, before);
	if (st == ST_OK && r->kind == REQUEST_WATCH)
		st = watchers_add(rq->watchers, c, rq->keeper->bounds.head,
		    rq->keeper->opening);
	return st;
}

static enum status
take_report(struct requests *rq, struct conn *c, struct request *r)
{
	if (watchers_named(c, r->report.name) == ST_OK) {
		beat_report(rq->beat, &r->report, rq->now_us, rq->now_ms);
		return ST_OK;
	}
	protocol_fail(r, PROTOCOL_BAD_REQUEST,
	    SPAN("a report must come on a connection that watches: send "
		 "{\"op\":\"watch\"} first"));
	return ST_INVALID;
}

/* Puts it into the batch, or answers it when nothing is before it. */
static enum status
enter(struct requests *rq, struct conn *c, struct request *r)
{
	bool stores = r->kind == REQUEST_PUBLISH || r->kind == REQUEST_ARRAY;
	enum status st;

	if (!stores && c->n_waiting == 0)
		return answer(rq, c, r);
	st = batch_add(rq->batch, c, r);
	if (st == ST_OK) {
		c->n_waiting++;
	} else if (st == ST_NOMEM && c->n_waiting == 0) {
		/* UNTESTED: one event is refused, the rest goes on */
		protocol_fail(r, PROTOCOL_UNAVAILABLE,
		    SPAN("pubd is out of memory: send it again later"));
		st = answer(rq, c, r);
	}
	return st;
}

enum status
requests_line(void *arg, struct conn *c, struct span line)
{
	struct requests *rq = arg;
	struct request r;

	if (is_blank(line))
		return ST_OK;
	protocol_parse(rq->protocol, line, &r);
	if (r.kind == REQUEST_REPORT && take_report(rq, c, &r) == ST_OK)
		return ST_OK;
	return enter(rq, c, &r);
}

enum status
requests_refuse(void *arg, struct conn *c, enum status why)
{
	struct requests *rq = arg;
	struct request r = {.kind = REQUEST_ERROR};
	struct errmsg text;

	if (why == ST_TOOLARGE) {
		errmsg_set(&text,
		    "a line of more than %zu bytes (max_line_bytes): it is "
		    "skipped to its end",
		    rq->max_line_bytes);
		protocol_fail(&r, PROTOCOL_TOO_LARGE, span_str(text.text));
	} else {
		protocol_fail(&r, PROTOCOL_BUSY,
		    SPAN("too many unfinished lines wait in pubd: this one "
			 "is skipped to its end, send it again"));
	}
	return enter(rq, c, &r);
}

void
requests_answer(struct requests *rq)
{
	size_t i, n = batch_count(rq->batch);

	for (i = 0; i < n; i++) {
		struct batch_op *op = batch_at(rq->batch, i);
		struct conn *c = op->waiter;

		c->n_waiting--;
		if (answer(rq, c, &op->request) != ST_OK)
			conn_kill(c);
	}
	batch_clear(rq->batch);
}

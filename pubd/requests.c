/* SPDX-License-Identifier: MIT */
/*
 * From lines to the batch, and from the batch to answers.  Invariant:
 * c->n_waiting is the number of requests of connection c in the batch.
 */
#include "requests.h"

#include "after_commit.h"
#include "batch.h"
#include "identities.h"
#include "log_writer.h"
#include "protocol.h"
#include "status_writer.h"
#include "watchers.h"

/* The cell of each error, by its name; PROTOCOL_NONE is none. */
static const enum metric_cell error_cells[PROTOCOL_N_ERRORS] = {
#define X(member, word) [PROTOCOL_##member] = METRIC_PUBLISH_ERRORS_##member,
    PROTOCOL_ERRORS(X)
#undef X
};

/* ---- what is counted and logged ----------------------------------------- */

static void
note_error(struct requests *rq, const struct conn *c,
    const struct protocol_request *r)
{
	enum protocol_error code = r->failure.code;
	struct rights_why why = {.len = 0};

	status_writer_add(rq->status_writer, error_cells[code], 1);
	if (r->of_report)
		status_writer_add(rq->status_writer, METRIC_REPORTS_REFUSED, 1);
	if (!log_wants(LOG_INFO_) || !log_gate(&rq->gate, rq->now_us))
		return;
	if (code == PROTOCOL_FORBIDDEN)
		rights_explain(rq->rights, c->identity, r->failure.channel,
		    &why);
	LOG_EVENT(LOG_INFO_, "publisher.error", LOG_INT("conn", c->number),
	    LOG_INT("pid", c->peer_pid), LOG_INT("uid", c->peer_uid),
	    LOG_STR("error", span_str(protocol_error_name(code))),
	    LOG_STR("channel", r->failure.channel),
	    LOG_STR("lines", span_of(why.text, why.len)));
}

/* In the order of reading, so that the last group is mostly the one. */
static void
note_answered(struct requests *rq, uint64_t read_us)
{
	size_t last = rq->n_groups - 1;

	if (rq->n_groups > 0 &&
	    (rq->group[last].read_us == read_us ||
		rq->n_groups == REQUESTS_GROUPS)) {
		rq->group[last].n++;
		return;
	}
	rq->group[rq->n_groups].read_us = read_us;
	rq->group[rq->n_groups++].n = 1;
}

void
requests_flushed(struct requests *rq, uint64_t now_us)
{
	size_t i;

	for (i = 0; i < rq->n_groups; i++)
		hist_add(&rq->status_writer->publish, HIST_TIME,
		    now_us - rq->group[i].read_us, rq->group[i].n);
	rq->n_groups = 0;
}

/* Reported until a refused process has missed two times to ask again. */
#define REFUSED_MS (WIRE_ASK_AGAIN_MS * 5 / 2)

void
requests_gauges(const struct requests *rq, struct metrics *f)
{
	f->known[METRIC_REPORTS_FORBIDDEN_UID] = false;
	if (rq->refused_ms > 0 && rq->refused_uid >= 0 &&
	    rq->now_ms - rq->refused_ms < REFUSED_MS)
		metrics_set(f, METRIC_REPORTS_FORBIDDEN_UID,
		    (uint64_t)rq->refused_uid);
}

/* ---- answers ------------------------------------------------------------ */

static void
look_up(struct requests *rq, struct protocol_request *r)
{
	if (log_writer_bounds(rq->log_writer, rq->now_us) != ST_OK)
		protocol_fail(r, PROTOCOL_UNAVAILABLE,
		    SPAN("the log is not available now, pubd keeps trying: "
			 "ask again later"));
}

/* Connections of one user that watch and are no process of ours. */
#define LISTENERS_MAX 64

/* The watcher knows the news that its answer tells. */
static void
begin_watch(struct requests *rq, struct conn *c, struct protocol_request *r)
{
	const struct watchers_news news = {
	    .head = log_writer_seen(rq->log_writer)->head,
	    .opening = log_writer_opening(rq->log_writer)};
	const struct watchers_wish wish = {.wake = r->wake,
	    .timing = r->timing};
	bool trusted = rights_report(rq->rights, c->identity);
	enum status st = ST_OK;

	if (!trusted)
		st = peers_listen(&c->place, LISTENERS_MAX);
	if (st == ST_OK)
		st = watchers_add(rq->watchers, c, &news, wish);
	r->traces = r->timing && rq->after_commit->exporter != NULL;
	if (st == ST_FULL)
		protocol_fail(r, PROTOCOL_BUSY,
		    SPAN("watch: this user has as many connections that watch "
			 "as he may have: end some of them"));
	else if (st != ST_OK)
		/* UNTESTED: no memory */
		protocol_fail(r, PROTOCOL_UNAVAILABLE,
		    SPAN("pubd is out of memory: send it again later"));
	else
		conn_stand(c, trusted ? PEER_KNOWN : PEER_WATCHES);
}

static void
reset_counters(struct requests *rq, const struct conn *c,
    struct protocol_request *r)
{
	if (status_writer_reset(rq->status_writer, rq->now_us, rq->now_ms) !=
	    ST_OK) {
		protocol_fail(r, PROTOCOL_UNAVAILABLE,
		    SPAN("the status table cannot be written: the log of pubd "
			 "says why"));
		return;
	}
	LOG_EVENT(LOG_INFO_, "counters.reset", LOG_INT("conn", c->number),
	    LOG_INT("pid", c->peer_pid), LOG_INT("uid", c->peer_uid));
}

/* Done only now, when its turn among the answers has come. */
static void
carry_out(struct requests *rq, struct conn *c, struct protocol_request *r)
{
	if (r->op == OP_PING)
		look_up(rq, r);
	else if (r->op == OP_WATCH)
		begin_watch(rq, c, r);
	else if (r->op == OP_RESET)
		reset_counters(rq, c, r);
}

/* A publisher is given up later than others. */
static void
note_stored(struct requests *rq, struct conn *c,
    const struct protocol_request *r)
{
	after_commit_stored(rq->after_commit, r);
	conn_stand(c, PEER_KNOWN);
}

/* Who took something from whom is always in the log. */
static void
note_revoked(struct requests *rq, struct conn *c,
    const struct protocol_request *r)
{
	status_writer_add(rq->status_writer, METRIC_REVOCATIONS, 1);
	conn_stand(c, PEER_KNOWN);
	LOG_EVENT(LOG_INFO_, "revocation.stored",
	    LOG_INT("id", r->events[0].e.id),
	    LOG_STR("kind", span_str(revocation_kind_name(r->revokes))),
	    LOG_STR("value", r->events[0].e.data), LOG_INT("conn", c->number),
	    LOG_INT("pid", c->peer_pid), LOG_INT("uid", c->peer_uid));
}

/* Appends the answer to the connection's output. */
static enum status
requests_answer_one(struct requests *rq, struct conn *c,
    struct protocol_request *r)
{
	struct buf *out = conn_out(c);
	size_t before = out->len;
	enum status st;

	if (!c->dead && !c->deaf)
		carry_out(rq, c, r);
	if (r->op == OP_ERROR)
		note_error(rq, c, r);
	else if (r->op == OP_REVOKE)
		note_revoked(rq, c, r);
	else if (protocol_publishes(r))
		note_stored(rq, c, r);
	if (c->dead)
		return ST_OK;
	if (c->deaf) {
		/*
		 * This answer may have been all that kept the connection open.
		 */
		conn_wrote(c, before);
		return ST_OK;
	}
	st = c->codec->answer(out, r, log_writer_seen(rq->log_writer));
	conn_wrote(c, before);
	if (st == ST_OK && protocol_publishes(r) && rq->timing)
		note_answered(rq, r->read_us);
	return st;
}

/* ---- lines of workers ---------------------------------------------------- */

static enum status
fail_report(struct protocol_request *r, struct span message)
{
	protocol_fail(r, PROTOCOL_BAD_REQUEST, message);
	r->of_report = true;
	return ST_INVALID;
}

/* They say that they are a process of ours, and are not. */
static void
refuse_report(struct requests *rq, const struct conn *c,
    struct protocol_request *r, struct errmsg *why)
{
	errmsg_set(why,
	    "uid %lld may not report, or watch as a worker does: if it is the "
	    "user of workers, add it to report_users in walcast.conf%s and "
	    "reload pubd",
	    (long long)c->peer_uid,
	    rq->rights->access.is_set ? ", or a line `uid ... report` to the "
					"access file,"
				      : "");
	r->of_report = r->op == OP_REPORT;
	protocol_fail(r, PROTOCOL_FORBIDDEN, span_str(why->text));
	status_writer_add(rq->status_writer, METRIC_REPORTS_FORBIDDEN, 1);
	rq->refused_uid = c->peer_uid;
	rq->refused_ms = rq->now_ms;
}

static void
refuse_watch(const struct conn *c, struct protocol_request *r,
    struct errmsg *why)
{
	errmsg_set(why,
	    "uid %lld may not watch: no line `uid` or `gid` of the access "
	    "file is for it",
	    (long long)c->peer_uid);
	protocol_fail(r, PROTOCOL_FORBIDDEN, span_str(why->text));
}

static void
refuse_revoke(const struct conn *c, struct protocol_request *r,
    struct errmsg *why)
{
	errmsg_set(why,
	    "uid %lld may not revoke: root and the owner of the log may, and "
	    "who has a line such as `uid %lld revoke` in the access file",
	    (long long)c->peer_uid, (long long)c->peer_uid);
	protocol_fail(r, PROTOCOL_FORBIDDEN, span_str(why->text));
}

/* What may be forgotten at once would be taken back for nothing. */
static void
check_until(const struct requests *rq, struct protocol_request *r)
{
	if (r->op == OP_REVOKE && r->until_ms != 0 && r->until_ms <= rq->now_ms)
		protocol_fail(r, PROTOCOL_BAD_REQUEST,
		    SPAN("revoke: `until` has passed: it must be the time at "
			 "which the token ends"));
}

/* Fails a request that this peer has no right to make. */
static void
check_rights(struct requests *rq, const struct conn *c,
    struct protocol_request *r, struct errmsg *why)
{
	bool reports = r->op == OP_REPORT || r->op == OP_SPAN ||
	    (r->op == OP_WATCH && r->ours);

	if (r->op == OP_RESET && !trust_owns(&rq->rights->trust, c->peer_uid))
		protocol_fail(r, PROTOCOL_FORBIDDEN,
		    SPAN("reset_counters: only root and the owner of the log "
			 "may: run `walcast reset-counters` as one of them"));
	else if (r->op == OP_REVOKE && !rights_revoke(rq->rights, c->identity))
		refuse_revoke(c, r, why);
	else if (reports && !rights_report(rq->rights, c->identity))
		refuse_report(rq, c, r, why);
	else if (r->op == OP_WATCH && !rights_listen(rq->rights, c->identity))
		refuse_watch(c, r, why);
	else
		check_until(rq, r);
}

static void
tell_implausible(struct requests *rq, const struct conn *c,
    const struct protocol_request *r, const char *member)
{
	status_writer_add(rq->status_writer, METRIC_REPORTS_IMPLAUSIBLE, 1);
	if (log_gate(&rq->gate, rq->now_us))
		LOG_EVENT(LOG_WARN_, "report.implausible",
		    LOG_STR("name", r->report->row.name),
		    LOG_STR("counter", span_str(member)),
		    LOG_INT("pid", c->peer_pid), LOG_INT("uid", c->peer_uid));
}

static enum status
take_report(struct requests *rq, struct conn *c, struct protocol_request *r,
    struct errmsg *why)
{
	const char *member = NULL;
	enum status st = watchers_report(rq->watchers, c, r->report->row.name,
	    rq->now_us);

	if (st == ST_OK)
		st = status_writer_report(rq->status_writer, &r->report->row,
		    rq->now_us, rq->now_ms, &member);
	if (st == ST_OK) {
		conn_stand(c, PEER_KNOWN);
		status_writer_add(rq->status_writer, METRIC_REPORTS_UNKNOWN,
		    r->report->n_unknown);
		return ST_OK;
	}
	if (st == ST_EXISTS)
		return fail_report(r,
		    SPAN("report: another process has this name"));
	if (st == ST_CONSTRAINT) {
		tell_implausible(rq, c, r, member);
		errmsg_set(why,
		    "report: %s has grown by more than a process can count in "
		    "that time: it is left out",
		    member);
		return fail_report(r, span_str(why->text));
	}
	if (st == ST_FULL)
		return fail_report(r,
		    SPAN("report: too many of them: once a second is enough"));
	return fail_report(r,
	    SPAN("report: it must come on a connection that watches, always "
		 "under the same name: send {\"op\":\"watch\"} first"));
}

static enum status
take_span(struct requests *rq, struct conn *c, struct protocol_request *r)
{
	if (c->watcher != NULL) {
		after_commit_dispatched(rq->after_commit, r->span);
		return ST_OK;
	}
	protocol_fail(r, PROTOCOL_BAD_REQUEST,
	    SPAN("span: it must come on a connection that watches: send "
		 "{\"op\":\"watch\"} first"));
	return ST_INVALID;
}

/* ---- what one may publish ------------------------------------------------ */

#define SHOW_IN_COMMAND 80 /* bytes of a channel */

static void
refuse_event(const struct conn *c, struct protocol_request *r, size_t index,
    struct errmsg *why)
{
	struct span channel = r->events[index].e.channel;
	struct span again = channel.len > SHOW_IN_COMMAND ? SPAN("CHANNEL")
							  : channel;
	bool is_array = r->op == OP_ARRAY;

	errmsg_set(why,
	    "uid %lld may not publish to %.*s: no line of the access file "
	    "allows it, see `walcast access --as uid=%lld publish %.*s`",
	    (long long)c->peer_uid, (int)channel.len, channel.p,
	    (long long)c->peer_uid, (int)again.len, again.p);
	protocol_fail(r, PROTOCOL_FORBIDDEN, span_str(why->text));
	r->failure.channel = channel;
	if (is_array)
		r->failure.index = (int64_t)index;
}

/* By publish_rate, or by the rate of a line. */
static void
refuse_amount(const struct conn *c, struct protocol_request *r, enum status st,
    const struct rights_bill *bill, struct errmsg *why)
{
	struct span channel = r->events[0].e.channel;
	bool by_line = bill->line != 0;

	if (st == ST_TOOLARGE) {
		errmsg_set(why,
		    "%zu events at once are more than uid %lld may ever "
		    "publish (%s): send smaller arrays",
		    bill->n_events, (long long)c->peer_uid,
		    by_line ? "burst= in the access file" : "publish_burst");
		protocol_fail(r, PROTOCOL_TOO_LARGE, span_str(why->text));
	} else {
		errmsg_set(why,
		    "uid %lld publishes more than it may (%s): nothing was "
		    "stored, send it again after retry_ms",
		    (long long)c->peer_uid,
		    by_line ? "rate= in the access file" : "publish_rate");
		protocol_fail(r, PROTOCOL_RATE_LIMITED, span_str(why->text));
		r->failure.retry_ms = (int64_t)((bill->wait_us + 999) / 1000);
	}
	r->failure.channel = channel;
}

/* Fails r, with a message in *why, which must outlive it, or pays for it. */
static void
pay(struct requests *rq, struct conn *c, struct protocol_request *r,
    struct rights_bill *bill, struct errmsg *why)
{
	/* Not rq->now_us, which is of the turn before. */
	enum status st = rights_publish(rq->rights, c->identity, r->events,
	    r->n_events, loop_now_us(c->set->loop), bill);

	c->set->cost += (int64_t)bill->cost;
	if (st == ST_DENIED)
		refuse_event(c, r, bill->index, why);
	else if (st != ST_OK)
		refuse_amount(c, r, st, bill, why);
}

/* ---- lines --------------------------------------------------------------- */

/* Puts it into the batch, or answers it when nothing waits before it. */
static enum status
requests_enter(struct requests *rq, struct conn *c, struct protocol_request *r)
{
	enum status st;

	if (!protocol_stores(r) && c->n_waiting == 0)
		return requests_answer_one(rq, c, r);
	st = batch_add(rq->batch, c, r);
	if (st == ST_OK) {
		c->n_waiting++;
	} else if (st == ST_NOMEM && c->n_waiting == 0) {
		/* UNTESTED: one event is refused, the rest goes on */
		protocol_fail(r, PROTOCOL_UNAVAILABLE,
		    SPAN("pubd is out of memory: send it again later"));
		st = requests_answer_one(rq, c, r);
	}
	return st;
}

/* Of a line that is taken, and of one that was read for nothing. */
#define BYTES_PER_COST       512
#define BYTES_PER_COST_WASTE 128

/* The cost of the work for a request, for its user's turn. */
static int64_t
cost_of(const struct protocol_request *r, size_t n_bytes)
{
	if (protocol_stores(r))
		return (int64_t)(n_bytes / BYTES_PER_COST + r->n_events);
	return (int64_t)(n_bytes / BYTES_PER_COST_WASTE) +
	    (r->op == OP_REPORT ? CONN_COST_REPORT : CONN_COST_ANSWER);
}

enum status
requests_line(void *arg, struct conn *c, struct span line)
{
	struct requests *rq = arg;
	struct errmsg why;
	struct protocol_request r;
	struct rights_bill bill;
	enum status st;

	c->codec->parse(rq->protocol, line, &r);
	r.read_us = c->read_us;
	c->set->cost = cost_of(&r, line.len);
	check_rights(rq, c, &r, &why);
	if (r.op == OP_REPORT && take_report(rq, c, &r, &why) == ST_OK)
		return ST_OK;
	if (r.op == OP_SPAN && take_span(rq, c, &r) == ST_OK)
		return ST_OK;
	bill.n = 0;
	if (protocol_publishes(&r))
		pay(rq, c, &r, &bill, &why);
	st = requests_enter(rq, c, &r);
	if (st == ST_FULL)
		rights_refund(rq->rights, &bill);
	return st;
}

enum status
requests_refuse(void *arg, struct conn *c, enum status why)
{
	struct requests *rq = arg;
	struct protocol_request r = {.op = OP_ERROR};
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
			 "is given up, send it again"));
	}
	return requests_enter(rq, c, &r);
}

void
requests_answer(struct requests *rq)
{
	size_t i, n = batch_count(rq->batch);

	for (i = 0; i < n; i++) {
		struct batch_op *op = batch_at(rq->batch, i);
		struct conn *c = op->waiter;

		c->n_waiting--;
		if (requests_answer_one(rq, c, &op->request) != ST_OK)
			conn_kill(c);
	}
	batch_clear(rq->batch);
}

void
requests_gone(void *arg, struct conn *c)
{
	struct requests *rq = arg;
	struct span name = watchers_last_name(rq->watchers, c);

	/* When we end, the workers go on: their leases speak for them. */
	if (name.len > 0 && !c->set->stopping)
		status_writer_gone(rq->status_writer, name, rq->now_us,
		    rq->now_ms);
	watchers_drop(rq->watchers, c);
}

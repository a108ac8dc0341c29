/* SPDX-License-Identifier: MIT */
/*
 * Status and log, opened for one look and closed again: a file that was
 * replaced or came back is seen without any watching, and what an open costs
 * is nothing at the pace of a scrape.  No look syncs a file: who asks for
 * metrics must not take the disk from those who publish.
 */
#include "scrape.h"

#include <time.h>

#include "jsontext.h"
#include "metrics_json.h"
#include "statusdb.h"
#include "store.h"

#define LOCK_TRIES   50
#define LOCK_WAIT_NS 1000000
#define LIST_MAX     (1u << 20) /* bytes of a list of processes or errors */
#define REASONS_MAX  4096

/* ---- reading ------------------------------------------------------------ */

/* Rows on their way from the table; the first failure ends it. */
struct rows {
	struct scrape *scrape;
	enum status st;
};

/* Past its bound a list ends, and the sums go on. */
static enum status
unless_full(enum status st)
{
	return st == ST_FULL ? ST_OK : st;
}

static void
scrape_take_row(void *arg, const struct status_row *row)
{
	struct rows *rows = arg;
	struct scrape *s = rows->scrape;

	if (rows->st != ST_OK)
		return;
	if (!span_eq(row->name, SPAN(STATUSDB_TOTALS)))
		rows->st = unless_full(metrics_json_process(&s->processes, row,
		    aggregate_is_live(s->metrics, row)));
	if (rows->st == ST_OK)
		rows->st = aggregate_add_row(s->metrics, row);
}

static void
scrape_take_error(void *arg, const struct statusdb_error *e)
{
	struct rows *rows = arg;

	if (rows->st == ST_OK)
		rows->st = unless_full(
		    metrics_json_error(&rows->scrape->errors, e));
}

static enum status
read_rows(struct scrape *s, struct statusdb *db)
{
	struct rows rows = {.scrape = s, .st = ST_OK};
	enum status st = statusdb_each(db, scrape_take_row, &rows);

	if (st == ST_OK)
		st = statusdb_each_error(db, scrape_take_error, &rows);
	if (st != ST_OK)
		errmsg_set(&s->status_error, "status.db cannot be read: %s",
		    status_name(st));
	return st == ST_OK ? rows.st : st;
}

/* One try, into metrics that are made anew so that no row counts twice. */
static enum status
try_status(struct scrape *s, const char *database, int64_t now_ms)
{
	struct statusdb *db = NULL;
	enum status st;

	aggregate_free(&s->metrics);
	buf_clear(&s->processes);
	buf_clear(&s->errors);
	st = aggregate_new(&s->metrics, now_ms);
	if (st != ST_OK)
		return st;
	errmsg_set(&s->status_error, "status.db cannot be opened");
	st = statusdb_open(&db, database, false, &s->status_error);
	if (st != ST_OK)
		return st;
	st = read_rows(s, db);
	statusdb_close(&db);
	return st;
}

/* Some of them may have been read. */
static void
lose_rows(struct scrape *s)
{
	aggregate_lose_rows(s->metrics);
	buf_clear(&s->processes);
	buf_clear(&s->errors);
}

static enum status
try_store(struct scrape *s, const char *database, struct store_bounds *b)
{
	const struct store_options o = {.path = database, .for_show = true};

	errmsg_set(&s->store_error, "the log %s cannot be opened", database);
	return store_bounds_of(&o, b, &s->store_error);
}

static void
scrape_wait_for_lock(void)
{
	const struct timespec t = {.tv_nsec = LOCK_WAIT_NS};

	(void)nanosleep(&t, NULL);
}

static void
tell_log(struct scrape *s)
{
	struct aggregate *m = s->metrics;
	const struct store_bounds *b = &s->bounds;

	aggregate_tell(m, "sse_store_up", s->store_ok ? 1 : 0);
	aggregate_inform(m, "sse_build_info", SPAN(WALCAST_VERSION));
	if (!s->store_ok)
		return;
	aggregate_tell(m, "sse_log_head", b->head);
	aggregate_tell(m, "sse_log_oldest", b->oldest);
	aggregate_tell(m, "sse_log_events", b->head - b->oldest + 1);
	aggregate_inform(m, "sse_log_info", span_str(b->generation));
}

static enum status
read_store(struct scrape *s, const char *database)
{
	enum status st = try_store(s, database, &s->bounds);
	int tries;

	for (tries = 1; st == ST_BUSY && tries < LOCK_TRIES; tries++) {
		scrape_wait_for_lock();
		st = try_store(s, database, &s->bounds);
	}
	if (st != ST_OK)
		s->bounds = (struct store_bounds){0};
	return st;
}

enum status
scrape_read(struct scrape *s, const char *database, int64_t now_ms)
{
	enum status st;
	int tries;

	*s = (struct scrape){0};
	buf_init(&s->processes, LIST_MAX);
	buf_init(&s->errors, LIST_MAX);
	st = try_status(s, database, now_ms);
	for (tries = 1; st == ST_BUSY && tries < LOCK_TRIES; tries++) {
		scrape_wait_for_lock();
		st = try_status(s, database, now_ms);
	}
	if (s->metrics == NULL || st == ST_NOMEM) {
		scrape_fini(s);
		return ST_NOMEM;
	}
	s->status_ok = st == ST_OK;
	if (!s->status_ok)
		lose_rows(s);
	s->store_ok = read_store(s, database) == ST_OK;
	tell_log(s);
	return ST_OK;
}

void
scrape_fini(struct scrape *s)
{
	aggregate_free(&s->metrics);
	buf_fini(&s->processes);
	buf_fini(&s->errors);
}

/* ---- readiness ---------------------------------------------------------- */

bool
scrape_ready(const struct scrape *s)
{
	struct aggregate_pubd pubd = aggregate_pubd(s->metrics);

	return s->store_ok && s->status_ok && pubd.alive && pubd.answers;
}

static void
put_reason(struct buf *out, const char *part, const char *reason, int *n)
{
	buf_addf(out, "%s{\"part\":\"%s\",\"reason\":", (*n)++ > 0 ? "," : "",
	    part);
	jsontext_add_quoted(out, span_str(reason));
	buf_add(out, SPAN("}"));
}

static void
put_pubd_reason(const struct scrape *s, struct buf *out, int *n)
{
	struct aggregate_pubd pubd = aggregate_pubd(s->metrics);
	struct errmsg why;

	if (!s->status_ok) {
		put_reason(out, "pubd", s->status_error.text, n);
		return;
	}
	if (pubd.alive && pubd.answers)
		return;
	if (pubd.alive)
		errmsg_set(&why,
		    "pubd runs and does not answer on its socket: its last "
		    "good answer to a ping of its own is %lld.%03d s old; see "
		    "its log, restart it",
		    (long long)(pubd.ping_ms / 1000),
		    (int)(pubd.ping_ms % 1000));
	else if (pubd.age_ms < 0)
		errmsg_set(&why,
		    "pubd does not run: status.db has no row of "
		    "it; start it");
	else
		errmsg_set(&why,
		    "pubd is silent: its last heartbeat is %lld.%03d s old, "
		    "%lld ms are its lease; see its log",
		    (long long)(pubd.age_ms / 1000), (int)(pubd.age_ms % 1000),
		    (long long)pubd.lease_ms);
	put_reason(out, "pubd", why.text, n);
}

/* The elements of the list of reasons; none when all is well. */
static void
put_reasons(const struct scrape *s, struct buf *out)
{
	int n = 0;

	if (!s->store_ok)
		put_reason(out, "store", s->store_error.text, &n);
	put_pubd_reason(s, out, &n);
}

enum status
scrape_ready_json(const struct scrape *s, struct buf *out)
{
	size_t start = out->len;

	buf_addf(out, "{\"ready\":%s,\"reasons\":[",
	    scrape_ready(s) ? "true" : "false");
	put_reasons(s, out);
	buf_add(out, SPAN("]}\n"));
	return buf_finish(out, start);
}

enum status
scrape_json(const struct scrape *s, struct buf *out)
{
	struct buf reasons;
	enum status st;

	buf_init(&reasons, REASONS_MAX);
	put_reasons(s, &reasons);
	st = buf_status(&reasons);
	if (st == ST_OK) {
		const struct metrics_json_lists lists = {
		    .reasons = buf_span(&reasons),
		    .processes = buf_span(&s->processes),
		    .errors = buf_span(&s->errors)};

		st = metrics_json_put(s->metrics, &lists, out);
	}
	buf_fini(&reasons);
	return st;
}

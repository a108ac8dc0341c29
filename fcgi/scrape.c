/* SPDX-License-Identifier: MIT */
/*
 * Status and log, opened for one look and closed again: a file that was
 * replaced or came back is seen without any watching, and what an open costs
 * is nothing at the pace of a scrape.
 */
#include "scrape.h"

#include <time.h>

#include "jsontext.h"
#include "statusdb.h"
#include "store.h"

#define LOCK_TRIES   50
#define LOCK_WAIT_NS 1000000

/* ---- reading ------------------------------------------------------------ */

struct rows {
	struct metrics *metrics;
	enum status st;
};

static void
take_row(void *arg, const struct statusdb_row *row)
{
	struct rows *rows = arg;

	if (rows->st == ST_OK)
		rows->st = metrics_add_row(rows->metrics, row);
}

/* One try, into metrics that are made anew so that no row counts twice. */
static enum status
try_status(struct scrape *s, const char *database, int64_t now_ms)
{
	struct statusdb *db = NULL;
	struct rows rows = {.st = ST_OK};
	enum status st;

	metrics_free(&s->metrics);
	st = metrics_new(&s->metrics, now_ms);
	if (st != ST_OK)
		return st;
	errmsg_set(&s->status_error, "status.db cannot be opened");
	st = statusdb_open(&db, database, false, &s->status_error);
	if (st != ST_OK)
		return st;
	rows.metrics = s->metrics;
	st = statusdb_each(db, take_row, &rows);
	if (st != ST_OK)
		errmsg_set(&s->status_error, "status.db cannot be read: %s",
		    status_name(st));
	statusdb_close(&db);
	return st == ST_OK ? rows.st : st;
}

static enum status
try_store(struct scrape *s, const char *database, struct store_bounds *b)
{
	const struct store_options o = {.path = database};
	struct store_reader *r = NULL;
	enum status st;

	errmsg_set(&s->store_error, "the log %s cannot be opened", database);
	st = store_reader_open(&r, &o, &s->store_error);
	if (st != ST_OK)
		return st;
	st = store_reader_bounds(r, b);
	if (st != ST_OK)
		errmsg_set(&s->store_error, "the log %s cannot be read: %s",
		    database, store_reader_error(r));
	store_reader_close(&r);
	return st;
}

static void
wait_for_lock(void)
{
	const struct timespec t = {.tv_nsec = LOCK_WAIT_NS};

	(void)nanosleep(&t, NULL);
}

static void
tell_bounds(struct metrics *m, const struct store_bounds *b)
{
	metrics_tell(m, "sse_log_head", b->head);
	metrics_tell(m, "sse_log_oldest", b->oldest);
	metrics_tell(m, "sse_log_events", b->head - b->oldest + 1);
}

enum status
scrape_read(struct scrape *s, const char *database, int64_t now_ms)
{
	struct store_bounds bounds;
	enum status st;
	int tries;

	*s = (struct scrape){0};
	st = try_status(s, database, now_ms);
	for (tries = 1; st == ST_BUSY && tries < LOCK_TRIES; tries++) {
		wait_for_lock();
		st = try_status(s, database, now_ms);
	}
	s->status_ok = st == ST_OK;
	if (s->metrics == NULL || st == ST_NOMEM) {
		scrape_fini(s);
		return ST_NOMEM;
	}
	st = try_store(s, database, &bounds);
	for (tries = 1; st == ST_BUSY && tries < LOCK_TRIES; tries++) {
		wait_for_lock();
		st = try_store(s, database, &bounds);
	}
	s->store_ok = st == ST_OK;
	if (s->store_ok)
		tell_bounds(s->metrics, &bounds);
	metrics_tell(s->metrics, "sse_store_up", s->store_ok ? 1 : 0);
	return ST_OK;
}

void
scrape_fini(struct scrape *s)
{
	metrics_free(&s->metrics);
}

/* ---- readiness ---------------------------------------------------------- */

bool
scrape_ready(const struct scrape *s)
{
	return s->store_ok && s->status_ok && metrics_pubd(s->metrics).alive;
}

static enum status
put_reason(struct buf *out, const char *part, const char *reason, int *n)
{
	enum status st;

	st = buf_printf(out,
	    "%s{\"part\":\"%s\",\"reason\":", (*n)++ > 0 ? "," : "", part);
	if (st == ST_OK)
		st = jsontext_quote(out, span_str(reason));
	if (st == ST_OK)
		st = buf_append(out, SPAN("}"));
	return st;
}

static enum status
put_pubd_reason(const struct scrape *s, struct buf *out, int *n)
{
	struct metrics_pubd pubd = metrics_pubd(s->metrics);
	struct errmsg why;

	if (!s->status_ok)
		return put_reason(out, "pubd", s->status_error.text, n);
	if (pubd.alive)
		return ST_OK;
	if (pubd.age_ms < 0)
		errmsg_set(&why,
		    "pubd does not run: status.db has no row of "
		    "it; start it");
	else
		errmsg_set(&why,
		    "pubd is silent: its last heartbeat is %lld.%03d s old, "
		    "%lld ms are its lease; see its log",
		    (long long)(pubd.age_ms / 1000), (int)(pubd.age_ms % 1000),
		    (long long)pubd.lease_ms);
	return put_reason(out, "pubd", why.text, n);
}

enum status
scrape_ready_json(const struct scrape *s, struct buf *out)
{
	enum status st;
	int n = 0;

	st = buf_printf(out, "{\"ready\":%s,\"reasons\":[",
	    scrape_ready(s) ? "true" : "false");
	if (st == ST_OK && !s->store_ok)
		st = put_reason(out, "store", s->store_error.text, &n);
	if (st == ST_OK)
		st = put_pubd_reason(s, out, &n);
	if (st == ST_OK)
		st = buf_append(out, SPAN("]}\n"));
	return st;
}

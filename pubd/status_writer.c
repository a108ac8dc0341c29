/* SPDX-License-Identifier: MIT */
/*
 * The status table, as pubd writes it.  Owns the connection to status.db;
 * opens it again a second after it failed.  Blocks on the disk's cache only.
 */
#include "status_writer.h"

#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "statusdb.h"

#define METRICS_MAX (128 * 1024) /* bytes; half of it are channels */
#define RETRY_US    1000000
#define SLACK_MS    2000
#define OTHERS_MAX  8 /* rows of pubds that were killed, at once */

/*
 * No process is believed to have counted for more than a day since its last
 * report.
 */
#define MAX_ELAPSED_MS INT64_C(86400000)

void
status_writer_init(struct status_writer *b, const char *log_path, int64_t pid,
    int64_t now_ms)
{
	*b = (struct status_writer){.log_path = log_path,
	    .pid = pid,
	    .started_ms = now_ms};
	(void)snprintf(b->name, sizeof(b->name), "pubd-%lld-%lld",
	    (long long)pid, (long long)now_ms);
}

/* ---- the table ---------------------------------------------------------- */

/* The names of rows of other pubds. */
struct others {
	const struct status_writer *status_writer;
	size_t n;
	char name[OTHERS_MAX][NAME_MAX_BYTES];
	size_t len[OTHERS_MAX];
};

static void
note_other(void *arg, const struct status_row *row)
{
	struct others *o = arg;

	if (!span_eq(row->role, SPAN("pubd")) ||
	    span_eq(row->name, span_str(o->status_writer->name)) ||
	    o->n == OTHERS_MAX || row->name.len > NAME_MAX_BYTES)
		return;
	memcpy(o->name[o->n], row->name.p, row->name.len);
	o->len[o->n++] = row->name.len;
}

/*
 * A pubd of before was killed: its lease still runs, but it is dead, for we
 * have its socket.  (One that has another socket comes back with its next
 * heartbeat.)
 */
static enum status
inherit(struct status_writer *b, int64_t now_ms)
{
	struct others o = {.status_writer = b};
	enum status st = statusdb_each(b->db, note_other, &o);
	size_t i;

	for (i = 0; st == ST_OK && i < o.n; i++)
		st = statusdb_remove(b->db, span_of(o.name[i], o.len[i]),
		    now_ms);
	return st;
}

/* Opens the table when it is not and may be tried. */
static bool
is_open(struct status_writer *b, uint64_t now_us, int64_t now_ms)
{
	struct errmsg err = {""};
	enum status st;

	if (b->db != NULL)
		return true;
	if (now_us < b->retry_us)
		return false;
	b->retry_us = now_us + RETRY_US;
	st = statusdb_open(&b->db, b->log_path, true, &err);
	if (st != ST_OK) {
		if (log_state(&b->closed, (int)st, now_us))
			log_warnx("no status table: %s", err.text);
		return false;
	}
	log_state_over(&b->closed);
	/* When that fails their leases run out instead. */
	status_ignore(inherit(b, now_ms));
	return true;
}

/* What a call on the table ends with. */
static void
note(struct status_writer *b, enum status st, uint64_t now_us)
{
	if (st == ST_BUSY || st == ST_NOMEM)
		return; /* the next second brings another one */
	if (st == ST_OK)
		log_state_over(&b->failing);
	else if (log_state(&b->failing, (int)st, now_us))
		log_warnx("the status table cannot be written: %s",
		    status_name(st));
	if (st == ST_OK || st == ST_NOSPACE || st == ST_CONSTRAINT)
		return;
	statusdb_close(&b->db);
	b->retry_us = now_us + RETRY_US;
}

void
status_writer_last_log(struct status_writer *b, uint64_t now_us, int64_t now_ms,
    struct store_bounds *out)
{
	enum status st;

	memset(out, 0, sizeof(*out));
	if (!is_open(b, now_us, now_ms))
		return;
	st = statusdb_log(b->db, out);
	note(b, st == ST_NOTFOUND ? ST_OK : st, now_us);
}

/* ---- our row ------------------------------------------------------------ */

static enum status
write_counters(struct status_writer *b, struct buf *out)
{
	struct metrics *f = &b->metrics;
	enum status st;

	metrics_set_hist(f, METRIC_PUBLISH, &b->publish);
	metrics_set_hist(f, METRIC_COMMIT_TIME, &b->commit);
	metrics_set_hist(f, METRIC_FSYNC_TIME, &b->sync);
	metrics_set_hist(f, METRIC_BATCH, &b->batch);
	st = metrics_write(f, METRICS_COUNTERS, out);
	if (st != ST_OK)
		return st;
	buf_truncate(out, out->len - 1);
	st = counted_write(&b->channels, out);
	return st == ST_OK ? buf_append(out, SPAN("}")) : st;
}

static enum status
status_writer_put_row(struct status_writer *b, int64_t now_ms)
{
	const struct log_last *last = log_last_error();
	struct status_row row = {.name = span_str(b->name),
	    .role = SPAN("pubd"),
	    .pid = b->pid,
	    .version = SPAN(WALCAST_VERSION),
	    .started_ms = b->started_ms,
	    .seen_ms = now_ms,
	    .lease_ms = STATUS_WRITER_LEASE_MS,
	    .head = b->log.head,
	    .cursor = b->log.head,
	    .error_ms = last->ts_ms,
	    .error = span_str(last->text)};
	struct buf counters, gauges;
	enum status st;

	buf_init(&counters, METRICS_MAX);
	buf_init(&gauges, METRICS_MAX);
	st = write_counters(b, &counters);
	if (st == ST_OK)
		st = metrics_write(&b->metrics, METRICS_GAUGES, &gauges);
	row.counters = buf_span(&counters);
	row.gauges = buf_span(&gauges);
	if (st == ST_OK)
		st = statusdb_put(b->db, &row, 1);
	if (st == ST_OK && b->log.generation[0] != '\0')
		st = statusdb_put_log(b->db, &b->log);
	buf_fini(&counters);
	buf_fini(&gauges);
	return st;
}

void
status_writer_write(struct status_writer *b, uint64_t now_us, int64_t now_ms)
{
	enum status st;

	if (!is_open(b, now_us, now_ms))
		return;
	st = status_writer_put_row(b, now_ms);
	if (st == ST_OK)
		st = statusdb_expire(b->db, now_ms);
	note(b, st, now_us);
}

void
status_writer_fini(struct status_writer *b, uint64_t now_us, int64_t now_ms)
{
	if (b->db == NULL)
		return;
	/* When that fails the last row counts, and its lease runs out. */
	note(b, status_writer_put_row(b, now_ms), now_us);
	if (b->db != NULL)
		status_ignore(
		    statusdb_remove(b->db, span_str(b->name), now_ms));
	statusdb_close(&b->db);
}

/* ---- the rows of others ------------------------------------------------- */

/* What a process had counted when it was last heard of. */
struct past {
	struct metrics counted;
	int64_t seen_ms;
};

static void
see_past(void *arg, const struct status_row *row)
{
	struct past *past = arg;
	unsigned n_unknown = 0;

	past->seen_ms = row->seen_ms;
	if (metrics_read(&past->counted, METRICS_COUNTERS, row->counters,
		&n_unknown) != ST_OK)
		past->counted = (struct metrics){.cell = {0}};
}

static bool
has_less(const struct metrics *now, const struct metrics *before)
{
	size_t i;

	for (i = 0; i < METRICS_N_CELLS; i++)
		if (now->cell[i] < before->cell[i])
			return true;
	return false;
}

/* Allows for clocks that were set and for reports that come late. */
static uint64_t
time_since(int64_t ms, int64_t now_ms)
{
	int64_t elapsed = ms < now_ms ? MAX_ELAPSED_MS : 0;

	if (ms < now_ms && ms > now_ms - MAX_ELAPSED_MS)
		elapsed = now_ms - ms;
	return (uint64_t)(elapsed + SLACK_MS);
}

/*
 * One absurd report would spoil the totals for good.  Returns the counter that
 * is impossible, or NULL.
 */
static const char *
look_at_counters(struct status_writer *b, const struct status_row *row,
    int64_t now_ms)
{
	struct past past = {.seen_ms = row->started_ms};
	struct metrics now = {.cell = {0}};
	unsigned n_unknown = 0;
	enum status st = statusdb_find(b->db, row->name, see_past, &past);

	if ((st != ST_OK && st != ST_NOTFOUND) ||
	    metrics_read(&now, METRICS_COUNTERS, row->counters, &n_unknown) !=
		ST_OK)
		return NULL; /* putting it fails as well, and says why */
	/* A process that has counted less is another one of the same name. */
	if (has_less(&now, &past.counted))
		past.counted = (struct metrics){.cell = {0}};
	return metrics_implausible(&past.counted, &now,
	    time_since(past.seen_ms, now_ms));
}

enum status
status_writer_report(struct status_writer *b, const struct status_row *reported,
    uint64_t now_us, int64_t now_ms, const char **member)
{
	struct status_row row = *reported;

	if (span_eq(row.name, span_str(b->name)) ||
	    span_eq(row.name, SPAN(STATUSDB_TOTALS)))
		return ST_EXISTS;
	if (!is_open(b, now_us, now_ms))
		return ST_OK;
	*member = look_at_counters(b, &row, now_ms);
	if (*member != NULL)
		return ST_CONSTRAINT;
	row.seen_ms = now_ms;
	row.lease_ms = STATUS_WRITER_LEASE_MS;
	note(b, statusdb_put(b->db, &row, 1), now_us);
	return ST_OK;
}

enum status
status_writer_reset(struct status_writer *b, uint64_t now_us, int64_t now_ms)
{
	enum status st = ST_BUSY;

	if (is_open(b, now_us, now_ms)) {
		st = statusdb_reset(b->db);
		note(b, st, now_us);
	}
	return st;
}

void
status_writer_gone(struct status_writer *b, struct span name, uint64_t now_us,
    int64_t now_ms)
{
	if (is_open(b, now_us, now_ms))
		note(b, statusdb_remove(b->db, name, now_ms), now_us);
}

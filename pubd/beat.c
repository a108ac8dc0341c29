/* SPDX-License-Identifier: MIT */
/*
 * The status table, as pubd writes it.  Owns the connection to status.db;
 * opens it again a second after it failed.  Blocks on the disk's cache only.
 */
#include "beat.h"

#include <stdio.h>

#include "buf.h"
#include "statusdb.h"

#define COUNTERS_MAX 4096
#define RETRY_US     1000000

void
beat_init(struct beat *b, const char *log_path, int64_t pid, int64_t now_ms)
{
	*b = (struct beat){.log_path = log_path,
	    .pid = pid,
	    .started_ms = now_ms};
	(void)snprintf(b->name, sizeof(b->name), "pubd-%lld-%lld",
	    (long long)pid, (long long)now_ms);
}

void
beat_fini(struct beat *b)
{
	if (b->db == NULL)
		return;
	/* When that fails its lease runs out instead. */
	status_ignore(statusdb_remove(b->db, span_str(b->name)));
	statusdb_close(&b->db);
}

/* Opens the table when it is not and may be tried. */
static bool
is_open(struct beat *b, uint64_t now_us)
{
	struct errmsg err = {""};

	if (b->db != NULL)
		return true;
	if (now_us < b->retry_us)
		return false;
	b->retry_us = now_us + RETRY_US;
	if (statusdb_open(&b->db, b->log_path, true, &err) == ST_OK)
		return true;
	if (log_gate(&b->gate, now_us))
		log_warnx("no status table: %s", err.text);
	return false;
}

/* Tells of a failure when it begins. */
static void
note(struct beat *b, enum status st, uint64_t now_us)
{
	if (st == ST_BUSY || st == ST_NOMEM)
		return; /* the next second brings another one */
	if (st != ST_OK && st != b->why && log_gate(&b->gate, now_us))
		log_warnx("the status table cannot be written: %s",
		    status_name(st));
	b->why = st;
	if (st == ST_OK || st == ST_NOSPACE || st == ST_CONSTRAINT)
		return;
	statusdb_close(&b->db);
	b->retry_us = now_us + RETRY_US;
}

static enum status
put(struct buf *out, const char *name, uint64_t v)
{
	return buf_printf(out, "%s\"%s\":%llu", out->len <= 1 ? "" : ",", name,
	    (unsigned long long)v);
}

static enum status
put_errors(struct buf *out, const struct beat_counters *n)
{
	uint64_t sum = 0;
	enum status st;
	char name[64];
	int i;

	for (i = PROTOCOL_BAD_JSON; i < PROTOCOL_N_ERRORS; i++)
		sum += n->errors[i];
	st = put(out, "publish_errors", sum);
	for (i = PROTOCOL_BAD_JSON; st == ST_OK && i < PROTOCOL_N_ERRORS; i++) {
		(void)snprintf(name, sizeof(name), "publish_errors_%s",
		    protocol_error_name((enum protocol_error)i));
		st = put(out, name, n->errors[i]);
	}
	return st;
}

static enum status
put_counters(struct buf *out, const struct beat *b, const struct beat_gauges *g)
{
	const struct {
		const char *name;
		uint64_t v;
	} list[] = {
	    {"events_published", b->n.events_published},
	    {"events_trimmed", b->n.events_trimmed},
	    {"commits", b->n.commits},
	    {"batch_events_max", b->n.batch_events_max},
	    {"connections_total", b->n.connections_total},
	    {"connections", g->connections},
	    {"watchers", g->watchers},
	    {"log_bytes", (uint64_t)g->log_bytes},
	    {"wal_bytes", (uint64_t)g->wal_bytes},
	};
	enum status st = buf_append(out, SPAN("{"));
	size_t i;

	for (i = 0; st == ST_OK && i < sizeof(list) / sizeof(list[0]); i++)
		st = put(out, list[i].name, list[i].v);
	if (st == ST_OK)
		st = put_errors(out, &b->n);
	return st == ST_OK ? buf_append(out, SPAN("}")) : st;
}

void
beat_write(struct beat *b, const struct beat_gauges *g, uint64_t now_us,
    int64_t now_ms)
{
	struct statusdb_row row = {.name = span_str(b->name),
	    .role = SPAN("pubd"),
	    .pid = b->pid,
	    .version = SPAN(WALCAST_VERSION),
	    .started_ms = b->started_ms,
	    .seen_ms = now_ms,
	    .lease_ms = BEAT_LEASE_MS,
	    .head = g->head,
	    .cursor = g->head};
	struct buf counters;
	enum status st;

	if (!is_open(b, now_us))
		return;
	buf_init(&counters, COUNTERS_MAX);
	st = put_counters(&counters, b, g);
	row.counters = buf_span(&counters);
	if (st == ST_OK)
		st = statusdb_put(b->db, &row, 1);
	if (st == ST_OK)
		st = statusdb_expire(b->db, now_ms);
	note(b, st, now_us);
	buf_fini(&counters);
}

void
beat_report(struct beat *b, const struct statusdb_row *reported,
    uint64_t now_us, int64_t now_ms)
{
	struct statusdb_row row = *reported;

	if (!is_open(b, now_us))
		return;
	row.seen_ms = now_ms;
	row.lease_ms = BEAT_LEASE_MS;
	note(b, statusdb_put(b->db, &row, 1), now_us);
}

void
beat_gone(struct beat *b, struct span name, uint64_t now_us)
{
	if (!is_open(b, now_us))
		return;
	note(b, statusdb_remove(b->db, name), now_us);
}

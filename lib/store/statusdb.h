/* SPDX-License-Identifier: MIT */
/*
 * The `status` table in status.db beside the log: one row for each process,
 * with a lease.  Written by pubd (synchronous OFF, since it may be lost), read
 * by sse-metrics.fcgi and `walcast status`.  When a row's lease has run out,
 * its process has died.
 *
 * Counters never go back: those of a process that is gone are added to the row
 * STATUSDB_TOTALS, which is always there and has no lease.  When a process that
 * was given up comes back under its name within the hour, its counters are
 * taken out again, so that nothing counts twice; the last thousand such
 * processes are remembered.  One that comes back with less than was counted
 * under its name is another process.  Sum the counters of all rows.
 *
 * Any function may fail with ST_BUSY (another writer; try later) or ST_NOSPACE;
 * or with ST_MOVED (the file was replaced), ST_CORRUPT or ST_IO: then close it
 * and open it again.
 */
#ifndef WALCAST_STATUSDB_H
#define WALCAST_STATUSDB_H

#include <stdbool.h>
#include <stdint.h>

#include "span.h"
#include "status.h"
#include "status_row.h"

#define STATUSDB_TOTALS "totals" /* name and role of that row */
#define STATUSDB_ERRORS 50       /* so many are kept */

struct statusdb;
struct store_bounds;

struct statusdb_error {
	int64_t ts_ms;    /* Unix time */
	struct span name; /* of the process */
	struct span text;
};

/*
 * log_path   the log's database; status.db lies beside it, and has its group
 *            and permission bits
 * writable   makes it when it is missing, damaged or of another version
 *
 * Returns  ST_OK, ST_NOTFOUND (no log; for a reader: no status yet),
 *          ST_SCHEMA, ST_DENIED, ST_BUSY, ST_NOMEM, ST_TOOLARGE (the path),
 *          ST_IO
 */
MUST_USE enum status statusdb_open(struct statusdb **out, const char *log_path,
    bool writable, struct errmsg *err);
void statusdb_close(struct statusdb **s);

/*
 * Inserts or replaces rows; n of them in one transaction.
 * Returns  ST_CONSTRAINT when counters or gauges are no JSON object; nothing
 *          was put
 */
MUST_USE enum status statusdb_put(struct statusdb *s,
    const struct status_row *rows, int n);

/* Removes rows whose lease has run out: their counters join the totals. */
MUST_USE enum status statusdb_expire(struct statusdb *s, int64_t now_ms);

/*
 * Removes one row at once, if it is there: its process said goodbye.  now_ms
 * is Unix time.
 */
MUST_USE enum status statusdb_remove(struct statusdb *s, struct span name,
    int64_t now_ms);

/*
 * Forgets the counters of all processes that have ended.  Running ones keep
 * theirs and report them again.  For a writer only.
 */
MUST_USE enum status statusdb_reset(struct statusdb *s);

/*
 * Calls fn for the row of this name, even when its process was given up but may
 * come back.  Its spans are valid during the call only.  For a writer only.
 *
 * Returns  ST_NOTFOUND when there is none
 */
MUST_USE enum status statusdb_find(struct statusdb *s, struct span name,
    void (*fn)(void *arg, const struct status_row *row), void *arg);

/* Calls fn for each row, by name; its spans are valid during the call only. */
MUST_USE enum status statusdb_each(struct statusdb *s,
    void (*fn)(void *arg, const struct status_row *row), void *arg);

/*
 * Head and generation of the log as pubd knows them, from which the next pubd
 * sees whether the log has lost events meanwhile.  For a writer only.
 *
 * statusdb_log: ST_NOTFOUND when nobody knows
 */
MUST_USE enum status statusdb_put_log(struct statusdb *s,
    const struct store_bounds *b);
MUST_USE enum status statusdb_log(struct statusdb *s, struct store_bounds *b);

/*
 * How far from now the last heartbeat is.  One that lies after now was written
 * before the clock was set back: nobody knows when, but its process is dead, or
 * it would have written another one since.
 */
int64_t statusdb_age_ms(const struct status_row *row, int64_t now_ms);
bool statusdb_is_live(const struct status_row *row, int64_t now_ms);

/* The last errors of all processes, newest first; else as statusdb_each. */
MUST_USE enum status statusdb_each_error(struct statusdb *s,
    void (*fn)(void *arg, const struct statusdb_error *e), void *arg);

#endif

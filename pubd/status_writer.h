/* SPDX-License-Identifier: MIT */
/*
 * What pubd counts, and the status table that it writes: its own row each
 * second, and the rows that the workers report.  When the table cannot be
 * written, that is logged, and nothing else suffers.
 *
 * No counter goes back: not when a process ends (its row joins the totals),
 * not when it only seemed to (it is taken out again), not when pubd itself
 * is killed (its last row joins the totals when the next pubd starts).  What
 * a killed process did since its last report, a second at most, is lost.
 */
#ifndef WALCAST_STATUS_WRITER_H
#define WALCAST_STATUS_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "counted.h"
#include "hist.h"
#include "log.h"
#include "metrics.h"
#include "span.h"
#include "status.h"
#include "store.h"

#define STATUS_WRITER_US       1000000
#define STATUS_WRITER_LEASE_MS 10000

struct statusdb;
struct status_row;

struct status_writer {
	struct statusdb *db; /* NULL: not open */
	const char *log_path;
	char name[64];
	int64_t pid, started_ms;
	uint64_t retry_us;                /* when to open it again */
	struct log_state closed, failing; /* it cannot be opened, written */
	/* What its row will say; gauges are set anew before each writing. */
	struct metrics metrics;
	struct hist publish, commit, sync, batch;
	struct counted channels;
	struct store_bounds log; /* of which head and generation are used */
};

/* log_path   must outlive it */
void status_writer_init(struct status_writer *b, const char *log_path,
    int64_t pid, int64_t now_ms);

/*
 * Head and generation of the log as the pubd before this one last wrote them;
 * all zero when nobody knows.
 */
void status_writer_last_log(struct status_writer *b, uint64_t now_us,
    int64_t now_ms, struct store_bounds *out);

/* Writes the last metrics, says goodbye in the table and closes it. */
void status_writer_fini(struct status_writer *b, uint64_t now_us,
    int64_t now_ms);

/* Counts, in a cell of a counter. */
static inline void
status_writer_add(struct status_writer *b, unsigned cell, uint64_t n)
{
	metrics_set(&b->metrics, cell, b->metrics.cell[cell] + n);
}

/* Writes pubd's row and lets rows expire whose lease has passed. */
void status_writer_write(struct status_writer *b, uint64_t now_us,
    int64_t now_ms);

/*
 * A worker's report; seen now, with a lease.
 * Returns  ST_OK, ST_EXISTS (its name is that of our own row or of the
 *          totals), or ST_CONSTRAINT: no process can have counted so much in
 *          the time since its last report, or since it says that it began;
 *          *member names the counter
 */
MUST_USE enum status status_writer_report(struct status_writer *b,
    const struct status_row *row, uint64_t now_us, int64_t now_ms,
    const char **member);

/* Forgets what processes counted that are gone. */
MUST_USE enum status status_writer_reset(struct status_writer *b,
    uint64_t now_us, int64_t now_ms);

/* A worker's connection has ended. */
void status_writer_gone(struct status_writer *b, struct span name,
    uint64_t now_us, int64_t now_ms);

#endif

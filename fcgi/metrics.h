/* SPDX-License-Identifier: MIT */
/*
 * Figures over all processes: rows of the status table in, Prometheus text
 * (exposition format 0.0.4) or JSON out.  One catalogue says what there is;
 * what is not in it cannot be emitted.  Pure.
 *
 * Counters are summed over all rows, dead ones and the totals included, so
 * that they never go back.  Gauges are taken from rows whose lease runs.
 */
#ifndef WALCAST_METRICS_H
#define WALCAST_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "status.h"
#include "statusdb.h"

enum metrics_type { METRICS_GAUGE, METRICS_COUNTER };

/* Where a value comes from. */
enum metrics_source {
	METRICS_MEMBER,  /* the member of the row's counters */
	METRICS_STREAMS, /* the row's column */
	METRICS_LIVE,    /* 1 for each row whose lease runs */
	METRICS_AGE,     /* milliseconds since the row was written */
	METRICS_TOLD     /* metrics_tell() */
};

/* How the values of several rows become one. */
enum metrics_add { METRICS_SUM, METRICS_MAX, METRICS_MIN };

struct metrics_entry {
	const char *name;          /* NULL ends the catalogue */
	const char *label, *value; /* NULL when it has none */
	enum metrics_type type;
	const char *unit; /* "" when it has none */
	enum metrics_source source;
	const char *member; /* METRICS_MEMBER */
	const char *role;   /* of the rows to look at; NULL: all */
	enum metrics_add add;
	int64_t per;          /* what is added up is divided by this */
	const char *sentence; /* NULL: one more label of the one above */
};

extern const struct metrics_entry metrics_catalogue[];

struct metrics; /* opaque: metrics.c */

/* now_ms   Unix time, against which leases are held */
MUST_USE enum status metrics_new(struct metrics **out, int64_t now_ms);
void metrics_free(struct metrics **m);

/*
 * Adds one process.  Counters that are not a JSON object of numbers count as
 * none.
 * Returns  ST_OK or ST_NOMEM
 */
MUST_USE enum status metrics_add_row(struct metrics *m,
    const struct statusdb_row *row);

/* Gives a value whose source is METRICS_TOLD; the name must be such a one. */
void metrics_tell(struct metrics *m, const char *name, int64_t value);

/* Is pubd there?  Ages are of its newest row; -1 when there is none. */
struct metrics_pubd {
	bool alive;
	int64_t age_ms, lease_ms;
};
struct metrics_pubd metrics_pubd(const struct metrics *m);

MUST_USE enum status metrics_text(const struct metrics *m, struct buf *out);
MUST_USE enum status metrics_json(const struct metrics *m, struct buf *out);

#endif

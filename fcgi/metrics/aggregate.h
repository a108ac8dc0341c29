/* SPDX-License-Identifier: MIT */
/*
 * Metrics over all processes: rows of the status table in, series of the
 * catalogue (lib/metrics.def) out, which exposition.h and metrics_json.h put
 * into words.  What is not in the catalogue cannot come out.  Pure.
 *
 * Counters and histograms are summed over all rows, those of dead processes
 * and the totals included, so that they never go back.  Gauges are taken from
 * rows whose lease runs.
 */
#ifndef WALCAST_AGGREGATE_H
#define WALCAST_AGGREGATE_H

#include <stdbool.h>
#include <stdint.h>

#include "hist.h"
#include "metrics.h"
#include "span.h"
#include "status.h"
#include "statusdb.h"

struct aggregate; /* opaque: aggregate.c */

/* ---- in ----------------------------------------------------------------- */

/* now_ms   Unix time, against which leases are held */
MUST_USE enum status aggregate_new(struct aggregate **out, int64_t now_ms);
void aggregate_free(struct aggregate **m);

/*
 * Adds one process.  Counters or gauges that are not a JSON object of whole
 * numbers count as none.
 * Returns  ST_OK or ST_NOMEM
 */
MUST_USE enum status aggregate_add_row(struct aggregate *m,
    const struct status_row *row);

/*
 * Not all rows could be read: what was added is forgotten, and series that add
 * up rows are left out, because a counter that seems to go back looks like a
 * process that started again.
 */
void aggregate_lose_rows(struct aggregate *m);

/* Gives a value of the source METRIC_TOLD; the family must have one. */
void aggregate_tell(struct aggregate *m, const char *family, int64_t value);

/*
 * Gives the label's value of a family of the source METRIC_INFO; text must
 * outlive m.
 */
void aggregate_inform(struct aggregate *m, const char *family,
    struct span text);

/* ---- out ---------------------------------------------------------------- */

int64_t aggregate_now_ms(const struct aggregate *m);

/* Does the lease of this row run? */
bool aggregate_is_live(const struct aggregate *m, const struct status_row *row);

#define AGGREGATE_PING_MS 10000

/* Is pubd there?  Ages are of its newest row; -1 when there is none. */
struct aggregate_pubd {
	bool alive;
	int64_t age_ms, lease_ms;
	/*
	 * Since it answered its own ping, that of its row and the row's age;
	 * -1 when it does not say.
	 */
	int64_t ping_ms;
	bool answers; /* and that is not too long */
};
struct aggregate_pubd aggregate_pubd(const struct aggregate *m);

enum aggregate_kind {
	AGGREGATE_NUMBER,   /* number / per */
	AGGREGATE_QUOTIENT, /* quotient */
	AGGREGATE_HIST      /* hist, in the unit of scale */
};

/* One series as it stands; its spans are valid as long as m is unchanged. */
struct aggregate_series {
	const struct metric *family;
	struct span value; /* of its label, if the family has one */
	enum aggregate_kind kind;
	int64_t number, per;
	double quotient;
	struct hist hist;
	enum hist_scale scale;
};

struct aggregate_cursor {
	const struct metric *family;
	size_t at, named;
};

/*
 * Gives the series that there are, families together and in the order of the
 * catalogue.  Start with a zeroed cursor.  Returns false when there are no
 * more.
 */
bool aggregate_next(const struct aggregate *m, struct aggregate_cursor *c,
    struct aggregate_series *s);

#endif

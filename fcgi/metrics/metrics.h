/* SPDX-License-Identifier: MIT */
/*
 * Figures over all processes: rows of the status table in, series of the
 * catalogue (lib/figures.def) out, which exposition.h and metricsjson.h put
 * into words.  What is not in the catalogue cannot come out.  Pure.
 *
 * Counters and histograms are summed over all rows, those of dead processes
 * and the totals included, so that they never go back.  Gauges are taken from
 * rows whose lease runs.
 */
#ifndef WALCAST_METRICS_H
#define WALCAST_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "figures.h"
#include "hist.h"
#include "span.h"
#include "status.h"
#include "statusdb.h"

struct metrics; /* opaque: metrics.c */

/* ---- in ----------------------------------------------------------------- */

/* now_ms   Unix time, against which leases are held */
MUST_USE enum status metrics_new(struct metrics **out, int64_t now_ms);
void metrics_free(struct metrics **m);

/*
 * Adds one process.  Counters or gauges that are not a JSON object of whole
 * numbers count as none.
 * Returns  ST_OK or ST_NOMEM
 */
MUST_USE enum status metrics_add_row(struct metrics *m,
    const struct statusdb_row *row);

/*
 * The rows could not be read, not to their end: what was added is forgotten,
 * and series that add up rows are left out, for a counter that seems to go
 * back looks as if its process began anew.
 */
void metrics_lose_rows(struct metrics *m);

/* Gives a value of the source FIGURE_TOLD; the family must have one. */
void metrics_tell(struct metrics *m, const char *family, int64_t value);

/*
 * Gives the label's value of a family of the source FIGURE_INFO; text must
 * outlive m.
 */
void metrics_inform(struct metrics *m, const char *family, struct span text);

/* ---- out ---------------------------------------------------------------- */

int64_t metrics_now_ms(const struct metrics *m);

/* Does the lease of this row run? */
bool metrics_is_live(const struct metrics *m, const struct statusdb_row *row);

#define METRICS_PING_MS 10000

/* Is pubd there?  Ages are of its newest row; -1 when there is none. */
struct metrics_pubd {
	bool alive;
	int64_t age_ms, lease_ms;
	/*
	 * Since it answered its own ping, that of its row and the row's age;
	 * -1 when it does not say.
	 */
	int64_t ping_ms;
	bool answers; /* and that is not too long */
};
struct metrics_pubd metrics_pubd(const struct metrics *m);

enum metrics_kind {
	METRICS_NUMBER,   /* number / per */
	METRICS_QUOTIENT, /* quotient */
	METRICS_HIST      /* hist, in the unit of scale */
};

/* One series as it stands; its spans are valid as long as m is unchanged. */
struct metrics_series {
	const struct figure *family;
	struct span value; /* of its label, if the family has one */
	enum metrics_kind kind;
	int64_t number, per;
	double quotient;
	struct hist hist;
	enum hist_scale scale;
};

struct metrics_cursor {
	const struct figure *family;
	size_t at, named;
};

/*
 * Gives the series that there are, families together and in the order of the
 * catalogue.  Start with a zeroed cursor.  Returns false when there are no
 * more.
 */
bool metrics_next(const struct metrics *m, struct metrics_cursor *c,
    struct metrics_series *s);

#endif

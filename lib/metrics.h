/* SPDX-License-Identifier: MIT */
/*
 * The metrics that processes report and sse-metrics.fcgi shows.  One
 * catalogue (metrics.def) says what there is: what is not in it can neither
 * be reported nor shown.  Pure.
 *
 * A process keeps its metrics in cells, one for each number, HIST_CELLS for a
 * histogram.  In a report they are two flat JSON objects of whole numbers,
 * counters and gauges; buckets of a histogram are counters "NAME.0" to
 * "NAME.20", "NAME.sum".  So counters of several processes, histograms too,
 * add up member by member, without knowing what they mean.
 */
#ifndef WALCAST_METRICS_H
#define WALCAST_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "hist.h"
#include "span.h"
#include "status.h"

/* ---- cells -------------------------------------------------------------- */

enum metric_cell {
#define COUNTER(id, member, value)         METRIC_##id,
#define MICROS(id, member, value)          METRIC_##id,
#define GAUGE(id, member, value, add, per) METRIC_##id,
#define HIDDEN(id, member)                 METRIC_##id,
#define HIST(id, member, scale)                                                \
	METRIC_##id, METRIC_##id##_LAST = METRIC_##id + HIST_CELLS - 1,
#include "metrics.def"
	METRICS_N_CELLS
};

struct metrics {
	uint64_t cell[METRICS_N_CELLS];
	bool known[METRICS_N_CELLS]; /* it was set */
};

static inline void
metrics_set(struct metrics *f, unsigned cell, uint64_t v)
{
	f->cell[cell] = v;
	f->known[cell] = true;
}

/* first   the cell of a HIST */
void metrics_set_hist(struct metrics *f, unsigned first, const struct hist *h);
void metrics_get_hist(const struct metrics *f, unsigned first, struct hist *h);

/* ---- reports ------------------------------------------------------------ */

enum metrics_part { METRICS_COUNTERS, METRICS_GAUGES };

/*
 * Bounds on an object that is read: room for channels and for newer versions,
 * but not for abuse.
 */
#define METRICS_MAX_MEMBERS (4 * METRICS_N_CELLS)

/*
 * Appends the cells of one part that were set as a JSON object; counters that
 * are 0 are left out.
 *
 * Returns  ST_OK, ST_FULL, ST_NOMEM; on failure nothing was appended
 */
MUST_USE enum status metrics_write(const struct metrics *f,
    enum metrics_part part, struct buf *out);

/*
 * Sets the cells that the members of an object name.
 *
 * text       checked JSON (jsontext_check)
 * n_unknown  grows by the members that this part has not
 * Returns    ST_OK or ST_INVALID (no object, a value that is not a whole
 *            number from 0 to 2^63 - 1, or more members than
 *            METRICS_MAX_MEMBERS); cells may have been set
 */
MUST_USE enum status metrics_read(struct metrics *f, enum metrics_part part,
    struct span text, unsigned *n_unknown);

/*
 * Looks for a counter that grew by more in that time than any process can
 * manage; the maxima are far above what machines do (metrics.c).
 *
 * Returns  the member, or NULL; one that has gone back is not looked at
 */
const char *metrics_implausible(const struct metrics *before,
    const struct metrics *now, uint64_t elapsed_ms);

/* ---- the catalogue ------------------------------------------------------ */

/* X(member, its name in an exposition) */
#define METRIC_TYPES(X)                                                        \
	X(GAUGE, "gauge")                                                      \
	X(COUNTER, "counter")                                                  \
	X(HISTOGRAM, "histogram")

#define METRIC_TYPE_MEMBER(member, name) METRIC_##member,
enum metric_type { METRIC_TYPES(METRIC_TYPE_MEMBER) };

/* Where the value of a series comes from. */
enum metric_source {
	METRIC_FAMILY,   /* no series: begins a family */
	METRIC_CELL,     /* reported */
	METRIC_HIST,     /* reported, HIST_CELLS of them */
	METRIC_ROLE,     /* reported by processes of one role */
	METRIC_QUOTIENT, /* sum of `cell` by sum of `of` */
	METRIC_LIVE,     /* rows of the role whose lease runs */
	METRIC_STARTED,  /* start of the youngest of them */
	METRIC_AGE,      /* since pubd's row was written, milliseconds */
	METRIC_STREAMS,  /* the rows' column */
	METRIC_TOLD,     /* the reader of the log says it */
	METRIC_INFO,     /* 1; the label's value is what the reader says */
	METRIC_NAMED,    /* reported by pubd: one series for each member whose
			    name begins with `member`; the rest is the value */
	METRIC_HIDDEN    /* reported; not a series */
};

/* How the values of several processes become one. */
enum metric_add { METRIC_SUM, METRIC_MAX, METRIC_MIN };

struct metric {
	enum metric_source source;
	/* METRIC_FAMILY: */
	const char *name;
	enum metric_type type;
	const char *unit;  /* base unit; "" when it has none */
	const char *label; /* its name; NULL when it has none */
	const char *sentence;
	/* the others: */
	const char *value; /* of the label; NULL when there is none */
	const char *member;
	unsigned cell, of;
	enum metrics_part part;
	enum metric_add add;
	int64_t per; /* the value is divided by this */
	enum hist_scale scale;
	const char *role;
};

/* Families, each followed by its series. */
extern const struct metric metrics_catalogue[];
extern const size_t metrics_catalogue_n;

const char *metrics_type_name(enum metric_type t);

#endif

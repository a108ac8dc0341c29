/* SPDX-License-Identifier: MIT */
/*
 * The figures that processes report and sse-metrics.fcgi shows.  One
 * catalogue (figures.def) says what there is: what is not in it can neither
 * be reported nor shown.  Pure.
 *
 * A process keeps its figures in cells, one for each number, HIST_CELLS for a
 * histogram.  In a report they are two flat JSON objects of whole numbers,
 * counters and gauges; buckets of a histogram are counters "NAME.0" to
 * "NAME.20", "NAME.sum".  So counters of several processes, histograms too,
 * add up member by member, without knowing what they mean.
 */
#ifndef WALCAST_FIGURES_H
#define WALCAST_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "hist.h"
#include "span.h"
#include "status.h"

/* ---- cells -------------------------------------------------------------- */

enum figure_cell {
#define COUNTER(id, member, value)         FIG_##id,
#define MICROS(id, member, value)          FIG_##id,
#define GAUGE(id, member, value, add, per) FIG_##id,
#define HIDDEN(id, member)                 FIG_##id,
#define HIST(id, member, scale)                                                \
	FIG_##id, FIG_##id##_LAST = FIG_##id + HIST_CELLS - 1,
#include "figures.def"
	FIGURES_N_CELLS
};

struct figures {
	uint64_t cell[FIGURES_N_CELLS];
	bool known[FIGURES_N_CELLS]; /* it was set */
};

static inline void
figures_set(struct figures *f, unsigned cell, uint64_t v)
{
	f->cell[cell] = v;
	f->known[cell] = true;
}

/* first   the cell of a HIST */
void figures_set_hist(struct figures *f, unsigned first, const struct hist *h);
void figures_get_hist(const struct figures *f, unsigned first, struct hist *h);

/* ---- reports ------------------------------------------------------------ */

enum figures_part { FIGURES_COUNTERS, FIGURES_GAUGES };

/*
 * Of an object that is read: room for channels and newer versions, not for
 * mischief.
 */
#define FIGURES_MAX_MEMBERS (4 * FIGURES_N_CELLS)

/*
 * Appends the cells of one part that were set as a JSON object; counters that
 * are 0 are left out.
 *
 * Returns  ST_OK, ST_FULL, ST_NOMEM; on failure nothing was appended
 */
MUST_USE enum status figures_write(const struct figures *f,
    enum figures_part part, struct buf *out);

/*
 * Sets the cells that the members of an object name.
 *
 * text       checked JSON (jsontext_check)
 * n_unknown  grows by the members that this part has not
 * Returns    ST_OK or ST_INVALID (no object, a value that is not a whole
 *            number from 0 to 2^63 - 1, or more members than
 *            FIGURES_MAX_MEMBERS); cells may have been set
 */
MUST_USE enum status figures_read(struct figures *f, enum figures_part part,
    struct span text, unsigned *n_unknown);

/*
 * Looks for a counter that no process can have brought from one value to the
 * other in that time, by maxima far above what machines do (figures.c).
 *
 * Returns  the member, or NULL; one that has gone back is not looked at
 */
const char *figures_implausible(const struct figures *before,
    const struct figures *now, uint64_t elapsed_ms);

/* ---- the catalogue ------------------------------------------------------ */

/* X(member, its name in an exposition) */
#define FIGURE_TYPES(X)                                                        \
	X(GAUGE, "gauge")                                                      \
	X(COUNTER, "counter")                                                  \
	X(HISTOGRAM, "histogram")

#define FIGURE_TYPE_MEMBER(member, name) FIGURE_##member,
enum figure_type { FIGURE_TYPES(FIGURE_TYPE_MEMBER) };

/* Where the value of a series comes from. */
enum figure_source {
	FIGURE_FAMILY,   /* no series: begins a family */
	FIGURE_CELL,     /* reported */
	FIGURE_HIST,     /* reported, HIST_CELLS of them */
	FIGURE_ROLE,     /* reported by processes of one role */
	FIGURE_QUOTIENT, /* sum of `cell` by sum of `of` */
	FIGURE_LIVE,     /* rows of the role whose lease runs */
	FIGURE_STARTED,  /* start of the youngest of them */
	FIGURE_AGE,      /* since pubd's row was written, milliseconds */
	FIGURE_STREAMS,  /* the rows' column */
	FIGURE_TOLD,     /* the reader of the log says it */
	FIGURE_INFO,     /* 1; the label's value is what the reader says */
	FIGURE_NAMED,    /* reported by pubd: one series for each member whose
			    name begins with `member`; the rest is the value */
	FIGURE_HIDDEN    /* reported; not a series */
};

/* How the values of several processes become one. */
enum figure_add { FIGURE_SUM, FIGURE_MAX, FIGURE_MIN };

struct figure {
	enum figure_source source;
	/* FIGURE_FAMILY: */
	const char *name;
	enum figure_type type;
	const char *unit;  /* base unit; "" when it has none */
	const char *label; /* its name; NULL when it has none */
	const char *sentence;
	/* the others: */
	const char *value; /* of the label; NULL when there is none */
	const char *member;
	unsigned cell, of;
	enum figures_part part;
	enum figure_add add;
	int64_t per; /* the value is divided by this */
	enum hist_scale scale;
	const char *role;
};

/* Families, each followed by its series. */
extern const struct figure figures_catalogue[];
extern const size_t figures_catalogue_n;

const char *figures_type_name(enum figure_type t);

#endif

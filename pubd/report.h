/* SPDX-License-Identifier: MIT */
/*
 * What workers tell pubd: their figures, and what they did with an event that
 * is traced.  What is read here is what is kept: members that nobody knows
 * are left out, the rest keeps its bounds, so that nobody can put into the
 * status table what does not belong there.  Pure.
 *
 *   {"op":"report","name":S,"role":S,"version":S,"pid":N,"started_ms":N,
 *    "head":N,"cursor":N,"streams":N,"counters":{..},"gauges":{..},
 *    "error_ms":N,"error":S}
 *   {"op":"span","name":"dispatch","trace":S,"start_us":N,"end_us":N,"id":N,
 *    "channel":S,"type":S,"bytes":N,"streams":N}
 *
 * S a string, N a whole number, not negative; numbers that are missing are 0,
 * objects empty.
 */
#ifndef WALCAST_REPORT_H
#define WALCAST_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "span.h"
#include "status.h"
#include "statusdb.h"

#define REPORT_MAX_FIGURES 16384 /* bytes of the counters, of the gauges */
#define REPORT_MAX_FIGURE  ((uint64_t)1 << 53) /* each */
#define REPORT_MAX_ERROR   255                 /* bytes; more is cut */

struct values;

struct report {
	struct statusdb_row row; /* not seen yet, no lease */
	unsigned n_unknown;      /* figures that were left out */
};

/* A worker's span of an event. */
struct report_span {
	struct span trace;        /* the event's traceparent */
	int64_t start_us, end_us; /* Unix time */
	int64_t id, bytes, streams;
	struct span channel, type; /* of the event */
};

/*
 * Is it the role of a process that reports?  pubd's is none: it writes its row
 * itself, which says that it lives.
 */
bool report_role_ok(struct span role);

/*
 * Both take a checked line (jsontext_check) and make spans into it and into
 * the memory of v.
 *
 * Returns  ST_OK, ST_NOMEM, or ST_INVALID with a sentence in *why
 */
MUST_USE enum status report_parse(struct values *v, struct span line,
    struct report *out, struct errmsg *why);
MUST_USE enum status report_span_parse(struct values *v, struct span line,
    struct report_span *out, struct errmsg *why);

#endif

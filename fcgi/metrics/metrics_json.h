/* SPDX-License-Identifier: MIT */
/*
 * Metrics as JSON, on one line: what the status page shows, and what
 * `?format=json` answers.  Pure.
 *
 * {"generated_ms", "pubd":{"alive","age_ms","answers"}, "stale",
 *  "reasons":[...], "metrics":[{"name","type","unit","help","series":[
 *      {"labels","value"} or
 *      {"labels","count","sum","p50","p95","p99","buckets":[[le,n],...]}]}],
 *  "processes":[...], "errors":[...]}
 *
 * Buckets are cumulative, the le of the last is "+Inf".  Percentiles are in
 * the unit of the metric, null while nothing was counted; age_ms is null when
 * there is no row of pubd.
 */
#ifndef WALCAST_METRICS_JSON_H
#define WALCAST_METRICS_JSON_H

#include "aggregate.h"
#include "buf.h"
#include "span.h"
#include "status.h"
#include "statusdb.h"

/* All append, and return ST_OK, ST_NOMEM or ST_FULL. */

/* A process as an element of a list that begins at the start of `list`. */
MUST_USE enum status metrics_json_process(struct buf *list,
    const struct status_row *row, bool alive);
MUST_USE enum status metrics_json_error(struct buf *list,
    const struct statusdb_error *e);

/* Lists of elements, comma separated, for the members of these names. */
struct metrics_json_lists {
	struct span reasons, processes, errors;
};

MUST_USE enum status metrics_json_put(const struct aggregate *m,
    const struct metrics_json_lists *lists, struct buf *out);

#endif

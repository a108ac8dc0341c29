/* SPDX-License-Identifier: MIT */
/*
 * Metrics as Prometheus reads them: the text format 0.0.4, and OpenMetrics
 * 1.0, which differs in the names of counters, in units and in its end.
 * Bounds of buckets are written as OpenMetrics wants them in both ("1.0",
 * "5e-05"), so that a series has one name whatever was asked for.  Pure.
 */
#ifndef WALCAST_EXPOSITION_H
#define WALCAST_EXPOSITION_H

#include "aggregate.h"
#include "buf.h"
#include "status.h"

#define EXPOSITION_TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define EXPOSITION_OPEN_TYPE                                                   \
	"application/openmetrics-text; version=1.0.0; charset=utf-8"

enum exposition { EXPOSITION_TEXT, EXPOSITION_OPEN };

/* Appends all of it.  Returns ST_OK, ST_NOMEM or ST_FULL. */
MUST_USE enum status exposition_put(const struct aggregate *m,
    enum exposition how, struct buf *out);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a process says of itself: it travels in a report (wire.h) and is kept
 * as a row of the status table (statusdb.h).
 */
#ifndef WALCAST_STATUS_ROW_H
#define WALCAST_STATUS_ROW_H

#include <stdint.h>

#include "span.h"

struct status_row {
	struct span name; /* unique: role-pid-started */
	struct span role; /* pubd, worker, cgi, metrics */
	int64_t pid;
	struct span version;
	int64_t started_ms;   /* Unix time */
	int64_t seen_ms;      /* Unix time of the last heartbeat */
	int64_t lease_ms;     /* dead when seen_ms is farther away */
	int64_t head;         /* newest id of the log that it knows */
	int64_t cursor;       /* newest id that it has handed on */
	int64_t streams;      /* open now */
	struct span counters; /* JSON objects of whole numbers: metrics.h */
	struct span gauges;
	/* Its last error or warning, put into a list of its own: Unix time (0
	   when there was none; after seen_ms it is not believed) and text. */
	int64_t error_ms;
	struct span error;
};

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The line in which a process tells pubd of itself: walcast-protocol(7), op
 * "report".
 */
#ifndef WALCAST_REPORT_H
#define WALCAST_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "figures.h"
#include "status.h"

#define REPORT_BYTES_MAX (32 * 1024)

struct report {
	const char *role;
	int64_t started_ms; /* Unix time */
	int64_t head;       /* newest id of the log that it knows */
	int64_t cursor;     /* newest id that it has handed on */
	size_t n_streams;
	const struct figures *figures;
};

/*
 * Appends it without a newline, with this process's id and its last error.
 * Returns  ST_OK, ST_FULL or ST_NOMEM
 */
MUST_USE enum status report_line(const struct report *r, struct buf *out);

#endif

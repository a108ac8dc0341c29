/* SPDX-License-Identifier: MIT */
/*
 * What sse-metrics.fcgi answers: metrics in the form that was asked for,
 * health and readiness, and beacons of browsers.  Reads the files of the log
 * for each answer; blocks on the disk only.
 */
#ifndef WALCAST_METRICS_HTTP_H
#define WALCAST_METRICS_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "beacons.h"
#include "buf.h"
#include "conf.h"
#include "frame.h"
#include "params.h"
#include "span.h"
#include "status.h"
#include "store.h"

#define METRICS_HTTP_PROGRAM "sse-metrics.fcgi" /* its name in a path */
#define METRICS_HTTP_MAX     (4u << 20)         /* bytes of a response */

struct metrics_http {
	const struct conf *conf;
	struct beacons *beacons; /* NULL: plain CGI, beacons are refused */
	uint64_t n_scrapes;      /* answers that hold metrics */
	char generation[STORE_GENERATION_BYTES]; /* of the last look */
};

/*
 * Appends the response to a request, head and body.
 *
 * p        with the body, as far as BEACONS_BODY_BYTES
 * stream   becomes true when a stream of system.status is asked for: then
 *          nothing is appended
 * Returns  ST_OK, ST_NOMEM or ST_FULL
 */
MUST_USE enum status metrics_http_put(struct metrics_http *a,
    const struct params *p, struct buf *out, bool *stream);

/*
 * For status_stream_options.look: appends the metrics as one line of JSON, and
 * says how the log stands; open->generation is valid until the next call.
 */
MUST_USE enum status metrics_http_look(struct metrics_http *a, struct buf *json,
    struct frame_open *open);

/* Appends a whole error response. */
MUST_USE enum status metrics_http_error(struct buf *out, int status,
    struct span detail, bool head_only);

#endif

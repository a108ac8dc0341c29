/* SPDX-License-Identifier: MIT */
/*
 * The lines of a worker's log about streams that are open, and about traced
 * events: log.h's events, one name for each kind, each kind with its gate
 * (log_rate).  request_log.h has those about what was asked.
 *
 *   stream.gap      stream code requested lost: control.gap was sent
 *   stream.lagging  stream lag behind_ms: it is slow
 *   stream.close    stream reason duration_ms position
 *   event.dispatch  id channel type trace streams bytes (level debug)
 *
 * `stream` is what X-SSE-Stream says.  Never a payload.  May block when
 * stderr does.
 */
#ifndef WALCAST_STREAM_LOG_H
#define WALCAST_STREAM_LOG_H

#include <stdint.h>

#include "frame.h"
#include "log.h"
#include "span.h"
#include "stream.h"
#include "traced.h"

/* now_us is monotonic in all of these. */

void stream_log_gap(uint64_t stream, const struct frame_gap *g,
    uint64_t now_us);
void stream_log_lagging(uint64_t stream, int64_t lag, uint64_t behind_us,
    uint64_t now_us);

/* position   the last event that it was sent as a whole */
void stream_log_close(const struct stream *s, enum stream_end why,
    int64_t position, uint64_t now_us);

void stream_log_dispatch(const struct traced *t, uint64_t now_us);

/* The word for why a stream ended. */
const char *stream_log_end_name(enum stream_end why);

/* ---- fields that both logs have ----------------------------------------- */

#define STREAM_LOG_ID_BYTES 16

struct stream_log_id {
	char text[STREAM_LOG_ID_BYTES + 1];
};

/* A stream's id as X-SSE-Stream says it; a span into *out. */
struct span stream_log_id(struct stream_log_id *out, uint64_t stream);

/* A client's event id is shown when it is a number. */
struct log_field stream_log_number(const char *name, struct span id);

/* A trace as it came, or none when it is no traceparent. */
struct span stream_log_trace(struct span text);

#endif

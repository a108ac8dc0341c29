/* SPDX-License-Identifier: MIT */
/*
 * The lines that a worker writes to its log about streams: log.h's events,
 * one name for each kind, each kind with its gate (log_rate).
 *
 *   stream.open     stream remote channel from front trace
 *   stream.resume   the same, and resumed_from, result (ok, gap): an id came
 *   stream.gap      stream code requested lost: control.gap was sent
 *   stream.lagging  stream lag behind_ms: it is slow
 *   stream.close    stream reason duration_ms position
 *   stream.reject   reason stream remote channel front: told to come back
 *   stream.refuse   status remote front: an error that is final
 *   event.dispatch  id channel type trace streams bytes (level debug)
 *
 * `stream` is what X-SSE-Stream says.  Never a payload, a query or a token.
 * May block when stderr does.
 */
#ifndef WALCAST_JOURNAL_H
#define WALCAST_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "request.h"
#include "stream.h"
#include "traced.h"

/* now_us is monotonic in all of these. */

struct journal_opening {
	uint64_t stream;
	const struct request *req;
	enum front front;
	struct span trace; /* as it came; left out when it is none */
	int64_t from;      /* the stream's place */
	bool with_gap;
};

void journal_open(const struct journal_opening *o, uint64_t now_us);
void journal_gap(uint64_t stream, const struct frame_gap *g, uint64_t now_us);
void journal_lagging(uint64_t stream, int64_t lag, uint64_t behind_us,
    uint64_t now_us);

/* position   the last event that it was sent as a whole */
void journal_close(const struct stream *s, enum stream_end why,
    int64_t position, uint64_t now_us);

void journal_reject(uint64_t stream, const struct request *req,
    enum front front, const char *reason, uint64_t now_us);
void journal_refuse(const struct request *req, enum front front,
    uint64_t now_us);
void journal_dispatch(const struct traced *t, uint64_t now_us);

/* The word for why a stream ended. */
const char *journal_end_name(enum stream_end why);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The lines of a worker's log about what was asked of it: stream_log.h's, for
 * what becomes a stream and what does not.
 *
 *   stream.open     stream remote channel from front trace
 *   stream.resume   the same, and resumed_from, result (ok, gap): an id came
 *   stream.reject   reason stream remote channel front: told to come back
 *   stream.refuse   status remote front: an error that is final
 *   stream.deny     status stream remote channel why front: not allowed
 *
 * Never a query or a token.  May block when stderr does.
 */
#ifndef WALCAST_REQUEST_LOG_H
#define WALCAST_REQUEST_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "frontend.h"
#include "request.h"
#include "span.h"

/* now_us is monotonic in all of these. */

struct request_log_opening {
	uint64_t stream;
	const struct request *req;
	enum front front;
	struct span trace; /* as it came; left out when it is none */
	int64_t from;      /* the stream's place */
	bool with_gap;
};

void request_log_open(const struct request_log_opening *o, uint64_t now_us);

void request_log_reject(uint64_t stream, const struct request *req,
    enum front front, const char *reason, uint64_t now_us);
/* Not allowed: the channel that he may not read, and why, for the operator. */
struct request_log_denial {
	uint64_t stream;
	const struct request *req;
	enum front front;
	int status;
	struct span channel; /* SPAN_NONE: it was not about one */
	struct span why;
};

void request_log_denied(const struct request_log_denial *d, uint64_t now_us);
void request_log_refuse(const struct request *req, enum front front,
    uint64_t now_us);

#endif

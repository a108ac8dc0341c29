/* SPDX-License-Identifier: MIT */
/*
 * Trace spans as OTLP: an ExportTraceServiceRequest in the JSON mapping of
 * OTLP 1.x (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding):
 * ids in hex, 64-bit integers as strings of decimals, enums as numbers.
 *
 *   {"resourceSpans":[{"resource":{"attributes":[service.name]},
 *     "scopeSpans":[{"scope":{"name","version"},"spans":[
 *       {"traceId","spanId","parentSpanId","name","kind",
 *        "startTimeUnixNano","endTimeUnixNano","attributes":[...],
 *        "status":{"code":2}}]}]}]}
 *
 *   kind of span   service.name     OTLP kind   from .. to
 *   accept         walcast-pubd     SERVER      line read .. commit returned
 *   commit         walcast-pubd     INTERNAL    commit begun .. returned
 *   dispatch       walcast-worker   CONSUMER    read from the log .. handed
 *                                               to the streams
 *
 * Pure: no I/O, no clock.
 */
#ifndef WALCAST_OTLP_H
#define WALCAST_OTLP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "span.h"
#include "status.h"
#include "traceparent.h"

#define OTLP_SPAN_MAX_BYTES 3072 /* of one span, its part of the frame too */

/* X(MEMBER, name of the span) */
#define TRACE_KINDS(X)                                                         \
	X(ACCEPT, "accept")                                                    \
	X(COMMIT, "commit")                                                    \
	X(DISPATCH, "dispatch")

enum trace_kind {
#define X(member, word) TRACE_##member,
	TRACE_KINDS(X)
#undef X
	    TRACE_N_KINDS
};

/* What was done for one event; ids are hex digits, not terminated. */
struct trace_span {
	enum trace_kind kind;
	char trace_id[TRACEPARENT_TRACE_HEX];
	char parent_id[TRACEPARENT_SPAN_HEX];
	char span_id[TRACEPARENT_SPAN_HEX];
	uint64_t start_ns; /* since 1970 */
	uint64_t end_ns;
	struct span channel; /* at most NAME_MAX_BYTES, else cut */
	struct span type;    /* the event's; as channel */
	uint64_t body_bytes; /* of its data, as stored */
	int64_t event_id;    /* 0: it has none (yet, or it was refused) */
	uint64_t n_streams;  /* of dispatch: streams that it was for */
	bool failed;
};

/*
 * Appends one request with these spans.
 *
 * Returns  ST_OK, ST_FULL or ST_NOMEM; on failure the buffer is as it was
 */
MUST_USE enum status otlp_encode(struct buf *out,
    const struct trace_span *spans, size_t n);

/*
 * Of how many spans does a collector's answer with status 2xx say that it
 * has rejected them (partialSuccess.rejectedSpans)?  0 for what is no such
 * answer.
 */
uint64_t otlp_rejected(struct span answer);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The `traceparent` of W3C Trace Context (https://www.w3.org/TR/trace-context/
 * sections 3.2 and 4.3): which trace an event belongs to.
 *
 *   00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
 *   version  trace id, 32 hex            parent id, 16   flags
 *
 * Hex digits are lower case; an id of nothing but zeros is none; version ff
 * does not exist; version 00 has these 55 bytes and no more.  A later version
 * may go on behind the flags with '-' and anything: what stands before is
 * read as version 00.  Pure.
 */
#ifndef WALCAST_TRACEPARENT_H
#define WALCAST_TRACEPARENT_H

#include <stdbool.h>
#include <stdint.h>

#include "span.h"
#include "status.h"

#define TRACEPARENT_BYTES     55 /* of version 00, as the log stores it */
#define TRACEPARENT_TRACE_HEX 32 /* digits of a trace id */
#define TRACEPARENT_SPAN_HEX  16 /* digits of a span's (a parent's) id */

struct traceparent {
	struct span trace_id;  /* in the text that was parsed, as is */
	struct span parent_id; /* parent_id: the span that published */
	uint8_t version;
	uint8_t flags; /* of a later version only the bits of version 00 */
};

/*
 * Reads a traceparent.  Also for text from the log: its database checks the
 * length and nothing else.
 *
 * Returns  ST_OK or ST_INVALID; then *t is unchanged
 */
MUST_USE enum status traceparent_parse(struct span text, struct traceparent *t);

/* Has the publisher recorded its own span (flags, bit 0)? */
static inline bool
traceparent_sampled(const struct traceparent *t)
{
	return (t->flags & 1) != 0;
}

/* Writes it as version 00 has it (not terminated). */
void traceparent_write(const struct traceparent *t,
    char out[TRACEPARENT_BYTES]);

/*
 * Writes a new span's id (not terminated).
 *
 * random   such as random_next(); 0 gives a valid id, too
 */
void traceparent_span_id(uint64_t random, char out[TRACEPARENT_SPAN_HEX]);

#endif

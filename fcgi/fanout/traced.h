/* SPDX-License-Identifier: MIT */
/*
 * Events that carry a trace, from the time that the hub takes them to the end
 * of their dispatch.  Bounded: what has no room is counted.  Pure.
 */
#ifndef WALCAST_TRACED_H
#define WALCAST_TRACED_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "name.h"
#include "span.h"
#include "store.h"
#include "traceparent.h"

#define TRACED_MAX 64 /* of one dispatch */

struct traced {
	int64_t id;
	struct span trace, channel, type; /* in the table */
	size_t n_bytes;                   /* of its data */
	size_t n_streams;                 /* live ones that it is for */
	uint64_t start_us;                /* Unix time: it was taken */
};

struct traced_set {
	size_t n;
	struct {
		struct traced event;
		char trace[TRACEPARENT_BYTES];
		char channel[NAME_MAX_BYTES], type[NAME_MAX_BYTES];
	} item[TRACED_MAX];
	uint64_t n_left_out;
};

/* Keeps a copy, cut to what names and traces may be. */
void traced_add(struct traced_set *t, const struct event *e, size_t n_streams,
    uint64_t now_us);

/*
 * Appends what pubd is told of it, without a newline: op "span".
 *
 * end_us   Unix time: it was handed to the streams
 */
MUST_USE enum status traced_line(const struct traced *t, uint64_t end_us,
    struct buf *out);

#endif

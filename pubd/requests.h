/* SPDX-License-Identifier: MIT */
/*
 * What a line leads to: an answer at once, or a place in the batch.  A
 * request that stores nothing is answered at once only when nothing of its
 * connection waits, so that answers keep the order of the lines.
 */
#ifndef WALCAST_REQUESTS_H
#define WALCAST_REQUESTS_H

#include <stdint.h>

#include "conn.h"
#include "span.h"
#include "status.h"

struct batch;
struct beat;
struct keeper;
struct protocol;
struct watchers;

struct requests {
	struct protocol *protocol;
	struct batch *batch;
	struct keeper *keeper;
	struct watchers *watchers;
	struct beat *beat;
	uint64_t now_us; /* set each turn */
	int64_t now_ms;
	size_t max_line_bytes;
};

/* For conns: arg is a struct requests. */
enum status requests_line(void *arg, struct conn *c, struct span line);
enum status requests_refuse(void *arg, struct conn *c, enum status why);

/* The batch has its fate: answers all of it and empties it. */
void requests_answer(struct requests *rq);

#endif

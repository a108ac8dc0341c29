/* SPDX-License-Identifier: MIT */
/*
 * What becomes of a line: an answer at once, or a place in the batch.  A
 * request that stores nothing is answered at once only when nothing of its
 * connection waits, so that answers keep the order of the lines.
 */
#ifndef WALCAST_REQUESTS_H
#define WALCAST_REQUESTS_H

#include <stdint.h>

#include "conn.h"
#include "log.h"
#include "rights.h"
#include "span.h"
#include "status.h"

struct batch;
struct status_writer;
struct metrics;
struct log_writer;
struct protocol;
struct after_commit;
struct watchers;

#define REQUESTS_GROUPS 8

struct requests {
	struct protocol *protocol;
	struct batch *batch;
	struct log_writer *log_writer;
	struct watchers *watchers;
	struct status_writer *status_writer;
	struct after_commit *after_commit;
	struct rights *rights;
	int64_t refused_uid; /* who was last not trusted to report, ... */
	int64_t refused_ms;  /* ... and when, Unix time; 0: nobody */
	bool timing;         /* measure how long publishing takes */
	uint64_t now_us;     /* set each turn */
	int64_t now_ms;
	size_t max_line_bytes;
	struct log_gate gate;
	/*
	 * Lines that publish whose answers were appended and are about to be
	 * written: so many that were read at the same time.
	 */
	struct {
		uint64_t read_us, n;
	} group[REQUESTS_GROUPS];
	size_t n_groups;
};

/* For conns: arg is a struct requests. */
enum status requests_line(void *arg, struct conn *c, struct span line);
enum status requests_refuse(void *arg, struct conn *c, enum status why);
void requests_gone(void *arg, struct conn *c);

/* The outcome of the batch is known: answers all of it and empties it. */
void requests_answer(struct requests *rq);

/* Sets the gauges of it. */
void requests_gauges(const struct requests *rq, struct metrics *f);

/* The answers have been written: counts how long that took. */
void requests_flushed(struct requests *rq, uint64_t now_us);

#endif

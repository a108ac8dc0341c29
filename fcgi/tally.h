/* SPDX-License-Identifier: MIT */
/*
 * What a worker reports: takes the counters of its parts, once a second, and
 * makes cells of the catalogue (lib/figures.def) of them.
 *
 * The parts count with numbers of their own and know nothing of figures; what
 * cell each number is stands here and nowhere else.
 */
#ifndef WALCAST_TALLY_H
#define WALCAST_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "status.h"

struct admit;
struct hub;
struct intake_counters;
struct log_reader;
struct replay;
struct tail;

struct tally;

/* The parts, as they are now. */
struct tally_parts {
	struct hub *hub;
	struct log_reader *log;
	struct tail *tail;
	struct replay *replay;
	struct admit *admit;                    /* its pools are counted on */
	const struct intake_counters *acceptor; /* NULL: plain CGI */
	size_t n_fds; /* descriptors of requests and replies, and pubd's */
};

/*
 * Begins when all descriptors that stay are open.
 *
 * role        a string that outlives it
 * started_ms  Unix time
 */
MUST_USE enum status tally_new(struct tally **out, const char *role,
    int64_t started_ms, uint64_t fds_limit, const struct tally_parts *parts);
void tally_free(struct tally **t);

/* A commit was heard of so long after it. */
void tally_woken(struct tally *t, uint64_t after_us);

/* A traced event was not told of. */
void tally_lost_span(struct tally *t);

/* A second has passed. */
void tally_tick(struct tally *t, const struct tally_parts *parts);

/*
 * Appends the report to pubd, without a newline.
 * Returns  ST_OK, ST_FULL or ST_NOMEM
 */
MUST_USE enum status tally_report(struct tally *t,
    const struct tally_parts *parts, struct buf *out);

#endif

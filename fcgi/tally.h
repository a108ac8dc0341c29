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

#include "admit.h"
#include "buf.h"
#include "figures.h"
#include "hist.h"
#include "hub.h"
#include "log_reader.h"
#include "replay.h"
#include "slots.h"
#include "span.h"
#include "tail.h"

#define TALLY_SECONDS 60

/* Counters as they stood at one tick. */
struct tally_second {
	uint64_t n_opened, n_asked, n_frames, n_writes, n_duplicates;
};

struct tally {
	const char *role;
	int64_t started_ms;
	uint64_t fds_limit;
	size_t fds_base;  /* descriptors that are not counted one by one */
	struct hist wake; /* from a commit to the wake, microseconds */
	uint64_t n_spans_dropped;
	struct tally_second second[TALLY_SECONDS + 1]; /* a circle */
	uint64_t n_ticks;
	struct figures figures;
};

/* The parts, as they are now. */
struct tally_parts {
	struct hub *hub;
	struct log_reader *log;
	struct tail *tail;
	struct replay *replay;
	struct admit *admit; /* its pools are counted on */
	struct slots *slots;
	size_t n_fds; /* descriptors of requests and replies, and pubd's */
};

/*
 * Begins when all descriptors that stay are open.
 *
 * role        a string that lives as long as the tally
 * started_ms  Unix time
 */
void tally_init(struct tally *t, const char *role, int64_t started_ms,
    uint64_t fds_limit, const struct tally_parts *parts);

/* A second has passed. */
void tally_tick(struct tally *t, const struct tally_parts *parts);

/*
 * Appends the report to pubd, without a newline.
 * Returns  ST_OK, ST_FULL or ST_NOMEM
 */
MUST_USE enum status tally_report(struct tally *t,
    const struct tally_parts *parts, struct buf *out);

#endif

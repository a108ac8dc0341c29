/* SPDX-License-Identifier: MIT */
/*
 * The tail of the log: feeds the hub with what is new.  A wake-up never
 * carries truth: whatever brought it, the tail selects past its own cursor
 * until nothing is left.
 */
#ifndef WALCAST_TAIL_H
#define WALCAST_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "hub.h"
#include "log_reader.h"
#include "status.h"

struct tail;

/*
 * Opens the log; the hub then stands at its head, with the newest events in
 * the ring when `prefill` says so.  The log's reader outlives the tail.
 *
 * Returns  ST_OK, or why it cannot be used: err names the remedy
 */
MUST_USE enum status tail_new(struct tail **out, struct hub *h,
    struct log_reader *log, bool prefill, struct errmsg *err);
void tail_free(struct tail **t);

/* There may be something new. */
void tail_wake(struct tail *t);

/*
 * Reads what is new, a bounded number of pages, and has the hub dispatch it.
 * True: more is there at once.
 */
bool tail_turn(struct tail *t);

/*
 * Reads all that is there now, however often it takes (bounded), so that the
 * hub's head is at least `id` if the log's is.
 */
void tail_catch_up(struct tail *t, int64_t id);

/* Asks the log for its ends and gives them to the hub. */
MUST_USE enum status tail_refresh(struct tail *t);

/* Ids that were not there when their turn came, since the start. */
uint64_t tail_n_missing(const struct tail *t);

#endif

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

#include "conf.h"
#include "hub.h"
#include "loop.h"
#include "replay.h"
#include "status.h"

struct tail;

/*
 * Opens the log; the hub then stands at its head, with the newest events in
 * the ring when `prefill` says so.
 *
 * Returns  ST_OK, or why it cannot be used: err names the remedy
 */
MUST_USE enum status tail_new(struct tail **out, struct loop *l, struct hub *h,
    const struct conf *c, bool prefill, struct errmsg *err);
void tail_free(struct tail **t);

/* There may be something new. */
void tail_wake(struct tail *t);

/* One bounded part of the work; true when more is there at once. */
bool tail_turn(struct tail *t);

/*
 * Reads all that is there now, however often it takes (bounded), so that the
 * hub's head is at least `id` if the log's is.
 */
void tail_catch_up(struct tail *t, int64_t id);

/* Asks the log for its ends and gives them to the hub. */
MUST_USE enum status tail_refresh(struct tail *t);

/* As replay_newest. */
MUST_USE enum status tail_newest(struct tail *t, const struct sub *sub, int n,
    int64_t *position);

bool tail_is_open(const struct tail *t);
uint64_t tail_n_errors(const struct tail *t);
uint64_t tail_n_pages(const struct tail *t); /* as replay_n_pages */
/* Ids that were not there when their turn came, since the start. */
uint64_t tail_n_missing(const struct tail *t);

#endif

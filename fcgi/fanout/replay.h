/* SPDX-License-Identifier: MIT */
/*
 * What is older than the ring: bounded pages of the store for streams that
 * wait for one, in turn.  A page serves every stream with the same
 * subscription that stands within it, so a crowd that resumes at one place
 * reads the log once.
 */
#ifndef WALCAST_REPLAY_H
#define WALCAST_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "hub.h"
#include "log_reader.h"
#include "status.h"

struct replay;

/* Both outlive it. */
MUST_USE enum status replay_new(struct replay **out, struct hub *h,
    struct log_reader *log);
void replay_free(struct replay **r);

/* Forgets all pages; replay does so by itself when the log is another one. */
void replay_reset(struct replay *r);

/*
 * Serves streams that wait, a bounded number of pages; none while the log is
 * away.
 *
 * more     streams still wait, and the log can be read
 * Returns  ST_OK, or why a page could not be read; the reader has dealt
 *          with it
 */
MUST_USE enum status replay_turn(struct replay *r, bool *more);

/*
 * The position from which the newest n events that the subscription wants
 * follow, none beyond the hub's head.
 */
MUST_USE enum status replay_newest(struct replay *r, const struct sub *sub,
    int n, int64_t *position);

uint64_t replay_n_pages(const struct replay *r);

#endif

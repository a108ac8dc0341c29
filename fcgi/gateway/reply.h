/* SPDX-License-Identifier: MIT */
/*
 * A short response that ends: writes it as FastCGI records (or raw, for CGI)
 * with what ends a request, and closes.  A peer that does not take it in time
 * is dropped.
 */
#ifndef WALCAST_REPLY_H
#define WALCAST_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "loop.h"
#include "span.h"
#include "status.h"

#define REPLY_RAW 0 /* request_id for plain CGI */

struct reply_set; /* the replies that are still being written */

MUST_USE enum status reply_set_new(struct reply_set **out, struct loop *l);
void reply_set_free(struct reply_set **rs);

/*
 * Sends `response` (head and body) on fd and closes it, now or when the peer
 * has taken it, at the latest after ten seconds.  Takes fd in every case.
 */
void reply_send(struct reply_set *rs, int fd, uint16_t request_id,
    struct span response);

size_t reply_set_count(const struct reply_set *rs);

/* Frees replies that ended in this turn; after loop_turn(). */
void reply_set_reap(struct reply_set *rs);

#endif

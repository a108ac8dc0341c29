/* SPDX-License-Identifier: MIT */
/*
 * How much one client address may ask for: a token bucket for each, in a table
 * of fixed size.  Pure: the caller says what time it is.  Allocates nothing
 * once it is made.
 *
 * A bucket holds what is allowed in a minute and fills evenly.  An address is
 * an IPv4 address or the first 64 bits of an IPv6 address, since that is what
 * one household or host is given; all that is no address shares one bucket.
 *
 * Where the table has no room, the bucket that was full first, or will be,
 * gives way: addresses that stay within their limit cannot push out one that
 * is at its end.
 */
#ifndef WALCAST_LIMITER_H
#define WALCAST_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

#include "span.h"
#include "status.h"

#define LIMITER_ENTRIES 4096

struct limiter;

/* seed   random: without it nobody can choose addresses that displace others */
MUST_USE enum status limiter_new(struct limiter **out, uint64_t seed);
void limiter_free(struct limiter **l);

/*
 * Takes one token out of an address's bucket.
 *
 * address        as REMOTE_ADDR has it
 * per_minute     size of the bucket; 0: no limit
 * now_us         monotonic time in microseconds
 * retry_after_s  set when there was none: seconds until there is one, > 0
 * Returns        false when there was none
 */
bool limiter_take(struct limiter *l, struct span address, int64_t per_minute,
    uint64_t now_us, int *retry_after_s);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Events counted by channel, of the channels that metrics_channels names and
 * no others: what publishers choose must not grow the metrics.  Pure.
 */
#ifndef WALCAST_COUNTED_H
#define WALCAST_COUNTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "name.h"
#include "span.h"
#include "status.h"

#define COUNTED_MAX 256 /* over all readings of the configuration */

/*
 * A channel that is no longer named keeps its count, for a counter may not go
 * back, but is not counted any more.
 */
struct counted {
	struct {
		uint64_t n;
		bool is_named;
		unsigned char len;
		char name[NAME_MAX_BYTES];
	} list[COUNTED_MAX];
	size_t n;
};

/*
 * Replaces the list of channels that are counted.
 *
 * names    as in the configuration: parted by commas, white space around
 * Returns  ST_OK, or ST_FULL: those that came last are not counted
 */
MUST_USE enum status counted_name(struct counted *k, struct span names);

/* An event of this channel was stored. */
void counted_add(struct counted *k, struct span channel);

/*
 * Appends a member "channel:NAME":N for each to an object that is not closed.
 * Returns  ST_OK, ST_FULL or ST_NOMEM
 */
MUST_USE enum status counted_write(const struct counted *k, struct buf *out);

#endif

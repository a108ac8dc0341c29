/* SPDX-License-Identifier: MIT */
/*
 * application/x-www-form-urlencoded (URL standard, section 5.1), strictly: a
 * percent sign that two hexadecimal digits do not follow is an error, not a
 * percent sign.  Pure.
 */
#ifndef WALCAST_QUERY_H
#define WALCAST_QUERY_H

#include <stdbool.h>

#include "buf.h"
#include "span.h"
#include "status.h"

struct query_pair {
	struct span name, value; /* still encoded; value empty without '=' */
};

/*
 * Cuts the next pair off the front of *rest; empty pieces ("a=1&&b=2") are
 * skipped.  Returns false when nothing is left.
 */
bool query_next(struct span *rest, struct query_pair *pair);

enum query_plus {
	QUERY_PLUS_IS_SPACE, /* in a query */
	QUERY_PLUS_STAYS     /* in a path */
};

/*
 * Decodes one name, value or path.  *decoded is `raw` itself where nothing is
 * encoded, otherwise it lies in `out`, whose memory must have been reserved:
 * it is never moved, so that what was decoded before stays valid.
 *
 * Returns  ST_OK
 *          ST_INVALID  raw.p[*at] is a '%' without two hexadecimal digits
 *          ST_FULL     `out` has less than raw.len bytes of room
 */
MUST_USE enum status query_decode(struct buf *out, struct span raw,
    enum query_plus plus, struct span *decoded, size_t *at);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Lines out of a buffer that fills in pieces: the one place that looks for LF
 * in what a peer has sent.  No byte is looked at twice, however small the
 * pieces are.  The caller decides what is too long, what a CR at the end means
 * and whether the last line needs an LF.  Pure.
 *
 * The splitter belongs to one buffer.  Bytes leave its front by the calls here
 * only, or linesplit_dropped is told; after buf_clear it begins anew: (struct
 * linesplit){0}.
 */
#ifndef WALCAST_LINESPLIT_H
#define WALCAST_LINESPLIT_H

#include <stddef.h>

#include "buf.h"
#include "span.h"
#include "status.h"

struct linesplit {
	size_t searched; /* bytes at the front that hold no LF */
	size_t taken;    /* by the line that was handed out last */
};

/*
 * The next line, without its LF; it leaves the buffer at the next call of
 * linesplit_next, _rest or _settle, and is valid until then.
 *
 * Returns  ST_OK, or ST_AGAIN when none is whole
 */
MUST_USE enum status linesplit_next(struct linesplit *s, struct buf *in,
    struct span *line);

/* All that is left, as one line; as above. */
struct span linesplit_rest(struct linesplit *s, struct buf *in);

/* Removes the line that was handed out last; call it before adding bytes. */
void linesplit_settle(struct linesplit *s, struct buf *in);

/*
 * For a caller that keeps the bytes and may have to leave a line where it is:
 * looks for the first line of `in`, and takes nothing.  Between two calls bytes
 * may be added at the end; when some have left the front, linesplit_dropped
 * says so.
 *
 * Returns  ST_OK, or ST_AGAIN when none is whole
 */
MUST_USE enum status linesplit_find(struct linesplit *s, struct span in,
    struct span *line);
void linesplit_dropped(struct linesplit *s);

#endif

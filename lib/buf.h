/* SPDX-License-Identifier: MIT */
/*
 * A byte buffer that grows up to a bound.  Bytes enter at the end and leave
 * at the front.  One owner, one thread.
 */
#ifndef WALCAST_BUF_H
#define WALCAST_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"
#include "status.h"

struct buf {
	char *base;   /* heap, or NULL */
	size_t start; /* first live byte */
	size_t len;   /* live bytes */
	size_t cap;   /* bytes at base */
	size_t max;   /* never more live bytes than this */
};

/* max   bound on the bytes held; nothing is allocated yet */
void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);

/* Forgets the bytes and keeps the memory. */
void buf_clear(struct buf *b);

/* Forgets the bytes and gives memory back beyond keep_bytes. */
void buf_shrink(struct buf *b, size_t keep_bytes);

/* Gives back what is far more than the live bytes need, when it can. */
void buf_fit(struct buf *b);

/*
 * Makes room for n bytes behind the live ones.
 * Returns  ST_OK, ST_FULL (max would be crossed) or ST_NOMEM; on failure the
 *          buffer is unchanged.
 */
MUST_USE enum status buf_reserve(struct buf *b, size_t n);

/* After buf_reserve: where to write, how much fits, and how much came. */
char *buf_tail(struct buf *b);
size_t buf_room(const struct buf *b);
void buf_grew(struct buf *b, size_t n);

MUST_USE enum status buf_append(struct buf *b, struct span s);
MUST_USE enum status buf_printf(struct buf *b, const char *fmt, ...)
    PRINTF_LIKE(2, 3);
MUST_USE enum status buf_put_int64(struct buf *b, int64_t v);

/* The live bytes; valid until the buffer is touched. */
static inline struct span
buf_span(const struct buf *b)
{
	return (
	    struct span){b->base == NULL ? NULL : b->base + b->start, b->len};
}

/* Drops n bytes from the front; n <= len. */
void buf_consume(struct buf *b, size_t n);

/* Drops bytes from the end until `len` are left; len <= b->len. */
void buf_truncate(struct buf *b, size_t len);

#endif

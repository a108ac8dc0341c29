/* SPDX-License-Identifier: MIT */
/*
 * A byte buffer that grows up to a bound.  Bytes enter at the end and leave
 * at the front.  One owner, one thread.
 *
 * buf_append appends bytes, all of them or none, and the caller checks the
 * status.  A text made of many pieces is written with buf_add and its like,
 * which return nothing: the buffer remembers the first failure and ignores what
 * comes after it, and buf_finish reports it once, at the end:
 *
 *	size_t start = out->len;
 *
 *	buf_add(out, SPAN("{\"head\":"));
 *	buf_add_int64(out, head);
 *	buf_add(out, SPAN("}\n"));
 *	return buf_finish(out, start);
 *
 * Half a text never gets out: nobody can have the bytes of a buffer that
 * remembers a failure (buf_span asserts it).
 */
#ifndef WALCAST_BUF_H
#define WALCAST_BUF_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"
#include "status.h"

struct buf {
	char *base;          /* heap, or NULL */
	size_t start;        /* first live byte */
	size_t len;          /* live bytes */
	size_t cap;          /* bytes at base */
	size_t max;          /* never more live bytes than this */
	enum status failure; /* first of the text being written, or ST_OK */
};

/* max   bound on the bytes held; nothing is allocated yet */
void buf_init(struct buf *b, size_t max);

/* As buf_fini, for what held a secret. */
void buf_fini_wiped(struct buf *b);
void buf_fini(struct buf *b);

/* Forgets the bytes, and a failure, and keeps the memory. */
void buf_clear(struct buf *b);

/* Forgets the bytes and gives memory back beyond keep_bytes. */
void buf_shrink(struct buf *b, size_t keep_bytes);

/* Gives memory back when the live bytes need far less of it. */
void buf_fit(struct buf *b);

/*
 * Makes room for n bytes behind the live ones.
 * Returns  ST_OK, ST_FULL (max would be crossed) or ST_NOMEM; on failure the
 *          buffer is unchanged.  If it remembers a failure: that.
 */
MUST_USE enum status buf_reserve(struct buf *b, size_t n);

/* After buf_reserve: where to write, how much fits, how much was written. */
char *buf_tail(struct buf *b);
size_t buf_room(const struct buf *b);
void buf_grew(struct buf *b, size_t n);

/* Appends s.  Returns as buf_reserve; on failure nothing is appended. */
MUST_USE enum status buf_append(struct buf *b, struct span s);

/* Pieces of a text: a failure is remembered. */
void buf_add(struct buf *b, struct span s);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_add_int64(struct buf *b, int64_t v);

/* The bytes of another buffer, or the failure that it remembers. */
void buf_add_buf(struct buf *b, const struct buf *from);

/* The outcome of another function that made a piece. */
void buf_note(struct buf *b, enum status st);

/* What went wrong first since the text began; ST_OK: nothing so far. */
static inline enum status
buf_status(const struct buf *b)
{
	return b->failure;
}

/*
 * Ends the text that was begun when the buffer held `start` bytes.  Returns its
 * first failure; the whole text is then removed and the failure forgotten, so
 * that what the buffer held before can still be used.
 */
MUST_USE enum status buf_finish(struct buf *b, size_t start);

/* The live bytes; valid until the buffer is touched. */
static inline struct span
buf_span(const struct buf *b)
{
	assert(b->failure == ST_OK);
	return (
	    struct span){b->base == NULL ? NULL : b->base + b->start, b->len};
}

/* Drops n bytes from the front; n <= len. */
void buf_consume(struct buf *b, size_t n);

/* Drops bytes from the end until `len` are left; len <= b->len. */
void buf_truncate(struct buf *b, size_t len);

#endif

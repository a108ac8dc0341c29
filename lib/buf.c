/* SPDX-License-Identifier: MIT */
/*
 * A byte buffer that grows up to a bound.  Invariant: start + len <= cap and
 * len <= max; while a failure is remembered nothing is appended.  Never
 * blocks.
 */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fmt.h"

void
buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void
buf_fini(struct buf *b)
{
	free(b->base);
	*b = (struct buf){.max = b->max};
}

/* All of its memory: what was cut off lies there as well. */
void
buf_fini_wiped(struct buf *b)
{
	if (b->base != NULL)
		explicit_bzero(b->base, b->cap);
	buf_fini(b);
}

void
buf_clear(struct buf *b)
{
	b->start = 0;
	b->len = 0;
	b->failure = ST_OK;
}

void
buf_shrink(struct buf *b, size_t keep_bytes)
{
	if (b->cap > keep_bytes)
		buf_fini(b);
	else
		buf_clear(b);
}

void
buf_fit(struct buf *b)
{
	size_t cap = b->len < 64 ? 64 : b->len;
	char *base;

	if (b->len == 0) {
		buf_shrink(b, 0);
		return;
	}
	if (b->cap / 4 <= cap || (base = malloc(cap)) == NULL)
		return;
	memcpy(base, b->base + b->start, b->len);
	free(b->base);
	b->base = base;
	b->start = 0;
	b->cap = cap;
}

static size_t
grown(const struct buf *b, size_t need)
{
	size_t cap = b->cap < 256 ? 256 : b->cap;

	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	return cap > b->max ? b->max : cap;
}

enum status
buf_reserve(struct buf *b, size_t n)
{
	size_t cap;
	char *base;

	if (b->failure != ST_OK)
		return b->failure;
	if (n > b->max - b->len)
		return ST_FULL;
	if (n <= b->cap - b->start - b->len)
		return ST_OK;
	if (b->start > 0 && n <= b->cap - b->len) {
		memmove(b->base, b->base + b->start, b->len);
		b->start = 0;
		return ST_OK;
	}
	cap = grown(b, b->len + n);
	base = malloc(cap);
	if (base == NULL)
		return ST_NOMEM;
	if (b->len > 0)
		memcpy(base, b->base + b->start, b->len);
	free(b->base);
	b->base = base;
	b->start = 0;
	b->cap = cap;
	return ST_OK;
}

char *
buf_tail(struct buf *b)
{
	return b->base + b->start + b->len;
}

size_t
buf_room(const struct buf *b)
{
	size_t room = b->cap - b->start - b->len;

	return room > b->max - b->len ? b->max - b->len : room;
}

void
buf_grew(struct buf *b, size_t n)
{
	assert(n <= b->cap - b->start - b->len);
	b->len += n;
}

enum status
buf_append(struct buf *b, struct span s)
{
	enum status st = buf_reserve(b, s.len);

	if (st != ST_OK)
		return st;
	if (s.len > 0) {
		assert(s.p != NULL);
		memcpy(buf_tail(b), s.p, s.len);
	}
	b->len += s.len;
	return ST_OK;
}

void
buf_note(struct buf *b, enum status st)
{
	if (b->failure == ST_OK)
		b->failure = st;
}

void
buf_add(struct buf *b, struct span s)
{
	buf_note(b, buf_append(b, s));
}

/* The text did not fit into the room of the first try. */
static enum status
append_long(struct buf *b, size_t n, const char *fmt, va_list ap)
{
	char *text = malloc(n + 1); /* with vsnprintf's NUL */
	enum status st;

	if (text == NULL)
		return ST_NOMEM;
	(void)vsnprintf(text, n + 1, fmt, ap);
	st = buf_append(b, span_of(text, n));
	free(text);
	return st;
}

static enum status
append_format(struct buf *b, const char *fmt, va_list ap)
{
	char stack[1024];
	enum status st;
	va_list again;
	int n;

	if (b->failure != ST_OK)
		return b->failure;
	va_copy(again, ap);
	n = vsnprintf(stack, sizeof(stack), fmt, ap);
	if (n < 0)
		st = ST_INVALID;
	else if ((size_t)n < sizeof(stack))
		st = buf_append(b, span_of(stack, (size_t)n));
	else
		st = append_long(b, (size_t)n, fmt, again);
	va_end(again);
	return st;
}

void
buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_note(b, append_format(b, fmt, ap));
	va_end(ap);
}

void
buf_add_int64(struct buf *b, int64_t v)
{
	char text[FMT_INT64_MAX];

	buf_add(b, span_of(text, fmt_int64(text, v)));
}

void
buf_add_buf(struct buf *b, const struct buf *from)
{
	buf_note(b, from->failure);
	if (from->failure == ST_OK && from->base != NULL)
		buf_add(b, buf_span(from));
}

enum status
buf_finish(struct buf *b, size_t start)
{
	enum status st = b->failure;

	assert(start <= b->len);
	if (st != ST_OK)
		b->len = start;
	b->failure = ST_OK;
	return st;
}

void
buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len && b->failure == ST_OK);
	b->start += n;
	b->len -= n;
	if (b->len == 0)
		b->start = 0;
}

void
buf_truncate(struct buf *b, size_t len)
{
	assert(len <= b->len && b->failure == ST_OK);
	b->len = len;
}

/* SPDX-License-Identifier: MIT */
/* Lines out of a buffer.  Invariant: searched <= the buffer's live bytes. */
#include "linesplit.h"

enum status
linesplit_find(struct linesplit *s, const struct buf *in, struct span *line)
{
	struct span all = buf_span(in);
	const char *lf = NULL;

	if (all.len > s->searched)
		lf = span_find(span_skip(all, s->searched), '\n');
	if (lf == NULL) {
		s->searched = all.len;
		return ST_AGAIN;
	}
	*line = span_of(all.p, (size_t)(lf - all.p));
	/* Asked again about the same line, it is found at once. */
	s->searched = line->len;
	return ST_OK;
}

void
linesplit_drop(struct linesplit *s, struct buf *in, size_t n)
{
	buf_consume(in, n);
	s->searched = 0;
}

void
linesplit_settle(struct linesplit *s, struct buf *in)
{
	if (s->taken > 0)
		linesplit_drop(s, in, s->taken);
	s->taken = 0;
}

enum status
linesplit_next(struct linesplit *s, struct buf *in, struct span *line)
{
	enum status st;

	linesplit_settle(s, in);
	st = linesplit_find(s, in, line);
	if (st == ST_OK)
		s->taken = line->len + 1;
	return st;
}

struct span
linesplit_rest(struct linesplit *s, struct buf *in)
{
	linesplit_settle(s, in);
	s->taken = in->len;
	return buf_span(in);
}

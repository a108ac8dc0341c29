/* SPDX-License-Identifier: MIT */
/* Lines out of a buffer.  Invariant: searched <= the buffer's live bytes. */
#include "linesplit.h"

enum status
linesplit_find(struct linesplit *s, struct span in, struct span *line)
{
	const char *lf = NULL;

	if (in.len > s->searched)
		lf = span_find(span_skip(in, s->searched), '\n');
	if (lf == NULL) {
		s->searched = in.len;
		return ST_AGAIN;
	}
	*line = span_of(in.p, (size_t)(lf - in.p));
	/* So that the same line is found at once when it is asked for again. */
	s->searched = line->len;
	return ST_OK;
}

void
linesplit_dropped(struct linesplit *s)
{
	s->searched = 0;
}

void
linesplit_settle(struct linesplit *s, struct buf *in)
{
	if (s->taken == 0)
		return;
	buf_consume(in, s->taken);
	s->taken = 0;
	linesplit_dropped(s);
}

enum status
linesplit_next(struct linesplit *s, struct buf *in, struct span *line)
{
	enum status st;

	linesplit_settle(s, in);
	st = linesplit_find(s, buf_span(in), line);
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

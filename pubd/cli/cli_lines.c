/* SPDX-License-Identifier: MIT */
/*
 * Lines of standard input.  Invariant: `in` holds at most one line that is
 * not whole, so never more than max_line and one read.
 */
#include "cli_lines.h"

#include "sock.h"

#define READ_BYTES 65536

void
cli_lines_init(struct cli_lines *l, int fd, size_t max_line)
{
	*l = (struct cli_lines){.fd = fd, .max_line = max_line};
	buf_init(&l->in, max_line + 2 * (size_t)READ_BYTES);
}

void
cli_lines_fini(struct cli_lines *l)
{
	buf_fini(&l->in);
}

enum status
cli_lines_read(struct cli_lines *l)
{
	enum status st;
	size_t n;

	linesplit_settle(&l->split, &l->in);
	st = buf_reserve(&l->in, READ_BYTES);
	if (st != ST_OK)
		return st;
	st = sock_read(l->fd, buf_tail(&l->in), READ_BYTES, &n);
	if (st == ST_OK)
		buf_grew(&l->in, n);
	else if (st == ST_END)
		l->end = true;
	/* Somebody else's non-blocking descriptor: the caller polls. */
	return st == ST_END || st == ST_AGAIN ? ST_OK : st;
}

static struct span
without_cr(struct span s)
{
	if (s.len > 0 && s.p[s.len - 1] == '\r')
		s.len--;
	return s;
}

enum status
cli_lines_all(struct cli_lines *l, struct span *all)
{
	enum status st = ST_OK;

	while (st == ST_OK && !l->end)
		st = l->in.len > l->max_line ? ST_TOOLARGE : cli_lines_read(l);
	if (st == ST_OK) {
		*all = buf_span(&l->in);
		if (all->len > 0 && all->p[all->len - 1] == '\n') {
			all->len--;
			*all = without_cr(*all);
		}
	}
	return st;
}

/* No LF in sight: waits for more, or gives the last line, or gives up. */
static enum status
unfinished(struct cli_lines *l, struct span *line)
{
	if (l->skipping || l->in.len > l->max_line) {
		(void)linesplit_rest(&l->split, &l->in);
		if (l->skipping)
			return l->end ? ST_END : ST_AGAIN;
		l->skipping = true;
		l->number++;
		return ST_TOOLARGE;
	}
	if (!l->end)
		return ST_AGAIN;
	if (l->in.len == 0)
		return ST_END;
	l->number++;
	*line = linesplit_rest(&l->split, &l->in);
	return ST_OK;
}

enum status
cli_lines_next(struct cli_lines *l, struct span *line)
{
	if (linesplit_next(&l->split, &l->in, line) != ST_OK)
		return unfinished(l, line);
	if (l->skipping) {
		l->skipping = false;
		if (linesplit_next(&l->split, &l->in, line) != ST_OK)
			return unfinished(l, line);
	}
	l->number++;
	if (line->len > l->max_line)
		return ST_TOOLARGE;
	*line = without_cr(*line);
	return ST_OK;
}

/* SPDX-License-Identifier: MIT */
/*
 * The CGI variables and the body of one request.  Invariant: every item lies
 * inside text. Items are kept as offsets, because text moves while it grows.
 * Pure.
 */
#include "params.h"

void
params_init(struct params *p)
{
	buf_init(&p->text, PARAMS_MAX_BYTES);
	buf_init(&p->body, 0);
	p->n = 0;
	p->cut = false;
}

void
params_fini(struct params *p)
{
	buf_fini(&p->text);
	buf_fini(&p->body);
	p->n = 0;
}

enum status
params_add(struct params *p, struct span pair)
{
	struct span value = pair, name;
	size_t at = p->text.len;
	enum status st;

	if (!span_cut(&value, '=', &name) || name.len == pair.len)
		return ST_INVALID;
	st = p->n == PARAMS_MAX ? ST_FULL : buf_append(&p->text, pair);
	p->cut = p->cut || st == ST_FULL;
	if (st != ST_OK)
		return st;
	p->item[p->n].name_at = (unsigned)at;
	p->item[p->n].name_len = (unsigned)name.len;
	p->item[p->n].value_at = (unsigned)(at + name.len + 1);
	p->item[p->n].value_len = (unsigned)value.len;
	p->n++;
	return ST_OK;
}

void
params_keep_body(struct params *p, size_t max_bytes)
{
	p->body.max = max_bytes;
}

enum status
params_add_body(struct params *p, struct span piece)
{
	size_t room = p->body.max - p->body.len;

	if (piece.len > room)
		piece.len = room;
	return piece.len == 0 ? ST_OK : buf_append(&p->body, piece);
}

struct span
params_body(const struct params *p)
{
	return buf_span(&p->body);
}

struct span
params_get(const struct params *p, const char *name)
{
	struct span want = span_str(name), text = buf_span(&p->text);
	size_t i;

	for (i = 0; i < p->n; i++) {
		if (span_eq(want,
			span_of(text.p + p->item[i].name_at,
			    p->item[i].name_len)))
			return span_of(text.p + p->item[i].value_at,
			    p->item[i].value_len);
	}
	return SPAN_NONE;
}

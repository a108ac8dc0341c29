/* SPDX-License-Identifier: MIT */
/*
 * The CGI variables and the body of one request.  Invariant: every item lies
 * inside text. Items are kept as offsets, because text moves while it grows.
 * Pure.
 */
#include "params.h"

#include <string.h>

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

static struct span
params_name_at(const struct params *p, size_t i)
{
	return span_of(buf_span(&p->text).p + p->item[i].name_at,
	    p->item[i].name_len);
}

static struct span
params_value_at(const struct params *p, size_t i)
{
	return span_of(buf_span(&p->text).p + p->item[i].value_at,
	    p->item[i].value_len);
}

struct span
params_get(const struct params *p, const char *name)
{
	struct span want = span_str(name);
	size_t i;

	for (i = 0; i < p->n; i++) {
		if (span_eq(want, params_name_at(p, i)))
			return params_value_at(p, i);
	}
	return SPAN_NONE;
}

struct span
params_get_sure(const struct params *p, struct span name)
{
	struct span found = SPAN_NONE;
	size_t i;

	for (i = 0; i < p->n; i++) {
		if (!span_eq(params_name_at(p, i), name))
			continue;
		if (found.p != NULL && !span_eq(found, params_value_at(p, i)))
			return SPAN_NONE;
		found = params_value_at(p, i);
	}
	return found;
}

enum status
params_copy(struct params *to, const struct params *from)
{
	enum status st = buf_append(&to->text, buf_span(&from->text));

	to->body.max = from->body.max;
	if (st == ST_OK && from->body.len > 0)
		st = buf_append(&to->body, buf_span(&from->body));
	if (st != ST_OK) {
		params_fini(to);
		return ST_NOMEM;
	}
	to->n = from->n;
	to->cut = from->cut;
	memcpy(to->item, from->item, from->n * sizeof(from->item[0]));
	return ST_OK;
}

void
params_fini_wiped(struct params *p)
{
	buf_fini_wiped(&p->text);
	params_fini(p);
}

/* SPDX-License-Identifier: MIT */
/* JSON values as text.  Pure. */
#include "value.h"

#include <string.h>

#include "json.h"
#include "jsontext.h"

#define SCRATCH_KEEP ((size_t)1 << 18) /* bytes kept between lines */

enum status
values_init(struct values *v)
{
	buf_init(&v->scratch, SIZE_MAX / 2);
	v->json = NULL;
	return json_parser_new(&v->json);
}

void
values_fini(struct values *v)
{
	json_parser_free(&v->json);
	buf_fini(&v->scratch);
}

enum status
values_begin(struct values *v, size_t line_bytes)
{
	buf_shrink(&v->scratch, SCRATCH_KEEP);
	return buf_reserve(&v->scratch, 2 * line_bytes);
}

bool
value_is_string(struct span raw)
{
	return raw.len >= 2 && raw.p[0] == '"';
}

/* Decodes the string `raw` behind what is in scratch. */
static enum status
decode(struct values *v, struct span raw, struct span *text)
{
	struct errmsg why;
	struct json *value;
	struct span s;
	size_t before = v->scratch.len;
	enum status st = json_parse(v->json, raw, &value, &why);

	if (st != ST_OK)
		return st;
	s = json_text(value);
	st = buf_append(&v->scratch, s);
	json_free(&value);
	if (st != ST_OK)
		return st;
	*text = span_skip(buf_span(&v->scratch), before);
	return ST_OK;
}

enum status
value_text(struct values *v, struct span raw, struct span *text)
{
	if (!value_is_string(raw))
		return ST_INVALID;
	*text = span_of(raw.p + 1, raw.len - 2);
	if (text->len == 0 || memchr(text->p, '\\', text->len) == NULL)
		return ST_OK;
	return decode(v, raw, text) == ST_OK ? ST_OK : ST_NOMEM;
}

/* U+0000, of one byte, was written in six: U+FFFD, of three, fits. */
enum status
value_replace_nul(struct values *v, struct span *text)
{
	size_t before = v->scratch.len;
	struct span rest = *text, part;
	enum status st;

	if (text->len == 0 || memchr(text->p, '\0', text->len) == NULL)
		return ST_OK;
	while (span_cut(&rest, '\0', &part)) {
		buf_add(&v->scratch, part);
		if (rest.p != NULL || rest.len > 0)
			buf_add(&v->scratch, SPAN("\xef\xbf\xbd"));
	}
	st = buf_finish(&v->scratch, before);
	if (st != ST_OK)
		return st;
	*text = span_skip(buf_span(&v->scratch), before);
	return ST_OK;
}

static bool
has_space(struct span s)
{
	return memchr(s.p, ' ', s.len) != NULL ||
	    memchr(s.p, '\t', s.len) != NULL ||
	    memchr(s.p, '\r', s.len) != NULL;
}

enum status
value_compact(struct values *v, struct span raw, struct span *text)
{
	size_t before = v->scratch.len;
	enum status st;

	*text = raw;
	if (!has_space(raw))
		return ST_OK;
	jsontext_add_compact(&v->scratch, raw);
	st = buf_finish(&v->scratch, before);
	if (st != ST_OK)
		return st;
	*text = span_skip(buf_span(&v->scratch), before);
	return ST_OK;
}

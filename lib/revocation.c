/* SPDX-License-Identifier: MIT */
/* Revocations as an event's data.  Pure. */
#include "revocation.h"

#include "json.h"
#include "jsontext.h"

const char *
revocation_kind_name(enum revocation_kind kind)
{
	static const char *const names[REVOKE_KIND_COUNT] = {
#define X(member, word) [REVOKE_##member] = (word),
	    REVOCATION_KINDS(X)
#undef X
	};

	return names[kind];
}

enum status
revocation_encode(struct buf *out, const struct revocation *r)
{
	size_t start = out->len;

	buf_addf(out, "{\"%s\":", revocation_kind_name(r->kind));
	jsontext_add_quoted(out, r->value);
	buf_add(out, SPAN(",\"at_ms\":"));
	buf_add_int64(out, r->at_ms);
	buf_add(out, SPAN("}"));
	return buf_finish(out, start);
}

static enum status
take_value(struct buf *text, struct span value, struct revocation *r)
{
	enum status st;

	buf_clear(text);
	if (value.len == 0 || value.len > REVOCATION_MAX_VALUE)
		return ST_INVALID;
	st = buf_append(text, value);
	r->value = buf_span(text);
	return st == ST_NOMEM ? ST_NOMEM : st == ST_OK ? ST_OK : ST_INVALID;
}

static enum status
read_members(const struct json *root, struct buf *text, struct revocation *r)
{
	int kind, found = -1;

	for (kind = 0; kind < REVOKE_KIND_COUNT; kind++) {
		const char *name = revocation_kind_name(
		    (enum revocation_kind)kind);

		if (json_get(root, name) == NULL)
			continue;
		if (found >= 0)
			return ST_INVALID; /* which of them? */
		found = kind;
	}
	r->until_ms = 0;
	if (found < 0 || !json_int(json_get(root, "at_ms"), &r->at_ms))
		return ST_INVALID;
	r->kind = (enum revocation_kind)found;
	return take_value(text,
	    json_text(json_get(root, revocation_kind_name(r->kind))), r);
}

enum status
revocation_decode(struct span data, struct buf *text, struct revocation *r)
{
	struct json_parser *p = NULL;
	struct json *root = NULL;
	struct errmsg why;
	size_t at = 0;
	enum status st = jsontext_check(data, &at);

	if (st == ST_OK)
		st = json_parser_new(&p);
	if (st == ST_OK)
		st = json_parse(p, data, &root, &why);
	if (st == ST_OK)
		st = json_type(root) == JSON_OBJECT
		    ? read_members(root, text, r)
		    : ST_INVALID;
	json_free(&root);
	json_parser_free(&p);
	return st == ST_OK || st == ST_NOMEM ? st : ST_INVALID;
}

bool
revocation_stream(struct span value, uint64_t *id)
{
	size_t i;

	*id = 0;
	for (i = 0; i < value.len; i++) {
		char c = value.p[i];
		int digit = c >= '0' && c <= '9' ? c - '0'
		    : c >= 'a' && c <= 'f'       ? c - 'a' + 10
						 : -1;

		if (digit < 0)
			return false;
		*id = *id << 4 | (uint64_t)digit;
	}
	return value.len == 16;
}

/* SPDX-License-Identifier: MIT */
/* The line that revokes.  Pure. */
#include "revoke_line.h"

#include "jsontext.h"
#include "name.h"
#include "utf8.h"

#define YEAR_10000_S INT64_C(253402300800)

static enum status
complain_of_revoke(struct errmsg *err, const char *what)
{
	errmsg_set(err, "revoke: %s", what);
	return ST_INVALID;
}

/* The one member that says what is revoked. */
static enum status
find_kind_member(struct span line, enum revocation_kind *kind, struct span *raw,
    struct errmsg *err)
{
	struct span value;
	int k, n = 0;

	for (k = 0; k < REVOKE_KIND_COUNT; k++) {
		enum revocation_kind one = (enum revocation_kind)k;

		if (jsontext_member(line, span_str(revocation_kind_name(one)),
			&value) != ST_OK)
			continue;
		*kind = one;
		*raw = value;
		n++;
	}
	if (n == 1)
		return ST_OK;
	return complain_of_revoke(err,
	    "name one of `user`, `token` (its jti) and `stream` (as "
	    "X-SSE-Stream says it)");
}

static enum status
check_value(const struct revocation *r, struct errmsg *err)
{
	uint64_t id;

	if (r->value.len == 0 || r->value.len > REVOCATION_MAX_VALUE ||
	    !utf8_ok(r->value) || name_has_control(r->value))
		return complain_of_revoke(err,
		    "the value must have 1 to 256 bytes, without control "
		    "characters");
	if (r->kind == REVOKE_STREAM && !revocation_stream(r->value, &id))
		return complain_of_revoke(err,
		    "`stream` must be the 16 hexadecimal digits of "
		    "X-SSE-Stream");
	return ST_OK;
}

static enum status
read_until(struct span line, struct revocation *r, struct errmsg *err)
{
	struct span raw;
	int64_t s;

	r->until_ms = 0;
	if (jsontext_member(line, SPAN("until"), &raw) != ST_OK)
		return ST_OK;
	if (!span_to_int64(raw, &s) || s > YEAR_10000_S)
		return complain_of_revoke(err,
		    "`until` must be Unix time in whole seconds");
	r->until_ms = s * 1000;
	return ST_OK;
}

enum status
revoke_line_read(struct values *v, struct span line, struct revocation *out,
    struct errmsg *err)
{
	struct span raw = SPAN_NONE;
	enum status st = find_kind_member(line, &out->kind, &raw, err);

	if (st != ST_OK)
		return st;
	st = value_text(v, raw, &out->value);
	if (st == ST_NOMEM)
		return st;
	if (st != ST_OK)
		return complain_of_revoke(err, "the value must be a string");
	st = check_value(out, err);
	return st == ST_OK ? read_until(line, out, err) : st;
}

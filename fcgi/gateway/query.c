/* SPDX-License-Identifier: MIT */
/* Form-urlencoded text.  Pure. */
#include "query.h"

bool
query_next(struct span *rest, struct query_pair *pair)
{
	struct span piece;

	while (span_cut(rest, '&', &piece)) {
		if (piece.len == 0)
			continue;
		pair->value = piece;
		(void)span_cut(&pair->value, '=', &pair->name);
		return true;
	}
	return false;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool
is_encoded(struct span raw, enum query_plus plus)
{
	if (raw.len == 0)
		return false;
	return memchr(raw.p, '%', raw.len) != NULL ||
	    (plus == QUERY_PLUS_IS_SPACE && memchr(raw.p, '+', raw.len));
}

enum status
query_decode(struct buf *out, struct span raw, enum query_plus plus,
    struct span *decoded, size_t *at)
{
	char *to;
	size_t i, n = 0;

	if (!is_encoded(raw, plus)) {
		*decoded = raw;
		return ST_OK;
	}
	if (buf_room(out) < raw.len)
		return ST_FULL;
	to = buf_tail(out);
	for (i = 0; i < raw.len; i++) {
		int hi, lo;

		if (raw.p[i] != '%') {
			bool space = raw.p[i] == '+' &&
			    plus == QUERY_PLUS_IS_SPACE;

			to[n++] = space ? ' ' : raw.p[i];
			continue;
		}
		hi = raw.len - i > 2 ? hex_digit(raw.p[i + 1]) : -1;
		lo = raw.len - i > 2 ? hex_digit(raw.p[i + 2]) : -1;
		if (hi < 0 || lo < 0) {
			*at = i;
			return ST_INVALID;
		}
		to[n++] = (char)(hi * 16 + lo);
		i += 2;
	}
	buf_grew(out, n);
	*decoded = span_of(to, n);
	return ST_OK;
}

/* SPDX-License-Identifier: MIT */
/* Cutting, trimming and reading spans.  Pure. */
#include "span.h"

#include <strings.h>

bool
span_cut(struct span *rest, char sep, struct span *part)
{
	const char *at;

	if (rest->p == NULL)
		return false;
	at = span_find(*rest, sep);
	if (at == NULL) {
		*part = *rest;
		*rest = SPAN_NONE;
		return true;
	}
	*part = span_of(rest->p, (size_t)(at - rest->p));
	*rest = span_skip(*rest, part->len + 1);
	return true;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct span
span_trim(struct span s)
{
	while (s.len > 0 && is_blank(s.p[0]))
		s = span_skip(s, 1);
	while (s.len > 0 && is_blank(s.p[s.len - 1]))
		s.len--;
	return s;
}

bool
span_caseeq(struct span a, struct span b)
{
	return a.len == b.len &&
	    (a.len == 0 || strncasecmp(a.p, b.p, a.len) == 0);
}

bool
span_to_int64(struct span s, int64_t *out)
{
	int64_t v = 0;
	size_t i;

	if (s.len == 0)
		return false;
	for (i = 0; i < s.len; i++) {
		int digit = s.p[i] - '0';

		if (digit < 0 || digit > 9)
			return false;
		if (v > (INT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*out = v;
	return true;
}

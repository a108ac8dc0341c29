/* SPDX-License-Identifier: MIT */
/*
 * Members of a checked object.  Trusts the grammar, but never leaves the
 * bounds of the text.
 */
#include "members.h"

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const char *
past_space(const char *p, const char *end)
{
	while (p < end && is_space(*p))
		p++;
	return p;
}

/*
 * p is at the opening quote.  Backslashes are counted back from each quote,
 * at most to the one before it: linear.
 */
static const char *
past_string(const char *p, const char *end)
{
	const char *quote = p, *first;

	for (;;) {
		quote++;
		quote = memchr(quote, '"', (size_t)(end - quote));
		if (quote == NULL)
			return end;
		first = quote;
		while (first - 1 > p && first[-1] == '\\')
			first--;
		if ((quote - first) % 2 == 0)
			return quote + 1;
	}
}

static const char *
past_container(const char *p, const char *end)
{
	unsigned depth = 0;

	while (p < end) {
		if (*p == '"') {
			p = past_string(p, end);
			continue;
		}
		if (*p == '{' || *p == '[')
			depth++;
		else if ((*p == '}' || *p == ']') && --depth == 0)
			return p + 1;
		p++;
	}
	return end;
}

static const char *
past_value(const char *p, const char *end)
{
	if (p == end)
		return end;
	if (*p == '"')
		return past_string(p, end);
	if (*p == '{' || *p == '[')
		return past_container(p, end);
	while (p < end && *p != ',' && *p != '}' && !is_space(*p))
		p++;
	return p;
}

bool
members_next(struct span *rest, struct span *name, struct span *value)
{
	const char *p, *begin, *end;

	if (rest->len == 0)
		return false;
	end = rest->p + rest->len;
	/* Between calls *rest begins with the comma or the brace. */
	begin = past_space(rest->p + 1, end);
	if (*rest->p == '}' || begin == end || *begin != '"')
		return false;
	p = past_string(begin, end);
	*name = span_of(begin + 1, (size_t)(p - begin) - 2);
	p = past_space(p, end);
	if (p == end)
		return false;
	begin = past_space(p + 1, end); /* behind the colon */
	p = past_value(begin, end);
	*value = span_of(begin, (size_t)(p - begin));
	p = past_space(p, end);
	*rest = span_of(p, (size_t)(end - p));
	return true;
}

/* SPDX-License-Identifier: MIT */
/*
 * The Accept header.  Parameters of a range other than its weight are not
 * compared: "text/event-stream;charset=utf-8" means our stream too.  Pure.
 */
#include "accept.h"

/* As span_cut, but a separator inside a quoted string does not count. */
static bool
cut_unquoted(struct span *rest, char sep, struct span *part)
{
	bool quoted = false;
	size_t i;

	if (rest->p == NULL)
		return false;
	for (i = 0; i < rest->len; i++) {
		if (rest->p[i] == '"')
			quoted = !quoted;
		else if (quoted && rest->p[i] == '\\' && i + 1 < rest->len)
			i++;
		else if (!quoted && rest->p[i] == sep)
			break;
	}
	*part = span_of(rest->p, i);
	*rest = i == rest->len ? SPAN_NONE : span_skip(*rest, i + 1);
	return true;
}

/* 0: no match; the more precise, the greater. */
static int
precision(struct span range, struct span type, struct span subtype)
{
	struct span major, minor = range;

	if (!span_cut(&minor, '/', &major))
		return 0;
	if (span_eq(range, SPAN("*/*")))
		return 1;
	if (!span_caseeq(major, type))
		return 0;
	if (span_eq(minor, SPAN("*")))
		return 2;
	return span_caseeq(minor, subtype) ? 3 : 0;
}

/* 0, 0., 0.0, 0.00, 0.000 */
static bool
weight_is_zero(struct span q)
{
	size_t i;

	if (q.len == 0 || q.p[0] != '0' || (q.len > 1 && q.p[1] != '.'))
		return false;
	for (i = 2; i < q.len; i++)
		if (q.p[i] != '0')
			return false;
	return true;
}

static bool
excludes(struct span parameters)
{
	struct span piece, name;

	while (cut_unquoted(&parameters, ';', &piece)) {
		if (!span_cut(&piece, '=', &name))
			continue;
		if (span_caseeq(span_trim(name), SPAN("q")))
			return weight_is_zero(span_trim(piece));
	}
	return false;
}

bool
accept_allows(struct span header, struct span type, struct span subtype)
{
	bool allowed = false, empty = true;
	struct span element, range;
	int best = 0;

	while (cut_unquoted(&header, ',', &element)) {
		int p;

		if (span_trim(element).len == 0)
			continue;
		empty = false;
		(void)cut_unquoted(&element, ';', &range);
		p = precision(span_trim(range), type, subtype);
		if (p == 0 || p < best)
			continue;
		/* Listed twice, with and without q=0: it may be sent. */
		allowed = !excludes(element) || (p == best && allowed);
		best = p;
	}
	return allowed || empty;
}

/* SPDX-License-Identifier: MIT */
/* The Origin header.  Pure. */
#include "origin.h"

struct span
origin_allowed(struct span rules, struct span origin)
{
	size_t i, start = 0;

	if (origin.len == 0)
		return SPAN_NONE;
	for (i = 0; i <= rules.len; i++) {
		struct span rule;

		if (i < rules.len && rules.p[i] != ' ' && rules.p[i] != ',' &&
		    rules.p[i] != '\t')
			continue;
		rule = span_of(rules.p == NULL ? "" : rules.p + start,
		    i - start);
		start = i + 1;
		if (span_eq(rule, SPAN("*")))
			return SPAN("*");
		if (span_caseeq(rule, origin))
			return origin;
	}
	return SPAN_NONE;
}

bool
origin_is_host(struct span origin, struct span host)
{
	static const char *const schemes[] = {"http://", "https://"};
	size_t i;

	for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		struct span s = span_str(schemes[i]);

		if (origin.len > s.len &&
		    span_caseeq(span_of(origin.p, s.len), s) &&
		    span_caseeq(span_skip(origin, s.len), host))
			return true;
	}
	return false;
}

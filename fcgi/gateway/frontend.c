/* SPDX-License-Identifier: MIT */
#include "frontend.h"

#include <stddef.h>

static const char *const names[FRONTS] = {
#define X(member, word) [FRONT_##member] = (word),
    FRONTENDS(X)
#undef X
};

const char *
frontend_name(enum front f)
{
	return names[f];
}

enum front
frontend_of(struct span software)
{
	size_t i;

	for (i = 0; i < FRONTS; i++) {
		struct span name = span_str(names[i]);

		if (i != FRONT_CGI && i != FRONT_OTHER &&
		    software.len >= name.len &&
		    span_caseeq(span_of(software.p, name.len), name))
			return (enum front)i;
	}
	return FRONT_OTHER;
}

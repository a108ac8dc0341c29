/* SPDX-License-Identifier: MIT */
/* Credentials of a request.  Pure. */
#include "credential.h"

#define MERCURE_COOKIE SPAN("mercureAuthorization")

struct span
credential_cookie(struct span header, struct span name)
{
	struct span pair, key;

	while (span_cut(&header, ';', &pair)) {
		pair = span_trim(pair);
		if (!span_cut(&pair, '=', &key) || !span_eq(key, name))
			continue;
		if (pair.len >= 2 && pair.p[0] == '"' &&
		    pair.p[pair.len - 1] == '"')
			pair = span_of(pair.p + 1, pair.len - 2);
		return pair;
	}
	return SPAN_NONE;
}

/* The scheme's name has no case, and one space or more follows it. */
static struct span
bearer_token(struct span authorization)
{
	struct span scheme, rest = authorization;

	if (!span_cut(&rest, ' ', &scheme) ||
	    !span_caseeq(scheme, SPAN("Bearer")))
		return SPAN_NONE;
	return span_trim(rest);
}

void
credential_read(struct credential *c, const struct params *p,
    struct span query_token, struct span cookie_name)
{
	c->user = params_get_sure(p, SPAN("REMOTE_USER"));
	c->cookie = params_get(p, "HTTP_COOKIE");
	c->authorization = params_get(p, "HTTP_AUTHORIZATION");
	c->token = bearer_token(c->authorization);
	if (c->token.len == 0)
		c->token = query_token;
	if (c->token.len == 0)
		c->token = credential_cookie(c->cookie, cookie_name);
	if (c->token.len == 0)
		c->token = credential_cookie(c->cookie, MERCURE_COOKIE);
}

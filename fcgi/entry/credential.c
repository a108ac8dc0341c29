/* SPDX-License-Identifier: MIT */
/*
 * Credentials of a request.  The first source that has a token counts, and no
 * other is looked at, or somebody could try several at once.
 *
 * Two cookies of the name with different values make it ambiguous.  To take
 * the first would let a page of a sibling host, which may set cookies for the
 * whole domain, put a token of its own before the visitor's: he would then,
 * without a sign of it, read as somebody else.  A stream that is refused is
 * noticed.  Pure.
 */
#include "credential.h"

#include "name.h"
#include "revocation.h"
#include "utf8.h"

#define MERCURE_COOKIE SPAN("mercureAuthorization")

static struct span
unquoted(struct span value)
{
	if (value.len >= 2 && value.p[0] == '"' &&
	    value.p[value.len - 1] == '"')
		return span_of(value.p + 1, value.len - 2);
	return value;
}

struct span
credential_cookie(struct span header, struct span name, bool *differ)
{
	struct span pair, key, found = SPAN_NONE;

	*differ = false;
	while (name.len > 0 && span_cut(&header, ';', &pair)) {
		pair = span_trim(pair);
		if (!span_cut(&pair, '=', &key) || !span_eq(key, name))
			continue;
		pair = unquoted(pair);
		if (found.len == 0)
			found = pair;
		else if (pair.len > 0 && !span_eq(found, pair))
			*differ = true;
	}
	return found;
}

/*
 * What could not be revoked is no name: see revocation.h.  The web server may
 * let such a user in; to the rules he is nobody.
 */
bool
credential_user_ok(struct span user)
{
	return user.len <= REVOCATION_MAX_VALUE && utf8_ok(user) &&
	    !name_has_control(user);
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
    const struct request *r, struct span cookie_name)
{
	c->user = params_get_sure(p, SPAN("REMOTE_USER"));
	if (!credential_user_ok(c->user))
		c->user = SPAN_NONE;
	c->cookie = params_get_sure(p, SPAN("HTTP_COOKIE"));
	c->authorization = params_get_sure(p, SPAN("HTTP_AUTHORIZATION"));
	c->ambiguous = false;
	c->token = bearer_token(c->authorization);
	if (c->token.len > 0)
		return;
	c->token = r->token;
	c->ambiguous = r->tokens_differ;
	if (c->token.len == 0)
		c->token = credential_cookie(c->cookie, cookie_name,
		    &c->ambiguous);
	if (c->token.len == 0)
		c->token = credential_cookie(c->cookie, MERCURE_COOKIE,
		    &c->ambiguous);
}

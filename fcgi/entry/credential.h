/* SPDX-License-Identifier: MIT */
/*
 * What a request brings to show who sends it.  Pure; spans point into the
 * params and the request.
 */
#ifndef WALCAST_CREDENTIAL_H
#define WALCAST_CREDENTIAL_H

#include "params.h"
#include "span.h"

struct credential {
	struct span user;  /* REMOTE_USER of the web server; empty: none */
	struct span token; /* empty: none */
	struct span cookie, authorization; /* the headers, as they came */
};

/*
 * Of several tokens the first counts: `Authorization: Bearer` (RFC 6750),
 * then the query, then the cookie of that name, then Mercure's.
 */
void credential_read(struct credential *c, const struct params *p,
    struct span query_token, struct span cookie_name);

/*
 * The value of a cookie in a Cookie header (RFC 6265 section 4.2.1), without
 * quotes; the first of that name.  SPAN_NONE: there is none.
 */
struct span credential_cookie(struct span header, struct span name);

#endif

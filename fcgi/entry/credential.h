/* SPDX-License-Identifier: MIT */
/*
 * What a request brings to show who sends it.  Pure; spans point into the
 * params and the request.
 */
#ifndef WALCAST_CREDENTIAL_H
#define WALCAST_CREDENTIAL_H

#include <stdbool.h>

#include "params.h"
#include "request.h"
#include "span.h"

struct credential {
	struct span user;  /* REMOTE_USER of the web server; empty: none */
	struct span token; /* empty: none */
	bool ambiguous; /* there are several where it stands, and not the same:
			   it is not to be believed */
	struct span cookie, authorization; /* the headers, as they came */
};

/*
 * Of several tokens the first counts: `Authorization: Bearer` (RFC 6750),
 * then the query, then the cookie of that name, then Mercure's.
 */
void credential_read(struct credential *c, const struct params *p,
    const struct request *r, struct span cookie_name);

/*
 * The value of a cookie in a Cookie header (RFC 6265 section 4.2.1), without
 * quotes; the first of that name that is not empty.  Empty: there is none.
 *
 * differ   whether there are others of that name, with other values
 */
struct span credential_cookie(struct span header, struct span name,
    bool *differ);

/* Is it a name that rules can be for?  An empty one is none, and fine. */
bool credential_user_ok(struct span user);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The Origin header (RFC 6454 section 7; Fetch standard, section 3.1): which
 * page a request comes from.  Pure.
 */
#ifndef WALCAST_ORIGIN_H
#define WALCAST_ORIGIN_H

#include <stdbool.h>

#include "span.h"

/*
 * What Access-Control-Allow-Origin says to this origin: itself or "*";
 * SPAN_NONE when no rule allows it.
 *
 * rules   "*", or origins separated by space or comma; may be empty
 */
struct span origin_allowed(struct span rules, struct span origin);

/*
 * Is it a page of the host that the request was sent to?  The scheme is not
 * compared: behind a front end that ends TLS nobody knows it.
 *
 * host   the Host header, with the port where it is not the scheme's own
 */
bool origin_is_host(struct span origin, struct span host);

#endif

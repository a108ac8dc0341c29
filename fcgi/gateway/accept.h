/* SPDX-License-Identifier: MIT */
/*
 * The Accept header (RFC 9110 section 12.5.1): of the media ranges that match
 * a type the most precise one decides, and q=0 there excludes it.  Pure.
 */
#ifndef WALCAST_ACCEPT_H
#define WALCAST_ACCEPT_H

#include <stdbool.h>

#include "span.h"

/*
 * May a response of this type be sent?  A header that is missing or empty
 * allows everything; a range or a weight that is malformed never excludes.
 *
 * type, subtype   without parameters, such as "text" and "html"
 */
bool accept_allows(struct span header, struct span type, struct span subtype);

#endif

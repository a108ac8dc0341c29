/* SPDX-License-Identifier: MIT */
/*
 * Walks the members of a JSON object in one pass, where jsontext_member
 * would look through the whole line for each name.  Pure.
 */
#ifndef WALCAST_MEMBERS_H
#define WALCAST_MEMBERS_H

#include <stdbool.h>

#include "span.h"

/*
 * Start with *rest = text that jsontext_check has passed and whose first
 * byte is '{'; each call gives one member.
 *
 * name     between its quotes, as written (escapes not decoded)
 * value    its text, without white space around it
 * Returns  false when there are no more
 */
bool members_next(struct span *rest, struct span *name, struct span *value);

#endif

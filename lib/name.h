/* SPDX-License-Identifier: MIT */
/*
 * What may be a channel, an event name, a key, a trace, and how a channel
 * pattern matches.  The rules are those of walcast-protocol(7); the database
 * holds the same ones as CHECK constraints.  Pure.
 */
#ifndef WALCAST_NAME_H
#define WALCAST_NAME_H

#include <stdbool.h>

#include "span.h"

#define NAME_MAX_BYTES 128 /* channel, event name, key */

/* 1-128 bytes of A-Z a-z 0-9 _ . : / - @ % ~ + = */
bool name_channel_ok(struct span s);

/* A channel that begins `system.` or `control.` is ours. */
bool name_reserved(struct span s);

/* 1-128 bytes of valid UTF-8 without control characters, not reserved. */
bool name_event_ok(struct span s);

/* 1-128 bytes of valid UTF-8 without control characters. */
bool name_key_ok(struct span s);

/* A W3C traceparent of version 00, as the log stores it: traceparent.h. */
bool name_trace_ok(struct span s);

/*
 * A channel name, or a prefix with one trailing '*' ("*" alone: every
 * channel).
 */
bool name_pattern_ok(struct span s);

/* Does a valid pattern match a channel?  None matches a reserved one. */
bool name_pattern_match(struct span pattern, struct span channel);

/* Is there a C0, DEL or C1 (U+0080-U+009F, encoded C2 80 - C2 9F) in it? */
bool name_has_control(struct span s);

#endif

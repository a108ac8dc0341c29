/* SPDX-License-Identifier: MIT */
/*
 * JSON values of a line as the text that they denote.  Strings without a
 * backslash are used where they stand; json-c decodes the others.  Pure.
 *
 * What is decoded or compacted is never longer than what was written, so
 * room for twice the line is room for all of it, and spans stay valid until
 * the next line.
 */
#ifndef WALCAST_VALUE_H
#define WALCAST_VALUE_H

#include <stdbool.h>

#include "buf.h"
#include "span.h"
#include "status.h"

struct json_parser;

struct values {
	struct json_parser *json;
	struct buf scratch; /* decoded strings, compacted data */
};

MUST_USE enum status values_init(struct values *v);
void values_fini(struct values *v);

/*
 * Call it before each line: makes room for it, and forgets what was decoded
 * before.
 * Returns  ST_OK or ST_NOMEM
 */
MUST_USE enum status values_begin(struct values *v, size_t line_bytes);

bool value_is_string(struct span raw);

/*
 * The text of a JSON string.
 * Returns  ST_OK, ST_INVALID (it is no string) or ST_NOMEM
 */
MUST_USE enum status value_text(struct values *v, struct span raw,
    struct span *text);

/* Puts U+FFFD in place of each U+0000.  Returns ST_OK or ST_NOMEM. */
MUST_USE enum status value_replace_nul(struct values *v, struct span *text);

/*
 * Any value but a string, as it was written but without white space.
 * Returns  ST_OK or ST_NOMEM
 */
MUST_USE enum status value_compact(struct values *v, struct span raw,
    struct span *text);

#endif

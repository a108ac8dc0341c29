/* SPDX-License-Identifier: MIT */
/*
 * JSON as text (RFC 8259), for what json-c does not keep: where in the line a
 * value was written.  An event's data is forwarded as it was written, so
 * numbers are never parsed and keys never reordered.  Pure.
 */
#ifndef WALCAST_JSONTEXT_H
#define WALCAST_JSONTEXT_H

#include "buf.h"
#include "span.h"
#include "status.h"

#define JSONTEXT_MAX_DEPTH 64 /* nested arrays and objects */

/*
 * Checks that `text` is exactly one JSON value, surrounded by white space at
 * most: the grammar of RFC 8259, UTF-8 of RFC 3629, depth within the bound.
 *
 * Returns  ST_OK
 *          ST_INVALID  *at is the byte where it breaks
 *          ST_TOOLARGE nested deeper than JSONTEXT_MAX_DEPTH; *at as above
 */
MUST_USE enum status jsontext_check(struct span text, size_t *at);

/*
 * In checked text whose value is an object: the value of its last member
 * `name` (a name that is written with escapes is not found).
 *
 * Returns  ST_OK       *value is the text, without white space around it
 *          ST_NOTFOUND
 */
MUST_USE enum status jsontext_member(struct span text, struct span name,
    struct span *value);

/*
 * Walks the members of checked text in one pass.  Start with *rest = the
 * text from its '{' on; each call gives one member.
 *
 * name     between its quotes, as written (escapes not decoded)
 * value    its text, without white space around it
 * Returns  false when there are no more
 */
bool jsontext_next_member(struct span *rest, struct span *name,
    struct span *value);

/*
 * Walks the elements of checked text whose value is an array.  Start with
 * *rest = the text; each call gives one element's text.
 *
 * Returns  ST_OK or ST_END
 */
MUST_USE enum status jsontext_element(struct span *rest, struct span *value);

/* Pieces of a text; failures are remembered, see buf_finish. */

/* Checked text without its insignificant white space. */
void jsontext_add_compact(struct buf *out, struct span text);

/*
 * s as a JSON string, quotes included.  Bytes that are not UTF-8 and control
 * characters are escaped (the former as U+FFFD, see utf8.h).
 */
void jsontext_add_quoted(struct buf *out, struct span s);

#endif

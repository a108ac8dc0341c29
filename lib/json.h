/* SPDX-License-Identifier: MIT */
/*
 * Values of a JSON text, by json-c.  The grammar is checked by jsontext.h
 * first (json-c accepts more than RFC 8259); here strings are decoded and
 * members found.  The only module that includes json-c.
 */
#ifndef WALCAST_JSON_H
#define WALCAST_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "span.h"
#include "status.h"

struct json;        /* one value; belongs to its root */
struct json_parser; /* reusable; one thread */

enum json_type {
	JSON_NULL,
	JSON_BOOL,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
};

MUST_USE enum status json_parser_new(struct json_parser **out);
void json_parser_free(struct json_parser **p);

/*
 * Parses one value.
 * Returns  ST_OK       *out is the root; free it with json_free
 *          ST_INVALID  err says where and why
 *          ST_NOMEM
 */
MUST_USE enum status json_parse(struct json_parser *p, struct span text,
    struct json **out, struct errmsg *err);
void json_free(struct json **root);

enum json_type json_type(const struct json *j);

/*
 * The last member of that name, or NULL when there is none; a member whose
 * value is null is found.  Names that hold U+0000 end there.
 */
const struct json *json_get(const struct json *object, const char *name);

/* Array length and elements; 0 and NULL for anything else. */
size_t json_count(const struct json *array);
const struct json *json_at(const struct json *array, size_t i);

/* The decoded text of a string (may hold NUL); SPAN_NONE for others. */
struct span json_text(const struct json *j);

/* A whole number above -2^63 and below 2^63; false for anything else. */
bool json_int(const struct json *j, int64_t *out);
bool json_true(const struct json *j);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Values of a JSON text, by json-c.  Owns the tokener, which is reset after
 * every parse, so that one bad text leaves nothing for the next.
 *
 * json-c represents null by a NULL pointer; here null is a value of its own, so
 * that "missing" and "null" differ.
 */
#include "json.h"

#include <limits.h>
#include <stdlib.h>

/* json-c has a type of this name, we have a function. */
#define json_type jsonc_type
#include <json-c/json.h>
#undef json_type

#include "jsontext.h"

/* json-c counts scalars as a level too. */
#define TOKENER_DEPTH (JSONTEXT_MAX_DEPTH + 2)

struct json {
	char unused;
};

struct json_parser {
	struct json_tokener *tokener;
};

static struct json null_value;

static struct json *
wrap(struct json_object *o)
{
	return o == NULL ? &null_value : (struct json *)o;
}

static struct json_object *
unwrap(const struct json *j)
{
	if (j == NULL || j == &null_value)
		return NULL;
	return (struct json_object *)(uintptr_t)j;
}

enum status
json_parser_new(struct json_parser **out)
{
	struct json_parser *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return ST_NOMEM;
	p->tokener = json_tokener_new_ex(TOKENER_DEPTH);
	if (p->tokener == NULL) {
		free(p); /* UNTESTED: the library's own allocation */
		return ST_NOMEM;
	}
	json_tokener_set_flags(p->tokener,
	    JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	*out = p;
	return ST_OK;
}

void
json_parser_free(struct json_parser **p)
{
	if (*p == NULL)
		return;
	json_tokener_free((*p)->tokener);
	free(*p);
	*p = NULL;
}

/* Feeds the text, and then a NUL, without which a number would not end. */
static enum json_tokener_error
feed(struct json_tokener *t, struct span text, struct json_object **o,
    size_t *at)
{
	enum json_tokener_error e;

	*o = json_tokener_parse_ex(t, text.p, (int)text.len);
	*at = json_tokener_get_parse_end(t);
	e = json_tokener_get_error(t);
	if (e == json_tokener_continue) {
		*o = json_tokener_parse_ex(t, "", 1);
		*at = text.len;
		e = json_tokener_get_error(t);
	}
	return e;
}

enum status
json_parse(struct json_parser *p, struct span text, struct json **out,
    struct errmsg *err)
{
	struct json_object *o = NULL;
	enum json_tokener_error e;
	size_t at = 0;

	if (text.len == 0 || text.len >= INT_MAX) {
		errmsg_set(err,
		    text.len == 0 ? "no JSON value at all"
				  : "too long to be parsed");
		return ST_INVALID;
	}
	e = feed(p->tokener, text, &o, &at);
	json_tokener_reset(p->tokener);
	if (e == json_tokener_success && at == text.len) {
		*out = wrap(o);
		return ST_OK;
	}
	/* Text after the value, a NUL for example. */
	(void)json_object_put(o);
	errmsg_set(err, "byte %zu: %s", at,
	    e == json_tokener_success ? "something after the value"
				      : json_tokener_error_desc(e));
	return ST_INVALID;
}

void
json_free(struct json **root)
{
	(void)json_object_put(unwrap(*root));
	*root = NULL;
}

enum json_type
json_type(const struct json *j)
{
	switch (json_object_get_type(unwrap(j))) {
	case json_type_boolean:
		return JSON_BOOL;
	case json_type_double:
	case json_type_int:
		return JSON_NUMBER;
	case json_type_string:
		return JSON_STRING;
	case json_type_array:
		return JSON_ARRAY;
	case json_type_object:
		return JSON_OBJECT;
	case json_type_null:
		break;
	}
	return JSON_NULL;
}

const struct json *
json_get(const struct json *object, const char *name)
{
	struct json_object *member;

	if (!json_object_object_get_ex(unwrap(object), name, &member))
		return NULL;
	return wrap(member);
}

size_t
json_count(const struct json *array)
{
	struct json_object *o = unwrap(array);

	return json_object_is_type(o, json_type_array)
	    ? json_object_array_length(o)
	    : 0;
}

const struct json *
json_at(const struct json *array, size_t i)
{
	if (i >= json_count(array))
		return NULL;
	return wrap(json_object_array_get_idx(unwrap(array), i));
}

struct span
json_text(const struct json *j)
{
	struct json_object *o = unwrap(j);

	if (!json_object_is_type(o, json_type_string))
		return SPAN_NONE;
	return span_of(json_object_get_string(o),
	    (size_t)json_object_get_string_len(o));
}

bool
json_int(const struct json *j, int64_t *out)
{
	struct json_object *o = unwrap(j);
	int64_t v;

	if (!json_object_is_type(o, json_type_int))
		return false;
	/* json-c returns the nearest limit for a number that does not fit. */
	v = json_object_get_int64(o);
	if (v == INT64_MIN ||
	    (v == INT64_MAX && json_object_get_uint64(o) != INT64_MAX))
		return false;
	*out = v;
	return true;
}

bool
json_true(const struct json *j)
{
	struct json_object *o = unwrap(j);

	return json_object_is_type(o, json_type_boolean) &&
	    json_object_get_boolean(o);
}

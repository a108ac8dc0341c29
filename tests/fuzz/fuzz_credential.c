/* SPDX-License-Identifier: MIT */
/*
 * A Cookie header of any bytes: a value comes out only where the name stands
 * before it with `=`, and "another one differs" is said only where a second
 * reading, by other code, finds two values.
 *
 * Input: the header.
 */
#include "credential.h"

#include <string.h>

#include "fuzz.h"

#define COOKIE "t"

/* The values of the name, one after the other, as they stand. */
static bool
next_value(struct span *rest, struct span *value)
{
	while (rest->len > 0) {
		const char *end = memchr(rest->p, ';', rest->len);
		size_t n = end == NULL ? rest->len : (size_t)(end - rest->p);
		struct span part = span_trim(span_of(rest->p, n));

		*rest = span_skip(*rest, end == NULL ? n : n + 1);
		if (!span_starts(part, SPAN(COOKIE "=")))
			continue;
		*value = span_skip(part, sizeof(COOKIE));
		if (value->len >= 2 && value->p[0] == '"' &&
		    value->p[value->len - 1] == '"')
			*value = span_of(value->p + 1, value->len - 2);
		if (value->len > 0)
			return true;
	}
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span header = span_of((const char *)data, size);
	struct span rest = header, first = SPAN_NONE, value, got;
	bool differ = true, differs = false;

	got = credential_cookie(header, SPAN(COOKIE), &differ);
	while (next_value(&rest, &value)) {
		if (first.len == 0)
			first = value;
		differs = differs || !span_eq(first, value);
	}
	MUST(span_eq(got, first) || (got.len == 0 && first.len == 0));
	MUST(differ == differs);
	return 0;
}

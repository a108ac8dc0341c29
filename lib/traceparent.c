/* SPDX-License-Identifier: MIT */
/* W3C traceparent: text to ids and flags, and back.  Pure. */
#include "traceparent.h"

#include <string.h>

#define TRACE_AT  3
#define PARENT_AT 36
#define FLAGS_AT  53

#define VERSION_NONE 0xff
#define FLAGS_KNOWN  0x01 /* of version 00: sampled */

static const char digits[] = "0123456789abcdef";

/* The value of a lower-case hex digit, -1: it is none. */
static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static bool
hex_byte(const char *p, uint8_t *out)
{
	int high = hex_value(p[0]), low = hex_value(p[1]);

	if (high < 0 || low < 0)
		return false;
	*out = (uint8_t)(high << 4 | low);
	return true;
}

/* Hex digits, and one of them is not 0. */
static bool
is_id(struct span s)
{
	bool zero = true;
	size_t i;

	for (i = 0; i < s.len; i++) {
		if (hex_value(s.p[i]) < 0)
			return false;
		if (s.p[i] != '0')
			zero = false;
	}
	return !zero;
}

enum status
traceparent_parse(struct span text, struct traceparent *t)
{
	struct traceparent got;

	if (text.len < TRACEPARENT_BYTES || text.p[TRACE_AT - 1] != '-' ||
	    text.p[PARENT_AT - 1] != '-' || text.p[FLAGS_AT - 1] != '-')
		return ST_INVALID;
	if (!hex_byte(text.p, &got.version) || got.version == VERSION_NONE ||
	    !hex_byte(text.p + FLAGS_AT, &got.flags))
		return ST_INVALID;
	if (text.len > TRACEPARENT_BYTES &&
	    (got.version == 0 || text.p[TRACEPARENT_BYTES] != '-'))
		return ST_INVALID;
	if (got.version != 0)
		got.flags &= FLAGS_KNOWN;
	got.trace_id = span_of(text.p + TRACE_AT, TRACEPARENT_TRACE_HEX);
	got.parent_id = span_of(text.p + PARENT_AT, TRACEPARENT_SPAN_HEX);
	if (!is_id(got.trace_id) || !is_id(got.parent_id))
		return ST_INVALID;
	*t = got;
	return ST_OK;
}

void
traceparent_write(const struct traceparent *t, char out[TRACEPARENT_BYTES])
{
	memcpy(out, "00-", TRACE_AT);
	memcpy(out + TRACE_AT, t->trace_id.p, TRACEPARENT_TRACE_HEX);
	out[PARENT_AT - 1] = '-';
	memcpy(out + PARENT_AT, t->parent_id.p, TRACEPARENT_SPAN_HEX);
	out[FLAGS_AT - 1] = '-';
	out[FLAGS_AT] = digits[t->flags >> 4];
	out[FLAGS_AT + 1] = digits[t->flags & 0xf];
}

void
traceparent_span_id(uint64_t random, char out[TRACEPARENT_SPAN_HEX])
{
	size_t i = TRACEPARENT_SPAN_HEX;

	if (random == 0)
		random = 1;
	while (i-- > 0) {
		out[i] = digits[random & 0xf];
		random >>= 4;
	}
}

/* SPDX-License-Identifier: MIT */
/* What a browser says of its streams.  Pure. */
#include "beacon.h"

#include <stdlib.h>

#include "jsontext.h"
#include "origin.h"

#define NUMBER_BYTES_MAX 63 /* JSON.stringify writes 24 at most */

/* ---- values ------------------------------------------------------------- */

/* value   checked JSON of any type */
static bool
read_number(struct span value, double max, double *out)
{
	char text[NUMBER_BYTES_MAX + 1];
	double v;

	/* strtod takes more than JSON does, such as "nan". */
	if (value.len > NUMBER_BYTES_MAX ||
	    (value.p[0] != '-' && (value.p[0] < '0' || value.p[0] > '9')))
		return false;
	memcpy(text, value.p, value.len);
	text[value.len] = '\0';
	v = strtod(text, NULL);
	if (!(v >= 0 && v <= max))
		return false;
	*out = v;
	return true;
}

static bool
read_time(struct span value, uint64_t *us)
{
	double ms;

	if (!read_number(value, BEACON_MAX_MS, &ms))
		return false;
	*us = (uint64_t)(ms * 1000 + 0.5);
	return true;
}

static bool
read_count(struct span value, uint64_t *count)
{
	double v;

	if (!read_number(value, BEACON_MAX_COUNT, &v))
		return false;
	*count = (uint64_t)v;
	return (double)*count == v; /* a whole number */
}

/* ---- members ------------------------------------------------------------ */

static bool
read_first_event(struct beacon *b, struct span value)
{
	b->has_first_event = true;
	return read_time(value, &b->first_event_us);
}

static bool
read_lags(struct beacon *b, struct span value)
{
	struct span rest = value, element;

	if (value.p[0] != '[')
		return false;
	b->n_lags = 0;
	while (jsontext_element(&rest, &element) == ST_OK)
		if (b->n_lags == BEACON_MAX_LAGS ||
		    !read_time(element, &b->lag_us[b->n_lags++]))
			return false;
	return true;
}

static bool
read_reconnects(struct beacon *b, struct span value)
{
	return read_count(value, &b->reconnects);
}

static bool
read_gaps(struct beacon *b, struct span value)
{
	return read_count(value, &b->gaps);
}

static bool
read_duplicates(struct beacon *b, struct span value)
{
	return read_count(value, &b->duplicates);
}

static bool
read_missing(struct beacon *b, struct span value)
{
	return read_count(value, &b->missing);
}

static bool
read_buffered(struct beacon *b, struct span value)
{
	b->buffered = span_eq(value, SPAN("true"));
	return b->buffered || span_eq(value, SPAN("false"));
}

static bool
read_fallback(struct beacon *b, struct span value)
{
	static const char *const words[BEACON_FALLBACKS] = {
#define X(member, word) [BEACON_FALLBACK_##member] = "\"" word "\"",
	    BEACON_FALLBACK_LIST(X)
#undef X
	};
	size_t i;

	b->fallback = BEACON_FALLBACK_UNKNOWN;
	for (i = 0; i < BEACON_FALLBACKS; i++)
		if (span_eq(value, span_str(words[i])))
			b->fallback = (enum beacon_fallback)i;
	return true;
}

static const struct member {
	const char *name;
	bool (*read)(struct beacon *b, struct span value);
} members[] = {
    {"first_event_ms", read_first_event},
    {"lag_ms", read_lags},
    {"reconnects", read_reconnects},
    {"gaps", read_gaps},
    {"duplicates", read_duplicates},
    {"missing", read_missing},
    {"buffered", read_buffered},
    {"fallback", read_fallback},
};

static bool
read_member(struct beacon *b, struct span name, struct span value)
{
	size_t i;

	if (span_eq(value, SPAN("null")))
		return true;
	for (i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (span_eq(name, span_str(members[i].name)))
			return members[i].read(b, value);
	return true;
}

/* ---- the whole ---------------------------------------------------------- */

/* From the '{' on; SPAN_NONE when the checked text is no object. */
static struct span
object_of(struct span text)
{
	while (text.len > 0 && text.p[0] != '{') {
		char c = text.p[0];

		if (c != ' ' && c != '\t' && c != '\r' && c != '\n')
			return SPAN_NONE;
		text = span_skip(text, 1);
	}
	return text;
}

enum status
beacon_parse(struct span text, struct beacon *out)
{
	struct beacon b = {.fallback = BEACON_FALLBACK_UNKNOWN};
	struct span rest, name, value;
	size_t at;

	if (text.len > BEACON_MAX_BYTES)
		return ST_TOOLARGE;
	if (jsontext_check(text, &at) != ST_OK)
		return ST_INVALID;
	rest = object_of(text);
	if (rest.len == 0)
		return ST_INVALID;
	while (jsontext_next_member(&rest, &name, &value))
		if (!read_member(&b, name, value))
			return ST_INVALID;
	*out = b;
	return ST_OK;
}

bool
beacon_origin_ok(struct span origin, struct span host, struct span site,
    struct span allow_origin)
{
	if (origin.len == 0)
		return span_eq(site, SPAN("same-origin"));
	if (span_caseeq(origin, SPAN("null")))
		return false;
	return origin_is_host(origin, host) ||
	    origin_allowed(allow_origin, origin).len > 0;
}

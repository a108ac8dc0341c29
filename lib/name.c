/* SPDX-License-Identifier: MIT */
/* Rules for names and channel patterns.  Pure. */
#include "name.h"

#include "traceparent.h"

static bool
channel_byte(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || c == '_' || c == '.' || c == ':' ||
	    c == '/' || c == '-';
}

static bool
all_channel_bytes(struct span s)
{
	size_t i;

	for (i = 0; i < s.len; i++)
		if (!channel_byte((unsigned char)s.p[i]))
			return false;
	return true;
}

bool
name_channel_ok(struct span s)
{
	return s.len >= 1 && s.len <= NAME_MAX_BYTES && all_channel_bytes(s);
}

bool
name_reserved(struct span s)
{
	return span_starts(s, SPAN("control.")) ||
	    span_starts(s, SPAN("system."));
}

/*
 * The length of the well-formed UTF-8 sequence at p, 0 if it is not one.
 * Second-byte ranges: RFC 3629 section 4.
 */
static size_t
utf8_sequence(const unsigned char *p, size_t left)
{
	unsigned char lo = 0x80, hi = 0xbf;
	size_t need, i;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		need = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		need = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		need = 4;
	else
		return 0;
	if (left < need)
		return 0;
	if (p[0] == 0xe0)
		lo = 0xa0;
	else if (p[0] == 0xed)
		hi = 0x9f;
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f;
	if (p[1] < lo || p[1] > hi)
		return 0;
	for (i = 2; i < need; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return need;
}

bool
name_utf8_ok(struct span s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = 0, n;

	while (i < s.len) {
		n = utf8_sequence(p + i, s.len - i);
		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

/* C0, DEL and C1 (U+0080-U+009F, encoded C2 80 - C2 9F). */
static bool
has_control(struct span s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c == 0x7f)
			return true;
		if (c == 0xc2 && i + 1 < s.len &&
		    (unsigned char)s.p[i + 1] < 0xa0)
			return true;
	}
	return false;
}

bool
name_key_ok(struct span s)
{
	return s.len >= 1 && s.len <= NAME_MAX_BYTES && name_utf8_ok(s) &&
	    !has_control(s);
}

bool
name_event_ok(struct span s)
{
	return name_key_ok(s) && !name_reserved(s);
}

bool
name_trace_ok(struct span s)
{
	struct traceparent t;

	return traceparent_parse(s, &t) == ST_OK && t.version == 0;
}

bool
name_pattern_ok(struct span s)
{
	if (s.len >= 1 && s.p[s.len - 1] == '*') {
		s.len--;
		return s.len <= NAME_MAX_BYTES && all_channel_bytes(s);
	}
	return name_channel_ok(s);
}

bool
name_pattern_match(struct span pattern, struct span channel)
{
	if (pattern.len > 0 && pattern.p[pattern.len - 1] == '*') {
		pattern.len--;
		return span_starts(channel, pattern);
	}
	return span_eq(pattern, channel);
}

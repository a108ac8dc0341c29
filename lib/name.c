/* SPDX-License-Identifier: MIT */
/* Rules for names and channel patterns.  Pure. */
#include "name.h"

#include "traceparent.h"
#include "utf8.h"

static bool
channel_byte(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || c == '_' || c == '.' || c == ':' ||
	    c == '/' || c == '-' || c == '@' || c == '%' || c == '~' ||
	    c == '+' || c == '=';
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

bool
name_has_control(struct span s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c == 0x7f)
			return true;
		if (c == 0xc2 && i + 1 < s.len && (s.p[i + 1] & 0xe0) == 0x80)
			return true;
	}
	return false;
}

bool
name_key_ok(struct span s)
{
	return s.len >= 1 && s.len <= NAME_MAX_BYTES && utf8_ok(s) &&
	    !name_has_control(s);
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
	if (name_reserved(channel))
		return false;
	if (pattern.len > 0 && pattern.p[pattern.len - 1] == '*') {
		pattern.len--;
		return span_starts(channel, pattern);
	}
	return span_eq(pattern, channel);
}

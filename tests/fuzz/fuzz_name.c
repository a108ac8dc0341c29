/* SPDX-License-Identifier: MIT */
/* The rules for names agree with one another. */
#include "name.h"

#include <string.h>

#include "fuzz.h"
#include "utf8.h"

static void
check_pattern(struct span s)
{
	struct span channel = s;

	if (!name_pattern_ok(s))
		return;
	if (s.p[s.len - 1] != '*') {
		MUST(name_channel_ok(s));
		MUST(name_pattern_match(s, s) == !name_reserved(s));
		return;
	}
	channel.len--;
	MUST(channel.len == 0 || name_channel_ok(channel));
	MUST(name_pattern_match(s, channel) == !name_reserved(channel));
	MUST(name_pattern_match(SPAN("*"), channel) == !name_reserved(channel));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span s = fuzz_span(data, size);

	if (name_channel_ok(s)) {
		MUST(size >= 1 && size <= NAME_MAX_BYTES);
		MUST(name_pattern_ok(s));
		MUST(name_key_ok(s));
		MUST(name_event_ok(s) == !name_reserved(s));
	}
	if (name_event_ok(s))
		MUST(name_key_ok(s) && !name_reserved(s));
	if (name_key_ok(s)) {
		MUST(utf8_ok(s));
		MUST(memchr(s.p, '\n', size) == NULL);
		MUST(memchr(s.p, '\r', size) == NULL);
		MUST(memchr(s.p, '\0', size) == NULL);
	}
	if (name_trace_ok(s))
		MUST(size == 55 && name_key_ok(s));
	check_pattern(s);
	return 0;
}

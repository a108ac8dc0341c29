/* SPDX-License-Identifier: MIT */
/* What an event's fields tell about it.  Pure. */
#include "event.h"

#include "jsontext.h"

bool
event_is_json(const struct event *e)
{
	struct span s = e->data;
	size_t at;

	if (e->kind == EVENT_DATA_TEXT)
		return false;
	while (s.len > 0 && memchr(" \t\r\n", s.p[0], 4) != NULL)
		s = span_skip(s, 1);
	if (s.len == 0 ||
	    (e->kind == EVENT_DATA_UNKNOWN && s.p[0] != '{' && s.p[0] != '['))
		return false;
	return jsontext_check(s, &at) == ST_OK;
}

/* SPDX-License-Identifier: MIT */
/* Events as lines. */
#include "cli_event.h"

#include <inttypes.h>
#include <stdbool.h>

#include "cli_common.h"
#include "event.h"
#include "jsontext.h"

enum status
cli_event_text(struct buf *out, const struct event *e)
{
	char when[CLI_TIME_BYTES];
	size_t start = out->len;

	buf_addf(out, "%" PRId64 " %s ", e->id, cli_time(when, e->ts_ms));
	cli_add_visible(out, e->channel);
	buf_add(out, SPAN(" "));
	cli_add_visible(out, e->event);
	buf_add(out, SPAN(" "));
	cli_add_visible(out, e->data);
	buf_add(out, SPAN("\n"));
	return buf_finish(out, start);
}

enum status
cli_event_json(struct buf *out, const struct event *e)
{
	size_t start = out->len;

	buf_addf(out, "{\"id\":%" PRId64 ",\"ts\":%" PRId64, e->id, e->ts_ms);
	cli_add_member(out, "channel", e->channel);
	cli_add_member(out, "event", e->event);
	cli_add_member(out, "key", e->key);
	cli_add_member(out, "trace", e->trace);
	buf_addf(out, ",\"prev\":%" PRId64 ",\"data\":", e->prev);
	if (event_is_json(e))
		jsontext_add_compact(out, e->data);
	else
		jsontext_add_quoted(out, e->data);
	buf_add(out, SPAN("}"));
	cli_escape_json(out, start);
	buf_add(out, SPAN("\n"));
	return buf_finish(out, start);
}

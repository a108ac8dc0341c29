/* SPDX-License-Identifier: MIT */
/* Events as lines. */
#include "cli_event.h"

#include <inttypes.h>
#include <stdbool.h>

#include "cli_common.h"
#include "event.h"
#include "jsontext.h"

enum status
cli_event_text(struct buf *out, const struct store_event *e)
{
	char when[CLI_TIME_BYTES];
	enum status st;

	st = buf_printf(out, "%" PRId64 " %s ", e->id,
	    cli_time(when, e->ts_ms));
	if (st == ST_OK)
		st = cli_put_visible(out, e->channel);
	if (st == ST_OK)
		st = buf_append(out, SPAN(" "));
	if (st == ST_OK)
		st = cli_put_visible(out, e->event);
	if (st == ST_OK)
		st = buf_append(out, SPAN(" "));
	if (st == ST_OK)
		st = cli_put_visible(out, e->data);
	return st == ST_OK ? buf_append(out, SPAN("\n")) : st;
}

enum status
cli_event_json(struct buf *out, const struct store_event *e)
{
	size_t from = out->len;
	enum status st;

	st = buf_printf(out, "{\"id\":%" PRId64 ",\"ts\":%" PRId64, e->id,
	    e->ts_ms);
	if (st == ST_OK)
		st = cli_put_member(out, "channel", e->channel);
	if (st == ST_OK)
		st = cli_put_member(out, "event", e->event);
	if (st == ST_OK)
		st = cli_put_member(out, "key", e->key);
	if (st == ST_OK)
		st = cli_put_member(out, "trace", e->trace);
	if (st == ST_OK)
		st = buf_printf(out,
		    ",\"prev\":%" PRId64 ",\"data\":", e->prev);
	if (st == ST_OK)
		st = event_is_json(e) ? jsontext_compact(out, e->data)
				      : jsontext_quote(out, e->data);
	if (st == ST_OK)
		st = buf_append(out, SPAN("}"));
	if (st == ST_OK)
		st = cli_escape_json(out, from);
	return st == ST_OK ? buf_append(out, SPAN("\n")) : st;
}

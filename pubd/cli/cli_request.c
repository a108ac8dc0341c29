/* SPDX-License-Identifier: MIT */
/* An event as a request to pubd. */
#include "cli_request.h"

#include "cli_common.h"
#include "jsontext.h"
#include "name.h"
#include "traceparent.h"
#include "utf8.h"

bool
cli_request_names_ok(const struct cli_request *r)
{
	struct traceparent trace;

	if (r->channel.p == NULL)
		cli_say("-c CHANNEL is missing");
	else if (!name_channel_ok(r->channel) || name_reserved(r->channel))
		cli_say("\"%s\" is not a channel: 1 to 128 of A-Z a-z 0-9 "
			"_ . : / -, not beginning with system. or control.",
		    r->channel.p);
	else if (r->event.p != NULL && !name_event_ok(r->event))
		cli_say("\"%s\" is not an event type: 1 to 128 bytes of "
			"UTF-8, no control characters, not beginning with "
			"system. or control.",
		    r->event.p);
	else if (r->key.p != NULL && !name_key_ok(r->key))
		cli_say("\"%s\" is not a key: 1 to 128 bytes of UTF-8, no "
			"control characters",
		    r->key.p);
	else if (r->trace.p != NULL &&
	    traceparent_parse(r->trace, &trace) != ST_OK)
		cli_say("\"%s\" is not a W3C traceparent: "
			"00-<32 hex>-<16 hex>-<2 hex>",
		    r->trace.p);
	else
		return true;
	return false;
}

enum status
cli_request_judge(const struct cli_request *r, struct span data, bool *json,
    struct errmsg *err)
{
	size_t at = 0;
	enum status st = ST_INVALID;

	if (r->form != CLI_FORM_TEXT)
		st = jsontext_check(data, &at);
	*json = st == ST_OK;
	if (st == ST_OK)
		return ST_OK;
	if (r->form == CLI_FORM_JSON) {
		errmsg_set(err,
		    "%s at byte %zu: mend it, or publish it with --text",
		    st == ST_TOOLARGE ? "nested too deeply" : "no valid JSON",
		    at);
		return ST_INVALID;
	}
	if (!utf8_ok(data)) {
		errmsg_set(err,
		    "the data is not UTF-8: convert it with iconv(1)");
		return ST_INVALID;
	}
	return ST_OK;
}

enum status
cli_request_put(const struct cli_request *r, struct buf *out, struct span data,
    bool json)
{
	size_t start = out->len;

	buf_add(out, SPAN("{\"channel\":"));
	jsontext_add_quoted(out, r->channel);
	cli_add_member(out, "event", r->event);
	cli_add_member(out, "key", r->key);
	cli_add_member(out, "trace", r->trace);
	buf_add(out, SPAN(",\"data\":"));
	if (json)
		jsontext_add_compact(out, data);
	else
		jsontext_add_quoted(out, data);
	buf_add(out, SPAN("}\n"));
	return buf_finish(out, start);
}

/* SPDX-License-Identifier: MIT */
/* Text of the event stream.  Pure. */
#include "frame.h"

#include <string.h>

#include "fmt.h"
#include "jsontext.h"
#include "name.h"
#include "utf8.h"

#define PADDING_BYTES 2048
#define WINDOW_BYTES  256 /* searched at once */

/* Appends while all is well: a chain of these needs one check at its end. */
static void
add(struct buf *out, enum status *st, struct span s)
{
	if (*st == ST_OK)
		*st = buf_append(out, s);
}

static void
add_int(struct buf *out, enum status *st, int64_t v)
{
	if (*st == ST_OK)
		*st = buf_put_int64(out, v);
}

static void
add_quoted(struct buf *out, enum status *st, struct span s)
{
	if (*st == ST_OK)
		*st = jsontext_quote(out, s);
}

static void
add_id(struct buf *out, enum status *st, int64_t id)
{
	add(out, st, SPAN("id: "));
	add_int(out, st, id);
	add(out, st, SPAN("\n"));
}

/*
 * The end of the run of bytes that a data line can hold as they are; looks a
 * bounded way ahead, or text full of one of the three would be searched to
 * its end for the others each time.  A character is never cut.
 */
static size_t
plain_run(struct span s)
{
	size_t n = s.len < WINDOW_BYTES ? s.len : WINDOW_BYTES;
	const char *at = memchr(s.p, '\n', n);

	if (at != NULL)
		n = (size_t)(at - s.p);
	at = n == 0 ? NULL : memchr(s.p, '\r', n);
	if (at != NULL)
		n = (size_t)(at - s.p);
	at = n == 0 ? NULL : memchr(s.p, '\0', n);
	if (at != NULL)
		n = (size_t)(at - s.p);
	return utf8_run(s, n);
}

/* How many bytes at the front one U+FFFD stands for, NUL among them; 0: they
 * are text. */
static size_t
unsendable(struct span s)
{
	if (s.p[0] == '\0')
		return 1;
	return utf8_sequence(s) > 0 ? 0 : utf8_bad(s);
}

static void
add_data(struct buf *out, enum status *st, struct span s)
{
	add(out, st, SPAN("data: "));
	while (s.len > 0 && *st == ST_OK) {
		size_t n = plain_run(s);

		add(out, st, span_of(s.p, n));
		s = span_skip(s, n);
		if (s.len == 0)
			break;
		n = unsendable(s);
		if (n > 0) {
			add(out, st, UTF8_REPLACEMENT);
			s = span_skip(s, n);
		} else if (s.p[0] == '\n' || s.p[0] == '\r') {
			s = span_skip(s, span_starts(s, SPAN("\r\n")) ? 2 : 1);
			add(out, st, SPAN("\ndata: "));
		}
	}
	add(out, st, SPAN("\n"));
}

/*
 * Another program could have stored anything.  What could take a name of ours
 * or has controls in it is left out; the rest is told as well as it can be.
 */
static bool
sendable_name(struct span s)
{
	return s.len <= NAME_MAX_BYTES && !name_reserved(s) &&
	    !name_has_control(s);
}

static void
add_event_line(struct buf *out, enum status *st, struct span event)
{
	if (event.len == 0 || span_eq(event, SPAN("message")) ||
	    !sendable_name(event))
		return;
	add(out, st, SPAN("event: "));
	while (event.len > 0) {
		size_t good = utf8_run(event, event.len);

		add(out, st, span_of(event.p, good));
		event = span_skip(event, good);
		if (event.len == 0)
			break;
		add(out, st, UTF8_REPLACEMENT);
		event = span_skip(event, utf8_bad(event));
	}
	add(out, st, SPAN("\n"));
}

enum status
frame_event(struct buf *out, const struct store_event *e)
{
	enum status st = buf_reserve(out, e->data.len + 192);

	if (st == ST_FULL)
		st = ST_OK; /* the exact size may still fit */
	add_id(out, &st, e->id);
	add_event_line(out, &st, e->event);
	add_data(out, &st, e->data);
	add(out, &st, SPAN("\n"));
	return st;
}

enum status
frame_envelope(struct buf *out, const struct store_event *e)
{
	enum status st = ST_OK;

	add_id(out, &st, e->id);
	add_event_line(out, &st, e->event);
	add(out, &st, SPAN("data: {\"id\":"));
	add_int(out, &st, e->id);
	add(out, &st, SPAN(",\"channel\":"));
	add_quoted(out, &st, e->channel);
	add(out, &st, SPAN(",\"event\":"));
	add_quoted(out, &st, e->event);
	add(out, &st, SPAN(",\"ts\":"));
	add_int(out, &st, e->ts_ms);
	add(out, &st, SPAN(",\"trace\":"));
	if (e->trace.len > 0)
		add_quoted(out, &st, e->trace);
	else
		add(out, &st, SPAN("null"));
	add(out, &st, SPAN(",\"prev\":"));
	add_int(out, &st, e->prev);
	add(out, &st, SPAN(",\"data\":"));
	if (!event_is_json(e))
		add_quoted(out, &st, e->data);
	else if (st == ST_OK)
		st = jsontext_compact(out, e->data);
	add(out, &st, SPAN("}\n\n"));
	return st;
}

enum status
frame_open(struct buf *out, const struct frame_open *o)
{
	enum status st = ST_OK;

	add(out, &st, SPAN("retry: "));
	add_int(out, &st, o->retry_ms);
	add(out, &st, SPAN("\n"));
	if (o->position >= 0)
		add_id(out, &st, o->position);
	add(out, &st, SPAN("event: control.open\ndata: {\"stream\":"));
	add_quoted(out, &st, o->stream);
	add(out, &st, SPAN(",\"generation\":"));
	add_quoted(out, &st, o->generation);
	add(out, &st, SPAN(",\"head\":"));
	add_int(out, &st, o->head);
	add(out, &st, SPAN(",\"oldest\":"));
	add_int(out, &st, o->oldest);
	add(out, &st, SPAN(",\"resumed_from\":"));
	if (o->resumed_from >= 0)
		add_int(out, &st, o->resumed_from);
	else
		add(out, &st, SPAN("null"));
	add(out, &st, SPAN(",\"heartbeat_ms\":"));
	add_int(out, &st, o->heartbeat_ms);
	add(out, &st, SPAN(",\"server_time_ms\":"));
	add_int(out, &st, o->server_time_ms);
	add(out, &st, SPAN("}\n\n"));
	return st;
}

const char *
frame_gap_name(enum frame_gap_code code)
{
	static const char *const names[] = {"expired", "ahead", "generation",
	    "invalid"};

	return names[code];
}

enum status
frame_gap(struct buf *out, const struct frame_gap *g)
{
	enum status st = ST_OK;
	int64_t number;

	add_id(out, &st, g->position);
	add(out, &st, SPAN("event: control.gap\ndata: {\"requested\":"));
	if (g->requested.len == 0)
		add(out, &st, SPAN("null"));
	else if (span_to_int64(g->requested, &number))
		add_int(out, &st, number);
	else
		add_quoted(out, &st, g->requested);
	add(out, &st, SPAN(",\"oldest\":"));
	add_int(out, &st, g->oldest);
	add(out, &st, SPAN(",\"newest\":"));
	add_int(out, &st, g->newest);
	add(out, &st, SPAN(",\"lost\":"));
	add_int(out, &st, g->lost);
	add(out, &st, SPAN(",\"code\":\""));
	add(out, &st, span_str(frame_gap_name(g->code)));
	add(out, &st, SPAN("\"}\n\n"));
	return st;
}

const char *
frame_reason_name(enum frame_reason reason)
{
	static const char *const names[] = {"drain", "max_age", "auth_expired",
	    "overload", "lagging", "revoked"};

	return names[reason];
}

enum status
frame_close(struct buf *out, enum frame_reason reason, int64_t retry_ms)
{
	enum status st = ST_OK;

	add(out, &st, SPAN("retry: "));
	add_int(out, &st, retry_ms);
	add(out, &st, SPAN("\nevent: control.close\ndata: {\"reason\":\""));
	add(out, &st, span_str(frame_reason_name(reason)));
	add(out, &st, SPAN("\",\"retry_ms\":"));
	add_int(out, &st, retry_ms);
	add(out, &st, SPAN("}\n\n"));
	return st;
}

enum status
frame_heartbeat(struct buf *out, int64_t position)
{
	enum status st = ST_OK;

	add(out, &st, SPAN(": hb\n"));
	add_id(out, &st, position);
	add(out, &st, SPAN("\n"));
	return st;
}

enum status
frame_heartbeat_event(struct buf *out, int64_t position, int64_t head,
    int64_t server_time_ms)
{
	enum status st = ST_OK;

	add_id(out, &st, position);
	add(out, &st, SPAN("event: system.heartbeat\ndata: {\"head\":"));
	add_int(out, &st, head);
	add(out, &st, SPAN(",\"server_time_ms\":"));
	add_int(out, &st, server_time_ms);
	add(out, &st, SPAN("}\n\n"));
	return st;
}

enum status
frame_padding(struct buf *out)
{
	enum status st = buf_reserve(out, PADDING_BYTES);
	char *p;

	if (st != ST_OK)
		return st;
	p = buf_tail(out);
	memset(p, ' ', PADDING_BYTES);
	p[0] = ':';
	p[PADDING_BYTES - 2] = '\n';
	p[PADDING_BYTES - 1] = '\n';
	buf_grew(out, PADDING_BYTES);
	return ST_OK;
}

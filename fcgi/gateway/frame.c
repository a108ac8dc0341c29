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

static void
add_id(struct buf *out, int64_t id)
{
	buf_add(out, SPAN("id: "));
	buf_add_int64(out, id);
	buf_add(out, SPAN("\n"));
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
add_data(struct buf *out, struct span s)
{
	buf_add(out, SPAN("data: "));
	while (s.len > 0) {
		size_t n = plain_run(s);

		buf_add(out, span_of(s.p, n));
		s = span_skip(s, n);
		if (s.len == 0)
			break;
		n = unsendable(s);
		if (n > 0) {
			buf_add(out, UTF8_REPLACEMENT);
			s = span_skip(s, n);
		} else if (s.p[0] == '\n' || s.p[0] == '\r') {
			s = span_skip(s, span_starts(s, SPAN("\r\n")) ? 2 : 1);
			buf_add(out, SPAN("\ndata: "));
		}
	}
	buf_add(out, SPAN("\n"));
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
add_event_line(struct buf *out, struct span event)
{
	if (event.len == 0 || span_eq(event, SPAN("message")) ||
	    !sendable_name(event))
		return;
	buf_add(out, SPAN("event: "));
	while (event.len > 0) {
		size_t good = utf8_run(event, event.len);

		buf_add(out, span_of(event.p, good));
		event = span_skip(event, good);
		if (event.len == 0)
			break;
		buf_add(out, UTF8_REPLACEMENT);
		event = span_skip(event, utf8_bad(event));
	}
	buf_add(out, SPAN("\n"));
}

enum status
frame_event(struct buf *out, const struct event *e)
{
	size_t start = out->len;
	enum status st = buf_reserve(out, e->data.len + 192);

	if (st != ST_FULL) /* the exact size may still fit */
		buf_note(out, st);
	add_id(out, e->id);
	add_event_line(out, e->event);
	add_data(out, e->data);
	buf_add(out, SPAN("\n"));
	return buf_finish(out, start);
}

enum status
frame_envelope(struct buf *out, const struct event *e)
{
	size_t start = out->len;

	add_id(out, e->id);
	add_event_line(out, e->event);
	buf_add(out, SPAN("data: {\"id\":"));
	buf_add_int64(out, e->id);
	buf_add(out, SPAN(",\"channel\":"));
	jsontext_add_quoted(out, e->channel);
	buf_add(out, SPAN(",\"event\":"));
	jsontext_add_quoted(out, e->event);
	buf_add(out, SPAN(",\"ts\":"));
	buf_add_int64(out, e->ts_ms);
	buf_add(out, SPAN(",\"trace\":"));
	if (e->trace.len > 0)
		jsontext_add_quoted(out, e->trace);
	else
		buf_add(out, SPAN("null"));
	buf_add(out, SPAN(",\"prev\":"));
	buf_add_int64(out, e->prev);
	buf_add(out, SPAN(",\"data\":"));
	if (!event_is_json(e))
		jsontext_add_quoted(out, e->data);
	else
		jsontext_add_compact(out, e->data);
	buf_add(out, SPAN("}\n\n"));
	return buf_finish(out, start);
}

enum status
frame_open(struct buf *out, const struct frame_open *o)
{
	size_t start = out->len;

	buf_add(out, SPAN("retry: "));
	buf_add_int64(out, o->retry_ms);
	buf_add(out, SPAN("\n"));
	if (o->position >= 0)
		add_id(out, o->position);
	buf_add(out, SPAN("event: control.open\ndata: {\"stream\":"));
	jsontext_add_quoted(out, o->stream);
	buf_add(out, SPAN(",\"generation\":"));
	jsontext_add_quoted(out, o->generation);
	buf_add(out, SPAN(",\"head\":"));
	buf_add_int64(out, o->head);
	buf_add(out, SPAN(",\"oldest\":"));
	buf_add_int64(out, o->oldest);
	buf_add(out, SPAN(",\"resumed_from\":"));
	if (o->resumed_from >= 0)
		buf_add_int64(out, o->resumed_from);
	else
		buf_add(out, SPAN("null"));
	buf_add(out, SPAN(",\"heartbeat_ms\":"));
	buf_add_int64(out, o->heartbeat_ms);
	buf_add(out, SPAN(",\"server_time_ms\":"));
	buf_add_int64(out, o->server_time_ms);
	buf_add(out, SPAN("}\n\n"));
	return buf_finish(out, start);
}

const char *
frame_gap_name(enum frame_gap_code code)
{
	static const char *const names[GAP_CODES] = {
#define X(member, word) [GAP_##member] = (word),
	    FRAME_GAPS(X)
#undef X
	};

	return names[code];
}

enum status
frame_gap(struct buf *out, const struct frame_gap *g)
{
	size_t start = out->len;
	int64_t number;

	add_id(out, g->position);
	buf_add(out, SPAN("event: control.gap\ndata: {\"requested\":"));
	if (g->requested.len == 0)
		buf_add(out, SPAN("null"));
	else if (span_to_int64(g->requested, &number))
		buf_add_int64(out, number);
	else
		jsontext_add_quoted(out, g->requested);
	buf_add(out, SPAN(",\"oldest\":"));
	buf_add_int64(out, g->oldest);
	buf_add(out, SPAN(",\"newest\":"));
	buf_add_int64(out, g->newest);
	buf_add(out, SPAN(",\"lost\":"));
	buf_add_int64(out, g->lost);
	buf_add(out, SPAN(",\"code\":\""));
	buf_add(out, span_str(frame_gap_name(g->code)));
	buf_add(out, SPAN("\"}\n\n"));
	return buf_finish(out, start);
}

static const char *
reason_name(enum frame_reason reason)
{
	static const char *const names[CLOSE_REASONS] = {
#define X(member, word) [CLOSE_##member] = (word),
	    FRAME_REASONS(X)
#undef X
	};

	return names[reason];
}

enum status
frame_close(struct buf *out, enum frame_reason reason, int64_t retry_ms)
{
	size_t start = out->len;

	buf_add(out, SPAN("retry: "));
	buf_add_int64(out, retry_ms);
	buf_add(out, SPAN("\nevent: control.close\ndata: {\"reason\":\""));
	buf_add(out, span_str(reason_name(reason)));
	buf_add(out, SPAN("\",\"retry_ms\":"));
	buf_add_int64(out, retry_ms);
	buf_add(out, SPAN("}\n\n"));
	return buf_finish(out, start);
}

enum status
frame_heartbeat(struct buf *out, int64_t position)
{
	size_t start = out->len;

	buf_add(out, SPAN(": hb\n"));
	add_id(out, position);
	buf_add(out, SPAN("\n"));
	return buf_finish(out, start);
}

enum status
frame_heartbeat_event(struct buf *out, int64_t position, int64_t head,
    int64_t server_time_ms)
{
	size_t start = out->len;

	add_id(out, position);
	buf_add(out, SPAN("event: system.heartbeat\ndata: {\"head\":"));
	buf_add_int64(out, head);
	buf_add(out, SPAN(",\"server_time_ms\":"));
	buf_add_int64(out, server_time_ms);
	buf_add(out, SPAN("}\n\n"));
	return buf_finish(out, start);
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

/* SPDX-License-Identifier: MIT */
/*
 * Lines to requests, requests to answers.
 *
 * The whole line is checked once (jsontext_check); after that its members
 * are found by one walk, and value.c makes text of them.
 */
#include "protocol.h"

#include <assert.h>
#include <stdlib.h>

#include "json.h"
#include "jsontext.h"
#include "revoke_line.h"
#include "name.h"
#include "traceparent.h"
#include "value.h"

#define SHOW_MAX     60 /* bytes of a value in a message */
#define EVENTS_KEEP  1024
#define EVENTS_FIRST 16

struct protocol {
	struct protocol_limits limits;
	struct values values;
	struct protocol_event *events;
	size_t cap_events;
	struct wire_reported report;
	struct wire_span span;
	struct errmsg message;
};

/* The members that mean something, as written; SPAN_NONE: not there. */
struct fields {
	struct span op, channel, event, key, trace, data, ref;
};

static const char *const error_names[PROTOCOL_N_ERRORS] = {
    [PROTOCOL_NONE] = "none",
#define X(member, word) [PROTOCOL_##member] = (word),
    PROTOCOL_ERRORS(X)
#undef X
};

const char *
protocol_error_name(enum protocol_error e)
{
	return error_names[e];
}

enum status
protocol_new(struct protocol **out, struct protocol_limits limits)
{
	struct protocol *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return ST_NOMEM;
	p->limits = limits;
	p->events = calloc(EVENTS_FIRST, sizeof(p->events[0]));
	p->cap_events = EVENTS_FIRST;
	if (values_init(&p->values) != ST_OK || p->events == NULL) {
		protocol_free(&p);
		return ST_NOMEM;
	}
	*out = p;
	return ST_OK;
}

void
protocol_free(struct protocol **pp)
{
	struct protocol *p = *pp;

	if (p == NULL)
		return;
	values_fini(&p->values);
	free(p->events);
	free(p);
	*pp = NULL;
}

void
protocol_limit(struct protocol *p, struct protocol_limits limits)
{
	p->limits = limits;
}

/* ---- failures ---------------------------------------------------------- */

void
protocol_fail(struct protocol_request *r, enum protocol_error code,
    struct span message)
{
	r->op = OP_ERROR;
	r->failure.code = code;
	r->failure.index = -1;
	r->failure.retry_ms = 0;
	r->failure.message = message;
}

/* For printf's %.*s: a value, cut. */
#define SHOWN(s) (int)((s).len > SHOW_MAX ? SHOW_MAX : (s).len), (s).p

/* Fails with the sentence that errmsg_set put into p->message. */
static enum status
protocol_refuse(struct protocol *p, struct protocol_request *r,
    enum protocol_error code)
{
	protocol_fail(r, code, span_str(p->message.text));
	return ST_INVALID;
}

static enum status
refuse_memory(struct protocol *p, struct protocol_request *r)
{
	errmsg_set(&p->message, "pubd is out of memory: send it again later");
	return protocol_refuse(p, r, PROTOCOL_UNAVAILABLE);
}

/* ---- the members of an event ------------------------------------------- */

static enum status
take_channel(struct protocol *p, struct span raw, struct protocol_request *r,
    struct span *channel)
{
	enum status st;

	if (raw.p == NULL) {
		errmsg_set(&p->message,
		    "`channel` is missing: an event needs `channel` and "
		    "`data`");
		return protocol_refuse(p, r, PROTOCOL_BAD_REQUEST);
	}
	st = value_text(&p->values, raw, channel);
	if (st == ST_NOMEM)
		return refuse_memory(p, r);
	if (st != ST_OK || !name_channel_ok(*channel)) {
		errmsg_set(&p->message,
		    "channel %.*s: it must be a string of 1 to 128 of the "
		    "characters A-Z a-z 0-9 _ . : / - @ %% ~ + =",
		    SHOWN(raw));
		return protocol_refuse(p, r, PROTOCOL_BAD_CHANNEL);
	}
	if (name_reserved(*channel)) {
		errmsg_set(&p->message,
		    "channel %.*s: names that begin with system. or control. "
		    "are Walcast's own; choose another",
		    SHOWN(raw));
		return protocol_refuse(p, r, PROTOCOL_FORBIDDEN);
	}
	return ST_OK;
}

static enum status
take_name(struct protocol *p, struct span raw, struct protocol_request *r,
    struct span *name)
{
	enum status st;

	*name = SPAN("message");
	if (raw.p == NULL)
		return ST_OK;
	st = value_text(&p->values, raw, name);
	if (st == ST_NOMEM)
		return refuse_memory(p, r);
	if (st == ST_OK && name_event_ok(*name))
		return ST_OK;
	errmsg_set(&p->message,
	    "event %.*s: it must be a string of 1 to 128 bytes without "
	    "control characters that does not begin with system. or control.",
	    SHOWN(raw));
	return protocol_refuse(p, r, PROTOCOL_BAD_EVENT);
}

static enum status
take_key(struct protocol *p, struct span raw, struct protocol_request *r,
    struct span *key)
{
	enum status st;

	*key = SPAN_NONE;
	if (raw.p == NULL)
		return ST_OK;
	st = value_text(&p->values, raw, key);
	if (st == ST_NOMEM)
		return refuse_memory(p, r);
	if (st == ST_OK && name_key_ok(*key))
		return ST_OK;
	errmsg_set(&p->message,
	    "key %.*s: it must be a string of 1 to 128 bytes without control "
	    "characters; leave it out for none",
	    SHOWN(raw));
	return protocol_refuse(p, r, PROTOCOL_BAD_REQUEST);
}

/*
 * Rewrites a later version as version 00, which the log stores.  It replaces
 * what was decoded, from `before` on in scratch, so that scratch holds no more
 * than was written.
 */
static enum status
normal_trace(struct protocol *p, size_t before, struct span *trace)
{
	char text[TRACEPARENT_BYTES];
	struct traceparent t;
	enum status st;

	if (traceparent_parse(*trace, &t) != ST_OK)
		return ST_INVALID;
	if (t.version == 0)
		return ST_OK;
	traceparent_write(&t, text);
	buf_truncate(&p->values.scratch, before);
	st = buf_append(&p->values.scratch, span_of(text, sizeof(text)));
	if (st == ST_OK)
		*trace = span_skip(buf_span(&p->values.scratch), before);
	return st;
}

static enum status
take_trace(struct protocol *p, struct span raw, struct protocol_request *r,
    struct span *trace)
{
	size_t before = p->values.scratch.len;
	enum status st;

	*trace = SPAN_NONE;
	if (raw.p == NULL)
		return ST_OK;
	st = value_text(&p->values, raw, trace);
	if (st == ST_OK)
		st = normal_trace(p, before, trace);
	if (st == ST_NOMEM)
		return refuse_memory(p, r);
	if (st == ST_OK)
		return ST_OK;
	errmsg_set(&p->message,
	    "trace %.*s: it must be a W3C traceparent such as 00-<32 hex "
	    "digits>-<16>-01, in lower case; leave it out for none",
	    SHOWN(raw));
	return protocol_refuse(p, r, PROTOCOL_BAD_REQUEST);
}

static enum status
take_data(struct protocol *p, struct span raw, struct protocol_request *r,
    struct event *e)
{
	enum status st;

	if (raw.p == NULL) {
		errmsg_set(&p->message,
		    "`data` is missing: any JSON value will do, null too");
		return protocol_refuse(p, r, PROTOCOL_BAD_REQUEST);
	}
	if (value_is_string(raw)) {
		e->kind = EVENT_DATA_TEXT;
		st = value_text(&p->values, raw, &e->data);
		if (st == ST_OK)
			st = value_replace_nul(&p->values, &e->data);
	} else {
		e->kind = EVENT_DATA_JSON;
		st = value_compact(&p->values, raw, &e->data);
	}
	if (st != ST_OK)
		return refuse_memory(p, r);
	if (e->data.len > p->limits.max_data_bytes) {
		errmsg_set(&p->message,
		    "data of %zu bytes: at most %zu are taken "
		    "(max_data_bytes)",
		    e->data.len, p->limits.max_data_bytes);
		return protocol_refuse(p, r, PROTOCOL_TOO_LARGE);
	}
	return ST_OK;
}

static enum status
take_event(struct protocol *p, const struct fields *f,
    struct protocol_request *r, struct protocol_event *ev)
{
	struct event *e = &ev->e;
	enum status st;

	ev->duplicate = false;
	e->id = e->prev = e->ts_ms = 0;
	st = take_channel(p, f->channel, r, &e->channel);
	if (st == ST_OK)
		r->failure.channel = e->channel; /* should it come to that */
	if (st == ST_OK)
		st = take_name(p, f->event, r, &e->event);
	if (st == ST_OK)
		st = take_key(p, f->key, r, &e->key);
	if (st == ST_OK)
		st = take_trace(p, f->trace, r, &e->trace);
	if (st == ST_OK)
		st = take_data(p, f->data, r, e);
	return st;
}

/* ---- objects ----------------------------------------------------------- */

static struct span *
field_named(struct fields *f, struct span name)
{
	switch (name.len) {
	case 2:
		return memcmp(name.p, "op", 2) == 0 ? &f->op : NULL;
	case 3:
		if (memcmp(name.p, "key", 3) == 0)
			return &f->key;
		return memcmp(name.p, "ref", 3) == 0 ? &f->ref : NULL;
	case 4:
		return memcmp(name.p, "data", 4) == 0 ? &f->data : NULL;
	case 5:
		if (memcmp(name.p, "event", 5) == 0)
			return &f->event;
		return memcmp(name.p, "trace", 5) == 0 ? &f->trace : NULL;
	case 7:
		return memcmp(name.p, "channel", 7) == 0 ? &f->channel : NULL;
	default:
		return NULL;
	}
}

/* The same for a name with escapes in it, such as Python writes "größe". */
static struct span *
field_escaped(struct protocol *p, struct fields *f, struct span name)
{
	struct errmsg why;
	struct json *decoded;
	struct span *field;

	/* The quotes stand around it in the line. */
	if (json_parse(p->values.json, span_of(name.p - 1, name.len + 2),
		&decoded, &why) != ST_OK)
		return NULL;
	field = field_named(f, json_text(decoded));
	json_free(&decoded);
	return field;
}

static void
read_fields(struct protocol *p, struct span object, struct fields *f)
{
	struct span name, value, *field;

	*f = (struct fields){.op = SPAN_NONE};
	while (jsontext_next_member(&object, &name, &value)) {
		field = span_find(name, '\\') == NULL
		    ? field_named(f, name)
		    : field_escaped(p, f, name);
		if (field != NULL)
			*field = value;
	}
}

static enum status
take_ref(struct protocol *p, struct span raw, struct protocol_request *r)
{
	if (raw.p == NULL)
		return ST_OK;
	if (raw.len > PROTOCOL_MAX_REF) {
		errmsg_set(&p->message,
		    "ref of %zu bytes: at most %d are echoed", raw.len,
		    PROTOCOL_MAX_REF);
		return protocol_refuse(p, r, PROTOCOL_BAD_REQUEST);
	}
	if (!value_is_string(raw) && raw.p[0] != '-' &&
	    (raw.p[0] < '0' || raw.p[0] > '9')) {
		errmsg_set(&p->message,
		    "ref %.*s: it must be a string or a number", SHOWN(raw));
		return protocol_refuse(p, r, PROTOCOL_BAD_REQUEST);
	}
	r->ref = raw;
	return ST_OK;
}

/* ---- lines ------------------------------------------------------------- */

static enum status
protocol_take_watch(struct span line, struct protocol_request *r)
{
	struct wire_watch w;

	wire_get_watch(line, &w);
	r->op = OP_WATCH;
	r->ours = wire_role_ok(w.role);
	r->timing = w.timing;
	r->wake = w.wake;
	return ST_OK;
}

/* The outcome of reading a worker's line. */
static enum status
protocol_take_told(struct protocol *p, enum status st,
    struct protocol_request *r, enum protocol_op op)
{
	if (st == ST_NOMEM)
		return refuse_memory(p, r);
	if (st != ST_OK)
		return protocol_refuse(p, r, PROTOCOL_BAD_REQUEST);
	r->op = op;
	return ST_OK;
}

static enum status
protocol_take_report(struct protocol *p, struct span line,
    struct protocol_request *r)
{
	enum status st = wire_get_report(&p->values, line, &p->report,
	    &p->message);

	r->report = &p->report;
	r->of_report = st == ST_INVALID;
	return protocol_take_told(p, st, r, OP_REPORT);
}

static enum status
protocol_take_span(struct protocol *p, struct span line,
    struct protocol_request *r)
{
	enum status st = wire_get_span(&p->values, line, &p->span, &p->message);

	r->span = &p->span;
	return protocol_take_told(p, st, r, OP_SPAN);
}

/* It is stored as an event, whose channel nobody else may write to. */
static enum status
protocol_take_revoke(struct protocol *p, struct span line,
    struct protocol_request *r)
{
	struct revocation v;
	struct protocol_event *ev = &p->events[0];
	enum status st = revoke_line_read(&p->values, line, &v, &p->message);

	if (st == ST_NOMEM)
		return refuse_memory(p, r);
	if (st != ST_OK)
		return protocol_refuse(p, r, PROTOCOL_BAD_REQUEST);
	*ev = (struct protocol_event){.e = {.channel = SPAN(REVOCATION_CHANNEL),
					  .event = SPAN(REVOCATION_EVENT),
					  .data = v.value}};
	r->op = OP_REVOKE;
	r->revokes = v.kind;
	r->until_ms = v.until_ms;
	r->events = ev;
	r->n_events = 1;
	return ST_OK;
}

static enum status
protocol_take_op(struct protocol *p, struct span line, struct span raw,
    struct protocol_request *r)
{
	if (span_eq(raw, SPAN("\"ping\""))) {
		r->op = OP_PING;
		return ST_OK;
	}
	if (span_eq(raw, SPAN("\"watch\"")))
		return protocol_take_watch(line, r);
	if (span_eq(raw, SPAN("\"report\"")))
		return protocol_take_report(p, line, r);
	if (span_eq(raw, SPAN("\"span\"")))
		return protocol_take_span(p, line, r);
	if (span_eq(raw, SPAN("\"reset_counters\""))) {
		r->op = OP_RESET;
		return ST_OK;
	}
	if (span_eq(raw, SPAN("\"revoke\"")))
		return protocol_take_revoke(p, line, r);
	errmsg_set(&p->message,
	    "op %.*s is unknown: there are \"ping\", \"watch\" and "
	    "\"revoke\"; an event has none",
	    SHOWN(raw));
	return protocol_refuse(p, r, PROTOCOL_BAD_REQUEST);
}

static enum status
parse_object(struct protocol *p, struct span line, struct protocol_request *r)
{
	struct fields f;

	read_fields(p, line, &f);
	if (take_ref(p, f.ref, r) != ST_OK)
		return ST_INVALID;
	if (f.op.p != NULL)
		return protocol_take_op(p, line, f.op, r);
	r->op = OP_PUBLISH;
	r->events = p->events;
	r->n_events = 1;
	return take_event(p, &f, r, &p->events[0]);
}

static enum status
grow_events(struct protocol *p)
{
	size_t cap = p->cap_events * 2;
	struct protocol_event *events = realloc(p->events,
	    cap * sizeof(events[0]));

	if (events == NULL)
		return ST_NOMEM;
	p->events = events;
	p->cap_events = cap;
	return ST_OK;
}

static void
shrink_events(struct protocol *p)
{
	struct protocol_event *events;

	if (p->cap_events <= EVENTS_KEEP)
		return;
	events = realloc(p->events, EVENTS_KEEP * sizeof(events[0]));
	if (events == NULL)
		return;
	p->events = events;
	p->cap_events = EVENTS_KEEP;
}

static enum status
parse_element(struct protocol *p, struct span text, struct protocol_request *r)
{
	struct fields f;
	enum status st = ST_OK;

	if (r->n_events == PROTOCOL_MAX_EVENTS) {
		errmsg_set(&p->message,
		    "more than %d events in one array: send several",
		    PROTOCOL_MAX_EVENTS);
		return protocol_refuse(p, r, PROTOCOL_TOO_LARGE);
	}
	if (text.p[0] != '{') {
		errmsg_set(&p->message,
		    "%.*s is no event: each element must be an object with "
		    "`channel` and `data`",
		    SHOWN(text));
		return protocol_refuse(p, r, PROTOCOL_BAD_REQUEST);
	}
	if (r->n_events == p->cap_events && grow_events(p) != ST_OK)
		return refuse_memory(p, r);
	read_fields(p, text, &f);
	if (f.op.p != NULL) {
		errmsg_set(&p->message,
		    "an array holds events only: send `op` on a line of its "
		    "own");
		st = protocol_refuse(p, r, PROTOCOL_BAD_REQUEST);
	}
	if (st == ST_OK)
		st = take_event(p, &f, r, &p->events[r->n_events]);
	return st;
}

static enum status
parse_array(struct protocol *p, struct span line, struct protocol_request *r)
{
	struct span rest = line, element;

	r->op = OP_ARRAY;
	while (jsontext_element(&rest, &element) == ST_OK) {
		if (parse_element(p, element, r) != ST_OK) {
			r->failure.index = (int64_t)r->n_events;
			return ST_INVALID;
		}
		r->n_events++;
	}
	r->events = p->events;
	if (r->n_events > 0)
		return ST_OK;
	errmsg_set(&p->message, "an empty array: there is nothing to publish");
	return protocol_refuse(p, r, PROTOCOL_BAD_REQUEST);
}

static struct span
protocol_trim(struct span s)
{
	while (s.len > 0 &&
	    (s.p[s.len - 1] == '\r' || s.p[s.len - 1] == ' ' ||
		s.p[s.len - 1] == '\t'))
		s.len--;
	while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '\r'))
		s = span_skip(s, 1);
	return s;
}

static enum status
check_line(struct protocol *p, struct span line, struct protocol_request *r)
{
	size_t at;
	enum status st = jsontext_check(line, &at);

	if (st == ST_OK)
		return ST_OK;
	/*
	 * Without an answer, a publisher whose JSON encoder failed and gave it
	 * nothing to send would wait for ever.
	 */
	if (protocol_trim(line).len == 0)
		errmsg_set(&p->message,
		    "an empty line: each line must be one JSON object or "
		    "array; did the publisher's JSON encoder fail?");
	else if (st == ST_TOOLARGE)
		errmsg_set(&p->message,
		    "byte %zu: nested deeper than %d arrays and objects", at,
		    JSONTEXT_MAX_DEPTH);
	else if (at >= line.len)
		errmsg_set(&p->message,
		    "byte %zu: the line ends inside a JSON value; each line "
		    "must be one JSON object or array",
		    at);
	else
		errmsg_set(&p->message,
		    "byte %zu: 0x%02x is not JSON in UTF-8 here; each line "
		    "must be one JSON object or array",
		    at, (unsigned char)line.p[at]);
	return protocol_refuse(p, r, PROTOCOL_BAD_JSON);
}

void
protocol_parse(struct protocol *p, struct span line, struct protocol_request *r)
{
	*r = (struct protocol_request){.op = OP_ERROR, .failure.index = -1};
	shrink_events(p);
	if (check_line(p, line, r) != ST_OK)
		return;
	line = protocol_trim(line);
	if (values_begin(&p->values, line.len) != ST_OK) {
		status_ignore(refuse_memory(p, r));
		return;
	}
	if (line.p[0] == '{') {
		status_ignore(parse_object(p, line, r));
	} else if (line.p[0] == '[') {
		status_ignore(parse_array(p, line, r));
	} else {
		errmsg_set(&p->message,
		    "%.*s is no request: a line must be a JSON object or an "
		    "array of events",
		    SHOWN(line));
		status_ignore(protocol_refuse(p, r, PROTOCOL_BAD_REQUEST));
	}
}

/* ---- answers ----------------------------------------------------------- */

/* Ends a text that began at `start`: nothing of it stays when it failed. */
static enum status
protocol_end_line(struct buf *out, size_t start)
{
	buf_add(out, SPAN("\n"));
	return buf_finish(out, start);
}

static enum status
put_line(struct buf *out, const struct wire_answer *a)
{
	size_t start = out->len;

	buf_note(out, wire_put_answer(out, a));
	return protocol_end_line(out, start);
}

static enum status
put_answer(struct buf *out, const struct protocol_request *r,
    struct wire_answer *a)
{
	a->ref = r->ref;
	return put_line(out, a);
}

static enum status
answer_one(struct buf *out, const struct protocol_request *r)
{
	struct wire_answer a = WIRE_ANSWER_NONE;

	a.ok = WIRE_OK;
	a.id = r->events[0].e.id;
	a.duplicate = r->events[0].duplicate;
	return put_answer(out, r, &a);
}

static void
add_duplicates(struct buf *out, const struct protocol_request *r)
{
	bool any = false;
	size_t i;

	for (i = 0; i < r->n_events; i++) {
		if (!r->events[i].duplicate)
			continue;
		buf_add(out, any ? SPAN(",") : SPAN(",\"duplicates\":["));
		buf_add_int64(out, (int64_t)i);
		any = true;
	}
	if (any)
		buf_add(out, SPAN("]"));
}

static enum status
answer_array(struct buf *out, const struct protocol_request *r)
{
	size_t i, start = out->len;

	buf_add(out, SPAN("{\"ok\":true,\"ids\":["));
	for (i = 0; i < r->n_events; i++) {
		if (i > 0)
			buf_add(out, SPAN(","));
		buf_add_int64(out, r->events[i].e.id);
	}
	buf_add(out, SPAN("]"));
	add_duplicates(out, r);
	if (r->ref.len > 0) {
		buf_add(out, SPAN(",\"ref\":"));
		buf_add(out, r->ref);
	}
	buf_add(out, SPAN("}"));
	return protocol_end_line(out, start);
}

static enum status
answer_error(struct buf *out, const struct protocol_request *r)
{
	struct wire_answer a = WIRE_ANSWER_NONE;

	a.ok = WIRE_FAILED;
	a.error = span_str(protocol_error_name(r->failure.code));
	a.message = r->failure.message;
	a.index = r->failure.index;
	if (r->failure.retry_ms > 0)
		a.retry_ms = r->failure.retry_ms;
	return put_answer(out, r, &a);
}

static enum status
answer_head(struct buf *out, const struct protocol_request *r,
    const struct store_bounds *b)
{
	struct wire_answer a = WIRE_ANSWER_NONE;

	a.ok = WIRE_OK;
	a.head = b->head;
	if (r->op == OP_PING) {
		a.oldest = b->oldest;
		a.generation = span_str(b->generation);
	}
	if (r->traces)
		a.trace = 1;
	return put_answer(out, r, &a);
}

static enum status
answer_done(struct buf *out, const struct protocol_request *r)
{
	struct wire_answer a = WIRE_ANSWER_NONE;

	a.ok = WIRE_OK;
	return put_answer(out, r, &a);
}

enum status
protocol_answer(struct buf *out, const struct protocol_request *r,
    const struct store_bounds *b)
{
	switch (r->op) {
	case OP_PUBLISH:
	case OP_REVOKE:
		return answer_one(out, r);
	case OP_ARRAY:
		return answer_array(out, r);
	case OP_PING:
	case OP_WATCH:
		return answer_head(out, r, b);
	case OP_ERROR:
		return answer_error(out, r);
	case OP_RESET:
		return answer_done(out, r);
	case OP_REPORT:
	case OP_SPAN:
		break;
	}
	return ST_OK;
}

enum status
protocol_head(struct buf *out, int64_t head, uint64_t at_us)
{
	struct wire_answer a = WIRE_ANSWER_NONE;

	a.head = head;
	if (at_us > 0)
		a.at_us = (int64_t)at_us;
	return put_line(out, &a);
}

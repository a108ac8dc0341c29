/* SPDX-License-Identifier: MIT */
/*
 * From CGI variables to what a stream needs.  One table of query parameters;
 * each step returns false once the request is refused.
 *
 * Invariant: text is reserved once, before anything points into it, and never
 * moves.  An id, however malformed, refuses nothing: an EventSource that once
 * got a foreign id would never come back.  Pure.
 */
#include "request.h"

#include <stdarg.h>
#include <stdio.h>

#include "accept.h"
#include "name.h"
#include "origin.h"
#include "query.h"
#include "route.h"

#define METHODS        "GET, HEAD, OPTIONS"
#define MAX_ID_BYTES   64 /* of what is echoed, and of an id at all */
#define MAX_LAST       1000000
#define MAX_POOL_BYTES 256
#define MAX_DETAIL     512
#define SHOWN_BYTES    48 /* of a peer's text in an error */

#define NO_ID (-1)

struct reading {
	struct request *r;
	const struct params *p;
	struct span query_id; /* the furthest of those in the query, or empty */
};

void
request_init(struct request *r)
{
	*r = (struct request){.max_streams = -1};
	buf_init(&r->text, 4 * PARAMS_MAX_BYTES);
}

void
request_fini(struct request *r)
{
	buf_fini(&r->text);
}

/* ---- refusing ------------------------------------------------------------ */

/* Returns false, so that a step can end with it. */
PRINTF_LIKE(3, 4)
static bool
request_refuse(struct request *r, int status, const char *fmt, ...)
{
	char text[MAX_DETAIL];
	struct span detail;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	detail = span_str(text);
	r->kind = REQUEST_REFUSED;
	r->error = (struct http_error){.status = status};
	if (detail.len > buf_room(&r->text))
		return false; /* cannot happen: request_read made room */
	memcpy(buf_tail(&r->text), detail.p, detail.len);
	r->error.detail = span_of(buf_tail(&r->text), detail.len);
	buf_grew(&r->text, detail.len);
	return false;
}

struct shown {
	char text[SHOWN_BYTES + 4];
};

/* The beginning of a peer's text, without control bytes, terminated. */
static const char *
request_show(struct shown *out, struct span s)
{
	size_t i, n = s.len < SHOWN_BYTES ? s.len : SHOWN_BYTES;

	for (i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		out->text[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	}
	(void)snprintf(out->text + n, 4, "%s", s.len > n ? "..." : "");
	return out->text;
}

/* ---- channels and event names -------------------------------------------- */

static bool
add_channel(struct request *r, struct span name)
{
	struct shown shown;
	size_t i;

	if (!name_pattern_ok(name))
		return request_refuse(r, 400,
		    "\"%s\" is no channel name: use 1 to %d of A-Z a-z 0-9 _ "
		    ". : / - @ %% ~ + =, and a * only at the end, for a "
		    "prefix; in a query + is written %%2B.",
		    request_show(&shown, name), NAME_MAX_BYTES);
	if (name_reserved(name))
		return request_refuse(r, 403,
		    "The channel \"%s\" is reserved: names that begin with "
		    "system. or control. cannot be subscribed to.",
		    request_show(&shown, name));
	for (i = 0; i < r->n_channels; i++)
		if (span_eq(r->channel[i], name))
			return true;
	if (r->n_channels == REQUEST_MAX_CHANNELS)
		return request_refuse(r, 400,
		    "A stream holds at most %d channels: open another one, or "
		    "name a prefix such as orders.* instead.",
		    REQUEST_MAX_CHANNELS);
	r->channel[r->n_channels++] = name;
	return true;
}

/* A list that is empty counts as not given; an empty name in one is not. */
static bool
add_channels(struct request *r, struct span list)
{
	struct span name;

	if (list.len == 0)
		return true;
	while (span_cut(&list, ',', &name))
		if (!add_channel(r, name))
			return false;
	return true;
}

static bool
add_event(struct request *r, struct span name)
{
	struct shown shown;
	size_t i;

	if (!name_event_ok(name))
		return request_refuse(r, 400,
		    "\"%s\" is no event name in events=: use 1 to %d bytes of "
		    "UTF-8 without control characters, not beginning with "
		    "control. or system.",
		    request_show(&shown, name), NAME_MAX_BYTES);
	for (i = 0; i < r->n_events; i++)
		if (span_eq(r->event[i], name))
			return true;
	if (r->n_events == REQUEST_MAX_EVENTS)
		return request_refuse(r, 400,
		    "events= names more than %d event types: leave it out and "
		    "filter in the page.",
		    REQUEST_MAX_EVENTS);
	r->event[r->n_events++] = name;
	return true;
}

/* ---- query parameters ---------------------------------------------------- */

static bool
read_channel(struct reading *g, struct span value)
{
	return add_channels(g->r, value);
}

static bool
read_events(struct reading *g, struct span value)
{
	struct span name;

	if (value.len == 0)
		return true;
	while (span_cut(&value, ',', &name))
		if (!add_event(g->r, name))
			return false;
	return true;
}

static bool
read_last(struct reading *g, struct span value)
{
	struct shown shown;
	int64_t n;

	if (value.len == 0)
		return true;
	if (!span_to_int64(value, &n) || n > MAX_LAST)
		return request_refuse(g->r, 400,
		    "last=%s is not a number of events: use 0 to %d.",
		    request_show(&shown, value), MAX_LAST);
	g->r->last_n = n;
	return true;
}

static bool
is_on(struct span value)
{
	return span_eq(value, SPAN("1")) || span_eq(value, SPAN("true"));
}

static bool
read_heartbeat(struct reading *g, struct span value)
{
	g->r->heartbeat_events = span_eq(value, SPAN("event"));
	return true;
}

static bool
read_envelope(struct reading *g, struct span value)
{
	g->r->envelope = is_on(value);
	return true;
}

static bool
read_padding(struct reading *g, struct span value)
{
	g->r->padding = is_on(value);
	return true;
}

static bool
read_generation(struct reading *g, struct span value)
{
	g->r->generation = value;
	return true;
}

static bool
read_token(struct reading *g, struct span value)
{
	struct request *r = g->r;

	if (r->token.len == 0)
		r->token = value;
	else if (value.len > 0 && !span_eq(r->token, value))
		r->tokens_differ = true;
	return true;
}

/* The position that an id names; NO_ID for what names none. */
static int64_t
request_position_of(struct span id)
{
	int64_t n;

	if (span_eq(id, SPAN("earliest")))
		return 0;
	if (id.len > MAX_ID_BYTES || !span_to_int64(id, &n))
		return NO_ID;
	return n;
}

/*
 * A replacement of EventSource leaves the id that the page began with where
 * it stands and adds its own: the furthest is the one that it has come to.
 */
static bool
read_id(struct reading *g, struct span value)
{
	if (value.len > 0 &&
	    (g->query_id.len == 0 ||
		request_position_of(value) > request_position_of(g->query_id)))
		g->query_id = value;
	return true;
}

static const struct parameter {
	const char *name;
	bool (*read)(struct reading *g, struct span value);
} parameters[] = {
    {"channel", read_channel},
    {"events", read_events},
    {"last", read_last},
    {"heartbeat", read_heartbeat},
    {"envelope", read_envelope},
    {"padding", read_padding},
    {"generation", read_generation},
    {"token", read_token},
    {"authorization", read_token},
    {"last_event_id", read_id},
    {"lastEventId", read_id},
    {"evs_last_event_id", read_id},
    {"Last-Event-ID", read_id},
};

/* Clients do not agree in how an id's parameter is written. */
static bool
is_named(const struct parameter *a, struct span name)
{
	return a->read == read_id ? span_caseeq(name, span_str(a->name))
				  : span_eq(name, span_str(a->name));
}

/* The parameter of this encoded name; NULL for others, broken ones too. */
static const struct parameter *
find_parameter(struct request *r, struct span raw)
{
	const struct parameter *found = NULL;
	size_t i, at, before = r->text.len;
	struct span name;

	if (query_decode(&r->text, raw, QUERY_PLUS_IS_SPACE, &name, &at) !=
	    ST_OK)
		return NULL;
	for (i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
		if (is_named(&parameters[i], name))
			found = &parameters[i];
	buf_truncate(&r->text, before);
	return found;
}

static bool
read_pair(struct reading *g, const struct query_pair *pair)
{
	const struct parameter *a = find_parameter(g->r, pair->name);
	struct span value;
	struct shown shown;
	size_t at;

	if (a == NULL)
		return true; /* somebody else's, such as a cache-buster */
	if (query_decode(&g->r->text, pair->value, QUERY_PLUS_IS_SPACE, &value,
		&at) != ST_OK) {
		/*
		 * An id that cannot be decoded is a foreign id; and a token is
		 * one that nobody has signed, of which no error shows a part.
		 */
		value = pair->value;
		if (a->read != read_id && a->read != read_token)
			return request_refuse(g->r, 400,
			    "The value of %s= breaks at \"%s\": a percent "
			    "sign must be written %%25.",
			    a->name,
			    request_show(&shown, span_skip(value, at)));
	}
	return a->read(g, value);
}

static bool
read_query(struct reading *g)
{
	struct span rest = route_query(g->p);
	struct query_pair pair;

	while (query_next(&rest, &pair))
		if (!read_pair(g, &pair))
			return false;
	return true;
}

/* ---- the path ------------------------------------------------------------ */

static bool
read_path(struct reading *g)
{
	struct request *r = g->r;
	struct shown shown;
	struct span info;

	if (route_path(&r->text, g->p, SPAN("sse.fcgi"), &info) != ST_OK)
		return request_refuse(r, 400,
		    "The path breaks at \"%s\": a percent sign must be "
		    "written %%25.",
		    request_show(&shown, info));
	return add_channels(r, info);
}

/* ---- the rest ------------------------------------------------------------ */

static bool
read_whole(struct reading *g)
{
	if (!g->p->cut)
		return true;
	return request_refuse(g->r, 431, "%.*s", (int)http_too_many_fields.len,
	    http_too_many_fields.p);
}

static bool
read_method(struct reading *g)
{
	struct span method = params_get(g->p, "REQUEST_METHOD");
	struct request *r = g->r;
	struct shown shown;

	if (span_eq(method, SPAN("GET")))
		return true;
	if (span_eq(method, SPAN("HEAD"))) {
		r->head_only = true;
		return true;
	}
	if (span_eq(method, SPAN("OPTIONS"))) {
		r->kind = REQUEST_PREFLIGHT;
		return false;
	}
	(void)request_refuse(r, 405,
	    "%s is not a method of a stream: open it with GET; events are "
	    "published through pubd.",
	    request_show(&shown, method));
	r->error.allow = SPAN(METHODS);
	return false;
}

static bool
read_accept(struct reading *g)
{
	if (accept_allows(params_get(g->p, "HTTP_ACCEPT"), SPAN("text"),
		SPAN("event-stream")))
		return true;
	return request_refuse(g->r, 406,
	    "The Accept header excludes text/event-stream, and there is "
	    "nothing else here: send \"Accept: text/event-stream\".");
}

static bool
need_channel(struct request *r, const struct request_rules *rules)
{
	if (r->n_channels == 0 && !add_channels(r, rules->default_channel))
		return false;
	if (r->n_channels > 0)
		return true;
	return request_refuse(r, 400,
	    "No channel is named: add ?channel=NAME (again for each further "
	    "one), or /NAME to the path, or set default_channel on the "
	    "server.");
}

/* The first bytes of an id, not cut inside a character. */
static struct span
echo_of(struct span id)
{
	size_t n = id.len;

	if (n > MAX_ID_BYTES) {
		n = MAX_ID_BYTES;
		while (n > 0 && ((unsigned char)id.p[n] & 0xc0) == 0x80)
			n--;
	}
	return span_of(id.p, n);
}

static struct span
header_id(const struct reading *g)
{
	return params_get(g->p, "HTTP_LAST_EVENT_ID");
}

/*
 * "earliest" and 0 are asked for by a page that begins, unless a browser says
 * the 0 that it was given, or the page knows the log.
 */
static bool
comes_back(const struct reading *g, struct span id)
{
	bool begins = span_eq(id, SPAN("0")) || span_eq(id, SPAN("earliest"));

	if (id.len == 0)
		return false;
	return !begins || g->r->generation.len > 0 ||
	    span_eq(header_id(g), SPAN("0"));
}

/*
 * The header goes before the query, also where it is less: a browser that was
 * told of a log made anew has a smaller id than the page began with.  What is
 * no id counts only where there is none.
 */
static struct span
find_id(const struct reading *g)
{
	struct span header = header_id(g);

	if (header.len == 0 ||
	    (request_position_of(header) == NO_ID &&
		request_position_of(g->query_id) != NO_ID))
		return g->query_id;
	return header;
}

static void
read_position(struct reading *g)
{
	struct request *r = g->r;
	struct span id = find_id(g);
	int64_t at = request_position_of(id);

	if (id.len == 0) {
		r->position = r->last_n > 0 ? POSITION_LAST : POSITION_LIVE;
		return;
	}
	r->last_n = 0;
	r->requested = echo_of(id);
	r->resumes = comes_back(g, id);
	r->position = POSITION_INVALID;
	if (at == 0)
		r->position = POSITION_EARLIEST;
	if (at > 0) {
		r->position = POSITION_AFTER;
		r->after_id = at;
	}
}

static void
append_bounded(struct buf *b, struct span s, size_t max)
{
	size_t n = s.len < max ? s.len : max;

	if (n == 0 || n > buf_room(b))
		return;
	memcpy(buf_tail(b), s.p, n);
	buf_grew(b, n);
}

/* Streams of one web server and location share their slots. */
static struct span
pool_of(struct request *r, const struct params *p)
{
	size_t half = MAX_POOL_BYTES / 2 - 1;
	char *start = buf_tail(&r->text);
	size_t before = r->text.len;

	append_bounded(&r->text, params_get(p, "SERVER_SOFTWARE"), half);
	append_bounded(&r->text, SPAN("|"), 1);
	append_bounded(&r->text, params_get(p, "WALCAST_LOCATION"), half);
	return span_of(start, r->text.len - before);
}

/*
 * A number that the web server's configuration gives; -1: it gives none.  Who
 * wrote something else wanted a limit: `safe` stands for it, and the log says
 * what is wrong and what that `means`.
 */
static int64_t
read_limit(struct reading *g, const char *name, int64_t safe, const char *means)
{
	struct span value = params_get(g->p, name);
	int64_t n;

	if (value.p == NULL)
		return -1;
	if (span_to_int64(span_trim(value), &n))
		return n;
	g->r->bad_limit = name;
	g->r->bad_value = value;
	g->r->bad_means = means;
	return safe;
}

static void
reset(struct request *r)
{
	struct buf text = r->text;

	buf_clear(&text);
	*r = (struct request){.max_streams = -1, .text = text};
}

enum status
request_read(struct request *r, const struct params *p,
    const struct request_rules *rules)
{
	struct reading g = {.r = r, .p = p};
	enum status st;

	reset(r);
	st = buf_reserve(&r->text, route_room(p) + MAX_POOL_BYTES + MAX_DETAIL);
	if (st != ST_OK)
		return ST_NOMEM;
	r->kind = REQUEST_STREAM;
	r->origin = origin_allowed(rules->allow_origin,
	    params_get(p, "HTTP_ORIGIN"));
	r->remote = params_get(p, "REMOTE_ADDR");
	r->ramp = read_limit(&g, "WALCAST_RAMP", -1, "its default counts");
	r->share = read_limit(&g, "WALCAST_ADDRESS_SHARE", REQUEST_SAFE_SHARE,
	    "an address has " REQUEST_SAFE_SHARE_TEXT " percent");
	r->max_streams = read_limit(&g, "WALCAST_MAX_STREAMS", REQUEST_SAFE_CAP,
	    "only " REQUEST_SAFE_CAP_TEXT " streams get in");
	r->front = frontend_of(params_get(p, "SERVER_SOFTWARE"));
	r->thread_per_stream = r->front == FRONT_APACHE;
	r->slot_pool = pool_of(r, p);
	if (!read_whole(&g) || !read_method(&g) || !read_accept(&g) ||
	    !read_path(&g) || !read_query(&g) || !need_channel(r, rules)) {
		r->resumes = comes_back(&g, find_id(&g));
		return ST_OK;
	}
	read_position(&g);
	if (r->head_only)
		r->kind = REQUEST_HEAD;
	return ST_OK;
}

/* SPDX-License-Identifier: MIT */
/*
 * A request made of any bytes: whatever comes out must keep request.h's
 * word, its error must become a well-formed response, and what was let in is
 * what a second reading of the query, by other code, says: where the stream
 * begins, its channels and its switches.
 *
 * Input: lines; the first byte of each chooses the variable, the rest is its
 * value.
 */
#include "request.h"

#include <string.h>
#include <strings.h>

#include "fuzz.h"
#include "http.h"
#include "name.h"
#include "route.h"

static const char *const names[] = {"QUERY_STRING", "REQUEST_URI", "PATH_INFO",
    "REQUEST_METHOD", "HTTP_ACCEPT", "HTTP_LAST_EVENT_ID", "HTTP_ORIGIN",
    "WALCAST_MAX_STREAMS", "WALCAST_LOCATION", "SERVER_SOFTWARE",
    "REMOTE_ADDR"};

#define N_NAMES (sizeof(names) / sizeof(names[0]))

static void
add_line(struct params *p, struct span line)
{
	struct buf pair;

	if (line.len == 0)
		return;
	buf_init(&pair, 1 << 20);
	buf_addf(&pair, "%s=", names[(unsigned char)line.p[0] % N_NAMES]);
	buf_add(&pair, span_skip(line, 1));
	MUST(buf_status(&pair) == ST_OK);
	status_ignore(params_add(p, buf_span(&pair)));
	buf_fini(&pair);
}

/* Reads every byte, so that a sanitizer sees one that is not there. */
static void
touch(struct span s)
{
	static volatile unsigned char sink;
	size_t i;

	for (i = 0; i < s.len; i++)
		sink = (unsigned char)s.p[i];
	(void)sink;
}

static void
check_stream(const struct request *r)
{
	size_t i, j;

	MUST(r->n_channels >= 1 && r->n_channels <= REQUEST_MAX_CHANNELS);
	for (i = 0; i < r->n_channels; i++) {
		MUST(name_pattern_ok(r->channel[i]));
		MUST(!name_reserved(r->channel[i]));
		for (j = 0; j < i; j++)
			MUST(!span_eq(r->channel[i], r->channel[j]));
	}
	for (i = 0; i < r->n_events; i++)
		MUST(name_event_ok(r->event[i]));
	MUST(r->requested.len <= 64);
	MUST((r->position == POSITION_AFTER) == (r->after_id > 0));
	MUST((r->position == POSITION_LAST) == (r->last_n > 0));
	MUST(r->last_n >= 0 && r->last_n <= 1000000);
	touch(r->requested);
	touch(r->generation);
}

static void
check_refusal(const struct request *r)
{
	struct buf out;
	struct span s;

	MUST(r->error.status >= 400 && r->error.status < 500);
	MUST(r->error.detail.len > 0);
	MUST((r->error.status == 405) == (r->error.allow.len > 0));
	buf_init(&out, 1 << 16);
	MUST(http_error(&out, &r->error, r->origin, r->head_only) == ST_OK);
	s = buf_span(&out);
	MUST(span_starts(s, SPAN("Status: 4")));
	MUST(memmem(s.p, s.len, "\r\n\r\n", 4) != NULL);
	buf_fini(&out);
}

static void
check(const struct request *r)
{
	MUST(r->max_streams >= -1);
	MUST(r->slot_pool.len <= 256);
	touch(r->slot_pool);
	touch(r->origin);
	touch(r->remote);
	switch (r->kind) {
	case REQUEST_STREAM:
	case REQUEST_HEAD:
		MUST(r->head_only == (r->kind == REQUEST_HEAD));
		check_stream(r);
		break;
	case REQUEST_REFUSED:
		check_refusal(r);
		break;
	case REQUEST_PREFLIGHT:
		break;
	}
}

/* ---- the query, read once more ----------------------------------------- */

#define INT64_DIGITS SPAN("9223372036854775807")
#define SECOND_IDS   256 /* more than a query of the fuzzer's has */

struct second {
	struct buf text; /* what was decoded */
	struct span header;
	struct span ids[SECOND_IDS]; /* in the query, empty ones left out */
	size_t n_ids;
	struct span channel[REQUEST_MAX_CHANNELS];
	size_t n_channels;
	int64_t last;
	struct span generation;
	bool envelope, padding, heartbeat_events;
};

static bool
hex_value(struct span two, char *out)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	unsigned value = 0;
	size_t i;

	if (two.len < 2)
		return false;
	for (i = 0; i < 2; i++) {
		const char *at = two.p[i] == '\0' ? NULL
						  : strchr(digits, two.p[i]);

		if (at == NULL)
			return false;
		value = value * 16 + (unsigned)(at - digits) -
		    (at - digits > 15 ? 6u : 0u);
	}
	*out = (char)value;
	return true;
}

/* Decoded form text; as it stands when it cannot be decoded. */
static struct span
decoded(struct second *x, struct span raw, bool *whole)
{
	size_t i, before = x->text.len;
	struct span out;

	*whole = true;
	for (i = 0; i < raw.len; i++) {
		char c = raw.p[i] == '+' ? ' ' : raw.p[i];

		if (c == '%') {
			*whole = hex_value(span_skip(raw, i + 1), &c);
			i += 2;
		}
		if (!*whole)
			return raw;
		MUST(buf_append(&x->text, span_of(&c, 1)) == ST_OK);
	}
	out = buf_span(&x->text);
	return before == out.len ? SPAN("") : span_skip(out, before);
}

static bool
whole_number(struct span s, int64_t *out)
{
	size_t i;

	while (s.len > 1 && s.p[0] == '0')
		s = span_skip(s, 1);
	if (s.len == 0 || s.len > INT64_DIGITS.len)
		return false;
	if (s.len == INT64_DIGITS.len && memcmp(s.p, INT64_DIGITS.p, s.len) > 0)
		return false;
	for (i = 0, *out = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		*out = *out * 10 + (s.p[i] - '0');
	}
	return true;
}

static void
second_channels(struct second *x, struct span list)
{
	struct span name;
	size_t i;

	while (list.len > 0 && span_cut(&list, ',', &name)) {
		for (i = 0; i < x->n_channels; i++)
			if (span_eq(x->channel[i], name))
				break;
		if (i < x->n_channels)
			continue;
		MUST(x->n_channels < REQUEST_MAX_CHANNELS);
		x->channel[x->n_channels++] = name;
	}
}

static void
second_pair(struct second *x, struct span name, struct span value)
{
	static const char *const ids[] = {"last_event_id", "lasteventid",
	    "evs_last_event_id", "last-event-id"};
	bool on = span_eq(value, SPAN("1")) || span_eq(value, SPAN("true"));
	size_t i;

	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		if (name.len == strlen(ids[i]) &&
		    strncasecmp(name.p, ids[i], name.len) == 0 &&
		    value.len > 0 && x->n_ids < SECOND_IDS)
			x->ids[x->n_ids++] = value;
	if (span_eq(name, SPAN("channel")))
		second_channels(x, value);
	else if (span_eq(name, SPAN("last")) && value.len > 0)
		MUST(whole_number(value, &x->last));
	else if (span_eq(name, SPAN("generation")))
		x->generation = value;
	else if (span_eq(name, SPAN("envelope")))
		x->envelope = on;
	else if (span_eq(name, SPAN("padding")))
		x->padding = on;
	else if (span_eq(name, SPAN("heartbeat")))
		x->heartbeat_events = span_eq(value, SPAN("event"));
}

static void
second_query(struct second *x, struct span query)
{
	struct span piece, name;
	bool name_whole, value_whole;

	while (query.len > 0 && span_cut(&query, '&', &piece)) {
		const char *equals = span_find(piece, '=');
		size_t n = equals == NULL ? piece.len
					  : (size_t)(equals - piece.p);

		if (piece.len == 0)
			continue;
		name = decoded(x, span_of(piece.p, n), &name_whole);
		piece = n == piece.len ? SPAN("") : span_skip(piece, n + 1);
		piece = decoded(x, piece, &value_whole);
		if (name_whole)
			second_pair(x, name, piece);
	}
}

/* -1: it names none */
static int64_t
second_id(struct span id)
{
	int64_t n;

	if (span_eq(id, SPAN("earliest")))
		return 0;
	return id.len <= 64 && whole_number(id, &n) ? n : -1;
}

static enum request_position
second_position(const struct second *x, int64_t *after)
{
	bool some = x->header.len > 0 || x->n_ids > 0;
	size_t i;

	*after = second_id(x->header);
	for (i = 0; second_id(x->header) < 0 && i < x->n_ids; i++)
		if (second_id(x->ids[i]) > *after)
			*after = second_id(x->ids[i]);
	if (!some)
		return x->last > 0 ? POSITION_LAST : POSITION_LIVE;
	if (*after < 0)
		return POSITION_INVALID;
	return *after == 0 ? POSITION_EARLIEST : POSITION_AFTER;
}

static bool
takes(const struct request *r, struct span channel)
{
	size_t i;

	for (i = 0; i < r->n_channels; i++)
		if (span_eq(r->channel[i], channel))
			return true;
	return false;
}

static void
check_second(const struct request *r, const struct params *p)
{
	static struct second x;
	struct buf text = x.text;
	int64_t after;
	size_t i;

	if (r->kind != REQUEST_STREAM && r->kind != REQUEST_HEAD)
		return;
	if (text.max == 0)
		buf_init(&text, 1 << 20);
	/* Spans of what was decoded point into it: it must not move. */
	MUST(buf_reserve(&text, route_room(p)) == ST_OK);
	buf_clear(&text);
	x = (struct second){.text = text,
	    .header = params_get(p, "HTTP_LAST_EVENT_ID")};
	second_query(&x, route_query(p));
	MUST(r->position == second_position(&x, &after));
	MUST(r->position != POSITION_AFTER || r->after_id == after);
	MUST(r->position != POSITION_LAST || r->last_n == x.last);
	MUST(r->envelope == x.envelope && r->padding == x.padding);
	MUST(r->heartbeat_events == x.heartbeat_events);
	MUST(span_eq(r->generation, x.generation));
	for (i = 0; i < x.n_channels; i++)
		MUST(takes(r, x.channel[i]));
	/* Nothing but those of the path and of the query. */
	if (x.n_channels > 0 && params_get(p, "PATH_INFO").len == 0 &&
	    params_get(p, "REQUEST_URI").len == 0)
		MUST(r->n_channels == x.n_channels);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct params params;
	static struct request r;
	const struct request_rules rules = {
	    .default_channel = size % 2 == 0 ? SPAN("news,a.*") : SPAN_NONE,
	    .allow_origin = SPAN("https://a.example *x")};
	struct span rest = fuzz_span(data, size), line;

	params_init(&params);
	MUST(params_add(&params, SPAN("REQUEST_METHOD=GET")) == ST_OK ||
	    size == 0);
	if (size > 0 && data[0] == '!')
		params_fini(&params); /* the input says the method */
	while (span_cut(&rest, '\n', &line))
		add_line(&params, line);
	request_init(&r);
	MUST(request_read(&r, &params, &rules) == ST_OK);
	check(&r);
	/* Once more into the same object: the same answer. */
	MUST(request_read(&r, &params, &rules) == ST_OK);
	check(&r);
	check_second(&r, &params);
	request_fini(&r);
	params_fini(&params);
	return 0;
}

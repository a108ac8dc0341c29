/* SPDX-License-Identifier: MIT */
/*
 * A whole stream, its event made of any bytes, read back by a parser that
 * follows the HTML standard to the letter: what comes out is exactly what was
 * put in, each event once with its id, type and data, and nothing between.
 * Data arrives with its line ends as LF, and NUL and what is no UTF-8 as
 * U+FFFD; in an envelope as the JSON string of it, or as the JSON that it is.
 *
 * Input: four bytes of numbers, the lengths of name and channel among them,
 * then name, channel and data.
 */
#include "frame.h"

#include <string.h>

#include "event.h"
#include "eventstream.h"
#include "fuzz.h"
#include "json.h"
#include "jsontext.h"
#include "name.h"
#include "utf8.h"

#define BOUND       ((size_t)1 << 22)
#define INPUT_FIRST 5

enum order { OPEN, EVENT, ENVELOPE, GAP, BEAT, CLOSE, N_FRAMES };

static struct buf out, scratch, mended;
static struct eventstream page;
static struct json_parser *parser;

static void
put(struct buf *b, struct span s)
{
	MUST(buf_append(b, s) == ST_OK);
}

/* ---- the stream -------------------------------------------------------- */

static int64_t
position_of(const struct event *e)
{
	return e->id / 2;
}

static void
write_stream(const struct event *e)
{
	const struct frame_open open = {.stream = e->channel,
	    .generation = e->event,
	    .position = position_of(e),
	    .resumed_from = e->prev - 1,
	    .head = e->id,
	    .oldest = 1,
	    .retry_ms = 3000,
	    .heartbeat_ms = 15000};
	const struct frame_gap gap = {
	    .code = (enum frame_gap_code)(e->prev % GAP_CODES),
	    .requested = e->channel,
	    .position = e->id,
	    .oldest = 1,
	    .newest = e->id};

	buf_clear(&out);
	MUST(frame_open(&out, &open) == ST_OK);
	if (e->prev % 16 == 0)
		MUST(frame_padding(&out) == ST_OK);
	MUST(frame_event(&out, e) == ST_OK);
	MUST(frame_heartbeat(&out, position_of(e)) == ST_OK);
	MUST(frame_envelope(&out, e) == ST_OK);
	MUST(frame_gap(&out, &gap) == ST_OK);
	MUST(frame_heartbeat_event(&out, e->id, e->id, e->prev) == ST_OK);
	MUST(frame_close(&out, (enum frame_reason)(e->prev % CLOSE_REASONS),
		 4000) == ST_OK);
}

static void
check_event(enum order n, int64_t id, struct span type)
{
	int64_t got;

	MUST(span_to_int64(eventstream_id(&page, n), &got) && got == id);
	MUST(span_eq(eventstream_type(&page, n), type));
}

/* ---- what is no UTF-8, told by code points ------------------------------- */

/* Is there a code point in lo..hi that n bytes are the shortest form of? */
static bool
in_form(uint32_t lo, uint32_t hi, size_t n)
{
	static const uint32_t first[] = {0, 0, 0x80, 0x800, 0x10000, 0x110000};

	if (hi < first[n] || lo >= first[n + 1])
		return false;
	return lo < 0xd800 || hi > 0xdfff;
}

/* The bytes at the front that begin a character, `*whole` if they are one. */
static size_t
subpart(struct span s, bool *whole)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = p[0] < 0xc0 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	uint32_t lo = p[0] & (0xffu >> (n + 1)), hi = lo;
	size_t i, shift = 6 * (n - 1);

	*whole = p[0] < 0x80;
	if (n == 1 || p[0] > 0xf7)
		return 1;
	lo <<= shift;
	hi = lo | ((1u << shift) - 1);
	for (i = 1; i < n && in_form(lo, hi, n); i++) {
		if (i == s.len || (p[i] & 0xc0) != 0x80)
			return i;
		shift -= 6;
		lo |= (p[i] & 0x3fu) << shift;
		hi = lo | ((1u << shift) - 1);
	}
	*whole = in_form(lo, hi, n);
	return *whole ? n : i - 1 + (i == 1);
}

static void
mend(struct buf *to, struct span s)
{
	bool whole;
	size_t n;

	for (; s.len > 0; s = span_skip(s, n)) {
		n = subpart(s, &whole);
		put(to, whole ? span_of(s.p, n) : SPAN("\xef\xbf\xbd"));
	}
}

/* The type that a page is to see: none for "message", and for names that the
 * store should never have taken. */
static struct span
type_of(const struct event *e)
{
	struct span s = e->event;
	struct span none = SPAN("");
	size_t i;

	if (s.len > NAME_MAX_BYTES || span_eq(s, SPAN("message")) ||
	    span_starts(s, SPAN("control.")) || span_starts(s, SPAN("system.")))
		return none;
	for (i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];
		unsigned char d = i + 1 < s.len ? (unsigned char)s.p[i + 1] : 0;

		if (c < 0x20 || c == 0x7f ||
		    (c == 0xc2 && d >= 0x80 && d <= 0x9f))
			return none;
	}
	buf_clear(&mended);
	mend(&mended, s);
	return mended.len == 0 ? none : buf_span(&mended);
}

static void
check_order(const struct event *e)
{
	MUST(page.n_events == N_FRAMES);
	MUST(page.n_comments == (e->prev % 16 == 0 ? 2 : 1));
	MUST(page.n_unknown == 0);
	MUST(span_eq(page.retry, SPAN("4000")));
	check_event(OPEN, position_of(e), SPAN("control.open"));
	check_event(EVENT, e->id, type_of(e));
	check_event(ENVELOPE, e->id, type_of(e));
	check_event(GAP, e->id, SPAN("control.gap"));
	check_event(BEAT, e->id, SPAN("system.heartbeat"));
	check_event(CLOSE, e->id, SPAN("control.close"));
}

/* ---- data -------------------------------------------------------------- */

/* What a page is to see of text. */
static void
normalise(struct buf *to, struct span s)
{
	size_t i;

	buf_clear(&mended);
	MUST(buf_reserve(&mended, 3 * s.len) == ST_OK);
	mend(&mended, s);
	s = buf_span(&mended);
	MUST(buf_reserve(to, 3 * s.len) == ST_OK);
	for (i = 0; i < s.len; i++) {
		struct span one = span_of(s.p + i, 1);

		if (s.p[i] == '\0')
			one = SPAN("\xef\xbf\xbd");
		if (s.p[i] == '\r')
			one = SPAN("\n");
		if (s.p[i] == '\r' && i + 1 < s.len && s.p[i + 1] == '\n')
			i++;
		put(to, one);
	}
}

static void
check_data(const struct event *e)
{
	buf_clear(&scratch);
	normalise(&scratch, e->data);
	MUST(span_eq(eventstream_data(&page, EVENT), buf_span(&scratch)));
}

/* ---- control frames and envelopes -------------------------------------- */

static struct span
member(struct span object, const char *name)
{
	struct span value;

	MUST(jsontext_member(object, span_str(name), &value) == ST_OK);
	return value;
}

static void
check_number(struct span object, const char *name, int64_t want)
{
	int64_t got;

	MUST(span_to_int64(member(object, name), &got) && got == want);
}

/* A JSON string of these bytes; what is no UTF-8 in them became U+FFFD. */
static void
check_string(struct span value, struct span want)
{
	struct errmsg err;
	struct json *j;

	MUST(value.len >= 2 && value.p[0] == '"');
	MUST(json_parse(parser, value, &j, &err) == ST_OK);
	MUST(json_type(j) == JSON_STRING && utf8_ok(json_text(j)));
	buf_clear(&mended);
	mend(&mended, want);
	MUST(span_eq(json_text(j), buf_span(&mended)));
	json_free(&j);
}

static void
check_controls(const struct event *e)
{
	struct span open = eventstream_data(&page, OPEN);
	struct span gap = eventstream_data(&page, GAP);
	int64_t number;
	size_t at;

	MUST(jsontext_check(open, &at) == ST_OK);
	MUST(jsontext_check(gap, &at) == ST_OK);
	MUST(jsontext_check(eventstream_data(&page, BEAT), &at) == ST_OK);
	MUST(jsontext_check(eventstream_data(&page, CLOSE), &at) == ST_OK);
	check_number(open, "head", e->id);
	check_string(member(open, "stream"), e->channel);
	check_string(member(open, "generation"), e->event);
	check_number(gap, "newest", e->id);
	if (e->channel.len == 0)
		MUST(span_eq(member(gap, "requested"), SPAN("null")));
	else if (span_to_int64(e->channel, &number))
		check_number(gap, "requested", number);
	else
		check_string(member(gap, "requested"), e->channel);
	check_number(eventstream_data(&page, CLOSE), "retry_ms", 4000);
}

static void
check_envelope(const struct event *e)
{
	struct span value = eventstream_data(&page, ENVELOPE);
	enum status st;
	size_t at;

	MUST(span_find(value, '\n') == NULL); /* one data line */
	st = jsontext_check(value, &at);
	/* One level deeper than the data that was let in. */
	MUST(st == ST_OK || (st == ST_TOOLARGE && event_is_json(e)));
	if (st != ST_OK)
		return;
	check_number(value, "id", e->id);
	check_number(value, "prev", e->prev);
	check_string(member(value, "channel"), e->channel);
	check_string(member(value, "event"), e->event);
	if (e->trace.len == 0)
		MUST(span_eq(member(value, "trace"), SPAN("null")));
	else
		check_string(member(value, "trace"), e->trace);
	if (!event_is_json(e)) {
		check_string(member(value, "data"), e->data);
		return;
	}
	MUST(e->kind != EVENT_DATA_TEXT);
	buf_clear(&scratch);
	jsontext_add_compact(&scratch, e->data);
	MUST(buf_status(&scratch) == ST_OK);
	MUST(span_eq(member(value, "data"), buf_span(&scratch)));
}

static void
prepare(void)
{
	if (parser != NULL)
		return;
	MUST(json_parser_new(&parser) == ST_OK);
	buf_init(&out, BOUND);
	buf_init(&scratch, BOUND);
	buf_init(&mended, BOUND);
	eventstream_init(&page);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct event e = {.id = 0};
	struct span rest;

	if (size < INPUT_FIRST)
		return 0;
	prepare();
	rest = span_of((const char *)data + INPUT_FIRST, size - INPUT_FIRST);
	e.event = span_of(rest.p, data[0] < rest.len ? data[0] : rest.len);
	rest = span_skip(rest, e.event.len);
	e.channel = span_of(rest.p, data[4] < rest.len ? data[4] : rest.len);
	e.data = span_skip(rest, e.channel.len);
	e.kind = (enum event_data)(data[1] % 3);
	e.id = (int64_t)data[2] << (data[3] % 48);
	e.prev = data[3];
	e.trace = data[3] % 2 == 0 ? SPAN_NONE : e.channel;
	write_stream(&e);
	eventstream_read(&page, buf_span(&out));
	check_controls(&e);
	check_data(&e);
	check_envelope(&e);
	check_order(&e);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* Text of the event stream: no payload can forge a field. */
#include "frame.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "fault.h"
#include "unit.h"

static int
setup(void **state)
{
	struct buf *b = malloc(sizeof(*b));

	if (b == NULL)
		return -1;
	buf_init(b, 64u << 20);
	*state = b;
	return 0;
}

static int
teardown(void **state)
{
	buf_fini(*state);
	free(*state);
	return 0;
}

static struct event
text_event(struct span data)
{
	return (struct event){.id = 47,
	    .channel = SPAN("a"),
	    .event = SPAN("message"),
	    .kind = EVENT_DATA_TEXT,
	    .data = data};
}

static void
assert_frame(struct buf *b, const struct event *e, struct span want)
{
	buf_clear(b);
	assert_status(frame_event(b, e), ST_OK);
	assert_span(buf_span(b), want);
}

static void
every_line_end_begins_a_data_line(void **state)
{
	static const struct {
		struct span data, want;
	} row[] = {
	    {SPAN(""), SPAN("id: 47\ndata: \n\n")},
	    {SPAN("x"), SPAN("id: 47\ndata: x\n\n")},
	    {SPAN("a\nb"), SPAN("id: 47\ndata: a\ndata: b\n\n")},
	    {SPAN("a\rb"), SPAN("id: 47\ndata: a\ndata: b\n\n")},
	    {SPAN("a\r\nb"), SPAN("id: 47\ndata: a\ndata: b\n\n")},
	    {SPAN("a\n\rb"), SPAN("id: 47\ndata: a\ndata: \ndata: b\n\n")},
	    {SPAN("\n"), SPAN("id: 47\ndata: \ndata: \n\n")},
	    {SPAN("a\r"), SPAN("id: 47\ndata: a\ndata: \n\n")},
	    {SPAN("a\0b"),
		SPAN("id: 47\ndata: a\xef\xbf\xbd"
		     "b\n\n")},
	    {SPAN("\r\0\n"),
		SPAN("id: 47\ndata: \ndata: \xef\xbf\xbd\n"
		     "data: \n\n")},
	    {SPAN("\n\nid: 9\n"),
		SPAN("id: 47\ndata: \ndata: \ndata: id: 9\ndata: \n\n")},
	};
	size_t i;

	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct event e = text_event(row[i].data);

		assert_frame(*state, &e, row[i].want);
	}
}

/* SQL may have stored Latin-1, or half a character. */
static void
what_is_no_utf8_goes_out_as_replacements(void **state)
{
#define R "\xef\xbf\xbd"
	static const struct {
		struct span data, want;
	} row[] = {
	    {SPAN("caf\xe9"), SPAN("id: 47\ndata: caf" R "\n\n")},
	    {SPAN("\xe9"), SPAN("id: 47\ndata: " R "\n\n")},
	    {SPAN("\xe9\n\xe8\r\n\xff"),
		SPAN("id: 47\ndata: " R "\ndata: " R "\ndata: " R "\n\n")},
	    {SPAN("\xe2\x82\n"), SPAN("id: 47\ndata: " R "\ndata: \n\n")},
	    {SPAN("\xe2\0\x82"), SPAN("id: 47\ndata: " R R R "\n\n")},
	    {SPAN("\xf0\x9f\x98\x80\xf0\x9f\x98"),
		SPAN("id: 47\ndata: \xf0\x9f\x98\x80" R "\n\n")},
	    {SPAN("\xed\xa0\x80"), SPAN("id: 47\ndata: " R R R "\n\n")},
	};
	struct event e;
	size_t i;

	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		e = text_event(row[i].data);
		assert_frame(*state, &e, row[i].want);
	}
	e = text_event(SPAN("x\xe9"));
	e.event = SPAN("caf\xe9 \xc3\xa9");
	e.channel = SPAN("\xe9");
	assert_frame(*state, &e,
	    SPAN("id: 47\nevent: caf" R " \xc3\xa9\ndata: x" R "\n\n"));
	buf_clear(*state);
	assert_status(frame_envelope(*state, &e), ST_OK);
	assert_span(buf_span(*state),
	    SPAN("id: 47\nevent: caf" R " \xc3\xa9\n"
		 "data: {\"id\":47,\"channel\":\"\\ufffd\",\"event\":\"caf"
		 "\\ufffd \xc3\xa9\",\"ts\":0,\"trace\":null,\"prev\":0,"
		 "\"data\":\"x\\ufffd\"}\n\n"));
#undef R
}

/* The search looks 256 bytes ahead at a time. */
static void
characters_are_whole_wherever_they_stand(void **state)
{
	struct buf *b = *state;
	char data[700];
	size_t at;

	memset(data, 'x', sizeof(data));
	for (at = 0; at < sizeof(data) - 4; at++) {
		struct event e = text_event(span_of(data, sizeof(data)));

		memcpy(data + at, "\xf0\x9f\x98\x80", 4);
		buf_clear(b);
		assert_status(frame_event(b, &e), ST_OK);
		assert_int_equal(buf_span(b).len, 13 + sizeof(data) + 2);
		assert_memory_equal(buf_span(b).p + 13, data, sizeof(data));
		memset(data + at, 'x', 4);
	}
}

static void
line_ends_are_found_wherever_they_stand(void **state)
{
	struct buf *b = *state;
	char data[1100];
	size_t at;

	memset(data, 'x', sizeof(data));
	for (at = 0; at < sizeof(data) - 1; at++) {
		struct event e = text_event(span_of(data, sizeof(data)));
		struct span got;

		data[at] = '\r';
		data[at + 1] = '\n';
		buf_clear(b);
		assert_status(frame_event(b, &e), ST_OK);
		got = buf_span(b);
		assert_int_equal(got.len, 13 + sizeof(data) - 2 + 7 + 2);
		assert_memory_equal(got.p + 13 + at, "\ndata: ", 7);
		data[at] = data[at + 1] = 'x';
	}
}

static void
text_of_line_ends_alone_takes_no_longer_than_others(void **state)
{
	static const char ends[] = {'\r', '\n', '\0'};
	size_t len = 4u << 20, i;
	char *data = malloc(len);
	int64_t begun = clock_real_ms();

	assert_non_null(data);
	for (i = 0; i < 3; i++) {
		struct event e = text_event(span_of(data, len));

		memset(data, ends[i], len);
		buf_clear(*state);
		assert_status(frame_event(*state, &e), ST_OK);
	}
	/* It took minutes when each one was searched for to the end. */
	assert_true(clock_real_ms() - begun < 120000);
	free(data);
}

static void
an_events_name_is_left_out_where_it_says_nothing_or_lies(void **state)
{
	struct event e = text_event(SPAN("x"));
	char longest[129];

	memset(longest, 'n', sizeof(longest));
	e.event = SPAN("created");
	assert_frame(*state, &e, SPAN("id: 47\nevent: created\ndata: x\n\n"));
	e.event = SPAN("message");
	assert_frame(*state, &e, SPAN("id: 47\ndata: x\n\n"));
	e.event = SPAN("");
	assert_frame(*state, &e, SPAN("id: 47\ndata: x\n\n"));
	e.event = SPAN("a\ndata: y");
	assert_frame(*state, &e, SPAN("id: 47\ndata: x\n\n"));
	e.event = SPAN("a\r");
	assert_frame(*state, &e, SPAN("id: 47\ndata: x\n\n"));
	e.event = SPAN("control.close");
	assert_frame(*state, &e, SPAN("id: 47\ndata: x\n\n"));
	e.event = SPAN("system.heartbeat");
	assert_frame(*state, &e, SPAN("id: 47\ndata: x\n\n"));
	e.event = span_of(longest, 129);
	assert_frame(*state, &e, SPAN("id: 47\ndata: x\n\n"));
}

static void
an_envelope_carries_data_as_it_was_meant(void **state)
{
	struct {
		enum event_data kind;
		struct span data, want;
	} row[] = {
	    {EVENT_DATA_TEXT, SPAN("{\"n\":1}"), SPAN("\"{\\\"n\\\":1}\"")},
	    {EVENT_DATA_JSON, SPAN("{\"n\":1.10}"), SPAN("{\"n\":1.10}")},
	    {EVENT_DATA_JSON, SPAN("12345678901234567890"),
		SPAN("12345678901234567890")},
	    {EVENT_DATA_UNKNOWN, SPAN(" {\"n\": 1}"), SPAN("{\"n\":1}")},
	    {EVENT_DATA_UNKNOWN, SPAN("12"), SPAN("\"12\"")},
	    {EVENT_DATA_UNKNOWN, SPAN("{oops"), SPAN("\"{oops\"")},
	    {EVENT_DATA_UNKNOWN, SPAN(""), SPAN("\"\"")},
	    /* By SQL anything can be called JSON. */
	    {EVENT_DATA_JSON, SPAN("\"a\n\nid: 9\ndata: b\""),
		SPAN("\"\\\"a\\n\\nid: 9\\ndata: b\\\"\"")},
	    {EVENT_DATA_JSON, SPAN(""), SPAN("\"\"")},
	    {EVENT_DATA_JSON, SPAN("1}, {"), SPAN("\"1}, {\"")},
	};
	struct buf *b = *state;
	size_t i;

	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct event e = text_event(row[i].data);
		size_t head;

		e.kind = row[i].kind;
		e.ts_ms = 5;
		e.prev = 46;
		buf_clear(b);
		assert_status(buf_append(b,
				  SPAN("id: 47\ndata: {\"id\":47,\"channel\":"
				       "\"a\",\"event\":\"message\",\"ts\":5,"
				       "\"trace\":null,\"prev\":46,\"data\":")),
		    ST_OK);
		head = b->len;
		assert_status(buf_append(b, row[i].want), ST_OK);
		assert_status(buf_append(b, SPAN("}\n\n")), ST_OK);
		{
			size_t len = b->len;

			assert_status(frame_envelope(b, &e), ST_OK);
			assert_span(span_skip(buf_span(b), len),
			    span_of(buf_span(b).p, len));
		}
		assert_true(head < b->len);
	}
}

static void
control_frames_read_as_the_protocol_says(void **state)
{
	struct buf *b = *state;
	struct frame_open o = {.stream = SPAN("s"),
	    .generation = SPAN("g"),
	    .position = 40,
	    .resumed_from = -1,
	    .head = 46,
	    .oldest = 1,
	    .retry_ms = 3187,
	    .heartbeat_ms = 15000,
	    .server_time_ms = 7};
	struct frame_gap g = {.code = GAP_INVALID,
	    .requested = SPAN("a\nb"),
	    .position = 46,
	    .oldest = 1,
	    .newest = 46};

	assert_status(frame_open(b, &o), ST_OK);
	assert_span(buf_span(b),
	    SPAN("retry: 3187\nid: 40\nevent: control.open\ndata: {"
		 "\"stream\":\"s\",\"generation\":\"g\",\"head\":46,"
		 "\"oldest\":1,\"resumed_from\":null,\"heartbeat_ms\":15000,"
		 "\"server_time_ms\":7}\n\n"));
	buf_clear(b);
	o.position = -1;
	o.resumed_from = 0;
	assert_status(frame_open(b, &o), ST_OK);
	assert_true(span_starts(buf_span(b),
	    SPAN("retry: 3187\nevent: control.open\n")));
	assert_non_null(
	    memmem(buf_span(b).p, b->len, "\"resumed_from\":0,", 17));
	buf_clear(b);
	assert_status(frame_gap(b, &g), ST_OK);
	assert_span(buf_span(b),
	    SPAN("id: 46\nevent: control.gap\ndata: {\"requested\":"
		 "\"a\\nb\",\"oldest\":1,\"newest\":46,\"lost\":0,"
		 "\"code\":\"invalid\"}\n\n"));
	buf_clear(b);
	assert_status(frame_close(b, CLOSE_AUTH_EXPIRED, 5), ST_OK);
	assert_span(buf_span(b),
	    SPAN("retry: 5\nevent: control.close\ndata: {\"reason\":"
		 "\"auth_expired\",\"retry_ms\":5}\n\n"));
	buf_clear(b);
	assert_status(frame_heartbeat(b, INT64_MAX), ST_OK);
	assert_span(buf_span(b), SPAN(": hb\nid: 9223372036854775807\n\n"));
	buf_clear(b);
	assert_status(frame_heartbeat_event(b, 3, 4, 5), ST_OK);
	assert_span(buf_span(b),
	    SPAN("id: 3\nevent: system.heartbeat\ndata: {\"head\":4,"
		 "\"server_time_ms\":5}\n\n"));
	buf_clear(b);
	assert_status(frame_padding(b), ST_OK);
	assert_int_equal(b->len, 2048);
	assert_true(span_starts(buf_span(b), SPAN(": ")));
	assert_memory_equal(buf_span(b).p + 2046, "\n\n", 2);
	assert_null(memchr(buf_span(b).p, '\n', 2046));
}

static void
a_bound_that_fits_to_the_byte_is_enough(void **state)
{
	struct event e = text_event(SPAN("x"));
	struct buf b;
	size_t max;

	(void)state;
	for (max = 0; max < 16; max++) {
		buf_init(&b, max);
		assert_status(frame_event(&b, &e), ST_FULL);
		assert_int_equal(b.len, 0); /* no part of a frame is left */
		assert_status(frame_envelope(&b, &e), ST_FULL);
		assert_int_equal(b.len, 0);
		buf_fini(&b);
	}
	buf_init(&b, 16);
	assert_status(frame_event(&b, &e), ST_OK);
	buf_fini(&b);
	buf_init(&b, 1000);
	fault_alloc_at(1);
	assert_status(frame_event(&b, &e), ST_NOMEM);
	fault_alloc_at(1);
	assert_status(frame_envelope(&b, &e), ST_NOMEM);
	fault_alloc_at(1);
	assert_status(frame_padding(&b), ST_FULL);
	(void)fault_hit();
	buf_fini(&b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(every_line_end_begins_a_data_line),
	    TEST(what_is_no_utf8_goes_out_as_replacements),
	    TEST(characters_are_whole_wherever_they_stand),
	    TEST(line_ends_are_found_wherever_they_stand),
	    TEST(text_of_line_ends_alone_takes_no_longer_than_others),
	    TEST(an_events_name_is_left_out_where_it_says_nothing_or_lies),
	    TEST(an_envelope_carries_data_as_it_was_meant),
	    TEST(control_frames_read_as_the_protocol_says),
	    cmocka_unit_test(a_bound_that_fits_to_the_byte_is_enough),
	};

	return RUN(tests);
}

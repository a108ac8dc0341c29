/* SPDX-License-Identifier: MIT */
/* Lines to requests, requests to answers: walcast-protocol(7), line by line. */
#include "protocol.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "fault.h"
#include "unit.h"

#define DATA_MAX 65536
#define TRACE    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static struct protocol *proto;

static int
setup(void **state)
{
	(void)state;
	return protocol_new(&proto,
		   (struct protocol_limits){.max_data_bytes = DATA_MAX}) ==
		ST_OK
	    ? 0
	    : -1;
}

static int
teardown(void **state)
{
	(void)state;
	fault_alloc_at(0);
	protocol_free(&proto);
	protocol_free(&proto);
	return 0;
}

/* The line without slack behind it, so that a sanitizer sees a read past it. */
static char *line_copy;

static int
free_line(void **state)
{
	free(line_copy);
	line_copy = NULL;
	return teardown(state);
}

static struct protocol_request
parse_span(struct span line)
{
	struct protocol_request r;

	free(line_copy);
	line_copy = malloc(line.len > 0 ? line.len : 1);
	assert_non_null(line_copy);
	memcpy(line_copy, line.p, line.len);
	protocol_parse(proto, span_of(line_copy, line.len), &r);
	return r;
}

static struct protocol_request
parse(const char *line)
{
	return parse_span(span_str(line));
}

static struct event
event_of(const char *line)
{
	struct protocol_request r = parse(line);

	if (r.op == OP_ERROR)
		print_error("%s: %.*s\n", line, (int)r.failure.message.len,
		    r.failure.message.p);
	assert_int_equal(r.op, OP_PUBLISH);
	assert_int_equal(r.n_events, 1);
	return r.events[0].e;
}

static void
want_error(const char *line, enum protocol_error code)
{
	struct protocol_request r = parse(line);

	if (r.op != OP_ERROR || r.failure.code != code)
		print_error("%s\n", line);
	assert_int_equal(r.op, OP_ERROR);
	assert_string_equal(protocol_error_name(r.failure.code),
	    protocol_error_name(code));
	assert_true(r.failure.message.len > 10);
}

/* ---- events ------------------------------------------------------------ */

static void
an_event_has_channel_name_and_data(void **state)
{
	struct event e = event_of(
	    "{\"channel\":\"orders\",\"event\":\"created\","
	    "\"data\":{\"n\":1}}");

	(void)state;
	assert_span(e.channel, SPAN("orders"));
	assert_span(e.event, SPAN("created"));
	assert_span(e.data, SPAN("{\"n\":1}"));
	assert_int_equal(e.kind, EVENT_DATA_JSON);
	assert_null(e.key.p);
	assert_null(e.trace.p);
	assert_int_equal(e.id, 0);
}

static void
an_event_without_a_name_is_a_message(void **state)
{
	struct event e = event_of(
	    "{\"channel\":\"orders\",\"data\":\"text\\nwith lines\","
	    "\"key\":\"o-17\",\"ref\":\"a\"}");

	(void)state;
	assert_span(e.event, SPAN("message"));
	assert_span(e.data, SPAN("text\nwith lines"));
	assert_int_equal(e.kind, EVENT_DATA_TEXT);
	assert_span(e.key, SPAN("o-17"));
}

static void
a_trace_is_kept(void **state)
{
	(void)state;
	assert_span(
	    event_of("{\"channel\":\"a\",\"data\":1,\"trace\":\"" TRACE "\"}")
		.trace,
	    SPAN(TRACE));
}

static void
a_trace_of_a_later_version_is_kept_as_version_00(void **state)
{
	struct event e;

	(void)state;
	e = event_of("{\"channel\":\"a\",\"data\":1,\"trace\":"
		     "\"cc-4bf92f3577b34da6a3ce929d0e0e4736-"
		     "00f067aa0ba902b7-ff-more\"}");
	assert_span(e.trace, SPAN(TRACE));
	e = event_of("{\"channel\":\"a\",\"data\":\"\\n\",\"key\":\"\\u0061\","
		     "\"trace\":\"c\\u0063-4bf92f3577b34da6a3ce929d0e0e4736-"
		     "00f067aa0ba902b7-ff-\\n\"}");
	assert_span(e.trace, SPAN(TRACE));
	assert_span(e.key, SPAN("a"));
	assert_span(e.data, SPAN("\n"));
}

static void
members_come_in_any_order_with_any_space(void **state)
{
	struct event e = event_of(
	    " \t{ \"data\" : [ 1 , 2 ] ,\t\"x\":{\"channel\":\"no\"} , "
	    "\"channel\" :\"c\" } \r");

	(void)state;
	assert_span(e.channel, SPAN("c"));
	assert_span(e.data, SPAN("[1,2]"));
}

static void
of_members_named_alike_the_last_counts(void **state)
{
	struct event e = event_of(
	    "{\"channel\":\"a\",\"data\":1,\"channel\":\"b\",\"data\":\"t\"}");

	(void)state;
	assert_span(e.channel, SPAN("b"));
	assert_span(e.data, SPAN("t"));
	assert_int_equal(e.kind, EVENT_DATA_TEXT);
}

static void
names_inside_other_values_are_not_ours(void **state)
{
	struct event e = event_of(
	    "{\"s\":\"\\\"channel\\\":\\\"x\\\"\",\"o\":{\"data\":5},"
	    "\"channel\":\"c\",\"data\":\"\\\\\",\"z\":\"}\"}");

	(void)state;
	assert_span(e.channel, SPAN("c"));
	assert_span(e.data, SPAN("\\"));
}

static void
data_is_kept_as_it_was_written(void **state)
{
	static const struct {
		const char *written;
		const char *stored;
	} rows[] = {
	    {"12345678901234567890", NULL},
	    {"1e400", NULL},
	    {"1.10", NULL},
	    {"-0", NULL},
	    {"true", NULL},
	    {"null", NULL},
	    {"[]", NULL},
	    {"{}", NULL},
	    {"{\"b\":1,\"a\":{\"z\":[1.10,1e400],\"y\":null}}", NULL},
	    {"{ \"b\" : 1 ,\t\"a\" : [ 1 , 2.50 ] }",
		"{\"b\":1,\"a\":[1,2.50]}"},
	    {"{\"s\":\"a  b\\u0041\\n\",\"s\":2}", NULL},
	    {"[\"caf\xc3\xa9\"]", NULL},
	};
	char line[256];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *want = rows[i].stored == NULL ? rows[i].written
							  : rows[i].stored;
		struct event e;

		(void)snprintf(line, sizeof(line),
		    "{\"channel\":\"a\",\"data\":%s}", rows[i].written);
		e = event_of(line);
		assert_span(e.data, span_str(want));
		assert_int_equal(e.kind, EVENT_DATA_JSON);
	}
}

static void
a_string_goes_out_as_its_text(void **state)
{
	static const struct {
		const char *written;
		struct span text;
	} rows[] = {
	    {"\"\"", {"", 0}},
	    {"\"plain\"", {"plain", 5}},
	    {"\"A\\u0042C\"", {"ABC", 3}},
	    {"\"caf\\u00e9 \\ud83d\\ude00\"",
		{"caf\xc3\xa9 \xf0\x9f\x98\x80", 10}},
	    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", {"\"\\/\b\f\n\r\t", 8}},
	    {"\"a\\u0000b\"",
		{"a\xef\xbf\xbd"
		 "b",
		    5}},
	    {"\"\\u0000\"", {"\xef\xbf\xbd", 3}},
	    {"\"\\u0000\\u0000x\\u0000\"",
		{"\xef\xbf\xbd\xef\xbf\xbdx\xef\xbf\xbd", 10}},
	    {"\"\\ud800x\"", {"\xef\xbf\xbdx", 4}},
	    {"\"\xf0\x9f\x98\x80\"", {"\xf0\x9f\x98\x80", 4}},
	};
	char line[256];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct event e;

		(void)snprintf(line, sizeof(line),
		    "{\"channel\":\"a\",\"data\":%s}", rows[i].written);
		e = event_of(line);
		assert_span(e.data, rows[i].text);
		assert_int_equal(e.kind, EVENT_DATA_TEXT);
	}
}

static void
member_names_may_be_escaped_and_unknown_ones_are_ignored(void **state)
{
	struct event e = event_of(
	    "{\"ch\\u0061nnel\":\"a\",\"gr\\u00f6\\u00dfe\":1,\"d\\u0061ta\":"
	    "2}");

	(void)state;
	assert_span(e.channel, SPAN("a"));
	assert_span(e.data, SPAN("2"));
}

static void
escapes_in_names_and_keys_are_decoded(void **state)
{
	struct event e = event_of(
	    "{\"channel\":\"a\\u002eb\",\"event\":\"gr\\u00f6\\u00dfe\","
	    "\"key\":\"k\\/1\",\"data\":\"\\t\"}");

	(void)state;
	assert_span(e.channel, SPAN("a.b"));
	assert_span(e.event,
	    SPAN("gr\xc3\xb6\xc3\x9f"
		 "e"));
	assert_span(e.key, SPAN("k/1"));
	assert_span(e.data, SPAN("\t"));
}

static struct protocol_request
parse_data_of(size_t n, const char *before, const char *after)
{
	struct buf b;
	struct protocol_request r;

	buf_init(&b, 1 << 20);
	assert_status(buf_append(&b, span_str(before)), ST_OK);
	assert_status(buf_reserve(&b, n), ST_OK);
	memset(buf_tail(&b), 'x', n);
	buf_grew(&b, n);
	assert_status(buf_append(&b, span_str(after)), ST_OK);
	r = parse_span(buf_span(&b));
	buf_fini(&b);
	return r;
}

static void
the_bound_on_data_counts_what_is_stored(void **state)
{
	struct protocol_request r;

	(void)state;
	r = parse_data_of(DATA_MAX, "{\"channel\":\"a\",\"data\":\"", "\"}");
	assert_int_equal(r.op, OP_PUBLISH);
	r = parse_data_of(DATA_MAX + 1, "{\"channel\":\"a\",\"data\":\"",
	    "\"}");
	assert_int_equal(r.failure.code, PROTOCOL_TOO_LARGE);
	/* Brackets and quotes are stored, the space is not. */
	r = parse_data_of(DATA_MAX - 4, "{\"channel\":\"a\",\"data\":[ \"",
	    "\" ]}");
	assert_int_equal(r.op, OP_PUBLISH);
	r = parse_data_of(DATA_MAX - 3, "{\"channel\":\"a\",\"data\":[ \"",
	    "\" ]}");
	assert_int_equal(r.failure.code, PROTOCOL_TOO_LARGE);
	/* Six bytes written, one stored. */
	r = parse_data_of(DATA_MAX - 1, "{\"channel\":\"a\",\"data\":\"\\u0041",
	    "\"}");
	assert_int_equal(r.op, OP_PUBLISH);
}

/* ---- what is refused ---------------------------------------------------- */

static void
what_is_not_json_is_bad_json(void **state)
{
	static const char *const lines[] = {"not JSON", "", " ", "{",
	    "{\"channel\":\"a\",\"data\":1", "{\"channel\":\"a\" \"data\":1}",
	    "{\"channel\":\"a\",\"data\":01}", "{'channel':'a','data':1}",
	    "\xff\xfe", "{\"channel\":\"a\",\"data\":\"\xff\"}",
	    "{\"channel\":\"a\",\"data\":1}}",
	    "{\"channel\":\"a\",\"data\":1} x",
	    "{\"channel\":\"a\",\"data\":NaN}",
	    "{\"channel\":\"a\",\"data\":\"a\tb\"}", "[1,]", "{\"a\":1,}",
	    "\xef\xbb\xbf{}"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		want_error(lines[i], PROTOCOL_BAD_JSON);
	want_error("\"text\"", PROTOCOL_BAD_REQUEST);
	want_error("17", PROTOCOL_BAD_REQUEST);
	want_error("null", PROTOCOL_BAD_REQUEST);
}

static void
a_bad_json_message_names_the_byte(void **state)
{
	struct protocol_request r = parse("{\"channel\":x}");

	(void)state;
	assert_non_null(
	    memmem(r.failure.message.p, r.failure.message.len, "byte 11", 7));
	r = parse("{\"channel\":");
	assert_non_null(
	    memmem(r.failure.message.p, r.failure.message.len, "byte 11", 7));
}

static void
each_member_has_its_error(void **state)
{
#define LONG129                                                                \
	"0123456789012345678901234567890123456789012345678901234567890123"     \
	"45678901234567890123456789012345678901234567890123456789012345678"
	static const struct {
		const char *line;
		enum protocol_error code;
	} rows[] = {
	    {"{}", PROTOCOL_BAD_REQUEST},
	    {"{\"channel\":\"a\"}", PROTOCOL_BAD_REQUEST},
	    {"{\"data\":1}", PROTOCOL_BAD_REQUEST},
	    {"{\"channel\":7,\"data\":1}", PROTOCOL_BAD_CHANNEL},
	    {"{\"channel\":null,\"data\":1}", PROTOCOL_BAD_CHANNEL},
	    {"{\"channel\":\"\",\"data\":1}", PROTOCOL_BAD_CHANNEL},
	    {"{\"channel\":\"a b\",\"data\":1}", PROTOCOL_BAD_CHANNEL},
	    {"{\"channel\":\"a\\u0000\",\"data\":1}", PROTOCOL_BAD_CHANNEL},
	    {"{\"channel\":\"a*\",\"data\":1}", PROTOCOL_BAD_CHANNEL},
	    {"{\"channel\":\"" LONG129 "\",\"data\":1}", PROTOCOL_BAD_CHANNEL},
	    {"{\"channel\":\"system.x\",\"data\":1}", PROTOCOL_FORBIDDEN},
	    {"{\"channel\":\"control.x\",\"data\":1}", PROTOCOL_FORBIDDEN},
	    {"{\"channel\":\"contr\\u006fl.x\",\"data\":1}",
		PROTOCOL_FORBIDDEN},
	    {"{\"channel\":\"a\",\"event\":\"\",\"data\":1}",
		PROTOCOL_BAD_EVENT},
	    {"{\"channel\":\"a\",\"event\":7,\"data\":1}", PROTOCOL_BAD_EVENT},
	    {"{\"channel\":\"a\",\"event\":\"a\\nb\",\"data\":1}",
		PROTOCOL_BAD_EVENT},
	    {"{\"channel\":\"a\",\"event\":\"control.open\",\"data\":1}",
		PROTOCOL_BAD_EVENT},
	    {"{\"channel\":\"a\",\"event\":\"system.x\",\"data\":1}",
		PROTOCOL_BAD_EVENT},
	    {"{\"channel\":\"a\",\"event\":\"" LONG129 "\",\"data\":1}",
		PROTOCOL_BAD_EVENT},
	    {"{\"channel\":\"a\",\"data\":1,\"key\":\"\"}",
		PROTOCOL_BAD_REQUEST},
	    {"{\"channel\":\"a\",\"data\":1,\"key\":7}", PROTOCOL_BAD_REQUEST},
	    {"{\"channel\":\"a\",\"data\":1,\"key\":null}",
		PROTOCOL_BAD_REQUEST},
	    {"{\"channel\":\"a\",\"data\":1,\"key\":\"" LONG129 "\"}",
		PROTOCOL_BAD_REQUEST},
	    {"{\"channel\":\"a\",\"data\":1,\"trace\":\"nonsense\"}",
		PROTOCOL_BAD_REQUEST},
	    {"{\"channel\":\"a\",\"data\":1,\"ref\":true}",
		PROTOCOL_BAD_REQUEST},
	    {"{\"channel\":\"a\",\"data\":1,\"ref\":[1]}",
		PROTOCOL_BAD_REQUEST},
	    {"{\"op\":\"nonsense\"}", PROTOCOL_BAD_REQUEST},
	    {"{\"op\":7}", PROTOCOL_BAD_REQUEST},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		want_error(rows[i].line, rows[i].code);
}

static void
depth_is_bounded(void **state)
{
	char line[4096];
	size_t n = 0;
	int i;

	(void)state;
	n = (size_t)snprintf(line, sizeof(line),
	    "{\"channel\":\"a\",\"data\":");
	for (i = 0; i < 1000; i++)
		line[n++] = '[';
	for (i = 0; i < 1000; i++)
		line[n++] = ']';
	line[n++] = '}';
	line[n] = '\0';
	want_error(line, PROTOCOL_BAD_JSON);
}

/* ---- refs --------------------------------------------------------------- */

static void
a_ref_is_kept_as_it_was_written(void **state)
{
	char line[600], ref[300];

	(void)state;
	assert_span(parse("{\"op\":\"ping\",\"ref\":\"r\\n\\u00e9\"}").ref,
	    SPAN("\"r\\n\\u00e9\""));
	assert_span(parse("{\"op\":\"ping\",\"ref\": -1.50e3 }").ref,
	    SPAN("-1.50e3"));
	assert_span(parse("{\"ref\":\"x\",\"channel\":\"!\"}").ref,
	    SPAN("\"x\""));
	assert_span(parse("{\"ref\":1,\"op\":\"nonsense\"}").ref, SPAN("1"));
	memset(ref, 'r', sizeof(ref));
	(void)snprintf(line, sizeof(line),
	    "{\"op\":\"ping\",\"ref\":\"%.254s\"}", ref);
	assert_int_equal(parse(line).op, OP_PING);
	(void)snprintf(line, sizeof(line),
	    "{\"op\":\"ping\",\"ref\":\"%.255s\"}", ref);
	want_error(line, PROTOCOL_BAD_REQUEST);
}

/* ---- arrays ------------------------------------------------------------- */

static void
an_array_is_all_its_events(void **state)
{
	struct protocol_request r = parse(
	    "[{\"channel\":\"a\",\"data\":1,\"key\":\"k\"} , "
	    "{\"channel\":\"b\",\"event\":\"e\",\"data\":\"\\n2\"}]");

	(void)state;
	assert_int_equal(r.op, OP_ARRAY);
	assert_int_equal(r.n_events, 2);
	assert_span(r.events[0].e.key, SPAN("k"));
	assert_span(r.events[1].e.event, SPAN("e"));
	assert_span(r.events[1].e.data, SPAN("\n2"));
}

static void
an_array_s_error_names_the_element(void **state)
{
	static const struct {
		const char *line;
		enum protocol_error code;
		int64_t index;
	} rows[] = {
	    {"[]", PROTOCOL_BAD_REQUEST, -1},
	    {"[17]", PROTOCOL_BAD_REQUEST, 0},
	    {"[{\"channel\":\"a\",\"data\":1},null]", PROTOCOL_BAD_REQUEST, 1},
	    {"[{\"channel\":\"a\",\"data\":1},{\"channel\":\"\",\"data\":1}]",
		PROTOCOL_BAD_CHANNEL, 1},
	    {"[{\"op\":\"ping\"}]", PROTOCOL_BAD_REQUEST, 0},
	    {"[[{\"channel\":\"a\",\"data\":1}]]", PROTOCOL_BAD_REQUEST, 0},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		want_error(rows[i].line, rows[i].code);
		assert_int_equal(parse(rows[i].line).failure.index,
		    rows[i].index);
	}
}

static void
an_array_holds_ten_thousand_events_and_no_more(void **state)
{
	static const char one[] = "{\"channel\":\"a\",\"data\":1},";
	struct buf b;
	struct protocol_request r;
	int i;

	(void)state;
	buf_init(&b, 1 << 20);
	assert_status(buf_append(&b, SPAN("[")), ST_OK);
	for (i = 0; i < PROTOCOL_MAX_EVENTS; i++)
		assert_status(buf_append(&b, span_str(one)), ST_OK);
	buf_truncate(&b, b.len - 1);
	assert_status(buf_append(&b, SPAN("]")), ST_OK);
	r = parse_span(buf_span(&b));
	assert_int_equal(r.op, OP_ARRAY);
	assert_int_equal(r.n_events, PROTOCOL_MAX_EVENTS);
	assert_span(r.events[9999].e.channel, SPAN("a"));
	buf_truncate(&b, b.len - 1);
	assert_status(buf_append(&b, SPAN(",{}]")), ST_OK);
	r = parse_span(buf_span(&b));
	assert_int_equal(r.op, OP_ERROR);
	assert_int_equal(r.failure.code, PROTOCOL_TOO_LARGE);
	assert_int_equal(r.failure.index, PROTOCOL_MAX_EVENTS);
	buf_fini(&b);
}

/* ---- operations --------------------------------------------------------- */

static void
operations_are_told_apart(void **state)
{
	(void)state;
	assert_int_equal(parse("{\"op\":\"ping\"}").op, OP_PING);
	assert_int_equal(parse("{\"op\":\"watch\",\"role\":\"worker\"}").op,
	    OP_WATCH);
	assert_int_equal(parse("{\"op\":\"reset_counters\"}").op, OP_RESET);
}

static void
a_watch_in_the_role_of_a_process_of_ours_is_told_apart(void **state)
{
	const char *const others[] = {"{\"op\":\"watch\"}",
	    "{\"op\":\"watch\",\"role\":\"tail\"}",
	    "{\"op\":\"watch\",\"role\":\"pubd\"}",
	    "{\"op\":\"watch\",\"role\":[\"worker\"]}",
	    "{\"op\":\"watch\",\"role\":7}",
	    "{\"op\":\"watch\",\"role\":\"\"}"};
	size_t i;

	(void)state;
	assert_true(parse("{\"op\":\"watch\",\"role\":\"worker\"}").ours);
	assert_true(parse("{\"op\":\"watch\",\"role\":\"cgi\"}").ours);
	assert_true(parse("{\"op\":\"watch\",\"role\":\"metrics\"}").ours);
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(parse(others[i]).ours);
}

#define REPORT                                                                 \
	"{\"op\":\"report\",\"name\":\"worker-7-9\",\"role\":\"worker\","      \
	"\"version\":\"1\""

static void
a_watch_may_ask_for_times(void **state)
{
	(void)state;
	assert_true(parse("{\"op\":\"watch\",\"timing\":true}").timing);
	assert_false(parse("{\"op\":\"watch\",\"timing\":false}").timing);
	assert_false(parse("{\"op\":\"watch\",\"timing\":\"true\"}").timing);
	assert_false(parse("{\"op\":\"watch\"}").timing);
}

static void
a_watch_is_woken_unless_it_says_no(void **state)
{
	(void)state;
	assert_true(parse("{\"op\":\"watch\"}").wake);
	assert_true(parse("{\"op\":\"watch\",\"wake\":true}").wake);
	assert_true(parse("{\"op\":\"watch\",\"wake\":\"false\"}").wake);
	assert_true(parse("{\"op\":\"watch\",\"wake\":null}").wake);
	assert_false(parse("{\"op\":\"watch\",\"role\":\"metrics\","
			   "\"wake\":false}")
			 .wake);
}

static void
a_report_is_a_row_of_the_status_table(void **state)
{
	struct protocol_request r = parse(
	    REPORT ",\"pid\":7,\"started_ms\":9,\"cursor\":3,\"head\":4,"
		   "\"streams\":5,\"counters\":{\"events_sent\":1},"
		   "\"gauges\":{\"rss_bytes\":2},"
		   "\"error_ms\":8,\"error\":\"a \\\"b\\\"\\u0000\"}");

	(void)state;
	assert_int_equal(r.op, OP_REPORT);
	assert_span(r.report->row.name, SPAN("worker-7-9"));
	assert_span(r.report->row.role, SPAN("worker"));
	assert_span(r.report->row.version, SPAN("1"));
	assert_int_equal(r.report->row.pid, 7);
	assert_int_equal(r.report->row.started_ms, 9);
	assert_int_equal(r.report->row.cursor, 3);
	assert_int_equal(r.report->row.head, 4);
	assert_int_equal(r.report->row.streams, 5);
	assert_span(r.report->row.counters, SPAN("{\"events_sent\":1}"));
	assert_span(r.report->row.gauges, SPAN("{\"rss_bytes\":2}"));
	assert_int_equal(r.report->row.error_ms, 8);
	assert_span(r.report->row.error, SPAN("a \"b\"\xef\xbf\xbd"));
	assert_int_equal(r.report->n_unknown, 0);
	r = parse(REPORT "}");
	assert_int_equal(r.op, OP_REPORT);
	assert_span(r.report->row.counters, SPAN("{}"));
	assert_span(r.report->row.gauges, SPAN("{}"));
	assert_int_equal(r.report->row.error_ms, 0);
	assert_null(r.report->row.error.p);
}

static void
only_the_catalogues_metrics_are_kept_of_a_report(void **state)
{
	struct protocol_request r = parse(
	    REPORT ",\"counters\":{ \"x\":1, \"events_sent\" : 2,"
		   "\"delivery.3\":4,\"delivery.sum\":5,\"delivery.21\":6,"
		   "\"rss_bytes\":7,\"events_sent\":3,\"channel:a\":8}}");

	(void)state;
	assert_int_equal(r.op, OP_REPORT);
	assert_span(r.report->row.counters,
	    SPAN("{\"events_sent\":3,\"delivery.3\":4,\"delivery.sum\":5}"));
	assert_int_equal(r.report->n_unknown, 4);
}

static void
a_long_error_is_cut_between_characters(void **state)
{
	char line[1024], text[400];
	struct protocol_request r;
	size_t i;

	(void)state;
	for (i = 0; i < 130; i++) /* of 2 bytes each */
		memcpy(text + 2 * i, "\xc3\xa4", 3);
	(void)snprintf(line, sizeof(line),
	    "%s,\"error_ms\":1,\"error\":\"%s\"}", REPORT, text);
	r = parse(line);
	assert_int_equal(r.op, OP_REPORT);
	assert_span(r.report->row.error, span_of(text, 254));
	text[WIRE_MAX_ERROR - 1] = 'x';
	text[WIRE_MAX_ERROR] = '\0';
	(void)snprintf(line, sizeof(line),
	    "%s,\"error_ms\":1,\"error\":\"%s\"}", REPORT, text);
	assert_span(parse(line).report->row.error, span_str(text));
}

static void
a_report_that_lacks_something_is_refused(void **state)
{
	static const char *const lines[] = {"{\"op\":\"report\"}",
	    "{\"op\":\"report\",\"name\":7,\"role\":\"cgi\",\"version\":\"1\"}",
	    "{\"op\":\"report\",\"name\":\"n\",\"version\":\"1\"}",
	    "{\"op\":\"report\",\"name\":\"n\",\"role\":\"cgi\"}",
	    "{\"op\":\"report\",\"name\":\"n\",\"role\":\"totals\","
	    "\"version\":\"1\"}",
	    "{\"op\":\"report\",\"name\":\"n\",\"role\":\"pubd\","
	    "\"version\":\"1\"}",
	    REPORT ",\"pid\":\"x\"}", REPORT ",\"streams\":1.5}",
	    REPORT ",\"streams\":-1}", REPORT ",\"counters\":[]}",
	    REPORT ",\"counters\":null}",
	    REPORT ",\"counters\":{\"events_sent\":-1}}",
	    REPORT ",\"counters\":{\"events_sent\":1e3}}",
	    REPORT ",\"counters\":{\"events_sent\":{}}}",
	    REPORT ",\"counters\":{\"events_sent\":9007199254740993}}",
	    REPORT ",\"counters\":{\"x\":99999999999999999999}}",
	    REPORT ",\"gauges\":7}", REPORT ",\"error_ms\":1}",
	    REPORT ",\"error_ms\":1,\"error\":[]}"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		want_error(lines[i], PROTOCOL_BAD_REQUEST);
		assert_true(parse(lines[i]).of_report);
	}
	assert_false(parse("{\"op\":\"other\"}").of_report);
}

#define TOLD_SPAN                                                              \
	"{\"op\":\"span\",\"trace\":\"" TRACE                                  \
	"\",\"start_us\":1,\"end_us\":2,"                                      \
	"\"id\":3,\"channel\":\"a\",\"type\":\"b\",\"bytes\":4,\"streams\":5"

static void
a_worker_tells_of_a_dispatch(void **state)
{
	struct protocol_request r = parse(TOLD_SPAN ",\"name\":\"dispatch\"}");

	(void)state;
	assert_int_equal(r.op, OP_SPAN);
	assert_span(r.span->trace, SPAN(TRACE));
	assert_int_equal(r.span->start_us, 1);
	assert_int_equal(r.span->end_us, 2);
	assert_int_equal(r.span->id, 3);
	assert_span(r.span->channel, SPAN("a"));
	assert_span(r.span->type, SPAN("b"));
	assert_int_equal(r.span->bytes, 4);
	assert_int_equal(r.span->streams, 5);
	want_error(TOLD_SPAN "}", PROTOCOL_BAD_REQUEST);
	want_error(TOLD_SPAN ",\"name\":\"commit\"}", PROTOCOL_BAD_REQUEST);
	want_error(TOLD_SPAN ",\"name\":\"dispatch\",\"bytes\":-1}",
	    PROTOCOL_BAD_REQUEST);
	want_error(TOLD_SPAN ",\"name\":\"dispatch\",\"trace\":\"00-1\"}",
	    PROTOCOL_BAD_REQUEST);
	want_error(TOLD_SPAN ",\"name\":\"dispatch\",\"channel\":\" \"}",
	    PROTOCOL_BAD_REQUEST);
}

static void
an_error_names_the_channel_when_that_was_valid(void **state)
{
	(void)state;
	assert_span(parse("{\"channel\":\"a\"}").failure.channel, SPAN("a"));
	assert_null(parse("{\"channel\":\"!\"}").failure.channel.p);
	assert_null(parse("{\"data\":1}").failure.channel.p);
}

/* ---- answers ------------------------------------------------------------ */

static void
want_answer(const struct protocol_request *r, const char *text)
{
	const struct store_bounds bounds = {.head = 46,
	    .oldest = 1,
	    .generation = "0123"};
	struct buf out;

	buf_init(&out, 1 << 20);
	assert_status(protocol_answer(&out, r, &bounds), ST_OK);
	assert_span(buf_span(&out), span_str(text));
	buf_fini(&out);
}

static void
metrics_http_are_as_the_manual_shows_them(void **state)
{
	struct protocol_request r = parse(
	    "{\"channel\":\"orders\",\"data\":1}");

	(void)state;
	r.events[0].e.id = 43;
	want_answer(&r, "{\"ok\":true,\"id\":43}\n");
	r = parse("{\"channel\":\"orders\",\"data\":1,\"ref\":\"a\"}");
	r.events[0].e.id = 44;
	want_answer(&r, "{\"ok\":true,\"id\":44,\"ref\":\"a\"}\n");
	r.events[0].duplicate = true;
	want_answer(&r,
	    "{\"ok\":true,\"id\":44,\"duplicate\":true,\"ref\":\"a\"}\n");
	r.ref = SPAN_NONE;
	want_answer(&r, "{\"ok\":true,\"id\":44,\"duplicate\":true}\n");
	r = parse("{\"op\":\"ping\"}");
	want_answer(&r,
	    "{\"ok\":true,\"head\":46,\"oldest\":1,\"generation\":\"0123\"}\n");
	r = parse("{\"op\":\"watch\",\"role\":\"worker\",\"ref\":7}");
	want_answer(&r, "{\"ok\":true,\"head\":46,\"ref\":7}\n");
	r.traces = true;
	want_answer(&r, "{\"ok\":true,\"head\":46,\"trace\":true,\"ref\":7}\n");
}

static void
an_array_is_answered_with_its_ids(void **state)
{
	struct protocol_request r = parse(
	    "[{\"channel\":\"a\",\"data\":1},{\"channel\":\"b\",\"data\":2},"
	    "{\"channel\":\"b\",\"data\":3}]");

	(void)state;
	r.events[0].e.id = 45;
	r.events[1].e.id = 46;
	r.events[2].e.id = 2;
	want_answer(&r, "{\"ok\":true,\"ids\":[45,46,2]}\n");
	r.events[0].duplicate = r.events[2].duplicate = true;
	want_answer(&r,
	    "{\"ok\":true,\"ids\":[45,46,2],\"duplicates\":[0,2]}\n");
}

static void
an_error_is_answered_with_code_and_sentence(void **state)
{
	struct protocol_request r = parse(
	    "{\"channel\":\"!\",\"data\":1,\"ref\":5}");

	(void)state;
	r.failure.message = SPAN("a \"b\"\n\xff");
	want_answer(&r,
	    "{\"ok\":false,\"error\":\"bad_channel\",\"message\":"
	    "\"a \\\"b\\\"\\n\\ufffd\",\"ref\":5}\n");
	r = parse("[{\"channel\":\"a\",\"data\":1},5]");
	r.failure.message = SPAN("m");
	want_answer(&r,
	    "{\"ok\":false,\"error\":\"bad_request\",\"message\":\"m\","
	    "\"index\":1}\n");
	protocol_fail(&r, PROTOCOL_BUSY, SPAN("later"));
	want_answer(&r,
	    "{\"ok\":false,\"error\":\"busy\",\"message\":\"later\"}\n");
	protocol_fail(&r, PROTOCOL_RATE_LIMITED, SPAN("m"));
	r.failure.retry_ms = 40;
	want_answer(&r,
	    "{\"ok\":false,\"error\":\"rate_limited\",\"message\":\"m\","
	    "\"retry_ms\":40}\n");
	r = parse("{\"op\":\"reset_counters\",\"ref\":3}");
	want_answer(&r, "{\"ok\":true,\"ref\":3}\n");
}

static void
reports_and_spans_have_no_answer(void **state)
{
	struct protocol_request r = parse(REPORT "}");

	(void)state;
	want_answer(&r, "");
	r = parse(TOLD_SPAN ",\"name\":\"dispatch\"}");
	want_answer(&r, "");
}

static void
a_head_is_one_line(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 100);
	assert_status(protocol_head(&out, 12, 0), ST_OK);
	assert_span(buf_span(&out), SPAN("{\"head\":12}\n"));
	buf_clear(&out);
	assert_status(protocol_head(&out, 12, 345), ST_OK);
	assert_span(buf_span(&out), SPAN("{\"head\":12,\"at_us\":345}\n"));
	buf_fini(&out);
}

/* ---- memory ------------------------------------------------------------- */

static void
a_line_is_refused_when_allocation_fails(void **state)
{
	struct protocol_request r;
	unsigned n;

	(void)state;
	for (n = 1; n < 50; n++) {
		line_copy = NULL;
		fault_alloc_at(n);
		protocol_parse(proto,
		    SPAN("[{\"channel\":\"a\",\"data\":\"\\n\"}]"), &r);
		if (!fault_hit())
			break;
		assert_int_equal(r.op, OP_ERROR);
		assert_int_equal(r.failure.code, PROTOCOL_UNAVAILABLE);
	}
	assert_true(n > 1 && n < 50);
	assert_int_equal(r.op, OP_ARRAY);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, free_line)
	const struct CMUnitTest tests[] = {
	    TEST(an_event_has_channel_name_and_data),
	    TEST(an_event_without_a_name_is_a_message),
	    TEST(a_trace_is_kept),
	    TEST(a_trace_of_a_later_version_is_kept_as_version_00),
	    TEST(members_come_in_any_order_with_any_space),
	    TEST(of_members_named_alike_the_last_counts),
	    TEST(names_inside_other_values_are_not_ours),
	    TEST(data_is_kept_as_it_was_written),
	    TEST(a_string_goes_out_as_its_text),
	    TEST(member_names_may_be_escaped_and_unknown_ones_are_ignored),
	    TEST(escapes_in_names_and_keys_are_decoded),
	    TEST(the_bound_on_data_counts_what_is_stored),
	    TEST(what_is_not_json_is_bad_json),
	    TEST(a_bad_json_message_names_the_byte),
	    TEST(each_member_has_its_error),
	    TEST(depth_is_bounded),
	    TEST(a_ref_is_kept_as_it_was_written),
	    TEST(an_array_is_all_its_events),
	    TEST(an_array_s_error_names_the_element),
	    TEST(an_array_holds_ten_thousand_events_and_no_more),
	    TEST(operations_are_told_apart),
	    TEST(a_watch_in_the_role_of_a_process_of_ours_is_told_apart),
	    TEST(a_watch_may_ask_for_times),
	    TEST(a_watch_is_woken_unless_it_says_no),
	    TEST(a_report_is_a_row_of_the_status_table),
	    TEST(only_the_catalogues_metrics_are_kept_of_a_report),
	    TEST(a_long_error_is_cut_between_characters),
	    TEST(a_report_that_lacks_something_is_refused),
	    TEST(a_worker_tells_of_a_dispatch),
	    TEST(an_error_names_the_channel_when_that_was_valid),
	    TEST(metrics_http_are_as_the_manual_shows_them),
	    TEST(an_array_is_answered_with_its_ids),
	    TEST(an_error_is_answered_with_code_and_sentence),
	    TEST(reports_and_spans_have_no_answer),
	    TEST(a_head_is_one_line),
	    TEST(a_line_is_refused_when_allocation_fails),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
/* Response heads and problem bodies, and the Accept header: http.h,
 * accept.h. */
#include "accept.h"
#include "http.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "unit.h"

#define assert_text(b, text) assert_text_at((b), (text), __LINE__)

static void
assert_text_at(const struct buf *b, const char *text, int line)
{
	struct span s = buf_span(b);

	if (!span_eq(s, span_str(text)))
		fail_msg("line %d: got <%.*s>, want <%s>", line, (int)s.len,
		    s.p, text);
}

static int
setup(void **state)
{
	struct buf *b = calloc(1, sizeof(*b));

	buf_init(b, 4096);
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

static void
a_stream_head_says_that_nothing_may_hold_it_back(void **state)
{
	struct buf *b = *state;

	assert_int_equal(http_stream_head(b, SPAN("s1"), SPAN_NONE), ST_OK);
	assert_text(b,
	    "Status: 200 OK\r\n"
	    "Content-Type: text/event-stream\r\n"
	    "Cache-Control: no-store, no-cache, no-transform\r\n"
	    "X-Accel-Buffering: no\r\n"
	    "X-Content-Type-Options: nosniff\r\n"
	    "X-SSE-Stream: s1\r\n"
	    "Vary: Origin\r\n"
	    "\r\n");
}

static void
a_stream_head_names_the_origin_that_may_read_it(void **state)
{
	struct buf *b = *state;
	struct span s;

	assert_int_equal(http_stream_head(b, SPAN("s1"), SPAN("https://a.b")),
	    ST_OK);
	assert_int_equal(buf_append(b, SPAN("\0")), ST_OK);
	s = buf_span(b);
	assert_non_null(strstr(s.p, "\r\nVary: Origin\r\n"));
	assert_non_null(
	    strstr(s.p, "\r\nAccess-Control-Allow-Origin: https://a.b\r\n"));
	assert_non_null(
	    strstr(s.p, "\r\nAccess-Control-Allow-Credentials: true\r\n"));
	assert_non_null(strstr(s.p,
	    "\r\nAccess-Control-Expose-Headers: X-SSE-Stream, "
	    "Retry-After\r\n"));
	buf_clear(b);
	assert_int_equal(http_stream_head(b, SPAN_NONE, SPAN("*")), ST_OK);
	assert_int_equal(buf_append(b, SPAN("\0")), ST_OK);
	s = buf_span(b);
	assert_null(strstr(s.p, "Vary"));
	assert_null(strstr(s.p, "X-SSE-Stream: "));
	assert_null(strstr(s.p, "Credentials"));
	assert_non_null(strstr(s.p, "Access-Control-Allow-Origin: *\r\n"));
}

static void
an_error_is_a_problem_document(void **state)
{
	const struct http_error e = {.status = 405,
	    .detail = SPAN("No \"POST\"\n."),
	    .allow = SPAN("GET, HEAD")};
	struct buf *b = *state;

	assert_int_equal(http_error(b, &e, SPAN_NONE, false), ST_OK);
	assert_text(b,
	    "Status: 405 Method Not Allowed\r\n"
	    "Content-Type: application/problem+json\r\n"
	    "Content-Length: 91\r\n"
	    "Cache-Control: no-store\r\n"
	    "X-Content-Type-Options: nosniff\r\n"
	    "Allow: GET, HEAD\r\n"
	    "Vary: Origin\r\n"
	    "\r\n"
	    "{\"type\":\"about:blank\",\"title\":\"Method Not Allowed\","
	    "\"status\":405,\"detail\":\"No \\\"POST\\\"\\n.\"}\n");
}

static void
an_error_for_head_has_no_body_but_its_length(void **state)
{
	const struct http_error e = {.status = 503,
	    .detail = SPAN("x"),
	    .retry_after_s = 7};
	struct buf *b = *state;

	assert_int_equal(http_error(b, &e, SPAN("*"), true), ST_OK);
	assert_text(b,
	    "Status: 503 Service Unavailable\r\n"
	    "Content-Type: application/problem+json\r\n"
	    "Content-Length: 79\r\n"
	    "Cache-Control: no-store\r\n"
	    "X-Content-Type-Options: nosniff\r\n"
	    "Retry-After: 7\r\n"
	    "Access-Control-Allow-Origin: *\r\n"
	    "Access-Control-Expose-Headers: X-SSE-Stream, Retry-After\r\n"
	    "\r\n");
}

/* Or the page cannot tell what is wrong. */
static void
an_error_may_be_read_by_the_pages_that_may_read_a_stream(void **state)
{
	const struct http_error e = {.status = 400, .detail = SPAN("x")};
	struct buf *b = *state;

	assert_int_equal(http_error(b, &e, SPAN("https://a.b"), true), ST_OK);
	assert_text(b,
	    "Status: 400 Bad Request\r\n"
	    "Content-Type: application/problem+json\r\n"
	    "Content-Length: 71\r\n"
	    "Cache-Control: no-store\r\n"
	    "X-Content-Type-Options: nosniff\r\n"
	    "Vary: Origin\r\n"
	    "Access-Control-Allow-Origin: https://a.b\r\n"
	    "Access-Control-Allow-Credentials: true\r\n"
	    "Access-Control-Expose-Headers: X-SSE-Stream, Retry-After\r\n"
	    "\r\n");
}

static void
a_preflight_names_methods_and_headers_to_an_allowed_origin(void **state)
{
	struct buf *b = *state;

	assert_int_equal(http_preflight(b, SPAN("https://a.b")), ST_OK);
	assert_text(b,
	    "Status: 204 No Content\r\n"
	    "Allow: GET, HEAD, OPTIONS\r\n"
	    "Cache-Control: no-store\r\n"
	    "Vary: Origin\r\n"
	    "Access-Control-Allow-Origin: https://a.b\r\n"
	    "Access-Control-Allow-Credentials: true\r\n"
	    "Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"
	    "Access-Control-Allow-Headers: Last-Event-ID, Cache-Control, "
	    "Authorization, traceparent, tracestate, X-Requested-With\r\n"
	    "Access-Control-Max-Age: 7200\r\n"
	    "\r\n");
}

static void
a_preflight_of_others_has_no_cors_headers(void **state)
{
	struct buf *b = *state;

	assert_int_equal(http_preflight(b, SPAN_NONE), ST_OK);
	assert_text(b,
	    "Status: 204 No Content\r\n"
	    "Allow: GET, HEAD, OPTIONS\r\n"
	    "Cache-Control: no-store\r\n"
	    "Vary: Origin\r\n"
	    "\r\n");
}

static void
a_whole_response_carries_its_length(void **state)
{
	struct buf *b = *state;

	assert_int_equal(
	    http_ok(b, 503, SPAN("application/json"), SPAN("{}"), false),
	    ST_OK);
	assert_text(b,
	    "Status: 503 Service Unavailable\r\n"
	    "Content-Type: application/json\r\n"
	    "Content-Length: 2\r\n"
	    "Cache-Control: no-store\r\n"
	    "X-Content-Type-Options: nosniff\r\n"
	    "\r\n{}");
	buf_clear(b);
	assert_int_equal(http_ok(b, 200, SPAN("text/plain"), SPAN("abc"), true),
	    ST_OK);
	assert_text(b,
	    "Status: 200 OK\r\n"
	    "Content-Type: text/plain\r\n"
	    "Content-Length: 3\r\n"
	    "Cache-Control: no-store\r\n"
	    "X-Content-Type-Options: nosniff\r\n"
	    "\r\n");
}

static void
a_response_that_does_not_fit_leaves_the_buffer_as_it_was(void **state)
{
	const struct http_error e = {.status = 400, .detail = SPAN("x")};
	struct buf small;

	(void)state;
	buf_init(&small, 80);
	assert_int_equal(buf_append(&small, SPAN("before")), ST_OK);
	assert_int_equal(http_stream_head(&small, SPAN("s"), SPAN("*")),
	    ST_FULL);
	assert_int_equal(http_error(&small, &e, SPAN_NONE, false), ST_FULL);
	assert_int_equal(http_preflight(&small, SPAN("https://a.b")), ST_FULL);
	assert_int_equal(
	    http_ok(&small, 200, SPAN("text/plain"), SPAN("1234567890"), false),
	    ST_FULL);
	assert_text(&small, "before");
	buf_fini(&small);
}

/* Also when it is the body, made apart, for which there is no room. */
static void
an_error_is_whole_or_is_not_there(void **state)
{
	static char big[20 * 1024];
	struct http_error e = {.status = 400, .detail = SPAN("x")};
	struct buf out;
	unsigned n, i;

	(void)state;
	for (i = 0; i < 2; i++) {
		n = 0;
		do {
			buf_init(&out, 1 << 16);
			fault_alloc_at(++n);
			if (http_error(&out, &e, SPAN_NONE, i == 0) != ST_OK)
				assert_int_equal(out.len, 0);
			assert_status(buf_status(&out), ST_OK);
			buf_fini(&out);
		} while (fault_hit());
		assert_true(n > 2);
	}
	memset(big, 'x', sizeof(big));
	e.detail = span_of(big, sizeof(big));
	buf_init(&out, 1 << 16);
	assert_status(http_error(&out, &e, SPAN_NONE, true), ST_FULL);
	assert_status(http_error(&out, &e, SPAN_NONE, false), ST_FULL);
	assert_int_equal(out.len, 0);
	buf_fini(&out);
}

static void
every_reason_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(http_reason(405), "Method Not Allowed");
	assert_string_equal(http_reason(406), "Not Acceptable");
	assert_string_equal(http_reason(429), "Too Many Requests");
	assert_string_equal(http_reason(418), "Error");
}

static void
an_accept_header_is_read_as_rfc_9110_says(void **state)
{
	static const struct {
		const char *header;
		bool allowed;
	} rows[] = {
	    {NULL, true},
	    {"", true},
	    {" , ,", true},
	    {"text/event-stream", true},
	    {"TEXT/Event-Stream", true},
	    {"text/event-stream;charset=utf-8", true},
	    {"text/event-stream ; q=0.1", true},
	    {"*/*", true},
	    {"text/*", true},
	    {"Text/*;q=0.001", true},
	    {"text/html, text/event-stream;q=0.5", true},
	    {"application/json, */*;q=0.1", true},
	    {"text/html,application/xhtml+xml,*/*;q=0.8", true},
	    {"text/*;q=0, text/event-stream", true},
	    {"*/*;q=0, text/*", true},
	    {"text/event-stream;q=0, text/event-stream", true},
	    {"text/event-stream;q=1.000", true},
	    {"text/event-stream;q=nonsense", true},
	    {"text/event-stream;q", true},
	    {"text/event-stream;q=", true},
	    {"text/html;a=\"x,y;q=0\", text/event-stream", true},
	    {"text/event-stream;a=\";q=0\"", true},
	    {"application/json", false},
	    {"text/html", false},
	    {"text/event-stream;q=0", false},
	    {"text/event-stream; q=0.0", false},
	    {"text/event-stream;Q=0.000", false},
	    {"text/event-stream; charset=utf-8; q=0.", false},
	    {"*/*, text/event-stream;q=0", false},
	    {"text/event-stream;q=0, */*", false},
	    {"text/*;q=0, */*", false},
	    {"*/*;q=0", false},
	    {"text/event-streams", false},
	    {"text", false},
	    {"/", false},
	    {"*", false},
	    {"image/*", false},
	    {"text/html;a=\"text/event-stream", false},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (accept_allows(span_str(rows[i].header), SPAN("text"),
			SPAN("event-stream")) != rows[i].allowed)
			fail_msg("Accept: %s", rows[i].header);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_stream_head_says_that_nothing_may_hold_it_back),
	    TEST(a_stream_head_names_the_origin_that_may_read_it),
	    TEST(an_error_is_a_problem_document),
	    TEST(an_error_for_head_has_no_body_but_its_length),
	    TEST(an_error_may_be_read_by_the_pages_that_may_read_a_stream),
	    TEST(a_preflight_names_methods_and_headers_to_an_allowed_origin),
	    TEST(a_preflight_of_others_has_no_cors_headers),
	    TEST(a_whole_response_carries_its_length),
	    TEST(a_response_that_does_not_fit_leaves_the_buffer_as_it_was),
	    TEST(an_error_is_whole_or_is_not_there),
	    TEST(every_reason_has_a_name),
	    TEST(an_accept_header_is_read_as_rfc_9110_says),
	};

	return RUN(tests);
}

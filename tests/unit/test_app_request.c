/* SPDX-License-Identifier: MIT */
/* An application's FastCGI, in pieces and with lies. */
#include "app_request.h"

#include <string.h>

#include "app_answer.h"
#include "fault.h"
#include "unit.h"

#define END_OK "\1\3\0\1\0\10\0\0\0\0\0\0\0\0\0\0"

static enum status
take_in_pieces(struct app_response *r, struct span s, size_t piece)
{
	enum status st = ST_OK;

	app_response_init(r);
	while (st == ST_OK && s.len > 0) {
		size_t n = s.len < piece ? s.len : piece;

		st = app_response_take(r, span_of(s.p, n));
		s = span_skip(s, n);
	}
	return st;
}

static void
request_is_what_record_scan_reads(void **state)
{
	const struct app_param p[] = {{"A", SPAN("1")}, {"LONG", SPAN("")}};
	struct record_scan scan;
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	assert_status(app_request_put(&out, p, 2), ST_OK);
	assert_status(record_scan(buf_span(&out), &scan), ST_OK);
	assert_int_equal(scan.request_bytes, out.len);
	assert_non_null(
	    memmem(buf_span(&out).p, out.len, "\1\1A1\4\0LONG", 10));
	buf_fini(&out);
}

static void
request_that_does_not_fit_leaves_nothing(void **state)
{
	static char big[8192];
	const struct app_param p[] = {{"A", {big, sizeof(big)}}};
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	assert_status(app_request_put(&out, p, 1), ST_FULL);
	assert_int_equal(out.len, 0);
	buf_fini(&out);
}

static void
request_without_memory_is_an_error_and_no_crash(void **state)
{
	const struct app_param p[] = {{"A", SPAN("1")}};
	unsigned at;

	(void)state;
	for (at = 1; at < 10; at++) {
		struct buf out;
		enum status st;

		buf_init(&out, 4096);
		fault_alloc_at(at);
		st = app_request_put(&out, p, 1);
		if (!fault_hit()) {
			buf_fini(&out);
			break;
		}
		assert_status(st, ST_NOMEM);
		buf_fini(&out);
	}
	assert_true(at > 2 && at < 10);
}

static void
response_is_the_same_in_pieces_of_any_size(void **state)
{
	static const char text[] = "\1\6\0\1\0\12\3\0Status: 40xyz"
				   "\1\7\0\1\0\2\0\0no"
				   "\1\6\0\1\0\7\0\0"
				   "3\r\n\r\nok" END_OK;
	size_t piece;

	(void)state;
	for (piece = 1; piece <= sizeof(text); piece++) {
		struct app_response r;

		assert_status(
		    take_in_pieces(&r, span_of(text, sizeof(text) - 1), piece),
		    ST_END);
		assert_true(r.head_whole);
		assert_true(
		    span_eq(buf_span(&r.head), SPAN("Status: 403\r\n")));
		assert_int_equal(r.n_body, 2);
		assert_int_equal(r.n_stderr, 2);
		app_response_fini(&r);
	}
}

static void
response_of_another_protocol_is_refused(void **state)
{
	static const struct span bad[] = {
	    SPAN("HTTP/1.1 200 OK\r\n\r\n"),
	    SPAN("\2\6\0\1\0\0\0\0"),         /* version */
	    SPAN("\1\6\0\2\0\0\0\0"),         /* another request's */
	    SPAN("\1\3\0\1\0\4\0\0\0\0\0\0"), /* an end that is cut */
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct app_response r;

		assert_status(take_in_pieces(&r, bad[i], 3), ST_INVALID);
		app_response_fini(&r);
	}
}

static enum status
take_stream(struct app_response *r, enum record_type type, size_t n)
{
	static char zeros[RECORD_CONTENT_MAX];
	enum status st = ST_OK;

	memset(zeros, 'a', sizeof(zeros));
	while (st == ST_OK && n > 0) {
		char h[RECORD_HEADER_BYTES];
		size_t m = n < sizeof(zeros) ? n : sizeof(zeros);

		record_encode(h, type, 1, m);
		st = app_response_take(r, span_of(h, sizeof(h)));
		if (st == ST_OK)
			st = app_response_take(r, span_of(zeros, m));
		n -= m;
	}
	return st;
}

static void
response_past_its_bounds_is_refused(void **state)
{
	struct app_response r;

	(void)state;
	app_response_init(&r);
	assert_status(take_stream(&r, RECORD_STDOUT, APP_HEAD_MAX), ST_INVALID);
	app_response_fini(&r);

	app_response_init(&r);
	assert_status(app_response_take(&r, SPAN("\1\6\0\1\0\6\0\0A: b\n\n")),
	    ST_OK);
	assert_status(take_stream(&r, RECORD_STDOUT, APP_BODY_MAX), ST_OK);
	assert_status(take_stream(&r, RECORD_STDOUT, 1), ST_INVALID);
	app_response_fini(&r);

	app_response_init(&r);
	assert_status(take_stream(&r, (enum record_type)7, APP_BODY_MAX + 1),
	    ST_INVALID);
	app_response_fini(&r);
}

static void
answer_says_what_its_headers_say(void **state)
{
	struct app_answer a;

	(void)state;
	assert_status(app_answer_read(SPAN("status: 403 No\r\n"
					   "x-walcast-channels: a, b.*\r\n"
					   "Content-type: text/html\r\n"
					   "X-Walcast-Channels:c\n"
					   "X-Walcast-User: anna\r\n"
					   "X-Walcast-Max-Age: 7\r\n"),
			  &a),
	    ST_OK);
	assert_int_equal(a.status, 403);
	assert_int_equal(a.n_channels, 3);
	assert_true(span_eq(a.channel[1], SPAN("b.*")));
	assert_true(span_eq(a.channel[2], SPAN("c")));
	assert_true(span_eq(a.user, SPAN("anna")));
	assert_int_equal(a.max_age_s, 7);
}

static void
answer_that_is_odd_in_one_value_is_none(void **state)
{
	static const struct span bad[] = {SPAN("no header\n"), SPAN(": x\n"),
	    SPAN("Status: ok\n"), SPAN("Status: 20\n"), SPAN("Status:\n"),
	    SPAN("X-Walcast-Channels: a b*c\n"),
	    SPAN("X-Walcast-Channels: a\tb\n"), SPAN("X-Walcast-Max-Age: -1\n"),
	    SPAN("X-Walcast-Max-Age: 1.5\n"), SPAN("X-Walcast-User: a\1b\n"),
	    SPAN("X-Walcast-User: a\nX-Walcast-User: b\n"),
	    SPAN("Status: 403\nStatus: 200\n")};
	struct app_answer a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_status(app_answer_read(bad[i], &a), ST_INVALID);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(request_is_what_record_scan_reads),
	    cmocka_unit_test(request_that_does_not_fit_leaves_nothing),
	    cmocka_unit_test(request_without_memory_is_an_error_and_no_crash),
	    cmocka_unit_test(response_is_the_same_in_pieces_of_any_size),
	    cmocka_unit_test(response_of_another_protocol_is_refused),
	    cmocka_unit_test(response_past_its_bounds_is_refused),
	    cmocka_unit_test(answer_says_what_its_headers_say),
	    cmocka_unit_test(answer_that_is_odd_in_one_value_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* FastCGI records, and what is let through to libfcgi. */
#include "record.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "fault.h"
#include "unit.h"

#define GET_VALUES 9 /* FCGI_GET_VALUES, a management record */

/* A wire under construction; *state of every test. */
static int
setup(void **state)
{
	struct buf *b = calloc(1, sizeof(*b));

	buf_init(b, 1 << 20);
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
put(struct buf *b, const void *p, size_t n)
{
	assert_status(buf_append(b, span_of(p, n)), ST_OK);
}

struct raw {
	unsigned version, type, id;
	size_t padding;
};

static void
raw_record(struct buf *b, struct raw h, const void *content, size_t n)
{
	unsigned char head[8] = {(unsigned char)h.version,
	    (unsigned char)h.type, (unsigned char)(h.id >> 8),
	    (unsigned char)h.id, (unsigned char)(n >> 8), (unsigned char)n,
	    (unsigned char)h.padding, 0};
	const char padding[255] = {0};

	put(b, head, sizeof(head));
	put(b, content, n);
	put(b, padding, h.padding);
}

static void
rec(struct buf *b, unsigned type, const void *content, size_t n)
{
	raw_record(b, (struct raw){1, type, 1, 0}, content, n);
}

static void
begin(struct buf *b)
{
	rec(b, RECORD_BEGIN_REQUEST, "\0\1\0\0\0\0\0", 8);
}

/* Short lengths in one byte, long ones in four. */
static size_t
pair(char *out, const char *name, const char *value)
{
	size_t n = strlen(name), v = strlen(value), at = 0;

	assert_true(n < 128);
	out[at++] = (char)n;
	if (v < 128) {
		out[at++] = (char)v;
	} else {
		out[at++] = (char)(0x80 | v >> 24);
		out[at++] = (char)(v >> 16);
		out[at++] = (char)(v >> 8);
		out[at++] = (char)v;
	}
	memcpy(out + at, name, n);
	memcpy(out + at + n, value, v);
	return at + n + v;
}

static size_t
some_params(char *out)
{
	char big[301];
	size_t n;

	memset(big, 'x', 300);
	big[300] = '\0';
	n = pair(out, "REQUEST_METHOD", "GET");
	n += pair(out + n, "QUERY_STRING", big);
	n += pair(out + n, "EMPTY", "");
	return n;
}

static void
end_of_request(struct buf *b)
{
	rec(b, RECORD_PARAMS, "", 0);
	rec(b, RECORD_STDIN, "", 0);
}

static void
whole_request(struct buf *b)
{
	char text[1024];
	size_t n = some_params(text);

	begin(b);
	rec(b, RECORD_PARAMS, text, n);
	end_of_request(b);
}

static enum status
scan(const struct buf *b, struct record_scan *out)
{
	struct span s = buf_span(b);
	char *exact = malloc(s.len > 0 ? s.len : 1);
	enum status st;

	/* A copy without slack, so that a sanitizer sees a read past it. */
	if (s.len > 0)
		memcpy(exact, s.p, s.len);
	memset(out, 0, sizeof(*out));
	st = record_scan(span_of(exact, s.len), out);
	free(exact);
	return st;
}

static void
want(const struct buf *b, enum status st)
{
	struct record_scan out;

	assert_status(scan(b, &out), st);
	if (st == ST_INVALID || st == ST_TOOLARGE)
		assert_non_null(out.reason);
}

/* ---- one record --------------------------------------------------------- */

static void
a_header_is_read_byte_by_byte(void **state)
{
	struct record_header h = record_decode(
	    SPAN("\1\6\x12\x34\xab\xcd\7\0"));

	(void)state;
	assert_int_equal(h.version, 1);
	assert_int_equal(h.type, RECORD_STDOUT);
	assert_int_equal(h.request_id, 0x1234);
	assert_int_equal(h.content_len, 0xabcd);
	assert_int_equal(h.padding_len, 7);
}

static void
a_header_is_written_as_it_is_read(void **state)
{
	char out[RECORD_HEADER_BYTES];
	struct record_header h;

	(void)state;
	record_encode(out, RECORD_STDOUT, 0x1234, RECORD_CONTENT_MAX);
	assert_memory_equal(out, "\1\6\x12\x34\xff\xff\0\0", sizeof(out));
	h = record_decode(span_of(out, sizeof(out)));
	assert_int_equal(h.request_id, 0x1234);
	assert_int_equal(h.content_len, RECORD_CONTENT_MAX);
	assert_int_equal(h.padding_len, 0);
}

static void
the_end_is_an_empty_stdout_and_end_request(void **state)
{
	char out[RECORD_END_BYTES];

	(void)state;
	record_end(out, 0x0102, 0x03040506);
	assert_memory_equal(out,
	    "\1\6\1\2\0\0\0\0"
	    "\1\3\1\2\0\10\0\0"
	    "\3\4\5\6\0\0\0\0",
	    sizeof(out));
}

/* ---- whole requests ----------------------------------------------------- */

static void
text_is_put_into_records_or_not_at_all(void **state)
{
	struct buf *b = *state, small;
	char *text = calloc(1, 2 * RECORD_CONTENT_MAX);
	struct record_header h;
	struct span s;

	assert_non_null(text);
	assert_status(record_put(b, 7, span_of(text, RECORD_CONTENT_MAX + 3)),
	    ST_OK);
	s = buf_span(b);
	h = record_decode(s);
	assert_int_equal(h.type, RECORD_STDOUT);
	assert_int_equal(h.request_id, 7);
	assert_int_equal(h.content_len, RECORD_CONTENT_MAX);
	s = span_skip(s, RECORD_HEADER_BYTES + RECORD_CONTENT_MAX);
	h = record_decode(s);
	assert_int_equal(h.content_len, 3);
	assert_int_equal(s.len, RECORD_HEADER_BYTES + 3);
	buf_init(&small, RECORD_CONTENT_MAX + 16);
	assert_status(buf_append(&small, SPAN("x")), ST_OK);
	assert_status(
	    record_put(&small, 7, span_of(text, 2 * RECORD_CONTENT_MAX)),
	    ST_FULL);
	assert_span(buf_span(&small), SPAN("x"));
	assert_status(record_put(&small, 7, SPAN("")), ST_OK);
	assert_span(buf_span(&small), SPAN("x"));
	buf_fini(&small);
	free(text);
}

static void
the_last_text_ends_the_response_or_is_not_there(void **state)
{
	size_t whole = 2 * RECORD_HEADER_BYTES + RECORD_CONTENT_MAX + 3 +
	    RECORD_END_BYTES;
	char *text = calloc(1, RECORD_CONTENT_MAX + 3);
	char last[RECORD_END_BYTES];
	struct span s = span_of(text, RECORD_CONTENT_MAX + 3);
	struct buf b;

	(void)state;
	assert_non_null(text);
	record_end(last, 7, 0);
	buf_init(&b, 1 + whole);
	assert_status(buf_append(&b, SPAN("x")), ST_OK);
	assert_status(record_put_last(&b, 7, s), ST_OK);
	assert_int_equal(b.len, 1 + whole);
	assert_span(span_skip(buf_span(&b), 1 + whole - sizeof(last)),
	    span_of(last, sizeof(last)));
	buf_clear(&b);
	assert_status(record_put_last(&b, 7, SPAN_NONE), ST_OK);
	assert_span(buf_span(&b), span_of(last, sizeof(last)));
	buf_clear(&b);
	assert_status(buf_append(&b, SPAN("xy")), ST_OK);
	assert_status(record_put_last(&b, 7, s), ST_FULL);
	assert_span(buf_span(&b), SPAN("xy"));
	buf_fini(&b);
	fault_alloc_at(1);
	assert_status(record_put_last(&b, 7, s), ST_NOMEM);
	assert_true(fault_hit());
	assert_int_equal(b.len, 0);
	buf_fini(&b);
	free(text);
}

static void
a_whole_request_is_found_with_its_length(void **state)
{
	struct buf *b = *state;
	struct record_scan out;
	size_t len;

	whole_request(b);
	len = b->len;
	assert_status(scan(b, &out), ST_OK);
	assert_int_equal(out.request_bytes, len);
	assert_int_equal(out.request_id, 1);
	assert_false(out.aborted);
}

static void
bytes_after_a_request_are_refused(void **state)
{
	struct buf *b = *state;

	whole_request(b);
	put(b, "x", 1);
	want(b, ST_INVALID);
	buf_clear(b);
	whole_request(b);
	whole_request(b);
	want(b, ST_INVALID);
}

static void
every_truncation_of_a_request_waits_for_more(void **state)
{
	struct buf *b = *state;
	size_t len;

	rec(b, RECORD_BEGIN_REQUEST, "\0\1\1\0\0\0\0", 8);
	{
		char text[1024];
		size_t n = some_params(text);

		raw_record(b, (struct raw){1, RECORD_PARAMS, 1, 3}, text, n);
	}
	rec(b, RECORD_PARAMS, "", 0);
	raw_record(b, (struct raw){1, RECORD_STDIN, 1, 4}, "body", 4);
	rec(b, RECORD_STDIN, "", 0);
	want(b, ST_OK);
	for (len = b->len; len > 0;) {
		buf_truncate(b, --len);
		want(b, ST_AGAIN);
	}
}

static void
other_request_ids_are_served(void **state)
{
	static const unsigned types[] = {RECORD_PARAMS, RECORD_STDIN};
	struct buf *b = *state;
	struct record_scan out;
	size_t i;

	raw_record(b, (struct raw){1, RECORD_BEGIN_REQUEST, 0xfffe, 0},
	    "\0\1\0\0\0\0\0", 8);
	for (i = 0; i < 2; i++)
		raw_record(b, (struct raw){1, types[i], 0xfffe, 0}, "", 0);
	assert_status(scan(b, &out), ST_OK);
	assert_int_equal(out.request_id, 0xfffe);
}

static void
parameters_may_be_cut_into_records_anywhere(void **state)
{
	struct buf *b = *state;
	char text[1024];
	size_t n = some_params(text), cut, i;

	for (cut = 1; cut < n; cut++) {
		buf_clear(b);
		begin(b);
		rec(b, RECORD_PARAMS, text, cut);
		rec(b, RECORD_PARAMS, text + cut, n - cut);
		end_of_request(b);
		want(b, ST_OK);
	}
	buf_clear(b);
	begin(b);
	for (i = 0; i < n; i++)
		rec(b, RECORD_PARAMS, text + i, 1);
	end_of_request(b);
	want(b, ST_OK);
}

static void
a_body_may_come_in_several_records(void **state)
{
	struct buf *b = *state;

	begin(b);
	rec(b, RECORD_PARAMS, "", 0);
	rec(b, RECORD_STDIN, "ab", 2);
	rec(b, RECORD_STDIN, "c", 1);
	want(b, ST_AGAIN);
	rec(b, RECORD_STDIN, "", 0);
	want(b, ST_OK);
}

static void
an_aborted_request_is_told(void **state)
{
	struct buf *b = *state;
	struct record_scan out;

	begin(b);
	rec(b, RECORD_PARAMS, "", 0);
	rec(b, RECORD_ABORT_REQUEST, "", 0);
	assert_status(scan(b, &out), ST_OK);
	assert_true(out.aborted);
	assert_int_equal(out.request_bytes, b->len);
	assert_int_equal(out.request_id, 1);
	buf_clear(b);
	whole_request(b);
	rec(b, RECORD_ABORT_REQUEST, "", 0);
	assert_status(scan(b, &out), ST_OK);
	assert_true(out.aborted);
}

/* ---- what is refused ---------------------------------------------------- */

static void
other_versions_are_refused_at_once(void **state)
{
	static const unsigned versions[] = {0, 2, 71, 255};
	struct buf *b = *state;
	size_t i;

	for (i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		buf_clear(b);
		raw_record(b,
		    (struct raw){versions[i], RECORD_BEGIN_REQUEST, 1, 0},
		    "\0\1\0\0\0\0\0", 8);
		want(b, ST_INVALID);
	}
	buf_clear(b);
	put(b, "GET / HTTP/1.1\r\n\r\n", 18);
	want(b, ST_INVALID);
}

static void
request_id_zero_is_refused(void **state)
{
	struct buf *b = *state;

	raw_record(b, (struct raw){1, RECORD_BEGIN_REQUEST, 0, 0},
	    "\0\1\0\0\0\0\0", 8);
	want(b, ST_INVALID);
	buf_clear(b);
	begin(b);
	raw_record(b, (struct raw){1, RECORD_PARAMS, 0, 0}, "", 0);
	want(b, ST_INVALID);
}

static void
a_second_request_on_the_connection_is_refused(void **state)
{
	struct buf *b = *state;

	begin(b);
	raw_record(b, (struct raw){1, RECORD_PARAMS, 2, 0}, "", 0);
	want(b, ST_INVALID);
	buf_clear(b);
	begin(b);
	begin(b);
	want(b, ST_INVALID);
}

static void
types_that_a_request_has_no_use_for_are_refused(void **state)
{
	struct buf *b = *state;
	unsigned type;

	for (type = 0; type < 256; type++) {
		if (type == RECORD_ABORT_REQUEST || type == RECORD_PARAMS)
			continue;
		buf_clear(b);
		begin(b);
		rec(b, type, "", 0);
		want(b, ST_INVALID);
	}
}

static void
a_request_begins_with_begin(void **state)
{
	static const unsigned types[] = {RECORD_PARAMS, RECORD_STDIN,
	    RECORD_STDOUT, GET_VALUES, 0, 255};
	struct buf *b = *state;
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		buf_clear(b);
		rec(b, types[i], "", 0);
		want(b, ST_INVALID);
	}
}

static void
only_the_role_of_a_responder_is_served(void **state)
{
	static const char *const bodies[] = {"\0\2\0\0\0\0\0", "\0\3\0\0\0\0\0",
	    "\0\0\0\0\0\0\0", "\1\1\0\0\0\0\0"};
	struct buf *b = *state;
	size_t i;

	for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		buf_clear(b);
		rec(b, RECORD_BEGIN_REQUEST, bodies[i], 8);
		want(b, ST_INVALID);
	}
	buf_clear(b);
	rec(b, RECORD_BEGIN_REQUEST, "\0\1\0\0\0\0\0", 7);
	want(b, ST_INVALID);
}

static void
forty_queries_for_values_are_refused(void **state)
{
	struct buf *b = *state;
	char text[40 * 16];
	size_t i, n = 0;

	for (i = 0; i < 40; i++)
		n += pair(text + n, "FCGI_MAX_CONNS", "");
	raw_record(b, (struct raw){1, GET_VALUES, 0, 0}, text, n);
	want(b, ST_INVALID);
	buf_clear(b);
	begin(b);
	raw_record(b, (struct raw){1, GET_VALUES, 0, 0}, text, n);
	want(b, ST_INVALID);
}

static void
a_parameter_longer_than_what_there_is_is_refused(void **state)
{
	static const struct {
		const char *text;
		size_t n;
	} rows[] = {
	    {"\x01", 1},
	    {"\x01\x01", 2},
	    {"\x01\x01x", 3},
	    {"\x7f\x00name", 6},
	    {"\x80", 1},
	    {"\x80\x00\x00\x01", 4},
	    {"\x80\x00\x00\x01\x80\x00\x00\x01x", 9},
	    {"\x01\x80\x00\x00", 4},
	    {"\xff\xff\xff\xfe\xff\xff\xff\xfe", 8},
	    {"\xff\xff\xff\xfe\xff\xff\xff\xfexy", 10},
	    {"\xff\xff\xff\xff\x00x", 6},
	    {"\x00\xff\xff\xff\xffx", 6},
	    {"\x01\x00"
	     "a\x05\x00"
	     "b",
		6},
	};
	struct buf *b = *state;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_clear(b);
		begin(b);
		rec(b, RECORD_PARAMS, rows[i].text, rows[i].n);
		end_of_request(b);
		want(b, ST_INVALID);
	}
}

/* Nothing that a web server sends with default limits, and no lie either. */
static void
a_parameter_of_more_than_64_kib_is_too_large(void **state)
{
	static const struct {
		const char *text;
		size_t n;
	} rows[] = {
	    {"\x01\x80\x01\x00\x01x", 6},               /* value 65,537 */
	    {"\x80\x0f\xff\xff\x01x", 6},               /* name 1 MiB */
	    {"\x80\x00\xff\x00\x80\x00\x01\x01xx", 10}, /* together */
	};
	struct buf *b = *state;
	struct record_scan out;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_clear(b);
		begin(b);
		rec(b, RECORD_PARAMS, rows[i].text, rows[i].n);
		assert_status(scan(b, &out), ST_TOOLARGE);
		assert_true(out.in_params);
		assert_int_equal(out.request_id, 1);
		assert_non_null(out.reason);
	}
}

static void
more_parameters_than_we_keep_are_too_large(void **state)
{
	struct buf *b = *state;
	struct record_scan out;
	int i, n;

	for (n = RECORD_PARAMS_MAX; n <= RECORD_PARAMS_MAX + 1; n++) {
		buf_clear(b);
		begin(b);
		for (i = 0; i < n; i++)
			rec(b, RECORD_PARAMS, "\1\1ab", 4);
		end_of_request(b);
		assert_status(scan(b, &out),
		    n == RECORD_PARAMS_MAX ? ST_OK : ST_TOOLARGE);
		assert_int_equal(out.in_params, n != RECORD_PARAMS_MAX);
	}
}

/*
 * libfcgi forgets the padding of a record when it changes over to the next
 * kind, and reads it as records: 12 FCGI_MAX_CONNS in it smashed the stack.
 */
static void
padding_that_libfcgi_would_read_as_records_is_refused(void **state)
{
	struct buf *b = *state;

	raw_record(b, (struct raw){1, RECORD_BEGIN_REQUEST, 1, 8},
	    "\0\1\0\0\0\0\0", 8);
	end_of_request(b);
	want(b, ST_INVALID);
	buf_clear(b);
	begin(b);
	raw_record(b, (struct raw){1, RECORD_PARAMS, 1, 8}, "", 0);
	rec(b, RECORD_STDIN, "", 0);
	want(b, ST_INVALID);
}

static void
a_request_past_the_bound_is_too_large(void **state)
{
	struct buf *b = *state;
	struct record_scan out;
	char *text = calloc(1, 60000);
	size_t n = 60000;

	/* One parameter: lengths 1 + 4, name 1, value 59,994 bytes. */
	memcpy(text, "\x01\x80\x00\xea\x5ax", 6);
	begin(b);
	rec(b, RECORD_PARAMS, text, n);
	want(b, ST_AGAIN);
	rec(b, RECORD_PARAMS, text, n);
	assert_status(scan(b, &out), ST_TOOLARGE);
	assert_non_null(out.reason);
	assert_true(out.in_params);
	assert_int_equal(out.request_id, 1);
	free(text);
}

static void
a_body_past_the_bound_is_too_large(void **state)
{
	struct buf *b = *state;
	struct record_scan out;
	char *text = calloc(1, RECORD_CONTENT_MAX);

	begin(b);
	rec(b, RECORD_PARAMS, "", 0);
	rec(b, RECORD_STDIN, text, RECORD_CONTENT_MAX);
	rec(b, RECORD_STDIN, text, RECORD_CONTENT_MAX);
	assert_status(scan(b, &out), ST_TOOLARGE);
	assert_false(out.in_params);
	free(text);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_header_is_read_byte_by_byte),
	    TEST(a_header_is_written_as_it_is_read),
	    TEST(the_end_is_an_empty_stdout_and_end_request),
	    TEST(text_is_put_into_records_or_not_at_all),
	    TEST(the_last_text_ends_the_response_or_is_not_there),
	    TEST(a_whole_request_is_found_with_its_length),
	    TEST(bytes_after_a_request_are_refused),
	    TEST(every_truncation_of_a_request_waits_for_more),
	    TEST(other_request_ids_are_served),
	    TEST(parameters_may_be_cut_into_records_anywhere),
	    TEST(a_body_may_come_in_several_records),
	    TEST(an_aborted_request_is_told),
	    TEST(other_versions_are_refused_at_once),
	    TEST(request_id_zero_is_refused),
	    TEST(a_second_request_on_the_connection_is_refused),
	    TEST(types_that_a_request_has_no_use_for_are_refused),
	    TEST(a_request_begins_with_begin),
	    TEST(only_the_role_of_a_responder_is_served),
	    TEST(forty_queries_for_values_are_refused),
	    TEST(a_parameter_longer_than_what_there_is_is_refused),
	    TEST(padding_that_libfcgi_would_read_as_records_is_refused),
	    TEST(a_parameter_of_more_than_64_kib_is_too_large),
	    TEST(more_parameters_than_we_keep_are_too_large),
	    TEST(a_request_past_the_bound_is_too_large),
	    TEST(a_body_past_the_bound_is_too_large),
	};

	return RUN(tests);
}

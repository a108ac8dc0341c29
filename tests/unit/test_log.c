/* SPDX-License-Identifier: MIT */
/* Log lines, read back from a pipe that stands in for fd 2. */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "capture.h"
#include "clock.h"
#include "fault.h"
#include "json.h"
#include "jsontext.h"
#include "unit.h"

static int
teardown(void **state)
{
	(void)state;
	capture_stop();
	log_limit(10);
	return 0;
}

static void
assert_line(struct span got, const char *level_and_message)
{
	char expected[4096];

	(void)snprintf(expected, sizeof(expected), "prog[%ld]: %s\n",
	    (long)getpid(), level_and_message);
	assert_span(got, span_str(expected));
}

static void
a_line_names_program_process_and_level(void **state)
{
	(void)state;
	log_init("prog", LOG_TEXT, LOG_INFO_);
	capture_begin();
	log_error("broke %d", 3);
	assert_line(capture_end(), "error: broke 3");
	capture_begin();
	log_warnx("odd");
	assert_line(capture_end(), "warning: odd");
	capture_begin();
	log_info("began");
	assert_line(capture_end(), "began");
}

static void
a_warning_adds_errno_and_keeps_it(void **state)
{
	(void)state;
	log_init("prog", LOG_TEXT, LOG_INFO_);
	capture_begin();
	errno = ENOENT;
	log_warn("open %s", "x");
	assert_int_equal(errno, ENOENT);
	assert_line(capture_end(),
	    "warning: open x: No such file or directory");
	capture_begin();
	errno = EPERM;
	log_info("i");
	log_error("e");
	log_warnx("w");
	assert_int_equal(errno, EPERM);
	(void)capture_end();
}

static void
less_than_the_level_is_not_written(void **state)
{
	(void)state;
	log_init("prog", LOG_TEXT, LOG_WARN_);
	capture_begin();
	log_info("i");
	LOG_EVENT(LOG_DEBUG_, "d", LOG_INT("n", 1));
	assert_int_equal(capture_end().len, 0);
	log_init("prog", LOG_TEXT, LOG_DEBUG_);
	capture_begin();
	LOG_EVENT(LOG_DEBUG_, "d", LOG_INT("n", 1));
	assert_line(capture_end(), "d n=1");
	log_init("prog", LOG_TEXT, LOG_ERROR_);
	capture_begin();
	log_warnx("w");
	assert_int_equal(capture_end().len, 0);
}

static void
a_peer_cannot_forge_a_line(void **state)
{
	(void)state;
	log_init("prog", LOG_TEXT, LOG_INFO_);
	capture_begin();
	log_info("from %s", "a\nprog[1]: b\r\x1b[2J\x7f");
	assert_line(capture_end(), "from a?prog[1]: b??[2J?");
	/* C1: next line, and the start of a terminal's commands. */
	capture_begin();
	log_info("from %s",
	    "\xc2\x85prog\xc2\x9b"
	    "2J\xc2\xa0\xc3\x85\xc2");
	assert_line(capture_end(), "from ??prog??2J\xc2\xa0\xc3\x85?");
	/* Bytes of C1 alone, and what turns the direction of text. */
	capture_begin();
	log_info("%s", "\x9b\xe2\x80\xae\xd8\x9c\xe2\x81\xa9 \xe2\x80\x8d");
	assert_line(capture_end(), "????????? \xe2\x80\x8d");
}

static void
a_long_message_is_cut_to_one_line(void **state)
{
	static char big[9000];
	struct span line;

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	log_init("prog", LOG_TEXT, LOG_INFO_);
	capture_begin();
	log_info("%s", big);
	line = capture_end();
	assert_in_range(line.len, 2000, 2200);
	assert_ptr_equal(memchr(line.p, '\n', line.len), line.p + line.len - 1);
	errno = ENOENT;
	capture_begin();
	log_warn("%s", big);
	assert_in_range(capture_end().len, 2000, 2200);
}

static void
json_lines_are_json(void **state)
{
	struct json_parser *parser = NULL;
	struct json *root = NULL;
	struct span line;
	size_t at;
	int64_t n;

	(void)state;
	log_init("prog", LOG_JSON, LOG_INFO_);
	capture_begin();
	log_warnx("say \"%s\" \\ \xff", "h\xc3\xa9");
	line = capture_end();
	assert_int_equal(line.p[line.len - 1], '\n');
	line.len--;
	assert_status(jsontext_check(line, &at), ST_OK);
	assert_status(json_parser_new(&parser), ST_OK);
	assert_status(json_parse(parser, line, &root, NULL), ST_OK);
	assert_span(json_text(json_get(root, "msg")),
	    SPAN("say \"h\xc3\xa9\" \\ \xef\xbf\xbd"));
	assert_span(json_text(json_get(root, "level")), SPAN("warning"));
	assert_span(json_text(json_get(root, "program")), SPAN("prog"));
	assert_true(json_int(json_get(root, "pid"), &n) && n == getpid());
	assert_true(json_int(json_get(root, "ts_ms"), &n) && n > 1000000000000);
	json_free(&root);
	json_parser_free(&parser);
}

/* ---- events ------------------------------------------------------------- */

static void
an_event_is_a_name_and_fields(void **state)
{
	(void)state;
	log_init("prog", LOG_TEXT, LOG_INFO_);
	capture_begin();
	LOG_EVENT(LOG_INFO_, "stream.open", LOG_STR("stream", SPAN("w1-7")),
	    LOG_INT("from", -1), LOG_STR("remote", SPAN("192.0.2.1")),
	    LOG_INT("bytes", INT64_MAX));
	assert_line(capture_end(),
	    "stream.open stream=w1-7 from=-1 remote=192.0.2.1 "
	    "bytes=9223372036854775807");
	capture_begin();
	LOG_EVENT(LOG_WARN_, "commit.failed", LOG_INT("events", 0));
	assert_line(capture_end(), "warning: commit.failed events=0");
}

static void
fields_without_text_are_left_out(void **state)
{
	(void)state;
	log_init("prog", LOG_TEXT, LOG_INFO_);
	capture_begin();
	LOG_EVENT(LOG_INFO_, "e", LOG_STR("a", SPAN_NONE),
	    LOG_STR("b", SPAN("")), LOG_STR("c", SPAN("x")));
	assert_line(capture_end(), "e c=x");
	capture_begin();
	LOG_EVENT(LOG_INFO_, "e", LOG_STR("a", SPAN_NONE));
	assert_line(capture_end(), "e");
	log_init("prog", LOG_JSON, LOG_INFO_);
	capture_begin();
	LOG_EVENT(LOG_INFO_, "e", LOG_STR("a", SPAN_NONE), LOG_INT("n", 0));
	assert_non_null(strstr(capture_end().p, ",\"event\":\"e\",\"n\":0}\n"));
}

/* So that fields part at spaces and names at the first '='. */
static void
fields_are_quoted_when_they_must_be(void **state)
{
	const struct {
		struct span value;
		const char *line;
	} list[] = {
	    {SPAN("a/b?c:[::1]-,'\\"), "e f=a/b?c:[::1]-,'\\"},
	    {SPAN("a b"), "e f=\"a b\""},
	    {SPAN("a=b"), "e f=\"a=b\""},
	    {SPAN("a\"b\\"), "e f=\"a\\\"b\\\\\""},
	    {SPAN("h\xc3\xa9"), "e f=\"h\xc3\xa9\""},
	    {SPAN("\xff"), "e f=\"\\ufffd\""},
	};
	size_t i;

	(void)state;
	log_init("prog", LOG_TEXT, LOG_INFO_);
	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		capture_begin();
		LOG_EVENT(LOG_INFO_, "e", LOG_STR("f", list[i].value));
		assert_line(capture_end(), list[i].line);
	}
}

static void
a_field_cannot_forge_a_line(void **state)
{
	enum log_format format;
	struct span line;
	char all[256];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(all); i++)
		all[i] = (char)i;
	for (format = LOG_TEXT; format <= LOG_JSON; format++) {
		log_init("prog", format, LOG_INFO_);
		capture_begin();
		LOG_EVENT(LOG_INFO_, "e",
		    LOG_STR("a", SPAN("x\nprog[1]: y\r\x1b[2J\x7f\0z")),
		    LOG_STR("b", span_of(all, sizeof(all))),
		    LOG_STR("c",
			SPAN("\xc2\x85\xc2\x9b"
			     "2J")));
		line = capture_end();
		assert_ptr_equal(memchr(line.p, '\n', line.len),
		    line.p + line.len - 1);
		for (i = 0; i + 1 < line.len; i++)
			assert_true((unsigned char)line.p[i] >= 0x20 &&
			    line.p[i] != 0x7f);
		assert_null(memmem(line.p, line.len, "\xc2\x85", 2));
		assert_null(memmem(line.p, line.len, "\xc2\x9b", 2));
		assert_non_null(memmem(line.p, line.len, "x\\nprog", 7));
	}
}

static void
an_event_in_json_is_an_object(void **state)
{
	struct json_parser *parser = NULL;
	struct json *root = NULL;
	struct span line;
	int64_t n;

	(void)state;
	log_init("prog", LOG_JSON, LOG_INFO_);
	capture_begin();
	LOG_EVENT(LOG_WARN_, "stream.gap", LOG_STR("stream", SPAN("w1-7")),
	    LOG_STR("why", SPAN("a \"b\"\n\xff=")), LOG_INT("from", -5));
	line = capture_end();
	assert_int_equal(line.p[line.len - 1], '\n');
	line.len--;
	assert_status(json_parser_new(&parser), ST_OK);
	assert_status(json_parse(parser, line, &root, NULL), ST_OK);
	assert_span(json_text(json_get(root, "level")), SPAN("warning"));
	assert_span(json_text(json_get(root, "event")), SPAN("stream.gap"));
	assert_span(json_text(json_get(root, "stream")), SPAN("w1-7"));
	assert_span(json_text(json_get(root, "why")),
	    SPAN("a \"b\"\n\xef\xbf\xbd="));
	assert_true(json_int(json_get(root, "from"), &n) && n == -5);
	assert_true(json_int(json_get(root, "pid"), &n) && n == getpid());
	assert_null(json_get(root, "msg"));
	json_free(&root);
	json_parser_free(&parser);
}

static void
a_field_is_cut_at_512_bytes(void **state)
{
	static char big[700], expected[700];

	(void)state;
	memset(big, 'x', sizeof(big));
	log_init("prog", LOG_TEXT, LOG_INFO_);
	capture_begin();
	LOG_EVENT(LOG_INFO_, "e", LOG_STR("f", span_of(big, sizeof(big))),
	    LOG_INT("n", 1));
	(void)snprintf(expected, sizeof(expected), "e f=%.512s n=1", big);
	assert_line(capture_end(), expected);
	/* Not inside a character. */
	memcpy(big + 510, "\xe2\x82\xac", 3);
	capture_begin();
	LOG_EVENT(LOG_INFO_, "e", LOG_STR("f", span_of(big, sizeof(big))));
	(void)snprintf(expected, sizeof(expected), "e f=%.510s", big);
	assert_line(capture_end(), expected);
	/* That are no characters at all. */
	memset(big, '\x80', sizeof(big));
	capture_begin();
	LOG_EVENT(LOG_INFO_, "e", LOG_STR("f", span_of(big, sizeof(big))));
	assert_in_range(capture_end().len, 508 * 6, 512 * 6 + 100);
}

/*
 * Each control byte becomes six: five such fields and a plain one nearly fill
 * the line, and the next one ends before, at and behind each of its last bytes.
 */
static void
huge_fields_do_not_lose_the_line(void **state)
{
	static char bad[4096], plain[512];
	struct span b = span_of(bad, sizeof(bad)), line;
	enum log_format format;
	size_t at, n, longest = 0;

	(void)state;
	memset(bad, '\x01', sizeof(bad));
	memset(plain, 'x', sizeof(plain));
	for (n = 0; n < 2 * sizeof(plain); n++) {
		format = n % 2 == 0 ? LOG_TEXT : LOG_JSON;
		log_init("prog", format, LOG_INFO_);
		capture_begin();
		LOG_EVENT(LOG_INFO_, "e", LOG_STR("a", b), LOG_STR("b", b),
		    LOG_STR("c", b), LOG_STR("d", b), LOG_STR("e", b),
		    LOG_STR("f", span_of(plain, sizeof(plain))),
		    LOG_STR("g", span_of(plain, n / 2)), LOG_STR("h", b));
		line = capture_end();
		assert_in_range(line.len, 5 * 3072 + 512, 16384);
		assert_int_equal(line.p[line.len - 1], '\n');
		if (format == LOG_JSON)
			assert_status(jsontext_check(line, &at), ST_OK);
		if (line.len > longest)
			longest = line.len;
	}
	assert_int_equal(longest, 16384);
}

static void
an_event_of_less_than_the_level_is_not_written(void **state)
{
	(void)state;
	log_init("prog", LOG_TEXT, LOG_WARN_);
	assert_true(log_wants(LOG_ERROR_));
	assert_true(log_wants(LOG_WARN_));
	assert_false(log_wants(LOG_INFO_));
	capture_begin();
	LOG_EVENT(LOG_INFO_, "e", LOG_INT("n", 1));
	assert_int_equal(capture_end().len, 0);
}

static void
an_event_keeps_errno(void **state)
{
	int fd = open("/dev/null", O_RDONLY); /* cannot be written */

	(void)state;
	assert_true(fd >= 0);
	log_init("prog", LOG_TEXT, LOG_INFO_);
	capture_begin();
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	errno = ENOENT;
	LOG_EVENT(LOG_WARN_, "e", LOG_INT("n", 1));
	assert_int_equal(errno, ENOENT);
	(void)capture_end();
	(void)close(fd);
}

/* ---- the last error ----------------------------------------------------- */

static void
the_last_error_is_remembered(void **state)
{
	int64_t before = clock_real_ms();

	(void)state;
	log_init("prog", LOG_JSON, LOG_INFO_);
	capture_begin();
	log_warnx("no room in %s", "a\nb");
	log_info("after it");
	LOG_EVENT(LOG_INFO_, "e", LOG_INT("n", 1));
	(void)capture_end();
	assert_string_equal(log_last_error()->text, "no room in a?b");
	assert_in_range(log_last_error()->ts_ms, before, clock_real_ms());
	capture_begin();
	log_error("worse");
	(void)capture_end();
	assert_string_equal(log_last_error()->text, "worse");
	log_init("prog", LOG_TEXT, LOG_ERROR_);
	log_warnx("not written");
	LOG_EVENT(LOG_WARN_, "not.written", LOG_INT("n", 1));
	assert_string_equal(log_last_error()->text, "worse");
}

static void
an_event_is_remembered_with_its_fields(void **state)
{
	static char big[600];
	struct span x = span_of(big, sizeof(big));

	(void)state;
	memset(big, 'x', sizeof(big));
	log_init("prog", LOG_JSON, LOG_INFO_);
	capture_begin();
	LOG_EVENT(LOG_WARN_, "commit.failed", LOG_STR("why", SPAN("disk full")),
	    LOG_STR("big", x), LOG_INT("events", 3));
	(void)capture_end();
	assert_string_equal(log_last_error()->text,
	    "commit.failed why=\"disk full\" events=3");
	/* Without memory, too. */
	capture_begin();
	fault_alloc_at(1);
	LOG_EVENT(LOG_ERROR_, "no.memory", LOG_INT("n", 1));
	assert_false(fault_hit());
	(void)capture_end();
	assert_string_equal(log_last_error()->text, "no.memory n=1");
	/* A message is cut to fit. */
	capture_begin();
	log_warnx("%.*s", (int)x.len, x.p);
	(void)capture_end();
	assert_int_equal(strlen(log_last_error()->text), 255);
}

static void
a_line_needs_no_memory(void **state)
{
	(void)state;
	log_init("prog", LOG_TEXT, LOG_INFO_);
	capture_begin();
	fault_alloc_at(1);
	log_error("out of memory");
	assert_line(capture_end(), "error: out of memory");
	capture_begin();
	LOG_EVENT(LOG_WARN_, "commit.failed", LOG_STR("why", SPAN("no memory")),
	    LOG_INT("events", 3));
	assert_line(capture_end(),
	    "warning: commit.failed why=\"no memory\" events=3");
	assert_false(fault_hit());
}

static void
the_gate_lets_ten_lines_a_second_pass(void **state)
{
	struct log_gate g = {0};
	int i;

	(void)state;
	log_init("prog", LOG_TEXT, LOG_INFO_);
	capture_begin();
	for (i = 0; i < 10; i++)
		assert_true(log_gate(&g, 5000000 + (uint64_t)i));
	for (i = 0; i < 7; i++)
		assert_false(log_gate(&g, 5999999));
	assert_int_equal(capture_end().len, 0);
}

static void
the_gate_says_how_many_it_held(void **state)
{
	struct log_gate g = {0};
	int i;

	(void)state;
	log_init("prog", LOG_TEXT, LOG_INFO_);
	for (i = 0; i < 17; i++)
		(void)log_gate(&g, 5000000);
	capture_begin();
	log_warnx("an error");
	(void)capture_end();
	capture_begin();
	assert_true(log_gate(&g, 6000000));
	assert_line(capture_end(),
	    "warning: 7 lines like the next were left out");
	/* That is no error of the program. */
	assert_string_equal(log_last_error()->text, "an error");
	capture_begin();
	assert_true(log_gate(&g, 7000000));
	assert_int_equal(capture_end().len, 0);
}

static void
a_state_that_lasts_is_told_once_a_minute(void **state)
{
	struct log_state s = {0};

	(void)state;
	assert_true(log_state(&s, 0, 5000000));
	assert_false(log_state(&s, 0, 5000000));
	assert_false(log_state(&s, 0, 64999999));
	assert_true(log_state(&s, 0, 65000000));
	assert_false(log_state(&s, 0, 65000001));
}

static void
another_reason_of_a_state_is_told_at_once(void **state)
{
	struct log_state s = {0};

	(void)state;
	assert_true(log_state(&s, ST_IO, 5000000));
	assert_true(log_state(&s, ST_DENIED, 5000001));
	assert_false(log_state(&s, ST_DENIED, 5000002));
}

static void
a_state_that_has_ended_is_told_when_it_begins_again(void **state)
{
	struct log_state s = {0};

	(void)state;
	assert_true(log_state(&s, 0, 5000000));
	log_state_over(&s);
	assert_true(log_state(&s, 0, 5000001));
}

static void
the_limit_is_of_each_gate(void **state)
{
	struct log_gate a = {0}, b = {0};
	int i;

	(void)state;
	log_limit(3);
	for (i = 0; i < 3; i++) {
		assert_true(log_gate(&a, 5000000));
		assert_true(log_gate(&b, 5000000));
	}
	assert_false(log_gate(&a, 5000000));
	assert_false(log_gate(&b, 5000000));
	log_limit(4); /* takes effect at once */
	assert_true(log_gate(&a, 5000000));
	assert_false(log_gate(&a, 5000000));
}

static void
a_limit_of_0_is_none(void **state)
{
	uint64_t before = log_n_dropped();
	struct log_gate g = {0};
	int i;

	(void)state;
	log_limit(0);
	for (i = 0; i < 100000; i++)
		assert_true(log_gate(&g, 5000000));
	assert_int_equal(log_n_dropped(), before);
}

static void
what_gates_left_out_is_counted(void **state)
{
	uint64_t before = log_n_dropped();
	struct log_gate a = {0}, b = {0};
	int i;

	(void)state;
	log_init("prog", LOG_TEXT, LOG_INFO_);
	log_limit(2);
	for (i = 0; i < 5; i++)
		(void)log_gate(&a, 5000000);
	for (i = 0; i < 4; i++)
		(void)log_gate(&b, 5000000);
	assert_int_equal(log_n_dropped(), before + 3 + 2);
	/* Saying so does not take it back. */
	capture_begin();
	assert_true(log_gate(&a, 6000000));
	(void)capture_end();
	assert_int_equal(log_n_dropped(), before + 5);
}

int
main(void)
{
#define T(f) cmocka_unit_test_teardown(f, teardown)
	const struct CMUnitTest tests[] = {
	    T(a_line_names_program_process_and_level),
	    T(a_warning_adds_errno_and_keeps_it),
	    T(less_than_the_level_is_not_written),
	    T(a_peer_cannot_forge_a_line),
	    T(a_long_message_is_cut_to_one_line),
	    T(json_lines_are_json),
	    T(an_event_is_a_name_and_fields),
	    T(fields_without_text_are_left_out),
	    T(fields_are_quoted_when_they_must_be),
	    T(a_field_cannot_forge_a_line),
	    T(an_event_in_json_is_an_object),
	    T(a_field_is_cut_at_512_bytes),
	    T(huge_fields_do_not_lose_the_line),
	    T(an_event_of_less_than_the_level_is_not_written),
	    T(an_event_keeps_errno),
	    T(the_last_error_is_remembered),
	    T(an_event_is_remembered_with_its_fields),
	    T(a_line_needs_no_memory),
	    T(the_gate_lets_ten_lines_a_second_pass),
	    T(the_gate_says_how_many_it_held),
	    T(a_state_that_lasts_is_told_once_a_minute),
	    T(another_reason_of_a_state_is_told_at_once),
	    T(a_state_that_has_ended_is_told_when_it_begins_again),
	    T(the_limit_is_of_each_gate),
	    T(a_limit_of_0_is_none),
	    T(what_gates_left_out_is_counted),
	};

	return RUN(tests);
}

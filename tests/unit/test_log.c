/* SPDX-License-Identifier: MIT */
/* Log lines, read back from a pipe that stands in for fd 2. */
#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "fault.h"
#include "json.h"
#include "jsontext.h"
#include "unit.h"

static int saved_stderr = -1;
static int pipe_fds[2];
static char text[16384];

static void
capture_begin(void)
{
	assert_int_equal(pipe(pipe_fds), 0);
	saved_stderr = dup(STDERR_FILENO);
	assert_true(saved_stderr >= 0);
	assert_int_equal(dup2(pipe_fds[1], STDERR_FILENO), STDERR_FILENO);
	(void)close(pipe_fds[1]);
}

/* What was written since capture_begin. */
static struct span
capture_end(void)
{
	size_t n = 0;
	ssize_t got;

	(void)dup2(saved_stderr, STDERR_FILENO);
	(void)close(saved_stderr);
	saved_stderr = -1;
	while ((got = read(pipe_fds[0], text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	(void)close(pipe_fds[0]);
	text[n] = '\0';
	return span_of(text, n);
}

static int
teardown(void **state)
{
	(void)state;
	if (saved_stderr >= 0)
		(void)capture_end();
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
	log_debug("d");
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
	log_debug("d");
	assert_int_equal(capture_end().len, 0);
	log_init("prog", LOG_TEXT, LOG_DEBUG_);
	capture_begin();
	log_debug("d");
	assert_line(capture_end(), "d");
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

static void
a_full_memory_costs_the_line_only(void **state)
{
	(void)state;
	log_init("prog", LOG_TEXT, LOG_INFO_);
	capture_begin();
	fault_alloc_at(1);
	log_info("lost");
	assert_true(fault_hit());
	log_info("kept");
	assert_line(capture_end(), "kept");
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
	assert_true(log_gate(&g, 6000000));
	assert_line(capture_end(),
	    "warning: 7 lines like the next were left out");
	capture_begin();
	assert_true(log_gate(&g, 7000000));
	assert_int_equal(capture_end().len, 0);
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
	    T(a_full_memory_costs_the_line_only),
	    T(the_gate_lets_ten_lines_a_second_pass),
	    T(the_gate_says_how_many_it_held),
	};

	return RUN(tests);
}

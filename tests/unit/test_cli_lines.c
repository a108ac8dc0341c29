/* SPDX-License-Identifier: MIT */
/* Standard input in lines, however it comes in pieces. */
#include "cli_lines.h"

#include <fcntl.h>
#include <unistd.h>

#include "unit.h"

#define MAX_LINE 5

#define TEXT "one\r\n\nfives\nsixsix\ntwo\nlonglonglong\nlast\r"

static const struct span INPUT = {TEXT, sizeof(TEXT) - 1};

/* What becomes of each line; a NULL is one that is too long. */
static const char *const LINES[] = {"one", "", "fives", NULL, "two", NULL,
    "last\r"};

#define N_LINES (sizeof(LINES) / sizeof(LINES[0]))

/* Takes what is there.  Returns what cli_lines_next said last. */
static enum status
take(struct cli_lines *l, size_t *n)
{
	struct span line;
	enum status st;

	for (;;) {
		st = cli_lines_next(l, &line);
		if (st != ST_OK && st != ST_TOOLARGE)
			return st;
		assert_true(*n < N_LINES);
		if (LINES[*n] == NULL) {
			assert_status(st, ST_TOOLARGE);
		} else {
			assert_status(st, ST_OK);
			assert_span(line, span_str(LINES[*n]));
		}
		assert_int_equal(l->number, ++*n);
	}
}

static void
any_pieces_give_the_same_lines(void **state)
{
	size_t piece, at, len, n;
	struct cli_lines l;
	int fds[2];

	(void)state;
	for (piece = 1; piece <= INPUT.len; piece++) {
		assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
		cli_lines_init(&l, fds[0], MAX_LINE);
		n = 0;
		for (at = 0; at < INPUT.len; at += len) {
			len = INPUT.len - at < piece ? INPUT.len - at : piece;
			assert_int_equal(write(fds[1], INPUT.p + at, len), len);
			assert_status(cli_lines_read(&l), ST_OK);
			assert_status(take(&l, &n), ST_AGAIN);
		}
		(void)close(fds[1]);
		assert_status(cli_lines_read(&l), ST_OK);
		assert_true(l.end);
		assert_status(take(&l, &n), ST_END);
		assert_int_equal(n, N_LINES);
		cli_lines_fini(&l);
		(void)close(fds[0]);
	}
}

static void
want_all(struct span input, enum status want, struct span text)
{
	struct cli_lines l;
	struct span all;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], input.p, input.len), input.len);
	(void)close(fds[1]);
	cli_lines_init(&l, fds[0], MAX_LINE);
	assert_status(cli_lines_all(&l, &all), want);
	if (want == ST_OK)
		assert_span(all, text);
	cli_lines_fini(&l);
	(void)close(fds[0]);
}

static void
all_of_it_loses_its_last_end_only(void **state)
{
	(void)state;
	want_all(SPAN("a\nb"), ST_OK, SPAN("a\nb"));
	want_all(SPAN("a\nb\n"), ST_OK, SPAN("a\nb"));
	want_all(SPAN("a\r\n"), ST_OK, SPAN("a"));
	want_all(SPAN("a\r"), ST_OK, SPAN("a\r"));
	want_all(SPAN(""), ST_OK, SPAN(""));
	want_all(SPAN("sixsix"), ST_TOOLARGE, SPAN(""));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(any_pieces_give_the_same_lines),
	    cmocka_unit_test(all_of_it_loses_its_last_end_only),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
#include "linesplit.h"

#include "unit.h"

static const struct span TEXT = {"one\n\ntwo\r\n\0\nlast", 16};
static const struct span LINES[] = {{"one", 3}, {"", 0}, {"two\r", 4},
    {"\0", 1}};

#define N_LINES (sizeof(LINES) / sizeof(LINES[0]))

static void
add(struct buf *in, struct span s)
{
	assert_status(buf_append(in, s), ST_OK);
}

static void
any_pieces_give_the_same_lines(void **state)
{
	size_t piece, at, n, got;
	struct linesplit s;
	struct span line;
	struct buf in;

	(void)state;
	for (piece = 1; piece <= TEXT.len; piece++) {
		s = (struct linesplit){0};
		buf_init(&in, 64);
		got = 0;
		for (at = 0; at < TEXT.len; at += n) {
			n = TEXT.len - at < piece ? TEXT.len - at : piece;
			linesplit_settle(&s, &in);
			add(&in, span_of(TEXT.p + at, n));
			while (linesplit_next(&s, &in, &line) == ST_OK) {
				assert_true(got < N_LINES);
				assert_span(line, LINES[got]);
				got++;
			}
		}
		assert_int_equal(got, N_LINES);
		assert_span(linesplit_rest(&s, &in), SPAN("last"));
		assert_span(linesplit_rest(&s, &in), SPAN(""));
		buf_fini(&in);
	}
}

static void
a_line_that_was_found_stays_until_it_is_dropped(void **state)
{
	struct span in = SPAN("a\nb\n"), line;
	struct linesplit s = {0};

	(void)state;
	assert_status(linesplit_find(&s, SPAN_NONE, &line), ST_AGAIN);
	assert_status(linesplit_find(&s, span_of(in.p, 3), &line), ST_OK);
	assert_status(linesplit_find(&s, span_of(in.p, 3), &line), ST_OK);
	assert_span(line, SPAN("a"));
	linesplit_dropped(&s);
	assert_status(linesplit_find(&s, span_of(in.p + 2, 1), &line),
	    ST_AGAIN);
	assert_status(linesplit_find(&s, span_of(in.p + 2, 2), &line), ST_OK);
	assert_span(line, SPAN("b"));
}

/* Bytes are written over behind its back: it does not see them. */
static void
no_byte_is_looked_at_twice(void **state)
{
	struct linesplit s = {0};
	struct span line;
	struct buf in;

	(void)state;
	buf_init(&in, 64);
	add(&in, SPAN("abc"));
	assert_status(linesplit_next(&s, &in, &line), ST_AGAIN);
	in.base[in.start + 1] = '\n';
	assert_status(linesplit_next(&s, &in, &line), ST_AGAIN);
	add(&in, SPAN("\n"));
	assert_status(linesplit_next(&s, &in, &line), ST_OK);
	assert_int_equal(line.len, 3);
	buf_fini(&in);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(any_pieces_give_the_same_lines),
	    cmocka_unit_test(a_line_that_was_found_stays_until_it_is_dropped),
	    cmocka_unit_test(no_byte_is_looked_at_twice),
	};

	return RUN(tests);
}

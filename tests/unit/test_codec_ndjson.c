/* SPDX-License-Identifier: MIT */
/* Bytes to lines, whatever pieces they come in; and what ends without one. */
#include "codec_ndjson.h"

#include "buf.h"
#include "protocol.h"
#include "unit.h"

#define MAX 8

static struct codec_piece
next(struct codec_place *at, struct span in, enum codec_input input)
{
	struct codec_piece got;

	codec_ndjson.next(at, in, input, MAX, &got);
	return got;
}

static void
assert_piece(struct codec_piece got, enum codec_kind kind, bool ended,
    size_t n_bytes)
{
	assert_int_equal(got.kind, kind);
	assert_int_equal(got.ended, ended);
	assert_int_equal(got.n_bytes, n_bytes);
}

static void
a_line_ends_with_its_newline(void **state)
{
	struct codec_place at = {0};
	struct codec_piece got;

	(void)state;
	got = next(&at, SPAN("ab\ncd\n"), CODEC_OPEN);
	assert_piece(got, CODEC_UNIT, true, 3);
	assert_span(got.text, SPAN("ab"));
	codec_ndjson.dropped(&at, &got);
	got = next(&at, SPAN("cd\n"), CODEC_OPEN);
	assert_piece(got, CODEC_UNIT, true, 3);
	assert_span(got.text, SPAN("cd"));
}

static void
asking_twice_gives_the_same(void **state)
{
	struct codec_place at = {0};
	int i;

	(void)state;
	for (i = 0; i < 3; i++)
		assert_piece(next(&at, SPAN("ab\n"), CODEC_OPEN), CODEC_UNIT,
		    true, 3);
	at = (struct codec_place){0};
	for (i = 0; i < 3; i++)
		assert_piece(next(&at, SPAN("ab"), CODEC_OPEN), CODEC_UNIT,
		    false, 2);
}

static void
a_line_is_found_when_it_ends_later(void **state)
{
	struct codec_place at = {0};
	struct codec_piece got;

	(void)state;
	assert_piece(next(&at, SPAN_NONE, CODEC_OPEN), CODEC_UNIT, false, 0);
	assert_piece(next(&at, SPAN("a"), CODEC_OPEN), CODEC_UNIT, false, 1);
	assert_piece(next(&at, SPAN("ab"), CODEC_OPEN), CODEC_UNIT, false, 2);
	got = next(&at, SPAN("ab\n"), CODEC_OPEN);
	assert_piece(got, CODEC_UNIT, true, 3);
	assert_span(got.text, SPAN("ab"));
}

static void
what_was_searched_is_not_searched_again(void **state)
{
	struct codec_place at = {0};

	(void)state;
	(void)next(&at, SPAN("abc"), CODEC_OPEN);
	/* No codec's user does this: it shows where the search begins. */
	assert_piece(next(&at, SPAN("a\ncd"), CODEC_OPEN), CODEC_UNIT, false,
	    4);
}

static void
a_line_is_bounded_without_its_newline(void **state)
{
	struct codec_place at = {0};

	(void)state;
	assert_piece(next(&at, SPAN("12345678\n"), CODEC_OPEN), CODEC_UNIT,
	    true, 9);
	at = (struct codec_place){0};
	assert_piece(next(&at, SPAN("123456789\n"), CODEC_OPEN), CODEC_LONG,
	    true, 10);
	at = (struct codec_place){0};
	assert_piece(next(&at, SPAN("12345678"), CODEC_OPEN), CODEC_UNIT, false,
	    8);
	assert_piece(next(&at, SPAN("123456789"), CODEC_OPEN), CODEC_LONG,
	    false, 9);
}

static void
what_is_given_up_is_skipped_to_its_end(void **state)
{
	struct codec_place at = {0};
	struct codec_piece got;

	(void)state;
	got = next(&at, SPAN("123456789"), CODEC_OPEN);
	codec_ndjson.dropped(&at, &got);
	got = next(&at, SPAN("and more than its bound"), CODEC_OPEN);
	assert_piece(got, CODEC_SKIPPED, false, 23);
	codec_ndjson.dropped(&at, &got);
	got = next(&at, SPAN("z\nab\n"), CODEC_OPEN);
	assert_piece(got, CODEC_SKIPPED, true, 2);
	codec_ndjson.dropped(&at, &got);
	got = next(&at, SPAN("ab\n"), CODEC_OPEN);
	assert_piece(got, CODEC_UNIT, true, 3);
}

static void
a_whole_line_that_is_too_long_takes_nothing_with_it(void **state)
{
	struct codec_place at = {0};
	struct codec_piece got = next(&at, SPAN("123456789\nab\n"), CODEC_OPEN);

	(void)state;
	codec_ndjson.dropped(&at, &got);
	got = next(&at, SPAN("ab\n"), CODEC_OPEN);
	assert_piece(got, CODEC_UNIT, true, 3);
	assert_span(got.text, SPAN("ab"));
}

static void
the_end_of_input_ends_a_line(void **state)
{
	struct codec_place at = {0};
	struct codec_piece got = next(&at, SPAN("ab"), CODEC_ENDED);

	(void)state;
	assert_piece(got, CODEC_UNIT, true, 2);
	assert_span(got.text, SPAN("ab"));
	codec_ndjson.dropped(&at, &got);
	assert_piece(next(&at, SPAN_NONE, CODEC_ENDED), CODEC_UNIT, false, 0);
}

static void
the_end_of_input_ends_what_is_skipped(void **state)
{
	struct codec_place at = {.skipping = true};

	(void)state;
	assert_piece(next(&at, SPAN("ab"), CODEC_ENDED), CODEC_SKIPPED, true,
	    2);
}

static void
a_line_that_we_cut_off_is_an_empty_one(void **state)
{
	struct codec_place at = {0};
	struct codec_piece got;

	(void)state;
	got = next(&at, SPAN("ab\n123456789"), CODEC_CUT);
	assert_piece(got, CODEC_UNIT, true, 3);
	assert_span(got.text, SPAN("ab"));
	codec_ndjson.dropped(&at, &got);
	got = next(&at, SPAN("123456789"), CODEC_CUT);
	assert_piece(got, CODEC_UNIT, true, 9);
	assert_int_equal(got.text.len, 0);
}

static void
metrics_http_and_news_are_lines(void **state)
{
	const struct store_bounds b = {.head = 7};
	struct protocol_request r;
	struct protocol *p;
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	assert_status(protocol_new(&p, (struct protocol_limits){64}), ST_OK);
	codec_ndjson.parse(p, SPAN("{\"op\":\"watch\"}"), &r);
	assert_int_equal(r.op, OP_WATCH);
	assert_status(codec_ndjson.answer(&out, &r, &b), ST_OK);
	assert_status(codec_ndjson.head(&out, 8, 0), ST_OK);
	assert_span(buf_span(&out),
	    SPAN("{\"ok\":true,\"head\":7}\n{\"head\":8}\n"));
	protocol_free(&p);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_line_ends_with_its_newline),
	    cmocka_unit_test(asking_twice_gives_the_same),
	    cmocka_unit_test(a_line_is_found_when_it_ends_later),
	    cmocka_unit_test(what_was_searched_is_not_searched_again),
	    cmocka_unit_test(a_line_is_bounded_without_its_newline),
	    cmocka_unit_test(what_is_given_up_is_skipped_to_its_end),
	    cmocka_unit_test(
		a_whole_line_that_is_too_long_takes_nothing_with_it),
	    cmocka_unit_test(the_end_of_input_ends_a_line),
	    cmocka_unit_test(the_end_of_input_ends_what_is_skipped),
	    cmocka_unit_test(a_line_that_we_cut_off_is_an_empty_one),
	    cmocka_unit_test(metrics_http_and_news_are_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

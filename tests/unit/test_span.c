/* SPDX-License-Identifier: MIT */
#include "span.h"

#include "unit.h"

static void
cut_gives_every_part_and_a_last_empty_one(void **state)
{
	struct span rest = SPAN("a,,b,"), part;

	(void)state;
	assert_true(span_cut(&rest, ',', &part));
	assert_span(part, SPAN("a"));
	assert_true(span_cut(&rest, ',', &part));
	assert_span(part, SPAN(""));
	assert_true(span_cut(&rest, ',', &part));
	assert_span(part, SPAN("b"));
	assert_true(span_cut(&rest, ',', &part));
	assert_span(part, SPAN(""));
	assert_false(span_cut(&rest, ',', &part));
}

static void
cut_of_an_empty_text_gives_one_empty_part(void **state)
{
	struct span rest = SPAN(""), part;

	(void)state;
	assert_true(span_cut(&rest, ',', &part));
	assert_int_equal(part.len, 0);
	assert_false(span_cut(&rest, ',', &part));
	rest = SPAN_NONE;
	assert_false(span_cut(&rest, ',', &part));
}

static void
cut_passes_over_nul_bytes(void **state)
{
	struct span rest = SPAN("a\0b,c"), part;

	(void)state;
	assert_true(span_cut(&rest, ',', &part));
	assert_span(part, SPAN("a\0b"));
	assert_span(rest, SPAN("c"));
}

static void
trim_takes_blanks_at_both_ends_only(void **state)
{
	(void)state;
	assert_span(span_trim(SPAN(" \t a b\t ")), SPAN("a b"));
	assert_span(span_trim(SPAN(" \t ")), SPAN(""));
	assert_span(span_trim(SPAN("\na\n")), SPAN("\na\n"));
	assert_int_equal(span_trim(SPAN_NONE).len, 0);
}

static void
equality_is_of_length_and_bytes(void **state)
{
	(void)state;
	assert_true(span_eq(SPAN("a\0b"), SPAN("a\0b")));
	assert_false(span_eq(SPAN("a\0b"), SPAN("a\0c")));
	assert_false(span_eq(SPAN("a"), SPAN("ab")));
	assert_true(span_eq(SPAN_NONE, SPAN("")));
	assert_true(span_eq(span_str(NULL), SPAN("")));
}

static void
case_is_ignored_in_ascii_only(void **state)
{
	(void)state;
	assert_true(span_caseeq(SPAN("Text/Event"), SPAN("tEXT/eVENT")));
	assert_false(span_caseeq(SPAN("a"), SPAN("b")));
	assert_false(span_caseeq(SPAN("a"), SPAN("aa")));
	assert_false(span_caseeq(SPAN("["), SPAN("{")));
	assert_true(span_caseeq(SPAN_NONE, SPAN("")));
}

static void
a_prefix_is_found_at_the_start_only(void **state)
{
	(void)state;
	assert_true(span_starts(SPAN("orders.eu"), SPAN("orders.")));
	assert_true(span_starts(SPAN("orders"), SPAN("")));
	assert_true(span_starts(SPAN_NONE, SPAN_NONE));
	assert_false(span_starts(SPAN("orders"), SPAN("orders.")));
	assert_false(span_starts(SPAN("xorders"), SPAN("orders")));
}

static void
decimals_are_read_up_to_the_largest_int64(void **state)
{
	int64_t v = -1;

	(void)state;
	assert_true(span_to_int64(SPAN("0"), &v));
	assert_int_equal(v, 0);
	assert_true(span_to_int64(SPAN("007"), &v));
	assert_int_equal(v, 7);
	assert_true(span_to_int64(SPAN("9223372036854775807"), &v));
	assert_true(v == INT64_MAX);
	assert_false(span_to_int64(SPAN("9223372036854775808"), &v));
	assert_false(span_to_int64(SPAN("99999999999999999999"), &v));
}

static void
anything_but_digits_is_no_decimal(void **state)
{
	const struct span bad[] = {SPAN(""), SPAN_NONE, SPAN("-1"), SPAN("+1"),
	    SPAN(" 1"), SPAN("1 "), SPAN("1.0"), SPAN("0x1"), SPAN("1\0"),
	    SPAN("\xd9\xa1"), SPAN("/"), SPAN(":")};
	int64_t v = 42;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(span_to_int64(bad[i], &v));
	assert_int_equal(v, 42);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(cut_gives_every_part_and_a_last_empty_one),
	    cmocka_unit_test(cut_of_an_empty_text_gives_one_empty_part),
	    cmocka_unit_test(cut_passes_over_nul_bytes),
	    cmocka_unit_test(trim_takes_blanks_at_both_ends_only),
	    cmocka_unit_test(equality_is_of_length_and_bytes),
	    cmocka_unit_test(case_is_ignored_in_ascii_only),
	    cmocka_unit_test(a_prefix_is_found_at_the_start_only),
	    cmocka_unit_test(decimals_are_read_up_to_the_largest_int64),
	    cmocka_unit_test(anything_but_digits_is_no_decimal),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
#include "name.h"

#include "unit.h"

#define X64  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X128 X64 X64

static void
a_channel_is_made_of_its_alphabet_only(void **state)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	    "_.:/-@%~+=";
	int c;

	(void)state;
	for (c = 0; c < 256; c++) {
		char byte = (char)c;
		bool ok = c != 0 && strchr(alphabet, c) != NULL;

		assert_int_equal(name_channel_ok(span_of(&byte, 1)), ok);
	}
	assert_true(name_channel_ok(SPAN("Orders.eu:1/a_b-c")));
	assert_false(name_channel_ok(SPAN("a b")));
	assert_false(name_channel_ok(SPAN("a\0b")));
	assert_false(name_channel_ok(SPAN("a*")));
}

static void
a_channel_has_1_to_128_bytes(void **state)
{
	(void)state;
	assert_false(name_channel_ok(SPAN("")));
	assert_false(name_channel_ok(SPAN_NONE));
	assert_true(name_channel_ok(SPAN(X128)));
	assert_false(name_channel_ok(SPAN(X128 "x")));
}

static void
names_of_ours_are_reserved(void **state)
{
	(void)state;
	assert_true(name_reserved(SPAN("control.")));
	assert_true(name_reserved(SPAN("control.open")));
	assert_true(name_reserved(SPAN("system.heartbeat")));
	assert_false(name_reserved(SPAN("control")));
	assert_false(name_reserved(SPAN("systems.x")));
	assert_false(name_reserved(SPAN("Control.x")));
	assert_false(name_reserved(SPAN("x.control.y")));
}

static void
an_event_name_is_text_without_controls_and_not_ours(void **state)
{
	(void)state;
	assert_true(name_event_ok(SPAN("message")));
	assert_true(name_event_ok(SPAN("Gr\xc3\xbc\xc3\x9f"
				       "e, all")));
	assert_true(name_event_ok(SPAN(X128)));
	assert_false(name_event_ok(SPAN(X128 "x")));
	assert_false(name_event_ok(SPAN("")));
	assert_false(name_event_ok(SPAN("control.close")));
	assert_false(name_event_ok(SPAN("system.x")));
	assert_false(name_event_ok(SPAN("a\nb")));
	assert_false(name_event_ok(SPAN("a\rb")));
	assert_false(name_event_ok(SPAN("a\0b")));
	assert_false(name_event_ok(SPAN("a\x7f")));
	assert_false(name_event_ok(SPAN("a\xff")));
}

static void
a_key_has_neither_c0_nor_del_nor_c1_controls(void **state)
{
	char text[4] = "a.b";
	int c;

	(void)state;
	for (c = 0; c < 0x80; c++) {
		text[1] = (char)c;
		assert_int_equal(name_key_ok(span_of(text, 3)),
		    c >= 0x20 && c != 0x7f);
	}
	assert_false(name_key_ok(SPAN("\xc2\x80")));
	assert_false(name_key_ok(SPAN("\xc2\x9f")));
	assert_true(name_key_ok(SPAN("\xc2\xa0")));
	assert_true(name_key_ok(SPAN("control.x")));
	assert_false(name_key_ok(SPAN("")));
	assert_false(name_key_ok(SPAN(X128 "x")));
}

static void
a_trace_is_a_w3c_traceparent(void **state)
{
#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define PA "00f067aa0ba902b7"
	const struct span bad[] = {
	    SPAN(""),
	    SPAN("00-" ID "-" PA "-1"),
	    SPAN("00-" ID "-" PA "-011"),
	    SPAN("01-" ID "-" PA "-01"),
	    SPAN("00-" ID "-" PA "-0g"),
	    SPAN("00-4BF92F3577B34DA6A3CE929D0E0E4736-" PA "-01"),
	    SPAN("00-00000000000000000000000000000000-" PA "-01"),
	    SPAN("00-" ID "-0000000000000000-01"),
	    SPAN("00_" ID "-" PA "-01"),
	    SPAN("00-" ID "_" PA "-01"),
	    SPAN("00-" ID "-" PA "_01"),
	    SPAN("00-" ID "-00f067aa0ba902b\0-01"),
	};
	size_t i;

	(void)state;
	assert_true(name_trace_ok(SPAN("00-" ID "-" PA "-01")));
	assert_true(name_trace_ok(SPAN("00-" ID "-" PA "-00")));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(name_trace_ok(bad[i]));
}

static void
a_pattern_may_end_in_one_star(void **state)
{
	(void)state;
	assert_true(name_pattern_ok(SPAN("orders")));
	assert_true(name_pattern_ok(SPAN("orders.*")));
	assert_true(name_pattern_ok(SPAN("*")));
	assert_true(name_pattern_ok(SPAN(X128 "*")));
	assert_false(name_pattern_ok(SPAN(X128 "x*")));
	assert_false(name_pattern_ok(SPAN("")));
	assert_false(name_pattern_ok(SPAN("**")));
	assert_false(name_pattern_ok(SPAN("a*b")));
	assert_false(name_pattern_ok(SPAN("*a")));
}

static void
a_pattern_matches_itself_or_what_begins_with_it(void **state)
{
	(void)state;
	assert_true(name_pattern_match(SPAN("a"), SPAN("a")));
	assert_false(name_pattern_match(SPAN("a"), SPAN("ab")));
	assert_false(name_pattern_match(SPAN("ab"), SPAN("a")));
	assert_true(name_pattern_match(SPAN("a.*"), SPAN("a.b")));
	assert_true(name_pattern_match(SPAN("a.*"), SPAN("a.")));
	assert_false(name_pattern_match(SPAN("a.*"), SPAN("a")));
	assert_false(name_pattern_match(SPAN("a.*"), SPAN("b.a.c")));
	assert_true(name_pattern_match(SPAN("*"), SPAN("anything")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_channel_is_made_of_its_alphabet_only),
	    cmocka_unit_test(a_channel_has_1_to_128_bytes),
	    cmocka_unit_test(names_of_ours_are_reserved),
	    cmocka_unit_test(
		an_event_name_is_text_without_controls_and_not_ours),
	    cmocka_unit_test(a_key_has_neither_c0_nor_del_nor_c1_controls),
	    cmocka_unit_test(a_trace_is_a_w3c_traceparent),
	    cmocka_unit_test(a_pattern_may_end_in_one_star),
	    cmocka_unit_test(a_pattern_matches_itself_or_what_begins_with_it),
	};

	return RUN(tests);
}

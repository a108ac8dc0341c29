/* SPDX-License-Identifier: MIT */
#include "traceparent.h"

#include <string.h>

#include "unit.h"

#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define PA "00f067aa0ba902b7"

static struct traceparent
parsed(struct span text)
{
	struct traceparent t = {SPAN_NONE, SPAN_NONE, 0, 0};

	assert_status(traceparent_parse(text, &t), ST_OK);
	return t;
}

static void
version_00_gives_ids_and_flags(void **state)
{
	struct traceparent t = parsed(SPAN("00-" ID "-" PA "-01"));

	(void)state;
	assert_span(t.trace_id, SPAN(ID));
	assert_span(t.parent_id, SPAN(PA));
	assert_int_equal(t.version, 0);
	assert_int_equal(t.flags, 1);
	assert_int_equal(parsed(SPAN("00-" ID "-" PA "-a9")).flags, 0xa9);
}

static void
bit_0_of_the_flags_alone_says_sampled(void **state)
{
	struct traceparent t = {SPAN_NONE, SPAN_NONE, 0, 0};
	unsigned flags;

	(void)state;
	for (flags = 0; flags < 256; flags++) {
		t.flags = (uint8_t)flags;
		assert_int_equal(traceparent_sampled(&t), flags % 2 == 1);
	}
}

static void
what_breaks_the_form_is_refused(void **state)
{
	const struct span bad[] = {
	    SPAN_NONE,
	    SPAN(""),
	    SPAN("00"),
	    SPAN("00-" ID "-" PA "-1"),
	    SPAN("00-" ID "-" PA "-"),
	    SPAN("00-" ID "-" PA "-0g"),
	    SPAN("00-" ID "-" PA "-0A"),
	    SPAN("00-4BF92F3577B34DA6A3CE929D0E0E4736-" PA "-01"),
	    SPAN("00-" ID "-00F067AA0BA902B7-01"),
	    SPAN("00_" ID "-" PA "-01"),
	    SPAN("00-" ID "_" PA "-01"),
	    SPAN("00-" ID "-" PA "_01"),
	    SPAN("0g-" ID "-" PA "-01"),
	    SPAN("0-" ID "-" PA "-001"),
	    SPAN(" 00-" ID "-" PA "-01"),
	    SPAN("00-" ID "-00f067aa0ba902b\0-01"),
	};
	struct traceparent t = parsed(SPAN("00-" ID "-" PA "-01"));
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_status(traceparent_parse(bad[i], &t), ST_INVALID);
	assert_span(t.trace_id, SPAN(ID));
}

static void
ids_of_zeros_are_refused(void **state)
{
	struct traceparent t;

	(void)state;
	assert_status(
	    traceparent_parse(
		SPAN("00-00000000000000000000000000000000-" PA "-01"), &t),
	    ST_INVALID);
	assert_status(
	    traceparent_parse(SPAN("00-" ID "-0000000000000000-01"), &t),
	    ST_INVALID);
	(void)parsed(SPAN("00-00000000000000000000000000000001-"
			  "1000000000000000-01"));
}

static void
version_ff_is_refused(void **state)
{
	struct traceparent t;

	(void)state;
	assert_status(traceparent_parse(SPAN("ff-" ID "-" PA "-01"), &t),
	    ST_INVALID);
	assert_status(traceparent_parse(SPAN("ff-" ID "-" PA "-01-x"), &t),
	    ST_INVALID);
	assert_int_equal(parsed(SPAN("fe-" ID "-" PA "-01")).version, 0xfe);
}

static void
version_00_has_nothing_behind_its_flags(void **state)
{
	struct traceparent t;

	(void)state;
	assert_status(traceparent_parse(SPAN("00-" ID "-" PA "-01-"), &t),
	    ST_INVALID);
	assert_status(traceparent_parse(SPAN("00-" ID "-" PA "-01-more"), &t),
	    ST_INVALID);
	assert_status(traceparent_parse(SPAN("00-" ID "-" PA "-011"), &t),
	    ST_INVALID);
}

static void
a_later_version_may_go_on_behind_a_dash(void **state)
{
	struct traceparent t;

	(void)state;
	t = parsed(SPAN("cc-" ID "-" PA "-01-what-the-future\0brings"));
	assert_int_equal(t.version, 0xcc);
	assert_span(t.trace_id, SPAN(ID));
	assert_span(t.parent_id, SPAN(PA));
	assert_true(traceparent_sampled(&t));
	(void)parsed(SPAN("01-" ID "-" PA "-01"));
	(void)parsed(SPAN("01-" ID "-" PA "-01-"));
	assert_status(traceparent_parse(SPAN("01-" ID "-" PA "-01.x"), &t),
	    ST_INVALID);
	assert_status(traceparent_parse(SPAN("01-" ID "-" PA "-010"), &t),
	    ST_INVALID);
}

static void
flags_that_only_a_later_version_knows_are_left_out(void **state)
{
	(void)state;
	assert_int_equal(parsed(SPAN("01-" ID "-" PA "-ff")).flags, 1);
	assert_int_equal(parsed(SPAN("01-" ID "-" PA "-fe")).flags, 0);
}

static void
what_is_written_is_version_00(void **state)
{
	char out[TRACEPARENT_BYTES + 1] = {0};
	struct traceparent t = parsed(SPAN("00-" ID "-" PA "-3a"));

	(void)state;
	out[TRACEPARENT_BYTES] = '!';
	traceparent_write(&t, out);
	assert_span(span_of(out, sizeof(out)), SPAN("00-" ID "-" PA "-3a!"));
	t = parsed(SPAN("cc-" ID "-" PA "-ff-more"));
	traceparent_write(&t, out);
	assert_span(span_of(out, sizeof(out)), SPAN("00-" ID "-" PA "-01!"));
}

static void
a_new_span_id_is_hex_and_never_all_zero(void **state)
{
	char out[TRACEPARENT_SPAN_HEX + 1] = {0};

	(void)state;
	out[TRACEPARENT_SPAN_HEX] = '!';
	traceparent_span_id(0x00f067aa0ba902b7, out);
	assert_span(span_of(out, sizeof(out)), SPAN(PA "!"));
	traceparent_span_id(UINT64_MAX, out);
	assert_span(span_of(out, sizeof(out)), SPAN("ffffffffffffffff!"));
	traceparent_span_id(0, out);
	assert_span(span_of(out, sizeof(out)), SPAN("0000000000000001!"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(version_00_gives_ids_and_flags),
	    cmocka_unit_test(bit_0_of_the_flags_alone_says_sampled),
	    cmocka_unit_test(what_breaks_the_form_is_refused),
	    cmocka_unit_test(ids_of_zeros_are_refused),
	    cmocka_unit_test(version_ff_is_refused),
	    cmocka_unit_test(version_00_has_nothing_behind_its_flags),
	    cmocka_unit_test(a_later_version_may_go_on_behind_a_dash),
	    cmocka_unit_test(
		flags_that_only_a_later_version_knows_are_left_out),
	    cmocka_unit_test(what_is_written_is_version_00),
	    cmocka_unit_test(a_new_span_id_is_hex_and_never_all_zero),
	};

	return RUN(tests);
}

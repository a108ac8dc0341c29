/* SPDX-License-Identifier: MIT */
/* Decimal numbers, exactly. */
#include "decimal.h"

#include "unit.h"

static void
want(int64_t number, int64_t per, const char *text)
{
	struct buf out;

	buf_init(&out, 100);
	decimal_put(&out, number, per);
	assert_status(buf_status(&out), ST_OK);
	assert_span(buf_span(&out), span_str(text));
	buf_fini(&out);
}

static void
a_quotient_is_written_exactly(void **state)
{
	(void)state;
	want(0, 1, "0");
	want(INT64_MAX, 1, "9223372036854775807");
	want(7, 5, "1.4");
	want(0, 5, "0.0");
	want(1500, 1000, "1.500");
	want(7, 1000, "0.007");
	want(1, 1000000, "0.000001");
	want(INT64_MAX, 1000000, "9223372036854.775807");
}

static void
a_double_has_nine_digits_and_no_zeros_behind(void **state)
{
	static const struct {
		double v;
		const char *text;
	} row[] = {{0, "0"}, {0.75, "0.75"}, {1.0 / 3, "0.333333333"},
	    {190.5, "190.5"}, {12345678, "12345678"}};
	struct buf out;
	size_t i;

	(void)state;
	buf_init(&out, 100);
	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		buf_clear(&out);
		decimal_put_double(&out, row[i].v);
		assert_status(buf_status(&out), ST_OK);
		assert_span(buf_span(&out), span_str(row[i].text));
	}
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_quotient_is_written_exactly),
	    cmocka_unit_test(a_double_has_nine_digits_and_no_zeros_behind),
	};

	return RUN(tests);
}

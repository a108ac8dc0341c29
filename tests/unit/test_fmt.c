/* SPDX-License-Identifier: MIT */
#include "fmt.h"

#include <inttypes.h>

#include "random.h"
#include "unit.h"

static void
assert_as_printf(int64_t v)
{
	char out[FMT_INT64_MAX], expected[32];

	(void)snprintf(expected, sizeof(expected), "%" PRId64, v);
	assert_span(span_of(out, fmt_int64(out, v)), span_str(expected));
}

static void
integers_read_as_printf_writes_them(void **state)
{
	uint64_t seed = 1;
	int i;

	(void)state;
	for (i = 0; i < 100000; i++)
		assert_as_printf((int64_t)random_next(&seed) >> (i % 64));
}

static void
the_ends_of_the_range_fit(void **state)
{
	int64_t power = 1;
	int i;

	(void)state;
	assert_as_printf(0);
	assert_as_printf(-1);
	assert_as_printf(INT64_MAX);
	assert_as_printf(INT64_MIN);
	for (i = 0; i < 18; i++) {
		power *= 10;
		assert_as_printf(power);
		assert_as_printf(power - 1);
		assert_as_printf(-power);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(integers_read_as_printf_writes_them),
	    cmocka_unit_test(the_ends_of_the_range_fit),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
/* How long to wait before what has failed is tried again. */
#include "unit.h"

#include "backoff.h"

static void
each_failure_doubles_the_wait_up_to_the_bound(void **state)
{
	struct backoff b = {.min_us = 300, .max_us = 2000};

	(void)state;
	assert_int_equal(backoff_next_us(&b), 300);
	assert_int_equal(backoff_next_us(&b), 600);
	assert_int_equal(backoff_next_us(&b), 1200);
	assert_int_equal(backoff_next_us(&b), 2000);
	assert_int_equal(backoff_next_us(&b), 2000);
}

static void
a_success_begins_anew(void **state)
{
	struct backoff b = {.min_us = 300, .max_us = 2000};

	(void)state;
	(void)backoff_next_us(&b);
	(void)backoff_next_us(&b);
	backoff_reset(&b);
	assert_int_equal(backoff_next_us(&b), 300);
	assert_int_equal(backoff_next_us(&b), 600);
}

static void
equal_bounds_are_a_steady_wait(void **state)
{
	struct backoff b = {.min_us = 250, .max_us = 250};

	(void)state;
	assert_int_equal(backoff_next_us(&b), 250);
	assert_int_equal(backoff_next_us(&b), 250);
}

static void
no_bound_is_too_high_to_be_reached(void **state)
{
	struct backoff b = {.min_us = 1, .max_us = UINT64_MAX};
	int i;

	(void)state;
	for (i = 0; i < 64; i++)
		assert_true(backoff_next_us(&b) == UINT64_C(1) << i);
	assert_true(backoff_next_us(&b) == UINT64_MAX);
	assert_true(backoff_next_us(&b) == UINT64_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_failure_doubles_the_wait_up_to_the_bound),
	    cmocka_unit_test(a_success_begins_anew),
	    cmocka_unit_test(equal_bounds_are_a_steady_wait),
	    cmocka_unit_test(no_bound_is_too_high_to_be_reached),
	};

	return RUN(tests);
}

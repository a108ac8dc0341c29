/* SPDX-License-Identifier: MIT */
/* How fast streams may fill a front end's slots. */
#include "unit.h"

#include "ramp.h"

#define SECOND_US 1000000u
#define START_US  5000000u

/* Asks until it says no; returns how many are held then. */
static int64_t
fill(struct ramp *r, uint64_t now_us, int64_t n_held)
{
	while (n_held < 100000 && ramp_admits(r, now_us, n_held, 15))
		n_held++;
	return n_held;
}

static void
a_rush_is_let_in_up_to_the_burst_and_then_by_the_rate(void **state)
{
	struct ramp r = {0};
	int64_t n = fill(&r, START_US, 0);

	(void)state;
	assert_int_equal(n, 20);
	n = fill(&r, START_US + SECOND_US, n);
	assert_int_equal(n, 35);
	n = fill(&r, START_US + 2 * SECOND_US, n);
	assert_int_equal(n, 50);
}

static void
a_rest_saves_up_no_more_than_one_burst(void **state)
{
	struct ramp r = {0};
	int64_t n = fill(&r, START_US, 0);

	(void)state;
	assert_int_equal(fill(&r, START_US + 3600ull * SECOND_US, n), 40);
}

static void
streams_that_came_back_at_once_are_let_in_at_once(void **state)
{
	struct ramp r = {0};
	uint64_t now = START_US;
	int64_t n = 0;

	(void)state;
	for (; n < 100; now += SECOND_US)
		n = fill(&r, now, n);
	/* All left, and are here again: the threads are still there. */
	assert_true(fill(&r, now, 0) >= 100);
}

static void
the_peak_is_forgotten_with_time(void **state)
{
	struct ramp r = {0};
	uint64_t now = START_US;
	int64_t n = 0;

	(void)state;
	for (; n < 100; now += SECOND_US)
		n = fill(&r, now, n);
	assert_true(ramp_admits(&r, now + 60ull * SECOND_US, 0, 15));
	assert_int_equal(fill(&r, now + 60ull * SECOND_US, 0), 20);
}

static void
the_default_goes_with_the_cap(void **state)
{
	(void)state;
	assert_int_equal(ramp_default(0), 15);
	assert_int_equal(ramp_default(100), 15);
	assert_int_equal(ramp_default(5000), 750);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		a_rush_is_let_in_up_to_the_burst_and_then_by_the_rate),
	    cmocka_unit_test(a_rest_saves_up_no_more_than_one_burst),
	    cmocka_unit_test(streams_that_came_back_at_once_are_let_in_at_once),
	    cmocka_unit_test(the_peak_is_forgotten_with_time),
	    cmocka_unit_test(the_default_goes_with_the_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* When events were committed, as far as wakes have told. */
#include "commit_clock.h"

#include <stdlib.h>

#include "unit.h"

static int
setup(void **state)
{
	*state = calloc(1, sizeof(struct commit_clock));
	return *state == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	free(*state);
	return 0;
}

static void
told(struct commit_clock *c, int64_t head, int64_t at_us)
{
	commit_clock_told(c, head, &at_us);
}

static void
an_event_has_the_time_of_the_wake_that_told_of_it(void **state)
{
	struct commit_clock *c = *state;

	commit_clock_told(c, 10, NULL);
	told(c, 12, 500);
	told(c, 13, 700);
	assert_int_equal(commit_clock_time(c, 11, 1), 500);
	assert_int_equal(commit_clock_time(c, 12, 1), 500);
	assert_int_equal(commit_clock_time(c, 13, 1), 700);
}

static void
what_no_wake_has_told_of_has_the_time_of_its_row(void **state)
{
	struct commit_clock *c = *state;

	assert_int_equal(commit_clock_time(c, 1, -44), -44);
	commit_clock_told(c, 10, NULL);
	assert_int_equal(commit_clock_time(c, 9, 44), 44);
	assert_int_equal(commit_clock_time(c, 11, 44), 44);
	told(c, 12, 500);
	commit_clock_told(c, 15, NULL);
	assert_int_equal(commit_clock_time(c, 10, 44), 44);
	assert_int_equal(commit_clock_time(c, 15, 600), 600);
	assert_int_equal(commit_clock_time(c, 16, 600), 600);
}

static void
the_first_wake_dates_nothing(void **state)
{
	struct commit_clock *c = *state;

	told(c, 10, 500);
	assert_int_equal(commit_clock_time(c, 10, 44), 44);
}

static void
an_event_is_not_older_than_an_earlier_one(void **state)
{
	struct commit_clock *c = *state;

	commit_clock_told(c, 10, NULL);
	told(c, 12, 500);
	assert_int_equal(commit_clock_time(c, 13, 499), 500);
	commit_clock_told(c, 14, NULL);
	assert_int_equal(commit_clock_time(c, 14, 499), 500);
}

static void
a_wake_that_says_nothing_new_changes_nothing(void **state)
{
	struct commit_clock *c = *state;
	int i;

	commit_clock_told(c, 10, NULL);
	told(c, 12, 500);
	for (i = 0; i <= COMMIT_CLOCK_WAKES; i++)
		told(c, 12, 900);
	assert_int_equal(commit_clock_time(c, 12, 1), 500);
}

static void
a_head_that_went_back_is_another_log(void **state)
{
	struct commit_clock *c = *state;

	commit_clock_told(c, 10, NULL);
	told(c, 12, 500);
	commit_clock_told(c, 3, NULL);
	assert_int_equal(commit_clock_time(c, 12, 1), 1);
	told(c, 4, 900);
	assert_int_equal(commit_clock_time(c, 4, 1), 900);
	assert_int_equal(commit_clock_time(c, 3, 1), 1);
}

static void
the_oldest_wakes_are_forgotten(void **state)
{
	struct commit_clock *c = *state;
	int64_t i;

	commit_clock_told(c, 0, NULL);
	for (i = 1; i <= 3 * COMMIT_CLOCK_WAKES; i++)
		told(c, i, 1000 + i);
	i = 2 * COMMIT_CLOCK_WAKES + 1;
	assert_int_equal(commit_clock_time(c, i, 1), 1);
	assert_int_equal(commit_clock_time(c, i + 1, 1), 1000 + i + 1);
	assert_int_equal(commit_clock_time(c, 3 * COMMIT_CLOCK_WAKES, 1),
	    1000 + 3 * COMMIT_CLOCK_WAKES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_event_has_the_time_of_the_wake_that_told_of_it),
	    TEST(what_no_wake_has_told_of_has_the_time_of_its_row),
	    TEST(the_first_wake_dates_nothing),
	    TEST(an_event_is_not_older_than_an_earlier_one),
	    TEST(a_wake_that_says_nothing_new_changes_nothing),
	    TEST(a_head_that_went_back_is_another_log),
	    TEST(the_oldest_wakes_are_forgotten),
	};

	return RUN(tests);
}

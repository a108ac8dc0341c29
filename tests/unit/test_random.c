/* SPDX-License-Identifier: MIT */
#include "random.h"

#include "unit.h"

static void
jitter_stays_within_a_quarter_and_reaches_both_ends(void **state)
{
	uint64_t seed = 42, min = UINT64_MAX, max = 0, sum = 0;
	int i;

	(void)state;
	for (i = 0; i < 100000; i++) {
		uint64_t v = random_jitter(&seed, 1000);

		assert_in_range(v, 750, 1250);
		min = v < min ? v : min;
		max = v > max ? v : max;
		sum += v;
	}
	assert_int_equal(min, 750);
	assert_int_equal(max, 1250);
	assert_in_range(sum / 100000, 995, 1005);
}

static void
jitter_of_little_is_itself(void **state)
{
	uint64_t seed = 7, base;

	(void)state;
	for (base = 0; base < 4; base++)
		assert_int_equal(random_jitter(&seed, base), base);
	assert_in_range(random_jitter(&seed, 4), 3, 5);
}

static void
jitter_of_much_does_not_overflow(void **state)
{
	uint64_t seed = 9;
	int i;

	(void)state;
	for (i = 0; i < 1000; i++)
		assert_true(random_jitter(&seed, UINT64_MAX / 2) <=
		    UINT64_MAX / 2 + UINT64_MAX / 8 + 1);
}

static void
a_seed_gives_its_sequence(void **state)
{
	uint64_t a = 5, b = 5, c = 6;

	(void)state;
	/* The first number of splitmix64 from 0, as published. */
	assert_true(random_next(&(uint64_t){0}) == 0xe220a8397b1dcdafu);
	assert_true(random_next(&a) == random_next(&b));
	assert_true(random_next(&a) != random_next(&c));
}

static void
seeds_differ(void **state)
{
	(void)state;
	assert_true(random_seed() != random_seed());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		jitter_stays_within_a_quarter_and_reaches_both_ends),
	    cmocka_unit_test(jitter_of_little_is_itself),
	    cmocka_unit_test(jitter_of_much_does_not_overflow),
	    cmocka_unit_test(a_seed_gives_its_sequence),
	    cmocka_unit_test(seeds_differ),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
#include "hist.h"

#include "unit.h"

static void
bounds_ascend(void **state)
{
	int scale, i;

	(void)state;
	for (scale = HIST_TIME; scale <= HIST_SIZE; scale++)
		for (i = 1; i < HIST_BOUNDS; i++)
			assert_true(
			    hist_bounds[scale][i] > hist_bounds[scale][i - 1]);
	assert_int_equal(hist_bounds[HIST_TIME][0], 50);
	assert_int_equal(hist_bounds[HIST_TIME][HIST_BOUNDS - 1], 60000000);
	assert_int_equal(hist_bounds[HIST_SIZE][0], 1);
	assert_int_equal(hist_bounds[HIST_SIZE][HIST_BOUNDS - 1], 524288);
}

/* Prometheus: le is "less or equal". */
static void
a_bound_belongs_to_its_bucket(void **state)
{
	int scale, i;

	(void)state;
	for (scale = HIST_TIME; scale <= HIST_SIZE; scale++)
		for (i = 0; i < HIST_BOUNDS; i++) {
			uint64_t bound = hist_bounds[scale][i];
			struct hist h = {.sum = 0};

			hist_add(&h, (enum hist_scale)scale, bound, 1);
			assert_int_equal(h.n[i], 1);
			hist_add(&h, (enum hist_scale)scale, bound + 1, 1);
			assert_int_equal(h.n[i], 1);
			assert_int_equal(h.n[i + 1], 1);
			assert_int_equal(h.sum, 2 * bound + 1);
		}
}

static void
the_last_bucket_takes_the_rest(void **state)
{
	struct hist h = {.sum = 0};

	(void)state;
	hist_add(&h, HIST_TIME, UINT64_C(3600000000), 2);
	hist_add(&h, HIST_TIME, 0, 1);
	assert_int_equal(h.n[HIST_BOUNDS], 2);
	assert_int_equal(h.n[0], 1);
	assert_int_equal(h.sum, UINT64_C(7200000000));
	assert_int_equal(hist_count(&h), 3);
}

static void
many_of_one_value_are_counted_at_once(void **state)
{
	struct hist h = {.sum = 0};

	(void)state;
	hist_add(&h, HIST_SIZE, 3, 1000);
	hist_add(&h, HIST_SIZE, 3, 0);
	assert_int_equal(h.n[2], 1000);
	assert_int_equal(h.sum, 3000);
	assert_int_equal(hist_count(&h), 1000);
}

static void
what_was_counted_apart_adds_up(void **state)
{
	struct hist a = {.sum = 0}, b = {.sum = 0}, both = {.sum = 0};
	uint64_t v;
	int i;

	(void)state;
	for (v = 1; v < 100000; v = v * 3 + 1) {
		hist_add(v % 2 == 0 ? &a : &b, HIST_TIME, v, v);
		hist_add(&both, HIST_TIME, v, v);
	}
	for (i = 0; i <= HIST_BOUNDS; i++)
		assert_int_equal(a.n[i] + b.n[i], both.n[i]);
	assert_int_equal(a.sum + b.sum, both.sum);
}

static void
nothing_has_no_quantile(void **state)
{
	struct hist h = {.sum = 0};

	(void)state;
	assert_int_equal(hist_count(&h), 0);
	assert_int_equal(hist_quantile(&h, HIST_TIME, 500), 0);
	assert_int_equal(hist_quantile(&h, HIST_TIME, 0), 0);
	assert_int_equal(hist_quantile(&h, HIST_TIME, 1000), 0);
}

/* As PromQL's histogram_quantile. */
static void
a_quantile_lies_straight_between_the_bounds(void **state)
{
	struct hist h = {.sum = 0};

	(void)state;
	hist_add(&h, HIST_TIME, 400, 100); /* all above 250, up to 500 */
	assert_int_equal(hist_quantile(&h, HIST_TIME, 0), 250);
	assert_int_equal(hist_quantile(&h, HIST_TIME, 500), 375);
	assert_int_equal(hist_quantile(&h, HIST_TIME, 1000), 500);
	hist_add(&h, HIST_TIME, 7000, 300); /* above 5000, up to 10000 */
	assert_int_equal(hist_quantile(&h, HIST_TIME, 250), 500);
	assert_int_equal(hist_quantile(&h, HIST_TIME, 500), 6666);
	assert_int_equal(hist_quantile(&h, HIST_TIME, 1000), 10000);
}

static void
a_quantile_beyond_the_bounds_is_the_highest_bound(void **state)
{
	struct hist h = {.sum = 0};

	(void)state;
	hist_add(&h, HIST_TIME, 99000000, 1);
	assert_int_equal(hist_quantile(&h, HIST_TIME, 10), 60000000);
	hist_add(&h, HIST_TIME, 1, 99);
	assert_int_equal(hist_quantile(&h, HIST_TIME, 990), 50);
	assert_int_equal(hist_quantile(&h, HIST_TIME, 999), 60000000);
}

static void
quantiles_do_not_go_down(void **state)
{
	struct hist h = {.sum = 0};
	uint64_t v, last = 0;
	unsigned permille;

	(void)state;
	for (v = 1; v < UINT64_C(200000000); v = v * 2 + 7)
		hist_add(&h, HIST_TIME, v, v % 5);
	for (permille = 0; permille <= 1000; permille++) {
		v = hist_quantile(&h, HIST_TIME, permille);
		assert_true(v >= last);
		last = v;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bounds_ascend),
	    cmocka_unit_test(a_bound_belongs_to_its_bucket),
	    cmocka_unit_test(the_last_bucket_takes_the_rest),
	    cmocka_unit_test(many_of_one_value_are_counted_at_once),
	    cmocka_unit_test(what_was_counted_apart_adds_up),
	    cmocka_unit_test(nothing_has_no_quantile),
	    cmocka_unit_test(a_quantile_lies_straight_between_the_bounds),
	    cmocka_unit_test(a_quantile_beyond_the_bounds_is_the_highest_bound),
	    cmocka_unit_test(quantiles_do_not_go_down),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
/* The outcomes of functions, and their names. */
#include "unit.h"

#include "status.h"

#define EACH(member, name) {ST_##member, name},

static const struct {
	enum status st;
	const char *name;
} statuses[] = {STATUSES(EACH)};

#define N (sizeof(statuses) / sizeof(statuses[0]))

static void
each_outcome_has_the_name_beside_it(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < N; i++)
		assert_string_equal(status_name(statuses[i].st),
		    statuses[i].name);
	assert_string_equal(status_name(ST_OK), "ok");
	assert_string_equal(status_name(ST_NOMEM), "out of memory");
	assert_string_equal(status_name(ST_IO), "i/o error");
}

static void
no_two_outcomes_have_one_name(void **state)
{
	size_t i, j;

	(void)state;
	for (i = 0; i < N; i++)
		for (j = i + 1; j < N; j++)
			assert_string_not_equal(statuses[i].name,
			    statuses[j].name);
}

static void
success_is_0_and_the_others_follow(void **state)
{
	size_t i;

	(void)state;
	assert_int_equal(ST_OK, 0);
	for (i = 0; i < N; i++)
		assert_int_equal(statuses[i].st, i);
}

static void
what_is_no_outcome_has_a_name_too(void **state)
{
	(void)state;
	assert_string_equal(status_name((enum status)N), "unknown");
	assert_string_equal(status_name((enum status) - 1), "unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_outcome_has_the_name_beside_it),
	    cmocka_unit_test(no_two_outcomes_have_one_name),
	    cmocka_unit_test(success_is_0_and_the_others_follow),
	    cmocka_unit_test(what_is_no_outcome_has_a_name_too),
	};

	return RUN(tests);
}

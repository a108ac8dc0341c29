/* SPDX-License-Identifier: MIT */
/* How many events a user may publish, and when he may go on. */
#include "rates.h"

#include "unit.h"

#define SECOND UINT64_C(1000000)

static struct rates_rule rule;

static struct rates rs;

static int
setup(void **state)
{
	(void)state;
	rule = (struct rates_rule){.per_s = 10, .burst = 20};
	rates_init(&rs);
	return 0;
}

static enum status
take(int64_t uid, uint64_t n, uint64_t now_us, uint64_t *wait_us)
{
	/* User 7 has a rule of his own. */
	static const struct rates_rule slow = {.per_s = 1, .burst = 1};

	return rates_take(&rs, (struct rates_key){.uid = uid},
	    uid == 7 ? slow : rule, n, now_us, wait_us);
}

static void
a_burst_passes_and_then_so_many_a_second(void **state)
{
	uint64_t wait, now = 5 * SECOND;
	int i, n = 0;

	(void)state;
	for (i = 0; i < 20; i++)
		assert_status(take(1, 1, now, &wait), ST_OK);
	assert_status(take(1, 1, now, &wait), ST_BUSY);
	assert_in_range(wait, 100000, 100001);
	assert_status(take(1, 1, now + wait, &wait), ST_OK);
	for (i = 0; i < 100000; i++) {
		now += 100;
		n += take(1, 1, now, &wait) == ST_OK;
	}
	assert_in_range(n, 98, 99); /* ten seconds, one was taken before */
}

static void
many_at_once_wait_for_all_of_their_tokens(void **state)
{
	uint64_t wait, now = SECOND;

	(void)state;
	assert_status(take(1, 15, now, &wait), ST_OK);
	assert_status(take(1, 15, now, &wait), ST_BUSY);
	assert_in_range(wait, SECOND, SECOND + 1);
	assert_status(take(1, 5, now, &wait), ST_OK);
	assert_status(take(1, 21, now, &wait), ST_TOOLARGE);
}

static void
users_do_not_share_a_bucket_and_may_have_rules_of_their_own(void **state)
{
	uint64_t wait, now = SECOND;

	(void)state;
	assert_status(take(1, 20, now, &wait), ST_OK);
	assert_status(take(2, 20, now, &wait), ST_OK);
	assert_status(take(-1, 20, now, &wait), ST_OK);
	assert_status(take(1, 1, now, &wait), ST_BUSY);
	assert_status(take(7, 1, now, &wait), ST_OK);
	assert_status(take(7, 1, now, &wait), ST_BUSY);
	assert_in_range(wait, SECOND, SECOND + 1);
	assert_status(take(7, 2, now, &wait), ST_TOOLARGE);
}

static void
a_rest_fills_the_bucket_and_no_more(void **state)
{
	uint64_t wait;

	(void)state;
	assert_status(take(1, 20, SECOND, &wait), ST_OK);
	assert_status(take(1, 20, 2 * SECOND, &wait), ST_BUSY);
	assert_status(take(1, 20, 3 * SECOND + 1, &wait), ST_OK);
	assert_status(take(1, 20, UINT64_MAX, &wait), ST_OK);
	assert_status(take(1, 1, UINT64_MAX, &wait), ST_BUSY);
}

static void
what_was_not_used_is_given_back(void **state)
{
	uint64_t wait;

	(void)state;
	assert_status(take(1, 20, SECOND, &wait), ST_OK);
	rates_give_back(&rs, (struct rates_key){.uid = 1}, 20);
	assert_status(take(1, 20, SECOND, &wait), ST_OK);
	assert_status(take(1, 1, SECOND, &wait), ST_BUSY);
}

static void
a_rule_may_change_at_any_time(void **state)
{
	uint64_t wait;

	(void)state;
	assert_status(take(1, 20, SECOND, &wait), ST_OK);
	rule = (struct rates_rule){.per_s = 1000000000, .burst = 1000000000};
	assert_status(take(1, 1000000000, 2 * SECOND + 1, &wait), ST_OK);
	rule = (struct rates_rule){0};
	assert_status(take(1, UINT64_MAX, 2 * SECOND, &wait), ST_OK);
	rates_give_back(&rs, (struct rates_key){.uid = 1}, 1);
	rule = (struct rates_rule){.per_s = 10, .burst = 1};
	assert_status(take(1, 1, 3 * SECOND, &wait), ST_OK);
	assert_status(take(1, 1, 3 * SECOND, &wait), ST_BUSY);
}

static void
a_line_of_the_rules_has_a_bucket_for_each_user_or_one(void **state)
{
	const struct rates_rule r = {.per_s = 1, .burst = 5};
	const struct rates_key keys[] = {{.uid = 1, .line = 8},
	    {.uid = 1, .line = 9}, {.uid = 2, .line = 8},
	    {.uid = -1, .line = 8}, {.uid = 1}};
	uint64_t wait;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		assert_status(rates_take(&rs, keys[i], r, 5, SECOND, &wait),
		    ST_OK);
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		assert_status(rates_take(&rs, keys[i], r, 1, SECOND, &wait),
		    ST_BUSY);
	rates_give_back(&rs, keys[2], 5);
	assert_status(rates_take(&rs, keys[3], r, 1, SECOND, &wait), ST_BUSY);
	assert_status(rates_take(&rs, keys[2], r, 5, SECOND, &wait), ST_OK);
}

static void
past_the_bound_of_users_the_others_share_a_bucket(void **state)
{
	uint64_t wait, now = SECOND;
	int64_t uid;

	(void)state;
	for (uid = 2 * RATES_MAX; uid > RATES_MAX; uid--)
		assert_status(take(uid, 20, now, &wait), ST_OK);
	assert_int_equal(rs.n, RATES_MAX);
	assert_status(take(1, 20, now, &wait), ST_OK);
	assert_status(take(2, 1, now, &wait), ST_BUSY);
	assert_status(take(RATES_MAX + 1, 1, now, &wait), ST_BUSY);
	now += 3 * SECOND; /* all are full again: they make room */
	assert_status(take(2, 20, now, &wait), ST_OK);
	assert_int_equal(rs.n, 1);
	assert_status(take(1, 20, now, &wait), ST_OK);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
	    TEST(a_burst_passes_and_then_so_many_a_second),
	    TEST(many_at_once_wait_for_all_of_their_tokens),
	    TEST(users_do_not_share_a_bucket_and_may_have_rules_of_their_own),
	    TEST(a_rest_fills_the_bucket_and_no_more),
	    TEST(what_was_not_used_is_given_back),
	    TEST(a_rule_may_change_at_any_time),
	    TEST(a_line_of_the_rules_has_a_bucket_for_each_user_or_one),
	    TEST(past_the_bound_of_users_the_others_share_a_bucket),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
/* How much one address may ask for: limiter.h. */
#include "limiter.h"

#include <string.h>

#include "fault.h"
#include "unit.h"

#define SECOND_US 1000000u

static int
setup(void **state)
{
	struct limiter *l = NULL;

	if (limiter_new(&l, 42) != ST_OK)
		return -1;
	*state = l;
	return 0;
}

static int
teardown(void **state)
{
	struct limiter *l = *state;

	limiter_free(&l);
	assert_null(l);
	return 0;
}

static bool
take(struct limiter *l, const char *address, int64_t per_minute,
    uint64_t now_us)
{
	int retry_after_s = 0;
	bool taken = limiter_take(l, span_str(address), per_minute, now_us,
	    &retry_after_s);

	assert_true(taken ? retry_after_s == 0 : retry_after_s > 0);
	return taken;
}

/* How many tokens there are at this time. */
static int
n_left(struct limiter *l, const char *address, int64_t per_minute,
    uint64_t now_us)
{
	int n = 0;

	while (n < 1000 && take(l, address, per_minute, now_us))
		n++;
	return n;
}

static void
an_address_has_a_minute_of_tokens_and_gets_them_back(void **state)
{
	struct limiter *l = *state;
	uint64_t now = 5 * SECOND_US;

	assert_int_equal(n_left(l, "192.0.2.1", 30, now), 30);
	assert_int_equal(n_left(l, "192.0.2.1", 30, now), 0);
	assert_int_equal(n_left(l, "192.0.2.1", 30, now + 2 * SECOND_US - 1),
	    0);
	assert_int_equal(n_left(l, "192.0.2.1", 30, now + 2 * SECOND_US), 1);
	assert_int_equal(n_left(l, "192.0.2.1", 30, now + 22 * SECOND_US), 10);
	/* However long it was away, no more than a minute's. */
	assert_int_equal(n_left(l, "192.0.2.1", 30, now + 9999 * SECOND_US),
	    30);
}

static void
it_says_when_the_next_token_is_there(void **state)
{
	struct limiter *l = *state;
	int wait_s = 0;

	assert_int_equal(n_left(l, "192.0.2.1", 4, SECOND_US), 4);
	assert_false(limiter_take(l, SPAN("192.0.2.1"), 4, SECOND_US, &wait_s));
	assert_int_equal(wait_s, 15);
	assert_false(
	    limiter_take(l, SPAN("192.0.2.1"), 4, SECOND_US + 1, &wait_s));
	assert_int_equal(wait_s, 15); /* rounded up */
	assert_false(
	    limiter_take(l, SPAN("192.0.2.1"), 4, 15 * SECOND_US, &wait_s));
	assert_int_equal(wait_s, 1);
	assert_true(
	    limiter_take(l, SPAN("192.0.2.1"), 4, 16 * SECOND_US, &wait_s));
}

static void
asking_in_vain_costs_nothing(void **state)
{
	struct limiter *l = *state;
	int i;

	assert_int_equal(n_left(l, "192.0.2.1", 60, SECOND_US), 60);
	for (i = 0; i < 1000; i++)
		assert_false(take(l, "192.0.2.1", 60, SECOND_US + 1));
	assert_true(take(l, "192.0.2.1", 60, 2 * SECOND_US));
}

static void
a_rate_of_nothing_is_no_limit(void **state)
{
	assert_int_equal(n_left(*state, "192.0.2.1", 0, SECOND_US), 1000);
}

static void
a_lower_rate_holds_at_once(void **state)
{
	struct limiter *l = *state;

	assert_int_equal(n_left(l, "192.0.2.1", 60, SECOND_US), 60);
	assert_false(take(l, "192.0.2.1", 2, 2 * SECOND_US));
	assert_true(take(l, "192.0.2.1", 2, 31 * SECOND_US));
}

static void
one_address_does_not_touch_another(void **state)
{
	static const char *const others[] = {"192.0.2.2", "2001:db8::1",
	    "2001:db8:0:1::1", "::1", "198.51.100.1"};
	struct limiter *l = *state;
	size_t i;

	assert_int_equal(n_left(l, "192.0.2.1", 3, SECOND_US), 3);
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(n_left(l, others[i], 3, SECOND_US), 3);
}

/* Each pair is one bucket. */
static void
what_one_client_can_choose_is_one_address(void **state)
{
	static const char *const same[][2] = {
	    {"2001:db8::1", "2001:db8::ffff:1:2:3"},
	    {"2001:db8:1:2::", "2001:0DB8:0001:0002:FFFF:FFFF:FFFF:FFFF"},
	    {"fe80::1%eth0", "fe80::2%eth1"},
	    {"192.0.2.7", "::ffff:192.0.2.7"},
	    {"192.0.2.8", "::ffff:c000:208"},
	    {"", "not an address"},
	    {"unix:", "192.0.2.256"},
	    {"%", "2001:db8:1:2:3:4:5:6:7:8:9:a:b:c:d:e:f:0:1:2:3:4:5:6:7"},
	};
	uint64_t now = SECOND_US;
	size_t i;

	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		now += 100 * SECOND_US;
		assert_int_equal(n_left(*state, same[i][0], 3, now), 3);
		assert_int_equal(n_left(*state, same[i][1], 3, now), 0);
	}
}

static void
addresses_within_their_limit_do_not_push_out_one_at_its_end(void **state)
{
	struct limiter *l = *state;
	char address[64];
	int i;

	assert_int_equal(n_left(l, "192.0.2.1", 30, SECOND_US), 30);
	for (i = 0; i < 20 * LIMITER_ENTRIES; i++) {
		(void)snprintf(address, sizeof(address), "10.%d.%d.%d",
		    i >> 16 & 255, i >> 8 & 255, i & 255);
		assert_true(take(l, address, 30, SECOND_US + 1));
	}
	assert_false(take(l, "192.0.2.1", 30, SECOND_US + 2));
}

static void
the_table_holds_about_as_many_as_it_says(void **state)
{
	struct limiter *l = *state;
	char address[64];
	int i, n_held = 0;

	/* Of half as many as there are entries nearly all are remembered. */
	for (i = 0; i < LIMITER_ENTRIES / 2; i++) {
		(void)snprintf(address, sizeof(address), "2001:db8:0:%x::1", i);
		assert_true(take(l, address, 1, SECOND_US));
	}
	for (i = 0; i < LIMITER_ENTRIES / 2; i++) {
		(void)snprintf(address, sizeof(address), "2001:db8:0:%x::2", i);
		n_held += !take(l, address, 1, SECOND_US);
	}
	assert_in_range(n_held, LIMITER_ENTRIES / 2 * 95 / 100,
	    LIMITER_ENTRIES / 2);
}

/* Addresses that meet in one set under one seed do not under another. */
static void
who_shares_a_set_depends_on_the_seed(void **state)
{
	struct limiter *other = NULL;
	char address[64];
	int i, n_here = 0, n_both = 0;
	bool lost[1024];

	assert_status(limiter_new(&other, 43), ST_OK);
	/* So many that some are pushed out in either. */
	for (i = 0; i < 4 * LIMITER_ENTRIES; i++) {
		(void)snprintf(address, sizeof(address), "10.0.%d.%d", i >> 8,
		    i & 255);
		assert_true(take(*state, address, 1, SECOND_US));
		assert_true(take(other, address, 1, SECOND_US));
	}
	for (i = 0; i < 1024; i++) {
		(void)snprintf(address, sizeof(address), "10.0.%d.%d",
		    (4 * LIMITER_ENTRIES - 1 - i) >> 8,
		    (4 * LIMITER_ENTRIES - 1 - i) & 255);
		lost[i] = take(*state, address, 1, SECOND_US);
		n_here += lost[i];
	}
	for (i = 0; i < 1024; i++) {
		(void)snprintf(address, sizeof(address), "10.0.%d.%d",
		    (4 * LIMITER_ENTRIES - 1 - i) >> 8,
		    (4 * LIMITER_ENTRIES - 1 - i) & 255);
		n_both += take(other, address, 1, SECOND_US) && lost[i];
	}
	assert_true(n_here > 50);
	assert_true(n_both < n_here);
	limiter_free(&other);
}

static void
without_memory_there_is_no_limiter(void **state)
{
	struct limiter *l = NULL;

	(void)state;
	fault_alloc_at(1);
	assert_status(limiter_new(&l, 1), ST_NOMEM);
	assert_null(l);
}

static void
taking_allocates_nothing(void **state)
{
	fault_alloc_at(1);
	(void)n_left(*state, "192.0.2.1", 30, SECOND_US);
	(void)n_left(*state, "2001:db8::1", 30, SECOND_US);
	assert_false(fault_hit());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_address_has_a_minute_of_tokens_and_gets_them_back),
	    TEST(it_says_when_the_next_token_is_there),
	    TEST(asking_in_vain_costs_nothing),
	    TEST(a_rate_of_nothing_is_no_limit),
	    TEST(a_lower_rate_holds_at_once),
	    TEST(one_address_does_not_touch_another),
	    TEST(what_one_client_can_choose_is_one_address),
	    TEST(addresses_within_their_limit_do_not_push_out_one_at_its_end),
	    TEST(the_table_holds_about_as_many_as_it_says),
	    TEST(who_shares_a_set_depends_on_the_seed),
	    TEST(without_memory_there_is_no_limiter),
	    TEST(taking_allocates_nothing),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
#include "address.h"

#include "unit.h"

static uint64_t
key(const char *text)
{
	return address_key(span_str(text));
}

static void
what_a_visitor_can_choose_is_one(void **state)
{
	static const char *const same[][2] = {
	    {"2001:db8::1", "2001:db8::ffff:1:2:3"},
	    {"2001:db8:1:2::", "2001:0DB8:0001:0002:FFFF:FFFF:FFFF:FFFF"},
	    {"fe80::1%eth0", "fe80::2%eth1"},
	    {"192.0.2.7", "::ffff:192.0.2.7"},
	    {"192.0.2.8", "::ffff:c000:208"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		assert_true(key(same[i][0]) == key(same[i][1]));
}

static void
what_he_cannot_choose_is_another(void **state)
{
	static const char *const all[] = {"192.0.2.7", "192.0.2.8",
	    "198.51.100.7", "2001:db8::1", "2001:db8:0:1::1", "2001:db8:1::1",
	    "fe80::1", "::1", "64:ff9b::192.0.2.7"};
	size_t i, k, n = sizeof(all) / sizeof(all[0]);

	(void)state;
	for (i = 0; i < n; i++)
		for (k = 0; k < i; k++)
			assert_true(key(all[i]) != key(all[k]));
}

static void
what_is_no_address_shares_zero(void **state)
{
	static const char *const none[] = {"", "%", "unix:", "192.0.2.256",
	    "not an address", " 192.0.2.7", "192.0.2.7 ", "1.2.3", "[::2]",
	    "2001:db8:1:2:3:4:5:6:7:8:9:a:b:c:d:e:f:0:1:2:3:4:5:6:7"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_true(key(none[i]) == 0);
	assert_true(address_key(SPAN_NONE) == 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_a_visitor_can_choose_is_one),
	    cmocka_unit_test(what_he_cannot_choose_is_another),
	    cmocka_unit_test(what_is_no_address_shares_zero),
	};

	return RUN(tests);
}

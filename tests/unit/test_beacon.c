/* SPDX-License-Identifier: MIT */
/* What a browser says of its streams: beacon.h, origin.h. */
#include "beacon.h"

#include <string.h>

#include "origin.h"
#include "unit.h"

static void
all_members_are_read(void **state)
{
	struct beacon b;

	(void)state;
	assert_status(beacon_parse(SPAN("{\"first_event_ms\":12.3456,"
					"\"lag_ms\":[0,1.5,3e2],"
					"\"reconnects\":1,\"gaps\":2,"
					"\"duplicates\":3,\"missing\":10000,"
					"\"buffered\":true,"
					"\"fallback\":\"fetch\","
					"\"visible_ms\":5}"),
			  &b),
	    ST_OK);
	assert_true(b.has_first_event);
	assert_int_equal(b.first_event_us, 12346);
	assert_int_equal(b.n_lags, 3);
	assert_int_equal(b.lag_us[0], 0);
	assert_int_equal(b.lag_us[1], 1500);
	assert_int_equal(b.lag_us[2], 300000);
	assert_int_equal(b.reconnects, 1);
	assert_int_equal(b.gaps, 2);
	assert_int_equal(b.duplicates, 3);
	assert_int_equal(b.missing, 10000);
	assert_true(b.buffered);
	assert_int_equal(b.fallback, BEACON_FALLBACK_FETCH);
}

static void
all_members_are_optional(void **state)
{
	static const char *const texts[] = {"{}", " \r\n\t{ } \n",
	    "{\"first_event_ms\":null,\"lag_ms\":null,\"reconnects\":null,"
	    "\"buffered\":null,\"fallback\":null}",
	    "{\"lag_ms\":[],\"buffered\":false}"};
	struct beacon b;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		memset(&b, 0xff, sizeof(b));
		assert_status(beacon_parse(span_str(texts[i]), &b), ST_OK);
		assert_false(b.has_first_event);
		assert_int_equal(b.n_lags, 0);
		assert_int_equal(
		    b.reconnects + b.gaps + b.duplicates + b.missing, 0);
		assert_false(b.buffered);
		assert_int_equal(b.fallback, BEACON_FALLBACK_UNKNOWN);
	}
}

static void
what_is_not_known_is_ignored(void **state)
{
	struct beacon b;

	(void)state;
	assert_status(
	    beacon_parse(SPAN("{\"x\":{\"gaps\":7},\"visible_ms\":-1,\"gap\":9,"
			      "\"GAPS\":9,\"\":9,\"gaps\":3,\"y\":[[1e999]],"
			      "\"fallback\":\"carrier pigeon\"}"),
		&b),
	    ST_OK);
	assert_int_equal(b.gaps, 3);
	assert_int_equal(b.fallback, BEACON_FALLBACK_UNKNOWN);
	assert_status(beacon_parse(SPAN("{\"fallback\":[1]}"), &b), ST_OK);
	assert_status(beacon_parse(SPAN("{\"fallback\":\"none\"}"), &b), ST_OK);
	assert_int_equal(b.fallback, BEACON_FALLBACK_NONE);
	assert_status(beacon_parse(SPAN("{\"fallback\":\"eventsource\"}"), &b),
	    ST_OK);
	assert_int_equal(b.fallback, BEACON_FALLBACK_EVENTSOURCE);
}

static void
the_last_of_a_name_counts(void **state)
{
	struct beacon b;

	(void)state;
	assert_status(beacon_parse(SPAN("{\"gaps\":1,\"lag_ms\":[1,2,3],"
					"\"gaps\":2,\"lag_ms\":[4]}"),
			  &b),
	    ST_OK);
	assert_int_equal(b.gaps, 2);
	assert_int_equal(b.n_lags, 1);
	assert_int_equal(b.lag_us[0], 4000);
}

static void
numbers_at_their_bounds_are_taken(void **state)
{
	struct beacon b;

	(void)state;
	assert_status(beacon_parse(SPAN("{\"first_event_ms\":3600000,"
					"\"lag_ms\":[3600000.0,-0,1e-300],"
					"\"reconnects\":1e4,\"gaps\":0.0}"),
			  &b),
	    ST_OK);
	assert_true(b.first_event_us == UINT64_C(3600000000));
	assert_true(b.lag_us[0] == UINT64_C(3600000000));
	assert_int_equal(b.lag_us[1], 0);
	assert_int_equal(b.lag_us[2], 0);
	assert_int_equal(b.reconnects, 10000);
}

static void
what_is_no_beacon_is_refused(void **state)
{
	static const char *const texts[] = {"", " ", "{", "{}x", "{}{}", "[]",
	    "[{}]", "1", "null", "\"{}\"", "{gaps:1}", "{\"gaps\":1,}",
	    "{\"gaps\":01}", "{\"gaps\":+1}", "{\"gaps\":nan}",
	    "{\"gaps\":Infinity}", "{'gaps':1}",
	    /* out of bounds */
	    "{\"gaps\":-1}", "{\"gaps\":10001}", "{\"gaps\":1.5}",
	    "{\"gaps\":1e999}", "{\"gaps\":-1e999}", "{\"missing\":1e5}",
	    "{\"reconnects\":18446744073709551617}", "{\"duplicates\":0.1}",
	    "{\"first_event_ms\":-0.001}", "{\"first_event_ms\":3600000.1}",
	    "{\"lag_ms\":[1,-1]}", "{\"lag_ms\":[1e999]}",
	    /* of another type */
	    "{\"gaps\":\"1\"}", "{\"gaps\":true}", "{\"gaps\":[1]}",
	    "{\"gaps\":{}}", "{\"first_event_ms\":\"\"}", "{\"lag_ms\":1}",
	    "{\"lag_ms\":{\"0\":1}}", "{\"lag_ms\":\"1\"}",
	    "{\"lag_ms\":[null]}", "{\"lag_ms\":[[1]]}", "{\"lag_ms\":[\"1\"]}",
	    "{\"buffered\":1}", "{\"buffered\":\"true\"}",
	    /* more lags than there may be */
	    "{\"lag_ms\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}",
	    /* a number of more digits than any browser writes */
	    "{\"gaps\":0.00000000000000000000000000000000000000000000000000000"
	    "00000000000000}",
	    "{\"\xff\":1}"};
	struct beacon b = {.gaps = 77};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (beacon_parse(span_str(texts[i]), &b) != ST_INVALID)
			fail_msg("taken: %s", texts[i]);
		assert_int_equal(b.gaps, 77);
	}
	assert_status(beacon_parse(SPAN("{}\0"), &b), ST_INVALID);
	assert_status(beacon_parse(SPAN("{\"gaps\":1\0}"), &b), ST_INVALID);
}

static void
twenty_lags_are_taken(void **state)
{
	struct beacon b;

	(void)state;
	assert_status(beacon_parse(SPAN("{\"lag_ms\":[1,2,3,4,5,6,7,8,9,10,11,"
					"12,13,14,15,16,17,18,19,20]}"),
			  &b),
	    ST_OK);
	assert_int_equal(b.n_lags, 20);
	assert_int_equal(b.lag_us[19], 20000);
}

static void
nothing_is_nested_deeper_than_json_may_be(void **state)
{
	static char text[BEACON_MAX_BYTES];
	struct beacon b;

	(void)state;
	memset(text, '[', sizeof(text));
	memcpy(text, "{\"x\":", 5);
	assert_status(beacon_parse(span_of(text, sizeof(text)), &b),
	    ST_INVALID);
}

static void
a_beacon_has_at_most_4096_bytes(void **state)
{
	static char text[BEACON_MAX_BYTES + 1];
	struct beacon b;

	(void)state;
	memset(text, ' ', sizeof(text));
	memcpy(text, "{\"gaps\":5}", 10);
	assert_status(beacon_parse(span_of(text, BEACON_MAX_BYTES), &b), ST_OK);
	assert_int_equal(b.gaps, 5);
	assert_status(beacon_parse(span_of(text, BEACON_MAX_BYTES + 1), &b),
	    ST_TOOLARGE);
}

/* ---- where it comes from ------------------------------------------------ */

static bool
ok(const char *origin, const char *host, const char *site, const char *allow)
{
	return beacon_origin_ok(span_str(origin), span_str(host),
	    span_str(site), span_str(allow));
}

static void
a_page_of_the_same_host_may(void **state)
{
	(void)state;
	assert_true(ok("https://example.com", "example.com", NULL, ""));
	assert_true(ok("http://example.com", "example.com", NULL, ""));
	assert_true(ok("HTTPS://Example.COM", "eXample.com", NULL, ""));
	assert_true(ok("http://a.b:8080", "a.b:8080", NULL, ""));
	assert_true(ok("http://[::1]:8080", "[::1]:8080", NULL, ""));
}

static void
a_page_of_another_host_may_not(void **state)
{
	static const char *const origins[] = {"https://evil.com",
	    "https://example.com.evil.com", "https://evilexample.com",
	    "https://example.co", "https://example.com:8443",
	    "https://sub.example.com", "example.com", "://example.com",
	    "ftp://example.com", "https:/example.com", "https://", "http://",
	    "https://user@example.com", "https://example.com/"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(origins) / sizeof(origins[0]); i++)
		if (ok(origins[i], "example.com", "same-origin", ""))
			fail_msg("taken: %s", origins[i]);
	assert_false(ok("http://a.b:80", "a.b:8080", NULL, ""));
	assert_false(ok("http://a.b", "a.b:8080", NULL, ""));
	assert_false(ok("http://", "", NULL, ""));
	assert_false(ok("http://a.b", NULL, NULL, ""));
}

static void
a_page_that_allow_origin_names_may(void **state)
{
	const char *allow = "https://a.b https://c.d:444";

	(void)state;
	assert_true(ok("https://a.b", "example.com", NULL, allow));
	assert_true(ok("https://c.d:444", "example.com", NULL, allow));
	assert_false(ok("http://a.b", "example.com", NULL, allow));
	assert_false(ok("https://c.d", "example.com", NULL, allow));
	assert_true(ok("https://any.thing", "example.com", NULL, "*"));
}

static void
null_is_nobodys_origin(void **state)
{
	(void)state;
	assert_false(ok("null", "null", "same-origin", ""));
	assert_false(ok("null", "example.com", NULL, "*"));
	assert_false(ok("null", "example.com", NULL, "null"));
	assert_false(ok("NULL", "example.com", NULL, "*"));
}

static void
without_an_origin_the_browser_must_say_that_it_is_the_same(void **state)
{
	(void)state;
	assert_true(ok(NULL, "example.com", "same-origin", ""));
	assert_true(ok("", "example.com", "same-origin", ""));
	assert_false(ok(NULL, "example.com", NULL, "*"));
	assert_false(ok(NULL, "example.com", "same-site", "*"));
	assert_false(ok(NULL, "example.com", "cross-site", "*"));
	assert_false(ok(NULL, "example.com", "none", "*"));
}

static void
rules_give_what_the_answer_allows(void **state)
{
	(void)state;
	assert_span(origin_allowed(SPAN("https://a.b,https://c.d"),
			SPAN("https://C.D")),
	    SPAN("https://C.D"));
	assert_span(origin_allowed(SPAN("https://a.b *"), SPAN("https://x.y")),
	    SPAN("*"));
	assert_null(origin_allowed(SPAN("*"), SPAN_NONE).p);
	assert_null(origin_allowed(SPAN_NONE, SPAN("https://a.b")).p);
	assert_null(origin_allowed(SPAN(" , "), SPAN("https://a.b")).p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_members_are_read),
	    cmocka_unit_test(all_members_are_optional),
	    cmocka_unit_test(what_is_not_known_is_ignored),
	    cmocka_unit_test(the_last_of_a_name_counts),
	    cmocka_unit_test(numbers_at_their_bounds_are_taken),
	    cmocka_unit_test(what_is_no_beacon_is_refused),
	    cmocka_unit_test(twenty_lags_are_taken),
	    cmocka_unit_test(nothing_is_nested_deeper_than_json_may_be),
	    cmocka_unit_test(a_beacon_has_at_most_4096_bytes),
	    cmocka_unit_test(a_page_of_the_same_host_may),
	    cmocka_unit_test(a_page_of_another_host_may_not),
	    cmocka_unit_test(a_page_that_allow_origin_names_may),
	    cmocka_unit_test(null_is_nobodys_origin),
	    cmocka_unit_test(
		without_an_origin_the_browser_must_say_that_it_is_the_same),
	    cmocka_unit_test(rules_give_what_the_answer_allows),
	};

	return RUN(tests);
}

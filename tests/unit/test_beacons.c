/* SPDX-License-Identifier: MIT */
/* The answers to beacons, and what was counted: beacons.h. */
#include "beacons.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "unit.h"

#define SECOND_US 1000000u

struct fixture {
	struct beacons *b;
	struct conf conf;
	struct params p;
	struct buf out;
	uint64_t now_us;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL || beacons_new(&f->b, 42) != ST_OK)
		return -1;
	conf_defaults(&f->conf);
	f->conf.beacon = CONF_ON;
	f->now_us = SECOND_US;
	params_init(&f->p);
	buf_init(&f->out, 1 << 16);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	beacons_free(&f->b);
	assert_null(f->b);
	params_fini(&f->p);
	buf_fini(&f->out);
	free(f);
	return 0;
}

/* The variables of a request; extra: more of them, NULL-terminated. */
static void
put_request(struct fixture *f, const char *const *extra, const char *body)
{
	static const char *const usual[] = {"REQUEST_METHOD=POST",
	    "CONTENT_TYPE=application/json", "HTTP_HOST=example.com",
	    "HTTP_ORIGIN=https://example.com", "REMOTE_ADDR=192.0.2.1"};
	size_t i;

	params_fini(&f->p);
	params_init(&f->p);
	params_keep_body(&f->p, BEACONS_BODY_BYTES);
	/* The first of a name counts. */
	for (i = 0; extra != NULL && extra[i] != NULL; i++)
		assert_status(params_add(&f->p, span_str(extra[i])), ST_OK);
	for (i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		assert_status(params_add(&f->p, span_str(usual[i])), ST_OK);
	assert_status(params_add_body(&f->p, span_str(body)), ST_OK);
}

static void
answer(struct fixture *f)
{
	buf_clear(&f->out);
	assert_status(beacons_answer(f->b, &f->p, &f->conf, f->now_us, &f->out),
	    ST_OK);
}

/* Posts a body with one more variable, or NULL; returns the status. */
static int
post(struct fixture *f, const char *variable, const char *body)
{
	const char *const extra[] = {variable, NULL};

	put_request(f, extra, body);
	answer(f);
	assert_memory_equal(buf_span(&f->out).p, "Status: ", 8);
	return atoi(buf_span(&f->out).p + 8);
}

static bool
said(struct fixture *f, const char *text)
{
	struct span s = buf_span(&f->out);

	return memmem(s.p, s.len, text, strlen(text)) != NULL;
}

static uint64_t
n_counted(struct fixture *f, enum beacon_result result)
{
	return beacons_counters(f->b)->n[result];
}

static void
a_beacon_is_counted(void **state)
{
	struct fixture *f = *state;
	const struct beacon_counters *t = beacons_counters(f->b);

	assert_int_equal(post(f, NULL,
			     "{\"first_event_ms\":20,\"lag_ms\":[1,2,70000],"
			     "\"reconnects\":1,\"gaps\":2,\"duplicates\":3,"
			     "\"missing\":4,\"buffered\":true,"
			     "\"fallback\":\"fetch\"}"),
	    204);
	assert_int_equal(post(f, NULL, "{\"gaps\":5}"), 204);
	assert_int_equal(t->n[BEACON_ACCEPTED], 2);
	assert_int_equal(hist_count(&t->first_event), 1);
	assert_int_equal(t->first_event.sum, 20000);
	assert_int_equal(hist_count(&t->lag), 3);
	assert_int_equal(t->lag.sum, 70003000);
	assert_int_equal(t->lag.n[HIST_BOUNDS], 1);
	assert_int_equal(t->reconnects, 1);
	assert_int_equal(t->gaps, 7);
	assert_int_equal(t->duplicates, 3);
	assert_int_equal(t->missing, 4);
	assert_int_equal(t->buffered, 1);
	assert_int_equal(t->fallback[BEACON_FALLBACK_FETCH], 1);
	assert_int_equal(t->fallback[BEACON_FALLBACK_UNKNOWN], 1);
}

static void
an_answer_without_content_is_a_head_alone(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(post(f, NULL, "{}"), 204);
	assert_span(buf_span(&f->out),
	    SPAN("Status: 204 No Content\r\n"
		 "Cache-Control: no-store\r\n"
		 "Vary: Origin\r\n"
		 "\r\n"));
}

static void
a_type_may_have_parameters_and_any_case(void **state)
{
	static const char *const good[] = {
	    "CONTENT_TYPE=text/plain;charset=UTF-8",
	    "CONTENT_TYPE=Application/JSON ; charset=utf-8",
	    "CONTENT_TYPE=text/plain"};
	static const char *const bad[] = {"CONTENT_TYPE=",
	    "CONTENT_TYPE=text/html", "CONTENT_TYPE=application/jsonp",
	    "CONTENT_TYPE=application/x-www-form-urlencoded",
	    "CONTENT_TYPE=;application/json"};
	struct fixture *f = *state;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(post(f, good[i], "{}"), 204);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(post(f, bad[i], "{}"), 415);
	assert_int_equal(n_counted(f, BEACON_ACCEPTED), 3);
	assert_int_equal(n_counted(f, BEACON_TYPE), 5);
}

static void
a_page_that_may_not_is_refused_and_takes_no_token(void **state)
{
	struct fixture *f = *state;
	int i;

	f->conf.beacon_rate = 1;
	for (i = 0; i < 5; i++)
		assert_int_equal(post(f, "HTTP_ORIGIN=https://evil.com", "{}"),
		    403);
	assert_int_equal(post(f, "HTTP_ORIGIN=null", "{}"), 403);
	assert_int_equal(post(f, "HTTP_ORIGIN=", "{}"), 403);
	assert_int_equal(n_counted(f, BEACON_ORIGIN), 7);
	assert_false(said(f, "evil"));
	assert_int_equal(post(f, NULL, "{}"), 204);
}

static void
without_an_origin_the_browsers_word_is_taken(void **state)
{
	static const char *const extra[] = {
	    "HTTP_ORIGIN=", "HTTP_SEC_FETCH_SITE=same-origin", NULL};
	struct fixture *f = *state;

	put_request(f, extra, "{}");
	answer(f);
	assert_int_equal(n_counted(f, BEACON_ACCEPTED), 1);
}

static void
an_origin_that_is_allowed_is_told_so(void **state)
{
	struct fixture *f = *state;

	(void)snprintf(f->conf.allow_origin, sizeof(f->conf.allow_origin),
	    "https://a.b");
	assert_int_equal(post(f, "HTTP_ORIGIN=https://a.b", "{}"), 204);
	assert_span(buf_span(&f->out),
	    SPAN("Status: 204 No Content\r\n"
		 "Cache-Control: no-store\r\n"
		 "Vary: Origin\r\n"
		 "Access-Control-Allow-Origin: https://a.b\r\n"
		 "Access-Control-Allow-Credentials: true\r\n"
		 "\r\n"));
	assert_int_equal(post(f, "HTTP_ORIGIN=https://a.b", "x"), 400);
	assert_true(said(f, "Access-Control-Allow-Origin: https://a.b\r\n"));
	(void)snprintf(f->conf.allow_origin, sizeof(f->conf.allow_origin), "*");
	assert_int_equal(post(f, "HTTP_ORIGIN=https://x.y", "{}"), 204);
	assert_true(said(f, "Access-Control-Allow-Origin: *\r\n"));
	assert_false(said(f, "Vary"));
	assert_false(said(f, "Credentials"));
}

static void
a_preflight_is_answered_and_not_counted(void **state)
{
	static const char *const extra[] = {"REQUEST_METHOD=OPTIONS",
	    "HTTP_ORIGIN=https://a.b", NULL};
	struct fixture *f = *state;
	int i;

	put_request(f, extra, "");
	answer(f);
	assert_false(said(f, "Access-Control"));
	(void)snprintf(f->conf.allow_origin, sizeof(f->conf.allow_origin),
	    "https://a.b");
	answer(f);
	assert_span(buf_span(&f->out),
	    SPAN("Status: 204 No Content\r\n"
		 "Cache-Control: no-store\r\n"
		 "Vary: Origin\r\n"
		 "Access-Control-Allow-Origin: https://a.b\r\n"
		 "Access-Control-Allow-Credentials: true\r\n"
		 "Access-Control-Allow-Methods: POST, OPTIONS\r\n"
		 "Access-Control-Allow-Headers: Content-Type\r\n"
		 "Access-Control-Max-Age: 7200\r\n"
		 "\r\n"));
	for (i = 0; i < BEACON_RESULTS; i++)
		assert_int_equal(n_counted(f, (enum beacon_result)i), 0);
}

static void
other_methods_are_told_which_there_are(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(post(f, "REQUEST_METHOD=GET", "{}"), 405);
	assert_true(said(f, "\r\nAllow: POST, OPTIONS\r\n"));
	assert_int_equal(post(f, "REQUEST_METHOD=PUT", "{}"), 405);
	assert_int_equal(n_counted(f, BEACON_ACCEPTED), 0);
}

static void
a_body_past_its_bound_is_too_large(void **state)
{
	static char text[5000];
	struct fixture *f = *state;

	memset(text, ' ', sizeof(text) - 1);
	memcpy(text, "{}", 2);
	assert_int_equal(post(f, NULL, text), 413);
	text[4097] = '\0';
	assert_int_equal(post(f, NULL, text), 413);
	text[4096] = '\0';
	assert_int_equal(post(f, NULL, text), 204);
	assert_int_equal(n_counted(f, BEACON_TOO_LARGE), 2);
}

static void
a_malformed_one_changes_a_counter_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct beacon_counters want = {.n = {[BEACON_MALFORMED] = 3}};

	assert_int_equal(post(f, NULL, ""), 400);
	assert_int_equal(post(f, NULL, "{\"gaps\":1,\"missing\":1e9}"), 400);
	assert_int_equal(
	    post(f, NULL, "{\"lag_ms\":[5],\"buffered\":\"<b>secret\"}"), 400);
	assert_false(said(f, "secret"));
	assert_memory_equal(beacons_counters(f->b), &want, sizeof(want));
}

static void
past_the_rate_it_says_when_to_come_again(void **state)
{
	struct fixture *f = *state;
	int i;

	for (i = 0; i < 30; i++)
		assert_int_equal(post(f, NULL, "{}"), 204);
	assert_int_equal(post(f, NULL, "{}"), 429);
	assert_true(said(f, "\r\nRetry-After: 2\r\n"));
	assert_int_equal(post(f, "REMOTE_ADDR=192.0.2.2", "{}"), 204);
	f->now_us += 2 * SECOND_US;
	assert_int_equal(post(f, NULL, "{}"), 204);
	assert_int_equal(post(f, NULL, "{}"), 429);
	assert_int_equal(n_counted(f, BEACON_ACCEPTED), 32);
	assert_int_equal(n_counted(f, BEACON_RATE), 2);
}

static void
a_share_of_them_is_left_out(void **state)
{
	struct fixture *f = *state;
	uint64_t before;
	int i;

	f->conf.beacon_rate = 0;
	f->conf.beacon_sample = 25;
	for (i = 0; i < 4000; i++)
		assert_int_equal(post(f, NULL, "{\"gaps\":1}"), 204);
	assert_in_range(n_counted(f, BEACON_ACCEPTED), 850, 1150);
	assert_int_equal(n_counted(f, BEACON_SAMPLED),
	    4000 - n_counted(f, BEACON_ACCEPTED));
	assert_int_equal(beacons_counters(f->b)->gaps,
	    n_counted(f, BEACON_ACCEPTED));
	before = n_counted(f, BEACON_ACCEPTED);
	f->conf.beacon_sample = 0;
	for (i = 0; i < 1000; i++)
		assert_int_equal(post(f, NULL, "{\"gaps\":1}"), 204);
	assert_int_equal(n_counted(f, BEACON_ACCEPTED), before);
	assert_int_equal(n_counted(f, BEACON_SAMPLED), 5000 - before);
	assert_int_equal(beacons_counters(f->b)->gaps, before);
	f->conf.beacon_sample = 100;
	for (i = 0; i < 1000; i++)
		assert_int_equal(post(f, NULL, "{\"gaps\":1}"), 204);
	assert_int_equal(n_counted(f, BEACON_ACCEPTED), before + 1000);
}

static void
off_or_in_plain_cgi_there_is_nothing_here(void **state)
{
	struct fixture *f = *state;
	struct beacons *b = f->b;

	f->conf.beacon = CONF_OFF;
	assert_int_equal(post(f, NULL, "{}"), 404);
	assert_true(said(f, "beacon = on"));
	assert_int_equal(post(f, "REQUEST_METHOD=OPTIONS", ""), 404);
	f->conf.beacon = CONF_ON;
	f->b = NULL;
	assert_int_equal(post(f, NULL, "{}"), 404);
	assert_true(said(f, "FastCGI"));
	f->b = b;
	assert_int_equal(n_counted(f, BEACON_ACCEPTED), 0);
}

static void
what_was_counted_is_reported_by_the_names_of_the_catalogue(void **state)
{
	struct fixture *f = *state;
	static struct metrics metrics;
	struct buf *out = &f->out;

	(void)post(f, NULL,
	    "{\"first_event_ms\":1,\"lag_ms\":[2],\"reconnects\":3,\"gaps\":4,"
	    "\"duplicates\":5,\"missing\":6,\"buffered\":true,"
	    "\"fallback\":\"eventsource\"}");
	(void)post(f, NULL, "x");
	(void)post(f, "CONTENT_TYPE=x/y", "");
	(void)post(f, "HTTP_ORIGIN=null", "");
	f->conf.beacon_rate = 1;
	(void)post(f, NULL, "");
	f->conf.beacon_rate = 0;
	f->conf.beacon_sample = 0;
	(void)post(f, NULL, "");
	beacons_report(f->b, &metrics);
	buf_clear(out);
	assert_status(metrics_write(&metrics, METRICS_COUNTERS, out), ST_OK);
	assert_span(buf_span(out),
	    SPAN("{\"beacons_accepted\":1,\"beacons_sampled\":1,"
		 "\"beacons_origin\":1,\"beacons_malformed\":1,"
		 "\"beacons_type\":1,\"beacons_rate\":1,"
		 "\"browser_first.4\":1,\"browser_first.sum\":1000,"
		 "\"browser_lag.5\":1,\"browser_lag.sum\":2000,"
		 "\"browser_reconnects\":3,\"browser_gaps\":4,"
		 "\"browser_duplicates\":5,\"browser_missing\":6,"
		 "\"browser_buffered\":1,"
		 "\"browser_transport_eventsource\":1}"));
}

static void
without_memory_nothing_is_counted(void **state)
{
	struct fixture *f = *state;
	struct beacons *none = NULL;
	unsigned n;

	for (n = 1; n <= 2; n++) {
		fault_alloc_at(n);
		assert_status(beacons_new(&none, 1), ST_NOMEM);
		assert_null(none);
	}
	put_request(f, NULL, "{}");
	fault_alloc_at(1);
	assert_status(beacons_answer(f->b, &f->p, &f->conf, 1, &f->out),
	    ST_NOMEM);
	assert_int_equal(f->out.len, 0);
	assert_int_equal(n_counted(f, BEACON_ACCEPTED), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_beacon_is_counted),
	    TEST(an_answer_without_content_is_a_head_alone),
	    TEST(a_type_may_have_parameters_and_any_case),
	    TEST(a_page_that_may_not_is_refused_and_takes_no_token),
	    TEST(without_an_origin_the_browsers_word_is_taken),
	    TEST(an_origin_that_is_allowed_is_told_so),
	    TEST(a_preflight_is_answered_and_not_counted),
	    TEST(other_methods_are_told_which_there_are),
	    TEST(a_body_past_its_bound_is_too_large),
	    TEST(a_malformed_one_changes_a_counter_and_nothing_else),
	    TEST(past_the_rate_it_says_when_to_come_again),
	    TEST(a_share_of_them_is_left_out),
	    TEST(off_or_in_plain_cgi_there_is_nothing_here),
	    TEST(what_was_counted_is_reported_by_the_names_of_the_catalogue),
	    TEST(without_memory_nothing_is_counted),
	};

	return RUN(tests);
}

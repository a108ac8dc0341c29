/* SPDX-License-Identifier: MIT */
/* What a request brings to show who sends it, and which of it counts. */
#include "credential.h"

#include "unit.h"

struct visit {
	struct params params;
	struct request request;
	struct credential c;
};

/* What a request with these variables shows. */
static void
bring(struct visit *v, const char *const *pairs)
{
	const struct request_rules rules = {.allow_origin = SPAN_NONE};

	params_init(&v->params);
	request_init(&v->request);
	assert_status(params_add(&v->params, SPAN("REQUEST_METHOD=GET")),
	    ST_OK);
	for (; *pairs != NULL; pairs++)
		assert_status(params_add(&v->params, span_str(*pairs)), ST_OK);
	assert_status(request_read(&v->request, &v->params, &rules), ST_OK);
	credential_read(&v->c, &v->params, &v->request, SPAN("walcast_token"));
}

static void
forget(struct visit *v)
{
	request_fini(&v->request);
	params_fini(&v->params);
}

#define BRING(v, ...) bring((v), (const char *const[]){__VA_ARGS__, NULL})
#define ASSERT_TOKEN(want, ...)                                                \
	do {                                                                   \
		struct visit v_;                                               \
		BRING(&v_, __VA_ARGS__);                                       \
		assert_span(v_.c.token, SPAN(want));                           \
		assert_false(v_.c.ambiguous);                                  \
		forget(&v_);                                                   \
	} while (0)
#define ASSERT_AMBIGUOUS(...)                                                  \
	do {                                                                   \
		struct visit v_;                                               \
		BRING(&v_, __VA_ARGS__);                                       \
		assert_true(v_.c.token.len > 0 && v_.c.ambiguous);             \
		forget(&v_);                                                   \
	} while (0)

static void
a_token_is_found_wherever_it_may_stand(void **state)
{
	(void)state;
	ASSERT_TOKEN("t", "HTTP_AUTHORIZATION=Bearer t");
	ASSERT_TOKEN("t", "HTTP_AUTHORIZATION=bEARER   t ");
	ASSERT_TOKEN("t", "QUERY_STRING=channel=a&token=t");
	ASSERT_TOKEN("t", "QUERY_STRING=channel=a&authorization=t");
	ASSERT_TOKEN("t.u", "QUERY_STRING=channel=a&token=t%2eu");
	ASSERT_TOKEN("t", "HTTP_COOKIE=walcast_token=t");
	ASSERT_TOKEN("t", "HTTP_COOKIE=a=b; walcast_token=\"t\" ;c=d");
	ASSERT_TOKEN("t", "HTTP_COOKIE=mercureAuthorization=t");
}

static void
what_is_no_token_is_none(void **state)
{
	(void)state;
	ASSERT_TOKEN("", "HTTP_AUTHORIZATION=Basic YTpi");
	ASSERT_TOKEN("", "HTTP_AUTHORIZATION=Bearer");
	ASSERT_TOKEN("", "HTTP_AUTHORIZATION=Bearer ");
	ASSERT_TOKEN("", "HTTP_AUTHORIZATION=Bearert");
	ASSERT_TOKEN("", "QUERY_STRING=channel=a&token=&Token=t");
	ASSERT_TOKEN("", "HTTP_COOKIE=walcast_token");
	ASSERT_TOKEN("", "HTTP_COOKIE=walcast_token=; x_walcast_token=t");
	ASSERT_TOKEN("", "HTTP_COOKIE=a=\"; walcast_toke=t");
}

static void
the_first_source_counts(void **state)
{
	(void)state;
	ASSERT_TOKEN("h", "HTTP_AUTHORIZATION=Bearer h",
	    "QUERY_STRING=channel=a&token=q", "HTTP_COOKIE=walcast_token=c");
	ASSERT_TOKEN("q", "HTTP_AUTHORIZATION=Basic h",
	    "QUERY_STRING=channel=a&token=q", "HTTP_COOKIE=walcast_token=c");
	ASSERT_TOKEN("c",
	    "HTTP_COOKIE=mercureAuthorization=m; walcast_token=c");
	ASSERT_TOKEN("h", "HTTP_AUTHORIZATION=Bearer h",
	    "QUERY_STRING=channel=a&token=q&token=r");
}

static void
several_in_one_place_must_be_the_same(void **state)
{
	(void)state;
	ASSERT_TOKEN("t", "HTTP_COOKIE=walcast_token=t; walcast_token=t");
	ASSERT_TOKEN("t", "HTTP_COOKIE=walcast_token=; walcast_token=t");
	ASSERT_TOKEN("t", "QUERY_STRING=channel=a&token=t&authorization=t");
	ASSERT_AMBIGUOUS("HTTP_COOKIE=walcast_token=t; walcast_token=u");
	ASSERT_AMBIGUOUS(
	    "HTTP_COOKIE=mercureAuthorization=t; mercureAuthorization=u");
	ASSERT_AMBIGUOUS("QUERY_STRING=channel=a&token=t&authorization=u");
	/* Nobody knows which of two headers the web server meant. */
	ASSERT_TOKEN("", "HTTP_AUTHORIZATION=Bearer a",
	    "HTTP_AUTHORIZATION=Bearer b");
	ASSERT_TOKEN("", "HTTP_COOKIE=walcast_token=a",
	    "HTTP_COOKIE=walcast_token=b");
}

static void
a_token_that_cannot_be_decoded_is_one_and_no_error_shows_it(void **state)
{
	struct visit v;

	(void)state;
	BRING(&v, "QUERY_STRING=channel=a&token=secret%zz");
	assert_int_equal(v.request.kind, REQUEST_STREAM);
	assert_span(v.c.token, SPAN("secret%zz"));
	forget(&v);
}

static void
only_the_web_servers_own_name_is_a_user(void **state)
{
	struct visit v;

	(void)state;
	BRING(&v, "HTTP_REMOTE_USER=eve", "REMOTE_USER=alice",
	    "QUERY_STRING=channel=a");
	assert_span(v.c.user, SPAN("alice"));
	forget(&v);
	BRING(&v, "REMOTE_USER=alice", "REMOTE_USER=eve");
	assert_int_equal(v.c.user.len, 0);
	forget(&v);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_token_is_found_wherever_it_may_stand),
	    cmocka_unit_test(what_is_no_token_is_none),
	    cmocka_unit_test(the_first_source_counts),
	    cmocka_unit_test(several_in_one_place_must_be_the_same),
	    cmocka_unit_test(
		a_token_that_cannot_be_decoded_is_one_and_no_error_shows_it),
	    cmocka_unit_test(only_the_web_servers_own_name_is_a_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* An event of `walcast publish` as a request to pubd. */
#include "cli_request.h"

#include "fault.h"
#include "unit.h"

static void
want(const struct cli_request *r, struct span data, struct span request)
{
	struct errmsg err = {""};
	struct buf out;
	bool json;

	buf_init(&out, 4096);
	assert_status(cli_request_judge(r, data, &json, &err), ST_OK);
	assert_status(cli_request_put(r, &out, data, json), ST_OK);
	assert_span(buf_span(&out), request);
	buf_fini(&out);
}

static void
refuse(const struct cli_request *r, struct span data, const char *why)
{
	struct errmsg err = {""};
	bool json;

	assert_status(cli_request_judge(r, data, &json, &err), ST_INVALID);
	assert_string_equal(err.text, why);
}

static void
data_is_json_when_it_is_valid_json(void **state)
{
	struct cli_request r = {.channel = SPAN("a")};

	(void)state;
	want(&r, SPAN("{ \"n\" : 1 }"),
	    SPAN("{\"channel\":\"a\",\"data\":{\"n\":1}}\n"));
	want(&r, SPAN("{ n"), SPAN("{\"channel\":\"a\",\"data\":\"{ n\"}\n"));
	r.form = CLI_FORM_TEXT;
	want(&r, SPAN("1"), SPAN("{\"channel\":\"a\",\"data\":\"1\"}\n"));
}

static void
all_members_that_are_given_are_in_it(void **state)
{
	struct cli_request r = {
	    .channel = SPAN("a"),
	    .event = SPAN("b"),
	    .key = SPAN("c\""),
	    .trace = SPAN("d"),
	};

	(void)state;
	want(&r, SPAN("1"),
	    SPAN("{\"channel\":\"a\",\"event\":\"b\",\"key\":\"c\\\"\","
		 "\"trace\":\"d\",\"data\":1}\n"));
}

static void
what_cannot_go_is_refused_with_a_reason(void **state)
{
	struct cli_request r = {.channel = SPAN("a"), .form = CLI_FORM_JSON};

	(void)state;
	refuse(&r, SPAN("[1,"),
	    "no valid JSON at byte 3: mend it, or publish it with --text");
	r.form = CLI_FORM_AUTO;
	refuse(&r, SPAN("\xff"),
	    "the data is not UTF-8: convert it with iconv(1)");
}

static void
a_request_that_does_not_fit_leaves_nothing_behind(void **state)
{
	struct cli_request r = {.channel = SPAN("a"), .key = SPAN("key")};
	struct buf out;
	size_t n;

	(void)state;
	for (n = 5; n < 40; n++) {
		buf_init(&out, n);
		assert_status(buf_append(&out, SPAN("old\n")), ST_OK);
		assert_status(cli_request_put(&r, &out, SPAN("text"), false),
		    ST_FULL);
		assert_span(buf_span(&out), SPAN("old\n"));
		buf_fini(&out);
	}
	buf_init(&out, 4096);
	fault_alloc_at(1);
	assert_status(cli_request_put(&r, &out, SPAN("text"), false), ST_NOMEM);
	assert_true(fault_hit());
	assert_int_equal(out.len, 0);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(data_is_json_when_it_is_valid_json),
	    cmocka_unit_test(all_members_that_are_given_are_in_it),
	    cmocka_unit_test(what_cannot_go_is_refused_with_a_reason),
	    cmocka_unit_test(a_request_that_does_not_fit_leaves_nothing_behind),
	};

	return RUN(tests);
}

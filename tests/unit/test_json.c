/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <stdlib.h>

#include "fault.h"
#include "jsontext.h"
#include "unit.h"

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

struct fixture {
	struct json_parser *parser;
	struct json *root; /* freed by parse and teardown */
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL || json_parser_new(&f->parser) != ST_OK)
		return -1;
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	json_free(&f->root);
	json_parser_free(&f->parser);
	free(f);
	return 0;
}

static const struct json *
parse(struct fixture *f, struct span text)
{
	struct errmsg err = {""};

	json_free(&f->root);
	if (json_parse(f->parser, text, &f->root, &err) != ST_OK)
		fail_msg("%.*s: %s", (int)text.len, text.p, err.text);
	return f->root;
}

static void
types_are_told_apart(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(json_type(parse(f, SPAN("null"))), JSON_NULL);
	assert_int_equal(json_type(parse(f, SPAN("true"))), JSON_BOOL);
	assert_int_equal(json_type(parse(f, SPAN("1"))), JSON_NUMBER);
	assert_int_equal(json_type(parse(f, SPAN("1.5"))), JSON_NUMBER);
	assert_int_equal(json_type(parse(f, SPAN("\"1\""))), JSON_STRING);
	assert_int_equal(json_type(parse(f, SPAN("[]"))), JSON_ARRAY);
	assert_int_equal(json_type(parse(f, SPAN("{}"))), JSON_OBJECT);
	assert_int_equal(json_type(NULL), JSON_NULL);
}

static void
a_member_that_is_null_is_there(void **state)
{
	const struct json *j = parse(*state, SPAN("{\"a\":null,\"b\":[null]}"));

	assert_non_null(json_get(j, "a"));
	assert_int_equal(json_type(json_get(j, "a")), JSON_NULL);
	assert_null(json_get(j, "c"));
	assert_non_null(json_at(json_get(j, "b"), 0));
	assert_null(json_at(json_get(j, "b"), 1));
}

static void
the_last_of_equal_members_counts(void **state)
{
	const struct json *j = parse(*state, SPAN("{\"a\":1,\"a\":2}"));
	int64_t v;

	assert_true(json_int(json_get(j, "a"), &v));
	assert_int_equal(v, 2);
}

static void
strings_keep_their_nul_bytes(void **state)
{
	const struct json *j = parse(*state, SPAN("[\"a\\u0000b\",\"\"]"));

	assert_span(json_text(json_at(j, 0)), SPAN("a\0b"));
	assert_int_equal(json_text(json_at(j, 1)).len, 0);
	assert_non_null(json_text(json_at(j, 1)).p);
}

static void
escapes_are_decoded_to_utf8(void **state)
{
	struct fixture *f = *state;

	assert_span(json_text(parse(f, SPAN("\"\\u00e9\\ud834\\udd1e\\n\""))),
	    SPAN("\xc3\xa9\xf0\x9d\x84\x9e\n"));
	/* Half a surrogate pair has no UTF-8. */
	assert_span(json_text(parse(f, SPAN("\"\\ud800x\""))),
	    SPAN("\xef\xbf\xbdx"));
}

static void
integers_are_taken_when_they_fit(void **state)
{
	struct fixture *f = *state;
	const struct span bad[] = {SPAN("9223372036854775808"),
	    SPAN("18446744073709551616"), SPAN("-9223372036854775809"),
	    SPAN("123456789012345678901234567890"), SPAN("1.5"), SPAN("1e3"),
	    SPAN("1.0"), SPAN("\"1\""), SPAN("true"), SPAN("null"),
	    SPAN("[1]")};
	int64_t v = 42;
	size_t i;

	for (i = 0; i < N_OF(bad); i++)
		assert_false(json_int(parse(f, bad[i]), &v));
	assert_false(json_int(NULL, &v));
	assert_int_equal(v, 42);
	assert_true(json_int(parse(f, SPAN("9223372036854775807")), &v));
	assert_true(v == INT64_MAX);
	assert_true(json_int(parse(f, SPAN("-9223372036854775807")), &v));
	assert_true(v == -INT64_MAX);
	assert_true(json_int(parse(f, SPAN("-0")), &v));
	assert_int_equal(v, 0);
}

static void
only_true_is_true(void **state)
{
	struct fixture *f = *state;

	assert_true(json_true(parse(f, SPAN("true"))));
	assert_false(json_true(parse(f, SPAN("false"))));
	assert_false(json_true(parse(f, SPAN("1"))));
	assert_false(json_true(parse(f, SPAN("\"true\""))));
	assert_false(json_true(NULL));
}

static void
the_wrong_type_gives_nothing(void **state)
{
	struct fixture *f = *state;
	const struct json *j = parse(f, SPAN("[1,{\"a\":1},\"s\"]"));

	assert_null(json_get(j, "a"));
	assert_null(json_get(json_at(j, 0), "a"));
	assert_null(json_get(NULL, "a"));
	assert_int_equal(json_count(j), 3);
	assert_int_equal(json_count(json_at(j, 1)), 0);
	assert_int_equal(json_count(NULL), 0);
	assert_null(json_at(json_at(j, 1), 0));
	assert_null(json_text(j).p);
	assert_null(json_text(NULL).p);
	assert_span(json_text(json_at(j, 2)), SPAN("s"));
}

static void
what_is_not_one_value_is_refused_with_a_reason(void **state)
{
	struct fixture *f = *state;
	const struct span bad[] = {SPAN(""), SPAN_NONE, SPAN("{"), SPAN("[1,]"),
	    SPAN("'a'"), SPAN("\"\xff\""), SPAN("1 2"), SPAN("\"a"),
	    SPAN("{\"a\":1}x"), SPAN("tru"), SPAN("/* */ 1"), SPAN("1\0")};
	size_t i;

	for (i = 0; i < N_OF(bad); i++) {
		struct errmsg err = {""};

		assert_status(json_parse(f->parser, bad[i], &f->root, &err),
		    ST_INVALID);
		assert_null(f->root);
		assert_true(err.text[0] != '\0');
		/* Nothing of it is left for the next text. */
		assert_span(json_text(parse(f, SPAN("\"ok\""))), SPAN("ok"));
		json_free(&f->root);
	}
}

static void
the_reason_says_where_and_why(void **state)
{
	struct fixture *f = *state;
	const struct {
		struct span text;
		const char *message;
	} bad[] = {
	    {SPAN(""), "no JSON value at all"},
	    {SPAN("[1"), "byte 2: unexpected end of data"},
	    {SPAN("[1 2]"), "byte 3: array value separator ',' expected"},
	    {{"", (size_t)INT32_MAX}, "too long to be parsed"},
	};
	size_t i;

	for (i = 0; i < N_OF(bad); i++) {
		struct errmsg err = {""};

		assert_status(
		    json_parse(f->parser, bad[i].text, &f->root, &err),
		    ST_INVALID);
		assert_string_equal(err.text, bad[i].message);
	}
}

static void
what_jsontext_accepts_is_deep_enough(void **state)
{
	char text[2 * JSONTEXT_MAX_DEPTH + 1];
	size_t at;

	memset(text, '[', JSONTEXT_MAX_DEPTH);
	text[JSONTEXT_MAX_DEPTH] = '1';
	memset(text + JSONTEXT_MAX_DEPTH + 1, ']', JSONTEXT_MAX_DEPTH);
	assert_status(jsontext_check(span_of(text, sizeof(text)), &at), ST_OK);
	assert_non_null(parse(*state, span_of(text, sizeof(text))));
}

static void
a_parser_for_which_memory_lacks_is_not_made(void **state)
{
	struct json_parser *p = NULL;

	(void)state;
	fault_alloc_at(1);
	assert_status(json_parser_new(&p), ST_NOMEM);
	assert_true(fault_hit());
	assert_null(p);
	json_parser_free(&p);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(types_are_told_apart),
	    T(a_member_that_is_null_is_there),
	    T(the_last_of_equal_members_counts),
	    T(strings_keep_their_nul_bytes),
	    T(escapes_are_decoded_to_utf8),
	    T(integers_are_taken_when_they_fit),
	    T(only_true_is_true),
	    T(the_wrong_type_gives_nothing),
	    T(what_is_not_one_value_is_refused_with_a_reason),
	    T(the_reason_says_where_and_why),
	    T(what_jsontext_accepts_is_deep_enough),
	    T(a_parser_for_which_memory_lacks_is_not_made),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
#include "jsontext.h"

#include <stdlib.h>

#include "fault.h"
#include "json.h"
#include "random.h"
#include "unit.h"

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

/* Checks a copy that ends where it ends: a sanitizer sees a byte too many. */
static enum status
check(struct span text, size_t *at)
{
	char *copy = malloc(text.len + (text.len == 0));
	enum status st;

	assert_non_null(copy);
	if (text.len > 0)
		memcpy(copy, text.p, text.len);
	st = jsontext_check(span_of(copy, text.len), at);
	free(copy);
	return st;
}

static void
texts_of_the_grammar_are_accepted(void **state)
{
	const struct span good[] = {SPAN("null"), SPAN("true"), SPAN("false"),
	    SPAN("0"), SPAN("-0"), SPAN("10"), SPAN("-1.5e+10"), SPAN("1E400"),
	    SPAN("0.0"), SPAN("0e0"), SPAN("12345678901234567890123"),
	    SPAN("1.10"), SPAN("\"\""), SPAN("[]"), SPAN("{}"), SPAN("[ ]"),
	    SPAN("{ }"), SPAN(" \t\r\n1 \t\r\n"), SPAN("[1,2,3]"),
	    SPAN("{\"a\":1,\"a\":2}"), SPAN("{\"\":[{}]}"),
	    SPAN("[[],[[]],{\"a\":{}}]"),
	    SPAN("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
	    SPAN("\"\\u0000\\uD834\\udd1e\\ud800\""),
	    SPAN("\"\\u0123\\u4567\\u89ab\\ucdef\\uABCD\\uEF00\""),
	    SPAN("\"\x7f\""), SPAN("\"\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e\""),
	    SPAN("\"12345678\""), SPAN("\"1234567\xc3\xa9 12345678\\n\""),
	    SPAN("{\"a\" : [ 1 , \"b\" ] , \"c\" : null }")};
	size_t i, at;

	(void)state;
	for (i = 0; i < N_OF(good); i++) {
		assert_status(check(good[i], &at), ST_OK);
		assert_int_equal(at, good[i].len);
	}
}

static void
everything_else_is_refused_where_it_breaks(void **state)
{
	const struct {
		struct span text;
		size_t at;
	} bad[] = {
	    {SPAN_NONE, 0},
	    {SPAN(""), 0},
	    {SPAN("  "), 2},
	    {SPAN("nul"), 3},
	    {SPAN("nulL"), 3},
	    {SPAN("True"), 0},
	    {SPAN("NaN"), 0},
	    {SPAN("Infinity"), 0},
	    {SPAN("-"), 1},
	    {SPAN("-a"), 1},
	    {SPAN("+1"), 0},
	    {SPAN("01"), 1},
	    {SPAN("-01"), 2},
	    {SPAN("1."), 2},
	    {SPAN(".5"), 0},
	    {SPAN("1.e5"), 2},
	    {SPAN("1e"), 2},
	    {SPAN("1e+"), 3},
	    {SPAN("0x10"), 1},
	    {SPAN("1 2"), 2},
	    {SPAN("1\0"), 1},
	    {SPAN("\xef\xbb\xbf"
		  "1"),
		0},
	    {SPAN("'a'"), 0},
	    {SPAN("\""), 1},
	    {SPAN("\"a"), 2},
	    {SPAN("\"\\"), 2},
	    {SPAN("\"\\x\""), 2},
	    {SPAN("\"\\\0\""), 2},
	    {SPAN("\"\\u12g4\""), 5},
	    {SPAN("\"\\u12"), 5},
	    {SPAN("\"\\u/000\""), 3},
	    {SPAN("\"\\u:000\""), 3},
	    {SPAN("\"\\u@000\""), 3},
	    {SPAN("\"\\uG000\""), 3},
	    {SPAN("\"\\u`000\""), 3},
	    {SPAN("\"a\nb\""), 2},
	    {SPAN("\"a\0b\""), 2},
	    {SPAN("\"1234567\x1f\""), 8},
	    {SPAN("\"1234567\xff\""), 8},
	    {SPAN("\"\xc3\xa9\xc3\""), 3},
	    {SPAN("\"\xc0\x80\""), 1},
	    {SPAN("\"\xed\xa0\x80\""), 1},
	    {SPAN("\"\xe2\x82"), 1},
	    {SPAN("[1,]"), 3},
	    {SPAN("[,1]"), 1},
	    {SPAN("[1 2]"), 3},
	    {SPAN("[1"), 2},
	    {SPAN("[1}"), 2},
	    {SPAN("]"), 0},
	    {SPAN("[]]"), 2},
	    {SPAN("{\"a\":1,}"), 7},
	    {SPAN("{,}"), 1},
	    {SPAN("{\"a\"}"), 4},
	    {SPAN("{\"a\":}"), 5},
	    {SPAN("{\"a\" 1}"), 5},
	    {SPAN("{a:1}"), 1},
	    {SPAN("{1:1}"), 1},
	    {SPAN("{\"a\":1]"), 6},
	    {SPAN("{\"a\":1"), 6},
	    {SPAN("{\"a\":1 \"b\":2}"), 7},
	    {SPAN("/* */ 1"), 0},
	    {SPAN("1 // x"), 2},
	    {SPAN("1\f"), 1},
	};
	size_t i, at;

	(void)state;
	for (i = 0; i < N_OF(bad); i++) {
		enum status st = check(bad[i].text, &at);

		if (st != ST_INVALID || at != bad[i].at)
			fail_msg("\"%.*s\": %s at %zu, expected %zu",
			    (int)bad[i].text.len, bad[i].text.p,
			    status_name(st), at, bad[i].at);
	}
}

/* Each byte at each place of a word: the word test may not miss one. */
static void
every_byte_is_seen_at_every_place(void **state)
{
	char text[19];
	size_t place, at;
	int c;

	(void)state;
	for (place = 1; place < 18; place++)
		for (c = 0; c < 256; c++) {
			enum status st;

			memset(text, 'x', sizeof(text));
			text[0] = text[18] = '"';
			text[place] = (char)c;
			st = jsontext_check(span_of(text, 19), &at);
			if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\')
				assert_status(st, ST_OK);
			else
				assert_status(st, ST_INVALID);
		}
}

static void
depth_is_bounded(void **state)
{
	char text[4 * JSONTEXT_MAX_DEPTH + 8];
	const size_t d = JSONTEXT_MAX_DEPTH;
	size_t at, i;

	(void)state;
	memset(text, '[', d + 1);
	memset(text + d + 1, ']', d + 1);
	assert_status(jsontext_check(span_of(text + 1, 2 * d), &at), ST_OK);
	assert_status(jsontext_check(span_of(text, 2 * d + 2), &at),
	    ST_TOOLARGE);
	assert_int_equal(at, d);
	/* What is closed again does not count. */
	text[0] = '[';
	for (i = 1; i + 3 < sizeof(text); i += 3)
		memcpy(text + i, "[],", 3);
	memcpy(text + i - 1, "]", 1);
	assert_status(jsontext_check(span_of(text, i), &at), ST_OK);
}

static void
arrays_and_objects_close_with_their_own_bracket(void **state)
{
	size_t at;

	(void)state;
	assert_status(
	    jsontext_check(SPAN("[{\"a\":[{\"b\":[]}]},{\"c\":[1]}]"), &at),
	    ST_OK);
	assert_status(jsontext_check(SPAN("[{\"a\":[}]]"), &at), ST_INVALID);
	assert_int_equal(at, 7);
	assert_status(jsontext_check(SPAN("{\"a\":[{\"b\":1]}"), &at),
	    ST_INVALID);
	assert_int_equal(at, 12);
}

static void
assert_member(struct span text, struct span name, struct span expected)
{
	struct span value;

	assert_status(jsontext_member(text, name, &value), ST_OK);
	assert_span(value, expected);
}

static void
a_member_is_given_as_it_was_written(void **state)
{
	const struct span text = SPAN(
	    " { \"a\" : 1.10 , \"b\":[1, {\"a\":2}] ,\"c\":\"x,}\\\"]\","
	    "\"d\":{\"data\": \"\\\\\"}  ,\n\"e\":1e400 } ");

	(void)state;
	assert_member(text, SPAN("a"), SPAN("1.10"));
	assert_member(text, SPAN("b"), SPAN("[1, {\"a\":2}]"));
	assert_member(text, SPAN("c"), SPAN("\"x,}\\\"]\""));
	assert_member(text, SPAN("d"), SPAN("{\"data\": \"\\\\\"}"));
	assert_member(text, SPAN("e"), SPAN("1e400"));
	assert_member(SPAN("{\"a\":null}"), SPAN("a"), SPAN("null"));
	assert_member(SPAN("{\"\":true}"), SPAN(""), SPAN("true"));
}

static void
of_members_with_one_name_the_last_counts(void **state)
{
	(void)state;
	assert_member(SPAN("{\"a\":1,\"b\":0,\"a\":2}"), SPAN("a"), SPAN("2"));
}

static void
what_is_no_member_is_not_found(void **state)
{
	const struct span text = SPAN(
	    "{\"a\":\"b\",\"c\":{\"d\":1},\"e\":[\"f\"],\"\\u0067\":1}");
	struct span value = SPAN("kept");

	(void)state;
	assert_status(jsontext_member(text, SPAN("b"), &value), ST_NOTFOUND);
	assert_status(jsontext_member(text, SPAN("d"), &value), ST_NOTFOUND);
	assert_status(jsontext_member(text, SPAN("f"), &value), ST_NOTFOUND);
	assert_status(jsontext_member(text, SPAN("g"), &value), ST_NOTFOUND);
	assert_status(jsontext_member(text, SPAN(""), &value), ST_NOTFOUND);
	assert_status(jsontext_member(SPAN("{}"), SPAN("a"), &value),
	    ST_NOTFOUND);
	assert_status(jsontext_member(SPAN("[\"a\",1]"), SPAN("a"), &value),
	    ST_NOTFOUND);
	assert_status(jsontext_member(SPAN("\"a\""), SPAN("a"), &value),
	    ST_NOTFOUND);
	assert_status(jsontext_member(SPAN_NONE, SPAN("a"), &value),
	    ST_NOTFOUND);
	assert_span(value, SPAN("kept"));
}

static void
elements_are_walked_in_order(void **state)
{
	struct span rest = SPAN(
			" [ 1 ,[2,[3]],\"],\" , {\"a\":[]},\"\\\\\",[] ] "),
		    value;
	const struct span expected[] = {SPAN("1"), SPAN("[2,[3]]"),
	    SPAN("\"],\""), SPAN("{\"a\":[]}"), SPAN("\"\\\\\""), SPAN("[]")};
	size_t i;

	(void)state;
	for (i = 0; i < N_OF(expected); i++) {
		assert_status(jsontext_element(&rest, &value), ST_OK);
		assert_span(value, expected[i]);
	}
	assert_status(jsontext_element(&rest, &value), ST_END);
	assert_status(jsontext_element(&rest, &value), ST_END);
}

static void
an_empty_array_has_no_elements(void **state)
{
	struct span rest = SPAN(" [ ] "), value;

	(void)state;
	assert_status(jsontext_element(&rest, &value), ST_END);
	rest = SPAN("{\"a\":1}");
	assert_status(jsontext_element(&rest, &value), ST_END);
	rest = SPAN_NONE;
	assert_status(jsontext_element(&rest, &value), ST_END);
}

static enum status
compact(struct buf *out, struct span text)
{
	size_t start = out->len;

	jsontext_add_compact(out, text);
	return buf_finish(out, start);
}

static enum status
quote(struct buf *out, struct span s)
{
	size_t start = out->len;

	jsontext_add_quoted(out, s);
	return buf_finish(out, start);
}

static void
assert_compact(struct span text, struct span expected)
{
	struct buf out;

	buf_init(&out, 1000);
	assert_status(compact(&out, text), ST_OK);
	assert_span(buf_span(&out), expected);
	buf_fini(&out);
}

static void
compact_drops_white_space_between_tokens_only(void **state)
{
	(void)state;
	assert_compact(SPAN(" { \"a b\" :\t[ 1.10 , \"x \\\" y\" ]\r\n} "),
	    SPAN("{\"a b\":[1.10,\"x \\\" y\"]}"));
	assert_compact(SPAN("12345678901234567890"),
	    SPAN("12345678901234567890"));
	assert_compact(SPAN(" \" \\\\\" "), SPAN("\" \\\\\""));
	assert_compact(SPAN_NONE, SPAN(""));
}

static void
compact_leaves_the_buffer_alone_when_it_fails(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 8);
	assert_status(buf_append(&out, SPAN("ab")), ST_OK);
	assert_status(compact(&out, SPAN("[1, 2, 3]")), ST_FULL);
	assert_span(buf_span(&out), SPAN("ab"));
	/* It is the compact form that must fit. */
	assert_status(compact(&out, SPAN("[  1,   2 ]")), ST_OK);
	assert_span(buf_span(&out), SPAN("ab[1,2]"));
	buf_fini(&out);
	fault_alloc_at(1);
	assert_status(compact(&out, SPAN("1")), ST_NOMEM);
	assert_true(fault_hit());
}

static void
assert_quote(struct span s, struct span expected)
{
	struct buf out;
	size_t at;

	buf_init(&out, 1000);
	assert_status(quote(&out, s), ST_OK);
	assert_span(buf_span(&out), expected);
	assert_status(jsontext_check(buf_span(&out), &at), ST_OK);
	buf_fini(&out);
}

static void
quote_escapes_what_a_string_may_not_hold(void **state)
{
	(void)state;
	assert_quote(SPAN(""), SPAN("\"\""));
	assert_quote(SPAN_NONE, SPAN("\"\""));
	assert_quote(SPAN("a\"b\\c/"), SPAN("\"a\\\"b\\\\c/\""));
	assert_quote(SPAN("\b\f\n\r\t\0\x1f"),
	    SPAN("\"\\b\\f\\n\\r\\t\\u0000\\u001f\""));
	assert_quote(SPAN("h\xc3\xa9\xe0\xa0\x80\xf0\x9d\x84\x9e"),
	    SPAN("\"h\xc3\xa9\xe0\xa0\x80\xf0\x9d\x84\x9e\""));
}

static void
quote_replaces_what_is_not_utf8(void **state)
{
	(void)state;
	assert_quote(SPAN("a\xff"
			  "b"),
	    SPAN("\"a\\ufffdb\""));
	assert_quote(SPAN("\xc3"), SPAN("\"\\ufffd\""));
	assert_quote(SPAN("\xe2\x82"
			  "x"),
	    SPAN("\"\\ufffdx\""));
	assert_quote(SPAN("\xed\xa0\x80"), SPAN("\"\\ufffd\\ufffd\\ufffd\""));
}

static void
quote_leaves_the_buffer_alone_when_it_fails(void **state)
{
	struct buf out;
	size_t max;

	(void)state;
	for (max = 2; max < 11; max++) {
		buf_init(&out, max);
		assert_status(buf_append(&out, SPAN("ab")), ST_OK);
		assert_status(quote(&out, SPAN("c\n\xff")), ST_FULL);
		assert_span(buf_span(&out), SPAN("ab"));
		buf_fini(&out);
	}
}

static void
random_values_that_pass_are_parsed_by_json_c(void **state)
{
	static const char *const pieces[] = {"{", "}", "[", "]", ",", ":",
	    "\"a\"", "\"\\\\\"", " ", "1", "-0.5e3", "true", "null", "\n",
	    "\"b\""};
	struct json_parser *parser = NULL;
	uint64_t seed = 3;
	int i, n_good = 0;

	(void)state;
	assert_status(json_parser_new(&parser), ST_OK);
	for (i = 0; i < 300000; i++) {
		char text[64] = "";
		struct json *root = NULL;
		uint64_t n = 1 + random_next(&seed) % 7;
		size_t at;

		while (n-- > 0)
			(void)strcat(text,
			    pieces[random_next(&seed) % N_OF(pieces)]);
		if (jsontext_check(span_str(text), &at) != ST_OK)
			continue;
		n_good++;
		assert_status(json_parse(parser, span_str(text), &root, NULL),
		    ST_OK);
		json_free(&root);
	}
	assert_true(n_good > 1000);
	json_parser_free(&parser);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(texts_of_the_grammar_are_accepted),
	    cmocka_unit_test(everything_else_is_refused_where_it_breaks),
	    cmocka_unit_test(every_byte_is_seen_at_every_place),
	    cmocka_unit_test(depth_is_bounded),
	    cmocka_unit_test(arrays_and_objects_close_with_their_own_bracket),
	    cmocka_unit_test(a_member_is_given_as_it_was_written),
	    cmocka_unit_test(of_members_with_one_name_the_last_counts),
	    cmocka_unit_test(what_is_no_member_is_not_found),
	    cmocka_unit_test(elements_are_walked_in_order),
	    cmocka_unit_test(an_empty_array_has_no_elements),
	    cmocka_unit_test(compact_drops_white_space_between_tokens_only),
	    cmocka_unit_test(compact_leaves_the_buffer_alone_when_it_fails),
	    cmocka_unit_test(quote_escapes_what_a_string_may_not_hold),
	    cmocka_unit_test(quote_replaces_what_is_not_utf8),
	    cmocka_unit_test(quote_leaves_the_buffer_alone_when_it_fails),
	    cmocka_unit_test(random_values_that_pass_are_parsed_by_json_c),
	};

	return RUN(tests);
}

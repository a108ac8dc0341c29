/* SPDX-License-Identifier: MIT */
/* Form-urlencoded text: query.h. */
#include "query.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"

static int
setup(void **state)
{
	struct buf *b = calloc(1, sizeof(*b));

	buf_init(b, 4096);
	*state = b;
	return buf_reserve(b, 256) == ST_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	buf_fini(*state);
	free(*state);
	return 0;
}

static void
pairs_are_cut_at_ampersand_and_first_equals_sign(void **state)
{
	struct span rest = SPAN("a=1&b=x=y&&c&=v&d=");
	struct query_pair pair;

	(void)state;
	assert_true(query_next(&rest, &pair));
	assert_span(pair.name, SPAN("a"));
	assert_span(pair.value, SPAN("1"));
	assert_true(query_next(&rest, &pair));
	assert_span(pair.name, SPAN("b"));
	assert_span(pair.value, SPAN("x=y"));
	assert_true(query_next(&rest, &pair));
	assert_span(pair.name, SPAN("c"));
	assert_span(pair.value, SPAN(""));
	assert_true(query_next(&rest, &pair));
	assert_span(pair.name, SPAN(""));
	assert_span(pair.value, SPAN("v"));
	assert_true(query_next(&rest, &pair));
	assert_span(pair.name, SPAN("d"));
	assert_span(pair.value, SPAN(""));
	assert_false(query_next(&rest, &pair));
	assert_false(query_next(&rest, &pair));
}

static void
an_empty_query_has_no_pairs(void **state)
{
	static const char *const empty[] = {"", "&", "&&&"};
	struct query_pair pair;
	struct span rest = SPAN_NONE;
	size_t i;

	(void)state;
	assert_false(query_next(&rest, &pair));
	for (i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		rest = span_str(empty[i]);
		assert_false(query_next(&rest, &pair));
	}
}

static void
text_without_escapes_is_not_copied(void **state)
{
	struct buf *b = *state;
	struct span raw = SPAN("plain-text"), out;
	size_t at;

	assert_int_equal(query_decode(b, raw, QUERY_PLUS_IS_SPACE, &out, &at),
	    ST_OK);
	assert_ptr_equal(out.p, raw.p);
	assert_int_equal(b->len, 0);
	raw = SPAN("a+b");
	assert_int_equal(query_decode(b, raw, QUERY_PLUS_STAYS, &out, &at),
	    ST_OK);
	assert_ptr_equal(out.p, raw.p);
	assert_int_equal(
	    query_decode(b, SPAN_NONE, QUERY_PLUS_STAYS, &out, &at), ST_OK);
	assert_int_equal(out.len, 0);
}

static void
escapes_of_either_case_are_decoded(void **state)
{
	static const struct {
		const char *raw, *want;
		enum query_plus plus;
	} rows[] = {
	    {"a%20b", "a b", QUERY_PLUS_IS_SPACE},
	    {"a+b", "a b", QUERY_PLUS_IS_SPACE},
	    {"a+b%2B", "a+b+", QUERY_PLUS_STAYS},
	    {"%2f%2F", "//", QUERY_PLUS_IS_SPACE},
	    {"%c3%A9", "\303\251", QUERY_PLUS_IS_SPACE},
	    {"%25%2541", "%%41", QUERY_PLUS_IS_SPACE},
	    {"%41", "A", QUERY_PLUS_IS_SPACE},
	};
	struct span out;
	size_t i, at;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(query_decode(*state, span_str(rows[i].raw),
				     rows[i].plus, &out, &at),
		    ST_OK);
		assert_span(out, span_str(rows[i].want));
	}
}

static void
a_nul_is_a_byte_like_others(void **state)
{
	struct span out;
	size_t at;

	assert_int_equal(
	    query_decode(*state, SPAN("a%00b"), QUERY_PLUS_IS_SPACE, &out, &at),
	    ST_OK);
	assert_int_equal(out.len, 3);
	assert_memory_equal(out.p, "a\0b", 3);
}

static void
a_broken_escape_is_told_with_its_place(void **state)
{
	static const struct {
		const char *raw;
		size_t at;
	} rows[] = {
	    {"%", 0},
	    {"a%", 1},
	    {"a%4", 1},
	    {"%4g", 0},
	    {"%g4", 0},
	    {"%20%zz", 3},
	    {"%%20", 0},
	    {"% 1", 0},
	    {"100%+", 3},
	};
	struct buf *b = *state;
	struct span out;
	size_t i, at;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(query_decode(b, span_str(rows[i].raw),
				     QUERY_PLUS_IS_SPACE, &out, &at),
		    ST_INVALID);
		assert_int_equal(at, rows[i].at);
		assert_int_equal(b->len, 0);
	}
}

static void
what_was_decoded_before_is_never_moved(void **state)
{
	struct buf *b = *state;
	struct span first, out;
	char big[512];
	size_t at;

	assert_int_equal(
	    query_decode(b, SPAN("%61bc"), QUERY_PLUS_IS_SPACE, &first, &at),
	    ST_OK);
	memset(big, '+', sizeof(big));
	assert_int_equal(query_decode(b, span_of(big, sizeof(big)),
			     QUERY_PLUS_IS_SPACE, &out, &at),
	    ST_FULL);
	assert_span(first, SPAN("abc"));
	assert_ptr_equal(first.p, b->base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pairs_are_cut_at_ampersand_and_first_equals_sign),
	    cmocka_unit_test(an_empty_query_has_no_pairs),
	    cmocka_unit_test_setup_teardown(text_without_escapes_is_not_copied,
		setup, teardown),
	    cmocka_unit_test_setup_teardown(escapes_of_either_case_are_decoded,
		setup, teardown),
	    cmocka_unit_test_setup_teardown(a_nul_is_a_byte_like_others, setup,
		teardown),
	    cmocka_unit_test_setup_teardown(
		a_broken_escape_is_told_with_its_place, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		what_was_decoded_before_is_never_moved, setup, teardown),
	};

	return RUN(tests);
}

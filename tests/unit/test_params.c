/* SPDX-License-Identifier: MIT */
/* The CGI variables of one request: params.h. */
#include "params.h"

#include <stdlib.h>
#include <string.h>

#include "unit.h"

static int
setup(void **state)
{
	struct params *p = calloc(1, sizeof(*p));

	params_init(p);
	*state = p;
	return 0;
}

static int
teardown(void **state)
{
	params_fini(*state);
	free(*state);
	return 0;
}

static void
a_value_is_found_by_its_name(void **state)
{
	struct params *p = *state;

	assert_int_equal(params_add(p, SPAN("A=1")), ST_OK);
	assert_int_equal(params_add(p, SPAN("AB=x=y")), ST_OK);
	assert_int_equal(params_add(p, SPAN("EMPTY=")), ST_OK);
	assert_true(span_eq(params_get(p, "A"), SPAN("1")));
	assert_true(span_eq(params_get(p, "AB"), SPAN("x=y")));
	assert_int_equal(params_get(p, "EMPTY").len, 0);
	assert_non_null(params_get(p, "EMPTY").p);
}

static void
what_is_not_there_has_no_pointer(void **state)
{
	struct params *p = *state;

	assert_null(params_get(p, "A").p);
	assert_int_equal(params_add(p, SPAN("AB=1")), ST_OK);
	assert_null(params_get(p, "A").p);
	assert_null(params_get(p, "ABC").p);
	assert_null(params_get(p, "").p);
	assert_null(params_get(p, "ab").p);
}

static void
the_first_of_two_equal_names_counts(void **state)
{
	struct params *p = *state;

	assert_int_equal(params_add(p, SPAN("A=1")), ST_OK);
	assert_int_equal(params_add(p, SPAN("A=2")), ST_OK);
	assert_true(span_eq(params_get(p, "A"), SPAN("1")));
}

static void
a_pair_without_an_equals_sign_is_invalid(void **state)
{
	struct params *p = *state;

	assert_int_equal(params_add(p, SPAN("A")), ST_INVALID);
	assert_int_equal(params_add(p, SPAN("")), ST_INVALID);
	assert_int_equal(params_add(p, SPAN_NONE), ST_INVALID);
	assert_int_equal(p->n, 0);
}

static void
a_nul_is_kept(void **state)
{
	struct params *p = *state;

	assert_int_equal(params_add(p, span_of("A=x\0y", 5)), ST_OK);
	assert_true(span_eq(params_get(p, "A"), span_of("x\0y", 3)));
}

static void
more_than_the_most_are_refused_and_nothing_is_lost(void **state)
{
	struct params *p = *state;
	char text[32];
	int i;

	for (i = 0; i < PARAMS_MAX; i++) {
		(void)snprintf(text, sizeof(text), "N%d=%d", i, i);
		assert_int_equal(params_add(p, span_str(text)), ST_OK);
	}
	assert_int_equal(params_add(p, SPAN("X=1")), ST_FULL);
	assert_null(params_get(p, "X").p);
	assert_true(span_eq(params_get(p, "N0"), SPAN("0")));
	assert_true(span_eq(params_get(p, "N255"), SPAN("255")));
}

static void
bytes_past_the_bound_are_refused(void **state)
{
	struct params *p = *state;
	char *big = malloc(PARAMS_MAX_BYTES);

	memset(big, 'v', PARAMS_MAX_BYTES);
	memcpy(big, "B=", 2);
	assert_int_equal(params_add(p, SPAN("A=1")), ST_OK);
	assert_false(p->cut);
	assert_int_equal(params_add(p, span_of(big, PARAMS_MAX_BYTES)),
	    ST_FULL);
	assert_true(p->cut);
	assert_null(params_get(p, "B").p);
	assert_int_equal(params_add(p, span_of(big, PARAMS_MAX_BYTES - 3)),
	    ST_OK);
	assert_int_equal(params_get(p, "B").len, PARAMS_MAX_BYTES - 5);
	assert_true(span_eq(params_get(p, "A"), SPAN("1")));
	assert_int_equal(params_add(p, SPAN("C=")), ST_FULL);
	free(big);
}

static void
of_a_body_nothing_is_kept_unless_it_is_wanted(void **state)
{
	struct params *p = *state;

	assert_int_equal(params_add_body(p, SPAN("body")), ST_OK);
	assert_int_equal(params_body(p).len, 0);
}

static void
of_a_body_the_beginning_is_kept(void **state)
{
	struct params *p = *state;

	params_keep_body(p, 7);
	assert_int_equal(params_add_body(p, SPAN_NONE), ST_OK);
	assert_int_equal(params_add_body(p, SPAN("the ")), ST_OK);
	assert_int_equal(params_add_body(p, SPAN("b\0dy")), ST_OK);
	assert_int_equal(params_add_body(p, SPAN("more")), ST_OK);
	assert_int_equal(params_add(p, SPAN("A=1")), ST_OK);
	assert_true(span_eq(params_body(p), SPAN("the b\0d")));
	assert_true(span_eq(params_get(p, "A"), SPAN("1")));
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_value_is_found_by_its_name),
	    TEST(what_is_not_there_has_no_pointer),
	    TEST(the_first_of_two_equal_names_counts),
	    TEST(a_pair_without_an_equals_sign_is_invalid),
	    TEST(a_nul_is_kept),
	    TEST(more_than_the_most_are_refused_and_nothing_is_lost),
	    TEST(bytes_past_the_bound_are_refused),
	    TEST(of_a_body_nothing_is_kept_unless_it_is_wanted),
	    TEST(of_a_body_the_beginning_is_kept),
	};

	return RUN(tests);
}

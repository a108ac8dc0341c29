/* SPDX-License-Identifier: MIT */
/* What is kept of visitors: who shares, and what is left of it. */
#include "pass.h"

#include "fault.h"
#include "unit.h"

static struct passes *all;

static int
setup(void **state)
{
	(void)state;
	return passes_new(&all) == ST_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	assert_int_equal(passes_count(all), 0);
	passes_free(&all);
	return 0;
}

static struct pass *
got(const struct pass_wish *w)
{
	struct pass *p = NULL;

	assert_status(pass_get(all, w, &p), ST_OK);
	return p;
}

static void
who_brings_nothing_has_none(void **state)
{
	const struct pass_wish w = {.user = SPAN("")};
	struct access_person who = pass_person(NULL);

	(void)state;
	assert_null(got(&w));
	assert_null(who.env);
	assert_null(who.app);
	assert_null(who.token_read);
	assert_int_equal(who.uid, -1);
}

static void
visitors_with_the_same_share_one(void **state)
{
	const struct pass_wish alice = {.user = SPAN("alice")};
	const struct pass_wish bob = {.user = SPAN("bob")};
	struct pass *a = got(&alice), *b = got(&alice), *c = got(&bob);

	(void)state;
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, c);
	assert_int_equal(passes_count(all), 2);
	pass_unref(&a);
	assert_span(b->user, SPAN("alice"));
	pass_unref(&b);
	assert_int_equal(passes_count(all), 1);
	pass_unref(&c);
}

/* A byte moves from one piece into the next: they are two visitors. */
static void
pieces_do_not_run_into_each_other(void **state)
{
	const struct pass_env ab = {SPAN("AB"), SPAN("c")};
	const struct pass_env a = {SPAN("A"), SPAN("Bc")};
	const struct pass_wish w[] = {{.env = &ab, .n_env = 1},
	    {.env = &a, .n_env = 1}, {.user = SPAN("ABc")}};
	struct pass *p[3];
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++)
		p[i] = got(&w[i]);
	assert_int_equal(passes_count(all), 3);
	for (i = 0; i < 3; i++)
		pass_unref(&p[i]);
}

static struct token *
carols(void)
{
	struct token *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->subject = SPAN("carol");
	t->id = SPAN("j");
	t->expires_s = 2000;
	t->issued_s = -1;
	t->read[0] = SPAN("a.*");
	t->read[1] = SPAN("b");
	t->n_read = 2;
	t->publish[0] = SPAN("c");
	t->n_publish = 1;
	return t;
}

static void
what_a_token_says_is_kept(void **state)
{
	struct token *t = carols();
	const struct pass_env tenant = {SPAN("TENANT"), SPAN("acme")};
	const struct pass_wish w = {.user = SPAN("alice"),
	    .token = t,
	    .env = &tenant,
	    .n_env = 1};
	struct pass *p = got(&w);
	struct access_person who;

	(void)state;
	*t = (struct token){.expires_s = 0};
	free(t);
	who = pass_person(p);
	assert_span(who.user[0], SPAN("alice"));
	assert_span(who.user[1], SPAN("carol"));
	assert_int_equal(who.user[2].len, 0);
	assert_int_equal(who.token_read->n, 2);
	assert_span(who.token_read->pattern[1], SPAN("b"));
	assert_int_equal(who.token_publish->n, 1);
	assert_span(who.token_publish->pattern[0], SPAN("c"));
	assert_span(who.env(who.env_arg, SPAN("TENANT")), SPAN("acme"));
	assert_null(who.env(who.env_arg, SPAN("TENAN")).p);
	assert_null(who.app);
	assert_int_equal(p->token_issued_s, -1);
	assert_int_equal(p->token_expires_s, 2000);
	assert_true(pass_has_user(p, SPAN("carol")));
	assert_false(pass_has_user(p, SPAN("")));
	pass_unref(&p);
}

/* A fresh token of the same person is another visitor: it ends later. */
static void
tokens_that_end_at_other_times_are_two(void **state)
{
	struct token *t = carols();
	const struct pass_wish w = {.token = t};
	struct pass *a = got(&w), *b;

	(void)state;
	t->expires_s++;
	b = got(&w);
	assert_ptr_not_equal(a, b);
	pass_unref(&a);
	pass_unref(&b);
	free(t);
}

static void
a_question_belongs_to_what_was_asked(void **state)
{
	const struct pass_wish alice = {.user = SPAN("alice")};
	const struct span channel[] = {SPAN("x"), SPAN("y.*")};
	struct pass_question q = {.cookie = SPAN("s=1"),
	    .address = SPAN("192.0.2.1"),
	    .channel = channel,
	    .n_channels = 2};
	struct pass *p = got(&alice), *a, *b, *c;

	(void)state;
	assert_status(pass_asking(all, p, &q, &a), ST_OK);
	assert_status(pass_asking(all, p, &q, &b), ST_OK);
	assert_ptr_equal(a, b);
	assert_true(a->asks && !p->asks);
	assert_span(a->user, SPAN("alice"));
	assert_span(a->cookie, SPAN("s=1"));
	assert_int_equal(a->channels.n, 2);
	assert_span(a->channels.pattern[1], SPAN("y.*"));
	q.cookie = SPAN("s=2");
	assert_status(pass_asking(all, p, &q, &c), ST_OK);
	assert_ptr_not_equal(a, c);
	pass_unref(&p);
	pass_unref(&a);
	pass_unref(&b);
	pass_unref(&c);
}

static void
without_memory_there_is_none_and_nothing_is_left(void **state)
{
	const struct pass_wish alice = {.user = SPAN("alice")};
	struct pass *p;
	unsigned i;

	(void)state;
	for (i = 1; i < 20; i++) {
		fault_alloc_at(i);
		if (pass_get(all, &alice, &p) == ST_OK)
			break;
		assert_int_equal(passes_count(all), 0);
	}
	fault_alloc_at(0);
	assert_true(i > 3 && i < 20);
	pass_unref(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(who_brings_nothing_has_none),
	    cmocka_unit_test(visitors_with_the_same_share_one),
	    cmocka_unit_test(pieces_do_not_run_into_each_other),
	    cmocka_unit_test(what_a_token_says_is_kept),
	    cmocka_unit_test(tokens_that_end_at_other_times_are_two),
	    cmocka_unit_test(a_question_belongs_to_what_was_asked),
	    cmocka_unit_test(without_memory_there_is_none_and_nothing_is_left),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: MIT */
/* Tokens: what is believed, and what is not. */
#include <string.h>

#include "base64url.h"
#include "token.h"
#include "unit.h"

#define NOW    INT64_C(1760000000)
#define SECRET "0123456789abcdef0123456789abcdef"

static const struct token_rules any_rules = {.audience = {"", 0},
    .issuer = {"", 0}};

static struct token_keys *
keys_of(const char *text)
{
	struct token_keys *k = NULL;
	struct errmsg err = {""};
	enum status st = token_keys_parse(&k, span_str(text), "k", &err);

	if (st != ST_OK)
		print_error("%s\n", err.text);
	assert_status(st, ST_OK);
	return k;
}

static void
minted(struct buf *out, const struct token_keys *k, const struct token_wish *w)
{
	struct errmsg err = {""};

	buf_init(out, 2 * TOKEN_MAX_BYTES);
	assert_status(token_mint(k, w, out, &err), ST_OK);
}

static void
a_token_of_ours_is_read_whole(void **state)
{
	struct token_keys *k = keys_of(SECRET "\n");
	struct span read[2] = {SPAN("orders.*"), SPAN("no channel")};
	struct span publish[1] = {SPAN("a")};
	struct token_wish w = {.subject = SPAN("alice"),
	    .id = SPAN("id-1"),
	    .issued_s = NOW,
	    .expires_s = NOW + 60,
	    .read = {read, 2},
	    .publish = {publish, 1}};
	struct token t;
	struct buf b;

	(void)state;
	minted(&b, k, &w);
	token_init(&t);
	assert_int_equal(
	    token_verify(k, &any_rules, buf_span(&b), NOW, &t), TOKEN_NONE);
	assert_true(span_eq(t.subject, SPAN("alice")));
	assert_true(span_eq(t.id, SPAN("id-1")));
	assert_int_equal(t.expires_s, NOW + 60);
	assert_int_equal(t.issued_s, NOW);
	assert_int_equal(t.n_read, 1);
	assert_true(span_eq(t.read[0], SPAN("orders.*")));
	assert_int_equal(t.n_publish, 1);
	assert_int_equal(token_verify(k, &any_rules, buf_span(&b),
			     NOW + 60 + TOKEN_LEEWAY_S, &t),
	    TOKEN_EXPIRED);
	token_fini(&t);
	buf_fini(&b);
	token_keys_free(&k);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_token_of_ours_is_read_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * Tokens: what is believed, and what is not; the attacks are those of RFC 8725.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "base64url.h"
#include "token.h"
#include "unit.h"

#define NOW    INT64_C(1760000000)
#define SECRET "0123456789abcdef0123456789abcdef"
#define OTHER  "fedcba9876543210fedcba9876543210"

/* Test keys, made for this file and used nowhere else. */
#define EC_PUBLIC                                                              \
	"-----BEGIN PUBLIC KEY-----\n"                                         \
	"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3uso1Hh7VwK1mzsMPOmNqXTYKUZo\n"   \
	"8LSwmGVO09H6QHnyfipTQMpNvFzqZGhxUt7tyymB2X8fu53RfBm8QefaSA==\n"       \
	"-----END PUBLIC KEY-----\n"
#define EC_PRIVATE                                                             \
	"-----BEGIN PRIVATE KEY-----\n"                                        \
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgSdMaMsPPBxz5m1HP\n"   \
	"08Yy6exSfw1XgfRuauG6J4+UagahRANCAATe6yjUeHtXArWbOww86Y2pdNgpRmjw\n"   \
	"tLCYZU7T0fpAefJ+KlNAyk28XOpkaHFS3u3LKYHZfx+7ndF8GbxB59pI\n"           \
	"-----END PRIVATE KEY-----\n"

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

/* ---- a token by hand ----------------------------------------------------- */

static void
put_base64url(struct buf *out, struct span s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno"
				     "pqrstuvwxyz0123456789-_";
	size_t i;

	for (i = 0; i < s.len; i += 3) {
		size_t left = s.len - i, n = left >= 3 ? 4 : left + 1, j;
		unsigned v = (unsigned)(unsigned char)s.p[i] << 16;

		if (left > 1)
			v |= (unsigned)(unsigned char)s.p[i + 1] << 8;
		if (left > 2)
			v |= (unsigned char)s.p[i + 2];
		for (j = 0; j < n; j++)
			buf_add(out,
			    span_of(&digits[v >> (18 - 6 * j) & 63], 1));
	}
	assert_status(buf_finish(out, 0), ST_OK);
}

/* Signed by HMAC-SHA256, whatever its header says. */
static struct buf
forged(const char *header, const char *payload, const char *secret)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	struct buf b;

	buf_init(&b, 4 * TOKEN_MAX_BYTES);
	put_base64url(&b, span_str(header));
	buf_add(&b, SPAN("."));
	put_base64url(&b, span_str(payload));
	assert_non_null(HMAC(EVP_sha256(), secret, (int)strlen(secret),
	    (const unsigned char *)buf_span(&b).p, b.len, mac, &n));
	buf_add(&b, SPAN("."));
	put_base64url(&b, span_of((const char *)mac, n));
	return b;
}

static enum token_fault
verdict_of(const struct token_keys *k, const struct token_rules *r,
    struct span text)
{
	struct token t;
	enum token_fault fault;

	token_init(&t);
	fault = token_verify(k, r, text, NOW, &t);
	token_fini(&t);
	return fault;
}

#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define FINE  "{\"exp\":1760000060}"

static const struct {
	const char *header, *payload, *secret;
	enum token_fault fault;
} attacks[] = {
    {HS256, FINE, SECRET, TOKEN_NONE},
    {"{\"alg\":\"HS256\"}", FINE, SECRET, TOKEN_NONE},
    {HS256, FINE, OTHER, TOKEN_SIGNATURE},
    {HS256, FINE, "", TOKEN_SIGNATURE},
    /* the algorithm is the key's */
    {"{\"alg\":\"none\"}", FINE, SECRET, TOKEN_ALGORITHM},
    {"{\"alg\":\"None\"}", FINE, SECRET, TOKEN_ALGORITHM},
    {"{\"alg\":\"NONE\"}", FINE, SECRET, TOKEN_ALGORITHM},
    {"{\"alg\":\"nOnE\"}", FINE, SECRET, TOKEN_ALGORITHM},
    {"{\"alg\":\"\"}", FINE, SECRET, TOKEN_ALGORITHM},
    {"{\"alg\":null}", FINE, SECRET, TOKEN_ALGORITHM},
    {"{\"alg\":[\"HS256\"]}", FINE, SECRET, TOKEN_ALGORITHM},
    {"{\"typ\":\"JWT\"}", FINE, SECRET, TOKEN_ALGORITHM},
    {"{\"alg\":\"hs256\"}", FINE, SECRET, TOKEN_ALGORITHM},
    {"{\"alg\":\"HS512\"}", FINE, SECRET, TOKEN_ALGORITHM},
    {"{\"alg\":\"RS256\"}", FINE, SECRET, TOKEN_ALGORITHM},
    {"{\"alg\":\"ES256\"}", FINE, SECRET, TOKEN_ALGORITHM},
    {"{\"alg\":\"PS256\"}", FINE, SECRET, TOKEN_ALGORITHM},
    {"{\"alg\":\"none\",\"alg\":\"HS256\"}", FINE, SECRET, TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"alg\":\"none\"}", FINE, SECRET, TOKEN_MALFORMED},
    {"{\"\\u0061lg\":\"none\",\"alg\":\"HS256\"}", FINE, SECRET,
	TOKEN_MALFORMED},
    /* what a header may ask for is not done */
    {"{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", FINE, SECRET, TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"b64\":false}", FINE, SECRET, TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"zip\":\"DEF\"}", FINE, SECRET, TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"cty\":\"JWT\"}", FINE, SECRET, TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"kid\":7}", FINE, SECRET, TOKEN_MALFORMED},
    {"{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}", FINE, "",
	TOKEN_SIGNATURE},
    {"{\"alg\":\"HS256\",\"jku\":\"http://127.0.0.1/\"}", FINE, OTHER,
	TOKEN_SIGNATURE},
    {"{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":"
     "\"ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA\"}}",
	FINE, OTHER, TOKEN_SIGNATURE},
    /* the claims */
    {HS256, "{\"exp\":1760000060,\"https:\\/\\/x\\/roles\":[]}", SECRET,
	TOKEN_NONE},
    {HS256, "{}", SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":\"1760000060\"}", SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":1760000060.5}", SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":1.76e9}", SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":1e999}", SECRET, TOKEN_SIGNATURE}, /* to libjwt */
    {HS256, "{\"exp\":-1}", SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":null}", SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":true}", SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":[1760000060]}", SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":9223372036854775808}", SECRET, TOKEN_SIGNATURE},
    {HS256, "{\"exp\":99999999999999999999999999}", SECRET, TOKEN_SIGNATURE},
    {HS256, "{\"exp\":9223372036854775807}", SECRET, TOKEN_NONE},
    {HS256, "{\"exp\":253402300800}", SECRET, TOKEN_NONE}, /* year 10000 */
    {HS256, "{\"exp\":0}", SECRET, TOKEN_EXPIRED},
    {HS256, "{\"exp\":1759999940}", SECRET, TOKEN_EXPIRED},
    {HS256, "{\"exp\":1759999941}", SECRET, TOKEN_NONE}, /* in the leeway */
    {HS256, "{\"exp\":1760000060,\"nbf\":1760000060}", SECRET, TOKEN_NONE},
    {HS256, "{\"exp\":1760000090,\"nbf\":1760000061}", SECRET, TOKEN_NOT_YET},
    {HS256, "{\"exp\":1760000060,\"nbf\":\"0\"}", SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":1760000060,\"iat\":\"0\"}", SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":1760000060,\"exp\":1}", SECRET, TOKEN_MALFORMED},
    {HS256, "{\"exp\":1,\"exp\":1760000060}", SECRET, TOKEN_MALFORMED},
    {HS256, "{\"exp\":1760000060,\"\\u0065xp\":1}", SECRET, TOKEN_MALFORMED},
    {HS256, "{\"exp\":1760000060,\"sub\":7}", SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":1760000060,\"sub\":\"a\\u0000b\"}", SECRET,
	TOKEN_SIGNATURE},
    {HS256, "{\"exp\":1760000060,\"sub\":\"a\\nb\"}", SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":1760000060,\"jti\":{}}", SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":1760000060,\"walcast\":[]}", SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":1760000060,\"walcast\":{\"read\":\"*\"}}", SECRET,
	TOKEN_CLAIMS},
    {HS256, "{\"exp\":1760000060,\"walcast\":{\"read\":[],\"read\":[\"*\"]}}",
	SECRET, TOKEN_CLAIMS},
    {HS256, "{\"exp\":1760000060,\"mercure\":7}", SECRET, TOKEN_CLAIMS},
    {HS256, "[]", SECRET, TOKEN_MALFORMED},
    {HS256, "\"{}\"", SECRET, TOKEN_SIGNATURE},
    {HS256, "{\"exp\":1760000060", SECRET, TOKEN_SIGNATURE},
    {HS256, "{\"exp\":1760000060}}", SECRET, TOKEN_SIGNATURE},
};

static void
each_attack_is_told_from_a_token(void **state)
{
	struct token_keys *k = keys_of(SECRET "\n");
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		struct buf b = forged(attacks[i].header, attacks[i].payload,
		    attacks[i].secret);
		enum token_fault got = verdict_of(k, &any_rules, buf_span(&b));

		if (got != attacks[i].fault)
			print_error("%s %s: %s, not %s\n", attacks[i].header,
			    attacks[i].payload, token_fault_name(got),
			    token_fault_name(attacks[i].fault));
		assert_int_equal(got, attacks[i].fault);
		buf_fini(&b);
	}
	token_keys_free(&k);
}

/* RFC 8725, 2.1: a public key is no secret. */
static void
a_public_key_signs_nothing_as_a_secret(void **state)
{
	struct token_keys *k = keys_of(EC_PUBLIC);
	struct buf b = forged(HS256, FINE, EC_PUBLIC);

	(void)state;
	assert_int_equal(verdict_of(k, &any_rules, buf_span(&b)),
	    TOKEN_ALGORITHM);
	buf_fini(&b);
	token_keys_free(&k);
}

static void
what_has_not_three_parts_in_base64url_is_malformed(void **state)
{
	static const char *const texts[] = {"", ".", "..", "a", "a.b", "a..c",
	    ".b.c", "a.b.", "a.b.c.d", "!!!.e30.AAAA", "e30=.e30.AAAA",
	    "e 30.e30.AAAA"};
	struct token_keys *k = keys_of(SECRET);
	struct buf b = forged(HS256, FINE, SECRET);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(verdict_of(k, &any_rules, span_str(texts[i])),
		    TOKEN_MALFORMED);
	buf_add(&b, SPAN(".AAAA"));
	assert_int_equal(verdict_of(k, &any_rules, buf_span(&b)),
	    TOKEN_MALFORMED);
	buf_fini(&b);
	token_keys_free(&k);
}

/* Each byte of it counts. */
static void
a_token_that_was_touched_is_none(void **state)
{
	struct token_keys *k = keys_of(SECRET);
	struct buf b = forged(HS256,
	    "{\"exp\":1760000060,\"walcast\":{\"read\":[\"a\"]}}", SECRET);
	char text[512];
	size_t i, n = b.len;

	(void)state;
	assert_true(n < sizeof(text));
	for (i = 0; i < n; i++) {
		memcpy(text, buf_span(&b).p, n);
		text[i] = text[i] == 'A' ? 'B' : 'A';
		assert_int_not_equal(
		    verdict_of(k, &any_rules, span_of(text, n)), TOKEN_NONE);
	}
	assert_int_equal(verdict_of(k, &any_rules, buf_span(&b)), TOKEN_NONE);
	buf_fini(&b);
	token_keys_free(&k);
}

static void
a_huge_token_is_not_looked_at(void **state)
{
	static char big[TOKEN_MAX_BYTES + 1];
	struct token_keys *k = keys_of(SECRET);

	(void)state;
	memset(big, 'a', sizeof(big));
	assert_int_equal(verdict_of(k, &any_rules, span_of(big, sizeof(big))),
	    TOKEN_TOO_LARGE);
	token_keys_free(&k);
}

static void
audience_and_issuer_count_where_they_are_asked_for(void **state)
{
	static const struct {
		const char *payload;
		enum token_fault aud, iss;
	} rows[] = {
	    {"{\"exp\":1760000060}", TOKEN_AUDIENCE, TOKEN_ISSUER},
	    {"{\"exp\":1760000060,\"aud\":\"us\",\"iss\":\"me\"}", TOKEN_NONE,
		TOKEN_NONE},
	    {"{\"exp\":1760000060,\"aud\":[\"x\",\"us\"],\"iss\":\"you\"}",
		TOKEN_NONE, TOKEN_ISSUER},
	    {"{\"exp\":1760000060,\"aud\":[],\"iss\":[\"me\"]}", TOKEN_AUDIENCE,
		TOKEN_ISSUER},
	    {"{\"exp\":1760000060,\"aud\":\"usa\",\"iss\":\"m\"}",
		TOKEN_AUDIENCE, TOKEN_ISSUER},
	};
	const struct token_rules aud = {SPAN("us"), SPAN("")};
	const struct token_rules iss = {SPAN(""), SPAN("me")};
	struct token_keys *k = keys_of(SECRET);
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = forged(HS256, rows[i].payload, SECRET);

		assert_int_equal(verdict_of(k, &any_rules, buf_span(&b)),
		    TOKEN_NONE);
		assert_int_equal(verdict_of(k, &aud, buf_span(&b)),
		    rows[i].aud);
		assert_int_equal(verdict_of(k, &iss, buf_span(&b)),
		    rows[i].iss);
		buf_fini(&b);
	}
	token_keys_free(&k);
}

/* ---- what it grants ------------------------------------------------------ */

static void
topics_of_mercure_become_patterns(void **state)
{
	struct token_keys *k = keys_of(SECRET);
	struct buf b = forged(HS256,
	    "{\"exp\":1760000060,\"mercure\":{\"subscribe\":["
	    "\"https://x.example/books/1\",\"https://x.example/books/{id}\","
	    "\"*\",\"/a/{id}/b\",\"{x}{y}\",\"a "
	    "b\",\"system.x\",7,\"{all}\",\"use{id}\",\"a/{?q}\",\"a/"
	    "{+q}\",\"a/{}\"],"
	    "\"publish\":[\"p\"]}}",
	    SECRET);
	struct token t;

	(void)state;
	token_init(&t);
	assert_int_equal(token_verify(k, &any_rules, buf_span(&b), NOW, &t),
	    TOKEN_NONE);
	assert_int_equal(t.n_read, 3);
	assert_true(span_eq(t.read[0], SPAN("https://x.example/books/1")));
	assert_true(span_eq(t.read[1], SPAN("https://x.example/books/*")));
	assert_true(span_eq(t.read[2], SPAN("*")));
	assert_int_equal(t.n_publish, 1);
	token_fini(&t);
	buf_fini(&b);
	token_keys_free(&k);
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
	static const char *const keys[] = {SECRET "\n", EC_PRIVATE,
	    "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\",\"k\":"
	    "\"ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA\"}]}"};
	struct span read[2] = {SPAN("orders.*"), SPAN("no channel")};
	struct span publish[1] = {SPAN("a")};
	struct token_wish w = {.subject = SPAN("al\"ice"),
	    .id = SPAN("id-1"),
	    .issued_s = NOW,
	    .expires_s = NOW + 60,
	    .read = {read, 2},
	    .publish = {publish, 1}};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		struct token_keys *k = keys_of(keys[i]);
		struct token t;
		struct buf b;

		minted(&b, k, &w);
		token_init(&t);
		assert_int_equal(
		    token_verify(k, &any_rules, buf_span(&b), NOW, &t),
		    TOKEN_NONE);
		assert_true(span_eq(t.subject, SPAN("al\"ice")));
		assert_true(span_eq(t.id, SPAN("id-1")));
		assert_int_equal(t.expires_s, NOW + 60);
		assert_int_equal(t.issued_s, NOW);
		assert_int_equal(t.n_read, 1);
		assert_true(span_eq(t.read[0], SPAN("orders.*")));
		assert_int_equal(t.n_publish, 1);
		token_fini(&t);
		buf_fini(&b);
		token_keys_free(&k);
	}
}

/* ---- keys ---------------------------------------------------------------- */

static void
the_key_is_found_by_its_name(void **state)
{
	struct token_keys *both = keys_of(
	    "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"old\",\"k\":"
	    "\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"},"
	    "{\"kty\":\"oct\",\"kid\":\"new\",\"k\":"
	    "\"ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA\"}]}");
	struct buf old = forged("{\"alg\":\"HS256\",\"kid\":\"old\"}", FINE,
	    SECRET);
	struct buf wrong = forged("{\"alg\":\"HS256\",\"kid\":\"new\"}", FINE,
	    SECRET);
	struct buf none = forged(HS256, FINE, OTHER);
	struct buf unknown = forged("{\"alg\":\"HS256\",\"kid\":\"x\"}", FINE,
	    SECRET);

	(void)state;
	assert_int_equal(verdict_of(both, &any_rules, buf_span(&old)),
	    TOKEN_NONE);
	assert_int_equal(verdict_of(both, &any_rules, buf_span(&wrong)),
	    TOKEN_SIGNATURE);
	assert_int_equal(verdict_of(both, &any_rules, buf_span(&none)),
	    TOKEN_NONE);
	assert_int_equal(verdict_of(both, &any_rules, buf_span(&unknown)),
	    TOKEN_KEY);
	buf_fini(&old);
	buf_fini(&wrong);
	buf_fini(&none);
	buf_fini(&unknown);
	token_keys_free(&both);
}

static const struct {
	const char *text, *error;
} bad_keys[] = {
    {"", "less than 32 bytes"},
    {"0123456789abcdef0123456789abcde\n", "less than 32 bytes"},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "less than 8 different"},
    {"{\"keys\":[]}", "no key in it that can be used"},
    {"{\"keys\":7}", "`keys` is no array"},
    {"{\"keys\":[7]}", "is no object"},
    {"{\"keys\":", "is no JSON"},
    {"{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}", "less than 32 bytes"},
    {"{\"kty\":\"oct\",\"k\":\"!\"}", "no base64url"},
    {"{\"kty\":\"oct\",\"alg\":\"HS512\",\"k\":"
     "\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}",
	"too short for the algorithm"},
    {"{\"kty\":\"oct\",\"alg\":\"RS256\",\"k\":"
     "\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}",
	"too short for the algorithm"},
    {"{\"kty\":\"oct\",\"kid\":7,\"k\":"
     "\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}",
	"is no string"},
    {"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", "key"},
    {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\",\"y\":\"AQ\"}", "key"},
    {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQ\"}", "no key in it"},
    {"{\"kty\":\"oct\",\"use\":\"enc\",\"k\":"
     "\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}",
	"no key in it"},
    {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
	"a key cannot be read"},
    {"-----BEGIN PUBLIC KEY-----\nAAAA\n", "no END line"},
};

static void
a_bad_key_is_told_without_it(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad_keys) / sizeof(bad_keys[0]); i++) {
		struct token_keys *k = NULL;
		struct errmsg err = {""};
		enum status st = token_keys_parse(&k,
		    span_str(bad_keys[i].text), "f", &err);

		if (st != ST_INVALID || !strstr(err.text, bad_keys[i].error))
			print_error("%s: %s\n", bad_keys[i].text, err.text);
		assert_status(st, ST_INVALID);
		assert_null(k);
		assert_non_null(strstr(err.text, bad_keys[i].error));
		assert_null(strstr(err.text, "MDEyMzQ1"));
	}
}

/* Everybody knows it, so nobody may sign with it. */
static void
a_public_key_in_an_odd_file_is_no_secret(void **state)
{
	static const char *const before[] = {"\n", "\r\n\r\n", "\xef\xbb\xbf",
	    " \t\n", "\xef\xbb\xbf\n"};
	static const char *const others[] = {"Bag Attributes\n" EC_PUBLIC,
	    "# ours\n" EC_PUBLIC, "[{\"kty\":\"EC\",\"crv\":\"P-256\"}]",
	    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDabcdefgh me",
	    "---- BEGIN SSH2 PUBLIC KEY ----\nAAAAB3NzaC1yc2EAAAADAQAB\n"};
	char text[1024];
	struct errmsg err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		struct token_keys *k;
		struct buf b;

		(void)snprintf(text, sizeof(text), "%s%s", before[i],
		    EC_PUBLIC);
		k = keys_of(text);
		b = forged(HS256, FINE, text);
		assert_int_equal(verdict_of(k, &any_rules, buf_span(&b)),
		    TOKEN_ALGORITHM);
		buf_fini(&b);
		token_keys_free(&k);
	}
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct token_keys *k = NULL;

		assert_status(
		    token_keys_parse(&k, span_str(others[i]), "f", &err),
		    ST_INVALID);
		assert_null(k);
	}
}

static void
a_signature_has_one_text(void **state)
{
	struct token_keys *k = keys_of(SECRET);
	struct buf b = forged(HS256, FINE, SECRET);

	(void)state;
	assert_int_equal(verdict_of(k, &any_rules, buf_span(&b)), TOKEN_NONE);
	buf_add(&b, SPAN("\0junk"));
	assert_int_equal(verdict_of(k, &any_rules, buf_span(&b)),
	    TOKEN_MALFORMED);
	buf_fini(&b);
	token_keys_free(&k);
}

/* Of a modulus of 2048 bits with the exponent 1. */
static void
an_exponent_that_signs_for_everybody_is_refused(void **state)
{
	char text[512];
	struct token_keys *k = NULL;
	struct errmsg err = {""};
	char n[344];

	(void)state;
	memset(n, 'x', sizeof(n) - 3);
	memcpy(n + sizeof(n) - 3, "w", 2);
	(void)snprintf(text, sizeof(text),
	    "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQ\"}", n);
	assert_status(token_keys_parse(&k, span_str(text), "f", &err),
	    ST_INVALID);
	assert_non_null(strstr(err.text, "exponent"));
	(void)snprintf(text, sizeof(text),
	    "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"AQAB\"}", n);
	assert_status(token_keys_parse(&k, span_str(text), "f", &err), ST_OK);
	token_keys_free(&k);
}

/* Nine keys without a name before it do not hide the one that is named. */
static void
a_key_that_is_named_is_tried_first(void **state)
{
	char text[2048] = "{\"keys\":[";
	struct buf b = forged("{\"alg\":\"HS256\",\"kid\":\"z\"}", FINE,
	    SECRET);
	struct token_keys *k;
	size_t i;

	(void)state;
	for (i = 0; i < 9; i++)
		strcat(text,
		    "{\"kty\":\"oct\",\"k\":"
		    "\"ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA\"},");
	strcat(text,
	    "{\"kty\":\"oct\",\"kid\":\"z\",\"k\":"
	    "\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\"}]}");
	k = keys_of(text);
	assert_int_equal(verdict_of(k, &any_rules, buf_span(&b)), TOKEN_NONE);
	buf_fini(&b);
	token_keys_free(&k);
}

static void
base64url_has_one_text_for_each_value(void **state)
{
	static const char *const bad[] = {"A", "AB", "ABC", "AAAAA",
	    "AA==", "A+AA", "A/AA", "AA\n", "A A"};
	struct buf b;
	size_t i;

	(void)state;
	buf_init(&b, 100);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		buf_clear(&b);
		assert_status(base64url_decode(&b, span_str(bad[i])),
		    ST_INVALID);
	}
	buf_clear(&b);
	assert_status(base64url_decode(&b, SPAN("AA")), ST_OK);
	assert_int_equal(b.len, 1);
	buf_clear(&b);
	assert_status(base64url_decode(&b, SPAN("-_8")), ST_OK);
	assert_memory_equal(buf_span(&b).p, "\xfb\xff", 2);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_attack_is_told_from_a_token),
	    cmocka_unit_test(a_public_key_signs_nothing_as_a_secret),
	    cmocka_unit_test(
		what_has_not_three_parts_in_base64url_is_malformed),
	    cmocka_unit_test(a_token_that_was_touched_is_none),
	    cmocka_unit_test(a_huge_token_is_not_looked_at),
	    cmocka_unit_test(
		audience_and_issuer_count_where_they_are_asked_for),
	    cmocka_unit_test(topics_of_mercure_become_patterns),
	    cmocka_unit_test(a_token_of_ours_is_read_whole),
	    cmocka_unit_test(the_key_is_found_by_its_name),
	    cmocka_unit_test(a_bad_key_is_told_without_it),
	    cmocka_unit_test(a_public_key_in_an_odd_file_is_no_secret),
	    cmocka_unit_test(a_signature_has_one_text),
	    cmocka_unit_test(an_exponent_that_signs_for_everybody_is_refused),
	    cmocka_unit_test(a_key_that_is_named_is_tried_first),
	    cmocka_unit_test(base64url_has_one_text_for_each_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

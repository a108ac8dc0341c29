/* SPDX-License-Identifier: MIT */
/*
 * Tokens of any bytes.  Two keys are known: a secret that signs here, so that
 * what the fuzzer writes as header and claims is read as deep as it goes; and a
 * public one, which signs nothing.
 *
 * Input: a mode; then a token as it is, or a header, a zero byte, and claims.
 * A token is taken only if it was signed here, under a header of our algorithm,
 * and then it has an end that has not passed, and lists of valid patterns.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "name.h"
#include "token.h"

#define NOW    INT64_C(1760000000)
#define SECRET "0123456789abcdef0123456789abcdef"
#define PUBLIC                                                                 \
	"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"ec\","         \
	"\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","               \
	"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}"

static struct token_keys *secret_key, *public_key;

static struct token_keys *
made_keys(const char *text)
{
	struct token_keys *k = NULL;
	struct errmsg err;

	MUST(token_keys_parse(&k, span_str(text), "k", &err) == ST_OK);
	return k;
}

static void
put_base64url(struct buf *out, struct span s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno"
				     "pqrstuvwxyz0123456789-_";
	size_t i, j;

	for (i = 0; i < s.len; i += 3) {
		size_t left = s.len - i, n = left >= 3 ? 4 : left + 1;
		unsigned v = (unsigned)(unsigned char)s.p[i] << 16;

		if (left > 1)
			v |= (unsigned)(unsigned char)s.p[i + 1] << 8;
		if (left > 2)
			v |= (unsigned char)s.p[i + 2];
		for (j = 0; j < n; j++)
			buf_add(out,
			    span_of(&digits[v >> (18 - 6 * j) & 63], 1));
	}
}

static void
sign(struct buf *b, struct span header, struct span claims)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned int n = 0;

	put_base64url(b, header);
	buf_add(b, SPAN("."));
	put_base64url(b, claims);
	MUST(
	    HMAC(EVP_sha256(), SECRET, (int)strlen(SECRET),
		(const unsigned char *)buf_span(b).p, b->len, mac, &n) != NULL);
	buf_add(b, SPAN("."));
	put_base64url(b, span_of((const char *)mac, n));
	MUST(buf_finish(b, 0) == ST_OK);
}

static void
check_list(const struct span *list, size_t n)
{
	size_t i;

	MUST(n <= TOKEN_MAX_PATTERNS);
	for (i = 0; i < n; i++)
		MUST(name_pattern_ok(list[i]) && !name_reserved(list[i]));
}

static void
try_token(const struct token_keys *k, struct span text, bool may_be_taken)
{
	static const struct token_rules rules = {{"", 0}, {"", 0}};
	enum token_fault fault;
	struct token t;

	token_init(&t);
	fault = token_verify(k, &rules, text, NOW, &t);
	if (fault == TOKEN_NONE) {
		MUST(may_be_taken);
		MUST(t.expires_s > NOW - TOKEN_LEEWAY_S);
		MUST(t.subject.len <= 256 && t.id.len <= 256);
		MUST(!name_has_control(t.subject) && !name_has_control(t.id));
		check_list(t.read, t.n_read);
		check_list(t.publish, t.n_publish);
	}
	token_fini(&t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of((const char *)data, size), header;
	bool as_it_is;
	struct buf b;

	if (secret_key == NULL) {
		secret_key = made_keys(SECRET);
		public_key = made_keys(PUBLIC);
	}
	if (size < 2 || size > TOKEN_MAX_BYTES)
		return 0;
	as_it_is = data[0] % 2 == 0;
	text = span_skip(text, 1);
	if (as_it_is) {
		/* Nobody guesses a signature; a seed has none for this key. */
		try_token(public_key, text, false);
		try_token(secret_key, text, false);
		return 0;
	}
	buf_init(&b, 4 * TOKEN_MAX_BYTES);
	if (!span_cut(&text, '\0', &header))
		header = SPAN("");
	sign(&b, header, text.p == NULL ? SPAN("") : text);
	try_token(secret_key, buf_span(&b), true);
	try_token(public_key, buf_span(&b), false);
	buf_fini(&b);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * A file of token keys of any bytes: it is refused with a reason, or each of
 * its keys has an algorithm, and none is shorter than it may be.
 *
 * Input: the file.
 */
#include "token_keys.h"

#include <string.h>

#include "fuzz.h"

#define HS 7u /* the bits of HS256, HS384, HS512 */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of((const char *)data, size);
	struct token_keys *k = NULL;
	struct errmsg err = {""};
	enum status st = token_keys_parse(&k, text, "f", &err);
	size_t i;

	if (st != ST_OK) {
		MUST(k == NULL);
		MUST(st == ST_NOMEM ||
		    (st == ST_INVALID && err.text[0] != '\0'));
		return 0;
	}
	MUST(token_keys_count(k) > 0 && token_keys_count(k) <= TOKEN_KEYS_MAX);
	for (i = 0; i < token_keys_count(k); i++) {
		const struct token_key *key = token_keys_at(k, i);

		MUST(key->algorithms != 0 &&
		    key->algorithms < 1u << TOKEN_ALGORITHM_COUNT);
		MUST(key->verify.len >= 32 && key->id.len <= 128);
		/* A public key is never a secret, nor the other way round. */
		MUST((key->algorithms & HS) == 0 ||
		    (key->algorithms & ~HS) == 0);
		MUST((key->algorithms & HS) != 0 ||
		    memmem(key->verify.p, key->verify.len, "PUBLIC KEY", 10) !=
			NULL);
	}
	token_keys_free(&k);
	MUST(k == NULL);
	return 0;
}

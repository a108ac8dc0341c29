/* SPDX-License-Identifier: MIT */
/*
 * The keys that tokens are checked with: `token_keys = FILE`, a JWK set (RFC
 * 7517), one or more PEM keys, or a secret of at least 32 bytes.  No key is in
 * any message, and memory that held one is wiped.
 */
#ifndef WALCAST_TOKEN_KEYS_H
#define WALCAST_TOKEN_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "span.h"
#include "status.h"

#define TOKEN_KEYS_MAX 64

/* X(MEMBER, `alg`) */
#define TOKEN_ALGORITHMS(X)                                                    \
	X(HS256, "HS256")                                                      \
	X(HS384, "HS384")                                                      \
	X(HS512, "HS512")                                                      \
	X(RS256, "RS256")                                                      \
	X(ES256, "ES256")

enum token_algorithm {
#define X(member, word) TOKEN_ALG_##member,
	TOKEN_ALGORITHMS(X)
#undef X
	    TOKEN_ALGORITHM_COUNT
};

struct token_key {
	struct span id;      /* `kid`; empty: none */
	uint32_t algorithms; /* a bit for each that it may be used with */
	struct span verify;  /* HS*: the secret; else the public key in PEM,
				a NUL behind it */
	struct span sign;    /* the secret or private key; empty: it cannot */
};

/* False: the word is none of them. */
bool token_algorithm_of(struct span word, enum token_algorithm *out);

struct token_keys; /* those of one file */

/*
 * Returns  ST_OK, ST_NOTFOUND, ST_DENIED, ST_NOMEM, ST_INVALID: err says
 *          "FILE: what is wrong and what to do"
 */
MUST_USE enum status token_keys_open(struct token_keys **out, const char *path,
    struct errmsg *err);

/* The same from a text, for tests and fuzzers. */
MUST_USE enum status token_keys_parse(struct token_keys **out, struct span text,
    const char *name, struct errmsg *err);
void token_keys_free(struct token_keys **k);

/*
 * Reads the file again if it is another one than it was; one stat(2) when it
 * is not.  On failure the keys stay as they were.
 *
 * changed  whether anything was read
 */
MUST_USE enum status token_keys_refresh(struct token_keys **k, const char *path,
    bool *changed, struct errmsg *err);

size_t token_keys_count(const struct token_keys *k);
const struct token_key *token_keys_at(const struct token_keys *k, size_t i);

/* What is odd about the file, such as that others may read it; NULL: nothing.
 */
const char *token_keys_warning(const struct token_keys *k);

#endif

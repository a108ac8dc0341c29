/* SPDX-License-Identifier: MIT */
/*
 * Tokens: JSON Web Tokens, signed (RFC 7519, RFC 7515; attacks: RFC 8725).
 * The algorithm is the key's and never the token's.  The only module that
 * knows libjwt.
 */
#ifndef WALCAST_TOKEN_H
#define WALCAST_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access.h"
#include "buf.h"
#include "span.h"
#include "status.h"
#include "token_keys.h"

#define TOKEN_MAX_BYTES    8192
#define TOKEN_MAX_PATTERNS 256 /* in each list */
#define TOKEN_LEEWAY_S     60

/* Why a token is not taken: X(MEMBER, word in logs and metrics). */
#define TOKEN_FAULTS(X)                                                        \
	X(NONE, "none")                                                        \
	X(MALFORMED, "malformed")                                              \
	X(TOO_LARGE, "too_large")                                              \
	X(ALGORITHM, "algorithm")                                              \
	X(KEY, "key") /* its `kid` is none of ours */                          \
	X(SIGNATURE, "signature")                                              \
	X(CLAIMS, "claims") /* exp is missing, or a claim is not its type */   \
	X(EXPIRED, "expired")                                                  \
	X(NOT_YET, "not_yet")                                                  \
	X(AUDIENCE, "audience")                                                \
	X(ISSUER, "issuer")                                                    \
	X(REVOKED, "revoked") /* found by the caller */                        \
	X(MEMORY, "memory")

enum token_fault {
#define X(member, word) TOKEN_##member,
	TOKEN_FAULTS(X)
#undef X
	    TOKEN_FAULT_COUNT
};

struct token_rules {
	struct span audience; /* one of them must be in `aud`; empty: any */
	struct span issuer;   /* empty: any */
};

/* What a verified token says.  Spans point into `text`. */
struct token {
	struct buf text;
	struct span subject; /* `sub`; empty: none */
	struct span id;      /* `jti`; empty: none */
	int64_t expires_s;
	int64_t issued_s; /* `iat`; -1: it does not say */
	struct span read[TOKEN_MAX_PATTERNS], publish[TOKEN_MAX_PATTERNS];
	size_t n_read, n_publish;
};

void token_init(struct token *t);
void token_fini(struct token *t);

/*
 * Verifies a token.  Signature first: only a token that we have signed can be
 * TOKEN_EXPIRED, NOT_YET, AUDIENCE or ISSUER.
 *
 * now_s    Unix time
 * Returns  TOKEN_NONE: *out is filled; else why not
 */
enum token_fault token_verify(const struct token_keys *k,
    const struct token_rules *r, struct span text, int64_t now_s,
    struct token *out);

struct token_wish {
	struct span subject, id; /* empty: none */
	struct span audience, issuer;
	int64_t issued_s, expires_s;
	struct access_list read, publish;
	struct span key_id; /* which key signs; empty: the first that can */
};

/* Appends a signed token to `out`. */
MUST_USE enum status token_mint(const struct token_keys *k,
    const struct token_wish *w, struct buf *out, struct errmsg *err);

const char *token_fault_name(enum token_fault fault);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Who a visitor is, as long as he has streams: his names, what his token
 * allows, the variables that rules name, and what the application answered.
 * Visitors with the same share one pass, so that many tabs of one person cost
 * what one does.  What it holds of secrets is wiped when it goes.
 */
#ifndef WALCAST_PASS_H
#define WALCAST_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access.h"
#include "authorizer.h"
#include "span.h"
#include "status.h"
#include "token.h"

struct passes; /* all of a worker */

struct pass_env {
	struct span name, value;
};

/* What a pass is made of; spans are copied. */
struct pass_wish {
	struct span user;          /* of the web server */
	const struct token *token; /* verified; NULL: none */
	const struct pass_env *env;
	size_t n_env;
};

/* What the application is asked, and so what its answer belongs to. */
struct pass_question {
	struct span cookie, authorization, address, host;
	const struct span *channel; /* as asked for */
	size_t n_channels;
};

struct pass {
	struct span user, token_user, token_id;
	bool has_token;
	int64_t token_expires_s, token_issued_s; /* -1: it does not say */
	struct access_list token_read, token_publish;
	const struct pass_env *env;
	size_t n_env;
	bool asks; /* the rest is set: the application decides */
	struct span cookie, authorization, address, host;
	struct access_list channels;
	struct authorizer_answer *answer; /* NULL: none so far */
	struct authorizer_wait *wait;     /* it is being asked again */
	void *owner;                      /* for who asks again */
	struct pass_private *own;
};

MUST_USE enum status passes_new(struct passes **out);
void passes_free(struct passes **p);

/*
 * The pass of this visitor, and one reference; *out is NULL for a visitor of
 * whom nothing is known.
 * Returns  ST_OK, ST_NOMEM
 */
MUST_USE enum status pass_get(struct passes *all, const struct pass_wish *w,
    struct pass **out);
/*
 * The same visitor with a question.
 *
 * p        NULL: nobody in particular
 */
MUST_USE enum status pass_asking(struct passes *all, const struct pass *p,
    const struct pass_question *q, struct pass **out);
void pass_unref(struct pass **p);
struct pass *pass_ref(struct pass *p);

/* Calls fn for each pass; fn may not give any back. */
void passes_each(struct passes *all, void (*fn)(void *arg, struct pass *p),
    void *arg);

/* Who he is to the rules.  p NULL: nobody in particular. */
struct access_person pass_person(const struct pass *p);

/* Is this one of his names? */
bool pass_has_user(const struct pass *p, struct span user);

size_t passes_count(const struct passes *all);

#endif

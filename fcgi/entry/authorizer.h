/* SPDX-License-Identifier: MIT */
/*
 * Asks the application (`authorizer = fcgi:SOCKET:SCRIPT`) what a visitor may
 * read, without blocking.  Visitors with the same credential share one question
 * and its answer for as long as the answer says.  A bound on how many are asked
 * at once; nobody waits for longer than authorizer_timeout_ms.
 */
#ifndef WALCAST_AUTHORIZER_H
#define WALCAST_AUTHORIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access.h"
#include "hist.h"
#include "span.h"
#include "status.h"

struct authorizer;
struct conf;
struct loop;

/* What came of a question: X(MEMBER, word in logs and metrics). */
#define AUTHORIZER_RESULTS(X)                                                  \
	X(ALLOWED, "allowed") /* 2xx: its channels are in the answer */        \
	X(REFUSED, "refused") /* 401, 403 */                                   \
	X(ERROR, "error")     /* another status, or nonsense */                \
	X(TIMEOUT, "timeout")                                                  \
	X(UNREACHABLE, "unreachable")                                          \
	X(BUSY, "busy") /* too many are being asked */

enum authorizer_result {
#define X(member, word) AUTHORIZER_##member,
	AUTHORIZER_RESULTS(X)
#undef X
	    AUTHORIZER_RESULT_COUNT
};

/* Shared by all that it was given to; taken by _ref, given back by _unref. */
struct authorizer_answer {
	enum authorizer_result result;
	struct access_list channels; /* X-Walcast-Channels; ALLOWED only */
	struct span user;            /* X-Walcast-User; empty: none */
	uint64_t until_us;           /* monotonic: its age ends then */
	uint64_t asked_us;           /* when the question went out */
	uint32_t refs;               /* private */
};

struct authorizer_answer *authorizer_ref(struct authorizer_answer *a);
void authorizer_unref(struct authorizer_answer **a);

/* A question; what it points to is copied. */
struct authorizer_question {
	struct span cookie, authorization; /* the visitor's own, as they came */
	struct span address;
	struct access_list channels; /* as asked for; patterns too */
	struct span host, uri; /* of the visitor's request; may be empty */
};

struct authorizer_wait; /* somebody waits for an answer */

struct authorizer_counters {
	uint64_t n_results[AUTHORIZER_RESULT_COUNT]; /* of questions asked */
	uint64_t n_cached, n_shared; /* answered from memory, by another's */
	struct hist latency;         /* microseconds, of those answered */
};

/* authorizer_* of *c are read at each question; c and l outlive it. */
/* *out is NULL when `authorizer` is not set. */
MUST_USE enum status authorizer_new(struct authorizer **out, struct loop *l,
    const struct conf *c);
void authorizer_free(struct authorizer **a);

/*
 * Asks.  `done` is called exactly once, from the loop and never before this
 * returns, unless the wait is cancelled; the answer is the callee's to _ref.
 *
 * fresh    do not answer from memory: a running stream's age ends
 * Returns  ST_OK, ST_NOMEM
 */
MUST_USE enum status authorizer_ask(struct authorizer *a,
    const struct authorizer_question *q, bool fresh,
    void (*done)(void *arg, struct authorizer_answer *answer), void *arg,
    struct authorizer_wait **wait);
void authorizer_cancel(struct authorizer_wait **wait);

/* Forgets the answers that name this user; asked ones that are out, too, end
 * as AUTHORIZER_BUSY, since they were asked before.  Empty: all of them. */
void authorizer_forget(struct authorizer *a, struct span user);

size_t authorizer_n_asked(const struct authorizer *a);
size_t authorizer_n_remembered(const struct authorizer *a);
const struct authorizer_counters *authorizer_counters(
    const struct authorizer *a);
const char *authorizer_result_name(enum authorizer_result r);

/* Is the value of the key one that it understands?  Empty: yes, none. */
MUST_USE enum status authorizer_check(struct span value, struct errmsg *err);

#endif

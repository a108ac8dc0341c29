/* SPDX-License-Identifier: MIT */
/*
 * Authorization: the rules and keys that are in force, who a visitor is, and
 * whether he may read what he asks for.  While `access` is not set everybody
 * may, and nobody is looked at.  Blocks on reading small files, and on the log
 * for a look at two rows of a visitor with a token.
 */
#ifndef WALCAST_AUTHZ_H
#define WALCAST_AUTHZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access.h"
#include "params.h"
#include "pass.h"
#include "request.h"
#include "revocation.h"
#include "span.h"
#include "status.h"
#include "token.h"

struct authz;
struct conf;
struct log_reader;

/* conf and log outlive it.  err says what is wrong with which file. */
MUST_USE enum status authz_new(struct authz **out, const struct conf *c,
    struct log_reader *log, struct errmsg *err);
void authz_free(struct authz **a);

/* What the log is to say about them at the start of a server. */
void authz_say(struct authz *a);

/*
 * Reads the rules again, on HUP; what is wrong is logged, and then the old
 * ones stay.
 * Returns  whether the rules may be others now
 */
bool authz_reload(struct authz *a);

/* Grows with each reading. */
uint32_t authz_edition(const struct authz *a);

/* Is there an application to be asked, should a rule say so? */
bool authz_may_ask(const struct authz *a);

/* ... and does a rule say so? */
bool authz_asks(const struct authz *a);

enum authz_identity {
	AUTHZ_KNOWN,   /* *pass says who it is; NULL: nobody in particular */
	AUTHZ_EXPIRED, /* the same, without the token that has expired */
	AUTHZ_FORGED,  /* a token that is not to be believed: 401 */
	AUTHZ_UNSURE,  /* nobody knows now whether it was revoked */
	AUTHZ_NOMEM
};

/*
 * Who sends this request?
 *
 * why    for AUTHZ_FORGED
 */
enum authz_identity authz_identify(struct authz *a, const struct params *p,
    const struct request *r, struct pass **pass, enum token_fault *why);

/*
 * The application is to be asked about this visitor: *pass becomes one that
 * holds the question.
 * Returns  ST_OK, ST_NOMEM (it stays as it was)
 */
MUST_USE enum status authz_question(struct authz *a, const struct params *p,
    const struct request *r, struct pass **pass);

/* All visitors that have streams. */
struct passes *authz_passes(struct authz *a);

enum authz_verdict { AUTHZ_ALLOWED, AUTHZ_REFUSED, AUTHZ_ASK };

/*
 * May he read all of these?  *first is the first that he may not.
 * AUTHZ_ASK: that depends on the application, which was not asked.
 */
enum authz_verdict authz_judge(const struct authz *a, const struct pass *p,
    const struct span *channel, size_t n, size_t *first);

/* The lines that were tried for a channel and why each failed, for the log. */
#define AUTHZ_TRIED_BYTES 512
struct span authz_tried(const struct authz *a, const struct pass *p,
    struct span channel, char out[AUTHZ_TRIED_BYTES]);

/*
 * Was this kind of thing with this value revoked, by the log?  Of *wish only
 * these two are looked at.
 *
 * at_ms    what was given before that time (Unix) counts no more
 * Returns  ST_OK (it was), ST_NOTFOUND (it was not), else nobody knows
 */
MUST_USE enum status authz_look_up(struct authz *a,
    const struct revocation *wish, int64_t *at_ms);

/* Does a token's iat (-1: it does not say) lie before that time? */
bool authz_was_given_before(int64_t issued_s, int64_t at_ms);

/* Somebody was told that he may not; by the application, or by the rules. */
void authz_count_refused(struct authz *a, bool by_app);

struct authz_counters {
	uint64_t n_tokens[TOKEN_FAULT_COUNT];
	uint64_t n_refused[2]; /* by the rules; by the application */
};

const struct authz_counters *authz_counters(const struct authz *a);
size_t authz_n_visitors(const struct authz *a);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Streams that run are judged again: when the rules were read again, when a
 * token or the application's answer ends, when somebody is revoked.  Who may no
 * longer read gets control.close.  Never blocks but for the log.
 */
#ifndef WALCAST_REJUDGE_H
#define WALCAST_REJUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "authorizer.h"
#include "status.h"

struct authz;
struct conf;
struct hub;
struct loop;
struct pass;
struct rejudge;
struct revocation;
struct stream;

struct rejudge_options {
	const struct conf *conf; /* this and all below outlive it */
	struct loop *loop;
	struct hub *hub;
	struct authz *authz;
	struct authorizer *authorizer; /* NULL: nobody is asked */
};

MUST_USE enum status rejudge_new(struct rejudge **out,
    const struct rejudge_options *o);
void rejudge_free(struct rejudge **r);

/* A stream is about to begin: when and why it will end. */
void rejudge_begin(struct rejudge *r, struct stream *s);

/* For hub_options.due. */
bool rejudge_due(struct rejudge *r, struct stream *s, uint64_t now_us);

/* Ends the streams that it names. */
void rejudge_revoked(struct rejudge *r, const struct revocation *v);

/* Does a revocation name this visitor, or this stream of his? */
bool rejudge_names(const struct pass *p, uint64_t stream,
    const struct revocation *v);

/*
 * All streams are judged again, a bounded number at once, within a second: the
 * rules may be others.
 *
 * look_up  and looked up among what was revoked: some may have gone by unseen.
 *          While that cannot be done they stay, and it is tried again
 */
void rejudge_all(struct rejudge *r, bool look_up);

/* What the application is asked about a pass that asks. */
struct authorizer_question rejudge_question(const struct pass *p);

#endif

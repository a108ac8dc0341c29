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
struct event;
struct hub;
struct loop;
struct pass;
struct rejudge;
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

/* For hub_options.due and .revoked. */
bool rejudge_due(struct rejudge *r, struct stream *s, uint64_t now_us);
void rejudge_revoked(struct rejudge *r, const struct event *e);

/* The rules may be others: all streams are judged within a second. */
void rejudge_all(struct rejudge *r);

/* What the application is asked about a pass that asks. */
struct authorizer_question rejudge_question(const struct pass *p);

#endif

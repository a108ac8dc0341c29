/* SPDX-License-Identifier: MIT */
/*
 * A revocation: from `at_ms` on, all that was given to a user before, a token,
 * or a stream counts no more.  It is an event of the log, on a channel that no
 * client can read, so that every worker obeys it in the log's order; and a row
 * of the table `revocations`, where it outlives the event's retention.  Pure.
 *
 * The event's data: {"user":"alice","at_ms":1760000000000}, or "token", or
 * "stream" in place of "user".
 */
#ifndef WALCAST_REVOCATION_H
#define WALCAST_REVOCATION_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "span.h"
#include "status.h"

#define REVOCATION_CHANNEL   "system.revoke"
#define REVOCATION_EVENT     "revoke"
#define REVOCATION_MAX_VALUE 256 /* bytes of the value */

/* X(MEMBER, word on the wire and in the table); see frontend.h. */
#define REVOCATION_KINDS(X)                                                    \
	X(USER, "user")                                                        \
	X(TOKEN, "token") /* its `jti` */                                      \
	X(STREAM, "stream")

enum revocation_kind {
#define X(member, word) REVOKE_##member,
	REVOCATION_KINDS(X)
#undef X
	    REVOKE_KIND_COUNT
};

struct revocation {
	enum revocation_kind kind;
	struct span value;
	int64_t at_ms;    /* Unix time */
	int64_t until_ms; /* may be forgotten then; 0: never */
};

/* Appends the event's data.  ST_OK, ST_NOMEM, ST_FULL */
MUST_USE enum status revocation_encode(struct buf *out,
    const struct revocation *r);

/*
 * Reads it.  r->value points into `text`, where it is decoded.
 * Returns  ST_OK, ST_INVALID, ST_NOMEM
 */
MUST_USE enum status revocation_decode(struct span data, struct buf *text,
    struct revocation *r);

/* The stream that a value names, 16 hexadecimal digits as X-SSE-Stream says it.
 */
bool revocation_stream(struct span value, uint64_t *id);

const char *revocation_kind_name(enum revocation_kind kind);

#endif

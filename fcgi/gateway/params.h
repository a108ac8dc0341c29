/* SPDX-License-Identifier: MIT */
/*
 * The CGI variables of one request (RFC 3875 section 4.1) and, where it is
 * wanted, the beginning of its body, copied: they outlive the connection's
 * buffers.  Pure.
 */
#ifndef WALCAST_PARAMS_H
#define WALCAST_PARAMS_H

#include <stdbool.h>

#include "buf.h"
#include "span.h"
#include "status.h"

#define PARAMS_MAX       256         /* variables in one request */
#define PARAMS_MAX_BYTES (64 * 1024) /* names and values together */

struct params {
	struct buf text; /* NAME=VALUE, one after the other */
	struct buf body; /* its bound is what params_keep_body was told */
	size_t n;
	bool cut; /* some did not fit; which ones is not known */
	struct {
		unsigned name_at, name_len, value_at, value_len;
	} item[PARAMS_MAX];
};

void params_init(struct params *p);
void params_fini(struct params *p);

/* As _fini, for what held secrets of a visitor. */
void params_fini_wiped(struct params *p);

/* Adds "NAME=VALUE".  ST_FULL past the bounds, ST_INVALID without '='. */
MUST_USE enum status params_add(struct params *p, struct span pair);

/*
 * Before a request is read: so much of its body is kept, by default nothing.
 * The rest is read away; to see that there was more, ask for a byte more than
 * is allowed.
 */
void params_keep_body(struct params *p, size_t max_bytes);

/* Adds what still fits of a piece of the body.  ST_OK or ST_NOMEM. */
MUST_USE enum status params_add_body(struct params *p, struct span piece);

/* What was kept; valid until the params are touched. */
struct span params_body(const struct params *p);

/* The value, or SPAN_NONE (p NULL) when it is not there. */
struct span params_get(const struct params *p, const char *name);

/*
 * The same where it decides who somebody is: a variable that stands there
 * twice with different values counts as not set.
 */
struct span params_get_sure(const struct params *p, struct span name);

/* A copy of what is in *from, body and all; *to is params_init'ed.  ST_OK or
 * ST_NOMEM, and then *to is empty. */
MUST_USE enum status params_copy(struct params *to, const struct params *from);

#endif

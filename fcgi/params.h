/* SPDX-License-Identifier: MIT */
/*
 * The CGI variables of one request (RFC 3875 section 4.1), copied: they
 * outlive the connection's buffers.  Pure.
 */
#ifndef WALCAST_PARAMS_H
#define WALCAST_PARAMS_H

#include "buf.h"
#include "span.h"
#include "status.h"

#define PARAMS_MAX       256         /* variables in one request */
#define PARAMS_MAX_BYTES (64 * 1024) /* names and values together */

struct params {
	struct buf text; /* NAME=VALUE, one after the other */
	size_t n;
	struct {
		unsigned name_at, name_len, value_at, value_len;
	} item[PARAMS_MAX];
};

void params_init(struct params *p);
void params_fini(struct params *p);

/* Adds "NAME=VALUE".  ST_FULL past the bounds, ST_INVALID without '='. */
MUST_USE enum status params_add(struct params *p, struct span pair);

/* The value, or SPAN_NONE (p NULL) when it is not there. */
struct span params_get(const struct params *p, const char *name);

#endif

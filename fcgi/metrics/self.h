/* SPDX-License-Identifier: MIT */
/*
 * What a process that is no worker tells pubd about itself, once a second: a
 * row of the status table for as long as it lives, and its counters in the
 * totals for ever.  Never blocks.
 */
#ifndef WALCAST_SELF_H
#define WALCAST_SELF_H

#include <stdint.h>

#include "conf.h"
#include "figures.h"
#include "loop.h"
#include "status.h"

struct self;

struct self_options {
	const char *role;
	const char *socket; /* of pubd; must outlive it */
	/* Sets the cells that only the program knows. */
	void (*fill)(void *arg, struct figures *f);
	void *arg;
};

MUST_USE enum status self_new(struct self **out, struct loop *l,
    const struct self_options *o);

/* With a last report, so that what was counted is not lost. */
void self_free(struct self **s);

#endif

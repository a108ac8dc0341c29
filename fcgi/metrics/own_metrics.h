/* SPDX-License-Identifier: MIT */
/*
 * What a process that is no worker tells pubd about itself, once a second: a
 * row of the status table for as long as it lives, and its counters in the
 * totals for ever.  Never blocks.
 */
#ifndef WALCAST_OWN_METRICS_H
#define WALCAST_OWN_METRICS_H

#include <stdint.h>

#include "conf.h"
#include "loop.h"
#include "metrics.h"
#include "status.h"

struct own_metrics;

struct own_metrics_options {
	const char *role;
	const char *socket; /* of pubd; must outlive it */
	/* Sets the cells that only the program knows. */
	void (*fill)(void *arg, struct metrics *f);
	void *arg;
};

MUST_USE enum status own_metrics_new(struct own_metrics **out, struct loop *l,
    const struct own_metrics_options *o);

/* Sends a last report first, so that no counts are lost. */
void own_metrics_free(struct own_metrics **s);

#endif

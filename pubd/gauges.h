/* SPDX-License-Identifier: MIT */
/* How things stand in pubd now, for its row of the status table. */
#ifndef WALCAST_GAUGES_H
#define WALCAST_GAUGES_H

#include <stddef.h>

struct conf;
struct conns;
struct exporter;
struct figures;
struct keeper;
struct listeners;
struct retain;
struct watchers;

/* Where to look. */
struct gauges {
	const struct conf *conf;
	const struct conns *conns;
	const struct keeper *keeper;
	const struct listeners *listeners;
	const struct retain *retain;
	const struct watchers *watchers;
	struct exporter *exporter; /* NULL: none */
	size_t n_own_fds; /* descriptors besides the connections; 0: unknown */
};

/*
 * Sets the gauges; those that are not known now are not set.  Also counters
 * that are kept elsewhere.
 */
void gauges_take(const struct gauges *g, struct figures *out);

#endif

/* SPDX-License-Identifier: MIT */
/* How things stand in pubd now, for its row of the status table. */
#ifndef WALCAST_PUBD_METRICS_H
#define WALCAST_PUBD_METRICS_H

#include <stddef.h>

struct conf;
struct conns;
struct exporter;
struct metrics;
struct log_writer;
struct listeners;
struct retain;
struct watchers;

/* Where to look. */
struct pubd_metrics {
	const struct conf *conf;
	const struct conns *conns;
	const struct log_writer *log_writer;
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
void pubd_metrics_take(const struct pubd_metrics *g, struct metrics *out);

#endif

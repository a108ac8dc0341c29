/* SPDX-License-Identifier: MIT */
/*
 * What a worker reports: takes the counters of its parts, once a second, and
 * makes cells of the catalogue (lib/metrics.def) of them.
 *
 * The parts count with numbers of their own and know nothing of metrics; what
 * cell each number is stands here and nowhere else.
 */
#ifndef WALCAST_WORKER_METRICS_H
#define WALCAST_WORKER_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "status.h"

struct admit;
struct authorizer;
struct authz;
struct hub;
struct acceptor_counters;
struct log_reader;
struct replay;
struct tail;

struct worker_metrics;

/* The parts, as they are now. */
struct worker_metrics_parts {
	struct hub *hub;
	struct log_reader *log;
	struct tail *tail;
	struct replay *replay;
	struct admit *admit; /* its pools are counted on */
	const struct authz *authz;
	const struct authorizer *authorizer;      /* NULL: there is none */
	const struct acceptor_counters *acceptor; /* NULL: plain CGI */
	size_t n_fds; /* descriptors of requests and replies, and pubd's */
};

/*
 * Begins when all descriptors that stay are open.
 *
 * role        a string that outlives it
 * started_ms  Unix time
 */
MUST_USE enum status worker_metrics_new(struct worker_metrics **out,
    const char *role, int64_t started_ms, uint64_t fds_limit,
    const struct worker_metrics_parts *parts);
void worker_metrics_free(struct worker_metrics **t);

/* A wake came `after_us` after the commit that it tells of. */
void worker_metrics_woken(struct worker_metrics *t, uint64_t after_us);

/* A traced event was not reported to pubd. */
void worker_metrics_lost_span(struct worker_metrics *t);

/* A second has passed. */
void worker_metrics_tick(struct worker_metrics *t,
    const struct worker_metrics_parts *parts);

/*
 * Appends the report to pubd, without a newline.
 * Returns  ST_OK, ST_FULL or ST_NOMEM
 */
MUST_USE enum status worker_metrics_report(struct worker_metrics *t,
    const struct worker_metrics_parts *parts, struct buf *out);

#endif

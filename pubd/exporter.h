/* SPDX-License-Identifier: MIT */
/*
 * Sends trace spans to a collector, by OTLP over HTTP, in a thread of its
 * own: the daemon's loop never waits for it.
 *
 * The daemon has one exporter when `otlp_endpoint` is set, else none (NULL
 * will do for every function here).  One thread, the owner, calls these
 * functions; what the exporter's own thread does is
 *
 *   1  wait until 512 spans are queued, or for 1 s when there are any
 *   2  POST them, at most 5 s, 2 s of them to connect
 *   3  count, and go on: nothing is sent twice
 *
 * Spans that find the queue full, or that a collector did not take, are
 * dropped and counted.  No redirect is followed and no proxy used, whatever
 * the environment says.
 */
#ifndef WALCAST_EXPORTER_H
#define WALCAST_EXPORTER_H

#include <stdbool.h>
#include <stdint.h>

#include "otlp.h"
#include "status.h"

#define EXPORTER_QUEUE    2048     /* spans that wait */
#define EXPORTER_BATCH    512      /* spans in a request */
#define EXPORTER_WAIT_US  1000000  /* a span's, for more of them */
#define EXPORTER_FLUSH_US 1000000  /* exporter_free's, for what is queued */
#define EXPORTER_TELL_US  60000000 /* between two lines about failures */

struct exporter;

struct exporter_counts {
	uint64_t exported; /* spans that a collector took */
	uint64_t dropped;  /* spans lost, for whatever reason */
	uint64_t failed;   /* requests that were not answered with 2xx */
};

/*
 * Starts the thread; all signals are blocked in it.
 *
 * endpoint  an http:// or https:// URL; copied
 * Returns   ST_OK
 *           ST_INVALID  the endpoint is no such URL; err says it
 *           ST_NOMEM, ST_IO (no thread); err says it
 */
MUST_USE enum status exporter_new(struct exporter **out, const char *endpoint,
    struct errmsg *err);

/*
 * Stops the thread.  What is queued may still be sent, but it waits no longer
 * than EXPORTER_FLUSH_US.
 */
void exporter_free(struct exporter **x);

/*
 * Queues a copy of a span.  Waits for no more than a copy of a few hundred
 * bytes under a mutex.
 *
 * Returns  false when the queue is full: dropped, and counted
 */
bool exporter_offer(struct exporter *x, const struct trace_span *s);

struct exporter_counts exporter_counts(struct exporter *x);

/*
 * Logs what was lost since the last such line, in the owner's thread since
 * lib/log.h is for one: at once, but at most once in EXPORTER_TELL_US.  Call
 * it about once a second.
 */
void exporter_tell(struct exporter *x, uint64_t now_us);

#endif

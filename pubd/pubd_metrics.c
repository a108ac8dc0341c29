/* SPDX-License-Identifier: MIT */
/* Gauges of pubd.  Blocks on the disk's cache only. */
#include "pubd_metrics.h"

#include <sys/statvfs.h>

#include "conf.h"
#include "conn.h"
#include "exporter.h"
#include "listeners.h"
#include "log_writer.h"
#include "metrics.h"
#include "proc.h"
#include "retain.h"
#include "watchers.h"

static void
take_log(const struct pubd_metrics *g, struct metrics *out)
{
	int64_t log_bytes = 0, wal_bytes = 0;
	struct statvfs fs;

	out->known[METRIC_LOG_BYTES] = out->known[METRIC_WAL_BYTES] = false;
	if (!log_writer_is_away(g->log_writer)) {
		log_writer_sizes(g->log_writer, &log_bytes, &wal_bytes);
		metrics_set(out, METRIC_LOG_BYTES, (uint64_t)log_bytes);
		metrics_set(out, METRIC_WAL_BYTES, (uint64_t)wal_bytes);
	}
	out->known[METRIC_DISK_FREE] = false;
	if (statvfs(g->conf->database, &fs) == 0)
		metrics_set(out, METRIC_DISK_FREE,
		    (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize);
	metrics_set(out, METRIC_RETAIN_BYTES, (uint64_t)g->conf->retain_bytes);
}

static void
take_retain(const struct retain *r, struct metrics *out)
{
	metrics_set(out, METRIC_TRIMMED, r->n_trimmed);
	metrics_set(out, METRIC_RETENTION_RUNS, r->n_runs);
	metrics_set(out, METRIC_RETENTION_TIME, r->run_us);
	metrics_set(out, METRIC_CHECKPOINTS, r->n_checkpoints);
	metrics_set(out, METRIC_CHECKPOINTS_BLOCKED, r->n_blocked);
	metrics_set(out, METRIC_CHECKPOINT_LEFT, (uint64_t)r->left_pages);
}

static void
take_spans(const struct pubd_metrics *g, struct metrics *out)
{
	struct exporter_counts n;

	if (g->exporter == NULL)
		return;
	n = exporter_counts(g->exporter);
	metrics_set(out, METRIC_SPANS_EXPORTED, n.exported);
	metrics_set(out, METRIC_SPANS_DROPPED, n.dropped);
	metrics_set(out, METRIC_SPANS_FAILURES, n.failed);
}

/* Its own descriptors are known or not; 0 then. */
static uint64_t
fds_used(const struct pubd_metrics *g)
{
	return g->n_own_fds > 0 ? g->n_own_fds + g->conns->n : 0;
}

void
pubd_metrics_take(const struct pubd_metrics *g, struct metrics *out)
{
	metrics_set(out, METRIC_CONNECTIONS, g->conns->n);
	metrics_set(out, METRIC_CONNECTIONS_TOTAL, g->conns->n_taken);
#define X(member, words)                                                       \
	metrics_set(out, METRIC_CLOSED_##member,                               \
	    g->conns->n_spared[CONN_##member]);
	CONN_SPARED(X)
#undef X
	metrics_set(out, METRIC_ACCEPT_PAUSES_PUBD, g->listeners->n_paused);
	metrics_set(out, METRIC_WATCHERS, g->watchers->n);
	take_log(g, out);
	take_retain(g->retain, out);
	take_spans(g, out);
	proc_metrics(out, fds_used(g), proc_fds_limit());
}

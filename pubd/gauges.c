/* SPDX-License-Identifier: MIT */
/* Gauges of pubd.  Blocks on the disk's cache only. */
#include "gauges.h"

#include <sys/statvfs.h>

#include "conf.h"
#include "conn.h"
#include "exporter.h"
#include "figures.h"
#include "keeper.h"
#include "listeners.h"
#include "proc.h"
#include "retain.h"
#include "watchers.h"

static void
take_log(const struct gauges *g, struct figures *out)
{
	int64_t log_bytes = 0, wal_bytes = 0;
	struct statvfs fs;

	out->known[FIG_LOG_BYTES] = out->known[FIG_WAL_BYTES] = false;
	if (!keeper_is_away(g->keeper)) {
		keeper_sizes(g->keeper, &log_bytes, &wal_bytes);
		figures_set(out, FIG_LOG_BYTES, (uint64_t)log_bytes);
		figures_set(out, FIG_WAL_BYTES, (uint64_t)wal_bytes);
	}
	out->known[FIG_DISK_FREE] = false;
	if (statvfs(g->conf->database, &fs) == 0)
		figures_set(out, FIG_DISK_FREE,
		    (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize);
	figures_set(out, FIG_RETAIN_BYTES, (uint64_t)g->conf->retain_bytes);
}

static void
take_retain(const struct retain *r, struct figures *out)
{
	figures_set(out, FIG_TRIMMED, r->n_trimmed);
	figures_set(out, FIG_RETENTION_RUNS, r->n_runs);
	figures_set(out, FIG_RETENTION_TIME, r->run_us);
	figures_set(out, FIG_CHECKPOINTS, r->n_checkpoints);
	figures_set(out, FIG_CHECKPOINTS_BLOCKED, r->n_blocked);
	figures_set(out, FIG_CHECKPOINT_LEFT, (uint64_t)r->left_pages);
}

static void
take_spans(const struct gauges *g, struct figures *out)
{
	struct exporter_counts n;

	if (g->exporter == NULL)
		return;
	n = exporter_counts(g->exporter);
	figures_set(out, FIG_SPANS_EXPORTED, n.exported);
	figures_set(out, FIG_SPANS_DROPPED, n.dropped);
	figures_set(out, FIG_SPANS_FAILURES, n.failed);
}

/* Its own descriptors are known or not; 0 then. */
static uint64_t
fds_used(const struct gauges *g)
{
	return g->n_own_fds > 0 ? g->n_own_fds + g->conns->n : 0;
}

void
gauges_take(const struct gauges *g, struct figures *out)
{
	figures_set(out, FIG_CONNECTIONS, g->conns->n);
	figures_set(out, FIG_CONNECTIONS_TOTAL, g->conns->n_taken);
#define X(member, words)                                                       \
	figures_set(out, FIG_CLOSED_##member,                                  \
	    g->conns->n_spared[CONN_##member]);
	CONN_SPARED(X)
#undef X
	figures_set(out, FIG_ACCEPT_PAUSES_PUBD, g->listeners->n_paused);
	figures_set(out, FIG_WATCHERS, g->watchers->n);
	take_log(g, out);
	take_retain(g->retain, out);
	take_spans(g, out);
	proc_figures(out, fds_used(g), proc_fds_limit());
}

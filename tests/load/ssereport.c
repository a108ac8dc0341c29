/* SPDX-License-Identifier: MIT */
/* What sseload counted, as one JSON object; see sseload.h. */
#include "sseload.h"
#include "tool.h"

#define PUT(out, name, value)                                                  \
	fprintf(out, ",\"" name "\":%llu", (unsigned long long)(value))

static void
put_names(FILE *out, const char *key, const struct name_count *table)
{
	size_t i;

	fprintf(out, ",\"%s\":{", key);
	for (i = 0; i < LOAD_MAX_NAMES && table[i].n > 0; i++)
		fprintf(out, "%s\"%s\":%llu", i > 0 ? "," : "", table[i].name,
		    (unsigned long long)table[i].n);
	fputc('}', out);
}

static void
put_http(FILE *out, const struct worker_metrics *t)
{
	const char *comma = "";
	size_t i;

	fputs(",\"http\":{", out);
	for (i = 0; i < LOAD_MAX_STATUS; i++) {
		if (t->http[i] == 0)
			continue;
		fprintf(out, "%s\"%zu\":%u", comma, i, t->http[i]);
		comma = ",";
	}
	fputc('}', out);
}

static void
put_streams(FILE *out, const struct load *l)
{
	uint64_t min = UINT64_MAX, max = 0, comments = 0, heartbeats = 0;
	uint64_t min_last = UINT64_MAX, max_last = 0, missing = 0, v;
	size_t i;

	for (i = 0; i < l->conf.n_streams; i++) {
		const struct stream *s = &l->streams[i];

		v = s->order.n_events;
		min = v < min ? v : min;
		max = v > max ? v : max;
		v = s->order.last;
		min_last = v < min_last ? v : min_last;
		max_last = v > max_last ? v : max_last;
		missing += s->order.missing;
		comments += s->wire.n_comments;
		heartbeats += s->wire.n_heartbeats;
	}
	PUT(out, "events_min", min);
	PUT(out, "events_max", max);
	PUT(out, "last_event_min", min_last);
	PUT(out, "last_event_max", max_last);
	PUT(out, "missing_ids", missing);
	PUT(out, "heartbeats", heartbeats + l->worker_metrics.heartbeats);
	PUT(out, "comments", comments);
}

static void
put_control(FILE *out, const struct worker_metrics *t)
{
	fprintf(out, ",\"control\":{\"open\":%llu",
	    (unsigned long long)t->control_open);
	PUT(out, "gap", t->control_gap);
	PUT(out, "gap_lost", t->gap_lost);
	put_names(out, "gap_codes", t->gap_codes);
	put_names(out, "close", t->close_reasons);
	PUT(out, "other", t->control_other);
	fputc('}', out);
}

static void
put_latency(FILE *out, const struct load *l)
{
	struct hist all = l->worker_metrics.fast;

	if (l->conf.latency == NULL)
		return;
	hist_merge(&all, &l->worker_metrics.slow);
	fputs(",\"latency_us\":", out);
	hist_print(&all, out);
	if (l->conf.n_stalled > 0) {
		fputs(",\"latency_fast_us\":", out);
		hist_print(&l->worker_metrics.fast, out);
		fputs(",\"latency_stalled_us\":", out);
		hist_print(&l->worker_metrics.slow, out);
	}
	PUT(out, "without_time", l->worker_metrics.no_time);
}

static void
put_times(FILE *out, const struct load *l)
{
	const struct worker_metrics *t = &l->worker_metrics;
	double active = (double)(t->last_us - t->first_us) / 1e6;
	double all = (double)(tool_now_us() - l->start_us) / 1e6;
	double cpu = tool_cpu_s();

	fprintf(out, ",\"elapsed_s\":%.3f,\"ready_s\":%.3f", all,
	    l->ready_us > 0 ? (double)(l->ready_us - l->start_us) / 1e6 : -1);
	fprintf(out, ",\"active_s\":%.3f,\"deliveries_per_s\":%.0f", active,
	    active > 0 ? (double)t->events / active : 0);
	fprintf(out, ",\"cpu_s\":%.3f,\"cpu_us_per_delivery\":%.3f", cpu,
	    t->events > 0 ? cpu * 1e6 / (double)t->events : 0);
}

static size_t
open_now(const struct load *l)
{
	size_t i, n = 0;

	for (i = 0; i < l->conf.n_streams; i++)
		n += l->streams[i].is_open;
	return n;
}

int
report_print(const struct load *l, bool complete, FILE *out)
{
	const struct worker_metrics *t = &l->worker_metrics;
	enum fault f;

	fprintf(out, "{\"complete\":%s", complete ? "true" : "false");
	PUT(out, "violations", t->violations);
	PUT(out, "streams", l->conf.n_streams);
	PUT(out, "streams_opened", l->n_open);
	PUT(out, "streams_done", l->n_done);
	PUT(out, "streams_open_now", open_now(l));
	PUT(out, "short_streams", complete ? 0 : l->conf.n_streams - l->n_done);
	PUT(out, "failed_streams", l->n_final);
	PUT(out, "connects", t->connects);
	PUT(out, "opened", t->opened);
	PUT(out, "reconnects", t->reconnects);
	PUT(out, "connect_errors", t->connect_errors);
	PUT(out, "ends_clean", t->ends_clean);
	PUT(out, "ends_cut", t->ends_cut);
	PUT(out, "churned", t->churned);
	put_http(out, t);
	PUT(out, "bad_type", t->bad_type);
	PUT(out, "events", t->events);
	PUT(out, "bytes", t->bytes);
	put_streams(out, l);
	for (f = FAULT_NONE + 1; f < N_FAULTS; f++)
		fprintf(out, ",\"%s\":%llu", order_fault_name(f),
		    (unsigned long long)t->faults[f]);
	put_control(out, t);
	put_latency(out, l);
	put_times(out, l);
	fputs("}\n", out);
	return complete && t->violations == 0 ? 0 : 1;
}

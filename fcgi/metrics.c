/* SPDX-License-Identifier: MIT */
/*
 * The catalogue, and how rows become figures.  Invariant: value[i] belongs to
 * metrics_catalogue[i] and counts only where known[i].  Pure.
 */
#include "metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "jsontext.h"

#define PROCESSES_MAX (1u << 20) /* bytes of the list of processes */

#define COUNTER(n, m, s)                                                       \
	{                                                                      \
		.name = (n), .type = METRICS_COUNTER, .unit = "",              \
		.source = METRICS_MEMBER, .member = (m), .add = METRICS_SUM,   \
		.per = 1, .sentence = (s)                                      \
	}
#define LABELLED(n, l, v, m, s)                                                \
	{                                                                      \
		.name = (n), .label = (l), .value = (v),                       \
		.type = METRICS_COUNTER, .unit = "", .source = METRICS_MEMBER, \
		.member = (m), .add = METRICS_SUM, .per = 1, .sentence = (s)   \
	}
#define GAUGE(n, u, m, a, s)                                                   \
	{                                                                      \
		.name = (n), .type = METRICS_GAUGE, .unit = (u),               \
		.source = METRICS_MEMBER, .member = (m), .add = (a), .per = 1, \
		.sentence = (s)                                                \
	}
#define TOLD(n, u, s)                                                          \
	{                                                                      \
		.name = (n), .type = METRICS_GAUGE, .unit = (u),               \
		.source = METRICS_TOLD, .per = 1, .sentence = (s)              \
	}
#define UP(r, s)                                                               \
	{                                                                      \
		.name = "sse_process_up", .label = "role", .value = (r),       \
		.type = METRICS_GAUGE, .unit = "", .source = METRICS_LIVE,     \
		.role = (r), .add = METRICS_SUM, .per = 1, .sentence = (s)     \
	}

/* Entries of one name stand together. */
const struct metrics_entry metrics_catalogue[] = {
    UP("pubd", "Processes of this role whose heartbeat is fresh."),
    UP("worker", NULL),
    UP("cgi", NULL),
    {.name = "sse_heartbeat_age_seconds",
	.type = METRICS_GAUGE,
	.unit = "seconds",
	.source = METRICS_AGE,
	.role = "pubd",
	.add = METRICS_MIN,
	.per = 1000,
	.sentence = "Time since pubd last wrote its heartbeat."},
    TOLD("sse_store_up", "", "1 when the log can be read, 0 when not."),

    {.name = "sse_streams_open",
	.type = METRICS_GAUGE,
	.unit = "",
	.source = METRICS_STREAMS,
	.add = METRICS_SUM,
	.per = 1,
	.sentence = "Streams that are open now."},
    COUNTER("sse_streams_opened_total", "streams_opened",
	"Streams that were opened."),
    COUNTER("sse_streams_closed_total", "streams_closed",
	"Streams that ended, for any reason."),
    COUNTER("sse_streams_rejected_total", "streams_rejected",
	"Streams that were turned away."),
    LABELLED("sse_resumes_total", "result", "ok", "resumes_ok",
	"Streams that came with an id: resumed without or with a gap."),
    LABELLED("sse_resumes_total", "result", "gap", "resumes_gap", NULL),
    LABELLED("sse_gaps_total", "code", "expired", "gaps_expired",
	"control.gap events sent, by code."),
    LABELLED("sse_gaps_total", "code", "ahead", "gaps_ahead", NULL),
    LABELLED("sse_gaps_total", "code", "generation", "gaps_generation", NULL),
    LABELLED("sse_gaps_total", "code", "invalid", "gaps_invalid", NULL),
    COUNTER("sse_replay_events_total", "replay_events",
	"Events that were sent out of the store and not out of a ring."),
    COUNTER("sse_events_sent_total", "events_sent",
	"Events handed to the web server, each stream counted."),
    COUNTER("sse_bytes_sent_total", "bytes_sent",
	"Bytes of event streams handed to the web server."),
    COUNTER("sse_heartbeats_sent_total", "heartbeats_sent",
	"Heartbeats handed to the web server."),
    COUNTER("sse_writes_total", "writes",
	"System calls that wrote to the web server."),
    COUNTER("sse_records_total", "records",
	"FastCGI records that these writes carried."),
    GAUGE("sse_lag_events_max", "events", "lag_events_max", METRICS_MAX,
	"How many ids the stream that is furthest behind is behind."),
    GAUGE("sse_ring_bytes", "bytes", "ring_bytes", METRICS_SUM,
	"Bytes of encoded events in the rings of all workers."),
    GAUGE("sse_ring_events", "events", "ring_events", METRICS_SUM,
	"Events in the rings of all workers."),
    GAUGE("sse_ring_oldest", "", "ring_oldest", METRICS_MAX,
	"The oldest id in the ring that reaches back least."),

    COUNTER("sse_events_published_total", "events_published",
	"Events that pubd committed."),
    COUNTER("sse_publish_errors_total", "publish_errors",
	"Publish requests that pubd refused or could not commit."),
    COUNTER("sse_commits_total", "commits", "Group commits of pubd."),
    GAUGE("sse_batch_events_max", "events", "batch_events_max", METRICS_MAX,
	"The most events that one commit has held."),
    GAUGE("sse_publisher_connections", "", "connections", METRICS_SUM,
	"Connections to the socket of pubd, workers included."),

    TOLD("sse_log_head", "", "The newest id ever given out."),
    TOLD("sse_log_oldest", "", "The oldest id that is retained."),
    TOLD("sse_log_events", "events", "Ids from the oldest to the newest."),
    GAUGE("sse_log_bytes", "bytes", "log_bytes", METRICS_MAX,
	"Size of the log's database file."),
    GAUGE("sse_wal_bytes", "bytes", "wal_bytes", METRICS_MAX,
	"Size of the log's write-ahead file."),
    COUNTER("sse_store_errors_total", "store_errors",
	"Reads of the log that failed."),
    GAUGE("sse_fds_used", "", "fds_used", METRICS_MAX,
	"Descriptors in use in the process that uses most."),
    GAUGE("sse_fds_limit", "", "fds_limit", METRICS_MIN,
	"The lowest limit on descriptors of a process."),
    {.name = NULL},
};

#define N_ENTRIES (sizeof(metrics_catalogue) / sizeof(metrics_catalogue[0]) - 1)

struct metrics {
	int64_t now_ms;
	int64_t value[N_ENTRIES];
	bool known[N_ENTRIES];
	struct metrics_pubd pubd;
	struct json_parser *parser;
	struct buf processes; /* JSON objects, comma separated */
};

enum status
metrics_new(struct metrics **out, int64_t now_ms)
{
	struct metrics *m = calloc(1, sizeof(*m));
	size_t i;

	if (m == NULL)
		return ST_NOMEM;
	if (json_parser_new(&m->parser) != ST_OK) {
		free(m);
		return ST_NOMEM;
	}
	m->now_ms = now_ms;
	m->pubd = (struct metrics_pubd){.age_ms = -1, .lease_ms = -1};
	buf_init(&m->processes, PROCESSES_MAX);
	/* A counter that nobody has counted yet is 0, and so is an absence. */
	for (i = 0; i < N_ENTRIES; i++)
		m->known[i] = metrics_catalogue[i].type == METRICS_COUNTER ||
		    metrics_catalogue[i].source == METRICS_LIVE;
	*out = m;
	return ST_OK;
}

void
metrics_free(struct metrics **m)
{
	if (*m == NULL)
		return;
	json_parser_free(&(*m)->parser);
	buf_fini(&(*m)->processes);
	free(*m);
	*m = NULL;
}

/* ---- rows --------------------------------------------------------------- */

static bool
is_totals(const struct statusdb_row *row)
{
	return span_eq(row->name, SPAN(STATUSDB_TOTALS));
}

static int64_t
age_ms(const struct metrics *m, const struct statusdb_row *row)
{
	/* Written ahead of our clock: as if now. */
	if (row->seen_ms > m->now_ms || row->seen_ms < 0)
		return 0;
	return m->now_ms - row->seen_ms;
}

static bool
is_live(const struct metrics *m, const struct statusdb_row *row)
{
	return !is_totals(row) && age_ms(m, row) <= row->lease_ms;
}

/* Does this entry look at this row? */
static bool
applies(const struct metrics *m, const struct metrics_entry *e,
    const struct statusdb_row *row)
{
	if (e->source == METRICS_TOLD)
		return false;
	if (e->role != NULL && !span_eq(row->role, span_str(e->role)))
		return false;
	if (e->type == METRICS_COUNTER || e->source == METRICS_AGE)
		return true;
	return is_live(m, row);
}

static bool
value_of(const struct metrics *m, const struct metrics_entry *e,
    const struct statusdb_row *row, const struct json *counters, int64_t *v)
{
	switch (e->source) {
	case METRICS_STREAMS:
		*v = row->streams;
		return true;
	case METRICS_LIVE:
		*v = 1;
		return true;
	case METRICS_AGE:
		*v = age_ms(m, row);
		return true;
	case METRICS_MEMBER:
		return counters != NULL &&
		    json_int(json_get(counters, e->member), v) && *v >= 0;
	case METRICS_TOLD:
		break;
	}
	return false;
}

static int64_t
combine(enum metrics_add how, int64_t a, int64_t b)
{
	switch (how) {
	case METRICS_MAX:
		return a > b ? a : b;
	case METRICS_MIN:
		return a < b ? a : b;
	case METRICS_SUM:
		break;
	}
	if (b > 0 && a > INT64_MAX - b)
		return INT64_MAX;
	return a + b;
}

static void
add_values(struct metrics *m, const struct statusdb_row *row,
    const struct json *counters)
{
	size_t i;

	for (i = 0; i < N_ENTRIES; i++) {
		const struct metrics_entry *e = &metrics_catalogue[i];
		int64_t v;

		if (!applies(m, e, row) || !value_of(m, e, row, counters, &v))
			continue;
		m->value[i] = m->known[i] ? combine(e->add, m->value[i], v) : v;
		m->known[i] = true;
	}
}

static void
note_pubd(struct metrics *m, const struct statusdb_row *row)
{
	int64_t age = age_ms(m, row);

	if (!span_eq(row->role, SPAN("pubd")))
		return;
	if (m->pubd.age_ms >= 0 && m->pubd.age_ms <= age)
		return;
	m->pubd = (struct metrics_pubd){.alive = is_live(m, row),
	    .age_ms = age,
	    .lease_ms = row->lease_ms};
}

/* "NAME":TEXT */
static enum status
put_text(struct buf *out, const char *name, struct span text)
{
	enum status st = buf_printf(out, "\"%s\":", name);

	return st == ST_OK ? jsontext_quote(out, text) : st;
}

static enum status
put_process(const struct metrics *m, struct buf *out,
    const struct statusdb_row *row)
{
	enum status st = buf_append(out, out->len > 0 ? SPAN(",{") : SPAN("{"));

	if (st == ST_OK)
		st = put_text(out, "name", row->name);
	if (st == ST_OK)
		st = buf_append(out, SPAN(","));
	if (st == ST_OK)
		st = put_text(out, "role", row->role);
	if (st == ST_OK)
		st = buf_append(out, SPAN(","));
	if (st == ST_OK)
		st = put_text(out, "version", row->version);
	if (st == ST_OK)
		st = buf_printf(out,
		    ",\"pid\":%lld,\"started_ms\":%lld,\"seen_ms\":%lld,"
		    "\"alive\":%s,\"head\":%lld,\"cursor\":%lld,"
		    "\"streams\":%lld}",
		    (long long)row->pid, (long long)row->started_ms,
		    (long long)row->seen_ms, is_live(m, row) ? "true" : "false",
		    (long long)row->head, (long long)row->cursor,
		    (long long)row->streams);
	return st;
}

enum status
metrics_add_row(struct metrics *m, const struct statusdb_row *row)
{
	struct json *counters = NULL;
	size_t before = m->processes.len;
	enum status st;

	if (!is_totals(row)) {
		st = put_process(m, &m->processes, row);
		if (st != ST_OK)
			buf_truncate(&m->processes, before);
		/* Past its bound the list is cut, and the sums go on. */
		if (st == ST_NOMEM)
			return st;
		note_pubd(m, row);
	}
	st = json_parse(m->parser, row->counters, &counters, NULL);
	if (st == ST_NOMEM)
		return st;
	add_values(m, row, st == ST_OK ? counters : NULL);
	if (st == ST_OK)
		json_free(&counters);
	return ST_OK;
}

void
metrics_tell(struct metrics *m, const char *name, int64_t value)
{
	size_t i;

	for (i = 0; i < N_ENTRIES; i++) {
		const struct metrics_entry *e = &metrics_catalogue[i];

		if (e->source != METRICS_TOLD || strcmp(e->name, name) != 0)
			continue;
		m->value[i] = value;
		m->known[i] = true;
		return;
	}
	assert(0 && "a metric that is not in the catalogue");
}

struct metrics_pubd
metrics_pubd(const struct metrics *m)
{
	return m->pubd;
}

/* ---- forms -------------------------------------------------------------- */

/*
 * A sum over no process is 0 while pubd, who keeps the rows, is there; when
 * it is not, nobody knows, and the figure is left out.
 */
static bool
is_shown(const struct metrics *m, size_t i)
{
	const struct metrics_entry *e = &metrics_catalogue[i];

	return m->known[i] ||
	    (m->pubd.alive && e->add == METRICS_SUM &&
		(e->source == METRICS_MEMBER || e->source == METRICS_STREAMS));
}

static enum status
put_value(struct buf *out, const struct metrics_entry *e, int64_t v)
{
	if (e->per == 1)
		return buf_put_int64(out, v);
	assert(e->per == 1000);
	return buf_printf(out, "%lld.%03d", (long long)(v / e->per),
	    (int)(v % e->per));
}

/* The first entry after i that has another name. */
static size_t
family_end(size_t i)
{
	size_t j = i + 1;

	while (j < N_ENTRIES && metrics_catalogue[j].sentence == NULL)
		j++;
	return j;
}

static bool
family_is_shown(const struct metrics *m, size_t i, size_t end)
{
	for (; i < end; i++)
		if (is_shown(m, i))
			return true;
	return false;
}

static const char *
type_name(const struct metrics_entry *e)
{
	return e->type == METRICS_COUNTER ? "counter" : "gauge";
}

static enum status
text_series(const struct metrics *m, struct buf *out, size_t i)
{
	const struct metrics_entry *e = &metrics_catalogue[i];
	enum status st;

	if (!is_shown(m, i))
		return ST_OK;
	if (e->label == NULL)
		st = buf_printf(out, "%s ", e->name);
	else
		st = buf_printf(out, "%s{%s=\"%s\"} ", e->name, e->label,
		    e->value);
	if (st == ST_OK)
		st = put_value(out, e, m->value[i]);
	if (st == ST_OK)
		st = buf_append(out, SPAN("\n"));
	return st;
}

enum status
metrics_text(const struct metrics *m, struct buf *out)
{
	enum status st = ST_OK;
	size_t i, end;

	for (i = 0; st == ST_OK && i < N_ENTRIES; i = end) {
		const struct metrics_entry *e = &metrics_catalogue[i];

		end = family_end(i);
		if (!family_is_shown(m, i, end))
			continue;
		st = buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", e->name,
		    e->sentence, e->name, type_name(e));
		for (; st == ST_OK && i < end; i++)
			st = text_series(m, out, i);
	}
	return st;
}

static enum status
json_series(const struct metrics *m, struct buf *out, size_t i, bool *first)
{
	const struct metrics_entry *e = &metrics_catalogue[i];
	enum status st;

	if (!is_shown(m, i))
		return ST_OK;
	st = buf_append(out, *first ? SPAN("") : SPAN(","));
	*first = false;
	if (st == ST_OK && e->label == NULL)
		st = buf_append(out, SPAN("{\"labels\":{},\"value\":"));
	else if (st == ST_OK)
		st = buf_printf(out,
		    "{\"labels\":{\"%s\":\"%s\"},\"value\":", e->label,
		    e->value);
	if (st == ST_OK)
		st = put_value(out, e, m->value[i]);
	if (st == ST_OK)
		st = buf_append(out, SPAN("}"));
	return st;
}

static enum status
json_family(const struct metrics *m, struct buf *out, size_t i, size_t end)
{
	const struct metrics_entry *e = &metrics_catalogue[i];
	bool first = true;
	enum status st;

	st = buf_printf(out,
	    "{\"name\":\"%s\",\"type\":\"%s\",\"unit\":\"%s\",", e->name,
	    type_name(e), e->unit);
	if (st == ST_OK)
		st = put_text(out, "help", span_str(e->sentence));
	if (st == ST_OK)
		st = buf_append(out, SPAN(",\"series\":["));
	for (; st == ST_OK && i < end; i++)
		st = json_series(m, out, i, &first);
	if (st == ST_OK)
		st = buf_append(out, SPAN("]}"));
	return st;
}

enum status
metrics_json(const struct metrics *m, struct buf *out)
{
	bool first = true;
	enum status st;
	size_t i, end;

	st = buf_printf(out, "{\"generated_ms\":%lld,\"metrics\":[",
	    (long long)m->now_ms);
	for (i = 0; st == ST_OK && i < N_ENTRIES; i = end) {
		end = family_end(i);
		if (!family_is_shown(m, i, end))
			continue;
		st = buf_append(out, first ? SPAN("") : SPAN(","));
		first = false;
		if (st == ST_OK)
			st = json_family(m, out, i, end);
	}
	if (st == ST_OK)
		st = buf_append(out, SPAN("],\"processes\":["));
	if (st == ST_OK)
		st = buf_append(out, buf_span(&m->processes));
	if (st == ST_OK)
		st = buf_append(out, SPAN("]}\n"));
	return st;
}

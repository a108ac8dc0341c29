/* SPDX-License-Identifier: MIT */
/*
 * Counts, log lines and spans of stored events.  Never blocks: the exporter
 * takes a span or drops it.
 */
#include "after_commit.h"

#include <string.h>

#include "exporter.h"
#include "otlp.h"
#include "protocol.h"
#include "random.h"
#include "status_writer.h"
#include "traceparent.h"

void
after_commit_commit(struct after_commit *t, uint64_t begin_us, uint64_t end_us,
    int64_t real_ms)
{
	t->begin_us = begin_us;
	t->end_us = end_us;
	t->unix_us = real_ms * 1000 - (int64_t)end_us;
}

/* ---- spans -------------------------------------------------------------- */

/* Does anybody want spans of this trace?  Then *s begins one. */
static bool
begin_span(struct after_commit *t, struct span trace, struct trace_span *s)
{
	struct traceparent parent;

	if (t->exporter == NULL || trace.len == 0 ||
	    traceparent_parse(trace, &parent) != ST_OK ||
	    !traceparent_sampled(&parent))
		return false;
	*s = (struct trace_span){.kind = TRACE_ACCEPT};
	memcpy(s->trace_id, parent.trace_id.p, sizeof(s->trace_id));
	memcpy(s->parent_id, parent.parent_id.p, sizeof(s->parent_id));
	traceparent_span_id(random_next(&t->random), s->span_id);
	return true;
}

static void
set_times(const struct after_commit *t, struct trace_span *s, uint64_t from_us,
    uint64_t to_us)
{
	s->start_ns = (uint64_t)((int64_t)from_us + t->unix_us) * 1000;
	s->end_ns = (uint64_t)((int64_t)to_us + t->unix_us) * 1000;
}

/* A span from the line to the answer, and one for the commit within it. */
static void
trace_stored(struct after_commit *t, const struct event *e, uint64_t read_us)
{
	struct trace_span s;

	if (!begin_span(t, e->trace, &s))
		return;
	s.channel = e->channel;
	s.type = e->event;
	s.body_bytes = e->data.len;
	s.event_id = e->id;
	set_times(t, &s, read_us, t->end_us);
	(void)exporter_offer(t->exporter, &s);

	s.kind = TRACE_COMMIT;
	memcpy(s.parent_id, s.span_id, sizeof(s.parent_id));
	traceparent_span_id(random_next(&t->random), s.span_id);
	set_times(t, &s, t->begin_us, t->end_us);
	(void)exporter_offer(t->exporter, &s);
}

void
after_commit_dispatched(struct after_commit *t, const struct wire_span *told)
{
	struct trace_span s;

	if (!begin_span(t, told->trace, &s))
		return;
	s.kind = TRACE_DISPATCH;
	s.start_ns = (uint64_t)told->start_us * 1000;
	s.end_ns = (uint64_t)told->end_us * 1000;
	s.channel = told->channel;
	s.type = told->type;
	s.body_bytes = (uint64_t)told->bytes;
	s.event_id = told->id;
	s.n_streams = (uint64_t)told->streams;
	(void)exporter_offer(t->exporter, &s);
}

/* ---- events ------------------------------------------------------------- */

/* At level debug every event, else those that are traced. */
static void
log_stored(struct after_commit *t, const struct event *e)
{
	if (!log_wants(LOG_DEBUG_) &&
	    (e->trace.len == 0 || !log_gate(&t->gate, t->end_us)))
		return;
	LOG_EVENT(e->trace.len > 0 ? LOG_INFO_ : LOG_DEBUG_, "event.accepted",
	    LOG_INT("id", e->id), LOG_STR("channel", e->channel),
	    LOG_STR("type", e->event), LOG_STR("trace", e->trace),
	    LOG_INT("bytes", e->data.len));
}

void
after_commit_stored(struct after_commit *t, const struct protocol_request *r)
{
	size_t i, n_duplicates = 0;

	for (i = 0; i < r->n_events; i++) {
		const struct event *e = &r->events[i].e;

		if (r->events[i].duplicate) {
			n_duplicates++;
			continue;
		}
		if (t->status_writer->channels.n > 0)
			counted_add(&t->status_writer->channels, e->channel);
		log_stored(t, e);
		trace_stored(t, e, r->read_us);
	}
	status_writer_add(t->status_writer, METRIC_PUBLISHED,
	    r->n_events - n_duplicates);
	status_writer_add(t->status_writer, METRIC_PUBLISH_DUPLICATES,
	    n_duplicates);
}

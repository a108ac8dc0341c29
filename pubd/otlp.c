/* SPDX-License-Identifier: MIT */
/* Trace spans to OTLP JSON.  Pure. */
#include "otlp.h"

#include <assert.h>

#include "jsontext.h"
#include "name.h"

/* opentelemetry/proto/trace/v1/trace.proto: Span.SpanKind, Status.code */
enum { KIND_INTERNAL = 1, KIND_SERVER = 2, KIND_CONSUMER = 5 };
#define STATUS_ERROR "2"

/* X(MEMBER, service.name) */
#define SERVICES(X)                                                            \
	X(PUBD, "walcast-pubd")                                                \
	X(WORKER, "walcast-worker")

enum service {
#define X(member, word) SERVICE_##member,
	SERVICES(X)
#undef X
	    N_SERVICES
};

static const char *const service_names[N_SERVICES] = {
#define X(member, word) [SERVICE_##member] = (word),
    SERVICES(X)
#undef X
};

struct kind_row {
	const char *name;
	enum service service;
	int kind;
};

/* Whose span each is, and of what kind; without it nothing compiles. */
#define ACCEPT_ROW   SERVICE_PUBD, KIND_SERVER
#define COMMIT_ROW   SERVICE_PUBD, KIND_INTERNAL
#define DISPATCH_ROW SERVICE_WORKER, KIND_CONSUMER

#define ROW(member, word) [TRACE_##member] = {word, member##_ROW},
static const struct kind_row kinds[TRACE_N_KINDS] = {TRACE_KINDS(ROW)};

/* ---- attributes --------------------------------------------------------- */

static void
put_text_attribute(struct buf *out, const char *key, struct span text)
{
	if (text.len > NAME_MAX_BYTES)
		text.len = NAME_MAX_BYTES;
	buf_addf(out, ",{\"key\":\"%s\",\"value\":{\"stringValue\":", key);
	jsontext_add_quoted(out, text);
	buf_add(out, SPAN("}}"));
}

static void
put_number_attribute(struct buf *out, const char *key, uint64_t v)
{
	buf_addf(out, ",{\"key\":\"%s\",\"value\":{\"intValue\":\"%llu\"}}",
	    key, (unsigned long long)v);
}

/* Names: OpenTelemetry's semantic conventions for messaging, and ours. */
static void
put_attributes(struct buf *out, const struct trace_span *s)
{
	buf_add(out,
	    SPAN(",\"attributes\":[{\"key\":\"messaging.system\","
		 "\"value\":{\"stringValue\":\"walcast\"}}"));
	put_text_attribute(out, "messaging.destination.name", s->channel);
	put_text_attribute(out, "walcast.event.type", s->type);
	put_number_attribute(out, "messaging.message.body.size", s->body_bytes);
	if (s->event_id != 0)
		buf_addf(out,
		    ",{\"key\":\"messaging.message.id\",\"value\":"
		    "{\"stringValue\":\"%lld\"}}",
		    (long long)s->event_id);
	if (s->kind == TRACE_DISPATCH)
		put_number_attribute(out, "walcast.streams", s->n_streams);
	buf_add(out, SPAN("]"));
}

/* ---- spans -------------------------------------------------------------- */

static void
put_span(struct buf *out, const struct trace_span *s)
{
	const struct kind_row *k = &kinds[s->kind];

	buf_addf(out,
	    "{\"traceId\":\"%.*s\",\"spanId\":\"%.*s\","
	    "\"parentSpanId\":\"%.*s\",\"name\":\"%s\",\"kind\":%d,"
	    "\"startTimeUnixNano\":\"%llu\",\"endTimeUnixNano\":\"%llu\"",
	    TRACEPARENT_TRACE_HEX, s->trace_id, TRACEPARENT_SPAN_HEX,
	    s->span_id, TRACEPARENT_SPAN_HEX, s->parent_id, k->name, k->kind,
	    (unsigned long long)s->start_ns, (unsigned long long)s->end_ns);
	put_attributes(out, s);
	if (s->failed)
		buf_add(out, SPAN(",\"status\":{\"code\":" STATUS_ERROR "}"));
	buf_add(out, SPAN("}"));
}

static void
put_spans_of(struct buf *out, const struct trace_span *spans, size_t n,
    enum service service)
{
	bool first = true;
	size_t i;

	for (i = 0; i < n; i++) {
		if (kinds[spans[i].kind].service != service)
			continue;
		if (!first)
			buf_add(out, SPAN(","));
		put_span(out, &spans[i]);
		first = false;
	}
}

static void
put_resource(struct buf *out, const struct trace_span *spans, size_t n,
    enum service service)
{
	buf_addf(out,
	    "{\"resource\":{\"attributes\":[{\"key\":\"service.name\","
	    "\"value\":{\"stringValue\":\"%s\"}}]},\"scopeSpans\":[{"
	    "\"scope\":{\"name\":\"walcast\",\"version\":\"%s\"},\"spans\":[",
	    service_names[service], WALCAST_VERSION);
	put_spans_of(out, spans, n, service);
	buf_add(out, SPAN("]}]}"));
}

/* One resource for each service that has spans here. */
static void
put_resources(struct buf *out, const struct trace_span *spans, size_t n)
{
	bool present[N_SERVICES] = {false};
	bool first = true;
	unsigned service;
	size_t i;

	for (i = 0; i < n; i++)
		present[kinds[spans[i].kind].service] = true;
	for (service = 0; service < N_SERVICES; service++) {
		if (!present[service])
			continue;
		if (!first)
			buf_add(out, SPAN(","));
		put_resource(out, spans, n, service);
		first = false;
	}
}

enum status
otlp_encode(struct buf *out, const struct trace_span *spans, size_t n)
{
	size_t start = out->len, i;

	for (i = 0; i < n; i++)
		assert(spans[i].kind < TRACE_N_KINDS);
	buf_add(out, SPAN("{\"resourceSpans\":["));
	put_resources(out, spans, n);
	buf_add(out, SPAN("]}"));
	return buf_finish(out, start);
}

/* ---- the answer --------------------------------------------------------- */

uint64_t
otlp_rejected(struct span answer)
{
	struct span partial, value;
	int64_t n;
	size_t at;

	if (jsontext_check(answer, &at) != ST_OK ||
	    jsontext_member(answer, SPAN("partialSuccess"), &partial) !=
		ST_OK ||
	    jsontext_member(partial, SPAN("rejectedSpans"), &value) != ST_OK)
		return 0;
	/* A string by the mapping; some collectors send a number. */
	if (value.len >= 2 && value.p[0] == '"')
		value = span_of(value.p + 1, value.len - 2);
	return span_to_int64(value, &n) ? (uint64_t)n : 0;
}

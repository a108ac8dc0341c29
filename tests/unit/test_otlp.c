/* SPDX-License-Identifier: MIT */
#include "otlp.h"

#include <string.h>

#include "fault.h"
#include "json.h"
#include "jsontext.h"
#include "name.h"
#include "unit.h"

#define ID  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PA  "00f067aa0ba902b7"
#define OWN "53995c3f42cd8ad8"

static struct trace_span
span_of_kind(enum trace_kind kind)
{
	struct trace_span s = {.kind = kind,
	    .start_ns = 1700000000000000001,
	    .end_ns = 1700000000000250002,
	    .channel = SPAN("orders"),
	    .type = SPAN("order.paid"),
	    .body_bytes = 212,
	    .event_id = 47,
	    .n_streams = 3};

	memcpy(s.trace_id, ID, sizeof(s.trace_id));
	memcpy(s.parent_id, PA, sizeof(s.parent_id));
	memcpy(s.span_id, OWN, sizeof(s.span_id));
	return s;
}

static void
assert_encoded(const struct trace_span *spans, size_t n, struct span want)
{
	struct buf out;

	buf_init(&out, 1 << 20);
	assert_status(otlp_encode(&out, spans, n), ST_OK);
	assert_span(buf_span(&out), want);
	buf_fini(&out);
}

#define RESOURCE(service)                                                      \
	"{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":"  \
	"{\"stringValue\":\"" service "\"}}]},\"scopeSpans\":[{\"scope\":"     \
	"{\"name\":\"walcast\",\"version\":\"" WALCAST_VERSION                 \
	"\"},\"spans\":["
#define HEAD(name, kind)                                                       \
	"{\"traceId\":\"" ID "\",\"spanId\":\"" OWN                            \
	"\",\"parentSpanId\":\"" PA "\",\"name\":\"" name "\",\"kind\":" kind  \
	",\"startTimeUnixNano\":\"1700000000000000001\","                      \
	"\"endTimeUnixNano\":\"1700000000000250002\",\"attributes\":["         \
	"{\"key\":\"messaging.system\",\"value\":"                             \
	"{\"stringValue\":\"walcast\"}},"                                      \
	"{\"key\":\"messaging.destination.name\",\"value\":"                   \
	"{\"stringValue\":\"orders\"}},"                                       \
	"{\"key\":\"walcast.event.type\",\"value\":"                           \
	"{\"stringValue\":\"order.paid\"}},"                                   \
	"{\"key\":\"messaging.message.body.size\",\"value\":"                  \
	"{\"intValue\":\"212\"}}"
#define MESSAGE_ID                                                             \
	",{\"key\":\"messaging.message.id\",\"value\":"                        \
	"{\"stringValue\":\"47\"}}"
#define STREAMS ",{\"key\":\"walcast.streams\",\"value\":{\"intValue\":\"3\"}}"

static void
a_span_is_written_as_otlp_asks(void **state)
{
	struct trace_span s = span_of_kind(TRACE_COMMIT);

	(void)state;
	assert_encoded(&s, 1,
	    SPAN("{\"resourceSpans\":[" RESOURCE("walcast-pubd")
		    HEAD("commit", "1") MESSAGE_ID "]}]}]}]}"));
}

static void
an_event_without_an_id_has_no_message_id(void **state)
{
	struct trace_span s = span_of_kind(TRACE_ACCEPT);

	(void)state;
	s.event_id = 0;
	assert_encoded(&s, 1,
	    SPAN("{\"resourceSpans\":[" RESOURCE("walcast-pubd")
		    HEAD("accept", "2") "]}]}]}]}"));
}

static void
a_failure_is_a_status_of_error(void **state)
{
	struct trace_span s = span_of_kind(TRACE_COMMIT);

	(void)state;
	s.failed = true;
	assert_encoded(&s, 1,
	    SPAN("{\"resourceSpans\":[" RESOURCE("walcast-pubd") HEAD("commit",
		"1") MESSAGE_ID "],\"status\":{\"code\":2}}]}]}]}"));
}

static void
dispatch_is_of_the_worker_and_counts_streams(void **state)
{
	struct trace_span s = span_of_kind(TRACE_DISPATCH);

	(void)state;
	assert_encoded(&s, 1,
	    SPAN("{\"resourceSpans\":[" RESOURCE("walcast-worker")
		    HEAD("dispatch", "5") MESSAGE_ID STREAMS "]}]}]}]}"));
}

static void
each_service_is_one_resource(void **state)
{
	const struct trace_span s[] = {span_of_kind(TRACE_DISPATCH),
	    span_of_kind(TRACE_COMMIT), span_of_kind(TRACE_DISPATCH),
	    span_of_kind(TRACE_COMMIT)};

	(void)state;
	assert_encoded(s, 4,
	    SPAN("{\"resourceSpans\":[" RESOURCE("walcast-pubd")
		    HEAD("commit", "1") MESSAGE_ID "]}," HEAD("commit", "1")
			MESSAGE_ID "]}]}]}," RESOURCE("walcast-worker")
			    HEAD("dispatch", "5") MESSAGE_ID STREAMS
		"]}," HEAD("dispatch", "5") MESSAGE_ID STREAMS "]}]}]}]}"));
}

static void
no_spans_are_an_empty_request(void **state)
{
	(void)state;
	assert_encoded(NULL, 0, SPAN("{\"resourceSpans\":[]}"));
}

/* The text of an attribute of the only span, as json-c decodes it. */
static void
assert_attribute(const struct buf *b, const char *key, struct span want)
{
	struct json_parser *p = NULL;
	struct json *root = NULL;
	const struct json *j;
	struct errmsg err;
	size_t i;

	assert_status(json_parser_new(&p), ST_OK);
	assert_status(json_parse(p, buf_span(b), &root, &err), ST_OK);
	j = json_at(json_get(root, "resourceSpans"), 0);
	j = json_at(json_get(j, "scopeSpans"), 0);
	j = json_get(json_at(json_get(j, "spans"), 0), "attributes");
	for (i = 0; i < json_count(j); i++) {
		const struct json *a = json_at(j, i);

		if (!span_eq(json_text(json_get(a, "key")), span_str(key)))
			continue;
		assert_span(
		    json_text(json_get(json_get(a, "value"), "stringValue")),
		    want);
		break;
	}
	assert_true(i < json_count(j));
	json_free(&root);
	json_parser_free(&p);
}

static void
names_arrive_as_they_are(void **state)
{
	struct trace_span s = span_of_kind(TRACE_COMMIT);
	struct buf out;

	(void)state;
	s.type = SPAN("a\"}],\\ \xc3\xa9\n");
	buf_init(&out, 1 << 20);
	assert_status(otlp_encode(&out, &s, 1), ST_OK);
	assert_attribute(&out, "walcast.event.type", s.type);
	assert_attribute(&out, "messaging.destination.name", s.channel);
	buf_fini(&out);
}

static void
the_longest_span_keeps_its_bound(void **state)
{
	struct trace_span s = span_of_kind(TRACE_DISPATCH);
	char text[2 * NAME_MAX_BYTES];
	struct buf out;
	size_t at;

	(void)state;
	memset(text, 1, sizeof(text)); /* six bytes each, as \u0001 */
	s.channel = s.type = span_of(text, sizeof(text));
	s.start_ns = s.end_ns = s.body_bytes = s.n_streams = UINT64_MAX;
	s.event_id = INT64_MIN;
	s.failed = true;
	buf_init(&out, OTLP_SPAN_MAX_BYTES);
	assert_status(otlp_encode(&out, &s, 1), ST_OK);
	assert_status(jsontext_check(buf_span(&out), &at), ST_OK);
	assert_attribute(&out, "messaging.destination.name",
	    span_of(text, NAME_MAX_BYTES));
	buf_fini(&out);
}

static void
a_buffer_is_unchanged_when_it_is_too_small(void **state)
{
	struct trace_span s = span_of_kind(TRACE_COMMIT);
	struct buf out;
	size_t max, whole;

	(void)state;
	buf_init(&out, 1 << 20);
	assert_status(otlp_encode(&out, &s, 1), ST_OK);
	whole = out.len;
	buf_fini(&out);
	for (max = 4; max < 4 + whole; max++) {
		buf_init(&out, max);
		assert_status(buf_append(&out, SPAN("kept")), ST_OK);
		assert_status(otlp_encode(&out, &s, 1), ST_FULL);
		assert_span(buf_span(&out), SPAN("kept"));
		buf_fini(&out);
	}
}

static void
a_buffer_is_unchanged_when_allocation_fails(void **state)
{
	struct trace_span s = span_of_kind(TRACE_COMMIT);
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 20);
	fault_alloc_at(1);
	assert_status(otlp_encode(&out, &s, 1), ST_NOMEM);
	assert_true(fault_hit());
	assert_int_equal(out.len, 0);
	buf_fini(&out);
}

static void
an_answer_tells_how_many_were_rejected(void **state)
{
	const struct {
		struct span answer;
		uint64_t n;
	} rows[] = {
	    {SPAN("{\"partialSuccess\":{\"rejectedSpans\":\"3\","
		  "\"errorMessage\":\"no\"}}"),
		3},
	    {SPAN(" {\"partialSuccess\": {\"rejectedSpans\": 12}}\n"), 12},
	    {SPAN("{}"), 0},
	    {SPAN(""), 0},
	    {SPAN("{\"partialSuccess\":{}}"), 0},
	    {SPAN("{\"partialSuccess\":null}"), 0},
	    {SPAN("{\"partialSuccess\":{\"rejectedSpans\":\"\"}}"), 0},
	    {SPAN("{\"partialSuccess\":{\"rejectedSpans\":\"-1\"}}"), 0},
	    {SPAN("{\"partialSuccess\":{\"rejectedSpans\":\"3\""), 0},
	    {SPAN("[\"partialSuccess\"]"), 0},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(otlp_rejected(rows[i].answer), rows[i].n);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_span_is_written_as_otlp_asks),
	    cmocka_unit_test(an_event_without_an_id_has_no_message_id),
	    cmocka_unit_test(a_failure_is_a_status_of_error),
	    cmocka_unit_test(dispatch_is_of_the_worker_and_counts_streams),
	    cmocka_unit_test(each_service_is_one_resource),
	    cmocka_unit_test(no_spans_are_an_empty_request),
	    cmocka_unit_test(names_arrive_as_they_are),
	    cmocka_unit_test(the_longest_span_keeps_its_bound),
	    cmocka_unit_test(a_buffer_is_unchanged_when_it_is_too_small),
	    cmocka_unit_test(a_buffer_is_unchanged_when_allocation_fails),
	    cmocka_unit_test(an_answer_tells_how_many_were_rejected),
	};

	return RUN(tests);
}

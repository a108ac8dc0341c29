/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as lines of a publisher: what they become keeps its bounds, is
 * what json-c reads in the same line, and is taken once more, as the same,
 * when it is written anew; every answer is one line of JSON.
 */
#include "protocol.h"

#include <string.h>

#include "metrics.h"
#include "fuzz.h"
#include "json.h"
#include "jsontext.h"
#include "name.h"
#include "utf8.h"

#define MAX_DATA 512

static void
check_event(const struct event *e)
{
	MUST(name_channel_ok(e->channel) && !name_reserved(e->channel));
	MUST(name_event_ok(e->event));
	MUST(e->key.p == NULL || name_key_ok(e->key));
	MUST(e->trace.p == NULL || name_trace_ok(e->trace));
	MUST(e->data.len <= MAX_DATA && utf8_ok(e->data));
	MUST(e->data.len == 0 || memchr(e->data.p, '\0', e->data.len) == NULL);
	MUST(e->kind == EVENT_DATA_TEXT || e->kind == EVENT_DATA_JSON);
	if (e->kind == EVENT_DATA_JSON) {
		size_t at;

		MUST(jsontext_check(e->data, &at) == ST_OK);
	}
}

/* ---- against json-c ---------------------------------------------------- */

static void
agree_text(const struct json *object, const char *name, struct span got,
    struct span otherwise)
{
	const struct json *member = json_get(object, name);

	if (member == NULL)
		MUST(span_eq(got, otherwise));
	else
		MUST(json_type(member) == JSON_STRING &&
		    span_eq(json_text(member), got));
}

static void
agree_event(const struct json *object, const struct event *e)
{
	const struct json *data = json_get(object, "data");
	bool is_text;

	MUST(data != NULL || span_eq(e->data, SPAN("null")));
	is_text = data != NULL && json_type(data) == JSON_STRING;
	MUST((e->kind == EVENT_DATA_TEXT) == is_text);
	if (is_text)
		MUST(span_eq(json_text(data), e->data));
	agree_text(object, "channel", e->channel, SPAN_NONE);
	agree_text(object, "event", e->event, SPAN("message"));
	agree_text(object, "key", e->key, SPAN_NONE);
}

/* json-c ends names at U+0000, which nothing here does. */
static void
agree(const struct protocol_request *r, struct span line)
{
	static struct json_parser *parser;
	struct json *root;
	struct errmsg err;
	size_t i;

	if (memmem(line.p, line.len, "\\u0000", 6) != NULL)
		return;
	if (parser == NULL)
		MUST(json_parser_new(&parser) == ST_OK);
	MUST(json_parse(parser, line, &root, &err) == ST_OK);
	if (r->op == OP_PUBLISH)
		agree_event(root, &r->events[0].e);
	for (i = 0; r->op == OP_ARRAY && i < r->n_events; i++)
		agree_event(json_at(root, i), &r->events[i].e);
	MUST(r->op == OP_PUBLISH || json_count(root) == r->n_events);
	json_free(&root);
}

/* ---- once more --------------------------------------------------------- */

static void
put(struct buf *out, struct span s)
{
	MUST(buf_append(out, s) == ST_OK);
}

static void
put_member(struct buf *out, struct span name, struct span text)
{
	if (text.p == NULL)
		return;
	put(out, name);
	jsontext_add_quoted(out, text);
	MUST(buf_status(out) == ST_OK);
}

static void
parse_again(const struct event *e)
{
	static struct protocol *p;
	static struct buf line;
	const struct event *got;
	struct protocol_request r;

	if (p == NULL) {
		MUST(protocol_new(&p, (struct protocol_limits){MAX_DATA}) ==
		    ST_OK);
		buf_init(&line, 1 << 20);
	}
	buf_clear(&line);
	put_member(&line, SPAN("{\"channel\":"), e->channel);
	put_member(&line, SPAN(",\"event\":"), e->event);
	put_member(&line, SPAN(",\"key\":"), e->key);
	put_member(&line, SPAN(",\"trace\":"), e->trace);
	put(&line, SPAN(",\"data\":"));
	if (e->kind == EVENT_DATA_JSON)
		put(&line, e->data);
	else
		jsontext_add_quoted(&line, e->data);
	put(&line, SPAN("}"));
	protocol_parse(p, buf_span(&line), &r);
	MUST(r.op == OP_PUBLISH && r.n_events == 1);
	got = &r.events[0].e;
	MUST(got->kind == e->kind && span_eq(got->data, e->data));
	MUST(span_eq(got->channel, e->channel));
	MUST(span_eq(got->event, e->event));
	MUST(span_eq(got->key, e->key) && span_eq(got->trace, e->trace));
}

/* Metrics of the catalogue only, each in its bounds, written once more alike */
static void
check_metrics(enum metrics_part part, struct span text)
{
	struct metrics f = {.cell = {0}};
	unsigned n_unknown = 0;
	size_t i, at;
	struct buf again;

	MUST(text.len <= WIRE_MAX_METRICS);
	MUST(jsontext_check(text, &at) == ST_OK);
	MUST(metrics_read(&f, part, text, &n_unknown) == ST_OK);
	MUST(n_unknown == 0);
	for (i = 0; i < METRICS_N_CELLS; i++)
		MUST(f.cell[i] <= WIRE_MAX_METRIC);
	buf_init(&again, 1 << 20);
	MUST(metrics_write(&f, part, &again) == ST_OK);
	MUST(span_eq(buf_span(&again), text));
	buf_fini(&again);
}

static void
check_report(const struct status_row *row)
{
	MUST(name_key_ok(row->name) && name_key_ok(row->version));
	MUST(row->role.len >= 3 && row->role.len <= 7);
	MUST(row->pid >= 0 && row->started_ms >= 0 && row->head >= 0 &&
	    row->cursor >= 0 && row->streams >= 0 && row->error_ms >= 0);
	check_metrics(METRICS_COUNTERS, row->counters);
	check_metrics(METRICS_GAUGES, row->gauges);
	MUST(row->error.len <= WIRE_MAX_ERROR && utf8_ok(row->error));
	MUST(row->error.len == 0 ||
	    memchr(row->error.p, '\0', row->error.len) == NULL);
}

static void
check_span(const struct wire_span *s)
{
	MUST(name_trace_ok(s->trace) && name_channel_ok(s->channel) &&
	    name_event_ok(s->type));
	MUST(s->start_us >= 0 && s->end_us >= 0 && s->id >= 0 &&
	    s->bytes >= 0 && s->streams >= 0);
}

static void
check_request(const struct protocol_request *r, struct span line)
{
	size_t i, at;

	MUST(r->ref.len <= PROTOCOL_MAX_REF);
	if (r->ref.len > 0)
		MUST(jsontext_check(r->ref, &at) == ST_OK);
	if (r->op == OP_PUBLISH)
		MUST(r->n_events == 1);
	if (r->op == OP_ARRAY)
		MUST(r->n_events >= 1 && r->n_events <= PROTOCOL_MAX_EVENTS);
	if (r->op == OP_PUBLISH || r->op == OP_ARRAY) {
		for (i = 0; i < r->n_events; i++)
			check_event(&r->events[i].e);
		agree(r, line);
		parse_again(&r->events[0].e);
	}
	if (r->op == OP_REPORT)
		check_report(&r->report->row);
	if (r->op == OP_SPAN)
		check_span(r->span);
	if (r->op == OP_ERROR)
		MUST((r->failure.channel.len == 0 ||
			 name_channel_ok(r->failure.channel)) &&
		    r->failure.code != PROTOCOL_NONE &&
		    r->failure.code != PROTOCOL_UNAVAILABLE &&
		    r->failure.message.len > 0);
	if (jsontext_check(line, &at) != ST_OK)
		MUST(r->op == OP_ERROR && r->failure.code == PROTOCOL_BAD_JSON);
}

static void
check_answer(const struct protocol_request *r, struct buf *out)
{
	const struct store_bounds b = {.head = 7,
	    .oldest = 1,
	    .generation = "00"};
	struct span s;
	size_t at;

	buf_clear(out);
	MUST(protocol_answer(out, r, &b) == ST_OK);
	s = buf_span(out);
	if (r->op == OP_REPORT || r->op == OP_SPAN) {
		MUST(s.len == 0);
		return;
	}
	MUST(s.len > 2 && s.p[s.len - 1] == '\n');
	s.len--;
	MUST(memchr(s.p, '\n', s.len) == NULL);
	MUST(jsontext_check(s, &at) == ST_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct protocol *p;
	struct span rest, line;
	struct buf out;
	char *exact = malloc(size > 0 ? size : 1);

	MUST(exact != NULL);
	memcpy(exact, data, size);
	if (p == NULL)
		MUST(protocol_new(&p, (struct protocol_limits){MAX_DATA}) ==
		    ST_OK);
	buf_init(&out, 1 << 24);
	rest = span_of(exact, size);
	while (span_cut(&rest, '\n', &line)) {
		struct protocol_request r;

		protocol_parse(p, line, &r);
		check_request(&r, line);
		check_answer(&r, &out);
	}
	buf_fini(&out);
	free(exact);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * What our programs say to pubd and it to them: what an encoder wrote its
 * decoder gives back, whatever the fields hold, or refuses when they break a
 * rule; and any bytes as a line break no decoder, and what is read of them is
 * written and read once more as the same.
 *
 * The first byte says which: w, r, s or a make a watch, a report, a span or an
 * answer of the bytes that follow; everything else is a line.
 */
#include "wire.h"

#include <string.h>

#include "fuzz.h"
#include "jsontext.h"
#include "name.h"
#include "utf8.h"
#include "value.h"

static struct values written_v, again_v;
static struct buf again_buf;

/* ---- fields out of the input -------------------------------------------- */

static int64_t
take_number(struct span *in)
{
	uint64_t v = 0;
	size_t n = in->len < 8 ? in->len : 8;

	if (n > 0)
		memcpy(&v, in->p, n);
	*in = span_skip(*in, n);
	return (int64_t)(v & INT64_MAX);
}

/* As take_number; one in two is not there. */
static int64_t
take_optional(struct span *in)
{
	int64_t v = take_number(in);

	return v % 2 == 0 ? v : -1;
}

/* A byte for its length, then the text. */
static struct span
take_text(struct span *in)
{
	struct span s = *in;

	if (in->len == 0)
		return SPAN_NONE;
	s = span_skip(s, 1);
	if (s.len > (unsigned char)in->p[0])
		s.len = (unsigned char)in->p[0];
	*in = span_skip(*in, 1 + s.len);
	return s;
}

/* ---- lines -------------------------------------------------------------- */

static struct span
one_line(struct buf *b, struct values *v)
{
	struct span line = buf_span(b);
	size_t at;

	MUST(jsontext_check(line, &at) == ST_OK);
	MUST(span_find(line, '\n') == NULL);
	MUST(values_begin(v, line.len) == ST_OK);
	return line;
}

/* Text that is not UTF-8 is written as something else. */
static void
same_text(struct span got, struct span want)
{
	MUST(!utf8_ok(want) || span_eq(got, want));
}

/* ---- watch -------------------------------------------------------------- */

static void
watch_again(const struct wire_watch *w)
{
	struct wire_watch got;

	buf_clear(&again_buf);
	MUST(wire_put_watch(&again_buf, w) == ST_OK);
	wire_get_watch(one_line(&again_buf, &again_v), &got);
	MUST(got.timing == w->timing && got.wake == w->wake);
	if (wire_role_ok(w->role))
		MUST(span_eq(got.role, w->role));
}

static void
make_watch(struct span in)
{
	int64_t flags = take_number(&in);
	const struct wire_watch w = {.role = take_text(&in),
	    .timing = flags % 2 == 0,
	    .wake = flags % 3 == 0};

	watch_again(&w);
}

/* ---- reports ------------------------------------------------------------ */

static void
same_row(const struct status_row *got, const struct wire_report *r)
{
	struct metrics f = {.cell = {0}};
	unsigned n_unknown = 0, i;

	MUST(span_eq(got->role, r->role) && span_eq(got->version, r->version));
	MUST(got->pid == r->pid && got->started_ms == r->started_ms);
	MUST(got->head == r->head && got->cursor == r->cursor);
	MUST(got->streams == r->streams && got->error_ms == r->error_ms);
	MUST(name_key_ok(got->name) && got->error.len <= WIRE_MAX_ERROR);
	if (r->error_ms > 0 && r->error.len <= WIRE_MAX_ERROR &&
	    span_find(r->error, '\0') == NULL)
		same_text(got->error, r->error);
	MUST(got->counters.len <= WIRE_MAX_METRICS &&
	    got->gauges.len <= WIRE_MAX_METRICS);
	MUST(metrics_read(&f, METRICS_COUNTERS, got->counters, &n_unknown) ==
	    ST_OK);
	MUST(
	    metrics_read(&f, METRICS_GAUGES, got->gauges, &n_unknown) == ST_OK);
	MUST(n_unknown == 0);
	for (i = 0; i < METRICS_N_CELLS; i++)
		MUST(f.cell[i] == r->metrics->cell[i]);
}

static bool
report_ok(const struct wire_report *r)
{
	unsigned i;

	for (i = 0; i < METRICS_N_CELLS; i++)
		if (r->metrics->cell[i] > WIRE_MAX_METRIC)
			return false;
	return wire_role_ok(r->role) && name_key_ok(r->version);
}

static void
report_again(const struct wire_report *r)
{
	struct wire_reported got;
	struct errmsg why = {""};
	enum status st;

	buf_clear(&again_buf);
	MUST(wire_put_report(&again_buf, r) == ST_OK);
	st = wire_get_report(&again_v, one_line(&again_buf, &again_v), &got,
	    &why);
	/* What is not UTF-8 may have become what keeps the rule. */
	MUST(st == (report_ok(r) ? ST_OK : ST_INVALID) || !utf8_ok(r->version));
	MUST(st == ST_OK || why.text[0] != '\0');
	if (report_ok(r))
		same_row(&got.row, r);
}

static void
make_report(struct span in)
{
	static const char *const roles[] = {"worker", "cgi", "metrics"};
	struct metrics f = {.cell = {0}};
	struct wire_report r = {.metrics = &f};
	size_t i;

	r.role = span_str(roles[(uint64_t)take_number(&in) % 3]);
	r.version = take_text(&in);
	r.pid = take_number(&in);
	r.started_ms = take_number(&in);
	r.head = take_number(&in);
	r.cursor = take_number(&in);
	r.streams = take_number(&in);
	r.error_ms = take_number(&in);
	r.error = take_text(&in);
	while (in.len > 0) {
		i = (uint64_t)take_number(&in) % METRICS_N_CELLS;
		metrics_set(&f, (unsigned)i, (uint64_t)take_number(&in));
	}
	report_again(&r);
}

/* What was read of any line. */
static void
reread_report(const struct wire_reported *got)
{
	const struct status_row *row = &got->row;
	struct metrics f = {.cell = {0}};
	unsigned n_unknown = 0;
	struct wire_report r = {.role = row->role,
	    .version = row->version,
	    .pid = row->pid,
	    .started_ms = row->started_ms,
	    .head = row->head,
	    .cursor = row->cursor,
	    .streams = row->streams,
	    .metrics = &f,
	    .error_ms = row->error_ms,
	    .error = row->error};

	MUST(name_key_ok(row->name));
	MUST(metrics_read(&f, METRICS_COUNTERS, row->counters, &n_unknown) ==
	    ST_OK);
	MUST(
	    metrics_read(&f, METRICS_GAUGES, row->gauges, &n_unknown) == ST_OK);
	MUST(n_unknown == 0);
	report_again(&r);
}

/* ---- spans -------------------------------------------------------------- */

static void
span_again(const struct wire_span *s)
{
	struct wire_span got;
	struct errmsg why = {""};
	bool ok = name_trace_ok(s->trace) && name_channel_ok(s->channel) &&
	    name_event_ok(s->type);
	enum status st;

	buf_clear(&again_buf);
	MUST(wire_put_span(&again_buf, s) == ST_OK);
	st = wire_get_span(&again_v, one_line(&again_buf, &again_v), &got,
	    &why);
	/* What is not UTF-8 may have become what keeps the rule. */
	MUST(st == (ok ? ST_OK : ST_INVALID) || !utf8_ok(s->type));
	if (!ok)
		return;
	MUST(span_eq(got.trace, s->trace) && span_eq(got.channel, s->channel) &&
	    span_eq(got.type, s->type));
	MUST(got.start_us == s->start_us && got.end_us == s->end_us);
	MUST(got.id == s->id && got.bytes == s->bytes);
	MUST(got.streams == s->streams);
}

static void
make_span(struct span in)
{
	struct wire_span s = {.trace = take_text(&in)};

	s.channel = take_text(&in);
	s.type = take_text(&in);
	s.start_us = take_number(&in);
	s.end_us = take_number(&in);
	s.id = take_number(&in);
	s.bytes = take_number(&in);
	s.streams = take_number(&in);
	span_again(&s);
}

/* ---- answers ------------------------------------------------------------ */

static void
same_answer(const struct wire_answer *got, const struct wire_answer *a)
{
	bool ok = a->ok == WIRE_OK, failed = a->ok == WIRE_FAILED;

	MUST(got->ok == a->ok);
	MUST(got->id == (ok ? a->id : -1));
	MUST(got->duplicate == (ok && a->duplicate));
	MUST(got->oldest == (ok ? a->oldest : -1));
	MUST(got->trace == (ok ? a->trace : -1));
	MUST(got->head == (failed ? -1 : a->head));
	MUST(got->at_us == (a->ok == WIRE_NEWS ? a->at_us : -1));
	MUST(got->index == (failed ? a->index : -1));
	MUST(got->retry_ms == (failed ? a->retry_ms : -1));
	MUST(span_eq(got->ref, a->ref));
	if (ok)
		same_text(got->generation, a->generation);
	if (failed) {
		same_text(got->error, a->error);
		same_text(got->message, a->message);
	}
}

static void
answer_again(const struct wire_answer *a)
{
	struct wire_answer got;

	buf_clear(&again_buf);
	MUST(wire_put_answer(&again_buf, a) == ST_OK);
	MUST(wire_get_answer(&again_v, one_line(&again_buf, &again_v), &got) ==
	    ST_OK);
	same_answer(&got, a);
}

static void
make_answer(struct span in)
{
	struct wire_answer a = WIRE_ANSWER_NONE;
	int64_t flags = take_number(&in);
	size_t at;

	a.ok = (enum wire_ok)(flags % 3);
	a.duplicate = flags % 2 == 0;
	a.trace = flags % 5 < 2 ? flags % 5 : -1;
	a.id = take_optional(&in);
	a.index = take_optional(&in);
	a.retry_ms = take_optional(&in);
	a.head = a.ok == WIRE_NEWS ? take_number(&in) : take_optional(&in);
	a.oldest = take_optional(&in);
	a.at_us = take_optional(&in);
	a.error = take_text(&in);
	a.message = take_text(&in);
	a.generation = take_text(&in);
	a.ref = take_text(&in);
	if (jsontext_check(a.ref, &at) != ST_OK ||
	    span_find(a.ref, '\n') != NULL || span_trim(a.ref).p != a.ref.p ||
	    span_trim(a.ref).len != a.ref.len || span_find(a.ref, '\r') != NULL)
		a.ref = SPAN_NONE;
	answer_again(&a);
}

/* What pubd does not say together is not written, so not compared. */
static void
reread_answer(struct wire_answer a)
{
	if (a.ok == WIRE_NEWS && a.head < 0)
		return;
	answer_again(&a);
}

/* ---- any line ----------------------------------------------------------- */

static void
read_line(struct span line)
{
	struct wire_reported report;
	struct wire_answer answer;
	struct wire_watch watch;
	struct wire_span span;
	struct errmsg why;
	size_t at;

	if (wire_get_answer(&written_v, line, &answer) == ST_OK)
		reread_answer(answer);
	if (jsontext_check(line, &at) != ST_OK)
		return;
	wire_get_watch(line, &watch);
	watch_again(&watch);
	MUST(values_begin(&written_v, line.len) == ST_OK);
	if (wire_get_report(&written_v, line, &report, &why) == ST_OK)
		reread_report(&report);
	MUST(values_begin(&written_v, line.len) == ST_OK);
	if (wire_get_span(&written_v, line, &span, &why) == ST_OK)
		span_again(&span);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span in = fuzz_span(data, size);
	char kind = size > 0 ? (char)data[0] : 0;

	if (written_v.json == NULL) {
		MUST(values_init(&written_v) == ST_OK);
		MUST(values_init(&again_v) == ST_OK);
		buf_init(&again_buf, 1 << 20);
	}
	if (kind == 'w')
		make_watch(span_skip(in, 1));
	else if (kind == 'r')
		make_report(span_skip(in, 1));
	else if (kind == 's')
		make_span(span_skip(in, 1));
	else if (kind == 'a')
		make_answer(span_skip(in, 1));
	else
		read_line(in);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* Lines between our programs and pubd.  Pure. */
#include "wire.h"

#include "jsontext.h"
#include "name.h"
#include "value.h"

/* A member of a text under way: `,"name":N`. */
static void
wire_add_number(struct buf *out, const char *name, int64_t value)
{
	buf_addf(out, ",\"%s\":%lld", name, (long long)value);
}

static void
wire_add_text(struct buf *out, const char *name, struct span text)
{
	buf_addf(out, ",\"%s\":", name);
	jsontext_add_quoted(out, text);
}

/* ---- watch -------------------------------------------------------------- */

bool
wire_role_ok(struct span role)
{
	static const char *const roles[] = {"worker", "cgi", "metrics"};
	size_t i;

	for (i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (span_eq(role, span_str(roles[i])))
			return true;
	return false;
}

enum status
wire_put_watch(struct buf *out, const struct wire_watch *w)
{
	size_t start = out->len;

	buf_add(out, SPAN("{\"op\":\"watch\""));
	if (w->role.len > 0)
		wire_add_text(out, "role", w->role);
	if (w->timing)
		buf_add(out, SPAN(",\"timing\":true"));
	if (!w->wake)
		buf_add(out, SPAN(",\"wake\":false"));
	buf_add(out, SPAN("}"));
	return buf_finish(out, start);
}

static bool
wire_member_is(struct span line, struct span name, struct span value)
{
	struct span raw;

	return jsontext_member(line, name, &raw) == ST_OK &&
	    span_eq(raw, value);
}

void
wire_get_watch(struct span line, struct wire_watch *out)
{
	struct span role;

	out->role = SPAN_NONE;
	if (jsontext_member(line, SPAN("role"), &role) == ST_OK &&
	    value_is_string(role) && span_find(role, '\\') == NULL)
		out->role = span_of(role.p + 1, role.len - 2);
	out->timing = wire_member_is(line, SPAN("timing"), SPAN("true"));
	out->wake = !wire_member_is(line, SPAN("wake"), SPAN("false"));
}

/* The line that is read, its scratch memory, and where errors are reported. */
struct wire_source {
	struct values *v;
	struct span line;
	struct errmsg *why;
};

struct wire_number {
	const char *name;
	int64_t *out;
};

/* A string member that keeps a rule. */
static enum status
wire_take_text(const struct wire_source *s, const char *name,
    bool (*is_ok)(struct span), struct span *out)
{
	struct span raw;
	enum status st = jsontext_member(s->line, span_str(name), &raw);

	if (st == ST_OK)
		st = value_text(s->v, raw, out);
	if (st == ST_NOMEM || (st == ST_OK && is_ok(*out)))
		return st;
	errmsg_set(s->why, "`%s` is missing, no string, or malformed", name);
	return ST_INVALID;
}

static enum status
wire_take_numbers(const struct wire_source *s, const struct wire_number *list,
    size_t n)
{
	struct span raw;
	size_t i;

	for (i = 0; i < n; i++) {
		*list[i].out = 0;
		if (jsontext_member(s->line, span_str(list[i].name), &raw) !=
			ST_OK ||
		    span_to_int64(raw, list[i].out))
			continue;
		errmsg_set(s->why, "`%s` must be a whole number, not negative",
		    list[i].name);
		return ST_INVALID;
	}
	return ST_OK;
}

#define NUMBERS(s, list)                                                       \
	wire_take_numbers((s), (list), sizeof(list) / sizeof((list)[0]))

/* ---- reports ------------------------------------------------------------ */

static void
wire_add_metrics(struct buf *out, const char *name, enum metrics_part part,
    const struct metrics *f)
{
	buf_addf(out, ",\"%s\":", name);
	if (buf_status(out) == ST_OK)
		buf_note(out, metrics_write(f, part, out));
}

enum status
wire_put_report(struct buf *out, const struct wire_report *r)
{
	size_t start = out->len;
	int role_len = (int)r->role.len;

	buf_addf(out,
	    "{\"op\":\"report\",\"name\":\"%.*s-%lld-%lld\","
	    "\"role\":\"%.*s\"",
	    role_len, r->role.p, (long long)r->pid, (long long)r->started_ms,
	    role_len, r->role.p);
	wire_add_number(out, "pid", r->pid);
	wire_add_text(out, "version", r->version);
	wire_add_number(out, "started_ms", r->started_ms);
	wire_add_number(out, "head", r->head);
	wire_add_number(out, "cursor", r->cursor);
	wire_add_number(out, "streams", r->streams);
	wire_add_metrics(out, "counters", METRICS_COUNTERS, r->metrics);
	wire_add_metrics(out, "gauges", METRICS_GAUGES, r->metrics);
	if (r->error_ms > 0) {
		wire_add_number(out, "error_ms", r->error_ms);
		wire_add_text(out, "error", r->error);
	}
	buf_add(out, SPAN("}"));
	return buf_finish(out, start);
}

/*
 * Counters or gauges as they will stand in the table.  Never longer than they
 * were.
 */
static enum status
wire_take_metrics(const struct wire_source *s, enum metrics_part part,
    unsigned *unknown, struct span *out)
{
	const char *name = part == METRICS_COUNTERS ? "counters" : "gauges";
	size_t i, before = s->v->scratch.len;
	struct metrics f = {.cell = {0}};
	struct span raw;

	*out = SPAN("{}");
	if (jsontext_member(s->line, span_str(name), &raw) != ST_OK)
		return ST_OK;
	errmsg_set(s->why,
	    "`%s` must be an object of whole numbers from 0 to 2^53, of at "
	    "most %d bytes",
	    name, WIRE_MAX_METRICS);
	if (raw.len > WIRE_MAX_METRICS ||
	    metrics_read(&f, part, raw, unknown) != ST_OK)
		return ST_INVALID;
	for (i = 0; i < METRICS_N_CELLS; i++)
		if (f.cell[i] > WIRE_MAX_METRIC)
			return ST_INVALID;
	if (metrics_write(&f, part, &s->v->scratch) != ST_OK)
		return ST_NOMEM;
	*out = span_skip(buf_span(&s->v->scratch), before);
	return ST_OK;
}

/* Whole characters of at most so many bytes. */
static struct span
wire_cut_text(struct span s, size_t max)
{
	if (s.len <= max)
		return s;
	s.len = max;
	while (s.len > 0 && ((unsigned char)s.p[s.len] & 0xc0) == 0x80)
		s.len--;
	return s;
}

/* Its last error, if it had one. */
static enum status
wire_take_error(const struct wire_source *s, struct status_row *row)
{
	struct span raw;
	enum status st;

	if (row->error_ms == 0)
		return ST_OK;
	st = jsontext_member(s->line, SPAN("error"), &raw);
	if (st == ST_OK)
		st = value_text(s->v, raw, &row->error);
	if (st == ST_OK)
		st = value_replace_nul(s->v, &row->error);
	if (st == ST_NOMEM)
		return st;
	errmsg_set(s->why, "`error` must be a string");
	row->error = wire_cut_text(row->error, WIRE_MAX_ERROR);
	return st == ST_OK ? ST_OK : ST_INVALID;
}

enum status
wire_get_report(struct values *v, struct span line, struct wire_reported *out,
    struct errmsg *why)
{
	const struct wire_source s = {v, line, why};
	struct status_row *row = &out->row;
	const struct wire_number numbers[] = {{"pid", &row->pid},
	    {"started_ms", &row->started_ms}, {"head", &row->head},
	    {"cursor", &row->cursor}, {"streams", &row->streams},
	    {"error_ms", &row->error_ms}};
	enum status st;

	*out = (struct wire_reported){.row = {.name = SPAN_NONE}};
	st = wire_take_text(&s, "name", name_key_ok, &row->name);
	if (st == ST_OK)
		st = wire_take_text(&s, "role", wire_role_ok, &row->role);
	if (st == ST_OK)
		st = wire_take_text(&s, "version", name_key_ok, &row->version);
	if (st == ST_OK)
		st = NUMBERS(&s, numbers);
	if (st == ST_OK)
		st = wire_take_metrics(&s, METRICS_COUNTERS, &out->n_unknown,
		    &row->counters);
	if (st == ST_OK)
		st = wire_take_metrics(&s, METRICS_GAUGES, &out->n_unknown,
		    &row->gauges);
	return st == ST_OK ? wire_take_error(&s, row) : st;
}

/* ---- spans -------------------------------------------------------------- */

enum status
wire_put_span(struct buf *out, const struct wire_span *s)
{
	size_t start = out->len;

	buf_add(out, SPAN("{\"op\":\"span\",\"name\":\"dispatch\""));
	wire_add_text(out, "trace", s->trace);
	wire_add_text(out, "channel", s->channel);
	wire_add_text(out, "type", s->type);
	wire_add_number(out, "start_us", s->start_us);
	wire_add_number(out, "end_us", s->end_us);
	wire_add_number(out, "id", s->id);
	wire_add_number(out, "bytes", s->bytes);
	wire_add_number(out, "streams", s->streams);
	buf_add(out, SPAN("}"));
	return buf_finish(out, start);
}

static bool
wire_is_dispatch(struct span name)
{
	return span_eq(name, SPAN("dispatch"));
}

enum status
wire_get_span(struct values *v, struct span line, struct wire_span *out,
    struct errmsg *why)
{
	const struct wire_source s = {v, line, why};
	const struct wire_number numbers[] = {{"start_us", &out->start_us},
	    {"end_us", &out->end_us}, {"id", &out->id}, {"bytes", &out->bytes},
	    {"streams", &out->streams}};
	struct span name;
	enum status st = wire_take_text(&s, "name", wire_is_dispatch, &name);

	if (st == ST_OK)
		st = wire_take_text(&s, "trace", name_trace_ok, &out->trace);
	if (st == ST_OK)
		st = wire_take_text(&s, "channel", name_channel_ok,
		    &out->channel);
	if (st == ST_OK)
		st = wire_take_text(&s, "type", name_event_ok, &out->type);
	return st == ST_OK ? NUMBERS(&s, numbers) : st;
}

/* ---- answers ------------------------------------------------------------ */

static void
wire_add_failure(struct buf *out, const struct wire_answer *a)
{
	buf_add(out, SPAN("{\"ok\":false"));
	wire_add_text(out, "error", a->error);
	wire_add_text(out, "message", a->message);
	if (a->index >= 0)
		wire_add_number(out, "index", a->index);
	if (a->retry_ms >= 0)
		wire_add_number(out, "retry_ms", a->retry_ms);
}

#define OK_BEGINS SPAN("{\"ok\":true")

static void
wire_add_success(struct buf *out, const struct wire_answer *a)
{
	buf_add(out, OK_BEGINS);
	if (a->id >= 0)
		wire_add_number(out, "id", a->id);
	if (a->duplicate)
		buf_add(out, SPAN(",\"duplicate\":true"));
	if (a->head >= 0)
		wire_add_number(out, "head", a->head);
	if (a->oldest >= 0)
		wire_add_number(out, "oldest", a->oldest);
	if (a->generation.len > 0)
		wire_add_text(out, "generation", a->generation);
	if (a->trace >= 0)
		buf_addf(out, ",\"trace\":%s", a->trace > 0 ? "true" : "false");
}

static void
wire_add_news(struct buf *out, const struct wire_answer *a)
{
	buf_addf(out, "{\"head\":%lld", (long long)a->head);
	if (a->at_us >= 0)
		wire_add_number(out, "at_us", a->at_us);
}

enum status
wire_put_answer(struct buf *out, const struct wire_answer *a)
{
	size_t start = out->len;

	switch (a->ok) {
	case WIRE_NEWS:
		wire_add_news(out, a);
		break;
	case WIRE_OK:
		wire_add_success(out, a);
		break;
	case WIRE_FAILED:
		wire_add_failure(out, a);
		break;
	}
	if (a->ref.len > 0) {
		buf_add(out, SPAN(",\"ref\":"));
		buf_add(out, a->ref);
	}
	buf_add(out, SPAN("}"));
	return buf_finish(out, start);
}

/* The field for a number of an answer; NULL: answers have no such number. */
static int64_t *
wire_answer_number(struct wire_answer *a, struct span name)
{
	const struct wire_number list[] = {{"id", &a->id}, {"head", &a->head},
	    {"at_us", &a->at_us}, {"oldest", &a->oldest}, {"index", &a->index},
	    {"retry_ms", &a->retry_ms}};
	size_t i;

	for (i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		if (span_eq(name, span_str(list[i].name)))
			return list[i].out;
	return NULL;
}

/* A string of an answer, undecoded without its quotes; else as above. */
static struct span *
wire_answer_text(struct wire_answer *a, struct span name)
{
	if (span_eq(name, SPAN("error")))
		return &a->error;
	if (span_eq(name, SPAN("message")))
		return &a->message;
	return span_eq(name, SPAN("generation")) ? &a->generation : NULL;
}

static enum status
wire_take_member(struct values *v, struct span name, struct span raw,
    struct wire_answer *a)
{
	bool is_true = span_eq(raw, SPAN("true"));
	int64_t *number = wire_answer_number(a, name);
	struct span *text = wire_answer_text(a, name);
	enum status st;

	if (number != NULL) {
		if (!span_to_int64(raw, number))
			*number = -1;
	} else if (text != NULL) {
		*text = SPAN_NONE;
		st = value_text(v, raw, text);
		return st == ST_NOMEM ? st : ST_OK;
	} else if (span_eq(name, SPAN("ok"))) {
		a->ok = is_true ? WIRE_OK : WIRE_FAILED;
	} else if (span_eq(name, SPAN("duplicate"))) {
		a->duplicate = is_true;
	} else if (span_eq(name, SPAN("trace"))) {
		a->trace = is_true;
	} else if (span_eq(name, SPAN("ref"))) {
		a->ref = raw;
	}
	return ST_OK;
}

enum status
wire_get_answer(struct values *v, struct span line, struct wire_answer *out)
{
	struct span name, raw;
	enum status st;
	size_t at;

	*out = WIRE_ANSWER_NONE;
	if (jsontext_check(line, &at) != ST_OK || line.p[0] != '{')
		return ST_INVALID;
	st = values_begin(v, line.len);
	while (st == ST_OK && jsontext_next_member(&line, &name, &raw))
		st = wire_take_member(v, name, raw, out);
	return st;
}

bool
wire_says_ok(struct span line)
{
	return span_starts(line, OK_BEGINS);
}

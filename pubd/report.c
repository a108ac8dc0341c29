/* SPDX-License-Identifier: MIT */
/* Lines of workers.  Pure. */
#include "report.h"

#include "figures.h"
#include "jsontext.h"
#include "name.h"
#include "value.h"

/* What is read, with what, and where to say what is wrong with it. */
struct source {
	struct values *v;
	struct span line;
	struct errmsg *why;
};

struct number {
	const char *name;
	int64_t *out;
};

/* A string member that keeps a rule. */
static enum status
take_text(const struct source *s, const char *name, bool (*is_ok)(struct span),
    struct span *out)
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
take_numbers(const struct source *s, const struct number *list, size_t n)
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
	take_numbers((s), (list), sizeof(list) / sizeof((list)[0]))

/* ---- figures ------------------------------------------------------------ */

/*
 * Counters or gauges as they will stand in the table.  Never longer than they
 * were.
 */
static enum status
take_figures(const struct source *s, enum figures_part part, unsigned *unknown,
    struct span *out)
{
	const char *name = part == FIGURES_COUNTERS ? "counters" : "gauges";
	size_t i, before = s->v->scratch.len;
	struct figures f = {.cell = {0}};
	struct span raw;

	*out = SPAN("{}");
	if (jsontext_member(s->line, span_str(name), &raw) != ST_OK)
		return ST_OK;
	errmsg_set(s->why,
	    "`%s` must be an object of whole numbers from 0 to 2^53, of at "
	    "most %d bytes",
	    name, REPORT_MAX_FIGURES);
	if (raw.len > REPORT_MAX_FIGURES ||
	    figures_read(&f, part, raw, unknown) != ST_OK)
		return ST_INVALID;
	for (i = 0; i < FIGURES_N_CELLS; i++)
		if (f.cell[i] > REPORT_MAX_FIGURE)
			return ST_INVALID;
	if (figures_write(&f, part, &s->v->scratch) != ST_OK)
		return ST_NOMEM;
	*out = span_skip(buf_span(&s->v->scratch), before);
	return ST_OK;
}

/* ---- reports ------------------------------------------------------------ */

/* Whole characters of at most so many bytes. */
static struct span
cut_text(struct span s, size_t max)
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
take_error(const struct source *s, struct statusdb_row *row)
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
	row->error = cut_text(row->error, REPORT_MAX_ERROR);
	return st == ST_OK ? ST_OK : ST_INVALID;
}

bool
report_role_ok(struct span role)
{
	static const char *const roles[] = {"worker", "cgi", "metrics"};
	size_t i;

	for (i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (span_eq(role, span_str(roles[i])))
			return true;
	return false;
}

enum status
report_parse(struct values *v, struct span line, struct report *out,
    struct errmsg *why)
{
	const struct source s = {v, line, why};
	struct statusdb_row *row = &out->row;
	const struct number numbers[] = {{"pid", &row->pid},
	    {"started_ms", &row->started_ms}, {"head", &row->head},
	    {"cursor", &row->cursor}, {"streams", &row->streams},
	    {"error_ms", &row->error_ms}};
	enum status st;

	*out = (struct report){.row = {.name = SPAN_NONE}};
	st = take_text(&s, "name", name_key_ok, &row->name);
	if (st == ST_OK)
		st = take_text(&s, "role", report_role_ok, &row->role);
	if (st == ST_OK)
		st = take_text(&s, "version", name_key_ok, &row->version);
	if (st == ST_OK)
		st = NUMBERS(&s, numbers);
	if (st == ST_OK)
		st = take_figures(&s, FIGURES_COUNTERS, &out->n_unknown,
		    &row->counters);
	if (st == ST_OK)
		st = take_figures(&s, FIGURES_GAUGES, &out->n_unknown,
		    &row->gauges);
	return st == ST_OK ? take_error(&s, row) : st;
}

/* ---- spans -------------------------------------------------------------- */

static bool
is_dispatch(struct span name)
{
	return span_eq(name, SPAN("dispatch"));
}

enum status
report_span_parse(struct values *v, struct span line, struct report_span *out,
    struct errmsg *why)
{
	const struct source s = {v, line, why};
	const struct number numbers[] = {{"start_us", &out->start_us},
	    {"end_us", &out->end_us}, {"id", &out->id}, {"bytes", &out->bytes},
	    {"streams", &out->streams}};
	struct span name;
	enum status st = take_text(&s, "name", is_dispatch, &name);

	if (st == ST_OK)
		st = take_text(&s, "trace", name_trace_ok, &out->trace);
	if (st == ST_OK)
		st = take_text(&s, "channel", name_channel_ok, &out->channel);
	if (st == ST_OK)
		st = take_text(&s, "type", name_event_ok, &out->type);
	return st == ST_OK ? NUMBERS(&s, numbers) : st;
}

/* SPDX-License-Identifier: MIT */
/* Figures as JSON (RFC 8259).  Pure. */
#include "metricsjson.h"

#include <assert.h>

#include "decimal.h"
#include "jsontext.h"

/* Append while all is well: a chain of these needs one check at its end. */
static void
add(struct buf *out, enum status *st, struct span s)
{
	if (*st == ST_OK)
		*st = buf_append(out, s);
}

/* NAME is the text that stands before the value: `,"pid":` */
static void
add_int(struct buf *out, enum status *st, struct span name, int64_t v)
{
	add(out, st, name);
	if (*st == ST_OK)
		*st = buf_put_int64(out, v);
}

static void
add_text(struct buf *out, enum status *st, struct span name, struct span text)
{
	add(out, st, name);
	if (*st == ST_OK)
		*st = jsontext_quote(out, text);
}

static void
add_number(struct buf *out, enum status *st, int64_t number, int64_t per)
{
	if (*st == ST_OK)
		*st = decimal_put(out, number, per);
}

static void
add_bool(struct buf *out, enum status *st, struct span name, bool is_true)
{
	add(out, st, name);
	add(out, st, is_true ? SPAN("true") : SPAN("false"));
}

/* ---- lists -------------------------------------------------------------- */

enum status
metricsjson_process(struct buf *list, const struct statusdb_row *row,
    bool alive)
{
	enum status st = ST_OK;

	add(list, &st, list->len > 0 ? SPAN(",") : SPAN(""));
	add_text(list, &st, SPAN("{\"name\":"), row->name);
	add_text(list, &st, SPAN(",\"role\":"), row->role);
	add_int(list, &st, SPAN(",\"pid\":"), row->pid);
	add_text(list, &st, SPAN(",\"version\":"), row->version);
	add_int(list, &st, SPAN(",\"started_ms\":"), row->started_ms);
	add_int(list, &st, SPAN(",\"seen_ms\":"), row->seen_ms);
	add_bool(list, &st, SPAN(",\"alive\":"), alive);
	add_int(list, &st, SPAN(",\"head\":"), row->head);
	add_int(list, &st, SPAN(",\"cursor\":"), row->cursor);
	add_int(list, &st, SPAN(",\"streams\":"), row->streams);
	add(list, &st, SPAN("}"));
	return st;
}

enum status
metricsjson_error(struct buf *list, const struct statusdb_error *e)
{
	enum status st = ST_OK;

	add(list, &st, list->len > 0 ? SPAN(",") : SPAN(""));
	add_int(list, &st, SPAN("{\"ts_ms\":"), e->ts_ms);
	add_text(list, &st, SPAN(",\"name\":"), e->name);
	add_text(list, &st, SPAN(",\"text\":"), e->text);
	add(list, &st, SPAN("}"));
	return st;
}

/* ---- series ------------------------------------------------------------- */

static void
add_quantile(struct buf *out, enum status *st, const struct metrics_series *s,
    unsigned permille, int64_t per)
{
	if (hist_count(&s->hist) == 0)
		add(out, st, SPAN("null"));
	else
		add_number(out, st,
		    (int64_t)hist_quantile(&s->hist, s->scale, permille), per);
}

static void
add_buckets(struct buf *out, enum status *st, const struct metrics_series *s,
    int64_t per)
{
	int64_t n = 0;
	int i;

	for (i = 0; i <= HIST_BOUNDS; i++) {
		n += (int64_t)s->hist.n[i];
		add(out, st, i > 0 ? SPAN(",[") : SPAN("["));
		if (i == HIST_BOUNDS)
			add(out, st, SPAN("\"+Inf\""));
		else
			add_number(out, st, (int64_t)hist_bounds[s->scale][i],
			    per);
		add_int(out, st, SPAN(","), n);
		add(out, st, SPAN("]"));
	}
}

static void
add_hist(struct buf *out, enum status *st, const struct metrics_series *s)
{
	int64_t per = s->scale == HIST_TIME ? 1000000 : 1;

	add_int(out, st, SPAN("\"count\":"), (int64_t)hist_count(&s->hist));
	add(out, st, SPAN(",\"sum\":"));
	add_number(out, st, (int64_t)s->hist.sum, per);
	add(out, st, SPAN(",\"p50\":"));
	add_quantile(out, st, s, 500, per);
	add(out, st, SPAN(",\"p95\":"));
	add_quantile(out, st, s, 950, per);
	add(out, st, SPAN(",\"p99\":"));
	add_quantile(out, st, s, 990, per);
	add(out, st, SPAN(",\"buckets\":["));
	add_buckets(out, st, s, per);
	add(out, st, SPAN("]"));
}

static void
add_series(struct buf *out, enum status *st, const struct metrics_series *s)
{
	add(out, st, SPAN("{\"labels\":{"));
	if (s->family->label != NULL) {
		add_text(out, st, SPAN(""), span_str(s->family->label));
		add_text(out, st, SPAN(":"), s->value);
	}
	add(out, st, SPAN("},"));
	if (s->kind == METRICS_HIST) {
		add_hist(out, st, s);
	} else {
		add(out, st, SPAN("\"value\":"));
		if (s->kind == METRICS_NUMBER)
			add_number(out, st, s->number, s->per);
		else if (*st == ST_OK)
			*st = decimal_put_double(out, s->quotient);
	}
	add(out, st, SPAN("}"));
}

static void
add_family(struct buf *out, enum status *st, const struct figure *f)
{
	add_text(out, st, SPAN("{\"name\":"), span_str(f->name));
	add_text(out, st, SPAN(",\"type\":"),
	    span_str(figures_type_name(f->type)));
	add_text(out, st, SPAN(",\"unit\":"), span_str(f->unit));
	add_text(out, st, SPAN(",\"help\":"), span_str(f->sentence));
	add(out, st, SPAN(",\"series\":["));
}

static void
add_families(struct buf *out, enum status *st, const struct metrics *m)
{
	struct metrics_cursor c = {.at = 0};
	const struct figure *family = NULL;
	struct metrics_series s;

	while (*st == ST_OK && metrics_next(m, &c, &s)) {
		assert(s.family != NULL);
		if (s.family == family) {
			add(out, st, SPAN(","));
		} else {
			add(out, st, family == NULL ? SPAN("") : SPAN("]},"));
			family = s.family;
			add_family(out, st, family);
		}
		add_series(out, st, &s);
	}
	add(out, st, family == NULL ? SPAN("") : SPAN("]}"));
}

enum status
metricsjson_put(const struct metrics *m, const struct metricsjson_lists *lists,
    struct buf *out)
{
	struct metrics_pubd pubd = metrics_pubd(m);
	enum status st = ST_OK;

	add_int(out, &st, SPAN("{\"generated_ms\":"), metrics_now_ms(m));
	add_bool(out, &st, SPAN(",\"pubd\":{\"alive\":"), pubd.alive);
	if (pubd.age_ms < 0)
		add(out, &st, SPAN(",\"age_ms\":null"));
	else
		add_int(out, &st, SPAN(",\"age_ms\":"), pubd.age_ms);
	add_bool(out, &st, SPAN(",\"answers\":"), pubd.answers);
	add_bool(out, &st, SPAN("},\"stale\":"), !pubd.alive);
	add(out, &st, SPAN(",\"reasons\":["));
	add(out, &st, lists->reasons);
	add(out, &st, SPAN("],\"metrics\":["));
	add_families(out, &st, m);
	add(out, &st, SPAN("],\"processes\":["));
	add(out, &st, lists->processes);
	add(out, &st, SPAN("],\"errors\":["));
	add(out, &st, lists->errors);
	add(out, &st, SPAN("]}"));
	return st;
}

/* SPDX-License-Identifier: MIT */
/* Metrics as JSON (RFC 8259).  Pure. */
#include "metrics_json.h"

#include <assert.h>

#include "decimal.h"
#include "jsontext.h"

/* NAME is the text that stands before the value: `,"pid":` */
static void
add_int(struct buf *out, struct span name, int64_t v)
{
	buf_add(out, name);
	buf_add_int64(out, v);
}

static void
add_text(struct buf *out, struct span name, struct span text)
{
	buf_add(out, name);
	jsontext_add_quoted(out, text);
}

static void
add_bool(struct buf *out, struct span name, bool is_true)
{
	buf_add(out, name);
	buf_add(out, is_true ? SPAN("true") : SPAN("false"));
}

/* ---- lists -------------------------------------------------------------- */

enum status
metrics_json_process(struct buf *list, const struct status_row *row, bool alive)
{
	size_t start = list->len;

	buf_add(list, list->len > 0 ? SPAN(",") : SPAN(""));
	add_text(list, SPAN("{\"name\":"), row->name);
	add_text(list, SPAN(",\"role\":"), row->role);
	add_int(list, SPAN(",\"pid\":"), row->pid);
	add_text(list, SPAN(",\"version\":"), row->version);
	add_int(list, SPAN(",\"started_ms\":"), row->started_ms);
	add_int(list, SPAN(",\"seen_ms\":"), row->seen_ms);
	add_bool(list, SPAN(",\"alive\":"), alive);
	add_int(list, SPAN(",\"head\":"), row->head);
	add_int(list, SPAN(",\"cursor\":"), row->cursor);
	add_int(list, SPAN(",\"streams\":"), row->streams);
	buf_add(list, SPAN("}"));
	return buf_finish(list, start);
}

enum status
metrics_json_error(struct buf *list, const struct statusdb_error *e)
{
	size_t start = list->len;

	buf_add(list, list->len > 0 ? SPAN(",") : SPAN(""));
	add_int(list, SPAN("{\"ts_ms\":"), e->ts_ms);
	add_text(list, SPAN(",\"name\":"), e->name);
	add_text(list, SPAN(",\"text\":"), e->text);
	buf_add(list, SPAN("}"));
	return buf_finish(list, start);
}

/* ---- series ------------------------------------------------------------- */

static void
add_quantile(struct buf *out, const struct aggregate_series *s,
    unsigned permille, int64_t per)
{
	if (hist_count(&s->hist) == 0)
		buf_add(out, SPAN("null"));
	else
		decimal_put(out,
		    (int64_t)hist_quantile(&s->hist, s->scale, permille), per);
}

static void
add_buckets(struct buf *out, const struct aggregate_series *s, int64_t per)
{
	int64_t n = 0;
	int i;

	for (i = 0; i <= HIST_BOUNDS; i++) {
		n += (int64_t)s->hist.n[i];
		buf_add(out, i > 0 ? SPAN(",[") : SPAN("["));
		if (i == HIST_BOUNDS)
			buf_add(out, SPAN("\"+Inf\""));
		else
			decimal_put(out, (int64_t)hist_bounds[s->scale][i],
			    per);
		add_int(out, SPAN(","), n);
		buf_add(out, SPAN("]"));
	}
}

static void
add_hist(struct buf *out, const struct aggregate_series *s)
{
	int64_t per = s->scale == HIST_TIME ? 1000000 : 1;

	add_int(out, SPAN("\"count\":"), (int64_t)hist_count(&s->hist));
	buf_add(out, SPAN(",\"sum\":"));
	decimal_put(out, (int64_t)s->hist.sum, per);
	buf_add(out, SPAN(",\"p50\":"));
	add_quantile(out, s, 500, per);
	buf_add(out, SPAN(",\"p95\":"));
	add_quantile(out, s, 950, per);
	buf_add(out, SPAN(",\"p99\":"));
	add_quantile(out, s, 990, per);
	buf_add(out, SPAN(",\"buckets\":["));
	add_buckets(out, s, per);
	buf_add(out, SPAN("]"));
}

static void
add_series(struct buf *out, const struct aggregate_series *s)
{
	buf_add(out, SPAN("{\"labels\":{"));
	if (s->family->label != NULL) {
		add_text(out, SPAN(""), span_str(s->family->label));
		add_text(out, SPAN(":"), s->value);
	}
	buf_add(out, SPAN("},"));
	if (s->kind == AGGREGATE_HIST) {
		add_hist(out, s);
	} else {
		buf_add(out, SPAN("\"value\":"));
		if (s->kind == AGGREGATE_NUMBER)
			decimal_put(out, s->number, s->per);
		else
			decimal_put_double(out, s->quotient);
	}
	buf_add(out, SPAN("}"));
}

static void
add_family(struct buf *out, const struct metric *f)
{
	add_text(out, SPAN("{\"name\":"), span_str(f->name));
	add_text(out, SPAN(",\"type\":"), span_str(metrics_type_name(f->type)));
	add_text(out, SPAN(",\"unit\":"), span_str(f->unit));
	add_text(out, SPAN(",\"help\":"), span_str(f->sentence));
	buf_add(out, SPAN(",\"series\":["));
}

static void
add_families(struct buf *out, const struct aggregate *m)
{
	struct aggregate_cursor c = {.at = 0};
	const struct metric *family = NULL;
	struct aggregate_series s;

	while (aggregate_next(m, &c, &s)) {
		assert(s.family != NULL);
		if (s.family == family) {
			buf_add(out, SPAN(","));
		} else {
			buf_add(out, family == NULL ? SPAN("") : SPAN("]},"));
			family = s.family;
			add_family(out, family);
		}
		add_series(out, &s);
	}
	buf_add(out, family == NULL ? SPAN("") : SPAN("]}"));
}

enum status
metrics_json_put(const struct aggregate *m,
    const struct metrics_json_lists *lists, struct buf *out)
{
	struct aggregate_pubd pubd = aggregate_pubd(m);
	size_t start = out->len;

	add_int(out, SPAN("{\"generated_ms\":"), aggregate_now_ms(m));
	add_bool(out, SPAN(",\"pubd\":{\"alive\":"), pubd.alive);
	if (pubd.age_ms < 0)
		buf_add(out, SPAN(",\"age_ms\":null"));
	else
		add_int(out, SPAN(",\"age_ms\":"), pubd.age_ms);
	add_bool(out, SPAN(",\"answers\":"), pubd.answers);
	add_bool(out, SPAN("},\"stale\":"), !pubd.alive);
	buf_add(out, SPAN(",\"reasons\":["));
	buf_add(out, lists->reasons);
	buf_add(out, SPAN("],\"metrics\":["));
	add_families(out, m);
	buf_add(out, SPAN("],\"processes\":["));
	buf_add(out, lists->processes);
	buf_add(out, SPAN("],\"errors\":["));
	buf_add(out, lists->errors);
	buf_add(out, SPAN("]}"));
	return buf_finish(out, start);
}

/* SPDX-License-Identifier: MIT */
/*
 * Prometheus text 0.0.4 (prometheus.io, "Exposition formats") and OpenMetrics
 * 1.0.0 (the specification's section "Text format").  Pure.
 */
#include "exposition.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "decimal.h"

#define TOTAL "_total"

static bool
ends_with(struct span s, struct span end)
{
	return s.len >= end.len && span_eq(span_skip(s, s.len - end.len), end);
}

/* OpenMetrics names a family of counters without what their samples have. */
static struct span
family_name(const struct figure *f, enum exposition how)
{
	struct span name = span_str(f->name);

	if (how == EXPOSITION_OPEN && f->type == FIGURE_COUNTER &&
	    ends_with(name, SPAN(TOTAL)))
		name.len -= strlen(TOTAL);
	return name;
}

/* A unit may be told only when the family's name ends with it. */
static bool
has_unit(const struct figure *f, struct span name)
{
	struct span unit = span_str(f->unit);

	return unit.len > 0 && name.len > unit.len && ends_with(name, unit) &&
	    name.p[name.len - unit.len - 1] == '_';
}

static enum status
put_head(struct buf *out, const struct figure *f, enum exposition how)
{
	struct span name = family_name(f, how);
	int len = (int)name.len;
	enum status st;

	st = buf_printf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", len, name.p,
	    f->sentence, len, name.p, figures_type_name(f->type));
	if (st == ST_OK && how == EXPOSITION_OPEN && has_unit(f, name))
		st = buf_printf(out, "# UNIT %.*s %s\n", len, name.p, f->unit);
	return st;
}

/* The value of a label: backslash, quote and line feed are escaped. */
static enum status
put_escaped(struct buf *out, struct span s)
{
	enum status st = ST_OK;
	size_t i, from = 0;

	for (i = 0; st == ST_OK && i < s.len; i++) {
		const char *as = s.p[i] == '\\' ? "\\\\"
		    : s.p[i] == '"'             ? "\\\""
		    : s.p[i] == '\n'            ? "\\n"
						: NULL;

		if (as == NULL)
			continue;
		st = buf_append(out, span_of(s.p + from, i - from));
		if (st == ST_OK)
			st = buf_append(out, span_str(as));
		from = i + 1;
	}
	return st == ST_OK ? buf_append(out, span_skip(s, from)) : st;
}

/*
 * NAME SUFFIX {LABELS} and a space.
 * le   of a bucket, or NULL
 */
static enum status
put_name(struct buf *out, const struct metrics_series *s, const char *suffix,
    const char *le)
{
	const struct figure *f = s->family;
	enum status st = buf_printf(out, "%s%s", f->name, suffix);

	if (st == ST_OK && (f->label != NULL || le != NULL))
		st = buf_append(out, SPAN("{"));
	if (st == ST_OK && f->label != NULL) {
		st = buf_printf(out, "%s=\"", f->label);
		if (st == ST_OK)
			st = put_escaped(out, s->value);
		if (st == ST_OK)
			st = buf_append(out,
			    le != NULL ? SPAN("\",") : SPAN("\"}"));
	}
	if (st == ST_OK && le != NULL)
		st = buf_printf(out, "le=\"%s\"}", le);
	return st == ST_OK ? buf_append(out, SPAN(" ")) : st;
}

/* A bound as Go's %g writes it, with ".0" when it would look whole. */
static void
name_bound(char out[32], uint64_t bound, int64_t per)
{
	int n = snprintf(out, 32, "%.9g", (double)bound / (double)per);

	if (strpbrk(out, ".e") == NULL)
		(void)snprintf(out + n, 32 - (size_t)n, ".0");
}

static enum status
put_hist(struct buf *out, const struct metrics_series *s)
{
	int64_t per = s->scale == HIST_TIME ? 1000000 : 1;
	enum status st = ST_OK;
	uint64_t n = 0;
	char le[32];
	int i;

	for (i = 0; st == ST_OK && i <= HIST_BOUNDS; i++) {
		n += s->hist.n[i];
		if (i == HIST_BOUNDS)
			(void)strcpy(le, "+Inf");
		else
			name_bound(le, hist_bounds[s->scale][i], per);
		st = put_name(out, s, "_bucket", le);
		if (st == ST_OK)
			st = buf_printf(out, "%llu\n", (unsigned long long)n);
	}
	if (st == ST_OK)
		st = put_name(out, s, "_sum", NULL);
	if (st == ST_OK)
		st = decimal_put(out, (int64_t)s->hist.sum, per);
	if (st == ST_OK)
		st = buf_append(out, SPAN("\n"));
	if (st == ST_OK)
		st = put_name(out, s, "_count", NULL);
	if (st == ST_OK)
		st = buf_printf(out, "%llu\n", (unsigned long long)n);
	return st;
}

static enum status
put_series(struct buf *out, const struct metrics_series *s)
{
	enum status st;

	if (s->kind == METRICS_HIST)
		return put_hist(out, s);
	st = put_name(out, s, "", NULL);
	if (st == ST_OK && s->kind == METRICS_QUOTIENT)
		st = decimal_put_double(out, s->quotient);
	else if (st == ST_OK)
		st = decimal_put(out, s->number, s->per);
	return st == ST_OK ? buf_append(out, SPAN("\n")) : st;
}

enum status
exposition_put(const struct metrics *m, enum exposition how, struct buf *out)
{
	struct metrics_cursor c = {.at = 0};
	const struct figure *family = NULL;
	struct metrics_series s;
	enum status st = ST_OK;

	while (st == ST_OK && metrics_next(m, &c, &s)) {
		assert(s.family != NULL);
		if (s.family != family)
			st = put_head(out, s.family, how);
		family = s.family;
		if (st == ST_OK)
			st = put_series(out, &s);
	}
	if (st == ST_OK && how == EXPOSITION_OPEN)
		st = buf_append(out, SPAN("# EOF\n"));
	return st;
}

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
family_name(const struct metric *f, enum exposition how)
{
	struct span name = span_str(f->name);

	if (how == EXPOSITION_OPEN && f->type == METRIC_COUNTER &&
	    ends_with(name, SPAN(TOTAL)))
		name.len -= strlen(TOTAL);
	return name;
}

/* A unit may be told only when the family's name ends with it. */
static bool
has_unit(const struct metric *f, struct span name)
{
	struct span unit = span_str(f->unit);

	return unit.len > 0 && name.len > unit.len && ends_with(name, unit) &&
	    name.p[name.len - unit.len - 1] == '_';
}

static void
put_family_head(struct buf *out, const struct metric *f, enum exposition how)
{
	struct span name = family_name(f, how);
	int len = (int)name.len;

	buf_addf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", len, name.p,
	    f->sentence, len, name.p, metrics_type_name(f->type));
	if (how == EXPOSITION_OPEN && has_unit(f, name))
		buf_addf(out, "# UNIT %.*s %s\n", len, name.p, f->unit);
}

/* The value of a label: backslash, quote and line feed are escaped. */
static void
put_escaped(struct buf *out, struct span s)
{
	size_t i, from = 0;

	for (i = 0; i < s.len; i++) {
		const char *as = s.p[i] == '\\' ? "\\\\"
		    : s.p[i] == '"'             ? "\\\""
		    : s.p[i] == '\n'            ? "\\n"
						: NULL;

		if (as == NULL)
			continue;
		buf_add(out, span_of(s.p + from, i - from));
		buf_add(out, span_str(as));
		from = i + 1;
	}
	buf_add(out, span_skip(s, from));
}

/*
 * NAME SUFFIX {LABELS} and a space.
 * le   of a bucket, or NULL
 */
static void
put_sample_name(struct buf *out, const struct aggregate_series *s,
    const char *suffix, const char *le)
{
	const struct metric *f = s->family;

	buf_addf(out, "%s%s", f->name, suffix);
	if (f->label != NULL || le != NULL)
		buf_add(out, SPAN("{"));
	if (f->label != NULL) {
		buf_addf(out, "%s=\"", f->label);
		put_escaped(out, s->value);
		buf_add(out, le != NULL ? SPAN("\",") : SPAN("\"}"));
	}
	if (le != NULL)
		buf_addf(out, "le=\"%s\"}", le);
	buf_add(out, SPAN(" "));
}

/* A bound as Go's %g writes it, with ".0" when it would look whole. */
static void
name_bound(char out[32], uint64_t bound, int64_t per)
{
	int n = snprintf(out, 32, "%.9g", (double)bound / (double)per);

	if (strpbrk(out, ".e") == NULL)
		(void)snprintf(out + n, 32 - (size_t)n, ".0");
}

static void
put_hist(struct buf *out, const struct aggregate_series *s)
{
	int64_t per = s->scale == HIST_TIME ? 1000000 : 1;
	uint64_t n = 0;
	char le[32];
	int i;

	for (i = 0; i <= HIST_BOUNDS; i++) {
		n += s->hist.n[i];
		if (i == HIST_BOUNDS)
			(void)strcpy(le, "+Inf");
		else
			name_bound(le, hist_bounds[s->scale][i], per);
		put_sample_name(out, s, "_bucket", le);
		buf_addf(out, "%llu\n", (unsigned long long)n);
	}
	put_sample_name(out, s, "_sum", NULL);
	decimal_put(out, (int64_t)s->hist.sum, per);
	buf_add(out, SPAN("\n"));
	put_sample_name(out, s, "_count", NULL);
	buf_addf(out, "%llu\n", (unsigned long long)n);
}

static void
put_series(struct buf *out, const struct aggregate_series *s)
{
	if (s->kind == AGGREGATE_HIST) {
		put_hist(out, s);
		return;
	}
	put_sample_name(out, s, "", NULL);
	if (s->kind == AGGREGATE_QUOTIENT)
		decimal_put_double(out, s->quotient);
	else
		decimal_put(out, s->number, s->per);
	buf_add(out, SPAN("\n"));
}

enum status
exposition_put(const struct aggregate *m, enum exposition how, struct buf *out)
{
	struct aggregate_cursor c = {.at = 0};
	const struct metric *family = NULL;
	struct aggregate_series s;
	size_t start = out->len;

	while (aggregate_next(m, &c, &s)) {
		assert(s.family != NULL);
		if (s.family != family)
			put_family_head(out, s.family, how);
		family = s.family;
		put_series(out, &s);
	}
	if (how == EXPOSITION_OPEN)
		buf_add(out, SPAN("# EOF\n"));
	return buf_finish(out, start);
}

/* SPDX-License-Identifier: MIT */
/* The line of a monitoring plugin: limits, problems, metrics.  Pure. */
#include "cli_check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli_common.h"

#define MIB (INT64_C(1) << 20)

enum shown { SHOWN_NUMBER, SHOWN_AGE, SHOWN_SIZE };

struct row {
	const char *name;   /* in options and performance data */
	int64_t initial[2]; /* limits, in the unit of the option */
	int64_t per;        /* the value's units in one of those */
	bool below;         /* it is wrong when it is less */
	const char *uom;    /* unit of measurement of the value */
	enum shown shown;   /* in words, as: */
	const char *before, *after;
};

/* What the row of each holds besides its name; without it nothing compiles. */
#define AGE_ROW                                                                \
	{5, 10}, 1000, false, "ms", SHOWN_AGE, "pubd was seen ",               \
	    " ago: it hangs or has died: restart it"
#define PING_ROW                                                               \
	{5, 10}, 1000, false, "ms", SHOWN_AGE,                                 \
	    "pubd runs and has answered no ping on its socket for ",           \
	    ": nobody can publish: see its log, restart it"
#define LAG_ROW                                                                \
	{10000, 0}, 1, false, "", SHOWN_NUMBER, "a stream is ", " events behind"
#define DISK_ROW                                                               \
	{256, 16}, MIB, true, "B", SHOWN_SIZE, "",                             \
	    " of room for the log: make more, or lower retain_bytes"
#define WAL_ROW                                                                \
	{256, 0}, MIB, false, "B", SHOWN_SIZE, "the WAL has ",                 \
	    ": a reader keeps a transaction open"
#define FDS_ROW                                                                \
	{80, 95}, 1, false, "%", SHOWN_NUMBER, "a process uses ",              \
	    " % of its descriptors: raise LimitNOFILE"
#define WORKERS_ROW {0, 0}, 1, true, "", SHOWN_NUMBER, "workers that run: ", ""

#define ROW(member, word) [CHECK_##member] = {word, member##_ROW},
static const struct row rows[CHECK_METRICS] = {CHECK_METRIC_LIST(ROW)};

void
check_init(struct check *c)
{
	int f;

	memset(c, 0, sizeof(*c));
	for (f = 0; f < CHECK_METRICS; f++)
		memcpy(c->limit[f], rows[f].initial, sizeof(c->limit[f]));
}

/* warn-NAME or crit-NAME */
static int64_t *
find_limit(struct check *c, const char *option, int64_t *max)
{
	bool critical = strncmp(option, "crit-", 5) == 0;
	int f;

	if (!critical && strncmp(option, "warn-", 5) != 0)
		return NULL;
	for (f = 0; f < CHECK_METRICS; f++)
		if (strcmp(option + 5, rows[f].name) == 0) {
			*max = INT64_MAX / rows[f].per;
			return &c->limit[f][critical];
		}
	return NULL;
}

bool
check_option(struct check *c, const char *name, const char *value)
{
	int64_t v, max = 0, *limit = find_limit(c, name, &max);

	if (limit == NULL || !span_to_int64(span_str(value), &v) || v < 0 ||
	    v > max)
		return false;
	*limit = v;
	return true;
}

void
check_problem(struct check *c, enum check_level level, const char *fmt, ...)
{
	struct check_problem *p;
	va_list ap;
	char *bar;

	if (c->n_problems == CHECK_PROBLEMS)
		return;
	p = &c->problem[c->n_problems++];
	p->level = level;
	va_start(ap, fmt);
	(void)vsnprintf(p->text, sizeof(p->text), fmt, ap);
	va_end(ap);
	/* A bar would end the words. */
	for (bar = p->text; (bar = strchr(bar, '|')) != NULL;)
		*bar = '/';
}

static bool
is_past(const struct check *c, int f, enum check_level level)
{
	int64_t limit = c->limit[f][level - CHECK_WARNING];

	if (!c->known[f] || limit == 0)
		return false;
	return rows[f].below ? c->value[f] < limit * rows[f].per
			     : c->value[f] > limit * rows[f].per;
}

static void
judge_metric(struct check *c, int f)
{
	const struct row *row = &rows[f];
	char text[CLI_SIZE_BYTES];
	enum check_level level = is_past(c, f, CHECK_CRITICAL) ? CHECK_CRITICAL
	    : is_past(c, f, CHECK_WARNING)                     ? CHECK_WARNING
							       : CHECK_OK;

	if (level == CHECK_OK)
		return;
	if (row->shown == SHOWN_AGE)
		(void)cli_age(text, c->value[f]);
	else if (row->shown == SHOWN_SIZE)
		(void)cli_size(text, c->value[f]);
	else
		(void)snprintf(text, sizeof(text), "%" PRId64, c->value[f]);
	check_problem(c, level, "%s%s%s", row->before, text, row->after);
}

/* Those of one level, in the order in which they were found. */
static void
put_problems(const struct check *c, enum check_level level, bool *first,
    struct buf *out)
{
	int i;

	for (i = 0; i < c->n_problems; i++) {
		if (c->problem[i].level != level)
			continue;
		if (!*first)
			buf_add(out, SPAN("; "));
		cli_add_visible(out, span_str(c->problem[i].text));
		*first = false;
	}
}

/* One limit: "N" alerts above it, "N:" below it. */
static void
put_limit(const struct check *c, int f, enum check_level level, struct buf *out)
{
	int64_t limit = c->limit[f][level - CHECK_WARNING];

	if (limit == 0)
		buf_add(out, SPAN(";"));
	else
		buf_addf(out, ";%" PRId64 "%s", limit * rows[f].per,
		    rows[f].below ? ":" : "");
}

static void
put_metric(const struct check *c, int f, struct buf *out)
{
	if (!c->known[f])
		return;
	buf_addf(out, " %s=%" PRId64 "%s", rows[f].name, c->value[f],
	    rows[f].uom);
	put_limit(c, f, CHECK_WARNING, out);
	put_limit(c, f, CHECK_CRITICAL, out);
	buf_add(out, SPAN(";0"));
}

static enum check_level
worst(const struct check *c)
{
	enum check_level level = CHECK_OK;
	int i;

	for (i = 0; i < c->n_problems; i++) {
		if (c->problem[i].level == CHECK_CRITICAL)
			return CHECK_CRITICAL;
		if (c->problem[i].level > level)
			level = c->problem[i].level;
	}
	return level;
}

enum status
check_put(struct check *c, const char *well, const char *more, struct buf *out,
    enum check_level *level)
{
	static const char *const names[] = {
#define X(member) #member,
	    CHECK_LEVELS(X)
#undef X
	};
	static const enum check_level order[] = {CHECK_CRITICAL, CHECK_UNKNOWN,
	    CHECK_WARNING};
	size_t i, start = out->len;
	bool first = true;
	int f;

	for (f = 0; f < CHECK_METRICS; f++)
		judge_metric(c, f);
	*level = worst(c);
	buf_addf(out, "WALCAST %s - ", names[*level]);
	for (i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		put_problems(c, order[i], &first, out);
	if (first)
		cli_add_visible(out, span_str(well));
	buf_add(out, SPAN(" |"));
	for (f = 0; f < CHECK_METRICS; f++)
		put_metric(c, f, out);
	buf_addf(out, " %s", more);
	return buf_finish(out, start);
}

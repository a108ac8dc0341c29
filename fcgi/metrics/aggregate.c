/* SPDX-License-Identifier: MIT */
/*
 * How rows become series.  Invariant: at[i] belongs to metrics_catalogue[i];
 * `sums` holds the counters of all rows and the gauges of the living, added
 * up; what is not a sum (a maximum, a role's) is in at[i].  Pure.
 */
#include "aggregate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "jsontext.h"
#include "name.h"

#define NAMED_MAX 1024 /* values of a label that pubd chooses */

struct value {
	int64_t v;
	bool known;
	struct span info; /* METRIC_INFO */
};

struct named {
	char name[NAME_MAX_BYTES];
	size_t len;
	const struct metric *series;
	int64_t v;
};

struct aggregate {
	int64_t now_ms;
	struct metrics sums;
	int64_t streams;
	bool streams_known;
	struct aggregate_pubd pubd;
	struct named *named;
	size_t n_named, cap_named;
	bool rows_lost;
	struct value at[]; /* metrics_catalogue_n of them */
};

static const struct aggregate_pubd no_pubd = {.age_ms = -1,
    .lease_ms = -1,
    .ping_ms = -1};

enum status
aggregate_new(struct aggregate **out, int64_t now_ms)
{
	struct aggregate *m = calloc(1,
	    sizeof(*m) + metrics_catalogue_n * sizeof(m->at[0]));

	if (m == NULL)
		return ST_NOMEM;
	m->now_ms = now_ms;
	m->pubd = no_pubd;
	*out = m;
	return ST_OK;
}

void
aggregate_free(struct aggregate **m)
{
	if (*m == NULL)
		return;
	free((*m)->named);
	free(*m);
	*m = NULL;
}

/* ---- rows --------------------------------------------------------------- */

static bool
is_totals(const struct status_row *row)
{
	return span_eq(row->name, SPAN(STATUSDB_TOTALS));
}

static bool
is_pubd(const struct status_row *row)
{
	return span_eq(row->role, SPAN("pubd"));
}

bool
aggregate_is_live(const struct aggregate *m, const struct status_row *row)
{
	return !is_totals(row) && statusdb_is_live(row, m->now_ms);
}

static int64_t
add_up(int64_t a, int64_t b)
{
	return a > INT64_MAX - b ? INT64_MAX : a + b;
}

/* Reads a part of a report; false when there is nothing to make of it. */
static bool
read_part(struct metrics *f, enum metrics_part part, struct span text)
{
	unsigned n_unknown = 0;
	size_t at;

	return jsontext_check(text, &at) == ST_OK &&
	    metrics_read(f, part, text, &n_unknown) == ST_OK;
}

static void
add_cells(struct metrics *sums, const struct metrics *f)
{
	unsigned i;

	for (i = 0; i < METRICS_N_CELLS; i++)
		if (f->known[i])
			metrics_set(sums, i,
			    (uint64_t)add_up((int64_t)sums->cell[i],
				(int64_t)f->cell[i]));
}

static void
combine(struct value *at, enum metric_add how, int64_t v)
{
	if (!at->known || (how == METRIC_MAX && v > at->v) ||
	    (how == METRIC_MIN && v < at->v))
		at->v = v;
	else if (how == METRIC_SUM)
		at->v = add_up(at->v, v);
	at->known = true;
}

/* What a living row says about a series that is not a mere sum. */
static void
add_gauge(struct value *at, const struct metric *e,
    const struct status_row *row, const struct metrics *gauges)
{
	switch (e->source) {
	case METRIC_LIVE:
		combine(at, METRIC_SUM, 1);
		break;
	case METRIC_STARTED:
		combine(at, e->add, row->started_ms > 0 ? row->started_ms : 0);
		break;
	case METRIC_CELL:
	case METRIC_ROLE:
		if (e->part == METRICS_GAUGES && gauges->known[e->cell])
			combine(at, e->add, (int64_t)gauges->cell[e->cell]);
		break;
	default:
		break;
	}
}

static void
add_live_row(struct aggregate *m, const struct status_row *row,
    const struct metrics *gauges)
{
	size_t i;

	add_cells(&m->sums, gauges);
	m->streams = add_up(m->streams, row->streams > 0 ? row->streams : 0);
	m->streams_known = true;
	for (i = 0; i < metrics_catalogue_n; i++) {
		const struct metric *e = &metrics_catalogue[i];

		if (e->role == NULL || span_eq(row->role, span_str(e->role)))
			add_gauge(&m->at[i], e, row, gauges);
	}
}

static void
note_pubd(struct aggregate *m, const struct status_row *row,
    const struct metrics *gauges)
{
	int64_t age = statusdb_age_ms(row, m->now_ms);

	if (m->pubd.age_ms >= 0 && m->pubd.age_ms <= age)
		return;
	m->pubd = (struct aggregate_pubd){.alive = aggregate_is_live(m, row),
	    .age_ms = age,
	    .lease_ms = row->lease_ms,
	    .ping_ms = -1};
	if (gauges->known[METRIC_PING_AGE])
		m->pubd.ping_ms = add_up((int64_t)gauges->cell[METRIC_PING_AGE],
		    age > 0 ? age : 0);
	m->pubd.answers = m->pubd.ping_ms <= AGGREGATE_PING_MS;
}

/* ---- series that pubd names --------------------------------------------- */

static struct named *
find_named(struct aggregate *m, const struct metric *e, struct span name)
{
	size_t i;

	for (i = 0; i < m->n_named; i++)
		if (m->named[i].series == e &&
		    span_eq(span_of(m->named[i].name, m->named[i].len), name))
			return &m->named[i];
	return NULL;
}

static enum status
new_named(struct aggregate *m, const struct metric *e, struct span name,
    struct named **out)
{
	struct named *n;

	if (m->n_named == m->cap_named) {
		size_t cap = m->cap_named == 0 ? 32 : m->cap_named * 2;

		n = realloc(m->named, cap * sizeof(*n));
		if (n == NULL)
			return ST_NOMEM;
		m->named = n;
		m->cap_named = cap;
	}
	n = &m->named[m->n_named++];
	*n = (struct named){.series = e, .len = name.len};
	memcpy(n->name, name.p, name.len);
	*out = n;
	return ST_OK;
}

static enum status
add_named(struct aggregate *m, const struct metric *e, struct span member,
    struct span value)
{
	struct span name;
	struct named *n;
	enum status st;
	int64_t v;

	if (!span_starts(member, span_str(e->member)))
		return ST_OK;
	name = span_skip(member, strlen(e->member));
	/* Every character of a channel's name stands for itself in JSON. */
	if (!name_channel_ok(name) || !span_to_int64(value, &v))
		return ST_OK;
	n = find_named(m, e, name);
	if (n == NULL && m->n_named >= NAMED_MAX)
		return ST_OK;
	if (n == NULL) {
		st = new_named(m, e, name, &n);
		if (st != ST_OK)
			return st;
	}
	n->v = add_up(n->v, v);
	return ST_OK;
}

/* counters   read_part() has found them good */
static enum status
add_all_named(struct aggregate *m, struct span counters)
{
	enum status st = ST_OK;
	size_t i;

	for (i = 0; st == ST_OK && i < metrics_catalogue_n; i++) {
		const struct metric *e = &metrics_catalogue[i];
		struct span rest = span_trim(counters), name, value;

		if (e->source != METRIC_NAMED)
			continue;
		while (
		    st == ST_OK && jsontext_next_member(&rest, &name, &value))
			st = add_named(m, e, name, value);
	}
	return st;
}

enum status
aggregate_add_row(struct aggregate *m, const struct status_row *row)
{
	struct metrics counters = {.known = {false}}, gauges = counters;
	enum status st = ST_OK;

	if (read_part(&counters, METRICS_COUNTERS, row->counters)) {
		if (is_pubd(row) || is_totals(row))
			st = add_all_named(m, row->counters);
		if (st == ST_OK)
			add_cells(&m->sums, &counters);
	}
	if (!read_part(&gauges, METRICS_GAUGES, row->gauges))
		gauges = (struct metrics){.known = {false}};
	if (is_pubd(row))
		note_pubd(m, row, &gauges);
	if (!aggregate_is_live(m, row))
		return st;
	add_live_row(m, row, &gauges);
	return st;
}

void
aggregate_lose_rows(struct aggregate *m)
{
	m->sums = (struct metrics){.known = {false}};
	m->streams = 0;
	m->streams_known = false;
	m->pubd = no_pubd;
	m->n_named = 0;
	memset(m->at, 0, metrics_catalogue_n * sizeof(m->at[0]));
	m->rows_lost = true;
}

/* ---- what is told ------------------------------------------------------- */

/* The series of this family whose source is this one; there must be one. */
static struct value *
told(struct aggregate *m, const char *family, enum metric_source source)
{
	const struct metric *in = NULL;
	size_t i;

	for (i = 0; i < metrics_catalogue_n; i++) {
		const struct metric *e = &metrics_catalogue[i];

		if (e->source == METRIC_FAMILY)
			in = e;
		else if (e->source == source && in != NULL &&
		    strcmp(in->name, family) == 0)
			return &m->at[i];
	}
	assert(0 && "a metric that is not in the catalogue");
	return NULL;
}

void
aggregate_tell(struct aggregate *m, const char *family, int64_t value)
{
	struct value *at = told(m, family, METRIC_TOLD);

	at->v = value > 0 ? value : 0;
	at->known = true;
}

void
aggregate_inform(struct aggregate *m, const char *family, struct span text)
{
	struct value *at = told(m, family, METRIC_INFO);

	at->v = 1;
	at->known = true;
	at->info = text;
}

/* ---- series ------------------------------------------------------------- */

int64_t
aggregate_now_ms(const struct aggregate *m)
{
	return m->now_ms;
}

struct aggregate_pubd
aggregate_pubd(const struct aggregate *m)
{
	return m->pubd;
}

/*
 * A sum over no process is 0 while pubd, who keeps the rows, is there; when
 * it is not, nobody knows, and the metric is left out.  A counter that nobody
 * has counted yet is 0, and so is an absence.
 */
static bool
sum_is_zero(const struct aggregate *m, const struct metric *e)
{
	return m->pubd.alive && e->add == METRIC_SUM;
}

static bool
gauge_of(const struct aggregate *m, const struct metric *e,
    const struct value *at, struct aggregate_series *s)
{
	s->number = at->v;
	return at->known || sum_is_zero(m, e);
}

static bool
cell_of(const struct aggregate *m, const struct metric *e,
    const struct value *at, struct aggregate_series *s)
{
	if (e->part == METRICS_GAUGES)
		return gauge_of(m, e, at, s);
	s->number = (int64_t)m->sums.cell[e->cell];
	return !m->rows_lost;
}

static bool
quotient_of(const struct aggregate *m, const struct metric *e,
    struct aggregate_series *s)
{
	s->kind = AGGREGATE_QUOTIENT;
	if (m->sums.cell[e->of] == 0)
		return false;
	s->quotient = (double)m->sums.cell[e->cell] /
	    (double)m->sums.cell[e->of];
	return true;
}

static bool
hist_of(const struct aggregate *m, const struct metric *e,
    struct aggregate_series *s)
{
	s->kind = AGGREGATE_HIST;
	s->scale = e->scale;
	metrics_get_hist(&m->sums, e->cell, &s->hist);
	return !m->rows_lost;
}

/* Times of rows are in milliseconds. */
static bool
time_of(bool known, int64_t ms, struct aggregate_series *s)
{
	s->number = ms;
	s->per = 1000;
	return known;
}

/* Fills in the series at i; false when there is none now. */
static bool
series_at(const struct aggregate *m, size_t i, struct aggregate_series *s)
{
	const struct metric *e = &metrics_catalogue[i];
	const struct value *at = &m->at[i];

	s->kind = AGGREGATE_NUMBER;
	s->per = e->per;
	s->value = span_str(e->value);
	switch (e->source) {
	case METRIC_CELL:
		return cell_of(m, e, at, s);
	case METRIC_HIST:
		return hist_of(m, e, s);
	case METRIC_ROLE:
		return gauge_of(m, e, at, s);
	case METRIC_QUOTIENT:
		return quotient_of(m, e, s);
	case METRIC_LIVE:
		s->number = at->v;
		return true;
	case METRIC_STARTED:
		return time_of(at->known, at->v, s);
	case METRIC_AGE:
		return time_of(m->pubd.age_ms >= 0, m->pubd.age_ms, s);
	case METRIC_STREAMS:
		s->number = m->streams;
		return m->streams_known || m->pubd.alive;
	case METRIC_INFO:
		s->value = at->info;
		s->number = at->v;
		return at->known;
	case METRIC_TOLD:
		s->number = at->v;
		return at->known;
	case METRIC_FAMILY:
	case METRIC_NAMED:
	case METRIC_HIDDEN:
		break;
	}
	return false;
}

/* The next of the values that pubd gave this series' label. */
static bool
next_named(const struct aggregate *m, struct aggregate_cursor *c,
    struct aggregate_series *s)
{
	const struct metric *e = &metrics_catalogue[c->at];

	while (c->named < m->n_named) {
		const struct named *n = &m->named[c->named++];

		if (n->series != e)
			continue;
		s->kind = AGGREGATE_NUMBER;
		s->value = span_of(n->name, n->len);
		s->number = n->v;
		s->per = e->per;
		return true;
	}
	c->named = 0;
	return false;
}

bool
aggregate_next(const struct aggregate *m, struct aggregate_cursor *c,
    struct aggregate_series *s)
{
	for (; c->at < metrics_catalogue_n; c->at++) {
		const struct metric *e = &metrics_catalogue[c->at];

		if (e->source == METRIC_FAMILY) {
			c->family = e;
			continue;
		}
		s->family = c->family;
		if (e->source == METRIC_NAMED) {
			if (next_named(m, c, s))
				return true; /* and perhaps more of it */
			continue;
		}
		if (series_at(m, c->at, s)) {
			c->at++;
			return true;
		}
	}
	return false;
}

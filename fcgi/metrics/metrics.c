/* SPDX-License-Identifier: MIT */
/*
 * How rows become series.  Invariant: at[i] belongs to figures_catalogue[i];
 * `sums` holds the counters of all rows and the gauges of the living, added
 * up; what is not a sum (a maximum, a role's) is in at[i].  Pure.
 */
#include "metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "jsontext.h"
#include "name.h"

#define NAMED_MAX 1024 /* values of a label that pubd chooses */

struct value {
	int64_t v;
	bool known;
	struct span info; /* FIGURE_INFO */
};

struct named {
	char name[NAME_MAX_BYTES];
	size_t len;
	const struct figure *series;
	int64_t v;
};

struct metrics {
	int64_t now_ms;
	struct figures sums;
	int64_t streams;
	bool streams_known;
	struct metrics_pubd pubd;
	struct named *named;
	size_t n_named, cap_named;
	bool rows_lost;
	struct value at[]; /* figures_catalogue_n of them */
};

static const struct metrics_pubd no_pubd = {.age_ms = -1,
    .lease_ms = -1,
    .ping_ms = -1};

enum status
metrics_new(struct metrics **out, int64_t now_ms)
{
	struct metrics *m = calloc(1,
	    sizeof(*m) + figures_catalogue_n * sizeof(m->at[0]));

	if (m == NULL)
		return ST_NOMEM;
	m->now_ms = now_ms;
	m->pubd = no_pubd;
	*out = m;
	return ST_OK;
}

void
metrics_free(struct metrics **m)
{
	if (*m == NULL)
		return;
	free((*m)->named);
	free(*m);
	*m = NULL;
}

/* ---- rows --------------------------------------------------------------- */

static bool
is_totals(const struct statusdb_row *row)
{
	return span_eq(row->name, SPAN(STATUSDB_TOTALS));
}

static bool
is_pubd(const struct statusdb_row *row)
{
	return span_eq(row->role, SPAN("pubd"));
}

bool
metrics_is_live(const struct metrics *m, const struct statusdb_row *row)
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
read_part(struct figures *f, enum figures_part part, struct span text)
{
	unsigned n_unknown = 0;
	size_t at;

	return jsontext_check(text, &at) == ST_OK &&
	    figures_read(f, part, text, &n_unknown) == ST_OK;
}

static void
add_cells(struct figures *sums, const struct figures *f)
{
	unsigned i;

	for (i = 0; i < FIGURES_N_CELLS; i++)
		if (f->known[i])
			figures_set(sums, i,
			    (uint64_t)add_up((int64_t)sums->cell[i],
				(int64_t)f->cell[i]));
}

static void
combine(struct value *at, enum figure_add how, int64_t v)
{
	if (!at->known || (how == FIGURE_MAX && v > at->v) ||
	    (how == FIGURE_MIN && v < at->v))
		at->v = v;
	else if (how == FIGURE_SUM)
		at->v = add_up(at->v, v);
	at->known = true;
}

/* What a living row says about a series that is not a mere sum. */
static void
add_gauge(struct value *at, const struct figure *e,
    const struct statusdb_row *row, const struct figures *gauges)
{
	switch (e->source) {
	case FIGURE_LIVE:
		combine(at, FIGURE_SUM, 1);
		break;
	case FIGURE_STARTED:
		combine(at, e->add, row->started_ms > 0 ? row->started_ms : 0);
		break;
	case FIGURE_CELL:
	case FIGURE_ROLE:
		if (e->part == FIGURES_GAUGES && gauges->known[e->cell])
			combine(at, e->add, (int64_t)gauges->cell[e->cell]);
		break;
	default:
		break;
	}
}

static void
add_live_row(struct metrics *m, const struct statusdb_row *row,
    const struct figures *gauges)
{
	size_t i;

	add_cells(&m->sums, gauges);
	m->streams = add_up(m->streams, row->streams > 0 ? row->streams : 0);
	m->streams_known = true;
	for (i = 0; i < figures_catalogue_n; i++) {
		const struct figure *e = &figures_catalogue[i];

		if (e->role == NULL || span_eq(row->role, span_str(e->role)))
			add_gauge(&m->at[i], e, row, gauges);
	}
}

static void
note_pubd(struct metrics *m, const struct statusdb_row *row,
    const struct figures *gauges)
{
	int64_t age = statusdb_age_ms(row, m->now_ms);

	if (m->pubd.age_ms >= 0 && m->pubd.age_ms <= age)
		return;
	m->pubd = (struct metrics_pubd){.alive = metrics_is_live(m, row),
	    .age_ms = age,
	    .lease_ms = row->lease_ms,
	    .ping_ms = -1};
	if (gauges->known[FIG_PING_AGE])
		m->pubd.ping_ms = add_up((int64_t)gauges->cell[FIG_PING_AGE],
		    age > 0 ? age : 0);
	m->pubd.answers = m->pubd.ping_ms <= METRICS_PING_MS;
}

/* ---- series that pubd names --------------------------------------------- */

static struct named *
find_named(struct metrics *m, const struct figure *e, struct span name)
{
	size_t i;

	for (i = 0; i < m->n_named; i++)
		if (m->named[i].series == e &&
		    span_eq(span_of(m->named[i].name, m->named[i].len), name))
			return &m->named[i];
	return NULL;
}

static enum status
new_named(struct metrics *m, const struct figure *e, struct span name,
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
add_named(struct metrics *m, const struct figure *e, struct span member,
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
add_all_named(struct metrics *m, struct span counters)
{
	enum status st = ST_OK;
	size_t i;

	for (i = 0; st == ST_OK && i < figures_catalogue_n; i++) {
		const struct figure *e = &figures_catalogue[i];
		struct span rest = span_trim(counters), name, value;

		if (e->source != FIGURE_NAMED)
			continue;
		while (
		    st == ST_OK && jsontext_next_member(&rest, &name, &value))
			st = add_named(m, e, name, value);
	}
	return st;
}

enum status
metrics_add_row(struct metrics *m, const struct statusdb_row *row)
{
	struct figures counters = {.known = {false}}, gauges = counters;
	enum status st = ST_OK;

	if (read_part(&counters, FIGURES_COUNTERS, row->counters)) {
		if (is_pubd(row) || is_totals(row))
			st = add_all_named(m, row->counters);
		if (st == ST_OK)
			add_cells(&m->sums, &counters);
	}
	if (!read_part(&gauges, FIGURES_GAUGES, row->gauges))
		gauges = (struct figures){.known = {false}};
	if (is_pubd(row))
		note_pubd(m, row, &gauges);
	if (!metrics_is_live(m, row))
		return st;
	add_live_row(m, row, &gauges);
	return st;
}

void
metrics_lose_rows(struct metrics *m)
{
	m->sums = (struct figures){.known = {false}};
	m->streams = 0;
	m->streams_known = false;
	m->pubd = no_pubd;
	m->n_named = 0;
	memset(m->at, 0, figures_catalogue_n * sizeof(m->at[0]));
	m->rows_lost = true;
}

/* ---- what is told ------------------------------------------------------- */

/* The series of this family whose source is this one; there must be one. */
static struct value *
told(struct metrics *m, const char *family, enum figure_source source)
{
	const struct figure *in = NULL;
	size_t i;

	for (i = 0; i < figures_catalogue_n; i++) {
		const struct figure *e = &figures_catalogue[i];

		if (e->source == FIGURE_FAMILY)
			in = e;
		else if (e->source == source && in != NULL &&
		    strcmp(in->name, family) == 0)
			return &m->at[i];
	}
	assert(0 && "a figure that is not in the catalogue");
	return NULL;
}

void
metrics_tell(struct metrics *m, const char *family, int64_t value)
{
	struct value *at = told(m, family, FIGURE_TOLD);

	at->v = value > 0 ? value : 0;
	at->known = true;
}

void
metrics_inform(struct metrics *m, const char *family, struct span text)
{
	struct value *at = told(m, family, FIGURE_INFO);

	at->v = 1;
	at->known = true;
	at->info = text;
}

/* ---- series ------------------------------------------------------------- */

int64_t
metrics_now_ms(const struct metrics *m)
{
	return m->now_ms;
}

struct metrics_pubd
metrics_pubd(const struct metrics *m)
{
	return m->pubd;
}

/*
 * A sum over no process is 0 while pubd, who keeps the rows, is there; when
 * it is not, nobody knows, and the figure is left out.  A counter that nobody
 * has counted yet is 0, and so is an absence.
 */
static bool
sum_is_zero(const struct metrics *m, const struct figure *e)
{
	return m->pubd.alive && e->add == FIGURE_SUM;
}

static bool
gauge_of(const struct metrics *m, const struct figure *e,
    const struct value *at, struct metrics_series *s)
{
	s->number = at->v;
	return at->known || sum_is_zero(m, e);
}

static bool
cell_of(const struct metrics *m, const struct figure *e, const struct value *at,
    struct metrics_series *s)
{
	if (e->part == FIGURES_GAUGES)
		return gauge_of(m, e, at, s);
	s->number = (int64_t)m->sums.cell[e->cell];
	return !m->rows_lost;
}

static bool
quotient_of(const struct metrics *m, const struct figure *e,
    struct metrics_series *s)
{
	s->kind = METRICS_QUOTIENT;
	if (m->sums.cell[e->of] == 0)
		return false;
	s->quotient = (double)m->sums.cell[e->cell] /
	    (double)m->sums.cell[e->of];
	return true;
}

static bool
hist_of(const struct metrics *m, const struct figure *e,
    struct metrics_series *s)
{
	s->kind = METRICS_HIST;
	s->scale = e->scale;
	figures_get_hist(&m->sums, e->cell, &s->hist);
	return !m->rows_lost;
}

/* Times of rows are in milliseconds. */
static bool
time_of(bool known, int64_t ms, struct metrics_series *s)
{
	s->number = ms;
	s->per = 1000;
	return known;
}

/* Fills in the series at i; false when there is none now. */
static bool
series_at(const struct metrics *m, size_t i, struct metrics_series *s)
{
	const struct figure *e = &figures_catalogue[i];
	const struct value *at = &m->at[i];

	s->kind = METRICS_NUMBER;
	s->per = e->per;
	s->value = span_str(e->value);
	switch (e->source) {
	case FIGURE_CELL:
		return cell_of(m, e, at, s);
	case FIGURE_HIST:
		return hist_of(m, e, s);
	case FIGURE_ROLE:
		return gauge_of(m, e, at, s);
	case FIGURE_QUOTIENT:
		return quotient_of(m, e, s);
	case FIGURE_LIVE:
		s->number = at->v;
		return true;
	case FIGURE_STARTED:
		return time_of(at->known, at->v, s);
	case FIGURE_AGE:
		return time_of(m->pubd.age_ms >= 0, m->pubd.age_ms, s);
	case FIGURE_STREAMS:
		s->number = m->streams;
		return m->streams_known || m->pubd.alive;
	case FIGURE_INFO:
		s->value = at->info;
		s->number = at->v;
		return at->known;
	case FIGURE_TOLD:
		s->number = at->v;
		return at->known;
	case FIGURE_FAMILY:
	case FIGURE_NAMED:
	case FIGURE_HIDDEN:
		break;
	}
	return false;
}

/* The next of the values that pubd gave this series' label. */
static bool
next_named(const struct metrics *m, struct metrics_cursor *c,
    struct metrics_series *s)
{
	const struct figure *e = &figures_catalogue[c->at];

	while (c->named < m->n_named) {
		const struct named *n = &m->named[c->named++];

		if (n->series != e)
			continue;
		s->kind = METRICS_NUMBER;
		s->value = span_of(n->name, n->len);
		s->number = n->v;
		s->per = e->per;
		return true;
	}
	c->named = 0;
	return false;
}

bool
metrics_next(const struct metrics *m, struct metrics_cursor *c,
    struct metrics_series *s)
{
	for (; c->at < figures_catalogue_n; c->at++) {
		const struct figure *e = &figures_catalogue[c->at];

		if (e->source == FIGURE_FAMILY) {
			c->family = e;
			continue;
		}
		s->family = c->family;
		if (e->source == FIGURE_NAMED) {
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

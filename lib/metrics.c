/* SPDX-License-Identifier: MIT */
/*
 * The catalogue, and metrics as JSON.  Members are found by their hash, so that
 * unknown ones, which a peer may send at will, cost no more than the others.
 * Pure.
 */
#include "metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "jsontext.h"

#define SERIES(s, ...) {.source = METRIC_##s, .per = 1, __VA_ARGS__},

const struct metric metrics_catalogue[] = {
#define FAMILY(n, t, u, l, s)                                                  \
	SERIES(FAMILY, .name = (n), .type = METRIC_##t, .unit = (u),           \
	    .label = (l), .sentence = (s))
#define COUNTER(id, m, v)                                                      \
	SERIES(CELL, .cell = METRIC_##id, .member = (m), .value = (v))
#define MICROS(id, m, v)                                                       \
	{.source = METRIC_CELL,                                                \
	    .cell = METRIC_##id,                                               \
	    .member = (m),                                                     \
	    .value = (v),                                                      \
	    .per = 1000000},
#define GAUGE(id, m, v, a, p)                                                  \
	{.source = METRIC_CELL,                                                \
	    .part = METRICS_GAUGES,                                            \
	    .cell = METRIC_##id,                                               \
	    .member = (m),                                                     \
	    .value = (v),                                                      \
	    .add = METRIC_##a,                                                 \
	    .per = (p)},
#define HIDDEN(id, m)                                                          \
	SERIES(HIDDEN, .part = METRICS_GAUGES, .cell = METRIC_##id,            \
	    .member = (m))
#define HIST(id, m, s)                                                         \
	SERIES(HIST, .cell = METRIC_##id, .member = (m), .scale = (s))
#define OF_ROLE(id, r, a)                                                      \
	SERIES(ROLE, .part = METRICS_GAUGES, .cell = METRIC_##id, .role = (r), \
	    .value = (r), .add = METRIC_##a)
#define QUOTIENT(id, o)                                                        \
	SERIES(QUOTIENT, .part = METRICS_GAUGES, .cell = METRIC_##id,          \
	    .of = METRIC_##o)
#define LIVE(r)    SERIES(LIVE, .role = (r), .value = (r))
#define STARTED(r) SERIES(STARTED, .role = (r), .value = (r), .add = METRIC_MAX)
#define AGE()      SERIES(AGE, .role = "pubd", .add = METRIC_MIN)
#define STREAMS()  SERIES(STREAMS)
#define TOLD(v)    SERIES(TOLD, .value = (v))
#define INFO()     SERIES(INFO)
#define NAMED(p)   SERIES(NAMED, .member = (p))
#include "metrics.def"
};

#define N_METRICS (sizeof(metrics_catalogue) / sizeof(metrics_catalogue[0]))

const size_t metrics_catalogue_n = N_METRICS;

#define METRIC_TYPE_NAME(member, name) (name),

const char *
metrics_type_name(enum metric_type t)
{
	static const char *const names[] = {METRIC_TYPES(METRIC_TYPE_NAME)};

	return names[t];
}

/* ---- cells -------------------------------------------------------------- */

void
metrics_set_hist(struct metrics *f, unsigned first, const struct hist *h)
{
	unsigned i;

	for (i = 0; i <= HIST_BOUNDS; i++)
		metrics_set(f, first + i, h->n[i]);
	metrics_set(f, first + i, h->sum);
}

void
metrics_get_hist(const struct metrics *f, unsigned first, struct hist *h)
{
	unsigned i;

	for (i = 0; i <= HIST_BOUNDS; i++)
		h->n[i] = f->cell[first + i];
	h->sum = f->cell[first + i];
}

/* ---- what is possible --------------------------------------------------- */

/*
 * Maxima for a second of one process; measured were 7 million deliveries and 2
 * GB.
 */
#define MAX_EVENTS  UINT64_C(100000000)
#define MAX_BYTES   UINT64_C(100000000000)
#define MAX_WORK_US UINT64_C(1000000000) /* of a thousand threads */

/* Allowed beyond what the buckets say, since clocks are set and jump. */
#define MAX_STRAY_US UINT64_C(100000000000)
#define LONGEST_US   (UINT64_C(86400) * 1000000) /* above the last bound */

static uint64_t
step_of(const struct metrics *before, const struct metrics *now, unsigned cell)
{
	uint64_t a = before->cell[cell], b = now->cell[cell];

	return b > a ? b - a : 0;
}

/*
 * What a rate a second comes to in that time; ms is small enough not to
 * overflow.
 */
static uint64_t
in_time(uint64_t per_s, uint64_t ms)
{
	return per_s / 1000 * ms;
}

/* How much the sum of a histogram can have grown, given its buckets. */
static double
max_sum(const struct metric *e, const struct metrics *before,
    const struct metrics *now)
{
	double sum = 0;
	unsigned i;

	for (i = 0; i < HIST_BOUNDS; i++)
		sum += (double)step_of(before, now, e->cell + i) *
		    (double)hist_bounds[e->scale][i];
	return sum +
	    (double)step_of(before, now, e->cell + i) * (double)LONGEST_US;
}

static bool
is_possible(const struct metric *e, const char *unit,
    const struct metrics *before, const struct metrics *now, uint64_t ms)
{
	uint64_t per_s = e->per > 1      ? MAX_WORK_US
	    : strcmp(unit, "bytes") == 0 ? MAX_BYTES
					 : MAX_EVENTS;
	unsigned i, n = e->source == METRIC_HIST ? HIST_BOUNDS + 1 : 1;

	for (i = 0; i < n; i++)
		if (step_of(before, now, e->cell + i) > in_time(per_s, ms))
			return false;
	return e->source != METRIC_HIST ||
	    (double)step_of(before, now, e->cell + n) <=
	    max_sum(e, before, now) + (double)in_time(MAX_STRAY_US, ms);
}

const char *
metrics_implausible(const struct metrics *before, const struct metrics *now,
    uint64_t elapsed_ms)
{
	const char *unit = "";
	size_t at;

	for (at = 0; at < N_METRICS; at++) {
		const struct metric *e = &metrics_catalogue[at];

		if (e->source == METRIC_FAMILY)
			unit = e->unit;
		if ((e->source == METRIC_CELL || e->source == METRIC_HIST) &&
		    e->part == METRICS_COUNTERS &&
		    !is_possible(e, unit, before, now, elapsed_ms))
			return e->member;
	}
	return NULL;
}

/* ---- writing ------------------------------------------------------------ */

static bool
is_reported(const struct metric *e, enum metrics_part part)
{
	return e->part == part &&
	    (e->source == METRIC_CELL || e->source == METRIC_HIST ||
		e->source == METRIC_HIDDEN);
}

/* begin the length of *out just after the brace */
static void
write_member(const struct metrics *f, const struct metric *e, unsigned i,
    size_t begin, struct buf *out)
{
	const char *comma = out->len == begin ? "" : ",";
	uint64_t v = f->cell[e->cell + i];

	if (!f->known[e->cell + i] || (v == 0 && e->part == METRICS_COUNTERS))
		return;
	buf_addf(out, "%s\"%s", comma, e->member);
	if (e->source == METRIC_HIST && i > HIST_BOUNDS)
		buf_add(out, SPAN(".sum"));
	else if (e->source == METRIC_HIST)
		buf_addf(out, ".%u", i);
	buf_addf(out, "\":%" PRIu64, v);
}

enum status
metrics_write(const struct metrics *f, enum metrics_part part, struct buf *out)
{
	size_t start = out->len, begin = start + 1, at;
	unsigned i;

	buf_add(out, SPAN("{"));
	for (at = 0; at < N_METRICS; at++) {
		const struct metric *e = &metrics_catalogue[at];
		unsigned n = e->source == METRIC_HIST ? HIST_CELLS : 1;

		if (!is_reported(e, part))
			continue;
		for (i = 0; i < n; i++)
			write_member(f, e, i, begin, out);
	}
	buf_add(out, SPAN("}"));
	return buf_finish(out, start);
}

/* ---- reading ------------------------------------------------------------ */

/* Is it a suffix of a histogram's name?  *i is the cell it stands for. */
static bool
is_bucket(struct span suffix, unsigned *i)
{
	int64_t number;

	if (span_eq(suffix, SPAN(".sum"))) {
		*i = HIST_BOUNDS + 1;
		return true;
	}
	if (suffix.len < 2 || suffix.p[0] != '.' ||
	    (suffix.p[1] == '0' && suffix.len > 2) ||
	    !span_to_int64(span_skip(suffix, 1), &number) ||
	    number > HIST_BOUNDS)
		return false;
	*i = (unsigned)number;
	return true;
}

/*
 * The series of a part by their members.  Open addressing, linear probing; at
 * most half of it is in use.  Made anew for each object, in microseconds, so
 * that there is no state.
 */
#define SLOTS 1024

static_assert(N_METRICS * 2 <= SLOTS, "the table would fill up");

struct finder {
	uint16_t slot[SLOTS]; /* place in the catalogue + 1; 0: free */
};

/* The slot that holds the member, or in which it would be: FNV-1a. */
static uint16_t *
metric_slot_of(struct finder *x, struct span member)
{
	uint32_t h = 2166136261u;
	size_t i;

	for (i = 0; i < member.len; i++)
		h = (h ^ (unsigned char)member.p[i]) * 16777619u;
	while (x->slot[h % SLOTS] != 0 &&
	    !span_eq(member,
		span_str(metrics_catalogue[x->slot[h % SLOTS] - 1].member)))
		h++;
	return &x->slot[h % SLOTS];
}

static void
finder_init(struct finder *x, enum metrics_part part)
{
	size_t at;

	memset(x, 0, sizeof(*x));
	for (at = 0; at < N_METRICS; at++)
		if (is_reported(&metrics_catalogue[at], part))
			*metric_slot_of(x,
			    span_str(metrics_catalogue[at].member)) =
			    (uint16_t)(at + 1);
}

static const struct metric *
find_series(struct finder *x, struct span member)
{
	size_t at = *metric_slot_of(x, member);

	return at == 0 ? NULL : &metrics_catalogue[at - 1];
}

/* The cell of a member, or of a histogram's "NAME.SUFFIX". */
static bool
find_cell(struct finder *x, struct span name, unsigned *cell)
{
	const struct metric *e = find_series(x, name);
	size_t n = name.len;
	unsigned i = 0;

	if (e == NULL) {
		while (n > 0 && name.p[n - 1] != '.')
			n--;
		if (n == 0 || !is_bucket(span_skip(name, n - 1), &i))
			return false;
		e = find_series(x, span_of(name.p, n - 1));
		if (e == NULL || e->source != METRIC_HIST)
			return false;
	} else if (e->source == METRIC_HIST) {
		return false;
	}
	*cell = e->cell + i;
	return true;
}

enum status
metrics_read(struct metrics *f, enum metrics_part part, struct span text,
    unsigned *n_unknown)
{
	struct span rest = span_trim(text), name, value;
	struct finder finder;
	unsigned cell;
	size_t n = 0;
	int64_t v;

	if (rest.len == 0 || rest.p[0] != '{')
		return ST_INVALID;
	finder_init(&finder, part);
	while (jsontext_next_member(&rest, &name, &value)) {
		if (++n > METRICS_MAX_MEMBERS || !span_to_int64(value, &v))
			return ST_INVALID;
		if (find_cell(&finder, name, &cell))
			metrics_set(f, cell, (uint64_t)v);
		else
			(*n_unknown)++;
	}
	return ST_OK;
}

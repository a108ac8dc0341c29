/* SPDX-License-Identifier: MIT */
/*
 * What metrics_read takes, metrics_write writes and metrics_read reads back as
 * the same; what it refuses sets nothing that cannot be written.
 */
#include "metrics.h"

#include <string.h>

#include "fuzz.h"
#include "jsontext.h"

#define BOUND ((size_t)1 << 20)

/* Counters that are 0 are not written: as if they had not been set. */
static void
forget_zeros(struct metrics *f)
{
	size_t at;
	unsigned i;

	for (at = 0; at < metrics_catalogue_n; at++) {
		const struct metric *e = &metrics_catalogue[at];
		unsigned n = e->source == METRIC_HIST ? HIST_CELLS : 1;

		if ((e->source != METRIC_CELL && e->source != METRIC_HIST) ||
		    e->part != METRICS_COUNTERS)
			continue;
		for (i = e->cell; i < e->cell + n; i++)
			if (f->cell[i] == 0)
				f->known[i] = false;
	}
}

static void
write_and_read(struct metrics *f, enum metrics_part part)
{
	struct metrics again = {{0}, {false}};
	unsigned n_unknown = 0;
	struct buf out;
	size_t at;

	buf_init(&out, BOUND);
	MUST(metrics_write(f, part, &out) == ST_OK);
	MUST(jsontext_check(buf_span(&out), &at) == ST_OK);
	MUST(metrics_read(&again, part, buf_span(&out), &n_unknown) == ST_OK);
	MUST(n_unknown == 0);
	forget_zeros(f);
	MUST(memcmp(f->cell, again.cell, sizeof(f->cell)) == 0);
	MUST(memcmp(f->known, again.known, sizeof(f->known)) == 0);
	buf_fini(&out);
}

/* The first byte says which part, the others are the text. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum metrics_part part = size > 0 && data[0] == 'g' ? METRICS_GAUGES
							    : METRICS_COUNTERS;
	struct metrics f = {{0}, {false}};
	unsigned n_unknown = 0, i;
	struct span text;
	size_t at;

	if (size == 0)
		return 0;
	text = fuzz_span(data + 1, size - 1);
	if (jsontext_check(text, &at) != ST_OK)
		return 0;
	(void)!metrics_read(&f, part, text, &n_unknown);
	MUST(n_unknown <= METRICS_MAX_MEMBERS);
	for (i = 0; i < METRICS_N_CELLS; i++)
		MUST(f.cell[i] == 0 || (f.known[i] && f.cell[i] <= INT64_MAX));
	write_and_read(&f, part);
	return 0;
}

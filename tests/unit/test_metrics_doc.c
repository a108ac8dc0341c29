/* SPDX-License-Identifier: MIT */
/* The catalogue as a Markdown table. */
#include "metrics_doc.h"

#include <string.h>

#include "fault.h"
#include "metrics.h"
#include "unit.h"

static void
each_family_has_a_line_of_five_cells(void **state)
{
	struct buf out;
	struct span rest, line;
	size_t i, n_families = 0, n_lines = 0;

	(void)state;
	buf_init(&out, 1 << 20);
	assert_status(metrics_doc_put(&out), ST_OK);
	for (i = 0; i < metrics_catalogue_n; i++)
		n_families += metrics_catalogue[i].source == METRIC_FAMILY;
	rest = buf_span(&out);
	while (span_cut(&rest, '\n', &line) && line.len > 0) {
		size_t bars = 0;

		for (i = 0; i < line.len; i++)
			bars += line.p[i] == '|';
		assert_int_equal(bars, 6);
		n_lines++;
	}
	assert_int_equal(n_lines, n_families + 2);
	buf_fini(&out);
}

static void
labels_stand_with_their_values(void **state)
{
	static const char *const lines[] = {
	    "\n| `sse_resumes_total` | counter |  | `result`: `ok`, `gap`, "
	    "`failed` | ",
	    "\n| `sse_build_info` | gauge |  | `version`: any | ",
	    "\n| `sse_channel_events_published_total` | counter |  | "
	    "`channel`: any | ",
	    "\n| `sse_delivery_latency_seconds` | histogram | seconds |  | ",
	};
	struct buf out;
	size_t i;

	(void)state;
	buf_init(&out, 1 << 20);
	assert_status(metrics_doc_put(&out), ST_OK);
	assert_status(buf_append(&out, span_of("", 1)), ST_OK);
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (strstr(buf_span(&out).p, lines[i]) == NULL)
			fail_msg("not there: %s", lines[i]);
	buf_fini(&out);
}

static void
an_allocation_that_fails_is_told(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 1 << 20);
	fault_alloc_at(1);
	assert_status(metrics_doc_put(&out), ST_NOMEM);
	assert_true(fault_hit());
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_family_has_a_line_of_five_cells),
	    cmocka_unit_test(labels_stand_with_their_values),
	    cmocka_unit_test(an_allocation_that_fails_is_told),
	};

	return RUN(tests);
}

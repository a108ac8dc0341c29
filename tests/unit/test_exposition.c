/* SPDX-License-Identifier: MIT */
/* Metrics as Prometheus reads them, line by line. */
#include "exposition.h"

#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "scraped.h"
#include "unit.h"

/* The whole of it, as a string. */
static const char *
text(struct fixture *f, enum exposition how)
{
	buf_clear(&f->out);
	assert_status(exposition_put(f->m, how, &f->out), ST_OK);
	assert_status(buf_append(&f->out, span_of("", 1)), ST_OK);
	return buf_span(&f->out).p;
}

/* A row in which each reported member of the catalogue is 1. */
static void
add_full_row(struct fixture *f, const char *role)
{
	struct buf part[2];
	struct metrics all = {.known = {false}};
	struct status_row row = {.name = span_str(role),
	    .role = span_str(role),
	    .seen_ms = NOW,
	    .lease_ms = 1000};
	unsigned i;

	for (i = 0; i < METRICS_N_CELLS; i++)
		metrics_set(&all, i, 1);
	for (i = 0; i < 2; i++) {
		buf_init(&part[i], 1 << 16);
		assert_status(
		    metrics_write(&all, (enum metrics_part)i, &part[i]), ST_OK);
	}
	buf_truncate(&part[0], part[0].len - 1);
	assert_status(buf_append(&part[0], SPAN(",\"channel:c\":1}")), ST_OK);
	row.counters = buf_span(&part[0]);
	row.gauges = buf_span(&part[1]);
	assert_status(aggregate_add_row(f->m, &row), ST_OK);
	buf_fini(&part[0]);
	buf_fini(&part[1]);
}

/* All that there can be. */
static void
add_everything(struct fixture *f)
{
	static const char *const roles[] = {"pubd", "worker", "cgi", "metrics"};
	const struct metric *family = NULL;
	size_t i;

	for (i = 0; i < 4; i++)
		add_full_row(f, roles[i]);
	for (i = 0; i < metrics_catalogue_n; i++) {
		const struct metric *e = &metrics_catalogue[i];

		if (e->source == METRIC_FAMILY)
			family = e;
		else if (e->source == METRIC_TOLD)
			aggregate_tell(f->m, family->name, 1);
		else if (e->source == METRIC_INFO)
			aggregate_inform(f->m, family->name, SPAN("x"));
	}
}

/* The family as it is named in this form. */
static void
name_of(char out[128], const struct metric *e, enum exposition how)
{
	(void)snprintf(out, 128, "%s", e->name);
	if (how == EXPOSITION_OPEN && e->type == METRIC_COUNTER)
		out[strlen(out) - strlen("_total")] = '\0';
}

static void
the_catalogue_is_fit_for_prometheus(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < metrics_catalogue_n; i++) {
		const struct metric *e = &metrics_catalogue[i];
		size_t n;

		if (e->source != METRIC_FAMILY) {
			assert_true(i > 0);
			continue;
		}
		n = strlen(e->name);
		assert_int_equal(strncmp(e->name, "sse_", 4), 0);
		assert_int_equal(strspn(e->name, "abcdefghijklmnopqrstuvwxyz_"),
		    n);
		assert_int_equal(n > 6 &&
			strcmp(e->name + n - 6, "_total") == 0,
		    e->type == METRIC_COUNTER);
		assert_int_equal(e->sentence[strlen(e->sentence) - 1], '.');
		assert_null(strpbrk(e->sentence, "\\\"|\n"));
	}
}

static void
no_two_families_have_one_name_in_either_form(void **state)
{
	size_t i, j;

	(void)state;
	for (i = 0; i < metrics_catalogue_n; i++) {
		const struct metric *a = &metrics_catalogue[i];

		for (j = 0; j < i; j++) {
			const struct metric *b = &metrics_catalogue[j];
			char one[128], other[128];

			if (a->source != METRIC_FAMILY ||
			    b->source != METRIC_FAMILY)
				continue;
			assert_string_not_equal(a->name, b->name);
			name_of(one, a, EXPOSITION_OPEN);
			name_of(other, b, EXPOSITION_OPEN);
			assert_string_not_equal(one, other);
		}
	}
}

static void
every_family_has_its_head_once_and_its_samples_behind_it(void **state)
{
	struct fixture *f = *state;
	size_t i;
	int how;

	add_everything(f);
	for (how = EXPOSITION_TEXT; how <= EXPOSITION_OPEN; how++) {
		const char *all = text(f, (enum exposition)how);

		for (i = 0; i < metrics_catalogue_n; i++) {
			const struct metric *e = &metrics_catalogue[i];
			char name[128], line[1024];
			const char *at;

			if (e->source != METRIC_FAMILY)
				continue;
			name_of(name, e, (enum exposition)how);
			(void)snprintf(line, sizeof(line),
			    "# HELP %s %s\n# TYPE %s %s\n", name, e->sentence,
			    name, metrics_type_name(e->type));
			at = strstr(all, line);
			if (at == NULL)
				fail_msg("not there: %s", line);
			assert_null(strstr(at + 1, line));
			at += strlen(line);
			if (strncmp(at, "# UNIT ", 7) == 0)
				at = strchr(at, '\n') + 1;
			assert_int_equal(strncmp(at, e->name, strlen(e->name)),
			    0);
		}
	}
}

/* No line stands twice: a series would have two values. */
static void
no_series_is_there_twice(void **state)
{
	struct fixture *f = *state;
	const char *all, *line;

	add_everything(f);
	all = text(f, EXPOSITION_TEXT);
	for (line = all; *line != '\0'; line = strchr(line, '\n') + 1) {
		size_t n = strcspn(line, "\n");
		char key[512];
		const char *at;

		if (*line == '#')
			continue;
		while (line[n] != ' ')
			n--;
		(void)snprintf(key, sizeof(key), "\n%.*s ", (int)n, line);
		at = strstr(all, key);
		if (at != NULL && strstr(at + 1, key) != NULL)
			fail_msg("twice: %s", key);
	}
}

static void
openmetrics_has_units_that_end_the_name_and_an_end(void **state)
{
	struct fixture *f = *state;
	const char *all;
	size_t n;

	add_everything(f);
	all = text(f, EXPOSITION_OPEN);
	n = strlen(all);
	assert_string_equal(all + n - 6, "# EOF\n");
	assert_non_null(strstr(all, "# UNIT sse_log_bytes bytes\n"));
	assert_non_null(strstr(all,
	    "# TYPE sse_retention_seconds counter\n"
	    "# UNIT sse_retention_seconds seconds\n"
	    "sse_retention_seconds_total "));
	assert_null(strstr(all, "# UNIT sse_bytes_sent"));
	assert_null(strstr(all, "# UNIT sse_batch_events_max"));
	assert_null(strstr(text(f, EXPOSITION_TEXT), "# UNIT"));
	assert_null(strstr(text(f, EXPOSITION_TEXT), "# EOF"));
}

static void
the_values_of_labels_are_escaped(void **state)
{
	struct fixture *f = *state;

	aggregate_inform(f->m, "sse_log_info", SPAN("a\"b\\c\nd"));
	assert_non_null(strstr(text(f, EXPOSITION_TEXT),
	    "\nsse_log_info{generation=\"a\\\"b\\\\c\\nd\"} 1\n"));
	aggregate_inform(f->m, "sse_log_info", SPAN_NONE);
	assert_non_null(strstr(text(f, EXPOSITION_TEXT),
	    "\nsse_log_info{generation=\"\"} 1\n"));
}

static void
buckets_are_cumulative_and_end_with_the_count(void **state)
{
	struct fixture *f = *state;
	const char *at;
	int i;

	add_full_row(f, "worker");
	at = text(f, EXPOSITION_TEXT);
	for (i = 1; i <= 21; i++) {
		unsigned long long n;

		at = strstr(at, "sse_batch_events_bucket{le=\"");
		assert_non_null(at);
		at = strstr(at, "\"} ") + 3;
		n = strtoull(at, NULL, 10);
		assert_int_equal(n, i);
	}
	assert_non_null(strstr(at, "\nsse_batch_events_count 21\n"));
}

static void
an_allocation_that_fails_is_told(void **state)
{
	struct fixture *f = *state;

	fault_alloc_at(1);
	assert_status(exposition_put(f->m, EXPOSITION_TEXT, &f->out), ST_NOMEM);
	assert_true(fault_hit());
}

int
main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, scraped_setup, scraped_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(the_catalogue_is_fit_for_prometheus),
	    TEST(no_two_families_have_one_name_in_either_form),
	    TEST(every_family_has_its_head_once_and_its_samples_behind_it),
	    TEST(no_series_is_there_twice),
	    TEST(openmetrics_has_units_that_end_the_name_and_an_end),
	    TEST(the_values_of_labels_are_escaped),
	    TEST(buckets_are_cumulative_and_end_with_the_count),
	    TEST(an_allocation_that_fails_is_told),
	};

	return RUN(tests);
}

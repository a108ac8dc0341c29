/* SPDX-License-Identifier: MIT */
/* The line of `walcast status --check`. */
#include "cli_check.h"

#include <string.h>

#include "fault.h"
#include "unit.h"

#define MIB (INT64_C(1) << 20)

/* All metrics as they should be. */
static void
well(struct check *c)
{
	check_init(c);
	check_set(c, CHECK_AGE, 400);
	check_set(c, CHECK_LAG, 0);
	check_set(c, CHECK_DISK, 1000 * MIB);
	check_set(c, CHECK_WAL, 4 * MIB);
	check_set(c, CHECK_FDS, 3);
	check_set(c, CHECK_WORKERS, 2);
}

/* Does the line of c begin with this state and say these words? */
static void
want(struct check *c, enum check_level level, const char *begin)
{
	enum check_level got;
	struct buf out;

	buf_init(&out, 65536);
	assert_status(check_put(c, "fine", "head=7", &out, &got), ST_OK);
	if (out.len < strlen(begin) ||
	    memcmp(buf_span(&out).p, begin, strlen(begin)) != 0)
		fail_msg("\"%.*s\" does not begin with \"%s\"", (int)out.len,
		    buf_span(&out).p, begin);
	assert_int_equal(got, level);
	buf_fini(&out);
}

static void
a_line_has_state_words_and_metrics_with_their_limits(void **state)
{
	struct check c;

	(void)state;
	well(&c);
	want(&c, CHECK_OK,
	    "WALCAST OK - fine | age=400ms;5000;10000;0 lag=0;10000;;0 "
	    "disk=1048576000B;268435456:;16777216:;0 "
	    "wal=4194304B;268435456;;0 fds=3%;80;95;0 workers=2;;;0 head=7");
}

static void
what_is_not_known_is_neither_shown_nor_judged(void **state)
{
	struct check c;

	(void)state;
	check_init(&c);
	check_set(&c, CHECK_FDS, 3);
	want(&c, CHECK_OK, "WALCAST OK - fine | fds=3%;80;95;0 head=7");
}

static void
each_metric_has_its_limits(void **state)
{
	static const struct {
		enum check_metric metric;
		int64_t fine, warning, critical;
	} row[] = {
	    {CHECK_AGE, 5000, 5001, 10001},
	    {CHECK_LAG, 10000, 10001, -1},
	    {CHECK_DISK, 256 * MIB, 256 * MIB - 1, 16 * MIB - 1},
	    {CHECK_WAL, 256 * MIB, 256 * MIB + 1, -1},
	    {CHECK_FDS, 80, 81, 96},
	    {CHECK_WORKERS, 0, -1, -1},
	};
	struct check c;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		well(&c);
		check_set(&c, row[i].metric, row[i].fine);
		want(&c, CHECK_OK, "WALCAST OK - fine |");
		if (row[i].warning >= 0) {
			well(&c);
			check_set(&c, row[i].metric, row[i].warning);
			want(&c, CHECK_WARNING, "WALCAST WARNING - ");
		}
		if (row[i].critical >= 0) {
			well(&c);
			check_set(&c, row[i].metric, row[i].critical);
			want(&c, CHECK_CRITICAL, "WALCAST CRITICAL - ");
		}
	}
}

static void
options_move_the_limits(void **state)
{
	struct check c;

	(void)state;
	well(&c);
	assert_true(check_option(&c, "crit-lag", "50"));
	check_set(&c, CHECK_LAG, 51);
	want(&c, CHECK_CRITICAL,
	    "WALCAST CRITICAL - a stream is 51 events behind | "
	    "age=400ms;5000;10000;0 lag=51;10000;50;0 ");
	well(&c);
	assert_true(check_option(&c, "warn-workers", "3"));
	want(&c, CHECK_WARNING, "WALCAST WARNING - workers that run: 2 |");
	well(&c);
	assert_true(check_option(&c, "warn-fds", "0"));
	assert_true(check_option(&c, "crit-fds", "0"));
	check_set(&c, CHECK_FDS, 99);
	want(&c, CHECK_OK, "WALCAST OK - fine |");
}

static void
an_option_that_is_none_changes_nothing(void **state)
{
	static const char *const row[][2] = {
	    {"warn-nothing", "1"}, {"lag", "1"}, {"warn-", "1"},
	    {"warn-lag", ""}, {"warn-lag", "-1"}, {"warn-lag", "1.5"},
	    {"warn-lag", "9223372036854775808"},
	    {"warn-disk", "8796093022208"}, /* MiB: past 2^63 bytes */
	};
	struct check c, before;
	size_t i;

	(void)state;
	well(&c);
	before = c;
	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++)
		assert_false(check_option(&c, row[i][0], row[i][1]));
	assert_memory_equal(&c, &before, sizeof(c));
}

static void
the_worst_problem_comes_first(void **state)
{
	struct check c;

	(void)state;
	well(&c);
	check_problem(&c, CHECK_WARNING, "%d are late", 2);
	check_problem(&c, CHECK_CRITICAL, "the log is away");
	check_set(&c, CHECK_FDS, 96);
	want(&c, CHECK_CRITICAL,
	    "WALCAST CRITICAL - the log is away; a process uses 96 % of its "
	    "descriptors: raise LimitNOFILE; 2 are late |");
}

static void
unknown_is_less_than_critical_and_more_than_a_warning(void **state)
{
	struct check c;

	(void)state;
	well(&c);
	check_problem(&c, CHECK_WARNING, "late");
	check_problem(&c, CHECK_UNKNOWN, "no permission");
	want(&c, CHECK_UNKNOWN, "WALCAST UNKNOWN - no permission; late |");
	well(&c);
	check_problem(&c, CHECK_UNKNOWN, "no permission");
	check_problem(&c, CHECK_CRITICAL, "dead");
	want(&c, CHECK_CRITICAL, "WALCAST CRITICAL - dead; no permission |");
}

static void
no_text_forges_a_line_or_a_metric(void **state)
{
	struct check c;

	(void)state;
	well(&c);
	check_problem(&c, CHECK_CRITICAL, "/var/a|b\nWALCAST OK");
	want(&c, CHECK_CRITICAL,
	    "WALCAST CRITICAL - /var/a/b\\nWALCAST OK | age=");
}

static void
more_problems_than_there_is_room_for_are_left_out(void **state)
{
	struct check c;
	int i;

	(void)state;
	well(&c);
	for (i = 0; i < CHECK_PROBLEMS + 5; i++)
		check_problem(&c, CHECK_WARNING, "%d", i);
	assert_int_equal(c.n_problems, CHECK_PROBLEMS);
	want(&c, CHECK_WARNING, "WALCAST WARNING - 0; 1; 2; ");
}

static void
no_memory_is_told(void **state)
{
	enum check_level level;
	struct check c;
	struct buf out;

	(void)state;
	well(&c);
	buf_init(&out, 65536);
	fault_alloc_at(1);
	assert_status(check_put(&c, "fine", "", &out, &level), ST_NOMEM);
	assert_true(fault_hit());
	buf_fini(&out);
	buf_init(&out, 30);
	assert_status(check_put(&c, "fine", "", &out, &level), ST_FULL);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		a_line_has_state_words_and_metrics_with_their_limits),
	    cmocka_unit_test(what_is_not_known_is_neither_shown_nor_judged),
	    cmocka_unit_test(each_metric_has_its_limits),
	    cmocka_unit_test(options_move_the_limits),
	    cmocka_unit_test(an_option_that_is_none_changes_nothing),
	    cmocka_unit_test(the_worst_problem_comes_first),
	    cmocka_unit_test(
		unknown_is_less_than_critical_and_more_than_a_warning),
	    cmocka_unit_test(no_text_forges_a_line_or_a_metric),
	    cmocka_unit_test(more_problems_than_there_is_room_for_are_left_out),
	    cmocka_unit_test(no_memory_is_told),
	};

	return RUN(tests);
}

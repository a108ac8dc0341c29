/* SPDX-License-Identifier: MIT */
/* The worker's reader of the log: what fails has been dealt with when a call
 * returns, and a log that is back is told of once. */
#include "log_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fault.h"
#include "log.h"
#include "rig/riglog.h"
#include "unit.h"

struct fixture {
	struct loop *loop;
	struct rig_log log;
	struct conf conf;
	struct log_reader *r;
	unsigned n_changed, n_reopened;
	struct store_bounds reopened;
};

static void
count_changed(void *arg)
{
	struct fixture *f = arg;

	f->n_changed++;
}

static void
count_reopened(void *arg, const struct store_bounds *b)
{
	struct fixture *f = arg;

	f->n_reopened++;
	f->reopened = *b;
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct log_reader_follower follower = {.changed = count_changed,
	    .reopened = count_reopened,
	    .arg = f};
	struct errmsg err = {""};
	struct store_bounds b;

	if (f == NULL)
		return -1;
	log_init("test", LOG_TEXT, LOG_ERROR_);
	rig_log_init(&f->log);
	rig_log_add(&f->log, "a", SPAN("x"), 3);
	(void)snprintf(f->conf.database, sizeof(f->conf.database), "%s",
	    f->log.path);
	f->conf.tail_poll_ms = 5;
	*state = f;
	if (loop_new(&f->loop) != ST_OK ||
	    log_reader_new(&f->r, f->loop, &f->conf) != ST_OK ||
	    log_reader_open(f->r, &b, &err) != ST_OK || b.head != 3)
		return -1;
	log_reader_follow(f->r, &follower);
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	log_reader_free(&f->r);
	loop_free(&f->loop);
	rig_log_fini(&f->log);
	free(f);
	return 0;
}

/* Turns until the log is open, or is not. */
static void
wait_until(struct fixture *f, bool open)
{
	uint64_t end = loop_now_us(f->loop) + 10000000;

	while (log_reader_is_open(f->r) != open) {
		assert_true(loop_now_us(f->loop) < end);
		assert_status(loop_turn(f->loop, 10000), ST_OK);
	}
}

static void
a_write_of_another_process_is_told_of(void **state)
{
	struct fixture *f = *state;
	uint64_t end;

	rig_log_add(&f->log, "a", SPAN("x"), 1);
	end = loop_now_us(f->loop) + 10000000;
	while (f->n_changed == 0) {
		assert_true(loop_now_us(f->loop) < end);
		assert_status(loop_turn(f->loop, 10000), ST_OK);
	}
	assert_int_equal(f->n_reopened, 0);
	assert_int_equal(log_reader_n_errors(f->r), 0);
}

static void
while_the_log_is_away_each_call_says_so(void **state)
{
	struct fixture *f = *state;
	struct store_page p = {.max_rows = 1};
	const struct span name = SPAN("a");
	struct store_bounds b;
	int64_t at;

	rig_log_replace(&f->log);
	wait_until(f, false);
	assert_int_equal(log_reader_n_errors(f->r), 1);
	assert_status(log_reader_bounds(f->r, &b), ST_NOTFOUND);
	assert_status(log_reader_read(f->r, &p), ST_NOTFOUND);
	assert_status(log_reader_newest(f->r, &p, 1, &at), ST_NOTFOUND);
	assert_status(log_reader_newest_of(f->r, &name, 1, &p, 1, &at),
	    ST_NOTFOUND);
	assert_int_equal(log_reader_n_errors(f->r), 1);
	assert_int_equal(f->n_reopened, 0);
}

static void
a_log_that_is_back_is_told_of_once_with_its_ends(void **state)
{
	struct fixture *f = *state;
	struct store_bounds b;

	rig_log_replace(&f->log);
	rig_log_add(&f->log, "a", SPAN("new"), 7);
	wait_until(f, false);
	f->n_changed = 0;
	wait_until(f, true);
	assert_int_equal(f->n_reopened, 1);
	assert_int_equal(f->reopened.head, 7);
	assert_status(log_reader_bounds(f->r, &b), ST_OK);
	assert_string_equal(b.generation, f->reopened.generation);
	assert_int_equal(f->n_changed, 0);
}

static void
what_fails_for_want_of_memory_is_no_failure_of_the_log(void **state)
{
	struct fixture *f = *state;
	struct store_bounds b;
	unsigned n;

	for (n = 1; n < 20; n++) {
		fault_alloc_at(n);
		status_ignore(log_reader_bounds(f->r, &b));
		if (!fault_hit())
			break;
		assert_true(log_reader_is_open(f->r));
	}
	assert_int_equal(log_reader_n_errors(f->r), 0);
	assert_status(log_reader_bounds(f->r, &b), ST_OK);
}

static void
too_few_found_is_an_answer(void **state)
{
	struct fixture *f = *state;
	struct store_page p = {.upto_id = 3, .max_rows = 1};
	const struct span name = SPAN("a");
	int64_t at;

	assert_status(log_reader_newest_of(f->r, &name, 1, &p, 2, &at),
	    ST_FULL);
	assert_true(log_reader_is_open(f->r));
	assert_int_equal(log_reader_n_errors(f->r), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_write_of_another_process_is_told_of),
	    TEST(while_the_log_is_away_each_call_says_so),
	    TEST(a_log_that_is_back_is_told_of_once_with_its_ends),
	    TEST(what_fails_for_want_of_memory_is_no_failure_of_the_log),
	    TEST(too_few_found_is_an_answer),
	};

	return RUN(tests);
}

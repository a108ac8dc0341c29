/* SPDX-License-Identifier: MIT */
/* A log that is kept open for reading, whatever happens to its file. */
#include "store_keep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db.h"
#include "tmpdir.h"
#include "unit.h"

#define MIN_US   200000u
#define MAX_US   2000000u
#define START_US 5000000u

struct fixture {
	char *tmp;
	char path[PATH_BYTES], aside[PATH_BYTES];
	struct store_keep k;
	struct store_bounds b;
	struct errmsg err;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	void *tmp = NULL;

	if (f == NULL || tmpdir_setup(&tmp) != 0)
		return -1;
	f->tmp = tmp;
	*state = f;
	(void)snprintf(f->path, sizeof(f->path), "%s/log/events.db", f->tmp);
	(void)snprintf(f->aside, sizeof(f->aside), "%s/aside", f->tmp);
	f->k = STORE_KEEP(((struct store_options){.path = f->path}), MIN_US,
	    MAX_US);
	return store_create(f->path, STORE_STRICT, NULL, &f->err) == ST_OK ? 0
									   : -1;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	void *tmp = f->tmp;
	int rc;

	store_keep_fini(&f->k);
	rc = tmpdir_teardown(&tmp);
	free(f);
	return rc;
}

static void
append_one(struct fixture *f)
{
	struct store_options o = {.path = f->path};
	struct event e = {.channel = SPAN("a"), .event = SPAN("message")};
	struct store_writer *w = NULL;

	assert_status(store_writer_open(&w, &o, &f->err), ST_OK);
	assert_status(store_begin(w), ST_OK);
	assert_status(store_append(w, &e), ST_OK);
	assert_status(store_commit(w), ST_OK);
	store_writer_close(&w);
}

static void
start(struct fixture *f)
{
	assert_status(store_keep_start(&f->k, &f->b, 0, &f->err), ST_OK);
	assert_non_null(f->k.reader);
}

/* Moves the log's file away and lets the keep see it, at START_US. */
static void
lose(struct fixture *f)
{
	bool changed;
	enum status st;

	assert_int_equal(rename(f->path, f->aside), 0);
	st = store_keep_look(&f->k, &changed);
	assert_status(st, ST_MOVED);
	assert_true(store_keep_failed(&f->k, st, START_US, &f->err));
	assert_null(f->k.reader);
}

static void
what_is_written_is_a_change_once(void **state)
{
	struct fixture *f = *state;
	bool changed = false;

	start(f);
	assert_int_equal(f->b.head, 0);
	assert_status(store_keep_look(&f->k, &changed), ST_OK);
	assert_status(store_keep_look(&f->k, &changed), ST_OK);
	assert_false(changed);
	append_one(f);
	assert_status(store_keep_look(&f->k, &changed), ST_OK);
	assert_true(changed);
	assert_status(store_keep_look(&f->k, &changed), ST_OK);
	assert_false(changed);
}

static void
a_log_that_is_not_there_fails_at_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rename(f->path, f->aside), 0);
	assert_status(store_keep_start(&f->k, &f->b, 10000000, &f->err),
	    ST_NOTFOUND);
	assert_non_null(strstr(f->err.text, "walcast init"));
	assert_null(f->k.reader);
}

static void
a_locked_log_is_tried_as_long_as_was_said(void **state)
{
	struct fixture *f = *state;
	struct db *db = NULL;

	assert_status(db_open(&db, f->path, DB_WRITE, &f->err), ST_OK);
	assert_status(db_exec(db,
			  "PRAGMA locking_mode=EXCLUSIVE;"
			  "BEGIN IMMEDIATE; CREATE TABLE x (y); COMMIT"),
	    ST_OK);
	assert_status(store_keep_start(&f->k, &f->b, 60000, &f->err), ST_BUSY);
	assert_null(f->k.reader);
	db_close(&db);
	start(f);
}

static void
a_log_that_was_moved_away_is_told_and_let_go_of(void **state)
{
	struct fixture *f = *state;

	start(f);
	lose(f);
	assert_string_equal(f->err.text,
	    "a file of it was replaced or deleted");
	assert_true(f->k.retry_us == START_US + MIN_US);
}

static void
what_may_pass_by_itself_closes_nothing(void **state)
{
	struct fixture *f = *state;

	start(f);
	assert_false(store_keep_failed(&f->k, ST_OK, START_US, &f->err));
	assert_false(store_keep_failed(&f->k, ST_BUSY, START_US, &f->err));
	assert_false(store_keep_failed(&f->k, ST_NOMEM, START_US, &f->err));
	assert_non_null(f->k.reader);
	assert_true(store_keep_failed(&f->k, ST_IO, START_US, &f->err));
	assert_null(f->k.reader);
}

static enum status
retry(struct fixture *f, uint64_t at_us)
{
	return store_keep_retry(&f->k, at_us, &f->b, &f->err);
}

static void
it_is_opened_again_when_due_and_later_each_time(void **state)
{
	struct fixture *f = *state;
	uint64_t at = START_US + MIN_US;

	start(f);
	lose(f);
	assert_status(retry(f, at - 1), ST_AGAIN);
	assert_status(retry(f, at), ST_NOTFOUND);
	assert_true(f->k.retry_us == at + (uint64_t)2 * MIN_US);
	at = f->k.retry_us;
	assert_status(retry(f, at - 1), ST_AGAIN);
	assert_status(retry(f, at), ST_NOTFOUND);
	assert_true(f->k.retry_us == at + (uint64_t)4 * MIN_US);
	assert_int_equal(rename(f->aside, f->path), 0);
	assert_status(retry(f, f->k.retry_us), ST_OK);
	assert_non_null(f->k.reader);
}

static void
each_loss_begins_with_the_shortest_wait(void **state)
{
	struct fixture *f = *state;

	start(f);
	lose(f);
	assert_status(retry(f, f->k.retry_us), ST_NOTFOUND);
	assert_int_equal(rename(f->aside, f->path), 0);
	assert_status(retry(f, f->k.retry_us), ST_OK);
	lose(f);
	assert_true(f->k.retry_us == START_US + MIN_US);
}

static void
another_log_at_its_path_is_told_by_its_ends(void **state)
{
	struct fixture *f = *state;
	char before[STORE_GENERATION_BYTES];

	start(f);
	memcpy(before, f->b.generation, sizeof(before));
	lose(f);
	assert_status(store_create(f->path, STORE_STRICT, NULL, &f->err),
	    ST_OK);
	append_one(f);
	assert_status(retry(f, f->k.retry_us), ST_OK);
	assert_string_not_equal(before, f->b.generation);
	assert_int_equal(f->b.head, 1);
}

static void
modes_that_lock_others_out_are_refused_where_asked(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(chmod(f->path, 0660), 0);
	start(f);
	store_keep_fini(&f->k);
	f->k.check_modes = true;
	assert_status(store_keep_start(&f->k, &f->b, 0, &f->err), ST_DENIED);
	assert_non_null(strstr(f->err.text, "--mode open"));
	assert_null(f->k.reader);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_is_written_is_a_change_once),
	    TEST(a_log_that_is_not_there_fails_at_once),
	    TEST(a_locked_log_is_tried_as_long_as_was_said),
	    TEST(a_log_that_was_moved_away_is_told_and_let_go_of),
	    TEST(what_may_pass_by_itself_closes_nothing),
	    TEST(it_is_opened_again_when_due_and_later_each_time),
	    TEST(each_loss_begins_with_the_shortest_wait),
	    TEST(another_log_at_its_path_is_told_by_its_ends),
	    TEST(modes_that_lock_others_out_are_refused_where_asked),
	};

	return RUN(tests);
}

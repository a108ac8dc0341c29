/* SPDX-License-Identifier: MIT */
/* The log_writer of the log: what happened to its files beneath it. */
#include "log_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db.h"
#include "tmpdir.h"
#include "unit.h"

#define SECOND_US 1000000

struct fixture {
	char *tmp;
	char path[1024];
	uint64_t now_us;
	struct log_writer *k;
	struct db *other; /* another program, or NULL */
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct store_options o = {.synchronous_full = true};
	struct errmsg err = {""};
	void *tmp = NULL;

	if (f == NULL || tmpdir_setup(&tmp) != 0)
		return -1;
	*state = f;
	f->tmp = tmp;
	(void)snprintf(f->path, sizeof(f->path), "%s/log/events.db", f->tmp);
	o.path = f->path;
	if (store_create(f->path, STORE_OPEN, NULL, &err) == ST_OK &&
	    log_writer_new(&f->k, &o) == ST_OK &&
	    log_writer_open(f->k, f->now_us, &err) == ST_OK)
		return 0;
	print_error("%s\n", err.text);
	return -1;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	void *tmp = f->tmp;
	int rc;

	db_close(&f->other);
	log_writer_free(&f->k);
	rc = tmpdir_teardown(&tmp);
	free(f);
	return rc;
}

static void
publish(struct fixture *f, int64_t n)
{
	struct event e = {.channel = SPAN("a"),
	    .event = SPAN("message"),
	    .data = SPAN("x"),
	    .ts_ms = 1000};

	for (; n > 0; n--) {
		assert_status(log_writer_ready(f->k, f->now_us), ST_OK);
		assert_status(store_begin(log_writer_writer(f->k)), ST_OK);
		assert_status(store_append(log_writer_writer(f->k), &e), ST_OK);
		assert_status(store_commit(log_writer_writer(f->k)), ST_OK);
		log_writer_committed(f->k, e.id);
	}
}

static const char *
beside(struct fixture *f, const char *suffix)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "log/events.db%s", suffix);
	return tmpdir_path(f->tmp, name);
}

static void
delete_file(struct fixture *f, const char *suffix)
{
	assert_int_equal(unlink(beside(f, suffix)), 0);
}

/* What somebody finds who opens the log now. */
static struct store_bounds
on_disk(struct fixture *f)
{
	struct store_options o = {.path = f->path};
	struct store_reader *r = NULL;
	struct store_bounds b;
	struct errmsg err = {""};

	assert_status(store_reader_open(&r, &o, &err), ST_OK);
	assert_status(store_reader_bounds(r, &b), ST_OK);
	store_reader_close(&r);
	return b;
}

/* What the pubd before this one wrote down. */
static void
expect(struct fixture *f, const char *generation, int64_t head)
{
	struct store_bounds known = {.head = head};

	(void)strcpy(known.generation, generation);
	log_writer_expect(f->k, &known, f->now_us);
}

static void
assert_nothing_lost(struct fixture *f, int64_t head, const char *generation)
{
	struct store_bounds b;

	assert_status(log_writer_ready(f->k, f->now_us), ST_OK);
	b = on_disk(f);
	assert_int_equal(b.head, head);
	assert_string_equal(b.generation, generation);
	publish(f, 1);
	assert_int_equal(on_disk(f).head, head + 1);
}

/* What another program does, which closes the log again. */
static void
by_sql(struct fixture *f, const char *sql)
{
	struct errmsg err = {""};

	assert_status(db_open(&f->other, f->path, DB_WRITE, &err), ST_OK);
	assert_status(db_exec(f->other, sql), ST_OK);
	db_close(&f->other);
}

#define EMPTY                                                                  \
	"BEGIN IMMEDIATE; DELETE FROM sqlite_sequence; DELETE FROM events;"
#define THREE                                                                  \
	"INSERT INTO events (channel, data) VALUES ('a', 'n'), ('b', 'n'),"    \
	"('a', 'n');"

static void
a_log_that_was_emptied_and_has_grown_again_is_another(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before;

	publish(f, 3);
	log_writer_look(f->k, f->now_us);
	before = *log_writer_seen(f->k);
	by_sql(f, EMPTY THREE THREE "COMMIT");
	log_writer_look(f->k, f->now_us);
	assert_int_equal(log_writer_seen(f->k)->head, 6);
	assert_string_not_equal(log_writer_seen(f->k)->generation,
	    before.generation);
	assert_string_equal(on_disk(f).generation,
	    log_writer_seen(f->k)->generation);
}

static void
what_was_inserted_into_an_emptied_log_is_linked_anew(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	int64_t n = -1;

	publish(f, 3);
	log_writer_look(f->k, f->now_us);
	by_sql(f, EMPTY THREE "COMMIT");
	log_writer_look(f->k, f->now_us);
	assert_status(db_open(&f->other, f->path, DB_READ, &err), ST_OK);
	assert_status(db_get_int(f->other,
			  "SELECT sum(prev * 10 + id = 1) + sum(prev * 10 + id "
			  "= 2) + sum(prev * 10 + id = 13) FROM events",
			  &n),
	    ST_OK);
	assert_int_equal(n, 3);
	assert_status(
	    db_get_int(f->other, "SELECT sum(last_id) FROM channels", &n),
	    ST_OK);
	assert_int_equal(n, 2 + 3);
}

/* Somebody has the lock just when it is looked at: the next look sees it. */
static void
a_log_that_was_emptied_is_seen_when_its_lock_is_free(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before;
	struct errmsg err = {""};

	publish(f, 3);
	log_writer_look(f->k, f->now_us);
	before = *log_writer_seen(f->k);
	assert_status(db_open(&f->other, f->path, DB_WRITE, &err), ST_OK);
	assert_status(db_exec(f->other, EMPTY "COMMIT; BEGIN IMMEDIATE"),
	    ST_OK);
	log_writer_look(f->k, f->now_us);
	assert_string_equal(on_disk(f).generation, before.generation);
	assert_status(db_exec(f->other, "COMMIT"), ST_OK);
	log_writer_look(f->k, f->now_us);
	assert_string_not_equal(on_disk(f).generation, before.generation);
}

/* Retention had deleted all of it before the log_writer saw it. */
static void
a_log_that_has_grown_again_from_nothing_is_another(void **state)
{
	struct fixture *f = *state;
	const struct store_options o = {.path = f->path,
	    .synchronous_full = true};
	struct store_bounds before;
	struct errmsg err = {""};

	publish(f, 3);
	log_writer_free(&f->k);
	by_sql(f, "DELETE FROM events");
	assert_status(log_writer_new(&f->k, &o), ST_OK);
	assert_status(log_writer_open(f->k, f->now_us, &err), ST_OK);
	before = *log_writer_seen(f->k);
	assert_int_equal(before.head, 3);
	by_sql(f, EMPTY THREE THREE "COMMIT");
	log_writer_look(f->k, f->now_us);
	assert_int_equal(log_writer_seen(f->k)->head, 6);
	assert_string_not_equal(log_writer_seen(f->k)->generation,
	    before.generation);
}

static void
a_log_whose_events_are_deleted_is_the_same(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before;

	publish(f, 3);
	log_writer_look(f->k, f->now_us);
	before = *log_writer_seen(f->k);
	by_sql(f, "DELETE FROM events");
	log_writer_look(f->k, f->now_us);
	publish(f, 3);
	by_sql(f, "DELETE FROM events WHERE id < 5");
	log_writer_look(f->k, f->now_us);
	assert_string_equal(log_writer_seen(f->k)->generation,
	    before.generation);
	assert_int_equal(on_disk(f).head, 6);
}

static void
a_deleted_wal_is_put_back_into_the_log(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before = *log_writer_seen(f->k);

	publish(f, 3);
	delete_file(f, "-wal");
	assert_nothing_lost(f, 3, before.generation);
}

static void
what_is_committed_into_a_deleted_wal_is_kept(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before = *log_writer_seen(f->k);
	struct event e = {.channel = SPAN("a"),
	    .event = SPAN("message"),
	    .data = SPAN("x"),
	    .ts_ms = 1000};

	publish(f, 3);
	assert_status(store_begin(log_writer_writer(f->k)), ST_OK);
	assert_status(store_append(log_writer_writer(f->k), &e), ST_OK);
	delete_file(f, "-wal");
	assert_status(store_commit(log_writer_writer(f->k)), ST_OK);
	assert_nothing_lost(f, 4, before.generation);
}

static void
what_failed_as_moved_is_put_back_before_it_is_closed(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before = *log_writer_seen(f->k);

	publish(f, 3);
	delete_file(f, "-wal");
	log_writer_failed(f->k, ST_MOVED, f->now_us);
	assert_nothing_lost(f, 3, before.generation);
}

static void
a_deleted_shm_is_made_anew(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before = *log_writer_seen(f->k);

	publish(f, 3);
	delete_file(f, "-shm");
	assert_nothing_lost(f, 3, before.generation);
}

static void
both_may_be_deleted(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before = *log_writer_seen(f->k);

	publish(f, 3);
	delete_file(f, "-wal");
	delete_file(f, "-shm");
	assert_nothing_lost(f, 3, before.generation);
}

/* The log has 2 events in its file, and 3 in its -wal. */
static void
cut_off_the_wal(struct fixture *f, size_t n_bytes)
{
	struct store_bounds before = *log_writer_seen(f->k);
	struct event e = {.channel = SPAN("a"),
	    .event = SPAN("message"),
	    .data = SPAN("x"),
	    .ts_ms = 1000};
	int left;

	publish(f, 2);
	assert_status(store_checkpoint(log_writer_writer(f->k), -1, &left),
	    ST_OK);
	publish(f, 3);
	assert_int_equal(truncate(beside(f, "-wal"), (off_t)n_bytes), 0);
	assert_status(store_begin(log_writer_writer(f->k)), ST_OK);
	assert_status(store_append(log_writer_writer(f->k), &e), ST_OK);
	assert_status(store_commit(log_writer_writer(f->k)), ST_MOVED);
	log_writer_failed(f->k, ST_MOVED, f->now_us);
	assert_status(log_writer_ready(f->k, f->now_us), ST_OK);
	assert_int_equal(on_disk(f).head, 2);
	assert_string_not_equal(on_disk(f).generation, before.generation);
	publish(f, 1);
	assert_int_equal(on_disk(f).head, 3);
}

static void
a_wal_that_is_emptied_is_found_by_the_next_commit(void **state)
{
	cut_off_the_wal(*state, 0);
}

static void
a_wal_that_is_cut_off_is_found_by_the_next_commit(void **state)
{
	/* Its first commit is whole, and of no use. */
	cut_off_the_wal(*state, 32 + 4 * (24 + 4096));
}

static void
a_wal_that_is_cut_off_is_found_when_reading_fails(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before = *log_writer_seen(f->k);

	publish(f, 3);
	assert_int_equal(truncate(beside(f, "-wal"), 40), 0);
	log_writer_failed(f->k, ST_CORRUPT, f->now_us);
	assert_status(log_writer_ready(f->k, f->now_us), ST_OK);
	assert_int_equal(on_disk(f).head, 0);
	assert_string_not_equal(on_disk(f).generation, before.generation);
}

static void
a_wal_that_another_program_began_anew_is_not_cut_off(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before = *log_writer_seen(f->k);
	struct errmsg err = {""};

	publish(f, 3);
	assert_status(db_open(&f->other, f->path, DB_WRITE, &err), ST_OK);
	assert_status(db_exec(f->other, "PRAGMA wal_checkpoint(TRUNCATE)"),
	    ST_OK);
	log_writer_failed(f->k, ST_NOSPACE, f->now_us);
	assert_status(
	    db_exec(f->other,
		"INSERT INTO events (channel, data) VALUES ('a', 'y')"),
	    ST_OK);
	log_writer_failed(f->k, ST_NOSPACE, f->now_us);
	publish(f, 1);
	assert_int_equal(on_disk(f).head, 5);
	assert_string_equal(on_disk(f).generation, before.generation);
}

static void
a_wal_that_is_emptied_when_all_of_it_was_moved_does_no_harm(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before = *log_writer_seen(f->k);
	struct event e = {.channel = SPAN("a"),
	    .event = SPAN("message"),
	    .data = SPAN("x"),
	    .ts_ms = 1000};
	int left;

	publish(f, 2);
	assert_status(store_checkpoint(log_writer_writer(f->k), -1, &left),
	    ST_OK);
	assert_int_equal(truncate(beside(f, "-wal"), 0), 0);
	assert_status(store_begin(log_writer_writer(f->k)), ST_OK);
	assert_status(store_append(log_writer_writer(f->k), &e), ST_OK);
	assert_status(store_commit(log_writer_writer(f->k)),
	    ST_OK); /* a WAL begun anew */
	assert_nothing_lost(f, 3, before.generation);
}

static void
a_wal_that_others_emptied_in_order_is_no_damage(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before = *log_writer_seen(f->k);
	struct errmsg err = {""};

	publish(f, 3);
	assert_status(db_open(&f->other, f->path, DB_WRITE, &err), ST_OK);
	assert_status(db_exec(f->other, "PRAGMA wal_checkpoint(TRUNCATE)"),
	    ST_OK);
	assert_status(store_begin(log_writer_writer(f->k)), ST_OK);
	assert_status(store_commit(log_writer_writer(f->k)),
	    ST_OK); /* of nothing */
	assert_nothing_lost(f, 3, before.generation);
}

static void
a_reader_in_the_way_of_a_deleted_wal_is_waited_for(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before = *log_writer_seen(f->k);
	struct errmsg err = {""};
	int64_t n;

	publish(f, 1);
	assert_status(db_open(&f->other, f->path, DB_READ, &err), ST_OK);
	assert_status(db_exec(f->other, "BEGIN"), ST_OK);
	assert_status(db_get_int(f->other, "SELECT count(*) FROM events", &n),
	    ST_OK);
	publish(f, 2);
	delete_file(f, "-wal");
	assert_status(log_writer_ready(f->k, f->now_us), ST_MOVED);
	assert_status(log_writer_ready(f->k, f->now_us), ST_MOVED);
	db_close(&f->other);
	assert_nothing_lost(f, 3, before.generation);
}

static void
a_log_that_lost_its_last_events_gets_a_new_generation(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before = *log_writer_seen(f->k), b;
	int left;

	publish(f, 2);
	assert_status(store_checkpoint(log_writer_writer(f->k), -1, &left),
	    ST_OK);
	publish(f, 3);
	delete_file(f, "-wal");
	delete_file(f, "-shm");
	/* Somebody else has begun a -wal of his own. */
	tmpdir_write(beside(f, "-wal"), "x", 1);
	assert_status(log_writer_ready(f->k, f->now_us), ST_OK);
	b = on_disk(f);
	assert_int_equal(b.head, 2);
	assert_string_not_equal(b.generation, before.generation);
	assert_string_equal(b.generation, log_writer_seen(f->k)->generation);
}

static void
a_log_shorter_than_it_was_gets_a_new_generation_once(void **state)
{
	struct fixture *f = *state;
	char first[STORE_GENERATION_BYTES], second[STORE_GENERATION_BYTES];

	publish(f, 3);
	(void)strcpy(first, log_writer_seen(f->k)->generation);
	expect(f, first, 3);
	assert_string_equal(on_disk(f).generation, first);
	expect(f, "another", 4);
	assert_string_equal(on_disk(f).generation, first);
	expect(f, first, 4);
	(void)strcpy(second, on_disk(f).generation);
	assert_string_not_equal(second, first);
	assert_int_equal(log_writer_seen(f->k)->head, 3);
	assert_nothing_lost(f, 3, second);
}

static void
a_new_generation_outlives_the_wal(void **state)
{
	struct fixture *f = *state;
	char second[STORE_GENERATION_BYTES];

	publish(f, 3);
	expect(f, log_writer_seen(f->k)->generation, 4);
	(void)strcpy(second, log_writer_seen(f->k)->generation);
	log_writer_failed(f->k, ST_CORRUPT, f->now_us); /* so it is closed */
	delete_file(f, "-wal");
	delete_file(f, "-shm");
	assert_string_equal(on_disk(f).generation, second);
}

static void
a_log_that_is_expected_longer_and_locked_is_judged_later(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before = *log_writer_seen(f->k);
	struct errmsg err = {""};

	publish(f, 3);
	assert_status(db_open(&f->other, f->path, DB_WRITE, &err), ST_OK);
	assert_status(db_exec(f->other, "BEGIN IMMEDIATE"), ST_OK);
	expect(f, before.generation, 4);
	assert_status(log_writer_ready(f->k, f->now_us), ST_BUSY);
	db_close(&f->other);
	f->now_us += SECOND_US;
	assert_status(log_writer_ready(f->k, f->now_us), ST_OK);
	assert_string_not_equal(on_disk(f).generation, before.generation);
}

static void
a_log_that_was_away_is_the_same_when_it_is_back(void **state)
{
	struct fixture *f = *state;
	struct store_bounds before = *log_writer_seen(f->k);
	const char *away = tmpdir_path(f->tmp, "away.db");

	publish(f, 3);
	assert_int_equal(rename(f->path, away), 0);
	assert_status(log_writer_ready(f->k, f->now_us), ST_NOTFOUND);
	assert_int_equal(rename(away, f->path), 0);
	f->now_us += SECOND_US;
	assert_nothing_lost(f, 3, before.generation);
}

static void
what_ends_leaves_all_of_the_log_in_its_file(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};

	publish(f, 3);
	/* One that has the log open still: the -wal stays as it is. */
	assert_status(db_open(&f->other, f->path, DB_READ, &err), ST_OK);
	log_writer_free(&f->k);
	db_close(&f->other);
	delete_file(f, "-wal");
	delete_file(f, "-shm");
	assert_int_equal(on_disk(f).head, 3);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_log_that_was_emptied_and_has_grown_again_is_another),
	    T(what_was_inserted_into_an_emptied_log_is_linked_anew),
	    T(a_log_that_was_emptied_is_seen_when_its_lock_is_free),
	    T(a_log_that_has_grown_again_from_nothing_is_another),
	    T(a_log_whose_events_are_deleted_is_the_same),
	    T(a_deleted_wal_is_put_back_into_the_log),
	    T(what_is_committed_into_a_deleted_wal_is_kept),
	    T(what_failed_as_moved_is_put_back_before_it_is_closed),
	    T(a_deleted_shm_is_made_anew),
	    T(both_may_be_deleted),
	    T(a_wal_that_is_emptied_is_found_by_the_next_commit),
	    T(a_wal_that_is_cut_off_is_found_by_the_next_commit),
	    T(a_wal_that_is_cut_off_is_found_when_reading_fails),
	    T(a_wal_that_another_program_began_anew_is_not_cut_off),
	    T(a_wal_that_is_emptied_when_all_of_it_was_moved_does_no_harm),
	    T(a_wal_that_others_emptied_in_order_is_no_damage),
	    T(a_reader_in_the_way_of_a_deleted_wal_is_waited_for),
	    T(a_log_that_lost_its_last_events_gets_a_new_generation),
	    T(a_log_shorter_than_it_was_gets_a_new_generation_once),
	    T(a_new_generation_outlives_the_wal),
	    T(a_log_that_is_expected_longer_and_locked_is_judged_later),
	    T(a_log_that_was_away_is_the_same_when_it_is_back),
	    T(what_ends_leaves_all_of_the_log_in_its_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

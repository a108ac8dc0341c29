/* SPDX-License-Identifier: MIT */
/* The log: what every backend promises, and what the SQL schema guards. */
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db.h"
#include "fault.h"
#include "hist.h"
#include "random.h"
#include "tmpdir.h"
#include "unit.h"

struct fixture {
	char *tmp;
	char dir[PATH_BYTES];
	char path[PATH_BYTES];
	struct store_options options;
	struct store_writer *w;
	struct store_reader *r;
	struct db *sql; /* another program */
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct errmsg err = {""};
	void *tmp = NULL;

	if (f == NULL || tmpdir_setup(&tmp) != 0)
		return -1;
	f->tmp = tmp;
	(void)snprintf(f->dir, sizeof(f->dir), "%s/log", f->tmp);
	(void)snprintf(f->path, sizeof(f->path), "%s/log/events.db", f->tmp);
	f->options.path = f->path;
	*state = f;
	if (store_create(f->path, STORE_OPEN, NULL, &err) != ST_OK ||
	    store_writer_open(&f->w, &f->options, &err) != ST_OK ||
	    store_reader_open(&f->r, &f->options, &err) != ST_OK ||
	    db_open(&f->sql, f->path, DB_WRITE, &err) != ST_OK) {
		print_error("%s\n", err.text);
		return -1;
	}
	return 0;
}

static void
close_all(struct fixture *f)
{
	db_close(&f->sql);
	store_reader_close(&f->r);
	store_writer_close(&f->w);
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	void *tmp = f->tmp;
	int rc;

	close_all(f);
	rc = tmpdir_teardown(&tmp);
	free(f);
	return rc;
}

/* ---- appending, told in few words --------------------------------------- */

static struct event
event_of(const char *channel, const char *key, const char *data)
{
	return (struct event){
	    .channel = span_str(channel),
	    .event = SPAN("message"),
	    .key = span_str(key),
	    .data = span_str(data),
	    .ts_ms = 1000,
	};
}

static int64_t
append(struct fixture *f, const char *channel, const char *data)
{
	struct event e = event_of(channel, NULL, data);

	assert_status(store_append(f->w, &e), ST_OK);
	return e.id;
}

/* One event in a transaction of its own. */
static int64_t
publish(struct fixture *f, const char *channel, int64_t ts_ms)
{
	struct event e = event_of(channel, NULL, "x");

	e.ts_ms = ts_ms;
	assert_status(store_begin(f->w), ST_OK);
	assert_status(store_append(f->w, &e), ST_OK);
	assert_status(store_commit(f->w), ST_OK);
	return e.id;
}

static void
must_sql(struct fixture *f, const char *sql)
{
	if (db_exec(f->sql, sql) != ST_OK)
		fail_msg("%s: %s", sql, db_error(f->sql));
}

static void
assert_sql_refused(struct fixture *f, const char *sql)
{
	if (db_exec(f->sql, sql) != ST_CONSTRAINT)
		fail_msg("not refused: %s", sql);
}

static int64_t
sql_int(struct fixture *f, const char *sql)
{
	int64_t v = -1;

	assert_status(db_get_int(f->sql, sql, &v), ST_OK);
	return v;
}

/* The chain of each channel holds, whoever wrote. */
static void
assert_chained(struct fixture *f)
{
	assert_int_equal(sql_int(f,
			     "SELECT count(*) FROM events AS e WHERE prev <> "
			     "(SELECT coalesce(max(id), 0) FROM events "
			     "WHERE channel = e.channel AND id < e.id)"),
	    0);
}

static struct store_bounds
bounds(struct fixture *f)
{
	struct store_bounds a, b;

	assert_status(store_writer_bounds(f->w, &a), ST_OK);
	assert_status(store_reader_bounds(f->r, &b), ST_OK);
	assert_int_equal(a.head, b.head);
	assert_int_equal(a.oldest, b.oldest);
	assert_string_equal(a.generation, b.generation);
	return a;
}

/* The whole log as "id<prev:channel " words. */
struct listing {
	char text[4096];
};

static enum status
list_event(void *arg, const struct event *e)
{
	struct listing *l = arg;
	size_t n = strlen(l->text);

	(void)snprintf(l->text + n, sizeof(l->text) - n, "%lld<%lld:%.*s ",
	    (long long)e->id, (long long)e->prev, (int)e->channel.len,
	    e->channel.p);
	return ST_OK;
}

static void
assert_log(struct fixture *f, const char *expected)
{
	struct listing l = {""};
	struct store_page p = {.max_rows = 1000, .take = list_event, .arg = &l};

	assert_status(store_read(f->r, &p), ST_OK);
	assert_true(p.end);
	assert_string_equal(l.text, expected);
}

/* ---- ids ---------------------------------------------------------------- */

static void
ids_count_from_one(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(bounds(f).head, 0);
	assert_int_equal(bounds(f).oldest, 1);
	assert_status(store_begin(f->w), ST_OK);
	assert_int_equal(append(f, "a", "1"), 1);
	assert_int_equal(append(f, "a", "2"), 2);
	assert_status(store_commit(f->w), ST_OK);
	assert_int_equal(bounds(f).head, 2);
	assert_int_equal(bounds(f).oldest, 1);
}

static void
ids_stay_dense_over_rollback_and_undo(void **state)
{
	struct fixture *f = *state;

	(void)publish(f, "a", 1);
	assert_status(store_begin(f->w), ST_OK);
	(void)append(f, "a", "lost");
	(void)append(f, "b", "lost");
	store_rollback(f->w);
	assert_status(store_begin(f->w), ST_OK);
	assert_int_equal(append(f, "a", "2"), 2);
	assert_status(store_group_begin(f->w), ST_OK);
	assert_int_equal(append(f, "a", "undone"), 3);
	assert_int_equal(append(f, "c", "undone"), 4);
	assert_status(store_group_undo(f->w), ST_OK);
	assert_int_equal(append(f, "a", "3"), 3);
	assert_status(store_group_begin(f->w), ST_OK);
	assert_int_equal(append(f, "c", "kept"), 4);
	assert_status(store_group_end(f->w), ST_OK);
	assert_status(store_commit(f->w), ST_OK);
	assert_log(f, "1<0:a 2<1:a 3<2:a 4<0:c ");
}

static void
an_uncommitted_event_is_not_seen(void **state)
{
	struct fixture *f = *state;

	assert_status(store_begin(f->w), ST_OK);
	(void)append(f, "a", "1");
	assert_log(f, "");
	assert_status(store_commit(f->w), ST_OK);
	assert_log(f, "1<0:a ");
}

static void
ids_are_not_reused_after_everything_was_deleted(void **state)
{
	struct fixture *f = *state;

	(void)publish(f, "a", 1);
	(void)publish(f, "a", 1);
	must_sql(f, "DELETE FROM events");
	must_sql(f, "VACUUM");
	assert_int_equal(bounds(f).head, 2);
	assert_int_equal(bounds(f).oldest, 3);
	assert_int_equal(publish(f, "a", 1), 3);
}

/* Random transactions by two writers against a model that only counts. */
static void
ids_are_dense_whatever_is_undone(void **state)
{
	struct fixture *f = *state;
	uint64_t seed = 5, r;
	int64_t next = 1, in_txn, in_group;
	int round, i;

	for (round = 0; round < 300; round++) {
		assert_status(store_begin(f->w), ST_OK);
		in_txn = next;
		for (i = 0; i < 5; i++) {
			r = random_next(&seed);
			assert_status(store_group_begin(f->w), ST_OK);
			in_group = in_txn;
			while (r % 4 != 0) {
				assert_int_equal(
				    append(f, r % 3 == 0 ? "a" : "b", "x"),
				    in_group++);
				r /= 4;
			}
			if (r % 8 < 4) {
				assert_status(store_group_undo(f->w), ST_OK);
			} else {
				assert_status(store_group_end(f->w), ST_OK);
				in_txn = in_group;
			}
		}
		if (random_next(&seed) % 3 == 0) {
			store_rollback(f->w);
		} else {
			assert_status(store_commit(f->w), ST_OK);
			next = in_txn;
		}
		if (random_next(&seed) % 3 == 0) {
			must_sql(f,
			    "INSERT INTO events (channel, data) "
			    "VALUES ('a', 'sql')");
			next++;
		}
	}
	assert_int_equal(bounds(f).head, next - 1);
	assert_int_equal(sql_int(f, "SELECT count(*) FROM events"), next - 1);
	assert_chained(f);
}

/* ---- guards against SQL ------------------------------------------------- */

static void
explicit_ids_are_refused(void **state)
{
	struct fixture *f = *state;

	(void)publish(f, "a", 1);
	assert_sql_refused(f,
	    "INSERT INTO events (id, channel, data) "
	    "VALUES (9223372036854775807, 'a', 'x')");
	assert_sql_refused(f,
	    "INSERT OR REPLACE INTO events (id, channel, "
	    "data) VALUES (1, 'a', 'x')");
	assert_sql_refused(f,
	    "INSERT INTO events (id, channel, data) "
	    "VALUES (0, 'a', 'x')");
	must_sql(f,
	    "INSERT INTO events (id, channel, data) "
	    "VALUES (NULL, 'a', 'x')");
	assert_log(f, "1<0:a 2<1:a ");
}

/* In a BEFORE trigger -1 is how an id that is not given looks. */
static void
the_explicit_id_minus_one_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_sql_refused(f,
	    "INSERT INTO events (id, channel, data) "
	    "VALUES (-1, 'a', 'x')");
	assert_log(f, "");
}

static void
updates_are_refused_and_deletes_allowed(void **state)
{
	struct fixture *f = *state;

	(void)publish(f, "a", 1);
	(void)publish(f, "a", 1);
	assert_sql_refused(f, "UPDATE events SET data = 'y'");
	assert_sql_refused(f, "UPDATE events SET id = 7 WHERE id = 1");
	assert_sql_refused(f, "UPDATE events SET prev = NULL");
	must_sql(f, "DELETE FROM events WHERE id = 1");
	assert_log(f, "2<1:a ");
}

static void
a_row_that_breaks_a_rule_is_refused(void **state)
{
	struct fixture *f = *state;

#define INSERT "INSERT INTO events (channel, event, key, trace, data) VALUES "
	assert_sql_refused(f, INSERT "('', 'e', NULL, NULL, 'x')");
	assert_sql_refused(f, INSERT "('a b', 'e', NULL, NULL, 'x')");
	assert_sql_refused(f, INSERT "('\xc3\xa4', 'e', NULL, NULL, 'x')");
	assert_sql_refused(f, INSERT "('control.x', 'e', NULL, NULL, 'x')");
	assert_sql_refused(f, INSERT "('system.x', 'e', NULL, NULL, 'x')");
	assert_sql_refused(f, INSERT "('a', '', NULL, NULL, 'x')");
	assert_sql_refused(f, INSERT "('a', 'system.x', NULL, NULL, 'x')");
	assert_sql_refused(f, INSERT "('a', 'control.gap', NULL, NULL, 'x')");
	assert_sql_refused(f,
	    INSERT "('a', 'x' || char(10) || 'data: y', NULL, NULL, 'x')");
	assert_sql_refused(f, INSERT "('a', 'x' || char(13), NULL, NULL, '')");
	assert_sql_refused(f, INSERT "('a', 'x' || char(0), NULL, NULL, '')");
	assert_sql_refused(f, INSERT "('a', 'x' || char(127), NULL, NULL, '')");
	assert_sql_refused(f, INSERT "('a', 'e', '', NULL, 'x')");
	assert_sql_refused(f,
	    INSERT "('a', 'e', hex(zeroblob(65)), NULL, 'x')");
	assert_sql_refused(f, INSERT "('a', 'e', NULL, '00-1', 'x')");
	assert_sql_refused(f, INSERT "('a', 'e', NULL, NULL, NULL)");
	assert_sql_refused(f, INSERT "('a', NULL, NULL, NULL, 'x')");
	assert_sql_refused(f,
	    INSERT "('a', 'e', NULL, NULL, hex(zeroblob(2097153)))");
	must_sql(f, INSERT "('a', 'e', hex(zeroblob(64)), NULL, '')");
	must_sql(f, INSERT "('A-z_0.:/', 'e\xc3\xa9 f', NULL, NULL, 'x')");
	assert_log(f, "1<0:a 2<0:A-z_0.:/ ");
}

/* SQL's length() and GLOB end at a NUL, and length() counts characters. */
static void
a_nul_byte_hides_nothing_from_the_rules(void **state)
{
	struct fixture *f = *state;

	assert_sql_refused(f,
	    "INSERT INTO events (channel, data) "
	    "VALUES ('a' || char(0) || ' b', 'x')");
	assert_sql_refused(f,
	    "INSERT INTO events (channel, data) "
	    "VALUES ('a', char(0) || hex(zeroblob(2097152)))");
	assert_log(f, "");
}

static void
a_key_that_is_taken_burns_no_id(void **state)
{
	struct fixture *f = *state;

#define KEYED "INTO events (channel, key, data) VALUES ('a', 'k', 'x')"
	must_sql(f, "INSERT " KEYED);
	assert_sql_refused(f, "INSERT " KEYED);
	status_ignore(db_exec(f->sql, "INSERT OR IGNORE " KEYED));
	status_ignore(db_exec(f->sql, "INSERT OR REPLACE " KEYED));
	status_ignore(db_exec(f->sql, "INSERT OR FAIL " KEYED));
	status_ignore(
	    db_exec(f->sql, "INSERT " KEYED " ON CONFLICT DO NOTHING"));
	status_ignore(db_exec(f->sql,
	    "INSERT " KEYED " ON CONFLICT (channel, key) "
	    "WHERE key IS NOT NULL DO UPDATE SET data = 'y'"));
	assert_int_equal(publish(f, "a", 1), 2);
	assert_int_equal(sql_int(f, "SELECT data = 'x' FROM events"), 1);
	assert_log(f, "1<0:a 2<1:a ");
}

/* OR IGNORE skips a row that fails a CHECK; its id must not be drawn. */
static void
a_row_that_is_ignored_burns_no_id(void **state)
{
	struct fixture *f = *state;
	static const char *const rows[] = {
	    "(channel, data) VALUES ('not a channel', 'x')",
	    "(channel, data) VALUES (NULL, 'x')",
	    "(channel, data) VALUES ('a', NULL)",
	    "(channel, data) VALUES ('a', hex(zeroblob(2097153)))",
	    "(channel, event, data) VALUES ('a', 'system.x', 'x')",
	    "(channel, event, data) VALUES ('a', NULL, 'x')",
	    "(channel, key, data) VALUES ('a', '', 'x')",
	    "(channel, trace, data) VALUES ('a', '00-1', 'x')",
	    "(channel, ts, data) VALUES ('a', NULL, 'x')",
	    "(channel, ts, data) VALUES ('a', 'noon', 'x')",
	    "(channel, json, data) VALUES ('a', 7, 'x')",
	};
	char sql[256];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		(void)snprintf(sql, sizeof(sql),
		    "INSERT OR IGNORE INTO events %s", rows[i]);
		status_ignore(db_exec(f->sql, sql));
		if (publish(f, "a", 1) != (int64_t)i + 1)
			fail_msg("burns an id: %s", sql);
	}
}

static void
a_link_that_sql_gives_does_not_break_the_chain(void **state)
{
	struct fixture *f = *state;

	(void)publish(f, "a", 1);
	status_ignore(db_exec(f->sql,
	    "INSERT INTO events (channel, prev, data) VALUES ('a', 77, 'x')"));
	(void)publish(f, "a", 1);
	assert_chained(f);
}

static void
sql_inserts_are_linked_and_dated(void **state)
{
	struct fixture *f = *state;

	(void)publish(f, "a", 1);
	must_sql(f,
	    "INSERT INTO events (channel, event, data) VALUES "
	    "('b', 'e', 'x'), ('a', 'e', 'y'), ('a', 'e', 'z')");
	(void)publish(f, "a", 1);
	must_sql(f, "INSERT INTO events (channel, data) VALUES ('b', 'x')");
	assert_log(f, "1<0:a 2<0:b 3<1:a 4<3:a 5<4:a 6<2:b ");
	assert_int_equal(sql_int(f,
			     "SELECT abs(ts / 1000 - strftime('%s', 'now')) "
			     "< 5 FROM events WHERE id = 2"),
	    1);
	assert_int_equal(
	    sql_int(f, "SELECT event = 'message' FROM events WHERE id = 6"), 1);
}

/* ---- keys --------------------------------------------------------------- */

static void
a_key_gives_the_first_id_again(void **state)
{
	struct fixture *f = *state;
	struct event e = event_of("a", "k", "1");

	assert_status(store_begin(f->w), ST_OK);
	assert_status(store_append(f->w, &e), ST_OK);
	assert_int_equal(e.id, 1);
	e = event_of("a", "k", "2"); /* in the same transaction */
	assert_status(store_append(f->w, &e), ST_EXISTS);
	assert_int_equal(e.id, 1);
	e = event_of("b", "k", "other channel");
	assert_status(store_append(f->w, &e), ST_OK);
	assert_int_equal(e.id, 2);
	assert_status(store_commit(f->w), ST_OK);

	assert_status(store_begin(f->w), ST_OK);
	e = event_of("a", "k", "3");
	assert_status(store_append(f->w, &e), ST_EXISTS);
	assert_int_equal(e.id, 1);
	assert_int_equal(append(f, "a", "goes on"), 3);
	assert_status(store_commit(f->w), ST_OK);
	assert_log(f, "1<0:a 2<0:b 3<1:a ");
}

static void
a_key_that_was_undone_is_free(void **state)
{
	struct fixture *f = *state;
	struct event e = event_of("a", "k", "1");

	assert_status(store_begin(f->w), ST_OK);
	assert_status(store_group_begin(f->w), ST_OK);
	assert_status(store_append(f->w, &e), ST_OK);
	assert_status(store_group_undo(f->w), ST_OK);
	e = event_of("a", "k", "2");
	assert_status(store_append(f->w, &e), ST_OK);
	assert_int_equal(e.id, 1);
	assert_int_equal(e.prev, 0);
	assert_status(store_commit(f->w), ST_OK);
}

static void
a_key_is_free_again_when_its_event_was_trimmed(void **state)
{
	struct fixture *f = *state;
	const struct store_retain keep_one = {.max_events = 1, .max_rows = 100};
	struct event e = event_of("a", "k", "1");
	bool more;
	int n;

	assert_status(store_begin(f->w), ST_OK);
	assert_status(store_append(f->w, &e), ST_OK);
	assert_status(store_commit(f->w), ST_OK);
	(void)publish(f, "b", 1);
	assert_status(store_trim(f->w, &keep_one, &n, &more), ST_OK);
	assert_int_equal(n, 1);
	assert_status(store_begin(f->w), ST_OK);
	e = event_of("a", "k", "again");
	assert_status(store_append(f->w, &e), ST_OK);
	assert_int_equal(e.id, 3);
	assert_status(store_commit(f->w), ST_OK);
}

/* ---- what is stored ----------------------------------------------------- */

struct copy {
	struct event e;
	char data[4096];
	int n;
};

static enum status
copy_event(void *arg, const struct event *e)
{
	struct copy *c = arg;

	c->e = *e;
	c->n++;
	assert_true(e->data.len <= sizeof(c->data));
	memcpy(c->data, e->data.p, e->data.len);
	c->e.data.p = c->data;
	assert_span(e->channel, SPAN("a"));
	assert_span(e->event, SPAN("created"));
	assert_span(e->key, SPAN("k\xc3\xa9y"));
	assert_span(e->trace,
	    SPAN("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
	return ST_OK;
}

static void
an_event_comes_back_as_it_was_given(void **state)
{
	struct fixture *f = *state;
	struct copy c = {.n = 0};
	struct store_page p = {.max_rows = 10, .take = copy_event, .arg = &c};
	struct event e = {
	    .channel = SPAN("a"),
	    .event = SPAN("created"),
	    .key = SPAN("k\xc3\xa9y"),
	    .trace = SPAN(
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
	    .ts_ms = 1234567890123,
	    .kind = EVENT_DATA_TEXT,
	    .data = SPAN("a\0b\nc"),
	};

	assert_status(store_begin(f->w), ST_OK);
	assert_status(store_append(f->w, &e), ST_OK);
	assert_status(store_commit(f->w), ST_OK);
	assert_status(store_read(f->r, &p), ST_OK);
	assert_int_equal(c.n, 1);
	assert_int_equal(c.e.id, 1);
	assert_int_equal(c.e.ts_ms, 1234567890123);
	assert_span(c.e.data, SPAN("a\0b\nc"));
}

static enum status
list_kind(void *arg, const struct event *e)
{
	char *text = arg;

	text[strlen(text)] = e->kind == EVENT_DATA_TEXT ? 't'
	    : e->kind == EVENT_DATA_JSON                ? 'j'
							: '?';
	return ST_OK;
}

static void
what_the_data_is_comes_back(void **state)
{
	struct fixture *f = *state;
	static const enum event_data kinds[] = {EVENT_DATA_JSON,
	    EVENT_DATA_UNKNOWN, EVENT_DATA_TEXT, EVENT_DATA_JSON};
	char text[16] = "";
	struct store_page p = {.max_rows = 10, .take = list_kind, .arg = text};
	size_t i;

	assert_status(store_begin(f->w), ST_OK);
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct event e = event_of("a", NULL, "1");

		e.kind = kinds[i];
		assert_status(store_append(f->w, &e), ST_OK);
	}
	assert_status(store_commit(f->w), ST_OK);
	must_sql(f, "INSERT INTO events (channel, data) VALUES ('a', 'x')");
	assert_status(store_read(f->r, &p), ST_OK);
	assert_string_equal(text, "j?tj?");
}

static enum status
check_large(void *arg, const struct event *e)
{
	struct span *expected = arg;

	assert_span(e->data, *expected);
	assert_null(e->key.p);
	assert_null(e->trace.p);
	return ST_OK;
}

static void
a_large_event_comes_back_whole(void **state)
{
	struct fixture *f = *state;
	struct span data = {.len = STORE_MAX_DATA_BYTES};
	char *bytes = malloc(data.len);
	struct store_page p = {.max_rows = 10,
	    .take = check_large,
	    .arg = &data};
	struct event e = event_of("a", NULL, "");
	size_t i;

	assert_non_null(bytes);
	for (i = 0; i < data.len; i++)
		bytes[i] = (char)('a' + i % 23);
	e.data = data = span_of(bytes, data.len);
	assert_status(store_begin(f->w), ST_OK);
	assert_status(store_append(f->w, &e), ST_OK);
	assert_status(store_commit(f->w), ST_OK);
	assert_status(store_read(f->r, &p), ST_OK);
	assert_int_equal(p.n_rows, 1);
	free(bytes);
}

static void
a_bad_channel_is_a_constraint_and_the_rest_goes_on(void **state)
{
	struct fixture *f = *state;
	struct event e = event_of("not a channel", NULL, "x");

	assert_status(store_begin(f->w), ST_OK);
	assert_int_equal(append(f, "a", "1"), 1);
	assert_status(store_append(f->w, &e), ST_CONSTRAINT);
	e.channel = SPAN("");
	assert_status(store_append(f->w, &e), ST_CONSTRAINT);
	assert_int_equal(append(f, "a", "2"), 2);
	assert_status(store_commit(f->w), ST_OK);
	assert_log(f, "1<0:a 2<1:a ");
}

static void
each_channel_has_its_chain(void **state)
{
	struct fixture *f = *state;

	assert_status(store_begin(f->w), ST_OK);
	(void)append(f, "a", "1");
	(void)append(f, "b", "1");
	(void)append(f, "a", "2");
	assert_status(store_commit(f->w), ST_OK);
	(void)publish(f, "b", 1);
	(void)publish(f, "c", 1);
	(void)publish(f, "a", 1);
	assert_log(f, "1<0:a 2<0:b 3<1:a 4<2:b 5<0:c 6<3:a ");
}

/* ---- a log that is in use, or gone -------------------------------------- */

static void
a_locked_log_is_busy_at_once(void **state)
{
	struct fixture *f = *state;
	const struct store_retain all = {.min_ts_ms = 9999, .max_rows = 100};
	bool more;
	int n;

	(void)publish(f, "a", 1);
	must_sql(f, "BEGIN IMMEDIATE");
	assert_status(store_begin(f->w), ST_BUSY);
	assert_status(store_trim(f->w, &all, &n, &more), ST_BUSY);
	assert_int_equal(n, 0);
	assert_log(f, "1<0:a "); /* readers go on */
	must_sql(f, "COMMIT");
	assert_int_equal(publish(f, "a", 1), 2);
}

static void
a_moved_file_is_noticed(void **state)
{
	struct fixture *f = *state;

	assert_status(store_writer_check(f->w), ST_OK);
	assert_status(store_reader_check(f->r), ST_OK);
	assert_int_equal(rename(f->path, tmpdir_path(f->tmp, "away.db")), 0);
	assert_status(store_writer_check(f->w), ST_MOVED);
	assert_status(store_reader_check(f->r), ST_MOVED);
	tmpdir_write(f->path, "", 0);
	assert_status(store_writer_check(f->w), ST_MOVED);
	assert_status(store_reader_check(f->r), ST_MOVED);
}

static void
what_others_commit_is_noticed_once(void **state)
{
	struct fixture *f = *state;
	bool changed = false;

	/* The first answer of a reader is that it has seen nothing yet. */
	assert_status(store_reader_changed(f->r, &changed), ST_OK);
	assert_true(changed);
	assert_status(store_reader_changed(f->r, &changed), ST_OK);
	assert_false(changed);
	assert_status(store_writer_changed(f->w, &changed), ST_OK);
	assert_false(changed);

	(void)publish(f, "a", 1);
	assert_status(store_reader_changed(f->r, &changed), ST_OK);
	assert_true(changed);
	assert_status(store_reader_changed(f->r, &changed), ST_OK);
	assert_false(changed);
	/* Its own commits are no news to a writer. */
	assert_status(store_writer_changed(f->w, &changed), ST_OK);
	assert_false(changed);

	must_sql(f, "INSERT INTO events (channel, data) VALUES ('a', 'x')");
	assert_status(store_writer_changed(f->w, &changed), ST_OK);
	assert_true(changed);
	assert_status(store_writer_changed(f->w, &changed), ST_OK);
	assert_false(changed);
	assert_status(store_reader_changed(f->r, &changed), ST_OK);
	assert_true(changed);
}

static void
two_logs_have_two_generations(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct store_bounds first = bounds(f), second;
	struct store_options other = {
	    .path = tmpdir_path(f->tmp, "other/events.db")};
	struct store_reader *r = NULL;

	assert_int_equal(strlen(first.generation), STORE_GENERATION_BYTES - 1);
	assert_status(store_create(other.path, STORE_OPEN, NULL, &err), ST_OK);
	assert_status(store_reader_open(&r, &other, &err), ST_OK);
	assert_status(store_reader_bounds(r, &second), ST_OK);
	assert_string_not_equal(first.generation, second.generation);
	store_reader_close(&r);
	/* Making one that is there already changes nothing. */
	(void)publish(f, "a", 1);
	assert_status(store_create(f->path, STORE_OPEN, NULL, &err), ST_OK);
	assert_string_equal(bounds(f).generation, first.generation);
	assert_log(f, "1<0:a ");
}

static void
a_write_lock_lost_to_memory_is_rolled_back(void **state)
{
	struct fixture *f = *state;
	struct event e = event_of("new", NULL, "x");

	assert_status(store_begin(f->w), ST_OK);
	(void)append(f, "a", "1");
	fault_alloc_at(1); /* the channel's tip */
	assert_status(store_append(f->w, &e), ST_NOMEM);
	assert_true(fault_hit());
	assert_log(f, "");
	assert_int_equal(publish(f, "a", 1), 1);
}

static void
opening_survives_every_failed_allocation(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct store_writer *w = NULL;
	struct store_reader *r = NULL;
	unsigned n = 0;

	do {
		fault_alloc_at(++n);
		if (store_writer_open(&w, &f->options, &err) != ST_OK)
			assert_null(w);
		store_writer_close(&w);
	} while (fault_hit());
	assert_true(n > 5);
	n = 0;
	do {
		fault_alloc_at(++n);
		if (store_reader_open(&r, &f->options, &err) != ST_OK)
			assert_null(r);
		store_reader_close(&r);
	} while (fault_hit());
	assert_true(n > 3);
}

/* ---- retention ---------------------------------------------------------- */

static void
assert_trim(struct fixture *f, struct store_retain r, int n_expected,
    bool more_expected)
{
	bool more = !more_expected;
	int n = -1;

	assert_status(store_trim(f->w, &r, &n, &more), ST_OK);
	assert_int_equal(n, n_expected);
	assert_int_equal(more, more_expected);
}

static void
trim_keeps_the_newest_by_count(void **state)
{
	struct fixture *f = *state;
	int i;

	for (i = 0; i < 10; i++)
		(void)publish(f, i % 2 == 0 ? "a" : "b", 1);
	assert_trim(f, (struct store_retain){.max_rows = 100}, 0, false);
	assert_trim(f, (struct store_retain){.max_events = 10, .max_rows = 100},
	    0, false);
	assert_trim(f, (struct store_retain){.max_events = 7, .max_rows = 2}, 2,
	    true);
	assert_trim(f, (struct store_retain){.max_events = 7, .max_rows = 2}, 1,
	    false);
	assert_log(f, "4<2:b 5<3:a 6<4:b 7<5:a 8<6:b 9<7:a 10<8:b ");
	assert_trim(f, (struct store_retain){.max_events = 5, .max_rows = 2}, 2,
	    false);
	assert_log(f, "6<4:b 7<5:a 8<6:b 9<7:a 10<8:b ");
	assert_int_equal(bounds(f).oldest, 6);
	assert_int_equal(bounds(f).head, 10);
	assert_trim(f, (struct store_retain){.max_events = 1, .max_rows = 100},
	    4, false);
	assert_log(f, "10<8:b ");
	assert_trim(f, (struct store_retain){.max_events = 1, .max_rows = 100},
	    0, false);
}

static void
trim_removes_what_is_too_old(void **state)
{
	struct fixture *f = *state;
	struct store_retain r = {.max_rows = 100};
	int i;

	for (i = 1; i <= 10; i++)
		(void)publish(f, "a", 100 * i);
	must_sql(f, "DELETE FROM events WHERE id IN (1, 3, 4, 5)");
	r.min_ts_ms = 1;
	assert_trim(f, r, 0, false);
	r.min_ts_ms = 200;
	assert_trim(f, r, 0, false);
	r.min_ts_ms = 201;
	assert_trim(f, r, 1, false);
	r.min_ts_ms = 700;
	assert_trim(f, r, 1, false);
	assert_int_equal(bounds(f).oldest, 7);
	r.min_ts_ms = 99999;
	r.max_rows = 3;
	assert_trim(f, r, 3, true);
	assert_trim(f, r, 1, false);
	assert_trim(f, r, 0, false);
	assert_int_equal(bounds(f).oldest, 11);
	assert_int_equal(publish(f, "a", 1), 11);
}

/* Publishes n events that are said to be of that time. */
static void
publish_many(struct fixture *f, int n, int64_t ts_ms)
{
	while (n-- > 0)
		(void)publish(f, "a", ts_ms);
}

static void
trim_by_age_spares_the_young_before_a_clock_that_went_back(void **state)
{
	struct fixture *f = *state;
	const struct store_retain r = {.min_ts_ms = 1000,
	    .now_ms = 5000,
	    .max_rows = 100};
	int i;

	publish_many(f, 20, 2000);
	publish_many(f, 10, 10); /* the clock was wrong */
	/* Whichever event lies in the middle. */
	for (i = 0; i < 40; i++) {
		assert_trim(f, r, 0, false);
		publish_many(f, 1, 2000);
	}
	assert_int_equal(bounds(f).oldest, 1);
}

static void
trim_by_age_goes_on_behind_a_clock_that_was_ahead(void **state)
{
	struct fixture *f = *state;
	struct store_retain r = {.min_ts_ms = 1000,
	    .now_ms = 5000,
	    .max_rows = 100};

	publish_many(f, 5, 99999); /* the clock was wrong */
	assert_trim(f, r, 0, false);
	publish_many(f, 5, 2000);
	assert_trim(f, r, 0, false);
	r.min_ts_ms = 3000;
	assert_trim(f, r, 10, false);
	/* Events of the future are young when that has come. */
	publish_many(f, 5, 99999);
	publish_many(f, 5, 10);
	r.now_ms = 99999;
	assert_trim(f, r, 0, false);
}

static void
trim_shrinks_the_log_to_its_bytes(void **state)
{
	struct fixture *f = *state;
	struct store_retain r = {.max_bytes = 200000, .max_rows = 10};
	int64_t db_bytes, wal_bytes;
	bool more = true;
	int n, i, total = 0;

	assert_trim(f, r, 0, false);
	for (i = 0; i < 100; i++)
		must_sql(f,
		    "INSERT INTO events (channel, data) "
		    "VALUES ('a', hex(zeroblob(5000)))");
	store_sizes(f->w, &db_bytes, &wal_bytes);
	assert_true(db_bytes > 1000000);
	assert_true(wal_bytes > 1000000);
	for (i = 0; i < 50; i++) {
		assert_status(store_trim(f->w, &r, &n, &more), ST_OK);
		assert_true(n <= r.max_rows);
		total += n;
		if (n == 0)
			break;
	}
	assert_int_equal(n, 0);
	store_sizes(f->w, &db_bytes, &wal_bytes);
	assert_true(db_bytes <= 200000);
	assert_in_range(total, 50, 99);
	assert_int_equal(bounds(f).oldest, total + 1);
}

static void
trim_by_bytes_may_remove_everything(void **state)
{
	struct fixture *f = *state;
	struct store_retain r = {.max_bytes = 1, .max_rows = 3};
	int i;

	for (i = 0; i < 5; i++)
		(void)publish(f, "a", 1);
	assert_trim(f, r, 3, true);
	assert_trim(f, r, 2, false);
	assert_trim(f, r, 0, false);
	assert_int_equal(bounds(f).oldest, 6);
	(void)publish(f, "a", 1);
	assert_trim(f, r, 1, false);
}

static void
trim_of_an_empty_log_does_nothing(void **state)
{
	struct fixture *f = *state;

	assert_trim(f,
	    (struct store_retain){.max_events = 1,
		.min_ts_ms = 1,
		.max_bytes = 1,
		.max_rows = 10},
	    0, false);
	(void)publish(f, "a", 5);
	assert_trim(f, (struct store_retain){.min_ts_ms = 9, .max_rows = 10}, 1,
	    false);
	assert_trim(f,
	    (struct store_retain){.max_events = 1,
		.min_ts_ms = 9,
		.max_bytes = 1,
		.max_rows = 10},
	    0, false);
	assert_int_equal(bounds(f).head, 1);
	assert_int_equal(bounds(f).oldest, 2);
}

static enum status
count_channels(void *arg, struct span name, int64_t last_id)
{
	(void)name;
	assert_true(last_id > 0);
	++*(int *)arg;
	return ST_OK;
}

static int
n_channels(struct fixture *f)
{
	int n = 0;

	assert_status(store_channels(f->r, count_channels, &n), ST_OK);
	return n;
}

static void
channels_without_events_are_forgotten(void **state)
{
	struct fixture *f = *state;
	struct store_retain r = {.max_events = 1, .max_rows = 10};
	char name[32];
	int i;

	for (i = 0; i < 700; i++) {
		(void)snprintf(name, sizeof(name), "channel-%03d", i);
		(void)publish(f, name, 1);
	}
	assert_int_equal(n_channels(f), 700);
	for (i = 0; i < 300; i++) {
		bool more;
		int n;

		(void)publish(f, "busy", 1);
		assert_status(store_trim(f->w, &r, &n, &more), ST_OK);
	}
	assert_int_equal(n_channels(f), 1);
	(void)publish(f, "channel-000", 1);
	assert_log(f, "1000<999:busy 1001<0:channel-000 ");
}

static void
a_checkpoint_moves_what_no_reader_pins(void **state)
{
	struct fixture *f = *state;
	int left = -1, i;

	for (i = 0; i < 20; i++)
		(void)publish(f, "a", 1);
	assert_status(store_checkpoint(f->w, 0, &left), ST_OK);
	assert_int_equal(left, 0);
	must_sql(f, "BEGIN; SELECT count(*) FROM events");
	(void)publish(f, "a", 1);
	assert_status(store_checkpoint(f->w, 1000000, &left), ST_OK);
	assert_int_equal(left, -1); /* too few to be looked at */
	assert_status(store_checkpoint(f->w, 0, &left), ST_OK);
	assert_true(left > 0);
	must_sql(f, "COMMIT");
	assert_status(store_checkpoint(f->w, 0, &left), ST_OK);
	assert_int_equal(left, 0);
	assert_status(store_checkpoint(f->w, 0, &left), ST_OK);
	assert_int_equal(left, -1); /* all is done until the next commit */
	assert_status(store_checkpoint(f->w, -1, &left), ST_OK);
	assert_int_equal(left, 0); /* asked for in any case */
}

static void
syncs_of_commits_are_timed(void **state)
{
	struct fixture *f = *state;
	static struct hist syncs; /* outlives the writer, which syncs last */
	const struct store_options o = {.path = f->path,
	    .synchronous_full = true,
	    .syncs = &syncs};
	struct errmsg err = {""};
	uint64_t n;

	store_writer_close(&f->w);
	assert_status(store_writer_open(&f->w, &o, &err), ST_OK);
	n = hist_count(&syncs);
	(void)publish(f, "a", 1);
	assert_true(hist_count(&syncs) > n);
}

/* SQLite's syncs come here and not to the C library. */
static struct {
	unsigned n_syncs;
	bool fails;
} disk;

int
fdatasync(int fd)
{
	disk.n_syncs++;
	if (!disk.fails)
		return fsync(fd);
	errno = EIO;
	return -1;
}

/* It may be the first after a kill, which finds what nobody has synced. */
static void
opening_syncs_before_anything_is_read(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	unsigned n;

	close_all(f);
	n = disk.n_syncs;
	assert_status(store_reader_open(&f->r, &f->options, &err), ST_OK);
	assert_true(disk.n_syncs > n);
	n = disk.n_syncs;
	assert_status(store_writer_open(&f->w, &f->options, &err), ST_OK);
	assert_true(disk.n_syncs > n);
}

static void
a_log_that_cannot_be_synced_is_not_opened(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};

	close_all(f);
	disk.fails = true;
	assert_status(store_reader_open(&f->r, &f->options, &err), ST_IO);
	assert_non_null(strstr(err.text, "sync"));
	assert_status(store_writer_open(&f->w, &f->options, &err), ST_IO);
	disk.fails = false;
	assert_null(f->r);
	assert_null(f->w);
}

/* ---- reading ------------------------------------------------------------ */

struct visit {
	char asked[256], taken[256];
	int64_t full_at, stop_at, fail_at;
};

static void
note_id(char *text, int64_t id)
{
	size_t n = strlen(text);

	(void)snprintf(text + n, 256 - n, "%lld ", (long long)id);
}

static enum store_verdict
want_a(void *arg, const struct event *e)
{
	struct visit *v = arg;

	note_id(v->asked, e->id);
	assert_null(e->data.p);
	assert_true(e->event.len > 0);
	if (e->id == v->stop_at)
		return STORE_STOP;
	return span_eq(e->channel, SPAN("a")) ? STORE_TAKE : STORE_SKIP;
}

static enum status
take_all(void *arg, const struct event *e)
{
	struct visit *v = arg;

	if (e->id == v->full_at)
		return ST_FULL;
	if (e->id == v->fail_at)
		return ST_NOMEM;
	note_id(v->taken, e->id);
	return ST_OK;
}

/* Ten events, odd ids on a, even ones on b. */
static void
fill(struct fixture *f)
{
	int i;

	for (i = 1; i <= 10; i++)
		(void)publish(f, i % 2 == 1 ? "a" : "b", i);
}

static struct store_page
page_of(struct visit *v, int64_t after_id, int64_t upto_id, int max_rows)
{
	return (struct store_page){
	    .after_id = after_id,
	    .upto_id = upto_id,
	    .max_rows = max_rows,
	    .want = want_a,
	    .take = take_all,
	    .arg = v,
	};
}

static void
a_page_ends_at_its_bounds(void **state)
{
	struct fixture *f = *state;
	struct visit v = {.asked = ""};
	struct store_page p = page_of(&v, 2, 0, 4);

	fill(f);
	assert_status(store_read(f->r, &p), ST_OK);
	assert_string_equal(v.asked, "3 4 5 6 ");
	assert_string_equal(v.taken, "3 5 ");
	assert_int_equal(p.scanned_id, 6);
	assert_int_equal(p.n_rows, 4);
	assert_false(p.end);

	v = (struct visit){.asked = ""};
	p = page_of(&v, 6, 8, 100);
	assert_status(store_read(f->r, &p), ST_OK);
	assert_string_equal(v.asked, "7 8 ");
	assert_int_equal(p.scanned_id, 8);
	assert_false(p.end);

	v = (struct visit){.asked = ""};
	p = page_of(&v, 8, 0, 100);
	p.want = NULL;
	assert_status(store_read(f->r, &p), ST_OK);
	assert_string_equal(v.taken, "9 10 ");
	assert_int_equal(p.scanned_id, 10);
	assert_true(p.end);
}

static void
a_page_past_the_end_is_empty(void **state)
{
	struct fixture *f = *state;
	struct visit v = {.asked = ""};
	struct store_page p = page_of(&v, 10, 0, 5);

	fill(f);
	assert_status(store_read(f->r, &p), ST_OK);
	assert_int_equal(p.n_rows, 0);
	assert_int_equal(p.scanned_id, 10);
	assert_true(p.end);
	p = page_of(&v, INT64_MAX, 0, 5);
	assert_status(store_read(f->r, &p), ST_OK);
	assert_int_equal(p.scanned_id, INT64_MAX);
	assert_true(p.end);
	p.after_id = 0; /* the same page again */
	assert_status(store_read(f->r, &p), ST_OK);
	assert_int_equal(p.scanned_id, 5);
	assert_false(p.end);
}

static void
a_page_that_is_exactly_full_may_not_be_the_end(void **state)
{
	struct fixture *f = *state;
	struct visit v = {.asked = ""};
	struct store_page p = page_of(&v, 8, 0, 2);

	fill(f);
	assert_status(store_read(f->r, &p), ST_OK);
	assert_int_equal(p.scanned_id, 10);
	assert_false(p.end);
}

static void
stop_ends_the_page_before_the_event(void **state)
{
	struct fixture *f = *state;
	struct visit v = {.stop_at = 4};
	struct store_page p = page_of(&v, 0, 0, 100);

	fill(f);
	assert_status(store_read(f->r, &p), ST_OK);
	assert_string_equal(v.asked, "1 2 3 4 ");
	assert_string_equal(v.taken, "1 3 ");
	assert_int_equal(p.scanned_id, 3);
	assert_int_equal(p.n_rows, 3);
	assert_false(p.end);
}

static void
a_taker_that_is_full_ends_the_page_before_the_event(void **state)
{
	struct fixture *f = *state;
	struct visit v = {.full_at = 5};
	struct store_page p = page_of(&v, 0, 0, 100);

	fill(f);
	assert_status(store_read(f->r, &p), ST_OK);
	assert_string_equal(v.taken, "1 3 ");
	assert_int_equal(p.scanned_id, 4);
	assert_false(p.end);
	v = (struct visit){.fail_at = 5};
	p = page_of(&v, 0, 0, 100);
	assert_status(store_read(f->r, &p), ST_NOMEM);
	assert_int_equal(p.scanned_id, 4);
}

static void
a_page_says_where_it_began(void **state)
{
	struct fixture *f = *state;
	struct visit v = {.asked = ""};
	struct store_page p = page_of(&v, 0, 0, 3);

	fill(f);
	must_sql(f, "DELETE FROM events WHERE id < 5");
	assert_status(store_read(f->r, &p), ST_OK);
	assert_int_equal(p.first_id, 5);
	p = page_of(&v, 10, 0, 3);
	assert_status(store_read(f->r, &p), ST_OK);
	assert_int_equal(p.first_id, 0);
}

/* An open statement would pin the WAL. */
static void
a_reader_holds_nothing_between_pages(void **state)
{
	struct fixture *f = *state;
	struct visit v = {.stop_at = 4, .full_at = 5};
	struct store_page p = page_of(&v, 0, 0, 100);
	int64_t position;
	int left = -1;

	fill(f);
	assert_status(store_read(f->r, &p), ST_OK);
	v.stop_at = 0;
	assert_status(store_read(f->r, &p), ST_OK);
	p.upto_id = 10;
	assert_status(store_newest(f->r, &p, 1, &position), ST_OK);
	(void)bounds(f);
	(void)publish(f, "a", 1);
	assert_status(store_checkpoint(f->w, 0, &left), ST_OK);
	assert_int_equal(left, 0);
}

static int64_t
newest(struct fixture *f, int n, int64_t upto_id, int max_rows)
{
	struct visit v = {.asked = ""};
	struct store_page p = page_of(&v, 0, upto_id, max_rows);
	int64_t position = -1;

	assert_status(store_newest(f->r, &p, n, &position), ST_OK);
	return position;
}

static void
the_newest_events_begin_where_exactly_they_follow(void **state)
{
	struct fixture *f = *state;

	fill(f); /* wanted: 1 3 5 7 9 */
	assert_int_equal(newest(f, 1, 10, 100), 8);
	assert_int_equal(newest(f, 2, 10, 100), 6);
	assert_int_equal(newest(f, 5, 10, 100), 0);
	assert_int_equal(newest(f, 0, 10, 100), 10);
}

static void
of_the_newest_there_may_be_fewer(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(newest(f, 3, 0, 100), 0);
	fill(f);
	assert_int_equal(newest(f, 50, 10, 100), 0);
	/* Not looked at further than max_rows. */
	assert_int_equal(newest(f, 50, 10, 4), 6);
	/* What came after the position is not counted. */
	assert_int_equal(newest(f, 1, 6, 100), 4);
	must_sql(f, "DELETE FROM events WHERE channel = 'a'");
	assert_int_equal(newest(f, 3, 10, 100), 10);
}

static enum status
newest_of(struct fixture *f, const char *names, int n, int64_t upto_id,
    int max_rows, int64_t *position)
{
	struct visit v = {.asked = ""};
	struct store_page p = page_of(&v, 0, upto_id, max_rows);
	struct span name[STORE_NAMES_MAX];
	size_t n_names = 0;

	p.want = NULL;
	for (; *names != '\0'; names++)
		name[n_names++] = span_of(names, 1);
	return store_newest_of(f->r, name, n_names, &p, n, position);
}

/* By links and by looking at all: the same. */
static void
the_newest_of_some_channels_are_found_by_their_links(void **state)
{
	static const char order[] = "abcabbbacbbaacccbabbbb";
	static const char *const sets[] = {"", "a", "b", "c", "ab", "bc", "z",
	    "abcz"};
	struct fixture *f = *state;
	int64_t upto, i, position;
	size_t set;
	int n;

	for (i = 0; order[i] != '\0'; i++)
		(void)publish(f, (char[]){order[i], '\0'}, 1);
	must_sql(f, "DELETE FROM events WHERE id < 4");
	for (set = 0; set < sizeof(sets) / sizeof(sets[0]); set++)
		for (upto = 4; upto <= 22; upto++)
			for (n = 0; n < 12; n++) {
				int64_t want = upto;
				int left = n;

				for (i = upto; i >= 4 && left > 0; i--)
					if (strchr(sets[set], order[i - 1])) {
						want = i - 1;
						left--;
					}
				assert_status(newest_of(f, sets[set], n, upto,
						  100, &position),
				    ST_OK);
				assert_int_equal(position, want);
			}
	assert_status(newest_of(f, "b", 5, 22, 4, &position), ST_FULL);
	assert_status(newest_of(f, "b", 5, 22, 5, &position), ST_OK);
}

/* Rows that point to themselves or ahead: a damaged log. */
static void
links_that_do_not_go_back_end_there(void **state)
{
	struct fixture *f = *state;
	int64_t position = -1;

	fill(f);
	must_sql(f,
	    "DROP TRIGGER events_guard_update; UPDATE events SET prev = id "
	    "WHERE id = 7; UPDATE events SET prev = 100 WHERE id = 5");
	assert_status(newest_of(f, "a", 3, 10, 100, &position), ST_OK);
	assert_int_equal(position, 6);
}

struct names {
	char text[256];
	int stop_after;
};

static enum status
list_channel(void *arg, struct span name, int64_t last_id)
{
	struct names *l = arg;
	size_t n = strlen(l->text);

	(void)snprintf(l->text + n, sizeof(l->text) - n, "%.*s=%lld ",
	    (int)name.len, name.p, (long long)last_id);
	return --l->stop_after == 0 ? ST_FULL : ST_OK;
}

static void
channels_are_listed_by_name_with_their_newest_id(void **state)
{
	struct fixture *f = *state;
	struct names l = {.stop_after = 100};

	assert_status(store_channels(f->r, list_channel, &l), ST_OK);
	assert_string_equal(l.text, "");
	fill(f);
	(void)publish(f, "A", 1);
	must_sql(f, "INSERT INTO events (channel, data) VALUES ('b', 'x')");
	assert_status(store_channels(f->r, list_channel, &l), ST_OK);
	assert_string_equal(l.text, "A=11 a=9 b=12 ");
	l = (struct names){.stop_after = 2};
	assert_status(store_channels(f->r, list_channel, &l), ST_FULL);
	assert_string_equal(l.text, "A=11 a=9 ");
}

/* ---- files, modes, versions --------------------------------------------- */

static unsigned
mode_of(const char *path)
{
	struct stat sb;

	assert_int_equal(stat(path, &sb), 0);
	return sb.st_mode & 07777;
}

static void
both_arrangements_of_modes_are_made_and_pass(void **state)
{
	struct fixture *f = *state;
	const char *wal = tmpdir_path(f->dir, "events.db-wal");
	const char *shm = tmpdir_path(f->dir, "events.db-shm");
	struct errmsg err = {""};

	(void)publish(f, "a", 1);
	assert_int_equal(mode_of(f->dir), 02770);
	assert_int_equal(mode_of(f->path), 0660);
	assert_int_equal(mode_of(wal), 0660);
	assert_int_equal(mode_of(shm), 0660);
	assert_status(store_check_modes(f->path, &err), ST_OK);
	close_all(f);
	assert_int_equal(access(wal, F_OK), 0); /* for readers */
	assert_status(store_create(f->path, STORE_STRICT, NULL, &err), ST_OK);
	assert_int_equal(mode_of(f->dir), 02750);
	assert_int_equal(mode_of(f->path), 0640);
	assert_int_equal(mode_of(wal), 0640);
	assert_int_equal(mode_of(shm), 0640);
	assert_status(store_check_modes(f->path, &err), ST_OK);
}

static void
other_modes_are_refused_with_the_remedy(void **state)
{
	struct fixture *f = *state;
	static const struct {
		mode_t dir, file;
	} bad[] = {{02770, 0640}, {02750, 0660}, {0770, 0660}};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct errmsg err = {""};

		assert_int_equal(chmod(f->dir, bad[i].dir), 0);
		assert_int_equal(chmod(f->path, bad[i].file), 0);
		assert_status(store_check_modes(f->path, &err), ST_DENIED);
		assert_non_null(strstr(err.text, "walcast init"));
		assert_non_null(strstr(err.text, f->dir));
	}
}

static void
a_log_that_is_not_there_is_told_with_the_remedy(void **state)
{
	struct fixture *f = *state;
	struct store_options none = {.path = tmpdir_path(f->tmp, "no/e.db")};
	struct errmsg err = {""};
	struct store_writer *w = NULL;
	struct store_reader *r = NULL;

	assert_status(store_check_modes(none.path, &err), ST_NOTFOUND);
	assert_non_null(strstr(err.text, "walcast init"));
	assert_status(store_writer_open(&w, &none, &err), ST_NOTFOUND);
	assert_non_null(strstr(err.text, "walcast init"));
	assert_status(store_reader_open(&r, &none, &err), ST_NOTFOUND);
	assert_non_null(strstr(err.text, none.path));
	assert_null(w);
	assert_null(r);
}

static void
a_shared_directory_is_not_taken_over(void **state)
{
	struct fixture *f = *state;
	const char *dir = tmpdir_path(f->tmp, "shared");
	struct errmsg err = {""};

	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(chmod(dir, 01777), 0);
	assert_status(store_create(tmpdir_path(dir, "events.db"), STORE_STRICT,
			  NULL, &err),
	    geteuid() == 0 ? ST_UNSAFE : ST_DENIED);
	assert_int_equal(mode_of(dir), 01777);
	assert_non_null(strstr(err.text, dir));
}

static void
a_group_that_is_not_there_is_told(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};

	assert_status(store_create(tmpdir_path(f->tmp, "new/events.db"),
			  STORE_STRICT, "no-such-group-here", &err),
	    ST_INVALID);
	assert_non_null(strstr(err.text, "no-such-group-here"));
	assert_int_equal(access(tmpdir_path(f->tmp, "new"), F_OK), -1);
}

static void
an_empty_database_is_brought_up_to_the_version(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct store_options o = {.path = tmpdir_path(f->dir, "other.db")};
	struct store_writer *w = NULL;

	/* Somebody's database without a log in it: version 0. */
	tmpdir_write(o.path, "", 0);
	assert_status(store_writer_open(&w, &o, &err), ST_SCHEMA);
	assert_non_null(strstr(err.text, "walcast init"));
	assert_status(store_create(o.path, STORE_OPEN, NULL, &err), ST_OK);
	assert_status(store_writer_open(&w, &o, &err), ST_OK);
	store_writer_close(&w);
}

static void
an_applications_tables_are_left_in_place(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct db *db = NULL;
	const char *path = tmpdir_path(f->dir, "shop.db");
	int64_t v = 0;

	assert_status(db_open(&db, path, DB_CREATE, &err), ST_OK);
	assert_status(db_exec(db,
			  "CREATE TABLE shop (x); "
			  "INSERT INTO shop VALUES (7)"),
	    ST_OK);
	assert_status(store_create(path, STORE_OPEN, NULL, &err), ST_OK);
	assert_status(db_get_int(db, "SELECT x FROM shop", &v), ST_OK);
	assert_int_equal(v, 7);
	assert_status(db_exec(db,
			  "BEGIN; UPDATE shop SET x = 8; INSERT INTO "
			  "events (channel, data) VALUES ('a', 'x'); "
			  "COMMIT"),
	    ST_OK);
	db_close(&db);
}

static void
a_newer_version_is_refused_and_left_alone(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct store_writer *w = NULL;
	struct store_reader *r = NULL;

	must_sql(f, "UPDATE meta SET value = '1000' WHERE name = 'version'");
	assert_status(store_writer_open(&w, &f->options, &err), ST_SCHEMA);
	assert_non_null(strstr(err.text, "1000"));
	assert_status(store_reader_open(&r, &f->options, &err), ST_SCHEMA);
	assert_status(store_create(f->path, STORE_OPEN, NULL, &err), ST_SCHEMA);
	assert_int_equal(
	    sql_int(f, "SELECT value FROM meta WHERE name = 'version'"), 1000);
	assert_null(w);
	assert_null(r);
}

static int64_t
revoke_at(struct fixture *f, const char *user, int64_t at_ms)
{
	const struct revocation v = {.kind = REVOKE_USER,
	    .value = span_str(user),
	    .at_ms = at_ms};
	struct event e = {.ts_ms = at_ms};

	assert_status(store_revoke(f->w, &v, &e), ST_OK);
	return e.id;
}

/* Workers obey the event, and who starts anew the table. */
static void
a_clock_that_goes_back_takes_no_revocation_back(void **state)
{
	struct fixture *f = *state;
	int64_t id, at_ms = 0;
	char sql[128];

	assert_status(store_begin(f->w), ST_OK);
	(void)revoke_at(f, "alice", 2000);
	assert_status(store_commit(f->w), ST_OK);
	assert_status(store_begin(f->w), ST_OK);
	id = revoke_at(f, "alice", 1000);
	assert_status(store_commit(f->w), ST_OK);
	assert_status(store_revoked(f->r, REVOKE_USER, SPAN("alice"), &at_ms),
	    ST_OK);
	assert_int_equal(at_ms, 2000);
	(void)snprintf(sql, sizeof(sql),
	    "SELECT data ->> 'at_ms' FROM events WHERE id = %lld",
	    (long long)id);
	assert_int_equal(sql_int(f, sql), 2000);
	assert_status(store_revoked(f->r, REVOKE_TOKEN, SPAN("alice"), &at_ms),
	    ST_NOTFOUND);
}

static void
a_revocation_that_is_rolled_back_was_none(void **state)
{
	struct fixture *f = *state;
	int64_t at_ms = 0;

	assert_status(store_begin(f->w), ST_OK);
	(void)revoke_at(f, "alice", 2000);
	store_rollback(f->w);
	assert_status(store_revoked(f->r, REVOKE_USER, SPAN("alice"), &at_ms),
	    ST_NOTFOUND);
	assert_int_equal(sql_int(f, "SELECT count(*) FROM events"), 0);
}

static void
a_log_that_does_not_say_its_version_is_of_the_first(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};
	struct store_writer *w = NULL;

	must_sql(f,
	    "DELETE FROM meta WHERE name = 'version'; PRAGMA user_version=1");
	assert_status(store_writer_open(&w, &f->options, &err), ST_OK);
	store_writer_close(&w);
	assert_status(store_create(f->path, STORE_OPEN, NULL, &err), ST_OK);
	assert_int_equal(
	    sql_int(f, "SELECT value FROM meta WHERE name = 'version'"), 2);
}

static void
a_file_that_is_no_database_is_corrupt(void **state)
{
	struct fixture *f = *state;
	static char junk[8192];
	struct store_options o = {.path = tmpdir_path(f->dir, "junk.db")};
	struct errmsg err = {""};
	struct store_writer *w = NULL;
	struct store_reader *r = NULL;

	memset(junk, 'j', sizeof(junk));
	tmpdir_write(o.path, junk, sizeof(junk));
	assert_status(store_writer_open(&w, &o, &err), ST_CORRUPT);
	assert_status(store_reader_open(&r, &o, &err), ST_CORRUPT);
	assert_non_null(strstr(err.text, o.path));
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(ids_count_from_one),
	    T(ids_stay_dense_over_rollback_and_undo),
	    T(an_uncommitted_event_is_not_seen),
	    T(ids_are_not_reused_after_everything_was_deleted),
	    T(ids_are_dense_whatever_is_undone),
	    T(explicit_ids_are_refused),
	    T(the_explicit_id_minus_one_is_refused),
	    T(updates_are_refused_and_deletes_allowed),
	    T(a_row_that_breaks_a_rule_is_refused),
	    T(a_nul_byte_hides_nothing_from_the_rules),
	    T(a_key_that_is_taken_burns_no_id),
	    T(a_row_that_is_ignored_burns_no_id),
	    T(a_link_that_sql_gives_does_not_break_the_chain),
	    T(sql_inserts_are_linked_and_dated),
	    T(a_key_gives_the_first_id_again),
	    T(a_key_that_was_undone_is_free),
	    T(a_key_is_free_again_when_its_event_was_trimmed),
	    T(an_event_comes_back_as_it_was_given),
	    T(what_the_data_is_comes_back),
	    T(a_large_event_comes_back_whole),
	    T(a_bad_channel_is_a_constraint_and_the_rest_goes_on),
	    T(each_channel_has_its_chain),
	    T(a_locked_log_is_busy_at_once),
	    T(a_moved_file_is_noticed),
	    T(what_others_commit_is_noticed_once),
	    T(two_logs_have_two_generations),
	    T(a_write_lock_lost_to_memory_is_rolled_back),
	    T(opening_survives_every_failed_allocation),
	    T(trim_keeps_the_newest_by_count),
	    T(trim_removes_what_is_too_old),
	    T(trim_by_age_spares_the_young_before_a_clock_that_went_back),
	    T(trim_by_age_goes_on_behind_a_clock_that_was_ahead),
	    T(trim_shrinks_the_log_to_its_bytes),
	    T(trim_by_bytes_may_remove_everything),
	    T(trim_of_an_empty_log_does_nothing),
	    T(channels_without_events_are_forgotten),
	    T(a_checkpoint_moves_what_no_reader_pins),
	    T(syncs_of_commits_are_timed),
	    T(opening_syncs_before_anything_is_read),
	    T(a_log_that_cannot_be_synced_is_not_opened),
	    T(a_page_ends_at_its_bounds),
	    T(a_page_past_the_end_is_empty),
	    T(a_page_that_is_exactly_full_may_not_be_the_end),
	    T(stop_ends_the_page_before_the_event),
	    T(a_taker_that_is_full_ends_the_page_before_the_event),
	    T(a_page_says_where_it_began),
	    T(a_reader_holds_nothing_between_pages),
	    T(the_newest_events_begin_where_exactly_they_follow),
	    T(of_the_newest_there_may_be_fewer),
	    T(the_newest_of_some_channels_are_found_by_their_links),
	    T(links_that_do_not_go_back_end_there),
	    T(channels_are_listed_by_name_with_their_newest_id),
	    T(both_arrangements_of_modes_are_made_and_pass),
	    T(other_modes_are_refused_with_the_remedy),
	    T(a_log_that_is_not_there_is_told_with_the_remedy),
	    T(a_shared_directory_is_not_taken_over),
	    T(a_group_that_is_not_there_is_told),
	    T(an_empty_database_is_brought_up_to_the_version),
	    T(an_applications_tables_are_left_in_place),
	    T(a_newer_version_is_refused_and_left_alone),
	    T(a_clock_that_goes_back_takes_no_revocation_back),
	    T(a_revocation_that_is_rolled_back_was_none),
	    T(a_log_that_does_not_say_its_version_is_of_the_first),
	    T(a_file_that_is_no_database_is_corrupt),
	};

	return RUN(tests);
}

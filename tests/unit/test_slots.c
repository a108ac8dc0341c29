/* SPDX-License-Identifier: MIT */
/* Slots that processes share, and inherit from the dead. */
#include "slots.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"
#include "tmpdir.h"
#include "unit.h"

#define KEY 4711u

static struct slots *
open_at(const char *dir, const char *database, struct errmsg *note)
{
	struct slots_place place = {.database = tmpdir_path(dir, database),
	    .shared = dir};
	struct slots *s = NULL;

	assert_status(slots_open(&s, &place, note), ST_OK);
	return s;
}

static struct slots *
open_slots(const char *dir)
{
	struct errmsg note = {""};
	struct slots *s = open_at(dir, "db", &note);

	assert_string_equal(note.text, "");
	return s;
}

static void
so_many_are_given_and_no_more(void **state)
{
	struct slots *s = open_slots(*state);
	int32_t slot = -7;
	int i;

	assert_status(slots_take(s, KEY, 0, &slot), ST_FULL);
	for (i = 0; i < 130; i++) {
		assert_status(slots_take(s, KEY, 130, &slot), ST_OK);
		assert_int_equal(slot, i);
	}
	slot = -7;
	assert_status(slots_take(s, KEY, 130, &slot), ST_FULL);
	assert_int_equal(slot, -7);
	slots_give(s, KEY, 64);
	slots_give(s, KEY, 64); /* given twice: once */
	slots_give(s, KEY, SLOT_NONE);
	slots_give(s, KEY, 5000);
	slots_give(s, KEY + 1, 3);
	assert_status(slots_take(s, KEY, 130, &slot), ST_OK);
	assert_int_equal(slot, 64);
	assert_status(slots_take(s, KEY, 130, &slot), ST_FULL);
	assert_status(slots_take(s, KEY, 131, &slot), ST_OK);
	assert_status(slots_take(s, KEY + 1, 1, &slot), ST_OK);
	assert_int_equal(slot, 0);
	slots_close(&s);
	assert_null(s);
}

static void
two_processes_share_one_pool(void **state)
{
	/* Two openings are as two processes: the locks are the openings'. */
	struct slots *a = open_slots(*state), *b = open_slots(*state);
	int32_t slot[4], more;
	int i;

	for (i = 0; i < 4; i++)
		assert_status(slots_take(i % 2 == 0 ? a : b, KEY, 4, &slot[i]),
		    ST_OK);
	for (i = 0; i < 4; i++)
		assert_int_equal(slot[i], i);
	assert_status(slots_take(a, KEY, 4, &more), ST_FULL);
	assert_status(slots_take(b, KEY, 4, &more), ST_FULL);
	slots_give(b, KEY, 0); /* not b's */
	assert_status(slots_take(b, KEY, 4, &more), ST_FULL);
	slots_give(a, KEY, 0);
	assert_status(slots_take(b, KEY, 4, &more), ST_OK);
	assert_int_equal(more, 0);
	slots_close(&a);
	assert_status(slots_take(b, KEY, 4, &more), ST_OK);
	assert_int_equal(more, 2);
	slots_close(&b);
}

/* The kernel's list of locks stays short. */
static void
in_a_large_pool_processes_keep_apart_while_there_is_room(void **state)
{
	const int max = SLOTS_LOWEST_FIRST + 1;
	struct slots *s[2];
	int32_t slot[2][100], more;
	int i;

	for (i = 0; i < 2; i++)
		s[i] = open_slots(*state);
	for (i = 0; i < 200; i++)
		assert_status(
		    slots_take(s[i % 2], KEY, max, &slot[i % 2][i / 2]), ST_OK);
	for (i = 1; i < 100; i++) {
		int step = i == 64 ? 65 : 1; /* the other's word lies between */

		assert_int_equal(slot[0][i], slot[0][i - 1] + step);
		assert_int_equal(slot[1][i], slot[1][i - 1] + step);
	}
	/* What was given back is taken first. */
	slots_give(s[0], KEY, slot[0][7]);
	assert_status(slots_take(s[0], KEY, max, &more), ST_OK);
	assert_int_equal(more, slot[0][7]);
	/* When that is all, what is left in the other's word is taken, too. */
	for (i = 200; i < max; i++)
		assert_status(slots_take(s[0], KEY, max, &more), ST_OK);
	assert_status(slots_take(s[0], KEY, max, &more), ST_FULL);
	assert_status(slots_take(s[1], KEY, max, &more), ST_FULL);
	slots_close(&s[0]);
	slots_close(&s[1]);
}

/* A small cap beside a large one: HTTP/2 in apache/walcast-proxy.conf. */
static void
a_smaller_cap_sees_all_that_is_taken(void **state)
{
	struct slots *s[2];
	int32_t slot;
	int i;

	for (i = 0; i < 2; i++)
		s[i] = open_slots(*state);
	for (i = 0; i < 20; i++)
		assert_status(slots_take(s[i % 2], KEY, 100, &slot), ST_OK);
	assert_status(slots_take(s[0], KEY, 20, &slot), ST_FULL);
	assert_status(slots_take(s[1], KEY, 20, &slot), ST_FULL);
	slots_close(&s[0]);
	slots_close(&s[1]);
}

static void
the_dead_leave_their_slots(void **state)
{
	struct slots *s = open_slots(*state);
	int32_t slot;
	int ready[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct slots *mine = open_slots(*state);
		int i, ok = true;

		for (i = 0; ok && i < 10; i++)
			ok = slots_take(mine, KEY, 10, &slot) == ST_OK;
		ok = ok && write(ready[1], "x", 1) == 1;
		for (;;)
			(void)pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_status(slots_take(s, KEY, 10, &slot), ST_FULL);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_status(slots_take(s, KEY, 10, &slot), ST_OK);
	assert_int_equal(slot, 0);
	slots_close(&s);
	(void)close(ready[0]);
	(void)close(ready[1]);
}

static void
another_database_has_slots_of_its_own(void **state)
{
	struct errmsg note = {""};
	struct slots *a = open_slots(*state);
	struct slots *b = open_at(*state, "other", &note);
	int32_t slot;

	assert_status(slots_take(a, KEY, 1, &slot), ST_OK);
	assert_status(slots_take(b, KEY, 1, &slot), ST_OK);
	slots_close(&a);
	slots_close(&b);
}

static void
kind_and_name_make_the_key_in_all_workers(void **state)
{
	struct slots *a = open_slots(*state), *b = open_slots(*state);

	assert_true(slots_key(a, SPAN("a"), SPAN("b")) <= 0x7fffffff);
	assert_int_equal(slots_key(a, SPAN("a"), SPAN("b")),
	    slots_key(b, SPAN("a"), SPAN("b")));
	assert_int_not_equal(slots_key(a, SPAN("a"), SPAN("bc")),
	    slots_key(a, SPAN("ab"), SPAN("c")));
	assert_int_not_equal(slots_key(a, SPAN("front"), SPAN("::1")),
	    slots_key(a, SPAN("address"), SPAN("::1")));
	slots_close(&a);
	slots_close(&b);
}

/* Else somebody could look for an address that shares another one's pool. */
static void
keys_are_secret(void **state)
{
	struct errmsg note = {""};
	struct slots *a = open_slots(*state);
	struct slots *b = open_at(*state, "other", &note);

	assert_int_not_equal(slots_key(a, SPAN("a"), SPAN("b")),
	    slots_key(b, SPAN("a"), SPAN("b")));
	slots_close(&a);
	slots_close(&b);
}

/* ---- where the file may be ---------------------------------------------- */

static void
our_directory(const char *dir, char *out, size_t n)
{
	(void)snprintf(out, n, "%s/walcast-%u", dir, (unsigned)geteuid());
}

/* Two openings do not share, each is capped for itself, and it is told. */
static void
expect_apart(const char *dir)
{
	struct errmsg note[2] = {{""}, {""}};
	struct slots *s[2];
	int32_t slot;
	int i;

	for (i = 0; i < 2; i++) {
		s[i] = open_at(dir, "db", &note[i]);
		assert_non_null(strstr(note[i].text, "in this process alone"));
		assert_status(slots_take(s[i], KEY, 1, &slot), ST_OK);
		assert_status(slots_take(s[i], KEY, 1, &slot), ST_FULL);
	}
	slots_close(&s[0]);
	slots_close(&s[1]);
}

static void
a_directory_that_others_may_use_is_none_of_ours(void **state)
{
	static const mode_t modes[] = {0710, 0701, 0750, 0777};
	char ours[2 * PATH_BYTES];
	size_t i;

	our_directory(*state, ours, sizeof(ours));
	assert_int_equal(mkdir(ours, 0700), 0);
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(ours, modes[i]), 0);
		expect_apart(*state);
	}
}

static void
a_link_to_a_directory_of_ours_is_not_followed(void **state)
{
	char ours[2 * PATH_BYTES];

	our_directory(*state, ours, sizeof(ours));
	assert_int_equal(mkdir(tmpdir_path(*state, "real"), 0700), 0);
	assert_int_equal(symlink(tmpdir_path(*state, "real"), ours), 0);
	expect_apart(*state);
}

static void
another_user_s_directory_does_not_keep_a_worker_from_starting(void **state)
{
	char ours[2 * PATH_BYTES];

	if (geteuid() != 0)
		skip();
	our_directory(*state, ours, sizeof(ours));
	assert_int_equal(mkdir(ours, 0700), 0);
	assert_int_equal(chown(ours, 12345, (gid_t)-1), 0);
	expect_apart(*state);
}

/* The only entry of a directory that holds the slots' file. */
static void
slots_file_of(const char *dir, char *out, size_t n)
{
	glob_t g;
	char pattern[3 * PATH_BYTES];

	(void)snprintf(pattern, sizeof(pattern), "%s/*", dir);
	assert_int_equal(glob(pattern, 0, NULL, &g), 0);
	assert_int_equal(g.gl_pathc, 1);
	(void)snprintf(out, n, "%s", g.gl_pathv[0]);
	globfree(&g);
}

static void
a_file_that_is_not_ours_alone_is_not_used(void **state)
{
	struct slots *s = open_slots(*state);
	char ours[2 * PATH_BYTES], file[3 * PATH_BYTES];

	slots_close(&s);
	our_directory(*state, ours, sizeof(ours));
	slots_file_of(ours, file, sizeof(file));
	assert_int_equal(chmod(file, 0620), 0);
	expect_apart(*state);
	assert_int_equal(chmod(file, 0600), 0);
	assert_int_equal(truncate(file, 15), 0);
	expect_apart(*state);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(symlink("elsewhere", file), 0);
	expect_apart(*state);
}

static bool
has_file(const char *dir)
{
	glob_t g;
	char pattern[3 * PATH_BYTES];
	int rc;

	(void)snprintf(pattern, sizeof(pattern), "%s/slots-*", dir);
	rc = glob(pattern, 0, NULL, &g);
	if (rc == 0)
		globfree(&g);
	return rc == 0;
}

static void
the_first_directory_that_only_we_may_write_counts(void **state)
{
	const char *run = tmpdir_path(*state, "run");
	const char *beside = tmpdir_path(*state, "beside");
	char list[4 * PATH_BYTES], socket[4 * PATH_BYTES];
	struct slots_place place = {.database = "/db",
	    .runtime = list,
	    .socket = socket,
	    .shared = *state};
	struct errmsg note = {""};
	struct slots *s = NULL;

	(void)snprintf(list, sizeof(list), "%s:/elsewhere", run);
	(void)snprintf(socket, sizeof(socket), "%s/pubd.sock", beside);
	assert_int_equal(mkdir(run, 0755), 0);
	assert_int_equal(mkdir(beside, 0755), 0);
	assert_status(slots_open(&s, &place, &note), ST_OK);
	slots_close(&s);
	assert_true(has_file(run));
	assert_int_equal(chmod(run, 0775), 0);
	assert_status(slots_open(&s, &place, &note), ST_OK);
	slots_close(&s);
	assert_true(has_file(beside));
	assert_string_equal(note.text, "");
}

/* In one go, or a row at a time. */
#define AT_ONCE  UINT64_MAX
#define BIT_WISE 0

static int64_t
count(struct slots *s, struct slots_count *c, uint64_t until_us)
{
	int i;

	c->taken = -1;
	for (i = 0; c->taken < 0 && i < 1000; i++)
		slots_count_go(s, c, until_us);
	return c->taken;
}

static void
taken_slots_are_counted_whoever_has_them(void **state)
{
	struct slots *s[3];
	struct slots_count c = slots_count_begin(KEY, 60);
	int32_t slot;
	int i;

	for (i = 0; i < 3; i++)
		s[i] = open_slots(*state);
	assert_int_equal(c.taken, -1);
	assert_int_equal(count(s[0], &c, AT_ONCE), 0);
	/* 0 1 2 0 1 2 ... */
	for (i = 0; i < 60; i++)
		assert_status(slots_take(s[i % 3], KEY, 60, &slot), ST_OK);
	for (i = 0; i < 3; i++) {
		assert_int_equal(count(s[i], &c, AT_ONCE), 60);
		assert_int_equal(count(s[i], &c, BIT_WISE), 60);
	}
	/* Others' pools beside ours do not count. */
	assert_status(slots_take(s[1], KEY + 1, 60, &slot), ST_OK);
	assert_status(slots_take(s[1], KEY - 1, 60, &slot), ST_OK);
	for (i = 0; i < 60; i += 4)
		slots_give(s[i % 3], KEY, i);
	assert_int_equal(count(s[0], &c, AT_ONCE), 45);
	assert_int_equal(count(s[2], &c, BIT_WISE), 45);
	c = slots_count_begin(KEY, 6);
	assert_int_equal(count(s[0], &c, AT_ONCE), 4);
	for (i = 0; i < 3; i++)
		slots_close(&s[i]);
}

static void
a_count_that_is_not_done_changes_nothing(void **state)
{
	struct slots *s = open_slots(*state), *other = open_slots(*state);
	struct slots_count c = slots_count_begin(KEY, 10);
	int32_t slot;

	assert_status(slots_take(other, KEY, 10, &slot), ST_OK);
	assert_int_equal(count(s, &c, AT_ONCE), 1);
	assert_status(slots_take(other, KEY, 10, &slot), ST_OK);
	slots_count_go(s, &c, BIT_WISE);
	assert_int_equal(c.taken, 1);
	slots_count_go(s, &c, AT_ONCE);
	assert_int_equal(c.taken, 2);
	slots_close(&s);
	slots_close(&other);
}

static void
without_memory_no_slot_is_held(void **state)
{
	struct slots *s = open_slots(*state), *other = open_slots(*state);
	int32_t slot;
	unsigned n;

	for (n = 1;; n++) {
		enum status st;

		fault_alloc_at(n);
		st = slots_take(s, KEY, 1, &slot);
		if (!fault_hit()) {
			assert_status(st, ST_OK);
			break;
		}
		assert_status(st, ST_NOMEM);
		assert_status(slots_take(other, KEY, 1, &slot), ST_OK);
		slots_give(other, KEY, slot);
	}
	assert_true(n > 3);
	slots_close(&s);
	slots_close(&other);
}

#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(so_many_are_given_and_no_more),
	    TEST(two_processes_share_one_pool),
	    TEST(in_a_large_pool_processes_keep_apart_while_there_is_room),
	    TEST(a_smaller_cap_sees_all_that_is_taken),
	    TEST(the_dead_leave_their_slots),
	    TEST(another_database_has_slots_of_its_own),
	    TEST(kind_and_name_make_the_key_in_all_workers),
	    TEST(keys_are_secret),
	    TEST(a_directory_that_others_may_use_is_none_of_ours),
	    TEST(a_link_to_a_directory_of_ours_is_not_followed),
	    TEST(another_user_s_directory_does_not_keep_a_worker_from_starting),
	    TEST(a_file_that_is_not_ours_alone_is_not_used),
	    TEST(the_first_directory_that_only_we_may_write_counts),
	    TEST(taken_slots_are_counted_whoever_has_them),
	    TEST(a_count_that_is_not_done_changes_nothing),
	    TEST(without_memory_no_slot_is_held),
	};

	return RUN(tests);
}

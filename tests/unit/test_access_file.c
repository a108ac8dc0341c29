/* SPDX-License-Identifier: MIT */
/* The rules in force: what is read, what is refused, what HUP changes. */
#include "access_file.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"
#include "tmpdir.h"
#include "unit.h"

#define STRANGER 12345
#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

static struct conf conf;
static struct errmsg err;

/* A configuration with this text as its rules. */
static void
put_rules(const char *dir, const char *text)
{
	const char *path = tmpdir_path(dir, "access.conf");

	conf_defaults(&conf);
	(void)snprintf(conf.access, sizeof(conf.access), "%s", path);
	tmpdir_write(path, text, strlen(text));
	assert_int_equal(chmod(path, 0640), 0);
	err.text[0] = '\0';
}

static void
put_groups(const char *dir, const char *text)
{
	const char *path = tmpdir_path(dir, "groups");

	(void)snprintf(conf.groups, sizeof(conf.groups), "%s", path);
	tmpdir_write(path, text, strlen(text));
	assert_int_equal(chmod(path, 0640), 0);
}

static bool
may_read(const struct access_file *f, const char *user, const char *channel)
{
	struct access_person p = {.user = {span_str(user)}, .uid = -1};

	return access_judge(f->rules, &p, ACCESS_READ, span_str(channel))
	    .allowed;
}

static void
without_the_key_there_are_no_rules(void **state)
{
	struct access_file f;

	(void)state;
	conf_defaults(&conf);
	assert_status(access_file_open(&f, &conf, &err), ST_OK);
	assert_false(f.is_set);
	assert_null(f.rules);
	assert_status(access_file_reload(&f, &conf, &err), ST_OK);
	assert_int_equal(f.edition, 0);
	access_file_close(&f);
}

static void
an_empty_file_allows_nothing(void **state)
{
	struct access_file f;

	put_rules(*state, "");
	put_groups(*state, "");
	assert_status(access_file_open(&f, &conf, &err), ST_OK);
	assert_true(f.is_set);
	assert_false(may_read(&f, "alice", "news"));
	access_file_close(&f);
}

static void
both_files_are_read_again(void **state)
{
	struct access_file f;

	put_rules(*state, "group staff read a\n");
	put_groups(*state, "staff: alice\n");
	assert_status(access_file_open(&f, &conf, &err), ST_OK);
	assert_true(may_read(&f, "alice", "a"));
	put_rules(*state, "group staff read b\n");
	put_groups(*state, "staff: bob\n");
	assert_status(access_file_reload(&f, &conf, &err), ST_OK);
	assert_int_equal(f.edition, 1);
	assert_false(may_read(&f, "alice", "a"));
	assert_false(may_read(&f, "alice", "b"));
	assert_true(may_read(&f, "bob", "b"));
	access_file_close(&f);
}

static void
a_mistake_keeps_the_old_rules(void **state)
{
	struct access_file f;

	put_rules(*state, "anyone read a\n");
	assert_status(access_file_open(&f, &conf, &err), ST_OK);
	put_rules(*state, "anyone read *\nanyone reads b\n");
	assert_status(access_file_reload(&f, &conf, &err), ST_INVALID);
	assert_non_null(strstr(err.text, "access.conf:2: "));
	assert_int_equal(f.edition, 0);
	assert_true(may_read(&f, "", "a"));
	assert_false(may_read(&f, "", "b"));
	assert_int_equal(unlink(conf.access), 0);
	assert_status(access_file_reload(&f, &conf, &err), ST_NOTFOUND);
	assert_true(may_read(&f, "", "a"));
	access_file_close(&f);
}

static void
what_others_may_write_is_not_believed(void **state)
{
	struct access_file f;

	put_rules(*state, "anyone read a\n");
	assert_int_equal(chmod(conf.access, 0642), 0);
	assert_status(access_file_open(&f, &conf, &err), ST_UNSAFE);
	assert_non_null(strstr(err.text, "chmod o-w"));
	put_rules(*state, "anyone read a\n");
	put_groups(*state, "staff: alice\n");
	assert_int_equal(chmod(conf.groups, 0666), 0);
	assert_status(access_file_open(&f, &conf, &err), ST_UNSAFE);
	assert_non_null(strstr(err.text, conf.groups));
}

static void
nor_what_belongs_to_another_user(void **state)
{
	struct access_file f;

	if (geteuid() != 0)
		skip();
	put_rules(*state, "anyone read a\n");
	assert_int_equal(chown(conf.access, STRANGER, 0), 0);
	assert_status(access_file_open(&f, &conf, &err), ST_UNSAFE);
	assert_non_null(strstr(err.text, "belongs to uid 12345"));
}

static void
what_is_no_file_is_not_waited_for(void **state)
{
	struct access_file f;

	put_rules(*state, "");
	assert_int_equal(unlink(conf.access), 0);
	assert_int_equal(mkfifo(conf.access, 0600), 0);
	assert_status(access_file_open(&f, &conf, &err), ST_UNSAFE);
	assert_non_null(strstr(err.text, "is no file"));
}

static void
a_file_has_a_bound(void **state)
{
	static char text[ACCESS_MAX_BYTES + 2];
	struct access_file f;

	memset(text, '#', sizeof(text) - 1);
	put_rules(*state, text);
	assert_status(access_file_open(&f, &conf, &err), ST_TOOLARGE);
	text[ACCESS_MAX_BYTES] = '\0';
	put_rules(*state, text);
	assert_status(access_file_open(&f, &conf, &err), ST_OK);
	access_file_close(&f);
}

/* Of users and groups that every host has. */
static void
names_of_the_host_become_numbers(void **state)
{
	struct access_file f;
	struct access_person p = {.uid = 0};

	put_rules(*state, "uid root publish a\ngid root publish b\n");
	assert_status(access_file_open(&f, &conf, &err), ST_OK);
	assert_true(
	    access_judge(f.rules, &p, ACCESS_PUBLISH, SPAN("a")).allowed);
	assert_false(
	    access_judge(f.rules, &p, ACCESS_PUBLISH, SPAN("b")).allowed);
	access_file_close(&f);
	put_rules(*state, "\nuid no-such-user publish a\n");
	assert_status(access_file_check(&conf, &err), ST_INVALID);
	assert_non_null(strstr(err.text, "access.conf:2: there is no user"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(without_the_key_there_are_no_rules),
	    TEST(an_empty_file_allows_nothing),
	    TEST(both_files_are_read_again),
	    TEST(a_mistake_keeps_the_old_rules),
	    TEST(what_others_may_write_is_not_believed),
	    TEST(nor_what_belongs_to_another_user),
	    TEST(what_is_no_file_is_not_waited_for),
	    TEST(a_file_has_a_bound),
	    TEST(names_of_the_host_become_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

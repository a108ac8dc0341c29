/* SPDX-License-Identifier: MIT */
/* Whose files the log's are; what root does not touch. */
#include "owner.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tmpdir.h"
#include "unit.h"

#define STRANGER 12345
#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)

static mode_t
mode_of(const char *path)
{
	struct stat sb;

	assert_int_equal(lstat(path, &sb), 0);
	return sb.st_mode & 07777;
}

static void
a_file_s_mode_is_set_by_descriptor(void **state)
{
	const char *file = tmpdir_path(*state, "f");
	struct errmsg err = {""};

	tmpdir_write(file, "x", 1);
	assert_status(owner_set_file(file, OWNER_KEEP, (gid_t)-1, 0640, &err),
	    ST_OK);
	assert_int_equal(mode_of(file), 0640);
	assert_status(owner_set_directory(*state, (gid_t)-1, 02750, &err),
	    ST_OK);
	assert_int_equal(mode_of(*state), 02750);
	assert_status(owner_set_file(tmpdir_path(*state, "none"), OWNER_KEEP,
			  (gid_t)-1, 0640, &err),
	    ST_OK);
}

static void
links_are_left_alone(void **state)
{
	const char *target = tmpdir_path(*state, "target");
	const char *link_path = tmpdir_path(*state, "link");
	const char *second = tmpdir_path(*state, "second");
	struct errmsg err = {""};

	tmpdir_write(target, "x", 1);
	assert_int_equal(chmod(target, 0600), 0);
	assert_int_equal(symlink(target, link_path), 0);
	assert_status(
	    owner_set_file(link_path, OWNER_KEEP, (gid_t)-1, 0666, &err),
	    ST_UNSAFE);
	assert_non_null(strstr(err.text, link_path));
	assert_int_equal(link(target, second), 0);
	assert_status(owner_set_file(second, OWNER_KEEP, (gid_t)-1, 0666, &err),
	    ST_UNSAFE);
	assert_int_equal(mode_of(target), 0600);
}

static void
only_the_directory_s_links_are_resolved(void **state)
{
	char real[4 * PATH_BYTES];

	assert_int_equal(mkdir(tmpdir_path(*state, "d"), 0700), 0);
	assert_int_equal(symlink("d", tmpdir_path(*state, "l")), 0);
	assert_int_equal(symlink("x", tmpdir_path(*state, "d/f")), 0);
	assert_status(
	    owner_real_path(tmpdir_path(*state, "l/f"), real, sizeof(real)),
	    ST_OK);
	assert_string_equal(real + strlen(real) - 4, "/d/f");
	assert_status(owner_real_path("/events.db", real, sizeof(real)), ST_OK);
	assert_string_equal(real, "/events.db");
	assert_status(
	    owner_real_path(tmpdir_path(*state, "none/f"), real, sizeof(real)),
	    ST_NOTFOUND);
	assert_status(owner_real_path("/events.db", real, 10), ST_TOOLARGE);
}

/* ---- root ---------------------------------------------------------------- */

static void
expect_refused(const char *path, const char *says)
{
	struct errmsg err = {""};

	assert_status(owner_check(path, &err), ST_UNSAFE);
	if (strstr(err.text, says) == NULL)
		fail_msg("\"%s\" is not in: %s", says, err.text);
}

static void
root_stays_out_of_what_others_may_change(void **state)
{
	const char *dir = tmpdir_path(*state, "d");
	const char *inner = tmpdir_path(*state, "d/in");
	char path[4 * PATH_BYTES];
	struct errmsg err = {""};

	if (geteuid() != 0)
		skip();
	(void)snprintf(path, sizeof(path), "%s/events.db", inner);
	assert_status(owner_check(path, &err), ST_OK); /* none there yet */
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(chown(dir, STRANGER, 0), 0);
	expect_refused(path, "belongs to the user 12345"); /* before mkdir */
	assert_int_equal(chown(dir, 0, 0), 0);
	assert_int_equal(mkdir(inner, 0755), 0);
	assert_status(owner_check(path, &err), ST_OK);
	assert_int_equal(chown(inner, STRANGER, 0), 0);
	expect_refused(path, "belongs to the user 12345");
	assert_int_equal(chown(inner, 0, STRANGER), 0);
	assert_int_equal(chmod(inner, 02770), 0);
	expect_refused(path, "others may write to");
	assert_int_equal(chmod(inner, 0757), 0);
	expect_refused(path, "others may write to");
	assert_int_equal(chmod(inner, 01777), 0); /* links can be made there */
	expect_refused(path, "others may write to");
	assert_int_equal(chmod(inner, 0755), 0);
	assert_int_equal(chown(dir, STRANGER, 0), 0); /* who can exchange it */
	expect_refused(path, "belongs to the user 12345");
	assert_int_equal(chown(dir, 0, 0), 0);
	assert_int_equal(chmod(dir, 01777), 0); /* as /tmp is */
	assert_status(owner_check(path, &err), ST_OK);
	assert_int_equal(chmod(dir, 0775), 0); /* root's own group */
	assert_status(owner_check(path, &err), ST_OK);
}

static void
others_go_where_their_rights_let_them(void **state)
{
	const char *dir = tmpdir_path(*state, "d");
	char path[4 * PATH_BYTES];
	struct errmsg err = {""};

	(void)snprintf(path, sizeof(path), "%s/events.db", dir);
	assert_int_equal(mkdir(dir, 0777), 0);
	assert_int_equal(chmod(dir, 0777), 0);
	if (geteuid() == 0) {
		assert_int_equal(seteuid(STRANGER), 0);
		assert_status(owner_check(path, &err), ST_OK);
		assert_int_equal(seteuid(0), 0);
	} else {
		assert_status(owner_check(path, &err), ST_OK);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_file_s_mode_is_set_by_descriptor),
	    TEST(links_are_left_alone),
	    TEST(only_the_directory_s_links_are_resolved),
	    TEST(root_stays_out_of_what_others_may_change),
	    TEST(others_go_where_their_rights_let_them),
	};

	return RUN(tests);
}

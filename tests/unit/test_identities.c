/* SPDX-License-Identifier: MIT */
/* Who is at the other end, and that it is kept once. */
#include "identities.h"

#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"
#include "unit.h"

static struct identities set;

static int
setup(void **state)
{
	(void)state;
	identities_init(&set);
	return 0;
}

static struct identity *
get(int64_t uid, const int64_t *gid, size_t n_gids)
{
	const struct identities_peer peer = {uid, gid, n_gids};
	struct identity *id;

	assert_status(identities_get(&set, &peer, &id), ST_OK);
	assert_int_equal(id->uid, uid);
	assert_int_equal(id->n_gids, n_gids);
	if (n_gids > 0)
		assert_memory_equal(id->gid, gid, n_gids * sizeof(gid[0]));
	return id;
}

static void
the_same_user_with_the_same_groups_is_kept_once(void **state)
{
	const int64_t gid[] = {5, 6, 7};
	struct identity *a = get(1, gid, 3), *b = get(1, gid, 3);

	(void)state;
	assert_ptr_equal(a, b);
	assert_int_equal(set.n, 1);
	identities_unref(&set, &a);
	assert_null(a);
	assert_int_equal(set.n, 1);
	identities_unref(&set, &b);
	assert_int_equal(set.n, 0);
	identities_unref(&set, &b);
}

static void
other_groups_make_another_identity(void **state)
{
	const int64_t gid[] = {5, 6, 7}, other[] = {5, 6, 8};
	struct identity *id[] = {get(1, gid, 3), get(1, gid, 2),
	    get(1, NULL, 0), get(1, other, 3), get(2, gid, 3),
	    get(1 + IDENTITIES_BUCKETS, gid, 3), get(-1, NULL, 0)};
	size_t i, j, n = sizeof(id) / sizeof(id[0]);

	(void)state;
	assert_int_equal(set.n, n);
	for (i = 0; i < n; i++)
		for (j = 0; j < i; j++)
			assert_ptr_not_equal(id[i], id[j]);
	for (i = 0; i < n; i++)
		identities_unref(&set, &id[i]);
	assert_int_equal(set.n, 0);
}

static void
the_kernel_says_who_the_peer_is(void **state)
{
	gid_t groups[IDENTITIES_MAX_GIDS];
	struct identity *id;
	int pair[2], i, n = getgroups(IDENTITIES_MAX_GIDS, groups);
	int64_t pid;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_status(identities_look(&set, pair[0], &pid, &id), ST_OK);
	assert_int_equal(pid, getpid());
	assert_int_equal(id->uid, geteuid());
	assert_int_equal(id->n_gids, 0); /* nobody asked for them */
	identities_unref(&set, &id);
	set.with_groups = true;
	assert_status(identities_look(&set, pair[0], &pid, &id), ST_OK);
	assert_int_equal(id->n_gids, 1 + n);
	assert_int_equal(id->gid[0], getegid());
	for (i = 0; i < n; i++)
		assert_int_equal(id->gid[1 + i], groups[i]);
	identities_unref(&set, &id);
	(void)close(pair[0]);
	(void)close(pair[1]);
}

static void
a_peer_that_the_kernel_does_not_know_is_nobody(void **state)
{
	struct identity *id;
	int64_t pid = 7;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	set.with_groups = true;
	assert_status(identities_look(&set, fds[0], &pid, &id), ST_OK);
	assert_int_equal(pid, 0);
	assert_int_equal(id->uid, -1);
	assert_int_equal(id->n_gids, 0);
	identities_unref(&set, &id);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void
without_memory_nothing_is_kept(void **state)
{
	const struct identities_peer peer = {.uid = 1};
	struct identity *id;

	(void)state;
	fault_alloc_at(1);
	assert_status(identities_get(&set, &peer, &id), ST_NOMEM);
	assert_int_equal(set.n, 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
	const struct CMUnitTest tests[] = {
	    TEST(the_same_user_with_the_same_groups_is_kept_once),
	    TEST(other_groups_make_another_identity),
	    TEST(the_kernel_says_who_the_peer_is),
	    TEST(a_peer_that_the_kernel_does_not_know_is_nobody),
	    TEST(without_memory_nothing_is_kept),
	};

	return RUN(tests);
}

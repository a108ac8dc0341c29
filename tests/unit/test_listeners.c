/* SPDX-License-Identifier: MIT */
/* Who connects where, with which codec; the pause; the end. */
#include "listeners.h"

#include <sys/resource.h>
#include <unistd.h>

#include "codec_ndjson.h"
#include "conn.h"
#include "sock.h"
#include "tmpdir.h"
#include "unit.h"

#define SECOND_US 1000000

struct fixture {
	void *tmp;
	char path[2][512];
	struct loop *loop;
	struct conns conns;
	struct listeners set;
	int peer[8];
	size_t n_peers;
};

static const struct codec another = {.name = "another"};

static void
name_path(struct fixture *f, int i, const char *name)
{
	(void)snprintf(f->path[i], sizeof(f->path[i]), "%s",
	    tmpdir_path(f->tmp, name));
}

static int
setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){.n_peers = 0};
	if (tmpdir_setup(&f.tmp) != 0 || loop_new(&f.loop) != ST_OK)
		return -1;
	name_path(&f, 0, "a.sock");
	name_path(&f, 1, "b.sock");
	conns_init(&f.conns, f.loop);
	listeners_init(&f.set, f.loop, &f.conns);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	while (f->n_peers > 0)
		(void)close(f->peer[--f->n_peers]);
	listeners_fini(&f->set);
	conns_fini(&f->conns);
	loop_free(&f->loop);
	return tmpdir_teardown(&f->tmp);
}

static void
listen_on(struct fixture *f, int i, const struct codec *codec)
{
	struct errmsg err = {""};

	assert_status(listeners_add(&f->set, f->path[i], 0600, codec, &err),
	    ST_OK);
}

static void
connect_to(struct fixture *f, int i)
{
	struct errmsg err = {""};

	assert_status(sock_connect_unix(f->path[i], &f->peer[f->n_peers], &err),
	    ST_OK);
	f->n_peers++;
}

static void
turn(struct fixture *f)
{
	assert_status(loop_turn(f->loop, SECOND_US), ST_OK);
}

static const struct codec *
newest_codec(const struct fixture *f)
{
	return TAILQ_LAST(&f->conns.all, conn_list)->codec;
}

static void
a_connection_has_the_codec_of_its_listener(void **state)
{
	struct fixture *f = *state;

	listen_on(f, 0, &codec_ndjson);
	listen_on(f, 1, &another);
	connect_to(f, 1);
	turn(f);
	assert_ptr_equal(newest_codec(f), &another);
	connect_to(f, 0);
	turn(f);
	assert_int_equal(f->conns.n, 2);
	assert_ptr_equal(newest_codec(f), &codec_ndjson);
}

static void
there_is_a_bound_on_listeners(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};

	listen_on(f, 0, &codec_ndjson);
	f->set.n = LISTENERS_MOST;
	assert_status(listeners_add(&f->set, f->path[1], 0600, &another, &err),
	    ST_FULL);
	assert_true(err.text[0] != '\0');
	assert_int_equal(access(f->path[1], F_OK), -1);
	f->set.n = 1;
}

static void
one_that_cannot_listen_leaves_the_others(void **state)
{
	struct fixture *f = *state;
	struct errmsg err = {""};

	listen_on(f, 0, &codec_ndjson);
	assert_status(
	    listeners_add(&f->set, f->path[0], 0600, &codec_ndjson, &err),
	    ST_EXISTS);
	assert_int_equal(f->set.n, 1);
	turn(f); /* the probe of the second one, ... */
	turn(f); /* ... gone again */
	assert_int_equal(f->conns.n, 0);
	connect_to(f, 0);
	turn(f);
	assert_int_equal(f->conns.n, 1);
}

static void
who_has_connected_before_the_end_is_taken(void **state)
{
	struct fixture *f = *state;

	listen_on(f, 0, &codec_ndjson);
	listen_on(f, 1, &another);
	connect_to(f, 0);
	connect_to(f, 1);
	connect_to(f, 1);
	listeners_stop(&f->set);
	assert_int_equal(f->conns.n, 3);
	assert_int_equal(access(f->path[0], F_OK), -1);
	assert_int_equal(access(f->path[1], F_OK), -1);
	listeners_stop(&f->set);
	assert_int_equal(f->conns.n, 3);
}

static void
a_start_that_failed_takes_nobody(void **state)
{
	struct fixture *f = *state;

	listen_on(f, 0, &codec_ndjson);
	connect_to(f, 0);
	listeners_fini(&f->set);
	assert_int_equal(f->conns.n, 0);
	assert_int_equal(access(f->path[0], F_OK), -1);
}

/* No descriptor is left below this one. */
static void
limit_fds(rlim_t n)
{
	struct rlimit r;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
	r.rlim_cur = n;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
}

static void
without_descriptors_it_pauses_and_goes_on(void **state)
{
	struct fixture *f = *state;
	struct rlimit before;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	listen_on(f, 0, &codec_ndjson);
	connect_to(f, 0);
	limit_fds((rlim_t)f->peer[0] + 1);
	turn(f);
	assert_int_equal(f->conns.n, 0);
	assert_int_equal(f->set.list[0].watch.fd, -1);
	assert_int_equal(f->set.n_paused, 1);
	turn(f); /* until the pause is over, not at once */
	limit_fds(before.rlim_cur);
	assert_int_equal(f->conns.n, 0);
	turn(f);
	turn(f);
	assert_int_equal(f->conns.n, 1);
}

static void
one_that_pauses_can_be_stopped(void **state)
{
	struct fixture *f = *state;
	struct rlimit before;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	listen_on(f, 0, &codec_ndjson);
	connect_to(f, 0);
	limit_fds((rlim_t)f->peer[0] + 1);
	turn(f);
	limit_fds(before.rlim_cur);
	listeners_stop(&f->set);
	assert_int_equal(f->conns.n, 1);
	assert_int_equal(f->set.list[0].pause.slot, 0);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_connection_has_the_codec_of_its_listener),
	    TEST(there_is_a_bound_on_listeners),
	    TEST(one_that_cannot_listen_leaves_the_others),
	    TEST(who_has_connected_before_the_end_is_taken),
	    TEST(a_start_that_failed_takes_nobody),
	    TEST(without_descriptors_it_pauses_and_goes_on),
	    TEST(one_that_pauses_can_be_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

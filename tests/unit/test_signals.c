/* SPDX-License-Identifier: MIT */
/* Real signals, sent to this process itself. */
#include "signals.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "unit.h"

static struct loop *loop;
static struct watch watch;
static int n_calls;

static void
on_signal(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	n_calls++;
}

static int
setup(void **state)
{
	(void)state;
	n_calls = 0;
	watch = (struct watch){.fd = -1, .fn = on_signal};
	return loop_new(&loop) == ST_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	signals_unwatch(loop, &watch);
	loop_free(&loop);
	return 0;
}

static void
each_signal_asks_for_what_the_manual_says(void **state)
{
	static const struct {
		int signal;
		enum signals_request asks;
	} rows[] = {{SIGTERM, SIGNALS_END}, {SIGINT, SIGNALS_END},
	    {SIGUSR1, SIGNALS_END}, {SIGHUP, SIGNALS_RELOAD}};
	size_t i;

	(void)state;
	assert_status(signals_watch(loop, &watch), ST_OK);
	assert_int_equal(signals_next(&watch), SIGNALS_NONE);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(raise(rows[i].signal), 0);
		assert_status(loop_turn(loop, 0), ST_OK);
		assert_int_equal(n_calls, (int)i + 1);
		assert_int_equal(signals_next(&watch), rows[i].asks);
		assert_int_equal(signals_next(&watch), SIGNALS_NONE);
	}
}

static void
one_that_comes_before_the_loop_is_not_lost(void **state)
{
	(void)state;
	assert_status(signals_block(), ST_OK);
	assert_int_equal(raise(SIGTERM), 0);
	assert_status(signals_watch(loop, &watch), ST_OK);
	assert_int_equal(signals_next(&watch), SIGNALS_END);
}

static void
other_handler(int signal)
{
	(void)signal;
	abort();
}

static void
a_broken_pipe_is_told_by_write_whatever_a_library_does(void **state)
{
	int fds[2];

	(void)state;
	assert_status(signals_block(), ST_OK);
	(void)signal(SIGPIPE, other_handler); /* as libfcgi does */
	assert_status(signals_watch(loop, &watch), ST_OK);
	assert_int_equal(pipe(fds), 0);
	(void)close(fds[0]);
	assert_int_equal(write(fds[1], "x", 1), -1);
	(void)close(fds[1]);
}

static void
its_descriptor_is_closed_with_it(void **state)
{
	int fd;

	(void)state;
	signals_unwatch(loop, &watch); /* not watched yet: nothing */
	assert_status(signals_watch(loop, &watch), ST_OK);
	fd = watch.fd;
	signals_unwatch(loop, &watch);
	assert_int_equal(watch.fd, -1);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(each_signal_asks_for_what_the_manual_says),
	    T(one_that_comes_before_the_loop_is_not_lost),
	    T(a_broken_pipe_is_told_by_write_whatever_a_library_does),
	    T(its_descriptor_is_closed_with_it),
	};

	return RUN(tests);
}

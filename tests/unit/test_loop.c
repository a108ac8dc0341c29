/* SPDX-License-Identifier: MIT */
/*
 * The loop with real descriptors, and with timers whose due times lie in the
 * past: nothing here sleeps.
 */
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "random.h"
#include "unit.h"

#define N_TIMERS 500

struct end {
	struct watch watch; /* first: the callback casts back */
	struct end *other;
	uint32_t events;
	int n_calls;
};

struct tick {
	struct timer timer; /* first */
	struct tick *other;
	int n_calls;
};

static struct loop *loop;
static struct timer *ran[N_TIMERS];
static size_t n_ran;

static int
setup(void **state)
{
	(void)state;
	n_ran = 0;
	return loop_new(&loop) == ST_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	loop_free(&loop);
	return loop == NULL ? 0 : -1;
}

static void
turn(void)
{
	assert_status(loop_turn(loop, 0), ST_OK);
}

/* ---- timers ------------------------------------------------------------- */

static void
note(struct timer *t, uint64_t now_us)
{
	assert_true(t->due_us <= now_us);
	assert_int_equal(t->slot, 0);
	assert_true(n_ran < N_TIMERS);
	ran[n_ran++] = t;
}

static void
timers_run_in_the_order_they_are_due(void **state)
{
	struct timer a = {.fn = note}, b = {.fn = note}, c = {.fn = note};
	uint64_t now = loop_now_us(loop);

	(void)state;
	assert_status(timer_set(loop, &b, now - 20), ST_OK);
	assert_status(timer_set(loop, &c, now - 10), ST_OK);
	assert_status(timer_set(loop, &a, now - 30), ST_OK);
	turn();
	assert_int_equal(n_ran, 3);
	assert_ptr_equal(ran[0], &a);
	assert_ptr_equal(ran[1], &b);
	assert_ptr_equal(ran[2], &c);
	turn();
	assert_int_equal(n_ran, 3);
}

static void
a_timer_that_is_not_due_waits(void **state)
{
	struct timer t = {.fn = note};

	(void)state;
	assert_status(timer_set(loop, &t, clock_mono_us() + 3600000000u),
	    ST_OK);
	turn();
	assert_int_equal(n_ran, 0);
	timer_cancel(loop, &t);
	assert_int_equal(t.slot, 0);
	timer_cancel(loop, &t);
}

static void
waiting_ends_when_a_timer_is_due(void **state)
{
	struct timer t = {.fn = note};
	uint64_t due = clock_mono_us() + 3000;

	(void)state;
	assert_status(timer_set(loop, &t, due), ST_OK);
	assert_status(loop_turn(loop, LOOP_FOREVER), ST_OK);
	assert_int_equal(n_ran, 1);
	assert_true(loop_now_us(loop) >= due);
}

static void
timers_may_be_moved_both_ways(void **state)
{
	struct timer a = {.fn = note}, b = {.fn = note}, c = {.fn = note};
	uint64_t now = loop_now_us(loop), later = now + 3600000000u;

	(void)state;
	assert_status(timer_set(loop, &a, now - 5), ST_OK);
	assert_status(timer_set(loop, &b, now - 3), ST_OK);
	assert_status(timer_set(loop, &c, later), ST_OK);
	assert_status(timer_set(loop, &a, later), ST_OK);
	assert_status(timer_set(loop, &c, now - 9), ST_OK);
	turn();
	assert_int_equal(n_ran, 2);
	assert_ptr_equal(ran[0], &c);
	assert_ptr_equal(ran[1], &b);
	timer_cancel(loop, &a);
}

/* Sets, moves and cancels at random; what runs is what was set, in order. */
static void
many_timers_keep_their_order(void **state)
{
	static struct timer timers[N_TIMERS];
	uint64_t now = loop_now_us(loop), seed = 11, r;
	size_t i, n_set = 0;
	int round;

	(void)state;
	for (i = 0; i < N_TIMERS; i++)
		timers[i] = (struct timer){.fn = note};
	for (round = 0; round < 20000; round++) {
		r = random_next(&seed);
		i = (r >> 32) % N_TIMERS;
		if (r % 4 == 0)
			timer_cancel(loop, &timers[i]);
		else
			assert_status(
			    timer_set(loop, &timers[i], now - 1 - r % 1000),
			    ST_OK);
	}
	for (i = 0; i < N_TIMERS; i++)
		n_set += timers[i].slot != 0;
	assert_in_range(n_set, 1, N_TIMERS - 1);
	turn();
	assert_int_equal(n_ran, n_set);
	for (i = 1; i < n_ran; i++)
		assert_true(ran[i - 1]->due_us <= ran[i]->due_us);
}

static void
set_again(struct timer *t, uint64_t now_us)
{
	note(t, now_us);
	assert_status(timer_set(loop, t, now_us), ST_OK);
}

static void
a_timer_set_in_its_own_callback_runs_in_the_next_turn(void **state)
{
	struct timer t = {.fn = set_again};

	(void)state;
	assert_status(timer_set(loop, &t, loop_now_us(loop)), ST_OK);
	turn();
	assert_int_equal(n_ran, 1);
	turn();
	assert_int_equal(n_ran, 2);
	timer_cancel(loop, &t);
}

static void
cancel_other(struct timer *t, uint64_t now_us)
{
	struct tick *k = (struct tick *)(void *)t;

	(void)now_us;
	k->n_calls++;
	timer_cancel(loop, &k->other->timer);
}

static void
a_timer_cancelled_in_the_same_turn_does_not_run(void **state)
{
	struct tick a = {.timer.fn = cancel_other};
	struct tick b = {.timer.fn = cancel_other, .other = &a};
	uint64_t now = loop_now_us(loop);

	(void)state;
	a.other = &b;
	assert_status(timer_set(loop, &a.timer, now), ST_OK);
	assert_status(timer_set(loop, &b.timer, now - 1), ST_OK);
	turn();
	assert_int_equal(a.n_calls, 0);
	assert_int_equal(b.n_calls, 1);
}

/* Sets timers of peers until one is refused; how many were not. */
static size_t
fill_with_peers(struct timer *list, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		list[i] = (struct timer){.fn = note, .is_of_peer = true};
		fault_alloc_at(1);
		if (timer_set(loop, &list[i], 0) != ST_OK)
			break;
		assert_false(fault_hit());
	}
	assert_true(fault_hit());
	return i;
}

static void
a_timer_for_which_memory_lacks_is_not_set(void **state)
{
	static struct timer peers[N_TIMERS];
	size_t n = fill_with_peers(peers, N_TIMERS);

	(void)state;
	assert_in_range(n, 1, N_TIMERS - 1);
	assert_int_equal(peers[n].slot, 0);
	/* Moving needs none. */
	fault_alloc_at(1);
	assert_status(timer_set(loop, &peers[0], 1), ST_OK);
	assert_false(fault_hit());
	turn();
	assert_int_equal(n_ran, n);
	assert_status(timer_set(loop, &peers[n], 0), ST_OK);
}

static void
timers_of_the_program_itself_find_room_without_memory(void **state)
{
	static struct timer peers[N_TIMERS], own[LOOP_OWN_TIMERS];
	size_t i;

	(void)state;
	assert_in_range(fill_with_peers(peers, N_TIMERS), 1, N_TIMERS - 1);
	for (i = 0; i < LOOP_OWN_TIMERS; i++) {
		own[i] = (struct timer){.fn = note};
		fault_alloc_at(1);
		assert_status(timer_set(loop, &own[i], 0), ST_OK);
		assert_true(fault_hit());
	}
}

/* ---- watches ------------------------------------------------------------ */

static void
count(struct watch *w, uint32_t events)
{
	struct end *e = (struct end *)(void *)w;

	e->n_calls++;
	e->events = events;
}

/* A pipe with a byte in it; the read end's watch is added. */
static int
add_ready(struct end *e, void (*fn)(struct watch *, uint32_t))
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	e->watch = (struct watch){.fd = fds[0], .fn = fn};
	assert_status(loop_add(loop, &e->watch, EPOLLIN), ST_OK);
	return fds[1];
}

static void
a_ready_descriptor_is_told(void **state)
{
	struct end e = {.n_calls = 0};
	int w = add_ready(&e, count), r = e.watch.fd;

	(void)state;
	turn();
	assert_int_equal(e.n_calls, 1);
	assert_int_equal(e.events, EPOLLIN);
	assert_status(loop_mod(loop, &e.watch, 0), ST_OK);
	turn();
	assert_int_equal(e.n_calls, 1);
	assert_status(loop_mod(loop, &e.watch, EPOLLIN | EPOLLET), ST_OK);
	turn();
	turn();
	assert_int_equal(e.n_calls, 2);
	(void)close(w);
	turn();
	assert_int_equal(e.n_calls, 3);
	assert_true(e.events & EPOLLHUP);
	loop_del(loop, &e.watch);
	assert_int_equal(e.watch.fd, -1);
	loop_del(loop, &e.watch);
	(void)close(r);
}

static void
delete_both(struct watch *w, uint32_t events)
{
	struct end *e = (struct end *)(void *)w;

	(void)events;
	e->n_calls++;
	loop_del(loop, w);
	loop_del(loop, &e->other->watch);
}

static void
a_watch_deleted_in_the_same_turn_is_not_called(void **state)
{
	struct end a = {.n_calls = 0}, b = {.n_calls = 0, .other = &a};
	int wa, wb, ra, rb;

	(void)state;
	a.other = &b;
	wa = add_ready(&a, delete_both);
	ra = a.watch.fd;
	wb = add_ready(&b, delete_both);
	rb = b.watch.fd;
	turn();
	assert_int_equal(a.n_calls + b.n_calls, 1);
	turn();
	assert_int_equal(a.n_calls + b.n_calls, 1);
	(void)close(wa);
	(void)close(wb);
	(void)close(ra);
	(void)close(rb);
}

static void
watches_come_before_timers_in_a_turn(void **state)
{
	struct end e = {.n_calls = 0}, none = {.watch.fd = -1};
	struct tick t = {.timer.fn = cancel_other};
	int w = add_ready(&e, delete_both), r = e.watch.fd;

	(void)state;
	e.other = &none;
	t.other = &t;
	assert_status(timer_set(loop, &t.timer, 0), ST_OK);
	turn();
	assert_int_equal(e.n_calls, 1);
	assert_int_equal(t.n_calls, 1);
	(void)close(w);
	(void)close(r);
}

static void
a_descriptor_that_epoll_refuses_is_an_error(void **state)
{
	struct watch w = {.fn = count};

	(void)state;
	w.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_status(loop_add(loop, &w, EPOLLIN), ST_IO);
	assert_int_equal(errno, EPERM);
	(void)close(w.fd);
	w.fd = 1000000;
	assert_status(loop_add(loop, &w, EPOLLIN), ST_IO);
}

static void
a_loop_for_which_memory_lacks_is_not_made(void **state)
{
	struct loop *l = NULL;

	(void)state;
	fault_alloc_at(1);
	assert_status(loop_new(&l), ST_NOMEM);
	assert_true(fault_hit());
	assert_null(l);
	loop_free(&l);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(timers_run_in_the_order_they_are_due),
	    T(a_timer_that_is_not_due_waits),
	    T(waiting_ends_when_a_timer_is_due),
	    T(timers_may_be_moved_both_ways),
	    T(many_timers_keep_their_order),
	    T(a_timer_set_in_its_own_callback_runs_in_the_next_turn),
	    T(a_timer_cancelled_in_the_same_turn_does_not_run),
	    T(a_timer_for_which_memory_lacks_is_not_set),
	    T(timers_of_the_program_itself_find_room_without_memory),
	    T(a_ready_descriptor_is_told),
	    T(a_watch_deleted_in_the_same_turn_is_not_called),
	    T(watches_come_before_timers_in_a_turn),
	    T(a_descriptor_that_epoll_refuses_is_an_error),
	    T(a_loop_for_which_memory_lacks_is_not_made),
	};

	return RUN(tests);
}

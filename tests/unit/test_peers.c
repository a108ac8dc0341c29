/* SPDX-License-Identifier: MIT */
/* Whose connection has to go, when something is short. */
#include "peers.h"

#include "unit.h"

#define N 8

struct fixture {
	struct peers ps;
	struct peer_place at[N];
	size_t owed[N];
};

static int
setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){.owed = {0}};
	peers_init(&f.ps);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	int i;

	for (i = 0; i < N; i++)
		peers_leave(&f->ps, &f->at[i]);
	assert_int_equal(f->ps.n, 0);
	assert_int_equal(f->ps.partial_bytes, 0);
	return 0;
}

static void
join(struct fixture *f, int i, int64_t uid, uint64_t now_us)
{
	assert_status(peers_join(&f->ps, &f->at[i], uid, &f->owed[i], now_us),
	    ST_OK);
}

static void
the_user_with_most_unfinished_bytes_pays_with_its_oldest(void **state)
{
	struct fixture *f = *state;

	join(f, 0, 1, 0);
	join(f, 1, 2, 0);
	join(f, 2, 2, 0);
	assert_null(peers_unfinished(&f->ps));
	peers_partial(&f->ps, &f->at[0], 100, 1);
	peers_partial(&f->ps, &f->at[1], 60, 2);
	peers_partial(&f->ps, &f->at[2], 60, 3);
	peers_partial(&f->ps, &f->at[1], 61, 4); /* a drip: as old as it was */
	assert_int_equal(f->ps.partial_bytes, 221);
	assert_ptr_equal(peers_unfinished(&f->ps), &f->at[1]);
	peers_partial(&f->ps, &f->at[1], 0, 5);
	assert_ptr_equal(peers_unfinished(&f->ps), &f->at[0]);
	peers_leave(&f->ps, &f->at[0]);
	assert_ptr_equal(peers_unfinished(&f->ps), &f->at[2]);
}

static void
who_has_published_is_spared_last(void **state)
{
	struct fixture *f = *state;
	const uint64_t later = 10000000;

	join(f, 0, 1, 0);
	join(f, 1, 1, 0);
	join(f, 2, 1, 0);
	peers_stand(&f->at[0], PEER_KNOWN);
	peers_stand(&f->at[0], PEER_WATCHES);
	peers_stand(&f->at[1], PEER_WATCHES);
	join(f, 3, 9, 0);
	peers_stand(&f->at[3], PEER_KNOWN);
	assert_ptr_equal(peers_spare(&f->ps, &f->at[3], later), &f->at[2]);
	assert_ptr_equal(peers_spare(&f->ps, &f->at[2], later), &f->at[1]);
	peers_leave(&f->ps, &f->at[1]);
	peers_leave(&f->ps, &f->at[2]);
	assert_ptr_equal(peers_spare(&f->ps, &f->at[3], later), &f->at[0]);
}

static void
when_all_are_busy_who_has_most_gives_one_and_gets_none(void **state)
{
	struct fixture *f = *state;
	int i;

	for (i = 0; i < 3; i++) {
		join(f, i, i == 0 ? 1 : 2, 0);
		peers_stand(&f->at[i], PEER_KNOWN);
		peers_heard(&f->at[i], 10);
	}
	join(f, 3, 3, 10);
	join(f, 4, 2, 10);
	f->owed[1] = 1;
	assert_ptr_equal(peers_spare(&f->ps, &f->at[3], 10), &f->at[4]);
	peers_stand(&f->at[4], PEER_KNOWN);
	peers_heard(&f->at[4], 11);
	assert_ptr_equal(peers_spare(&f->ps, &f->at[3], 11), &f->at[2]);
	f->owed[2] = f->owed[4] = 1;
	assert_ptr_equal(peers_spare(&f->ps, &f->at[3], 11), &f->at[1]);
	f->owed[3] = 1; /* and that one is busy, too */
	join(f, 5, 2, 11);
	assert_ptr_equal(peers_spare(&f->ps, &f->at[5], 11), &f->at[5]);
}

static void
the_user_with_most_connections_pays_with_the_longest_silent(void **state)
{
	struct fixture *f = *state;

	join(f, 0, 1, 0);
	join(f, 1, 2, 0);
	join(f, 2, 2, 0);
	join(f, 3, 3, 0);
	assert_ptr_equal(peers_spare(&f->ps, &f->at[3], 1), &f->at[1]);
	peers_heard(&f->at[1], 1);
	assert_ptr_equal(peers_spare(&f->ps, &f->at[3], 1), &f->at[2]);
}

static void
silence_ends_who_has_not_published_and_a_line_anybody(void **state)
{
	struct fixture *f = *state;

	join(f, 0, 1, 0);
	join(f, 1, 1, 0);
	join(f, 2, 1, 5);
	peers_stand(&f->at[0], PEER_KNOWN);
	peers_stand(&f->at[1], PEER_WATCHES);
	assert_null(peers_idle(&f->ps, 15, 10));
	assert_ptr_equal(peers_idle(&f->ps, 16, 10), &f->at[2]);
	peers_heard(&f->at[2], 16);
	peers_partial(&f->ps, &f->at[0], 1, 20);
	peers_heard(&f->at[0], 25);
	peers_partial(&f->ps, &f->at[0], 2, 25);
	peers_heard(&f->at[2], 25);
	assert_ptr_equal(peers_idle(&f->ps, 31, 10), &f->at[0]);
}

/* Nobody can fill pubd with connections that only listen. */
static void
a_user_has_few_connections_that_only_listen(void **state)
{
	struct fixture *f = *state;
	int i;

	for (i = 0; i < 4; i++)
		join(f, i, 1, 0);
	join(f, 4, 2, 0);
	assert_status(peers_listen(&f->at[0], 2), ST_OK);
	assert_status(peers_listen(&f->at[1], 2), ST_OK);
	assert_status(peers_listen(&f->at[2], 2), ST_FULL);
	assert_status(peers_listen(&f->at[0], 2), ST_OK); /* it does already */
	assert_status(peers_listen(&f->at[4], 2), ST_OK); /* another user */
	peers_leave(&f->ps, &f->at[3]);                   /* did not listen */
	assert_status(peers_listen(&f->at[2], 2), ST_FULL);
	peers_leave(&f->ps, &f->at[0]);
	assert_status(peers_listen(&f->at[2], 2), ST_OK);
}

/* Whose turn it is; it does work of this cost and has more. */
static int
turn(struct fixture *f, int64_t cost)
{
	struct peer_place *at = peers_next(&f->ps);

	assert_non_null(at);
	peers_charge(at, cost);
	if (at->credit <= 0)
		peers_rotate(at);
	return (int)(at - f->at);
}

static void
users_take_turns_and_then_their_connections(void **state)
{
	struct fixture *f = *state;
	int64_t work[N] = {0};
	int i;

	join(f, 0, 1, 0);
	for (i = 1; i < 4; i++)
		join(f, i, 2, 0);
	assert_null(peers_next(&f->ps));
	for (i = 0; i < 4; i++)
		peers_queue(&f->ps, &f->at[i]);
	/* One of them has dear lines: that makes it no more work. */
	for (i = 0; i < 4000; i++) {
		int who = turn(f, 0), cost = who == 2 ? 640 : 64;

		peers_charge(&f->at[who], cost);
		peers_rotate(&f->at[who]);
		work[who] += cost;
	}
	assert_in_range(100 * work[0] / (work[1] + work[2] + work[3]), 90, 110);
	for (i = 1; i < 4; i++)
		assert_in_range(300 * work[i] / (work[1] + work[2] + work[3]),
		    85, 115);
	peers_unqueue(&f->ps, &f->at[0]);
	assert_int_not_equal(turn(f, 1), 0);
}

static void
who_just_began_comes_before_who_always_has_lines(void **state)
{
	struct fixture *f = *state;
	int i;

	for (i = 0; i < 4; i++)
		join(f, i, 1, 0);
	for (i = 0; i < 3; i++)
		peers_queue(&f->ps, &f->at[i]);
	for (i = 0; i < 3; i++)
		assert_int_equal(turn(f, 64), i);
	peers_queue(&f->ps, &f->at[3]);
	assert_int_equal(turn(f, 64), 3);
	assert_int_equal(turn(f, 64), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	    T(the_user_with_most_unfinished_bytes_pays_with_its_oldest),
	    T(who_has_published_is_spared_last),
	    T(the_user_with_most_connections_pays_with_the_longest_silent),
	    T(when_all_are_busy_who_has_most_gives_one_and_gets_none),
	    T(users_take_turns_and_then_their_connections),
	    T(who_just_began_comes_before_who_always_has_lines),
	    T(silence_ends_who_has_not_published_and_a_line_anybody),
	    T(a_user_has_few_connections_that_only_listen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

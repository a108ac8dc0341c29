/* SPDX-License-Identifier: MIT */
/* Who is told of which head, and when it was; who may report as whom. */
#include "watchers.h"

#include <sys/socket.h>
#include <unistd.h>

#include "codec_ndjson.h"
#include "conn.h"
#include "unit.h"

#define N 150

struct fixture {
	struct loop *loop;
	struct conns set;
	struct watchers ws;
	struct conn *c[N]; /* connections with ... */
	int peer[N];       /* ... these at their other ends */
};

static enum status
no_line(void *arg, struct conn *c, struct span line)
{
	(void)arg, (void)c, (void)line;
	return ST_OK;
}

static int
setup(void **state)
{
	static struct fixture f;
	int i, pair[2];

	if (loop_new(&f.loop) != ST_OK)
		return -1;
	conns_init(&f.set, f.loop);
	f.set.line = no_line;
	watchers_init(&f.ws);
	for (i = 0; i < N; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) <
			0 ||
		    conns_take_fd(&f.set, pair[0], &codec_ndjson) != ST_OK)
			return -1;
		f.peer[i] = pair[1];
		f.c[i] = TAILQ_LAST(&f.set.all, conn_list);
	}
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	int i;

	for (i = 0; i < N; i++) {
		watchers_drop(&f->ws, f->c[i]);
		(void)close(f->peer[i]);
	}
	conns_fini(&f->set);
	loop_free(&f->loop);
	return 0;
}

static void
wish(struct fixture *f, int i, int64_t head, struct watchers_wish wish)
{
	const struct watchers_news news = {.head = head, .opening = 1};

	assert_status(watchers_add(&f->ws, f->c[i], &news, wish), ST_OK);
}

static void
watch(struct fixture *f, int i, int64_t head, bool timing)
{
	wish(f, i, head,
	    (struct watchers_wish){.wake = true, .timing = timing});
}

static void
ring(struct fixture *f, int64_t head, uint64_t at_us)
{
	const struct watchers_news news = {.head = head,
	    .opening = 1,
	    .at_us = at_us};

	watchers_ring(&f->ws, &news);
}

/* What the connection has been told since the last time. */
static void
assert_told(struct fixture *f, int i, const char *lines)
{
	struct buf *out = conn_out(f->c[i]);

	assert_span(buf_span(out), span_str(lines));
	f->set.out_bytes -= out->len;
	buf_consume(out, out->len);
}

static void
a_head_is_told_once(void **state)
{
	struct fixture *f = *state;

	watch(f, 0, 5, false);
	ring(f, 5, 100);
	assert_told(f, 0, "");
	ring(f, 6, 200);
	ring(f, 6, 300);
	assert_told(f, 0, "{\"head\":6}\n");
}

static void
only_who_asked_is_told_the_time(void **state)
{
	struct fixture *f = *state;

	watch(f, 0, 5, false);
	watch(f, 1, 5, true);
	ring(f, 6, 200);
	assert_told(f, 0, "{\"head\":6}\n");
	assert_told(f, 1, "{\"head\":6,\"at_us\":200}\n");
	ring(f, 7, 300);
	assert_told(f, 1, "{\"head\":7,\"at_us\":300}\n");
}

/* How many have been told something since the last time. */
static int
n_told(struct fixture *f)
{
	int i, n = 0;

	for (i = 0; i < N; i++) {
		struct buf *out = conn_out(f->c[i]);

		n += out->len > 0;
		f->set.out_bytes -= out->len;
		buf_consume(out, out->len);
	}
	return n;
}

static void
many_are_told_by_and_by_and_who_reports_at_once(void **state)
{
	struct fixture *f = *state;
	const struct watchers_news six = {.head = 6, .opening = 1};
	const struct watchers_news seven = {.head = 7, .opening = 1};
	int i;

	for (i = 0; i < N; i++)
		watch(f, i, 5, true);
	assert_status(watchers_report(&f->ws, f->c[N - 1], SPAN("worker-1"), 1),
	    ST_OK);
	assert_true(watchers_ring(&f->ws, &six));
	assert_told(f, N - 1, "{\"head\":6}\n");
	assert_int_equal(n_told(f), 64);
	/* Who waits hears of the newest; of which commit since is unknown. */
	ring(f, 7, 700);
	assert_told(f, N - 1, "{\"head\":7,\"at_us\":700}\n");
	assert_told(f, 64, "{\"head\":7}\n");
	assert_int_equal(n_told(f), 63);
	assert_true(watchers_ring(&f->ws, &seven));
	assert_int_equal(n_told(f), N - 1 - 128);
	/* And those who were told of the one before. */
	watchers_drop(&f->ws, f->c[0]);
	assert_false(watchers_ring(&f->ws, &seven));
	assert_int_equal(n_told(f), 63);
	assert_false(watchers_ring(&f->ws, &seven));
	assert_int_equal(n_told(f), 0);
}

static void
a_time_that_is_not_known_is_not_told(void **state)
{
	struct fixture *f = *state;

	watch(f, 0, 5, true);
	ring(f, 6, 0);
	assert_told(f, 0, "{\"head\":6}\n");
}

/* Its socket is full: one line stands for several commits. */
static void
of_several_commits_the_time_of_the_oldest_is_told(void **state)
{
	struct fixture *f = *state;

	watch(f, 0, 5, true);
	f->c[0]->events |= EPOLLOUT;
	ring(f, 6, 200);
	ring(f, 7, 300);
	assert_told(f, 0, "");
	f->c[0]->events &= ~(uint32_t)EPOLLOUT;
	ring(f, 8, 400);
	assert_told(f, 0, "{\"head\":8,\"at_us\":200}\n");
	ring(f, 9, 500);
	assert_told(f, 0, "{\"head\":9,\"at_us\":500}\n");

	f->c[0]->events |= EPOLLOUT;
	ring(f, 10, 0); /* by SQL, nobody knows when */
	ring(f, 11, 600);
	f->c[0]->events &= ~(uint32_t)EPOLLOUT;
	ring(f, 11, 600);
	assert_told(f, 0, "{\"head\":11}\n");
}

static void
another_log_is_told_although_its_head_is_the_same(void **state)
{
	struct fixture *f = *state;
	const struct watchers_news other = {.head = 5, .opening = 2};

	watch(f, 0, 5, false);
	watchers_ring(&f->ws, &other);
	assert_told(f, 0, "{\"head\":5}\n");
}

static void
who_only_reports_is_never_told(void **state)
{
	const struct watchers_wish none = {.wake = false};
	struct fixture *f = *state;

	wish(f, 0, 5, none);
	watch(f, 1, 5, false);
	assert_int_equal(f->ws.n, 1);
	ring(f, 6, 200);
	assert_told(f, 0, "");
	assert_told(f, 1, "{\"head\":6}\n");
	assert_status(watchers_report(&f->ws, f->c[0], SPAN("a"), 1), ST_OK);
	/* It may think better of it, and back. */
	watch(f, 0, 6, false);
	watch(f, 0, 6, true);
	assert_int_equal(f->ws.n, 2);
	ring(f, 7, 300);
	assert_told(f, 0, "{\"head\":7,\"at_us\":300}\n");
	wish(f, 0, 7, none);
	assert_int_equal(f->ws.n, 1);
	ring(f, 8, 400);
	assert_told(f, 0, "");
	watchers_drop(&f->ws, f->c[0]);
	assert_int_equal(f->ws.n, 1);
	watchers_drop(&f->ws, f->c[1]);
	assert_int_equal(f->ws.n, 0);
}

static void
who_does_not_watch_cannot_report(void **state)
{
	struct fixture *f = *state;

	assert_status(watchers_report(&f->ws, f->c[0], SPAN("a"), 1),
	    ST_INVALID);
	assert_null(watchers_last_name(&f->ws, f->c[0]).p);
	watch(f, 0, 5, false);
	assert_null(watchers_last_name(&f->ws, f->c[0]).p);
	assert_status(watchers_report(&f->ws, f->c[0], SPAN("a"), 1), ST_OK);
	assert_span(watchers_last_name(&f->ws, f->c[0]), SPAN("a"));
}

static void
a_connection_reports_under_one_name(void **state)
{
	struct fixture *f = *state;

	watch(f, 0, 5, false);
	assert_status(watchers_report(&f->ws, f->c[0], SPAN("a"), 1), ST_OK);
	assert_status(watchers_report(&f->ws, f->c[0], SPAN("b"), 2),
	    ST_INVALID);
	assert_status(watchers_report(&f->ws, f->c[0], SPAN("a"), 3), ST_OK);
}

static void
a_name_belongs_to_one_process(void **state)
{
	struct fixture *f = *state;

	watch(f, 0, 5, false);
	watch(f, 1, 5, false);
	watch(f, 2, 5, false);
	f->c[0]->peer_pid = f->c[1]->peer_pid = 7;
	f->c[2]->peer_pid = 8;
	assert_status(watchers_report(&f->ws, f->c[0], SPAN("a"), 1), ST_OK);
	assert_status(watchers_report(&f->ws, f->c[2], SPAN("a"), 1),
	    ST_EXISTS);
	/* The process has a new connection; the end of the old one follows. */
	assert_status(watchers_report(&f->ws, f->c[1], SPAN("a"), 1), ST_OK);
	assert_null(watchers_last_name(&f->ws, f->c[0]).p);
	watchers_drop(&f->ws, f->c[0]);
	assert_span(watchers_last_name(&f->ws, f->c[1]), SPAN("a"));
}

static void
reports_have_a_rate(void **state)
{
	struct fixture *f = *state;
	enum status st = ST_OK;
	int n = 0;

	watch(f, 0, 5, false);
	while (st == ST_OK && n < 1000) {
		st = watchers_report(&f->ws, f->c[0], SPAN("a"), 5000000);
		n++;
	}
	assert_status(st, ST_FULL);
	assert_in_range(n, 3, 100);
	assert_status(watchers_report(&f->ws, f->c[0], SPAN("a"), 6000000),
	    ST_OK);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    T(a_head_is_told_once),
	    T(only_who_asked_is_told_the_time),
	    T(many_are_told_by_and_by_and_who_reports_at_once),
	    T(a_time_that_is_not_known_is_not_told),
	    T(of_several_commits_the_time_of_the_oldest_is_told),
	    T(another_log_is_told_although_its_head_is_the_same),
	    T(who_only_reports_is_never_told),
	    T(who_does_not_watch_cannot_report),
	    T(a_connection_reports_under_one_name),
	    T(a_name_belongs_to_one_process),
	    T(reports_have_a_rate),
	};

	return RUN(tests);
}

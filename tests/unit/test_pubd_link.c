/* SPDX-License-Identifier: MIT */
/* The watch connection, with a socket that stands in for pubd's. */
#include "pubd_link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"
#include "log.h"
#include "sock.h"
#include "tmpdir.h"
#include "unit.h"

#define WATCH   "{\"op\":\"watch\",\"role\":\"worker\"}\n"
#define NO_WAKE "{\"op\":\"watch\",\"role\":\"metrics\",\"wake\":false}\n"
#define PLAIN   "{\"op\":\"watch\"}\n"
#define FORBIDDEN                                                              \
	"{\"ok\":false,\"error\":\"forbidden\",\"message\":\"uid 33 may "      \
	"not\"}\n"
#define TIMED "{\"op\":\"watch\",\"role\":\"worker\",\"timing\":true}\n"

struct fixture {
	char *tmp;
	char path[PATH_BYTES];
	struct loop *loop;
	struct pubd_link *link;
	int listener, pubd; /* pubd's end; -1: none */
	char got[65536];
	size_t len;
	/* what the link has told */
	int n_woken, n_tracing;
	int64_t head, at_us;
	bool dated, tracing;
};

static void
listen_as_pubd(struct fixture *f)
{
	struct errmsg err = {""};

	if (sock_listen_unix(f->path, 0600, &f->listener, &err) != ST_OK)
		fail_msg("%s", err.text);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	void *tmp = NULL;

	if (f == NULL || tmpdir_setup(&tmp) != 0 || loop_new(&f->loop) != ST_OK)
		return -1;
	log_init("test", LOG_TEXT, LOG_ERROR_);
	f->tmp = tmp;
	(void)snprintf(f->path, sizeof(f->path), "%s",
	    tmpdir_path(f->tmp, "sock"));
	f->pubd = f->listener = -1;
	*state = f;
	return 0;
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	void *tmp = f->tmp;

	pubd_link_free(&f->link);
	loop_free(&f->loop);
	close_fd(&f->pubd);
	close_fd(&f->listener);
	free(f);
	return tmpdir_teardown(&tmp);
}

static void
on_woken(void *arg, int64_t head, const int64_t *at_us)
{
	struct fixture *f = arg;

	f->n_woken++;
	f->head = head;
	f->dated = at_us != NULL;
	f->at_us = at_us == NULL ? 0 : *at_us;
}

static void
on_tracing(void *arg, bool on)
{
	struct fixture *f = arg;

	f->n_tracing++;
	f->tracing = on;
}

static void
start(struct fixture *f, bool timing)
{
	struct pubd_link_options o = {
	    .socket = f->path,
	    .role = "worker",
	    .timing = timing,
	    .woken = on_woken,
	    .tracing = on_tracing,
	    .arg = f,
	};

	assert_status(pubd_link_new(&f->link, f->loop, &o), ST_OK);
}

static void
accept_it(struct fixture *f)
{
	assert_status(sock_accept(f->listener, &f->pubd), ST_OK);
}

/* What has come to pubd. */
static struct span
received(struct fixture *f)
{
	size_t n;

	while (sock_read(f->pubd, f->got + f->len, sizeof(f->got) - f->len,
		   &n) == ST_OK)
		f->len += n;
	return span_of(f->got, f->len);
}

static void
say(struct fixture *f, const char *text)
{
	size_t n;

	assert_status(sock_write(f->pubd, span_str(text), &n), ST_OK);
	assert_int_equal(n, strlen(text));
	assert_status(loop_turn(f->loop, 0), ST_OK);
}

static void
it_watches_and_asks_for_times_when_told_to(void **state)
{
	struct fixture *f = *state;

	listen_as_pubd(f);
	start(f, false);
	accept_it(f);
	assert_true(pubd_link_connected(f->link));
	assert_span(received(f), SPAN(WATCH));
	pubd_link_free(&f->link);
	close_fd(&f->pubd);
	f->len = 0;
	start(f, true);
	accept_it(f);
	assert_span(received(f), SPAN(TIMED));
}

static void
it_rings_with_the_time_when_pubd_says_it(void **state)
{
	struct fixture *f = *state;

	listen_as_pubd(f);
	start(f, true);
	accept_it(f);
	say(f, "{\"ok\":true,\"head\":46}\n");
	assert_int_equal(f->n_woken, 1);
	assert_int_equal(f->head, 46);
	assert_false(f->dated);
	say(f, "{\"head\":47,\"at_us\":123456}\n");
	assert_int_equal(f->head, 47);
	assert_true(f->dated);
	assert_int_equal(f->at_us, 123456);
	say(f, "{\"head\":48,\"at_us\":-5}\n");
	assert_int_equal(f->head, 48);
	assert_false(f->dated);
	say(f, "{\"ok\":true}\nnot JSON\n[]\n\n{\"head\":\"49\"}\n{\"hea");
	assert_int_equal(f->n_woken, 3);
	say(f, "d\":50}\n");
	assert_int_equal(f->head, 50);
	assert_int_equal(f->n_tracing, 0);
}

static void
without_a_ring_it_asks_not_to_be_woken(void **state)
{
	struct fixture *f = *state;
	const struct pubd_link_options o = {.socket = f->path,
	    .role = "metrics"};

	listen_as_pubd(f);
	assert_status(pubd_link_new(&f->link, f->loop, &o), ST_OK);
	accept_it(f);
	assert_span(received(f), SPAN(NO_WAKE));
	say(f, "{\"ok\":true,\"head\":46}\n{\"head\":47,\"at_us\":5}\n");
	assert_true(pubd_link_connected(f->link));
	assert_true(pubd_link_send(f->link, SPAN("{}")));
	assert_span(received(f), SPAN(NO_WAKE "{}\n"));
}

static void
tracing_lasts_until_pubd_is_gone(void **state)
{
	struct fixture *f = *state;

	listen_as_pubd(f);
	start(f, true);
	accept_it(f);
	say(f, "{\"ok\":true,\"head\":46,\"trace\":true}\n");
	assert_true(f->tracing);
	say(f, "{\"head\":47}\n");
	assert_true(f->tracing);
	close_fd(&f->pubd);
	assert_status(loop_turn(f->loop, 0), ST_OK);
	assert_false(f->tracing);
	assert_int_equal(f->n_tracing, 2);
	assert_false(pubd_link_connected(f->link));
}

/* Its metrics are missing then, its events are not late. */
static void
who_may_not_watch_as_a_worker_listens_as_anybody_may(void **state)
{
	struct fixture *f = *state;

	listen_as_pubd(f);
	start(f, true);
	accept_it(f);
	assert_true(pubd_link_send(f->link, SPAN("{}")));
	say(f, FORBIDDEN FORBIDDEN);
	assert_span(received(f), SPAN(TIMED "{}\n" PLAIN));
	assert_false(pubd_link_send(f->link, SPAN("{}")));
	say(f, "{\"ok\":true,\"head\":46}\n{\"head\":47}\n");
	assert_int_equal(f->n_woken, 2);
	assert_int_equal(f->head, 47);
	assert_false(pubd_link_send(f->link, SPAN("{}")));
	assert_true(pubd_link_connected(f->link));
	/* Another pubd may think otherwise. */
	close_fd(&f->pubd);
	assert_status(loop_turn(f->loop, 0), ST_OK);
	while (!pubd_link_connected(f->link))
		assert_status(loop_turn(f->loop, 1000000), ST_OK);
	accept_it(f);
	f->len = 0;
	assert_span(received(f), SPAN(TIMED));
	say(f, "{\"ok\":true,\"head\":48}\n");
	assert_true(pubd_link_send(f->link, SPAN("{}")));
	assert_span(received(f), SPAN(TIMED "{}\n"));
}

static void
who_only_reports_and_may_not_stays_silent(void **state)
{
	struct fixture *f = *state;
	const struct pubd_link_options o = {.socket = f->path,
	    .role = "metrics"};

	listen_as_pubd(f);
	assert_status(pubd_link_new(&f->link, f->loop, &o), ST_OK);
	accept_it(f);
	say(f, FORBIDDEN);
	assert_false(pubd_link_send(f->link, SPAN("{}")));
	assert_span(received(f), SPAN(NO_WAKE));
	assert_true(pubd_link_connected(f->link));
}

static void
a_report_without_pubd_is_dropped_and_told(void **state)
{
	struct fixture *f = *state;

	start(f, true);
	assert_false(pubd_link_send(f->link, SPAN("{}")));
	pubd_link_send_last(f->link, SPAN("{}"), 10);
	assert_false(pubd_link_connected(f->link));
}

static void
reports_wait_while_pubd_does_not_read_but_not_without_bound(void **state)
{
	struct fixture *f = *state;
	static char line[8000];
	int n = 0, seen = 0;
	size_t i;

	memset(line, 'x', sizeof(line));
	listen_as_pubd(f);
	start(f, false);
	accept_it(f);
	while (
	    n < 10000 && pubd_link_send(f->link, span_of(line, sizeof(line))))
		n++;
	assert_true(n < 10000);
	assert_false(pubd_link_send(f->link, span_of(line, sizeof(line))));
	/* What was taken comes, whole. */
	for (i = 0; i < 10000 && seen < n; i++) {
		struct span got;

		f->len = 0;
		got = received(f);
		while (got.len > 0) {
			seen += got.p[0] == '\n';
			got = span_skip(got, 1);
		}
		if (pubd_link_send(f->link, SPAN("y")))
			n++;
	}
	assert_in_range(seen, n, n + 1); /* the watch is one more */
}

/* The other side, in a process of its own. */
static pid_t
fork_pubd(struct fixture *f, size_t *n_expected)
{
	pid_t pid = fork();
	char scratch[4096];
	size_t n = 0;
	ssize_t got;
	int fd = -1;

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	while (sock_accept(f->listener, &fd) != ST_OK)
		(void)usleep(1000);
	do {
		got = read(fd, scratch, sizeof(scratch));
		n += got > 0 ? (size_t)got : 0;
	} while (got > 0 || (got < 0 && (usleep(1000) | 1)));
	_exit(n == *n_expected ? 0 : 1);
}

static void
the_last_report_is_seen_off(void **state)
{
	struct fixture *f = *state;
	static char line[60000];
	size_t n = strlen(WATCH) + 1000 * 61 + sizeof(line) + 1;
	int i, wstatus;
	pid_t pid;

	memset(line, 'x', sizeof(line));
	listen_as_pubd(f);
	pid = fork_pubd(f, &n);
	start(f, false);
	for (i = 0; i < 1000; i++)
		assert_true(pubd_link_send(f->link, span_of(line, 60)));
	pubd_link_send_last(f->link, span_of(line, sizeof(line)), 20000);
	assert_false(pubd_link_connected(f->link)); /* it has hung up */
	assert_int_equal(waitpid(pid, &wstatus, 0), pid);
	assert_true(WIFEXITED(wstatus));
	assert_int_equal(WEXITSTATUS(wstatus), 0);
}

static void
the_last_report_finds_a_pubd_that_has_come_back(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	assert_false(pubd_link_connected(f->link));
	listen_as_pubd(f);
	pubd_link_send_last(f->link, SPAN("last"), 1);
	accept_it(f);
	assert_span(received(f), SPAN(WATCH "last\n"));
}

static void
a_pubd_that_hangs_does_not_keep_it(void **state)
{
	struct fixture *f = *state;
	static char line[8000];

	listen_as_pubd(f);
	start(f, false);
	accept_it(f);
	while (pubd_link_send(f->link, span_of(line, sizeof(line))))
		;
	pubd_link_send_last(f->link, SPAN("last"), 5);
	assert_true(pubd_link_connected(f->link)); /* it gave up, and ended */
}

static void
making_one_fails_cleanly_without_memory(void **state)
{
	struct fixture *f = *state;
	struct pubd_link_options o = {.socket = f->path,
	    .role = "worker",
	    .woken = on_woken};

	fault_alloc_at(1);
	assert_status(pubd_link_new(&f->link, f->loop, &o), ST_NOMEM);
	assert_true(fault_hit());
	assert_null(f->link);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(it_watches_and_asks_for_times_when_told_to),
	    TEST(it_rings_with_the_time_when_pubd_says_it),
	    TEST(without_a_ring_it_asks_not_to_be_woken),
	    TEST(tracing_lasts_until_pubd_is_gone),
	    TEST(who_may_not_watch_as_a_worker_listens_as_anybody_may),
	    TEST(who_only_reports_and_may_not_stays_silent),
	    TEST(a_report_without_pubd_is_dropped_and_told),
	    TEST(reports_wait_while_pubd_does_not_read_but_not_without_bound),
	    TEST(the_last_report_is_seen_off),
	    TEST(the_last_report_finds_a_pubd_that_has_come_back),
	    TEST(a_pubd_that_hangs_does_not_keep_it),
	    TEST(making_one_fails_cleanly_without_memory),
	};

	return RUN(tests);
}

/* SPDX-License-Identifier: MIT */
#include "sock_client.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "fault.h"
#include "sock.h"
#include "tmpdir.h"
#include "unit.h"

#define MAX_OUT 16
#define MAX_IN  64

struct pair {
	struct sock_client client;
	int listener, server;
};

static void
connect_pair(struct pair *p, void **state)
{
	char path[PATH_BYTES];
	struct errmsg err = {""};

	(void)snprintf(path, sizeof(path), "%s", tmpdir_path(*state, "s"));
	if (sock_listen_unix(path, 0600, &p->listener, &err) != ST_OK ||
	    sock_client_open(&p->client, path, MAX_OUT, MAX_IN, &err) != ST_OK)
		fail_msg("%s", err.text);
	assert_status(sock_accept(p->listener, &p->server), ST_OK);
}

static void
close_pair(struct pair *p)
{
	sock_client_close(&p->client);
	sock_client_close(&p->client);
	assert_int_equal(p->client.fd, -1);
	(void)close(p->server);
	(void)close(p->listener);
}

static void
server_says(struct pair *p, struct span text)
{
	size_t n;

	assert_status(sock_write(p->server, text, &n), ST_OK);
	assert_int_equal(n, text.len);
}

static void
lines_go_both_ways(void **state)
{
	struct pair p;
	struct span line;
	char got[32];
	size_t n;

	connect_pair(&p, state);
	assert_status(sock_client_put(&p.client, SPAN("a")), ST_OK);
	assert_status(sock_client_put(&p.client, SPAN("")), ST_OK);
	assert_status(sock_client_flush(&p.client), ST_OK);
	assert_status(sock_read(p.server, got, sizeof(got), &n), ST_OK);
	assert_span(span_of(got, n), SPAN("a\n\n"));
	assert_status(sock_client_receive(&p.client), ST_AGAIN);
	server_says(&p, SPAN("one\ntwo\nth"));
	assert_status(sock_client_receive(&p.client), ST_OK);
	assert_status(sock_client_line(&p.client, &line), ST_OK);
	assert_span(line, SPAN("one"));
	server_says(&p, SPAN("ree\n"));
	assert_status(sock_client_receive(&p.client), ST_OK);
	assert_status(sock_client_line(&p.client, &line), ST_OK);
	assert_span(line, SPAN("two"));
	assert_status(sock_client_line(&p.client, &line), ST_OK);
	assert_span(line, SPAN("three"));
	assert_status(sock_client_line(&p.client, &line), ST_AGAIN);
	close_pair(&p);
}

static void
a_line_that_has_no_room_leaves_those_before(void **state)
{
	struct pair p;

	connect_pair(&p, state);
	assert_status(sock_client_put(&p.client, SPAN("0123456789")), ST_OK);
	assert_status(sock_client_put(&p.client, SPAN("01234")), ST_FULL);
	assert_status(sock_client_put(&p.client, SPAN("0123")), ST_OK);
	assert_span(buf_span(&p.client.out), SPAN("0123456789\n0123\n"));
	close_pair(&p);
	connect_pair(&p, state);
	fault_alloc_at(1);
	assert_status(sock_client_put(&p.client, SPAN("0")), ST_NOMEM);
	assert_true(fault_hit());
	close_pair(&p);
}

static void
a_line_beyond_its_bound_is_told(void **state)
{
	struct pair p;
	char x[MAX_IN];
	enum status st;

	connect_pair(&p, state);
	memset(x, 'x', sizeof(x));
	server_says(&p, span_of(x, sizeof(x)));
	do
		st = sock_client_receive(&p.client);
	while (st == ST_OK);
	assert_status(st, ST_FULL);
	close_pair(&p);
}

static void
its_end_is_told_either_way(void **state)
{
	struct pair p;

	connect_pair(&p, state);
	(void)close(p.server);
	assert_status(sock_client_receive(&p.client), ST_END);
	assert_status(sock_client_put(&p.client, SPAN("a")), ST_OK);
	assert_status(sock_client_flush(&p.client), ST_END);
	p.server = -1;
	close_pair(&p);
	assert_status(sock_client_receive(&p.client), ST_END);
}

static void
nobody_there_is_told_with_the_path(void **state)
{
	struct sock_client c = SOCK_CLIENT_NONE;
	struct errmsg err = {""};
	const char *path = tmpdir_path(*state, "nobody");

	assert_status(sock_client_open(&c, path, MAX_OUT, MAX_IN, &err),
	    ST_NOTFOUND);
	assert_int_equal(c.fd, -1);
	assert_non_null(strstr(err.text, "nobody"));
	sock_client_close(&c);
}

static void
it_waits_no_longer_than_it_may(void **state)
{
	struct pair p;

	connect_pair(&p, state);
	assert_false(sock_client_wait(&p.client, POLLIN, clock_mono_us()));
	assert_true(
	    sock_client_wait(&p.client, POLLIN, clock_mono_us() + 1000));
	assert_true(
	    sock_client_wait(&p.client, POLLOUT, clock_mono_us() + 60000000));
	close_pair(&p);
	assert_false(
	    sock_client_wait(&p.client, POLLIN, clock_mono_us() + 60000000));
	assert_int_equal(sock_client_poll_ms(0), 0);
	assert_int_equal(sock_client_poll_ms(UINT64_MAX), INT32_MAX);
}

#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(lines_go_both_ways),
	    TEST(a_line_that_has_no_room_leaves_those_before),
	    TEST(a_line_beyond_its_bound_is_told),
	    TEST(its_end_is_told_either_way),
	    TEST(nobody_there_is_told_with_the_path),
	    TEST(it_waits_no_longer_than_it_may),
	};

	return RUN(tests);
}

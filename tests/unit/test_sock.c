/* SPDX-License-Identifier: MIT */
#include "sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tmpdir.h"
#include "unit.h"

static int
listen_at(const char *path)
{
	struct errmsg err = {""};
	int fd = -1;

	if (sock_listen_unix(path, 0600, &fd, &err) != ST_OK)
		fail_msg("%s", err.text);
	return fd;
}

static int
connect_to(const char *path)
{
	struct errmsg err = {""};
	int fd = -1;

	if (sock_connect_unix(path, &fd, &err) != ST_OK)
		fail_msg("%s", err.text);
	return fd;
}

static void
assert_nonblocking_and_cloexec(int fd)
{
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void
a_pair(const char *path, int *server, int *client)
{
	int l = listen_at(path);

	*client = connect_to(path);
	assert_status(sock_accept(l, server), ST_OK);
	(void)close(l);
}

static void
bytes_go_both_ways(void **state)
{
	int a, b;
	char text[16];
	size_t n = 0;

	a_pair(tmpdir_path(*state, "s"), &a, &b);
	assert_nonblocking_and_cloexec(a);
	assert_nonblocking_and_cloexec(b);
	assert_status(sock_read(a, text, sizeof(text), &n), ST_AGAIN);
	assert_status(sock_write(b, SPAN("hel\0lo"), &n), ST_OK);
	assert_int_equal(n, 6);
	assert_status(sock_read(a, text, sizeof(text), &n), ST_OK);
	assert_span(span_of(text, n), SPAN("hel\0lo"));
	assert_status(sock_write(a, SPAN("ok"), &n), ST_OK);
	(void)close(a);
	assert_status(sock_read(b, text, 1, &n), ST_OK);
	assert_int_equal(n, 1);
	assert_status(sock_read(b, text, 8, &n), ST_OK);
	assert_status(sock_read(b, text, 8, &n), ST_END);
	(void)close(b);
}

/* SIGPIPE, at its default here, would end the program. */
static void
writing_to_a_peer_that_left_is_an_end(void **state)
{
	size_t n;
	int a, b;

	a_pair(tmpdir_path(*state, "s"), &a, &b);
	(void)close(a);
	assert_status(sock_write(b, SPAN("x"), &n), ST_END);
	(void)close(b);
	assert_status(sock_write(b, SPAN("x"), &n), ST_IO);
	assert_status(sock_read(b, (char[1]){0}, 1, &n), ST_IO);
}

static void
writing_to_a_peer_that_does_not_read_would_block(void **state)
{
	static char big[65536];
	enum status st;
	size_t n, total = 0;
	int a, b;

	a_pair(tmpdir_path(*state, "s"), &a, &b);
	while ((st = sock_write(b, span_of(big, sizeof(big)), &n)) == ST_OK)
		total += n;
	assert_status(st, ST_AGAIN);
	assert_true(total > 0);
	(void)close(a);
	(void)close(b);
}

static void
a_socket_has_the_mode_that_was_asked_for(void **state)
{
	const char *path = tmpdir_path(*state, "s");
	struct errmsg err = {""};
	struct stat sb;
	mode_t old = umask(0777);
	int fd = -1;

	assert_status(sock_listen_unix(path, 0660, &fd, &err), ST_OK);
	assert_int_equal(umask(old), 0777); /* given back */
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 0777, 0660);
	assert_nonblocking_and_cloexec(fd);
	(void)close(fd);
}

static void
a_dead_socket_is_replaced(void **state)
{
	const char *path = tmpdir_path(*state, "s");
	int a, b;

	(void)close(listen_at(path)); /* the file stays */
	assert_int_equal(access(path, F_OK), 0);
	a = listen_at(path);
	b = connect_to(path);
	(void)close(a);
	(void)close(b);
}

static void
a_live_socket_is_never_taken(void **state)
{
	const char *path = tmpdir_path(*state, "s");
	struct errmsg err = {""};
	int a = listen_at(path), b = -1, c;

	assert_status(sock_listen_unix(path, 0600, &b, &err), ST_EXISTS);
	assert_int_equal(b, -1);
	assert_non_null(strstr(err.text, path));
	/* It still answers. */
	c = connect_to(path);
	assert_status(sock_accept(a, &b), ST_OK);
	(void)close(a);
	(void)close(b);
	(void)close(c);
}

/* A daemon that is too busy to accept is alive all the same. */
static void
a_live_socket_with_a_full_queue_is_never_taken(void **state)
{
	const char *path = tmpdir_path(*state, "s");
	struct errmsg err = {""};
	enum status st;
	int a = listen_at(path), b = -1, fds[3], n = 0;

	assert_int_equal(listen(a, 0), 0); /* room for one */
	while ((st = sock_connect_unix(path, &fds[n], &err)) == ST_OK)
		assert_true(++n < 3);
	assert_status(st, ST_BUSY);
	assert_status(sock_listen_unix(path, 0600, &b, &err), ST_EXISTS);
	while (n > 0)
		(void)close(fds[--n]);
	(void)close(a);
}

static void
a_file_that_is_no_socket_is_left_alone(void **state)
{
	const char *path = tmpdir_path(*state, "s");
	struct errmsg err = {""};
	struct stat sb;
	int fd = -1;

	tmpdir_write(path, "precious", 8);
	assert_status(sock_listen_unix(path, 0600, &fd, &err), ST_INVALID);
	assert_non_null(strstr(err.text, "is no socket"));
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_size, 8);
}

static void
a_path_that_is_too_long_is_told(void **state)
{
	char path[200];
	struct errmsg err = {""};
	int fd = -1;

	(void)state;
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[108] = '\0'; /* one more than fits */
	assert_status(sock_listen_unix(path, 0600, &fd, &err), ST_INVALID);
	assert_non_null(strstr(err.text, "108 bytes"));
	assert_status(sock_connect_unix(path, &fd, &err), ST_INVALID);
	assert_status(sock_listen_unix("", 0600, &fd, &err), ST_INVALID);
	assert_int_equal(fd, -1);
}

static void
a_directory_that_is_not_there_is_told(void **state)
{
	const char *path = tmpdir_path(*state, "none/s");
	struct errmsg err = {""};
	int fd = -1;

	assert_status(sock_listen_unix(path, 0600, &fd, &err), ST_IO);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(fd, -1);
}

static void
nobody_listening_is_not_found(void **state)
{
	const char *path = tmpdir_path(*state, "s");
	struct errmsg err = {""};
	int fd = -1;

	assert_status(sock_connect_unix(path, &fd, &err), ST_NOTFOUND);
	assert_non_null(strstr(err.text, "is pubd running?"));
	(void)close(listen_at(path));
	assert_status(sock_connect_unix(path, &fd, &err), ST_NOTFOUND);
	assert_int_equal(fd, -1);
}

static void
accept_says_when_nobody_waits(void **state)
{
	int l = listen_at(tmpdir_path(*state, "s")), fd = -1;

	assert_status(sock_accept(l, &fd), ST_AGAIN);
	(void)close(l);
	assert_status(sock_accept(l, &fd), ST_IO);
	assert_int_equal(fd, -1);
}

static void
accept_tells_apart_that_descriptors_are_out(void **state)
{
	const char *path = tmpdir_path(*state, "s");
	int l = listen_at(path), c = connect_to(path), fd = -1, spare;
	struct rlimit was, now;

	if (unit_under_valgrind())
		skip(); /* it takes the connection before it says EMFILE */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	spare = dup(l); /* the highest one open */
	now = was;
	now.rlim_cur = (rlim_t)spare + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	assert_status(sock_accept(l, &fd), ST_FULL);
	assert_status(sock_accept(l, &fd), ST_FULL);
	/* The peer still waits, and is served when there is room. */
	(void)close(spare);
	assert_status(sock_accept(l, &fd), ST_OK);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	(void)close(l);
	(void)close(c);
	(void)close(fd);
}

static unsigned
port_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t n = sizeof(ss);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &n), 0);
	if (ss.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&ss)->sin6_port);
	assert_int_equal(ss.ss_family, AF_INET);
	return ntohs(((struct sockaddr_in *)&ss)->sin_port);
}

static void
an_address_with_a_port_is_tcp(void **state)
{
	struct errmsg err = {""};
	char address[64];
	int a = -1, b = -1;

	(void)state;
	assert_status(sock_listen("127.0.0.1:0", 0, &a, &err), ST_OK);
	assert_nonblocking_and_cloexec(a);
	assert_true(port_of(a) > 0);
	(void)snprintf(address, sizeof(address), "127.0.0.1:%u", port_of(a));
	assert_status(sock_listen(address, 0, &b, &err), ST_IO);
	assert_non_null(strstr(err.text, address));
	(void)close(a);
	assert_status(sock_listen(":0", 0, &a, &err), ST_OK);
	(void)close(a);
	if (sock_listen("[::1]:0", 0, &a, &err) == ST_OK) {
		assert_true(port_of(a) > 0);
		(void)close(a);
	}
}

static void
an_address_with_a_slash_is_a_path(void **state)
{
	const char *path = tmpdir_path(*state, "s:1");
	struct errmsg err = {""};
	struct stat sb;
	int fd = -1;

	assert_status(sock_listen(path, 0640, &fd, &err), ST_OK);
	assert_int_equal(stat(path, &sb), 0);
	assert_true(S_ISSOCK(sb.st_mode));
	assert_int_equal(sb.st_mode & 0777, 0640);
	(void)close(fd);
}

static void
an_address_that_is_neither_is_refused(void **state)
{
	static const char *const bad[] = {"", "socket", "127.0.0.1",
	    "127.0.0.1:", "127.0.0.1:http", "localhost:80x", "[::1:0",
	    "127.0.0.1:65536"};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct errmsg err = {""};
		int fd = -1;
		enum status st = sock_listen(bad[i], 0, &fd, &err);

		if (st != ST_INVALID)
			fail_msg("\"%s\": %s", bad[i], status_name(st));
		assert_true(err.text[0] != '\0');
	}
}

static void
the_descriptor_limit_is_raised_to_the_hard_one(void **state)
{
	struct rlimit was, now;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	now = was;
	now.rlim_cur = 64;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	assert_int_equal(sock_raise_fd_limit(), was.rlim_max);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
	assert_int_equal(now.rlim_cur, was.rlim_max);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)
	const struct CMUnitTest tests[] = {
	    T(bytes_go_both_ways),
	    T(writing_to_a_peer_that_left_is_an_end),
	    T(writing_to_a_peer_that_does_not_read_would_block),
	    T(a_socket_has_the_mode_that_was_asked_for),
	    T(a_dead_socket_is_replaced),
	    T(a_live_socket_is_never_taken),
	    T(a_live_socket_with_a_full_queue_is_never_taken),
	    T(a_file_that_is_no_socket_is_left_alone),
	    T(a_path_that_is_too_long_is_told),
	    T(a_directory_that_is_not_there_is_told),
	    T(nobody_listening_is_not_found),
	    T(accept_says_when_nobody_waits),
	    T(accept_tells_apart_that_descriptors_are_out),
	    T(an_address_with_a_port_is_tcp),
	    T(an_address_with_a_slash_is_a_path),
	    T(an_address_that_is_neither_is_refused),
	    T(the_descriptor_limit_is_raised_to_the_hard_one),
	};

	return RUN(tests);
}

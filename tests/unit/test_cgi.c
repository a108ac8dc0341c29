/* SPDX-License-Identifier: MIT */
/*
 * Plain CGI: cgi.h.  The clock is ours (tests/unit/test_cgi.mk), so that
 * a body that drips in needs no time.
 */
#include "cgi.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"
#include "unit.h"

uint64_t __wrap_clock_mono_us(void);

extern char **environ;

static uint64_t now_us, step_us;

struct fixture {
	char **environ;
	int peer; /* the other end of fd 0 */
	int saved;
	struct params params;
};

uint64_t
__wrap_clock_mono_us(void)
{
	now_us += step_us;
	return now_us;
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int pair[2];

	if (f == NULL || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return -1;
	f->saved = dup(STDIN_FILENO);
	f->peer = pair[1];
	(void)dup2(pair[0], STDIN_FILENO);
	(void)close(pair[0]);
	f->environ = environ;
	params_init(&f->params);
	now_us = 1;
	step_us = 0;
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	environ = f->environ;
	params_fini(&f->params);
	if (f->saved >= 0) {
		(void)dup2(f->saved, STDIN_FILENO);
		(void)close(f->saved);
	} else {
		(void)close(STDIN_FILENO);
	}
	if (f->peer >= 0)
		(void)close(f->peer);
	free(f);
	return 0;
}

/* The variables of one request, at most two; NULL: no more. */
static void
use_env(const char *first, const char *second)
{
	static char text[2][64];
	static char *env[3];
	const char *from[] = {first, second};
	size_t n = 0;

	for (; n < 2 && from[n] != NULL; n++) {
		(void)snprintf(text[n], sizeof(text[n]), "%s", from[n]);
		env[n] = text[n];
	}
	env[n] = NULL;
	environ = env;
}

static void
hang_up(struct fixture *f)
{
	(void)close(f->peer);
	f->peer = -1;
}

static void
send_body(struct fixture *f, struct span s)
{
	assert_int_equal(write(f->peer, s.p, s.len), (ssize_t)s.len);
}

/* How many bytes of the body nobody read. */
static size_t
n_unread(void)
{
	static char rest[1 << 16];
	ssize_t n = recv(STDIN_FILENO, rest, sizeof(rest), MSG_DONTWAIT);

	return n < 0 ? 0 : (size_t)n;
}

static void
arguments_of_a_request_are_the_visitors(void **state)
{
	static const char *const variables[] = {"GATEWAY_INTERFACE=CGI/1.1",
	    "REQUEST_METHOD=GET", "REQUEST_METHOD="};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		use_env(variables[i], NULL);
		assert_int_equal(cgi_arguments(3), 1);
		assert_int_equal(cgi_arguments(1), 1);
		assert_int_equal(cgi_arguments(0), 0);
	}
	use_env("QUERY_STRING=--listen", "HTTP_GATEWAY_INTERFACE=CGI/1.1");
	assert_int_equal(cgi_arguments(3), 3);
}

/* Whoever starts it in a CGI program's environment and gives it a socket. */
static void
arguments_beside_a_listening_socket_are_the_spawners(void **state)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	use_env("GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=GET");
	assert_int_equal(bind(fd, &(struct sockaddr){.sa_family = AF_UNIX},
			     sizeof(sa_family_t)),
	    0); /* an abstract name of the kernel's */
	assert_int_equal(listen(fd, 1), 0);
	(void)dup2(fd, STDIN_FILENO);
	(void)close(fd);
	assert_int_equal(cgi_arguments(3), 3);
}

static void
variables_are_taken_and_what_is_none_is_left(void **state)
{
	struct fixture *f = *state;

	use_env("nonsense", "A=b=c");
	assert_status(cgi_read(&f->params), ST_OK);
	assert_span(params_get(&f->params, "A"), SPAN("b=c"));
	assert_int_equal(f->params.n, 1);
}

static void
a_body_is_read_away_when_nobody_wants_it(void **state)
{
	struct fixture *f = *state;

	use_env("CONTENT_LENGTH=5", NULL);
	send_body(f, SPAN("12345"));
	assert_status(cgi_read(&f->params), ST_OK);
	assert_int_equal(params_body(&f->params).len, 0);
	assert_int_equal(n_unread(), 0);
}

static void
a_body_is_kept_up_to_the_bound_and_its_length(void **state)
{
	struct fixture *f = *state;

	use_env("CONTENT_LENGTH=5", NULL);
	params_keep_body(&f->params, 3);
	send_body(f, SPAN("12345678"));
	assert_status(cgi_read(&f->params), ST_OK);
	assert_span(params_body(&f->params), SPAN("123"));
	assert_int_equal(n_unread(), 3); /* not of this request */
}

static void
a_body_that_is_shorter_than_it_says_is_what_came(void **state)
{
	struct fixture *f = *state;

	use_env("CONTENT_LENGTH=50", NULL);
	params_keep_body(&f->params, 100);
	send_body(f, SPAN("12345"));
	hang_up(f);
	assert_status(cgi_read(&f->params), ST_OK);
	assert_span(params_body(&f->params), SPAN("12345"));
}

static void
without_a_length_that_is_a_number_nothing_is_read(void **state)
{
	static const char *const lengths[] = {
	    "CONTENT_LENGTH=", "CONTENT_LENGTH=-1", "CONTENT_LENGTH=x", "X=y"};
	struct fixture *f = *state;
	size_t i;

	params_keep_body(&f->params, 100);
	send_body(f, SPAN("12345"));
	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		use_env(lengths[i], NULL);
		assert_status(cgi_read(&f->params), ST_OK);
		assert_int_equal(params_body(&f->params).len, 0);
		params_fini(&f->params);
	}
	assert_int_equal(n_unread(), 5);
}

/* Else one that sends a byte now and then would hold the process for days. */
static void
a_body_that_takes_too_long_is_left(void **state)
{
	static char body[50000];
	struct fixture *f = *state;

	use_env("CONTENT_LENGTH=50000", NULL);
	step_us = 2500000;
	send_body(f, span_of(body, sizeof(body)));
	assert_status(cgi_read(&f->params), ST_OK);
	assert_int_equal(n_unread(), 50000 - 3 * 4096);
}

static void
without_memory_for_the_body_it_says_so(void **state)
{
	struct fixture *f = *state;

	use_env("CONTENT_LENGTH=5", NULL);
	params_keep_body(&f->params, 5);
	send_body(f, SPAN("12345"));
	fault_alloc_at(2); /* behind that for the variables */
	assert_status(cgi_read(&f->params), ST_NOMEM);
	assert_true(fault_hit());
	assert_int_equal(n_unread(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(arguments_of_a_request_are_the_visitors),
	    TEST(arguments_beside_a_listening_socket_are_the_spawners),
	    TEST(variables_are_taken_and_what_is_none_is_left),
	    TEST(a_body_is_read_away_when_nobody_wants_it),
	    TEST(a_body_is_kept_up_to_the_bound_and_its_length),
	    TEST(a_body_that_is_shorter_than_it_says_is_what_came),
	    TEST(without_a_length_that_is_a_number_nothing_is_read),
	    TEST(a_body_that_takes_too_long_is_left),
	    TEST(without_memory_for_the_body_it_says_so),
	};

	return RUN(tests);
}

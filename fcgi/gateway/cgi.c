/* SPDX-License-Identifier: MIT */
/*
 * Plain CGI.  Blocks for the body: at most BODY_WAIT_MS without a byte, and
 * no longer than BODY_TOTAL_US in all.
 */
#include "cgi.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "listener.h"

#define BODY_BYTES_MAX (1 << 20)
#define BODY_WAIT_MS   1000
#define BODY_TOTAL_US  10000000

extern char **environ;

/*
 * Not every web server sets both variables.  A FastCGI process that inherited
 * one (its spawner is a CGI program) has a listening socket, which no visitor
 * can give it.
 */
int
cgi_arguments(int argc)
{
	bool asked = getenv("GATEWAY_INTERFACE") != NULL ||
	    getenv("REQUEST_METHOD") != NULL;

	return argc > 1 && asked && !listener_is(STDIN_FILENO) ? 1 : argc;
}

/* How many bytes of a body are waited for. */
static size_t
body_bytes(const struct params *params)
{
	int64_t n;

	if (!span_to_int64(params_get(params, "CONTENT_LENGTH"), &n))
		return 0;
	return n > BODY_BYTES_MAX ? BODY_BYTES_MAX : (size_t)n;
}

/* Reads once.  Returns the bytes, 0 when it is over. */
static size_t
read_piece(char *piece, size_t max)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	ssize_t n;

	do {
		if (poll(&in, 1, BODY_WAIT_MS) != 1)
			return 0;
		n = read(STDIN_FILENO, piece, max);
	} while (n < 0 && (errno == EINTR || errno == EAGAIN));
	return n < 0 ? 0 : (size_t)n;
}

static enum status
read_body(struct params *params)
{
	uint64_t end_us = clock_mono_us() + BODY_TOTAL_US;
	size_t left = body_bytes(params), n = 1;
	enum status st = ST_OK;
	char piece[4096];

	while (left > 0 && n > 0 && clock_mono_us() < end_us) {
		n = read_piece(piece,
		    left < sizeof(piece) ? left : sizeof(piece));
		left -= n;
		if (st == ST_OK)
			st = params_add_body(params, span_of(piece, n));
	}
	return st;
}

enum status
cgi_read(struct params *params)
{
	char **env;

	for (env = environ; *env != NULL; env++)
		/* What is no variable is not for us; params->cut tells of
		 * too much. */
		if (params_add(params, span_str(*env)) == ST_NOMEM)
			return ST_NOMEM;
	return read_body(params);
}
